"""The fringe around particles that are out of focus, and by how much it lowers the level of their outlines.

Out of focus an edge is followed on its outside by a Fresnel fringe of the other sign. What is seen of the edge is then
a step from the fringe up to the particle, and its middle lies below the middle between support and particle: outlines
cut there are drawn too far inside. The depth of the fringe is measured in each frame, over all upright edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

WIDTH = 1  # the fringe is read at the second width, 1.4 px: it is as narrow as the edge
REACH = 3  # px outside of an edge that are looked at: a fringe stands beside it
CLEAR = 6  # px outside of an edge that hold nothing else
_FIXED_POINT = 1 << 16
_FEWEST_EDGES = 8
_DEEPEST = 0.5  # of the contrast; what seems deeper is another particle's doing
_CELL_PX, _ROW, _ROWS = 4, 2, 128  # every fourth row, or few more of them than this


def depth(total: NDArray[np.int64], number: int) -> float:
    """Return how deep the fringe is, as a share of the contrast: 0 where there is none, or too few edges to tell.

    Parameters
    ----------
    total, number : int64 (REACH,), int
        As `outside` gives them.
    """
    if number < _FEWEST_EDGES:
        return 0.0
    deepest = -int(total.min()) / (_FIXED_POINT * number)
    return float(np.float32(min(max(deepest, 0.0), _DEEPEST)))


def outside(smoothed: torch.Tensor, level: torch.Tensor, contrast: torch.Tensor) -> tuple[NDArray[np.int64], int]:
    """Add up the values at 1 … `REACH` px outside of upright edges, in units of the particle's contrast.

    Parameters
    ----------
    smoothed, level, contrast : torch.Tensor of shape (H, W)
        The frame at one width, its support at 0; the level at which an edge is looked for and the contrast, both 0 far
        from particles.

    Returns
    -------
    total : int64 (REACH,)
        Sums of round(65536 value): the order of summation changes nothing.
    number : int
        Edges found: pixels above the level, in about 128 rows, that have nothing above it for `CLEAR` px on one side,
        with a step there that is larger than the image's change from the row above to that below.
    """
    import torch

    height, width = smoothed.shape
    step = _CELL_PX * max(1, -(-height // _CELL_PX) // _ROWS)
    rows, below = smoothed[_ROW::step], smoothed[_ROW + 1 :: step]
    rows, above = rows[: len(below)], smoothed[_ROW - 1 :: step][: len(below)]
    if width <= 2 * CLEAR or not len(rows):
        return np.zeros(REACH, np.int64), 0
    middle = slice(CLEAR, width - CLEAR)
    at, scale = (one[_ROW::step][: len(rows), middle] for one in (level, contrast))
    value, steep = rows[:, middle], (below - above)[:, middle].abs()
    inside = (at > 0) & (value > at)
    total, number = torch.zeros(REACH, dtype=torch.int64, device=smoothed.device), 0
    for side in (-1, 1):
        beside = [rows[:, CLEAR + side * m : width - CLEAR + side * m] for m in range(1, CLEAR + 1)]
        edge = inside & ((value - beside[0]).abs() >= steep)
        for one in beside:
            edge &= one <= at
        number += int(edge.sum())
        for m in range(REACH):
            total[m] += (beside[m][edge] / scale[edge] * _FIXED_POINT).round().long().sum()
    return total.cpu().numpy(), number
