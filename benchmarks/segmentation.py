"""How well each model finds particles, and what a frame costs: real gold crops, empty supports, simulated movies.

Run with ``python -m benchmarks.segmentation [MODEL …]``; prints the tables and writes
``benchmarks/results/segmentation.md``. Default settings throughout; one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their thread pools

import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage

from insitu import models
from insitu.models.memory import keep_large_blocks
from insitu.options import PrepareOptions, SegmentOptions
from insitu.prepare import prepare, reference
from insitu.runs import components, paint
from insitu.segment import segment
from insitu.simulate import Simulation, random_scene
from insitu.train.shipped import scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from insitu.types import Model

DOSES = (10, 25, 60)
LEAST_AREA_PX = 20
ABOUT = f"""\
Default settings, polarity "auto", pieces below {LEAST_AREA_PX} px left out, one thread.

- **Au IoU**: 14 real bright-field crops of gold at 800 °C with hand labels (mean, worst); **edge**: how far the outline
  lies outside the labelled one, px, on average.
- **boxes**: F1 on 15 images of real supported catalysts with 2501 boxes, centroid inside the box, one to one, mean over
  the images; in brackets with `measure.split = "watershed"`. (The best LoG filter for each image gives 0.60.)
- **EMPS**: recall / precision of instances at IoU ≥ 0.5 on the panels of a fifth of the publications, with
  `measure.split = "watershed"`. Unlabelled particles count against the precision.
