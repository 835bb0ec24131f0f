"""Where the ladder of smoothed frames stands out of the noise, by cells of 4×4 px (arrays as in `outlines`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel
from insitu.pixels.outlines import CELL, slow_row, which

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Cells = NDArray[np.int32]

_SLACK = np.float32(1e-3)  # far above the rounding of the correction, far below the noise


@kernel
def _may_stand_out(
    most: NDArray[np.float32], correction: Image, shift: Image, bar: Image, out: NDArray[np.int64]
) -> None:
    """Set bit k for the cells of a row whose largest value (K, w) at width k comes near its bar."""
    columns, width, last = out.shape[0], correction.shape[1], correction.shape[0] - 1
    least = np.empty(columns, np.float32)
    for j in range(columns):
        left, right = j * CELL, min((j + 1) * CELL, width) - 1
        # bilinear within a cell: the least correction stands in a corner
        upper = min(correction[0, left], correction[0, right])
        least[j] = min(upper, correction[last, left], correction[last, right])
        out[j] = 0
    for k in range(most.shape[0]):
        row, bound = most[k], shift[k] + bar[k] - _SLACK
        for j in range(columns):
            out[j] |= (row[j] - least[j] > bound) << k


@kernel
def _any_pixel(  # noqa: PLR0917 - slices of what the function below has
    image: Image, i: int, j: int, shift: np.float32, bar: Image, column_noise: Image
) -> bool:
    """Whether any pixel of a cell exceeds its bar."""
    for y in range(i * CELL, min((i + 1) * CELL, image.shape[0])):
        for x in range(j * CELL, min((j + 1) * CELL, image.shape[1])):
            if image[y, x] - shift > bar[y] * column_noise[x]:
                return True
    return False


@kernel
def cells_that_stand_out(  # noqa: PLR0917 - as `stands_out`
    ladder: NDArray[np.float32],
    most: NDArray[np.float32],
    shift: Image,
    bar: Image,
    row_noise: Image,
    column_noise: Image,
) -> NDArray[np.bool_]:
    """Find the cells in which any width exceeds its bar, nothing being taken away but `shift`; bool (h, w).

    The largest value of a cell decides where its bar is one; near the borders, where it changes, every pixel is asked.
    Parameters as in `stands_out`.
    """
    widths = ladder.shape[0]
    rows, columns = most.shape[1:]
    out = np.zeros((rows, columns), np.bool_)
    even, near = np.empty(columns, np.bool_), np.empty(columns, np.bool_)
    for k in range(widths):
        for j in range(columns):
            even[j] = column_noise[k, j * CELL : (j + 1) * CELL].max() == 1.0
        uneven, bars = np.flatnonzero(~even), bar[k] * row_noise[k]
        for i in range(rows):
            row, found = most[k, i], out[i]
            for j in range(columns):
                near[j] = row[j] - shift[k] > bar[k]
            if row_noise[k, i * CELL : (i + 1) * CELL].max() == 1.0:
                for j in range(columns):
                    found[j] |= near[j] & even[j]
                asked = uneven
            else:
                asked = np.flatnonzero(near)
            for n in range(asked.shape[0]):
                j = int(asked[n])
                if near[j] and not found[j]:
                    found[j] = _any_pixel(ladder[k], i, j, shift[k], bars, column_noise[k])
    return out


@kernel
def _stretches(words: NDArray[np.int64], places: NDArray[np.int64], k: int, width: int, out: NDArray[np.int64]) -> int:
    """Write down the first and last pixels + 1 of the unbroken rows of cells, among `places`, with bit k; how many."""
    found, last = 0, -2
    for j in places:
        if words[j] >> k & 1 == 0:
            continue
        if j > last + 1:
            out[found, 0] = j * CELL
            found += 1
        out[found - 1, 1] = min((j + 1) * CELL, width)
        last = j
    return found


@kernel
def _mark(  # noqa: PLR0917 - slices of what the function below has
    row: Image, correction: Image, shift: np.float32, bar: np.float32, column_noise: Image, hit: NDArray[np.bool_]
) -> None:
    """Mark the pixels of a stretch that exceed their bar."""
    for x in range(hit.shape[0]):
        hit[x] |= row[x] - correction[x] - shift > bar * column_noise[x]


@kernel
def _weigh(  # noqa: PLR0917 - slices of what the function below has
    rows: Image, correction: Image, shift: np.float32, hit: NDArray[np.bool_], left: int, right: int
) -> tuple[int, float, float]:
    """Return how many pixels of a cell are marked, and the means over it of their values ≥ 0 and of the squares."""
    count, weight, square, tall = 0, 0.0, 0.0, rows.shape[0]
    for y in range(tall):
        for x in range(left, right):
            if hit[y, x]:
                value = max(rows[y, x] - correction[y, x] - shift, np.float32(0.0))
                count += 1
                weight += value
                square += value * value
    return count, weight / (tall * (right - left)), square / (tall * (right - left))


@kernel
def stands_out(  # noqa: PLR0917 - one pass over the ladder needs all of them
    ladder: NDArray[np.float32],
    most: NDArray[np.float32],
    slow: Image,
    shift: Image,
    bar: Image,
    row_noise: Image,
    column_noise: Image,
    weighed: int,
) -> tuple[Cells, NDArray[np.float64], NDArray[np.float64]]:
    """Find where any width exceeds its bar; only cells whose largest value comes near it are looked into.

    Parameters
    ----------
    ladder, slow, shift
        See above.
    most : float32 (K, h, w)
        The largest value of the ladder in each cell.
    bar, row_noise, column_noise : float32 (K,), (K, H), (K, W)
        What a value must exceed, and factors ≥ 1 on it near the borders.
    weighed : int
        Width whose values are weights.

    Returns
    -------
    count, weight, square : int32, float64, float64 (h, w)
        Pixels found in each cell; mean over the cell of their weights (values ≥ 0) and of the squares.
    """
    widths, height, width = ladder.shape
    rows, columns = most.shape[1:]
    count = np.zeros((rows, columns), np.int32)
    weight, square = np.zeros((rows, columns)), np.zeros((rows, columns))
    correction = np.empty((CELL, width), np.float32)
    between = np.empty(slow.shape[1], np.float32)
    near, places = np.empty(columns, np.int64), np.empty(columns, np.int64)
    hit = np.empty((CELL, width), np.bool_)
    stretch = np.empty((columns // 2 + 1, 2), np.int64)
    for i in range(rows):
        top, tall = i * CELL, min(CELL, height - i * CELL)
        for y in range(tall):
            slow_row(slow, top + y, between, correction[y])
        _may_stand_out(most[:, i], correction[:tall], shift, bar, near)
        some = places[: which(near, places)]
        if some.shape[0] == 0:
            continue
        hit[:] = False
        for k in range(widths):
            for n in range(_stretches(near, some, k, width, stretch)):
                left, right = stretch[n]
                for y in range(tall):
                    row, noise = ladder[k, top + y], bar[k] * row_noise[k, top + y]
                    part = correction[y][left:right], shift[k], noise, column_noise[k][left:right], hit[y][left:right]
                    _mark(row[left:right], *part)
        row = ladder[weighed, top : top + tall]
        for j in some:
            left, right = j * CELL, min((j + 1) * CELL, width)
            found = _weigh(row, correction, shift[weighed], hit, left, right)
            count[i, j], weight[i, j], square[i, j] = found
    return count, weight, square
