"""What the classical method does to every pixel of its ladder of smoothed frames, by cells of 4×4 px.

A ladder is an array (K, H, W), float32: the frame at K widths. `slow` (h, w) are the slow changes of the support on a
grid of 8 px cells, taken away in passing: value = ladder[k] − slow (interpolated) − shift[k].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Cells = NDArray[np.int32]

CELL = 4
_SLOW = 8
# The logistic function at steps of 1/256 from -18 to 18, where it is 0 and 1 to 2e-8; a straight line between them is
# within 2e-7.
_STEPS = 256
_MIDDLE = 18 * _STEPS
_LOGISTIC = (1.0 / (1.0 + np.exp(-np.arange(-_MIDDLE, _MIDDLE + 2) / _STEPS))).astype(np.float32)


@kernel
def slow_row(slow: Image, y: int, between: Image, out: Image) -> None:
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
def slow_samples(slow: Image, shape: tuple[int, int], strides: tuple[int, int]) -> Image:
    """Return the slow changes at every so manieth pixel of every so manieth row."""
    down, across = strides
    rows = -(-shape[0] // down)
    between, row = np.empty(slow.shape[1], np.float32), np.empty(shape[1], np.float32)
    out = np.empty((rows, -(-shape[1] // across)), np.float32)
    for i in range(rows):
        slow_row(slow, i * down, between, row)
        for j in range(out.shape[1]):
            out[i, j] = row[j * across]
    return out


@kernel
def which(words: NDArray[np.int64], out: NDArray[np.int64]) -> int:
    """Write down the places of the words that are not 0; return how many."""
    found = 0
    for j in range(words.shape[0]):
        if words[j]:
            out[found] = j
            found += 1
    return found


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
    ladder: NDArray[np.float32], slow: Image, shift: Image, noise: Image, label: Cells, wanted: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the largest value over noise of each particle at each width, float32 (K, n + 1), at least 0.

    Particles that are not `wanted` (n + 1) have 0 throughout.
    """
    widths, height, width = ladder.shape
    most = np.zeros((widths, wanted.shape[0]), np.float32)
    between, correction = np.empty(slow.shape[1], np.float32), np.empty((CELL, width), np.float32)
    for i in range(label.shape[0]):
        top, tall = i * CELL, min(CELL, height - i * CELL)
        for y in range(tall):
            slow_row(slow, top + y, between, correction[y])
        for j in range(label.shape[1]):
            at, left, right = label[i, j], j * CELL, min((j + 1) * CELL, width)
            if at == 0 or not wanted[at]:
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
    slope = np.float32(steepness * _STEPS) / noise
    places = np.empty(chosen.shape[1], np.int64)
    for i in range(chosen.shape[0]):
        some = places[: which(chosen[i] + 1, places)]
        for y in range(i * CELL, min((i + 1) * CELL, height) if some.shape[0] else 0):
            slow_row(slow, y, between, correction)
            row = out[y]
            for j in some:
                k = chosen[i, j]
                source, zero = ladder[k, y], shift[k] + cut[i, j]
                for x in range(j * CELL, min((j + 1) * CELL, width)):
                    at = slope[k] * (source[x] - correction[x] - zero) + _MIDDLE
                    if at >= 2 * _MIDDLE:
                        row[x] = 1.0
                    elif at > 0:
                        n = np.int64(at)
                        row[x] = _LOGISTIC[n] + (at - np.float32(n)) * (_LOGISTIC[n + 1] - _LOGISTIC[n])
    return out


@kernel
def first_reached(values: Image, bars: Image) -> NDArray[np.int8]:
    """Return the first of the bars (K,) that each positive value (h, w) reaches, -1 where it reaches none."""
    out = np.full(values.shape, -1, np.int8)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if values[i, j] > 0:
                for k in range(bars.shape[0]):
                    if values[i, j] >= bars[k]:
                        out[i, j] = k
                        break
    return out
