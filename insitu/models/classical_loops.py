"""The classical method on a CPU: the steps of `insitu.models.classical` in a few passes over the frame.

The smoothed frames are kept as they are; levels and slow changes of the support are taken away in passing, and what
belongs to a particle is decided per cell of 4×4 px. Results differ from the tensors' by the rounding of a float32.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from insitu.models import classical as method
from insitu.models.background import border_factors, sample_strides, smooth_into, support_of
from insitu.models.fringes import WIDTH as FRINGE_WIDTH
from insitu.models.fringes import depth as fringe_depth
from insitu.pixels import detecting, fringes, outlines, smoothing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]

_OWN = threading.local()
_SLOW_CELLS = 2  # cells of 8 px, on which slow changes are averaged, hold so many cells a side


def probability(flat: Image) -> Image:
    """Particle probability of every pixel of a flattened frame (H, W), particles positive."""
    ladder, most = _ladder(flat)
    down, across = sample_strides(flat.shape, method.FIRST_SAMPLE_PX)
    level, noise = _supports(ladder[:, ::down, ::across])
    taken = detecting.cells_that_stand_out(ladder, most, level, *_bars(noise, flat.shape))
    slow = _slow(ladder[0], level[0], taken)
    down, across = sample_strides(flat.shape)
    correction = outlines.slow_samples(slow, flat.shape, (down, across))
    further, noise = _supports(ladder[:, ::down, ::across] - level[:, None, None] - correction)
    shift = level + further
    count, weight, square = detecting.stands_out(
        ladder, most, slow, shift, *_bars(noise, flat.shape), method.CONTRAST_WIDTH
    )
    label, n = outlines.label_cells(count)
    if n == 0:
        return np.zeros(flat.shape, np.float32)
    cut, contrast, place = _cuts(count, weight, square, label, n)
    edges = fringes.outside(ladder[FRINGE_WIDTH], slow, shift[FRINGE_WIDTH], cut, contrast)
    lowered = cut - np.float32(fringe_depth(*edges)) * (contrast - cut)
    chosen = outlines.first_reached(cut, np.float32(method.EDGE_SIGMA) * noise)
    faint = (cut > 0) & (chosen < 0)
    if faint.any():
        wanted = np.zeros(n + 1, np.bool_)
        wanted[place[faint]] = True
        most = outlines.heights(ladder, slow, shift, noise, label, wanted)
        best = most.argmax(axis=0)
        width = best[place[faint]]
        chosen[faint] = width
        lowered[faint] = np.minimum(cut[faint], 0.5 * noise[width] * most.max(axis=0)[place[faint]])
    return outlines.probabilities(ladder, slow, shift, noise, chosen, lowered, method.LOGISTIC_PER_SIGMA)


def _ladder(flat: Image) -> tuple[Image, Image]:
    """Return the frame at every width, float32 (K, H, W), and its largest value in each cell (K, h, w).

    The frames are written over when this thread asks for the next ones.
    """
    ladder = _kept((len(method.WIDTHS_PX), *flat.shape))
    most = np.empty((len(ladder), *(-(-n // outlines.CELL) for n in flat.shape)), np.float32)
    image = flat
    steps = pairwise((0.0, *method.WIDTHS_PX))
    for (before, width), out, highest in zip(steps, ladder, most, strict=True):
        smooth_into(image, (width**2 - before**2) ** 0.5, out, highest)
        image = out
    return ladder, most


def _kept(shape: tuple[int, ...]) -> Image:
    """Return an array that this thread uses again for the next frame.

    Six frames at a time, freed and asked for anew by two lanes in turn, do not find their place again: the heap grows
    for dozens of frames, and 80 MB of new pages cost 10 ms.
    """
    kept: Image | None = getattr(_OWN, "ladder", None)
    if kept is None or kept.shape != shape:
        kept = _OWN.ladder = np.empty(shape, np.float32)
    return kept


def _supports(samples: Image) -> tuple[Image, Image]:
    """Return level and noise of the support at each width, float32 (K,)."""
    found = np.array([support_of(sample) for sample in samples], np.float32)
    return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])


def _bars(noise: Image, shape: tuple[int, int]) -> tuple[Image, Image, Image]:
    """Return what must be exceeded at each width, and its factors near the borders."""
    factors = [border_factors(width, *shape) for width in method.WIDTHS_PX]
    rows, columns = (np.array([pair[axis] for pair in factors], np.float32) for axis in (0, 1))
    return np.asarray(method.DETECT_SIGMA, np.float32) * noise, rows, columns


def _slow(image: Image, level: np.float32, found: NDArray[np.bool_]) -> Image:
    """Return the slow changes of the support on cells of 8 px, averaged between particles."""
    cells = (smoothing.block_means(image, outlines.CELL * _SLOW_CELLS) - level).astype(np.float32)
    taken = np.zeros(cells.shape, np.uint8)
    for i, j in np.ndindex(_SLOW_CELLS, _SLOW_CELLS):
        part = found[i::_SLOW_CELLS, j::_SLOW_CELLS]
        taken[: part.shape[0], : part.shape[1]] |= part
    free = outlines.spread(taken) == 0
    sigma = method.SUPPORT_WIDTH_PX / (outlines.CELL * _SLOW_CELLS)
    above, below = np.empty_like(cells), np.empty_like(cells)
    smooth_into(np.where(free, cells, np.float32(0.0)), sigma, above)
    smooth_into(free.astype(np.float32), sigma, below)
    slow: Image = above / (below + np.float32(method.FADING))
    return slow


def _cuts(
    count: NDArray[np.int32],
    weight: NDArray[np.float64],
    square: NDArray[np.float64],
    label: NDArray[np.int32],
    n: int,
) -> tuple[Image, Image, NDArray[np.int32]]:
    """Return level of the outline and contrast in each cell of a particle or beside one, and whose cell it is.

    All are 0 elsewhere.
    """
    first, second = (_sums(label, values, n) for values in (weight, square))
    mean = (second / np.maximum(first, 1)).astype(np.float32)
    mean[0] = 0.0
    # ranks in place of contrasts: the median over pixels is then one over a few particles
    order = np.argsort(mean, kind="stable")
    rank = np.empty(n + 1, np.int32)
    rank[order] = np.arange(n + 1)
    spread = outlines.spread(rank[label])
    contrast = mean[order][spread]
    pixels = np.cumsum(np.bincount(spread.ravel(), weights=count.ravel(), minlength=n + 1))
    typical = mean[order[np.searchsorted(pixels, (int(pixels[-1]) - 1) // 2, side="right")]]
    low, high = method.OWN_SHARE
    least = np.maximum(contrast * np.float32(low), np.float32(method.OUTLINE_SHARE * float(typical)))
    return np.minimum(least, contrast * np.float32(high)), contrast, outlines.spread(label)


def _sums(label: NDArray[np.int32], values: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Add up a value per cell for each label; fixed point, as the tensors do."""
    inside = label > 0
    fixed = np.rint(values[inside].astype(np.float32) * np.float32(method.FIXED_POINT))
    # sums of integers below 2⁵³: float64 is exact
    return np.bincount(label[inside], weights=fixed, minlength=n + 1).astype(np.int64)
