"""What the classical method does to every pixel of its ladder of smoothed frames, by cells of 4×4 px.

A ladder is an array (K, H, W), float32: the frame at K widths. `slow` (h, w) are the slow changes of the support on a
grid of 8 px cells, taken away in passing: value = ladder[k] − slow (interpolated) − shift[k].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Cells = NDArray[np.int32]

CELL = 4
_SLOW = 8
_SLACK = np.float32(1e-3)  # far above the rounding of the correction, far below the noise


@kernel
def _slow_row(slow: Image, y: int, between: Image, out: Image) -> None:
    """Interpolate the 8 px cells linearly at row `y`, flat outside the centres of the border cells."""
    rows, columns = slow.shape
    at = max(0.0, (y + 0.5) / _SLOW - 0.5)
    first = int(at)
    second = min(first + 1, rows - 1)
    share = np.float32(at - first)
    for c in range(columns):
        between[c] = slow[first, c] + share * (slow[second, c] - slow[first, c])
    half, width = _SLOW // 2, out.shape[0]
    for x in range(min(half, width)):
        out[x] = between[0]
    for c in range(columns):
        begin = c * _SLOW + half
        rise = between[min(c + 1, columns - 1)] - between[c]
        for step in range(min(_SLOW, width - begin)):
            out[begin + step] = between[c] + rise * np.float32((step + 0.5) / _SLOW)


@kernel
def slow_samples(slow: Image, shape: tuple[int, int], stride: int) -> Image:
    """Return the slow changes at every `stride`-th pixel of every `stride`-th row."""
    rows = -(-shape[0] // stride)
    between, row = np.empty(slow.shape[1], np.float32), np.empty(shape[1], np.float32)
    out = np.empty((rows, -(-shape[1] // stride)), np.float32)
    for i in range(rows):
        _slow_row(slow, i * stride, between, row)
        for j in range(out.shape[1]):
            out[i, j] = row[j * stride]
    return out


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
def _set_bits(word: int, out: NDArray[np.int64]) -> int:
    """Write down which of the lowest bits are set; return how many."""
    found = 0
    for k in range(out.shape[0]):
        if word >> k & 1:
            out[found] = k
            found += 1
    return found


@kernel
def _exceeds(  # noqa: PLR0917 - the innermost loop of the function below; slices would cost more than the loop
    ladder: NDArray[np.float32],
    y: int,
    x: int,
    near: NDArray[np.int64],
    may: int,
    shift: Image,
    moved: np.float32,
    bar: Image,
    row_noise: Image,
    column_noise: Image,
) -> bool:
    """Return whether a pixel exceeds its bar at one of the first `may` widths in `near`."""
    for n in range(may):
        k = near[n]
        if ladder[k, y, x] - moved - shift[k] > bar[k] * row_noise[k, y] * column_noise[k, x]:
            return True
    return False


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
    near, possible = np.empty(widths, np.int64), np.empty(columns, np.int64)
    for i in range(rows):
        top, tall = i * CELL, min(CELL, height - i * CELL)
        for y in range(tall):
            _slow_row(slow, top + y, between, correction[y])
        _may_stand_out(most[:, i], correction[:tall], shift, bar, possible)
        for j in range(columns):
            if not possible[j]:
                continue
            left, wide = j * CELL, min(CELL, width - j * CELL)
            may = _set_bits(possible[j], near)
            for y in range(tall):
                for x in range(left, left + wide):
                    moved = correction[y, x]
                    if _exceeds(ladder, top + y, x, near, may, shift, moved, bar, row_noise, column_noise):
                        value = max(ladder[weighed, top + y, x] - moved - shift[weighed], np.float32(0.0))
                        count[i, j] += 1
                        weight[i, j] += value
                        square[i, j] += value * value
            weight[i, j] /= tall * wide
            square[i, j] /= tall * wide
    return count, weight, square


@kernel
def label_cells(count: Cells) -> tuple[Cells, int]:
    """Return the 4-connected components of cells with a pixel, numbered by their last cells, and how many."""
    rows, columns = count.shape
    label = np.zeros((rows, columns), np.int32)
    parent = np.zeros(rows * columns // 2 + 2, np.int32)
    used = 0
    for i in range(rows):
        for j in range(columns):
            if count[i, j] == 0:
                continue
            above = label[i - 1, j] if i > 0 else 0
            left = label[i, j - 1] if j > 0 else 0
            if above == 0 and left == 0:
                used += 1
                parent[used] = used
                label[i, j] = used
                continue
            label[i, j] = above if left == 0 else left
            if above and left and above != left:
                a, b = _root(parent, above), _root(parent, left)
                parent[max(a, b)] = min(a, b)
    number = np.zeros(used + 1, np.int32)
    found = 0
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            if label[i, j]:
                root = _root(parent, label[i, j])
                if number[root] == 0:
                    found += 1
                    number[root] = found
                label[i, j] = number[root]
    for i in range(rows):
        for j in range(columns):
            if label[i, j]:
                label[i, j] = found + 1 - label[i, j]
    return label, found


@kernel
def _root(parent: Cells, at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at


@kernel
def spread(values: NDArray[Any]) -> NDArray[Any]:
    """Return the largest value of the 3×3 cells around each cell."""
    rows, columns = values.shape
    across, out = np.empty_like(values), np.empty_like(values)
    for i in range(rows):
        for j in range(columns):
            across[i, j] = max(values[i, j], values[i, max(j - 1, 0)], values[i, min(j + 1, columns - 1)])
    for i in range(rows):
        above, row, below = across[max(i - 1, 0)], across[i], across[min(i + 1, rows - 1)]
        for j in range(columns):
            out[i, j] = max(row[j], above[j], below[j])
    return out


@kernel
def heights(  # noqa: PLR0917 - a ladder and what belongs to it
    ladder: NDArray[np.float32], slow: Image, shift: Image, noise: Image, label: Cells, n: int
) -> NDArray[np.float32]:
    """Return the largest value over noise of each particle at each width, float32 (K, n + 1), at least 0."""
    widths, height, width = ladder.shape
    most = np.zeros((widths, n + 1), np.float32)
    between, correction = np.empty(slow.shape[1], np.float32), np.empty((CELL, width), np.float32)
    for i in range(label.shape[0]):
        top, tall = i * CELL, min(CELL, height - i * CELL)
        for y in range(tall):
            _slow_row(slow, top + y, between, correction[y])
        for j in range(label.shape[1]):
            at, left, right = label[i, j], j * CELL, min((j + 1) * CELL, width)
            if at == 0:
                continue
            for k in range(widths):
                highest = most[k, at] * noise[k]
                for y in range(tall):
                    for x in range(left, right):
                        highest = max(highest, ladder[k, top + y, x] - correction[y, x] - shift[k])
                most[k, at] = max(most[k, at], highest / noise[k])
    return most


@kernel
def probabilities(  # noqa: PLR0917 - one pass over the ladder needs all of them
    ladder: NDArray[np.float32],
    slow: Image,
    shift: Image,
    noise: Image,
    chosen: NDArray[np.int8],
    cut: Image,
    steepness: float,
) -> Image:
    """Return the logistic function of steepness·(value − cut) / noise at each cell's width; float32 (H, W).

    Parameters
    ----------
    chosen : int8 (h, w)
        Width of each cell; below 0 the probability is 0.
    cut : float32 (h, w)
    """
    height, width = ladder.shape[1:]
    out = np.zeros((height, width), np.float32)
    between, correction = np.empty(slow.shape[1], np.float32), np.empty(width, np.float32)
    slope = np.float32(-steepness) / noise
    for y in range(height):
        _slow_row(slow, y, between, correction)
        row, i = out[y], y // CELL
        for j in range(chosen.shape[1]):
            k = chosen[i, j]
            if k < 0:
                continue
            source, zero = ladder[k, y], shift[k] + cut[i, j]
            for x in range(j * CELL, min((j + 1) * CELL, width)):
                row[x] = np.float32(1.0) / (np.float32(1.0) + math.exp(slope[k] * (source[x] - correction[x] - zero)))
    return out
