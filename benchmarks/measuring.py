"""CPU time of labelling and measuring one 1792×1920 frame: runs against scikit-image and scipy, in one process.

Run with ``python -m benchmarks.measuring``; prints the table and writes ``benchmarks/results/measuring.md``.
The methods are checked against one another before they are timed. Times are medians of process CPU time on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their thread pools

import platform
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import scipy.ndimage
import skimage.measure
import torch

from insitu.measure import measure
from insitu.options import MeasureOptions
from insitu.runs import arrays, components, find_runs, overlaps, paint, tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from insitu.types import Measured

SHAPE = (1792, 1920)
ABOUT = """\
Frames of 1792×1920, counts uint8. clean: 300 discs of radius 5…40 px that do not touch. noisy: the same with ragged
edges and 4000 specks of 1…9 px. dense: 3000 discs of radius 3…10 px. Median process CPU time of a frame on one thread,
all methods in one process; in brackets the ratio to the first row of the group. "Same columns" are area, centroid, box,
both axes, eccentricity, orientation, equivalent diameter and mean intensity. Targets on the clean frame: 2 ms without
the perimeter, 4 ms with it.
"""
RESULT = Path(__file__).parent / "results" / "measuring.md"
BARE = MeasureOptions(min_area_px=1, perimeter=False)
FULL = MeasureOptions(min_area_px=1, perimeter=True)
COLUMNS = (
    "area",
    "centroid",
    "bbox",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "orientation",
    "equivalent_diameter_area",
    "intensity_mean",
)


def scatter(rng: np.random.Generator, radii: np.ndarray, gap: float) -> np.ndarray:
    """Place discs at random, largest first, none closer than `gap` px to another; they may stick out of the frame."""
    mask = np.zeros(SHAPE, np.bool_)
    placed = np.empty((0, 3))
    for radius in np.sort(radii)[::-1]:
        while True:
            centre = rng.uniform((0, 0), SHAPE)
            distance = np.hypot(*(placed[:, :2] - centre).T)
            if (distance > placed[:, 2] + radius + gap).all():
                break
        placed = np.vstack((placed, (*centre, radius)))
        low = np.maximum(np.floor(centre - radius), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius) + 1, SHAPE).astype(int)
        y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
        mask[low[0] : high[0], low[1] : high[1]] |= (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    return mask


def masks() -> dict[str, np.ndarray]:
    """Make the three frames that `ABOUT` describes."""
    rng = np.random.default_rng(20)
    clean = scatter(rng, rng.uniform(5, 40, 300), gap=3)
    ragged = scipy.ndimage.gaussian_filter(clean.astype(np.float32), 1.5)
    ragged += 0.17 * scipy.ndimage.gaussian_filter(rng.standard_normal(SHAPE, np.float32), 1.0) / 0.28
    noisy = ragged > 0.5
    for y, x, h, w in zip(*rng.integers(0, SHAPE[0] - 4, (2, 4000)), *rng.integers(1, 4, (2, 4000)), strict=True):
        noisy[y : y + h, x : x + w] = True
    dense = scatter(rng, rng.uniform(3, 10, 3000), gap=2)
    return {"clean": clean, "noisy": noisy, "dense": dense}


def scikit_image(mask: np.ndarray, counts: np.ndarray, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    return skimage.measure.regionprops_table(skimage.measure.label(mask, connectivity=2), counts, properties=columns)


def scipy_ndimage(mask: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Area, centroid, box and mean intensity only: scipy has no axes and no perimeter."""
    labels, n = scipy.ndimage.label(mask, np.ones((3, 3)))
    index = np.arange(1, n + 1)
    return {
        "area": scipy.ndimage.sum_labels(mask, labels, index),
        "centroid": np.array(scipy.ndimage.center_of_mass(mask, labels, index)),
        "box": np.array([[s.start, s.stop] for pair in scipy.ndimage.find_objects(labels) for s in pair]),
        "intensity_mean": scipy.ndimage.mean(counts, labels, index),
    }


def from_runs(mask: np.ndarray, counts: np.ndarray | None, options: MeasureOptions) -> Measured:
    return measure(components(find_runs(mask, counts)), options)


@contextmanager
def numpy_loops() -> Iterator[None]:
    """Use the loops that stand in where numba is missing."""
    with ExitStack() as stack:
        for module in ("runs.loops", "runs", "measure"):
            stack.enter_context(patch(f"insitu.{module}.fastest", lambda: arrays))
        yield


def in_numpy(mask: np.ndarray, counts: np.ndarray, options: MeasureOptions) -> Measured:
    with numpy_loops():
        return from_runs(mask, counts, options)


def cpu_ms(work: Callable[[], object], *, budget_s: float = 4.0) -> float:
    """Median CPU time of a call in ms, over as many calls (5…61) as the budget allows."""
    work()
    spent: list[float] = []
    while len(spent) < 5 or (sum(spent) < budget_s and len(spent) < 61):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return float(np.median(spent)) * 1e3


