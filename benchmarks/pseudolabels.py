"""CPU time of a pseudo-label of 1792×1920 px against the published pipeline in scikit-image, and how good it is.

Run with ``python -m benchmarks.pseudolabels``; prints the table and writes ``benchmarks/results/pseudolabels.md``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their thread pools

import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage import filters
from skimage.morphology import disk, opening, reconstruction

from benchmarks.measuring import SHAPE, processor
from insitu.models.memory import keep_large_blocks
from insitu.pseudolabels import pseudo_mask
from insitu.scores import Confusion, confusion
from insitu.simulate import Simulation, random_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 3
RESULT = Path(__file__).parent / "results" / "pseudolabels.md"
ABOUT = """\
Frames of 1792×1920 px, one thread, process CPU time, both in turn in one process (median of {rounds} rounds at
25 e⁻/px, of 1 else). The reference is the published pipeline, step by step, in scikit-image and double precision; the
masks are compared pixel by pixel.
"""


def as_published(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Do the steps of Horwath et al. 2020, 10.1038/s41524-020-00363-x, with scikit-image."""

    def scaled(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return (x - x.min()) / x.max()

    blurred = scaled(filters.gaussian(scaled(image.astype(float)), sigma=2))
    seed = blurred.copy()
    seed[1:-1, 1:-1] = blurred.min()
    surface = reconstruction(seed, blurred, method="dilation")
    seed = surface.copy()
    seed[1:-1, 1:-1] = surface.max()
    depth = np.abs(surface - reconstruction(seed, surface, method="erosion"))
    smooth = scaled(opening(scaled(depth + filters.sobel(depth)), disk(5)))
    return smooth > filters.threshold_otsu(smooth)


def frames() -> dict[str, NDArray[Any]]:
    """Make the frames: a simulated movie frame at three doses, a varied scene, and noise alone."""
    found: dict[str, NDArray[Any]] = {}
    for dose in (10, 25, 60):
        movie = Simulation(shape=SHAPE, frames=1, particles=300, seed=2, dose_e_per_px=float(dose))
        found[f"simulated, {dose} e⁻/px"] = movie.frame(0)
    found["varied scene"] = random_scene(np.random.default_rng(3), SHAPE, mode="bright-field", empty=0.0)[0]
    found["noise alone"] = np.random.default_rng(0).poisson(40, SHAPE).astype(np.uint16)
    return found


def timed(work: Any, image: NDArray[Any]) -> tuple[float, NDArray[np.bool_]]:
    begin = time.process_time()
    mask = work(image)
    return time.process_time() - begin, mask


def against_truth(dose: int) -> str:
    """Return Dice, precision and recall of pixels of the labels of simulated frames."""
    total = Confusion()
    for seed in range(4):
        movie = Simulation(shape=(512, 512), frames=1, particles=60, seed=seed, dose_e_per_px=float(dose))
        total = total + confusion(movie.mask(0), pseudo_mask(movie.frame(0)))
    return f"| {dose} | {total.f1:.3f} | {total.precision:.3f} | {total.recall:.3f} |"


def main() -> None:
    """Time both on every frame, print the table and write it."""
    keep_large_blocks()
    lines = ["# Pseudo-labels", "", "`python -m benchmarks.pseudolabels`", "", ABOUT.format(rounds=ROUNDS)]
    lines += ["| frame | `pseudo_mask`, s | scikit-image, s | ratio | pixels that differ |", "|" + " --- |" * 5]
    pseudo_mask(np.random.default_rng(0).poisson(40, (64, 64)))
    for name, image in frames().items():
        pairs = []
        for _ in range(ROUNDS if name.startswith("simulated, 25") else 1):
            mine, mask = timed(pseudo_mask, image)
            theirs, other = timed(as_published, image)
            pairs.append((mine, theirs, theirs / mine))
        a, b, ratio = np.median(pairs, axis=0)
        lines.append(f"| {name} | {a:.3f} | {b:.2f} | {ratio:.1f} | {np.count_nonzero(mask != other)} |")
    lines += ["", "Against the truth of simulated frames (4 of 512×512 px with about 60 caps):", ""]
    lines += [
        "| e⁻/px | Dice | precision | recall |",
        "|" + " --- |" * 4,
        *(against_truth(dose) for dose in (10, 25, 60)),
    ]
    used = ", ".join(f"{n} {version(n)}" for n in ("numpy", "numba", "scipy", "scikit-image"))
    lines += ["", f"{used}; {processor()}.", ""]
    print("\n".join(lines))
    RESULT.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
