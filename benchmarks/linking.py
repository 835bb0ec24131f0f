"""Linking against trackpy, the cost of linking, and flat memory of the tracker: ``python -m benchmarks.linking``.

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

from insitu.link import OptimalLinker, link, link_iter
from insitu.measure import measure
from insitu.options import EventOptions, LinkOptions, MeasureOptions
from insitu.runs import components, find_runs
from insitu.tracker import Tracker
from insitu.types import Frame, Header

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


def cost(n: int, movie: str, frames: int = 400) -> str:
    """Time the linker with and without the vote, frame about; particles on 1792 × 1920 px, step 1 px, 1 % replaced."""
    stream = walks(n, frames, 1.0, seed=2)
    if movie == "jumps":
        stream = [p + 25.0 * (k // 50) for k, p in enumerate(stream)]
    if movie == "nothing common":
        rng = np.random.default_rng(3)
        stream = [rng.random((n, 2)) * SIZE for _ in range(frames)]
    spent = []
    for options in (LinkOptions(), LinkOptions(drift_range_px=0)):
        linker = OptimalLinker(options)
        each = np.zeros(frames)
        for index, positions in enumerate(stream):
            begin = time.process_time_ns()
            linker.step(index, positions)
            each[index] = (time.process_time_ns() - begin) / 1e6
        spent += [each[10:].mean(), np.median(each[10:])]
    return f"| {n} | {movie} | {spent[0]:.2f} | {spent[1]:.2f} | {spent[2]:.2f} |"


def flat_memory(frames: int = 100_000) -> str:
    import psutil

    rng, tracker = np.random.default_rng(0), Tracker(LinkOptions(), EventOptions(), (96, 96))
    # A hundred frames with particles that come and go, seen again and again: tracks keep beginning and ending.
    seen = []
    for _ in range(100):
        mask = np.zeros((96, 96), bool)
        for y, x in rng.integers(0, 90, (6, 2)):
            mask[y : y + 6, x : x + 6] = True
        seen.append(measure(components(find_runs(mask)), MeasureOptions(perimeter=False)))
    process, at = psutil.Process(), {}
    tracks, events, state = 0, 0, {}
    begin = time.process_time()
    for index in range(frames):
        for result in tracker.step(Frame(index, None, "ok", (), Header("squares", index)), seen[index % 100], None, ()):
            tracks = max(tracks, int(result.ids.max(initial=0)) + 1)
            events += len(result.events)
        if index in {frames // 10, frames // 2, frames - 1}:
            at[index] = process.memory_info().rss / 1e6
            state[index] = sum(v.nbytes for v in tracker.state().values()) / 1e3
    spent = 1e3 * (time.process_time() - begin) / frames
    resident, kept = (" / ".join(f"{v:.1f}" for v in values.values()) for values in (at, state))
    return (
        f"Tracker (linker, events, look-ahead), {frames} frames, {tracks} particles, {events} events, {spent:.2f} ms a "
        f"frame: resident memory {resident} MB after a tenth, after half, at the end; state {kept} kB."
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
        "## Cost of the linker with and without looking for drift (range 15 px, reach 100 px, 1 % replaced a frame)",
        "",
        "With events: `benchmarks/results/events.md`. Nothing common: another field of view in every frame.",
        "",
        "| particles | movie | mean ms/frame | median ms/frame | mean without drift |",
        "| --- | --- | --- | --- | --- |",
        *(cost(n, movie) for n in (300, 1500, 3000) for movie in ("at rest", "jumps", "nothing common")),
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
