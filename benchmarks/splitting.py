"""Touching particles told apart: what is cut that should not be, what is found in crowded images, and what it costs.

Run with ``python -m benchmarks.splitting``; prints the tables and writes ``benchmarks/results/splitting.md``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their thread pools

import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from benchmarks.measuring import SHAPE, processor, scatter
from insitu import models
from insitu.models.memory import keep_large_blocks
from insitu.options import PrepareOptions, SegmentOptions
from insitu.prepare import prepare, reference
from insitu.runs import components, find_runs, paint
from insitu.runs import split as splitting
from insitu.runs.split import split
from insitu.scores import Objects, objects
from insitu.segment import segment
from insitu.simulate import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

DOSES = (10, 25, 60)
MODELS = ("classical", "unet", "resunet")
LEAST_AREA_PX = 20
RESULT = Path(__file__).parent / "results" / "splitting.md"
EIGHT = np.ones((3, 3))


def by_scikit_image(mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the usual recipe: distance map, its h-maxima as markers, watershed."""
    distance = ndimage.distance_transform_edt(mask)
    markers, _ = ndimage.label(h_maxima(distance, 0.5), EIGHT)
    return watershed(-distance, markers, connectivity=2, mask=mask)


def crowds() -> dict[str, NDArray[np.bool_]]:
    """Make frames of 1792×1920: 3000 particles apart, of radius 3…10 px; the same with every second one in a pair."""
    rng = np.random.default_rng(20)
    apart = scatter(rng, rng.uniform(3, 10, 3000), gap=2)
    label, n = ndimage.label(apart, EIGHT)
    centre = np.array(ndimage.center_of_mass(apart, label, np.arange(1, n + 1)))
    radius = np.sqrt(np.bincount(label.ravel())[1:] / np.pi)
    pairs = apart.copy()
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    for (cy, cx), r in zip(centre[::2], radius[::2], strict=True):
        turn = rng.uniform(0, 2 * np.pi)
        py, px = cy + 1.7 * r * np.sin(turn), cx + 1.7 * r * np.cos(turn)
        box = np.s_[max(0, int(py - r)) : int(py + r) + 2, max(0, int(px - r)) : int(px + r) + 2]
        pairs[box] |= (y[box[0]] - py) ** 2 + (x[:, box[1]] - px) ** 2 <= r * r
    return {"3000 apart": apart, "every second in a pair": pairs}


def cpu_s(work: Callable[[], object], times: int) -> float:
    """Median CPU time of a call, compiled before."""
    work()
    spent = []
    for _ in range(times):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return float(np.median(spent))


def cost() -> list[str]:
    head = ("frame of 1792×1920", "outlines", "after", "ms a frame", "ms per 1000 outlines")
    head += ("ms per 1000, every outline asked", "scikit-image, ms per 1000", "ratio")
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name, mask in crowds().items():
        runs = components(find_runs(mask))
        mine = cpu_s(lambda r=runs: split(r), 15)
        before, splitting.FULL_ELLIPSE = splitting.FULL_ELLIPSE, 9.0
        asked = cpu_s(lambda r=runs: split(r), 7)
        splitting.FULL_ELLIPSE = before
        theirs = cpu_s(lambda m=mask: by_scikit_image(m), 1)
        per = 1e6 / runs.n_labels
        lines.append(
            f"| {name} | {runs.n_labels} | {split(runs).n_labels} | {1e3 * mine:.1f} | {per * mine:.2f} "
            f"| {per * asked:.2f} | {per * theirs:.0f} | {theirs / mine:.0f} |"
        )
    return lines


def lone_particles_cut() -> list[str]:
    """Return how many particles that touch nothing are cut, in masks of models on simulated frames."""
    lines = ["| mask | e⁻/px | particles | cut | share |", "|" + " --- |" * 5]
    movies = {
        dose: Simulation(shape=(512, 512), frames=4, particles=60, seed=3, dose_e_per_px=float(dose)) for dose in DOSES
    }
    for name in (*MODELS, "truth"):
        for dose, movie in movies.items():
            total = cut = 0
            for k in range(4):
                lone = _lone(movie.mask(k))
                mask = movie.mask(k) > 0 if name == "truth" else _found(name, movie.frame(k))
                whole = components(find_runs(mask))
                drawn, parts = paint(whole), paint(split(whole, min_area_px=LEAST_AREA_PX))
                for label in _alone_in(drawn, movie.mask(k), lone):
                    total += 1
                    cut += len(np.unique(parts[drawn == label])) > 1
            lines.append(f"| {name} | {dose} | {total} | {cut} | {100 * cut / max(total, 1):.2f} % |")
    return lines