- Sets that a network has learned from are not scored here: see the table of held-out scores in its card.
- **growth**: equivalent diameter in the first and last frame of the real movie of one gold particle in liquid
  (a Gaussian of 4 px and Otsu's threshold give 54.3 and 84.7 nm), and objects in frames 0/6/12.
- **empty**: false particles in 10 empty supports of 512×512 px at 10, 25 and 60 e⁻/px (`Simulation(particles=0)`), and
  in 10 of the widely varied scenes that networks are trained on (grain, patches, uneven beams, hot pixels).
- **F1** on simulated frames (512×512, about 60 gold caps of 6 nm at 0.2 nm/px, wave optics): a particle is found when
  its IoU exceeds 0.5. **radius**: mean error relative to the true outline, and its scatter, of those found.
- **ms**: CPU time of `prepare` + `segment` for a frame of 1792×1920 px, uint16.
"""


def masks(frames: Sequence[NDArray[Any]], model: Model) -> list[NDArray[np.bool_]]:
    """Masks (H, W) of raw frames of one movie."""
    options = PrepareOptions()
    taken = reference(list(enumerate(frames[:8])), options)
    return [
        paint(components(segment(prepare(frame[None], options, taken), model, SegmentOptions())[0].runs)) > 0
        for frame in frames
    ]


def areas(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Areas of the 8-connected pieces of at least `LEAST_AREA_PX`, largest first."""
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    found = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    return np.sort(found[found >= LEAST_AREA_PX])[::-1]


def matched(truth: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[int, int, int, NDArray[np.float64]]:
    """Found, true and reported objects, and the relative radius error of those found."""
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    true_area, area = np.bincount(truth.ravel()), np.bincount(labels.ravel(), minlength=n + 1)
    pair, shared = np.unique(truth.ravel().astype(np.int64) * (n + 1) + labels.ravel(), return_counts=True)
    i, j = pair // (n + 1), pair % (n + 1)
    iou = shared / (true_area[i] + area[j] - shared)
    hit = (i > 0) & (j > 0) & (iou > 0.5) & (true_area[i] >= LEAST_AREA_PX) & (area[j] >= LEAST_AREA_PX)
    error = np.sqrt(area[j][hit] / true_area[i][hit]) - 1
    return int(hit.sum()), int((true_area[1:] >= LEAST_AREA_PX).sum()), int((area[1:] >= LEAST_AREA_PX).sum()), error


def samples() -> Path:
    """Return the folder of real samples."""
    return Path(os.environ.get("INSITU_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "data"))


def real_sets(model: Model, name: str) -> list[str]:
    """Scores on gold, boxes and EMPS; a network that has learned from them is left out."""
    if "attribution" in getattr(model, "card", {}):
        return ["in its card"] * 4
    found = scored(model, name, samples())
    return [
        f"{found['gold_iou']:.3f} ({found['gold_least']:.3f})",
        f"{found['gold_edge_px']:+.2f}",
        f"{found['boxes_f1']:.3f} ({found['boxes_split_f1']:.3f})",
        f"{found['split_recall']:.3f} / {found['split_precision']:.3f}",
    ]


def growing_particle(model: Model) -> str:
    import tifffile

    frames = tifffile.imread(samples() / "movies/au_growth_liquid_tem_13frames.tif", key=[0, 6, 12])
    found = [areas(mask) for mask in masks(list(frames), model)]
    first, last = (0.1635 * np.sqrt(4 * a[0] / np.pi) if len(a) else np.nan for a in (found[0], found[-1]))
    return f"{first:.1f} → {last:.1f} nm, {'/'.join(str(len(a)) for a in found)}"


def empty_supports(model: Model) -> str:
    plain = wide = 0
    for i in range(10):
        movie = Simulation(shape=(512, 512), frames=1, particles=0, seed=i, dose_e_per_px=float(DOSES[i % 3]))
        plain += len(areas(masks([movie.frame(0)], model)[0]))
        scene, _ = random_scene(np.random.default_rng([7, i]), (512, 512), empty=1.0)
        wide += len(areas(masks([scene], model)[0]))
    return f"{plain} / {wide}"


def simulated(model: Model, dose: int) -> list[str]:
    """F1 and radius error on four frames."""
    movie = Simulation(shape=(512, 512), frames=4, particles=60, seed=3, dose_e_per_px=float(dose))
    frames = [movie.frame(k) for k in range(4)]
    hits, true, reported, errors = zip(
        *(matched(movie.mask(k), mask) for k, mask in enumerate(masks(frames, model))), strict=True
    )
    error = np.concatenate(errors) if sum(hits) else np.array([np.nan])
    f1 = 2 * sum(hits) / max(1, sum(true) + sum(reported))
    return [f"{f1:.3f}", f"{100 * error.mean():+.1f} ± {100 * error.std():.1f} %"]


def cpu_ms(model: Model) -> str:
    frame = np.random.default_rng(0).poisson(400, (1, 1792, 1920)).astype(np.uint16)
    y, x = np.mgrid[:1792, :1920]
    for k in range(300):
        cy, cx = (k * 617) % 1792, (k * 1013) % 1920
        near = np.s_[0, max(0, cy - 20) : cy + 20, max(0, cx - 20) : cx + 20]
        frame[near] -= (80 * ((y[near[1:]] - cy) ** 2 + (x[near[1:]] - cx) ** 2 < 300)).astype(np.uint16)
    options = PrepareOptions()
    taken = reference([(0, frame[0])], options)
    spent = []
    for _ in range(4):
        began = time.process_time()
        segment(prepare(frame, options, taken), model, SegmentOptions())
        spent.append(time.process_time() - began)
    return f"{1e3 * min(spent[1:]):.0f}"


def main() -> None:
    torch.set_num_threads(1)
    keep_large_blocks()
    names = sys.argv[1:] or [n for n in models.names() if n != "default"]
    head = ["model", "Au IoU", "edge", "boxes", "EMPS", "growth", "empty: plain / wide"]
    head += [f"{what} at {dose}" for dose in DOSES for what in ("F1", "radius")] + ["ms"]
    rows = [head, ["---"] * len(head)]
    for name in names:
        model = models.load(name)
        row = [name, *real_sets(model, name), growing_particle(model), empty_supports(model)]
        row += [cell for dose in DOSES for cell in simulated(model, dose)] + [cpu_ms(model)]
        rows.append(row)
        print(" | ".join(row), flush=True)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    host = f"{platform.machine()}, torch {version('torch')}, numpy {version('numpy')}"
    end = f"Default: `{models.DEFAULT}`. {host}. `python -m benchmarks.segmentation`"
    text = f"# Segmentation\n\n{ABOUT}\n{table}\n\n{end}\n"
    out = Path(__file__).parent / "results" / "segmentation.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
