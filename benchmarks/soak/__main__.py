"""The soak: `python -m benchmarks.soak [PART] [NAME…] [--number N] [--more]`; without a part, all but coverage.

    tests · kills [--number 500] · failpoints [NAME…] · power · full [--number 60] · corrupt [--number 400]
    frames [--number 100000] · fuzz [TARGET…] [--scale 1.0] · coverage [TEST…] · report · corpus · golden

Every part prints what it does, ends with exit 1 where anything was lost, differs or escaped, and enters its counts with
date and versions into ``benchmarks/results/soak.json`` (`--more`: beside those that are there). `report` makes
``benchmarks/results/soak.md`` and ``docs/reliability.md`` of them.
All parts together run beside each other, one on each core (`--jobs`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.soak import ledger
from benchmarks.soak.covered import LEAST
from benchmarks.soak.frames import ageing

if TYPE_CHECKING:
    from collections.abc import Callable

# counts that must be zero for the proof to hold
FORBIDDEN = (
    "acknowledged frames lost", "runs that differ", "tracebacks", "points not reached", "findings", "ended otherwise",
    "files outside OUT", "failed test runs", "failed tests", "failed parts",
)  # fmt: skip


def part(name: str, wish: argparse.Namespace) -> dict[str, float]:
    """Do one part and return its counts."""
    from benchmarks.soak.corrupt import corrupt
    from benchmarks.soak.covered import covered
    from benchmarks.soak.frames import frames
    from benchmarks.soak.full import full
    from benchmarks.soak.fuzz import fuzz
    from benchmarks.soak.kills import failpoints, kills
    from benchmarks.soak.power import power
    from benchmarks.soak.whole import slow_tests, whole

    numbered = {"number": wish.number} if wish.number else {}
    does: dict[str, Callable[[], dict[str, float]]] = {
        "kills": lambda: kills(**numbered, seed=wish.seed),
        "failpoints": lambda: failpoints(wish.names or None),
        "power": lambda: power(**numbered),
        "full": lambda: full(wish.number or 60),
        "corrupt": lambda: corrupt(**numbered),
        "frames": lambda: frames(**numbered),
        "fuzz": lambda: fuzz(wish.names or None, wish.scale),
        "tests": lambda: slow_tests(wish.names),
        "whole": lambda: whole(wish.jobs),
        "coverage": lambda: covered(wish.names or None, more=wish.more),
    }
    return does[name]()


def failed(name: str, counts: dict[str, float]) -> list[str]:
    """Return what speaks against a part."""
    found = [f"{key}: {counts[key]}" for key in FORBIDDEN if counts.get(key)]
    if name == "frames" and counts["frames"] >= ledger.LEAST_FRAMES:  # in less, the warm-up is all there is
        if counts["RSS slope, MB per 1e5 frames"] >= 1:
            found.append("memory grows with the number of frames")
        if counts["most open files"] > counts["fewest open files"] + 2:
            found.append("open files grow with the number of frames")
        if any(abs(change) > 5 for change in ageing(counts)):
            found.append("a frame does not cost the same from the beginning to the end")
    if name == "coverage":
        found += [f"{room}: {per_cent}" for room, per_cent in counts.items() if room.endswith("%") and per_cent < LEAST]
    return found


def main() -> int:
    """Run what was asked for, all parts by default; print and record."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", default="whole", choices=[*ledger.PARTS, "report", "corpus", "golden"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--more", action="store_true")
    wish = parser.parse_args()
    if wish.part in {"corpus", "golden"}:
        from benchmarks.soak import corpus, golden

        (corpus if wish.part == "corpus" else golden).write()
        return 0
    bad = []
    if wish.part != "report":
        began = time.monotonic()
        counts = part(wish.part, wish)
        ledger.note(wish.part, counts, time.monotonic() - began, more=wish.more)
        print(f"{wish.part}: {counts}", flush=True)
        bad = [f"{wish.part}: {what}" for what in failed(wish.part, counts)]
    from benchmarks.soak.report import write_pages

    write_pages()
    print("\n".join(f"FAILED {line}" for line in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
