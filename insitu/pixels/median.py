"""Median of each pixel's 3×3 neighbourhood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]


@kernel
def _sorted_columns(above: Image, row: Image, below: Image, out: Image) -> None:
    """Sort the three values of each column: out (3, W + 2) lowest, middle, highest, the border columns twice."""
    low, middle, high = out[0], out[1], out[2]
    width = row.shape[0]
    for x in range(width):
        a, b, c = above[x], row[x], below[x]
        first = min(b, a)
        second = max(a, b)
        rest = min(c, second)
        low[x + 1] = min(rest, first)
        middle[x + 1] = max(first, rest)
        high[x + 1] = max(second, c)
    for line in range(3):
        out[line, 0] = out[line, 1]
        out[line, width + 1] = out[line, width]


@kernel
def median3(image: Image, out: Image) -> None:
    """Write the median of each pixel's 3×3 neighbourhood, borders repeated; float32 (H, W), finite.

    The middle of nine is the middle of (largest of the columns' minima, middle of their medians, smallest of their
    maxima).
    """
    height, width = image.shape
    columns = np.empty((3, width + 2), np.float32)
    low, middle, high = columns[0], columns[1], columns[2]
    for y in range(height):
        _sorted_columns(image[max(y - 1, 0)], image[y], image[min(y + 1, height - 1)], columns)
        row = out[y]
        for x in range(width):
            a, b = low[x], low[x + 1]
            lows = max(b, a)
            lows = max(low[x + 2], lows)
            a, b = high[x], high[x + 1]
            highs = min(b, a)
            highs = min(high[x + 2], highs)
            a, b, c = middle[x], middle[x + 1], middle[x + 2]
            first = min(b, a)
            second = max(a, b)
            rest = min(c, second)
            centre = max(rest, first)
            first = min(centre, lows)
            second = max(lows, centre)
            rest = min(highs, second)
            row[x] = max(rest, first)
