"""Precision and recall of events against exact truth: ``python -m benchmarks.events [--seeds 5] [--frames 200]``.

Coarsening discs (`benchmarks.discs`) through runs, measuring, linking and events with default options. An event counts
as found within ± 2 frames and 40 px, one to one. Writes ``benchmarks/results/events.md``.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.discs import Discs, Truth, score
from insitu.events import EventDetector
from insitu.link import OptimalLinker
from insitu.measure import measure
from insitu.options import EventOptions, LinkOptions, MeasureOptions
from insitu.runs import components, find_runs

ABOUT = """Made by `python -m benchmarks.events --seeds {seeds} --frames {frames}`: coarsening discs on 1792 × 1920 px
with exact truth, default options. Each cell: precision / recall (true events), matched within ± 2 frames and 40 px.
Relax: frames a touching pair takes to become one disc."""
KINDS = ("coalescence", "dissolution", "appearance")
MASKS = {
    "clean": {"breathe": 0.01},
    "noisy: radii breathe 2 %, 5 % of the volume lost, 0.2 % missed": {"breathe": 0.02, "loss": 0.05, "missed": 0.002},
}


def found_in(world: Discs) -> list[Truth]:
    """Run the engine's own stages over a world; an appearance may be called nucleation."""
    linker = OptimalLinker(LinkOptions())
    detector = EventDetector(EventOptions(), world.shape, LinkOptions().memory_frames)
    events = []
    for index, mask in enumerate(world.masks()):
        measured = measure(components(find_runs(mask)), MeasureOptions(perimeter=False))
        ids = linker.step(index, np.column_stack([measured.particles.y, measured.particles.x]))
        events += detector.step(index, measured, ids)
    events += detector.finish()
    return [Truth(e.kind.replace("nucleation", "appearance"), e.frame, e.y, e.x) for e in events]


def row(n: int, relax: int, masks: str, seeds: int, frames: int) -> str:
    sums, others = dict.fromkeys(KINDS, np.zeros(3, int)), Counter()
    for seed in range(seeds):
        world = Discs(n=n, frames=frames, seed=seed, relax=relax, radius=11.0 if n <= 300 else 8.0, **MASKS[masks])
        found = found_in(world)
        # What happens within the memory of the end cannot have been decided.
        true = [t for t in world.truth if t.frame + LinkOptions().memory_frames < frames]
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
        ABOUT.format(**vars(given)),
        "",
        "| masks | particles | relax | coalescence P / R | dissolution P / R | other events |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for masks in MASKS:
        lines += [row(n, relax, masks, given.seeds, given.frames) for n in (300, 1500) for relax in (0, 6)]
    (Path(__file__).parent / "results" / "events.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
