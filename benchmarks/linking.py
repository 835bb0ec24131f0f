"""Linking against trackpy, and the cost of linking and events: ``python -m benchmarks.linking``.

CPU time of this process, everything in one run, so that the ratios hold on any machine. Writes
``benchmarks/results/linking.md``.
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from benchmarks.discs import Discs
from insitu.events import EventDetector
from insitu.link import OptimalLinker, link, link_iter
from insitu.measure import measure
from insitu.options import EventOptions, LinkOptions, MeasureOptions
from insitu.runs import components, find_runs

SIZE = 1800.0


def walks(n: int, frames: int, sigma: float, seed: int = 0) -> list[np.ndarray]:
    """Random walkers, localised to 0.2 px, 1 % replaced in each frame."""
    rng = np.random.default_rng(seed)
    at, out = rng.random((n, 2)) * SIZE, []
    for _ in range(frames):
        out.append(at + rng.normal(0, 0.2, at.shape))
        at = at + rng.normal(0, sigma, at.shape)
        new = rng.random(n) < 0.01
        at[new] = rng.random((int(new.sum()), 2)) * SIZE
    return out


def table_of(frames: list[np.ndarray]) -> pd.DataFrame:
    positions = np.concatenate(frames)
    frame = np.repeat(np.arange(len(frames)), [len(p) for p in frames])
    return pd.DataFrame({"frame": frame, "y": positions[:, 0], "x": positions[:, 1]})


def links_of(particle: np.ndarray) -> set[tuple[int, int]]:
    order = np.argsort(particle, kind="stable")
    follows = particle[order][1:] == particle[order][:-1]
    return set(zip(order[:-1][follows].tolist(), order[1:][follows].tolist(), strict=True))


def timed(call, *arguments, **options):
    begin = time.process_time()
    result = call(*arguments, **options)
    return result, time.process_time() - begin


def listed(iterate, stream, radius, **options):
    return np.concatenate([ids for _, ids in iterate(iter(stream), radius, **options)])


def tabled(link_table, f, radius, **options):
    return link_table(f, radius, **options).sort_index()["particle"].to_numpy()


def against_trackpy(name: str, stream: list[np.ndarray], radius: float, memory: int) -> list[str]:
    import trackpy

    trackpy.quiet()
    f, frames, rows = table_of(stream), len(stream), []
    for form, run, data in (("link", tabled, f), ("link_iter", listed, stream)):
        theirs, slow = timed(run, getattr(trackpy, form), data, radius, memory=memory)
        ours, fast = timed(run, {"link": link, "link_iter": link_iter}[form], data, radius, memory=memory)
        a, b = links_of(theirs), links_of(ours)
        rows.append(
            f"| {name}, memory {memory} | `{form}` | {len(a)} | {len(a ^ b)} | {1e3 * slow / frames:.2f} | "
            f"{1e3 * fast / frames:.3f} | {slow / fast:.1f} |"
        )
    return rows


def sweep() -> list[str]:
    stream, rows = walks(3000, 40, 4.0, seed=1), []
    for radius in (12, 16, 24, 32, 40, 80):
        linker = OptimalLinker(LinkOptions(search_range_px=radius, memory_frames=0))
        flagged, ids = 0, []
        begin = time.process_time()
        for index, positions in enumerate(stream):
            ids.append(linker.step(index, positions))
            flagged += bool(linker.flags)
        spent = time.process_time() - begin
        # Row k is walker k throughout (replaced ones apart), so a kept row with a kept id is a right link.
        right = np.mean([(a == b).mean() for a, b in itertools.pairwise(ids)])
        rows.append(f"| {radius} | {1e3 * spent / len(stream):.2f} | {flagged}/{len(stream)} | {100 * right:.2f} |")
    return rows


def cost(n: int, radius: float, frames: int = 150) -> str:
    world = Discs(n=n, frames=frames, seed=5, radius=radius)
    options = MeasureOptions(perimeter=False)
    seen = [measure(components(find_runs(mask)), options) for mask in world.masks()]
    linker, detector = OptimalLinker(LinkOptions()), EventDetector(EventOptions(), world.shape, 3)
    spent, events = np.zeros((2, frames)), 0
    for index, measured in enumerate(seen):
        positions = np.column_stack([measured.particles.y, measured.particles.x])
        begin = time.process_time_ns()
        ids = linker.step(index, positions)
        middle = time.process_time_ns()
        events += len(detector.step(index, measured, ids))
        spent[:, index] = middle - begin, time.process_time_ns() - middle
    spent = spent[:, 10:] / 1e6
    runs = np.mean([len(m.runs) for m in seen])
    return (
        f"| {len(seen[0].particles)}-{len(seen[-1].particles)} | {runs:.0f} | {events} | {spent[0].mean():.2f} | "
        f"{spent[1].mean():.2f} | {spent.sum(axis=0).mean():.2f} | {np.median(spent.sum(axis=0)):.2f} |"
    )


def flat_memory(frames: int = 100_000) -> str:
    import psutil

    rng, linker = np.random.default_rng(0), OptimalLinker(LinkOptions())
    detector = EventDetector(EventOptions(), (96, 96), 3)
    # A hundred frames with particles that come and go, seen again and again: tracks keep beginning and ending.
    seen = []
    for _ in range(100):
        mask = np.zeros((96, 96), bool)
        for y, x in rng.integers(0, 90, (6, 2)):
            mask[y : y + 6, x : x + 6] = True
        seen.append(measure(components(find_runs(mask)), MeasureOptions(perimeter=False)))
    process, at = psutil.Process(), {}
    tracks = 0
    for index in range(frames):
        measured = seen[index % 100]
        ids = linker.step(index, np.column_stack([measured.particles.y, measured.particles.x]))
        detector.step(index, measured, ids)
        tracks = max(tracks, int(ids.max(initial=0)) + 1)
        if index in {frames // 10, frames - 1}:
            at[index] = process.memory_info().rss / 1e6
    first, last = at.values()
    return (
        f"{tracks} tracks in {frames} frames: resident memory {first:.1f} MB after a tenth, {last:.1f} MB at the end."
    )


def main() -> None:
    warnings.simplefilter("ignore")
    link(table_of(walks(50, 3, 1.0)), 5)  # compile before anything is timed
    lines = [
        "# Linking",
        "",
        "Made by `python -m benchmarks.linking`. CPU time of one process; the ratios are from one run.",
        "",
        "## Against trackpy: links and speed",
        "",
        "| stream | function | links | differing | trackpy ms/frame | insitu ms/frame | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for memory in (0, 3):
        lines += against_trackpy("sparse, 300 × 2000", walks(300, 2000, 1.0), 10.0, memory)
        lines += against_trackpy("dense, 3000 × 200", walks(3000, 200, 1.5), 10.0, memory)
    lines += [
        "",
        "## Search range above the spacing (3000 particles, spacing 17 px, step 4 px; trackpy gives up from 24 px)",
        "",
        "| search range px | ms/frame | frames flagged | right links % |",
        "| --- | --- | --- | --- |",
        *sweep(),
        "",
        "## Cost of linking and events (coarsening discs, 1792 × 1920)",
        "",
        "| particles | runs | events | link ms/frame | events ms/frame | together, mean | together, median |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        cost(300, 11.0),
        cost(1500, 8.0),
        "",
        "## Memory",
        "",
        flat_memory(),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    (Path(__file__).parent / "results" / "linking.md").write_text(text)


if __name__ == "__main__":
    main()
