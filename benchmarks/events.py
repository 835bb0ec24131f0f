"""Precision and recall of events against exact truth: ``python -m benchmarks.events [--seeds 5] [--frames 200]``.

Coarsening discs (`benchmarks.discs`) through runs, measuring, linking and events with default options. An event counts
as found within ± 2 frames and 40 px, one to one. Writes ``benchmarks/results/events.md``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.discs import Discs, Truth, score
from insitu.measure import measure
from insitu.options import EventOptions, LinkOptions, MeasureOptions
from insitu.runs import components, find_runs
from insitu.tracker import Tracker
from insitu.types import Frame, Header

ABOUT = """Made by `python -m benchmarks.events --seeds {seeds} --frames {frames}`: coarsening discs on 1792 × 1920 px
with exact truth, default options. Each cell: precision / recall (true events), matched within ± 2 frames and 40 px.
Relax: frames a touching pair takes to become one disc. Ten pairs in each movie touch for 1-8 frames and part again:
a merger reported there counts as false. Events in the last {wait} frames cannot have been decided and do not count."""
FIRST_SEED = 100  # others than those used while the rules were made
COSTS: dict[int, list[float]] = {}
KINDS = ("coalescence", "dissolution", "appearance")
MASKS = {
    "clean": {"breathe": 0.01},
    "noisy: radii breathe 2 %, 5 % of the volume lost, 0.2 % missed": {"breathe": 0.02, "loss": 0.05, "missed": 0.002},
}


def found_in(world: Discs) -> list[Truth]:
    """Run the engine's own stages over a world; an appearance may be called nucleation."""
    tracker, events = Tracker(LinkOptions(), EventOptions(), world.shape), []
    spent = []
    for index, mask in enumerate(world.masks()):
        measured = measure(components(find_runs(mask)), MeasureOptions(perimeter=False))
        frame = Frame(index, None, "ok", (), Header("discs", index))
        begin = time.process_time()
        results = list(tracker.step(frame, measured, None, ()))
        spent.append(1e3 * (time.process_time() - begin))
        events += [e for r in results for e in r.events]
    events += [e for r in tracker.flush() for e in r.events]
    events += tracker.finish()
    COSTS.setdefault(world.n, []).extend(spent[10:])
    return [Truth(e.kind.replace("nucleation", "appearance"), e.frame, e.y, e.x) for e in events]


def row(n: int, relax: int, masks: str, seeds: int, frames: int) -> str:
    sums, others = dict.fromkeys(KINDS, np.zeros(3, int)), Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        world = Discs(
            brushes=10, n=n, frames=frames, seed=seed, relax=relax, radius=11.0 if n <= 300 else 8.0, **MASKS[masks]
        )
        found = found_in(world)
        # What happens within the memory of the end cannot have been decided.
        wait = EventOptions().contact_frames
        true = [t for t in world.truth if t.frame + wait < frames]
        found = [t for t in found if t.frame + wait < frames]
        for kind in KINDS:
            sums[kind] = sums[kind] + score(true, found, kind)
        others.update(e.kind for e in found if e.kind not in KINDS)
    cells = []
    for kind in KINDS[:2]:
        hit, seen, real = sums[kind]
        cells.append(f"{hit / max(seen, 1):.3f} / {hit / max(real, 1):.3f} ({real})")
    rest = ", ".join(f"{k} {v}" for k, v in sorted(others.items())) or "none"
    line = f"| {masks} | {n} | {relax} | {' | '.join(cells)} | {rest} |"
    print(line, flush=True)
    return line


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200)
    given = parser.parse_args()
    lines = [
        "# Events",
        "",
        ABOUT.format(**vars(given), wait=EventOptions().contact_frames),
        "",
        "| masks | particles | relax | coalescence P / R | dissolution P / R | other events |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for masks in MASKS:
        lines += [row(n, relax, masks, given.seeds, given.frames) for n in (300, 1500) for relax in (0, 6)]
    lines += ["", "Linking, events and held frames together, CPU time a frame (median, mean):", ""]
    lines += [f"- {n} particles at the start: {np.median(c):.2f} ms, {np.mean(c):.2f} ms" for n, c in COSTS.items()]
    (Path(__file__).parent / "results" / "events.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
