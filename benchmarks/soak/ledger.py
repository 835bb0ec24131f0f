"""What was proved, when and with which versions: ``benchmarks/results/soak.json``, and the pages made from it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parents[1] / "results"
LEDGER = RESULTS / "soak.json"
PARTS = {
    "whole": "every part below but coverage, beside each other (`make soak`)",
    "tests": "the slow tests (`pytest -m slow`)",
    "kills": "`kill -9` at random moments, each engine going on where the last one fell",
    "failpoints": "death at each named commit point (`INSITU_FAILPOINT`), three times",
    "power": "power cut after each disk operation: what was not fsynced is lost, in part or in whole",
    "full": "a disk that is full at ever later moments, then has room again",
    "corrupt": "damaged movies of every format through `insitu run`",
    "frames": "a long movie of 256×256 px frames in one process, `classical`, everything written",
    "fuzz": "coverage-guided fuzzing (atheris) of readers, settings, weights, commit log, run folders",
    "coverage": "statements and branches that the tests of these rooms go through (`make coverage`)",
}
LEAST_FRAMES = 10_000  # a shorter movie is all warm-up: it proves nothing, and docs/performance.md does not show it
_PACKAGES = ("insitu", "numpy", "torch", "pyarrow", "zarr", "tifffile", "h5py")


def note(part: str, counts: dict[str, float], seconds: float, *, more: bool) -> None:
    """Enter a sitting; `more` adds it to those before, else it takes their place."""
    sitting = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "seconds": round(seconds),
        "commit": _commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in _PACKAGES},
        "counts": counts,
    }
    with locked():
        ledger = read()
        ledger[part] = [*(ledger.get(part, []) if more else []), sitting]
        LEDGER.write_text(json.dumps(ledger, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def locked() -> Iterator[None]:
    """Keep other parts that end at the same moment waiting."""
    with (RESULTS / ".soak.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read() -> dict[str, list[dict]]:
    """Return the sittings of every part."""
    return json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.exists() else {}


def total(sittings: list[dict]) -> dict[str, float]:
    """Return the counts of all sittings of a part together; what is measured, not counted, is the last sitting's."""
    sums: dict[str, float] = {}
    for sitting in sittings:
        for name, value in sitting["counts"].items():
            counted = isinstance(value, int) and not name.startswith(("RSS", "fewest", "most", "commit points"))
            sums[name] = sums.get(name, 0) + value if counted else value
    return sums


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
