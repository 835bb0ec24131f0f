"""Touching particles of one frame told apart by shape alone: a watershed on the distance to the outside.

What it needs is the mask: no earlier frame, no other particle. `insitu.runs.cut` divides an outline among particles
that were seen apart before instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.runs import lines_of, require_labels
from insitu.runs.cut import in_pieces
from insitu.runs.loops import fastest
from insitu.runs.pieces import find_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.types import Runs

# Two equal discs whose centres lie 1.2 radii apart have a neck of 0.8 diameters: less apart, they count as one.
NECK = 0.8
# Outlines of pixels are uncertain by half a pixel on either side.
DEPTH_PX = 0.5
# An outline that fills the ellipse of its second moments to this share has no neck worth asking for: a disc of 5 px
# radius and more is above it, two discs that meet in a neck of `NECK` are below unless one is a quarter of the other.
FULL_ELLIPSE = 0.985


def split(runs: Runs, *, min_area_px: int = 1) -> Runs:
    """Cut the outlines of particles that touch, each where its neck is narrow.

    The distance of every pixel to the outside (exact, Euclidean) rises to a peak in the middle of every convex part; a
    pass between two peaks is half as high as the neck is wide. Two parts are told apart where the pass is at most
    `NECK` times the smaller of the two peaks and at least `DEPTH_PX` below it (the rule of h-maxima, with a depth
    relative to the size); each pixel belongs to the peak it climbs to. Soille, Morphological Image Analysis, 2nd ed.
    (2003), 10.1007/978-3-662-05088-0, ch. 9.

    Parameters
    ----------
    runs : Runs
        Labelled, see `insitu.runs.components`.
    min_area_px : int
        In camera pixels: nothing is cut off that would be smaller, so that no area is lost by cutting.

    Returns
    -------
    Runs
        Labelled in raster order of the first pixel. Every outline depends on its own pixels alone. The sums of a run
        that is cut are shared by the pixels of its pieces.
    """
    require_labels(runs)
    if not len(runs):
        return runs
    least = -(-min_area_px // runs.bin**2)
    asked = _may_be_several(runs, least)
    if not asked.any():
        return runs
    labels = (runs.label, runs.n_labels)
    pieces, n = find_pieces(lines_of(runs), labels, asked, runs.shape, (NECK, DEPTH_PX, least))
    if n == runs.n_labels:
        return runs
    return in_pieces(runs, pieces, n)


def _may_be_several(runs: Runs, least: int) -> NDArray[np.bool_]:
    """Return which labels are large enough to be two and fill less than `FULL_ELLIPSE` of their ellipse."""
    sums, _ = fastest().moments(lines_of(runs), runs.label, runs.n_labels)
    n, y, x, yy, xy, xx = sums.astype(np.float64).T
    # a pixel is a square, not a point: 1/12 px² more along either axis
    var_y, var_x = yy / n - (y / n) ** 2 + 1 / 12, xx / n - (x / n) ** 2 + 1 / 12
    determinant = var_y * var_x - (xy / n - (y / n) * (x / n)) ** 2
    return np.asarray((n >= 2 * least) & (n < FULL_ELLIPSE * 4 * np.pi * np.sqrt(np.maximum(determinant, 0.0))))
