"""Precision and recall of events against exact truth, and what linking and events cost.

``python -m benchmarks.events [--seeds 5] [--frames 200]`` writes ``benchmarks/results/events.md``;
``python -m benchmarks.events --cost`` writes ``benchmarks/results/events_cost.md`` (on a quiet machine);
``python -m benchmarks.events --sweep 2`` tries values of `events.contact_frames` on other seeds and writes
``benchmarks/results/contact_frames.md``.

Coarsening discs (`benchmarks.discs`) through runs, measuring, linking and events with default options. An event counts
as found within ± 2 frames and 40 px, one to one.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import Counter
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.discs import Discs, Truth, score
from insitu.measure import measure
from insitu.options import EventOptions, LinkOptions, MeasureOptions
from insitu.runs import components, find_runs
from insitu.tracker import Tracker
from insitu.types import Frame, Header, Measured

ABOUT = """Made by `python -m benchmarks.events --seeds {seeds} --frames {frames}`: coarsening discs on 1792 × 1920 px
with exact truth, default options. Each cell: precision / recall (true events), matched within ± 2 frames and 40 px.
Relax: frames a touching pair takes to become one disc (contact with a third one meanwhile counts from its first frame).
Up to ten pairs in each movie touch for 1-8 frames and part again: a merger reported there counts as false. Events in
the last {wait} frames cannot have been decided and do not count."""
SWEPT = """Made by `python -m benchmarks.events --sweep {sweep} --frames {frames}`: the worlds of events.md,
other seeds: mergers, and pairs that touch for 1-8 frames and part again. The last 20 frames are left out."""
RESULTS = Path(__file__).parent / "results"
FIRST_SEED = 100  # others than those used while the rules were made
COSTS: dict[int, list[float]] = {}
KINDS = ("coalescence", "dissolution", "appearance")
MASKS = {
    "clean": {"breathe": 0.01},
    "noisy: radii breathe 2 %, 5 % of the volume lost, 0.2 % missed": {"breathe": 0.02, "loss": 0.05, "missed": 0.002},
}


def measured(world: Discs) -> list[Measured]:
    """Return the particles of every frame; the truth of the world is complete then."""
    return [measure(components(find_runs(mask)), MeasureOptions(perimeter=False)) for mask in world.masks()]


def found_in(world: Discs, movie: list[Measured], options: EventOptions | None = None) -> list[Truth]:
    """Run linking and events over a movie; an appearance may be called nucleation. Notes the CPU time of a frame."""
    tracker, events = Tracker(LinkOptions(), options or EventOptions(), world.shape), []
    begin = time.process_time()
    for index, particles in enumerate(movie):
        frame = Frame(index, None, "ok", (), Header("discs", index))
        for result in tracker.step(frame, particles, None, ()):
            events += result.events
    COSTS.setdefault(world.n, []).append(1e3 * (time.process_time() - begin) / len(movie))
    events += [e for r in tracker.flush() for e in r.events]
    events += tracker.finish()
    return [Truth(e.kind.replace("nucleation", "appearance"), e.frame, e.y, e.x) for e in events]


def world_of(n: int, relax: int, masks: str, seed: int, frames: int) -> Discs:
    radius = 11.0 if n <= 300 else 8.0
    return Discs(brushes=10, n=n, frames=frames, seed=seed, relax=relax, radius=radius, **MASKS[masks])


def row(n: int, relax: int, masks: str, seeds: int, frames: int) -> str:
    sums, others = dict.fromkeys(KINDS, np.zeros(3, int)), Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        world = world_of(n, relax, masks, seed, frames)
        found = found_in(world, measured(world))
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


def sweep(seeds: int, frames: int) -> list[str]:
    """Try values of `contact_frames`; the last 20 frames are left out for all, so that each could decide."""
    kinds = product((300, 1500), (0, 6), MASKS, range(seeds))
    worlds = [world_of(n, relax, masks, seed, frames) for n, relax, masks, seed in kinds]
    movies = [measured(world) for world in worlds]
    lines = ["| contact_frames | coalescence P | coalescence R | dissolution P | dissolution R |", "| --- " * 5 + "|"]
    for wait in (1, 3, 5, 7, 8, 9, 10, 12, 15, 20):
        sums = {kind: np.zeros(3, int) for kind in KINDS}
        for world, movie in zip(worlds, movies, strict=True):
            found = found_in(world, movie, EventOptions(contact_frames=wait))
            both = [[t for t in of if t.frame + 20 < frames] for of in (world.truth, found)]
            for kind in KINDS:
                sums[kind] += score(*both, kind)
        cells = [f"{hit / of:.3f}" for hit, seen, real in (sums[kind] for kind in KINDS[:2]) for of in (seen, real)]
        lines.append(f"| {wait} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def cost(frames: int = 100, repeats: int = 5) -> list[str]:
    """Time linking with the drift vote, events and held frames together; compiled before, best and worst of repeats."""
    lines = ["# Cost of linking and events", "", "Made by `python -m benchmarks.events --cost`: linking with the drift"]
    lines[-1] += f" vote, events, held frames; CPU time a frame over {frames} frames, best and worst of {repeats} runs."
    lines += ["", "| particles | masks | ms a frame | slowest run | 1-minute load |", "| --- | --- | --- | --- | --- |"]
    for n in (300, 1500):
        for masks in MASKS:
            world = world_of(n, 6, masks, FIRST_SEED, frames)
            movie = measured(world)
            found_in(world, movie[:10])
            COSTS.clear()
            for _ in range(repeats):
                found_in(world, movie)
            spent, name = COSTS[n], masks.partition(":")[0]
            lines.append(f"| {n} | {name} | {min(spent):.2f} | {max(spent):.2f} | {os.getloadavg()[0]:.1f} |")
            print(lines[-1], flush=True)
    return [*lines, "", f"{os.cpu_count()} cores, Python {platform.python_version()}."]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--sweep", type=int, default=0, help="seeds for the sweep of contact_frames")
    parser.add_argument("--cost", action="store_true")
    given = parser.parse_args()
    if given.cost:
        (RESULTS / "events_cost.md").write_text("\n".join([*cost(), ""]))
        return
    if given.sweep:
        about = SWEPT.format(**vars(given))
        lines = ["# How long a contact must last", "", about, "", *sweep(given.sweep, given.frames), ""]
        (RESULTS / "contact_frames.md").write_text("\n".join(lines))
        return
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
    (RESULTS / "events.md").write_text("\n".join([*lines, "", "Cost: events_cost.md.", ""]))


if __name__ == "__main__":
    main()
