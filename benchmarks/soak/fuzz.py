"""Coverage-guided fuzzing of every target: `python -m benchmarks.soak fuzz [TARGET]…`, with atheris (`insitu[soak]`).

Each target runs in a process of its own until it has had its share of executions. What leaves a target although it
should not is kept (once a place in the code) and the fuzzing goes on.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.soak import targets

# executions in thousands: the cheaper a target, the more
SHARES = {
    "tiff": 100, "mrc": 120, "dm": 90, "ser": 90, "emd": 8, "tvips": 120, "npy": 70, "picture": 50, "hdf5": 15,
    "video": 4, "raw": 130, "zarr": 6, "k2is": 6, "folder": 20, "settings": 20, "weights": 20, "pickle": 60,
    "commits": 120, "run": 4, "importing": 40,
}  # fmt: skip
_LONGEST_S = 20
_FROZEN_S = 3600  # a machine that stops this process for a while is no endless loop: CPU time decides
_MOST_MB = 3000
# heavy libraries are not instrumented: their own branches would cost more than they tell
_INSTRUMENTED = [
    "insitu.read",
    "insitu.store",
    "insitu.settings",
    "insitu.models.checkpoint",
    "insitu.models.importing",
    "insitu.models.pickles",
    "insitu.results",
]


def fuzz(names: list[str] | None = None, scale: float = 1.0) -> dict[str, int]:
    """Fuzz the targets one after another; return how many executions each had, and what was found."""
    count: dict[str, int] = {"executions": 0, "findings": 0, "targets": 0}
    for name in names or list(targets.TARGETS):
        began = time.monotonic()
        done, found = one(name, int(1000 * SHARES[name] * scale))
        count["targets"] += 1
        count["executions"] += done
        count["findings"] += len(found)
        count[f"executions of {name}"] = done
        rate = done / (time.monotonic() - began)
        print(f"{name}: {done} executions, {rate:.0f}/s, {len(found)} findings", flush=True)
        for line in found:
            print(f"    {line}", flush=True)
    return count


def one(name: str, executions: int) -> tuple[int, list[str]]:
    """Fuzz one target in a process of its own; return executions and findings."""
    with tempfile.TemporaryDirectory(prefix="insitu-fuzz-") as folder:
        corpus, kept = Path(folder) / "corpus", Path(folder) / "kept"
        corpus.mkdir()
        kept.mkdir()
        limits = [f"-timeout={_FROZEN_S}", f"-rss_limit_mb={_MOST_MB}", "-max_len=16384", f"-artifact_prefix={kept}/"]
        command = [sys.executable, "-m", "benchmarks.soak.fuzz", name, str(kept), f"-runs={executions}", *limits]
        folders = [str(corpus), str(targets.CORPUS / name)]
        done = subprocess.run(
            [*command, "-print_final_stats=1", *folders],
            capture_output=True, text=True, errors="replace", check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        told = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        found = [p.read_text() for p in sorted(kept.glob("*.txt"))]
        ends = [p.name for p in kept.iterdir() if p.suffix != ".txt" and not p.with_suffix(".txt").exists()]
        if done.returncode or not told:
            found.append(f"exit {done.returncode} {ends} {done.stderr[-600:]}")
        _keep(kept, name)
        return int(told[1]) if told else 0, found


def _keep(kept: Path, name: str) -> None:
    """Copy what made a finding to where it can be looked at."""
    place = Path(tempfile.gettempdir()) / "insitu-findings" / name
    for path in kept.iterdir():
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())


def _fuzz_here(name: str, kept: Path, arguments: list[str]) -> None:
    import hashlib

    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        import insitu.read.untrusted
        import insitu.results
        import insitu.settings
        import insitu.store.log  # noqa: F401
    targets.quiet()
    target, seen = targets.TARGETS[name], set()

    def give(data: bytes) -> None:
        began = time.process_time()
        try:
            target(data)
            if time.process_time() - began > _LONGEST_S:
                raise TimeoutError(f"{len(data)} bytes took more than {_LONGEST_S} s")  # noqa: TRY301 - as any finding
        except Exception as error:
            told = targets.strange(error)
            place = told.split(":")[0] + told.split(":")[1]
            if place not in seen:
                seen.add(place)
                file = kept / hashlib.sha1(data).hexdigest()[:12]
                file.with_suffix(".bin").write_bytes(data)
                file.with_suffix(".txt").write_text(told)

    if name not in {"settings", "commits", "weights", "pickle", "importing", "run"}:
        with atheris.instrument_imports(include=_INSTRUMENTED):
            targets.reader(name)
    for path in targets.seeds(name):
        give(path.read_bytes())
    atheris.Setup([sys.argv[0], *arguments], give)
    atheris.Fuzz()


if __name__ == "__main__":
    _fuzz_here(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
