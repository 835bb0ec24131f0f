"""`kill -9` at random moments, again and again, and death at each named commit point."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.soak.world import FRAMES, Engines, digest, run, write_movie

KILLS = 500
PASSAGES = ((1, 4), (2, 7), (3, 5))  # passage of the commit point, frames a unit
ONCE = ("create", "clean", "closing-line", "compaction", "finish-line")


def lines(out: Path) -> int:
    """Return how many lines the commit log has."""
    log = out / "commits.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def safe(out: Path) -> int:
    """Return how many frames are acknowledged, as any onlooker may read it."""
    from insitu.store.log import read_log

    return read_log(out).planes if out.exists() else 0


def kill_once(engines: Engines, arguments: list[str], out: Path, rng: random.Random) -> tuple[int, int]:
    """Start an engine, kill it after a few commits or a random time; return exit code and frames lost."""
    began, before = time.monotonic(), lines(out)
    engines.start(arguments)
    wanted = before + rng.randint(1, 4) if rng.random() < 0.85 else 10**9
    patience = 20.0 if wanted < 10**9 else rng.uniform(0, 0.4)
    while lines(out) < wanted and time.monotonic() - began < patience and not _finished(out):
        time.sleep(0.0005)
    time.sleep(rng.choice((0, rng.uniform(0, 0.01))))
    acknowledged = safe(out)
    engines.kill()
    code, said = engines.wait()
    if "Traceback" in said:
        raise SystemExit(f"FAILED: {said}")
    return code, max(0, acknowledged - safe(out))


def kills(number: int = KILLS, seed: int = 1, *, fsync: bool = False) -> dict[str, int]:
    """Kill engines `number` times, each going on where the last one fell; compare every byte of every finished run."""
    rng = random.Random(seed)
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Engines() as engines:
        root = Path(folder)
        movie = write_movie(root / "movie")
        engines.call(run(movie, root / "whole", unit=64))
        whole = digest(root / "whole")
        while count["kills"] < number:
            out = root / f"run{count['runs']}"
            arguments = run(movie, out, unit=rng.choice((2, 3, 4, 7)), fsync=fsync)
            while not _finished(out) and count["kills"] < number:
                code, lost = kill_once(engines, arguments, out, rng)
                count["kills"] += code == -9
                count["between first and last commit"] += code == -9 and 0 < safe(out) < FRAMES
                count["acknowledged frames lost"] += lost
            code, said = engines.call(arguments)
            count["tracebacks"] += "Traceback" in said
            count["runs"] += 1
            count["runs that differ"] += digest(out) != whole or code not in {0, 5}
            print(f"run {count['runs']}: {dict(count)}", flush=True)
    return dict(count)


def _finished(out: Path) -> bool:
    try:
        return b'"finished": true' in (out / "commits.jsonl").read_bytes()
    except FileNotFoundError:
        return False


def points() -> list[str]:
    """Return the names of all commit points."""
    from insitu.store.disk import FAILPOINTS

    return list(FAILPOINTS)


def failpoints(names: list[str] | None = None) -> dict[str, int]:
    """Die three times at every commit point, resume, compare every byte."""
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Engines() as engines:
        root = Path(folder)
        movie = write_movie(root / "movie")
        whole: dict[str, dict[str, str]] = {}
        for name in names or points():
            verb, more = ("watch", _WATCHED) if "merged" in name else ("run", ())
            if verb not in whole:
                engines.call(run(movie, root / verb, *more, verb=verb, unit=64))
                whole[verb] = digest(root / verb)
            for passage, unit in PASSAGES:
                out = root / f"{name}-{passage}"
                arguments = run(movie, out, *more, verb=verb, unit=8 if verb == "watch" else unit)
                which = 1 if name.endswith(ONCE) else passage
                code, _ = engines.call(arguments, failpoint=f"{name}:{which}")
                count["deaths"] += code == 137
                count["points not reached"] += code != 137
                code, said = engines.call(arguments)
                count["tracebacks"] += "Traceback" in said
                count["runs that differ"] += digest(out) != whole[verb] or code not in {0, 5}
                print(f"{name}:{which} {code} {dict(count)}", flush=True)
        count["commit points"] = len(names or points())
    return dict(count)


_WATCHED = ("--until-idle", "0.3", "--no-live")


if __name__ == "__main__":
    print(json.dumps(kills()))