def _lone(truth: NDArray[Any]) -> NDArray[np.int64]:
    """Return the true particles whose outline no other one touches."""
    joined, _ = ndimage.label(truth > 0, EIGHT)
    pairs = np.unique(np.stack([joined[truth > 0], truth[truth > 0]]), axis=1)
    outline, members = np.unique(pairs[0], return_counts=True)
    return pairs[1][np.isin(pairs[0], outline[members == 1])].astype(np.int64)


def _alone_in(drawn: NDArray[Any], truth: NDArray[Any], lone: NDArray[np.int64]) -> Iterator[int]:
    """Yield the outlines of at least the least area that hold pixels of one true particle, a lone one, and no other."""
    for label in np.flatnonzero(np.bincount(drawn.ravel()) >= LEAST_AREA_PX):
        held = np.unique(truth[(drawn == label) & (truth > 0)]) if label else []
        if len(held) == 1 and held[0] in lone:
            yield int(label)


def _found(name: str, frame: NDArray[Any]) -> NDArray[np.bool_]:
    options = PrepareOptions()
    ready = prepare(frame[None], options, reference([(0, frame)], options, "dark"))
    return paint(components(segment(ready, models.load(name), SegmentOptions())[0].runs)) > 0


def emps() -> list[str]:
    """Return recall and precision of perfect masks of the EMPS images: what splitting alone can give."""
    root = (
        Path(os.environ.get("INSITU_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "data")) / "segmentation"
    )
    files = [*sorted((root / "emps_em/segmaps").glob("*.png")), *sorted((root / "emps_tem").glob("*_instances.png"))]
    if not files:
        return ["EMPS is not there: set INSITU_SAMPLES."]
    totals = {name: Objects.none() for name in ("none", "watershed")}
    few = {f"{name}, the 12 of emps_tem": Objects.none() for name in ("watershed", "scikit-image h-maxima")}
    for file in files:
        with Image.open(file) as picture:
            truth = np.asarray(picture).astype(np.int64)
        runs = components(find_runs(truth > 0))
        parted = objects(truth, paint(split(runs)))
        totals["none"] += objects(truth, paint(runs))
        totals["watershed"] += parted
        if "_instances" in file.name:  # the reference takes a second an image
            few["watershed, the 12 of emps_tem"] += parted
            few["scikit-image h-maxima, the 12 of emps_tem"] += objects(truth, by_scikit_image(truth > 0))
    lines = [
        f"{len(files)} images.",
        "",
        "| split | recall | precision | F1 | mean IoU of the pairs |",
        "|" + " --- |" * 5,
    ]
    for name, total in (totals | few).items():
        c = total.counts
        quality = total.segmentation_quality
        lines.append(f"| {name} | {c.recall:.3f} | {c.precision:.3f} | {c.f1:.3f} | {quality:.3f} |")
    return lines


def main() -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    keep_large_blocks()
    lines = ["# Splitting", "", '`measure.split = "watershed"`; `python -m benchmarks.splitting`', "", "## Cost", ""]
    lines += [
        "Median process CPU time on one thread; scikit-image: `distance_transform_edt`, `h_maxima`, `watershed`.",
        "",
    ]
    lines += [*cost(), "", "## Particles that touch nothing and are cut all the same", ""]
    lines += [
        "Four simulated frames of about 60 caps at each dose; outlines of at least 20 px that hold one true particle.",
        "",
    ]
    lines += [*lone_particles_cut(), "", "## Perfect masks of EMPS", ""]
    lines += ["Labels as a mask, cut apart, paired one to one at IoU above 0.5.", "", *emps(), ""]
    used = ", ".join(f"{n} {version(n)}" for n in ("numpy", "numba", "scipy", "scikit-image", "torch"))
    lines += [f"{used}; {processor()}.", ""]
    print("\n".join(lines))
    RESULT.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
