"""Disks that fill up: a file system of its own, made full at as many moments as a run has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.soak.kills import safe
from benchmarks.soak.world import Engines, digest, run, write_movie

MOMENTS = 60
_SIZE_KIB = 16 * 1024
_UNIT = 4


def full(moments: int = MOMENTS) -> dict[str, int]:
    """Run engines on a tmpfs with ever more room; each must stop with exit 6, lose nothing and go on with more room.

    The file system is mounted in a user namespace of its own, which needs no root.
    """
    place = Path("/tmp") / "insitu-soak-full"
    place.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size={_SIZE_KIB}k tmpfs {place} && exec "$0" -m benchmarks.soak.full {moments} {place}'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable], stdout=subprocess.PIPE, text=True, check=False
    )
    place.rmdir()
    if done.returncode:
        raise SystemExit(f"FAILED: exit {done.returncode} {done.stdout[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _taken(place: Path) -> int:
    return sum(p.stat().st_blocks for p in place.rglob("*")) * 512


def _fill(place: Path, ballast: Path, room_kib: int) -> None:
    """Take everything but `room_kib` KiB of the file system."""
    free = int(subprocess.check_output(["df", "--output=avail", "-k", str(place)], text=True).split()[1])
    ballast.write_bytes(bytes(1024 * max(0, free - room_kib)))


def inside(moments: int, place: Path) -> dict[str, int]:
    """Do it; runs within the namespace."""
    count: Counter[str] = Counter()
    where: set[tuple[int, str]] = set()
    movie, ballast, whole_out, out = (place / name for name in ("movie", "ballast", "whole", "run"))
    with Engines() as engines:
        write_movie(movie)
        engines.call(run(movie, whole_out, unit=_UNIT))
        whole, largest = digest(whole_out), _taken(whole_out) // 1024
        for k in range(moments):
            # the parts of a run take more room than its tables: beyond this the disk is never full
            _fill(place, ballast, (k + 1) * 2 * largest // moments)
            code, said = engines.call(run(movie, out, unit=_UNIT))
            count["runs"] += 1
            count["tracebacks"] += "Traceback" in said
            if code == 6:
                told = re.search(r"; (\d+) frames are safe", said)
                planes = safe(out)
                count["stopped by a full disk"] += 1
                count["acknowledged frames lost"] += max(0, int(told[1]) - planes) if told else 0
                where.add((planes, _last_written(out)))
            else:
                count["ended otherwise"] += code != 5
            ballast.unlink()
            code, said = engines.call(run(movie, out, unit=_UNIT))
            count["tracebacks"] += "Traceback" in said
            count["runs that differ"] += digest(out) != whole or code != 5
            print(k, code, dict(count), file=sys.stderr, flush=True)
            subprocess.run(["rm", "-rf", str(out)], check=True)
    count["different moments"] = len(where)
    return dict(count)


def _last_written(out: Path) -> str:
    """Return names and sizes of what a stopped run left: two runs that stopped at one moment left the same."""
    found = [p for p in sorted(out.rglob("*")) if p.is_file() and p.name not in {"run.json", "settings.toml"}]
    return json.dumps([(p.relative_to(out).as_posix(), p.stat().st_size) for p in found])


if __name__ == "__main__":
    print(json.dumps(inside(int(sys.argv[1]), Path(sys.argv[2]))))
