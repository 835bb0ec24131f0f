"""The course of the image just outside of the particles, from some rows of the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel
from insitu.pixels.outlines import CELL, slow_row, which

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]

REACH = 3  # px outside of an edge that are looked at
CLEAR = 6  # px outside of an edge that hold nothing else
ROW, ROWS = 2, 128  # the rows that are looked at: one in each cell, or few more of them than this
FIXED_POINT = np.float32(1 << 16)


@kernel
def _is_free(row: Image, correction: Image, x: int, side: int, level: np.float32) -> bool:
    """Whether a pixel has nothing above `level` on one side."""
    for m in range(1, CLEAR + 1):  # noqa: SIM110 - generators are not compiled
        if row[x + side * m] - correction[x + side * m] > level:
            return False
    return True


@kernel
def outside(image: Image, slow: Image, shift: np.float32, cut: Image, contrast: Image) -> tuple[NDArray[np.int64], int]:
    """Add up the values at 1 … `REACH` px outside of upright edges, in units of the particle's contrast.

    Parameters
    ----------
    image : float32 (H, W)
        The frame at one width; `slow` and `shift` are taken away as in `insitu.pixels.outlines`.
    cut, contrast : float32 (h, w)
        Of the cells of particles and those beside them: the level at which an edge is looked for, the contrast.

    Returns
    -------
    total, number : int64 (REACH,), int
        Sums of round(65536 value), number of edges; see `insitu.models.fringes.outside`.
    """
    height, width = image.shape
    total, number = np.zeros(REACH, np.int64), 0
    between, correction = np.empty(slow.shape[1], np.float32), np.empty(width, np.float32)
    places = np.empty(cut.shape[1], np.int64)
    for i in range(0, cut.shape[0], max(1, cut.shape[0] // ROWS)):
        y = i * CELL + ROW
        some = places[: which(cut[i] > 0, places)]
        if some.shape[0] == 0 or y + 1 >= height:
            continue
        slow_row(slow, y, between, correction)
        above, row, below = image[y - 1], image[y], image[y + 1]
        for j in some:
            level = cut[i, j] + shift
            for x in range(max(CLEAR, j * CELL), min((j + 1) * CELL, width - CLEAR)):
                if row[x] - correction[x] <= level:
                    continue
                steep = abs(below[x] - above[x])
                for side in (-1, 1):
                    if abs(row[x] - row[x + side]) >= steep and _is_free(row, correction, x, side, level):
                        number += 1
                        for m in range(1, REACH + 1):
                            value = row[x + side * m] - correction[x + side * m] - shift
                            total[m - 1] += np.int64(np.rint(value / contrast[i, j] * FIXED_POINT))
    return total, number