def check(mask: np.ndarray, counts: np.ndarray) -> None:
    """Stop if the methods disagree: a time is worth nothing for a different result."""
    found = from_runs(mask, counts, FULL).particles
    table = scikit_image(mask, counts, (*COLUMNS, "perimeter"))
    other = scipy_ndimage(mask, counts)
    plain = in_numpy(mask, counts, FULL).particles
    for ours, theirs in (("area_px", "area"), ("y", "centroid-0"), ("mean_intensity", "intensity_mean")):
        np.testing.assert_array_equal(getattr(found, ours), table[theirs])
        np.testing.assert_array_equal(getattr(found, ours), getattr(plain, ours))
    np.testing.assert_allclose(found.perimeter_px, table["perimeter"], rtol=1e-9)
    np.testing.assert_array_equal(found.perimeter_px, plain.perimeter_px)
    np.testing.assert_array_equal(found.area_px, other["area"])
    np.testing.assert_allclose(found.mean_intensity, other["intensity_mean"])


def methods(mask: np.ndarray, counts: np.ndarray) -> dict[str, list[tuple[str, Callable[[], object]]]]:
    """Return what is timed, by the columns it gives; the first of each group is the reference of the ratios."""
    labels = skimage.measure.label(mask, connectivity=2)
    runs = components(find_runs(mask))
    moved = components(find_runs(np.roll(mask, (2, 1), (0, 1))))
    out = np.empty(SHAPE, np.uint16)
    batch = torch.from_numpy(mask[None])
    return {
        "labelling only": [
            ("runs: `find_runs`, `components`", lambda: components(find_runs(mask))),
            ("… painted as a label image", lambda: paint(components(find_runs(mask)), out=out)),
            ("… tensor operations, on the CPU", lambda: components(tensors.find(batch, None, None, (0, 0), 1)[0])),
            ("`skimage.measure.label`", lambda: skimage.measure.label(mask, connectivity=2)),
            ("`scipy.ndimage.label`", lambda: scipy.ndimage.label(mask, np.ones((3, 3)))),
        ],
        "label + measure, same columns": [
            ("runs: `find_runs`, `components`, `measure`", partial(from_runs, mask, counts, BARE)),
            ("… without numba", partial(in_numpy, mask, counts, BARE)),
            ("… without intensity", partial(from_runs, mask, None, BARE)),
            ("`skimage` label + regionprops_table", partial(scikit_image, mask, counts, COLUMNS)),
            ("`scipy.ndimage`: area, centroid, box, mean intensity only", partial(scipy_ndimage, mask, counts)),
        ],
        "label + measure, with the perimeter": [
            ("runs: `find_runs`, `components`, `measure`", partial(from_runs, mask, counts, FULL)),
            ("… without numba", partial(in_numpy, mask, counts, FULL)),
            ("`skimage` label + regionprops_table", partial(scikit_image, mask, counts, (*COLUMNS, "perimeter"))),
        ],
        "overlap of two frames": [
            ("runs: `overlaps`", lambda: overlaps(runs, moved)),
            ("dense: bincount of label pairs", partial(dense_overlap, labels, np.roll(labels, (2, 1), (0, 1)))),
        ],
    }


def dense_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bincount((a * (b.max() + 1) + b).ravel())


def main() -> None:
    """Time everything on the three frames, print the table and write it."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    columns: list[str] = []
    rows: dict[tuple[str, str], list[str]] = {}
    for kind, mask in masks().items():
        counts = (100 + 60 * mask + rng.normal(0, 10, SHAPE)).clip(0, 255).astype(np.uint8)
        check(mask, counts)
        runs = components(find_runs(mask))
        columns.append(f"{kind}: {runs.n_labels} particles, {len(runs)} runs, coverage {mask.mean():.3f}")
        for group, members in methods(mask, counts).items():
            times = [cpu_ms(work) for _, work in members]
            for (name, _), ms in zip(members, times, strict=True):
                rows.setdefault((group, name), []).append(f"{ms:.2f} ({ms / times[0]:.1f})")
    lines = ["# Measuring", "", "`python -m benchmarks.measuring`", "", ABOUT]
    lines.append(f"| CPU ms a frame (ratio) | {' | '.join(columns)} |")
    lines.append("| --- |" + " --- |" * len(columns))
    group = ""
    for (this, name), cells in rows.items():
        if this != group:
            lines.append(f"| **{this}** |" + " |" * len(columns))
            group = this
        lines.append(f"| {name} | {' | '.join(cells)} |")
    used = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "scipy", "scikit-image", "torch"))
    lines += ["", f"Python {platform.python_version()}, {used}; {processor()}.", ""]
    print("\n".join(lines))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines), encoding="utf-8")


def processor() -> str:
    """Name of the processor, where the system tells."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
