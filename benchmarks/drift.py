"""Drift and jumps of the stage: ``python -m benchmarks.drift``. Writes ``benchmarks/results/drift.md``.

Random walkers with exact identities, with and without jumps of 25 px every 50 frames. The drift of a real movie is in
`benchmarks.real_tracks`.
"""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from insitu.link import OptimalLinker
from insitu.options import LinkOptions

SIZE = 1800.0
ABOUT = """# Drift

Made by `python -m benchmarks.drift`. Five seeds, search range 10 px; jumps are 25 px long, every 50 frames, in any
direction. Particles wander by themselves by `step` a frame, are localised to 0.2 px, and 1 % of them are replaced in
each frame. What they wander on average (`own`, worst of the seeds) cannot be told from a drift; a shift of the stage is
reported once it stands out of that, until then it is 0, and the error is the drift itself. `ms`: of CPU time a frame
that looking for drift adds.
"""


def walks(n: int, frames: int, sigma: float, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Positions and true ids of walkers, localised to 0.2 px, 1 % replaced in each frame; how far they went on average.

    The latter, the largest sum of mean steps in px, is what nobody can tell from a drift.
    """
    rng = np.random.default_rng(seed)
    at, who = rng.random((n, 2)) * SIZE, np.arange(n)
    seen, ids, together = [], [], np.zeros((frames, 2))
    for k in range(frames):
        seen.append(at + rng.normal(0, 0.2, at.shape))
        ids.append(who.copy())
        steps = rng.normal(0, sigma, at.shape)
        together[k] = steps.mean(axis=0)
        at = at + steps
        new = rng.random(n) < 0.01
        at[new] = rng.random((int(new.sum()), 2)) * SIZE
        who[new] = np.arange(who.max() + 1, who.max() + 1 + new.sum())
    return seen, ids, float(np.abs(together.cumsum(axis=0)).max())


def jumping(frames: int, every: int, size: float, steady: float, seed: int) -> np.ndarray:
    """Shift of the stage in each frame: steady, with jumps in random directions."""
    rng = np.random.default_rng(seed)
    step = np.full((frames, 2), steady)
    if size:
        angle = rng.random(frames) * 2 * np.pi
        at = np.arange(every, frames, every)
        step[at] += size * np.stack([np.sin(angle), np.cos(angle)], 1)[at]
    step[0] = 0
    return step.cumsum(axis=0)


def whole_tracks(ids: list[np.ndarray], true: list[np.ndarray]) -> float:
    """Return the share of true tracks of at least two frames that are one track found, with nothing else in it."""
    pairs = np.stack([np.concatenate(true), np.concatenate(ids)], 1)
    unique, count = np.unique(pairs, axis=0, return_counts=True)
    names = {k: dict(zip(*np.unique(pairs[:, k], return_counts=True), strict=True)) for k in (0, 1)}
    good = [c == names[0][a] == names[1][b] for (a, b), c in zip(unique.tolist(), count.tolist(), strict=True) if c > 1]
    return sum(good) / sum(c > 1 for c in names[0].values())


def linked(seen: list[np.ndarray], **options: float) -> tuple[list[np.ndarray], np.ndarray, float]:
    linker = OptimalLinker(LinkOptions(memory_frames=0, **options))
    ids, drift = [], []
    begin = time.process_time()
    for index, positions in enumerate(seen):
        ids.append(linker.step(index, positions))
        drift.append(linker.drift)
    return ids, np.array(drift), 1e3 * (time.process_time() - begin) / len(seen)


def trackpy_ids(seen: list[np.ndarray], radius: float) -> list[np.ndarray]:
    import trackpy

    trackpy.quiet()
    return [np.array(ids) for _, ids in trackpy.link_iter(iter(seen), radius)]


def movie(n: int, frames: int, sigma: float, slow: float, radius: float = 10.0) -> list[str]:
    rows, resting, name = [], 0.0, f"{n} particles, step {sigma:g} px, {frames} frames"
    for stage, size, steady in (
        ("at rest", 0.0, 0.0),
        (f"steady {slow:g} px a frame", 0.0, slow),
        ("steady 0.3 px a frame", 0.0, 0.3),
        ("jumps", 25.0, 0.0),
    ):
        share, cost, off, theirs, voteless, own = [], [], [], [], [], []
        for seed in range(10, 15):
            seen, true, together = walks(n, frames, sigma, seed)
            own.append(together)
            shift = jumping(frames, 50, size, steady, seed)
            seen = [p + s for p, s in zip(seen, shift, strict=True)]
            ids, drift, spent = linked(seen, search_range_px=radius)
            share.append(whole_tracks(ids, true))
            off.append(np.abs(drift - shift).max())
            ids, _, without = linked(seen, search_range_px=radius, drift_range_px=0)
            voteless.append(whole_tracks(ids, true))
            cost.append(spent - without)
            if seed == 10:
                theirs.append(whole_tracks(trackpy_ids(seen, radius), true))
        resting = resting or float(np.mean(share))
        rows.append(
            f"| {name} | {stage} | {100 * np.mean(share):.2f} | {100 * (np.mean(share) - resting):+.2f} | "
            f"{100 * np.mean(voteless):.2f} | {100 * np.mean(theirs):.1f} | {np.max(off):.2f} | {np.max(own):.2f} | "
            f"{np.median(cost):.2f} |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    warnings.simplefilter("ignore")
    lines = [
        ABOUT,
        "| movie | stage | whole tracks % | against rest | no vote | trackpy, 1 seed | worst error px | own px | ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *movie(300, 500, 1.0, 0.05),
        *movie(300, 500, 0.05, 0.002),
        *movie(20, 500, 1.0, 0.1),
        *movie(20, 500, 0.05, 0.01),
        *movie(3000, 100, 1.5, 0.1),
        "",
    ]
    (Path(__file__).parent / "results" / "drift.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
