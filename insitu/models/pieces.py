"""What `insitu.pixels.pieces` does, with numpy alone where numba is absent; tests hold both to the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.pixels import trees
from insitu.pixels.trees import COLUMNS, REACH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]

chosen = trees.chosen


def label(values: Image, level: float, least: int) -> tuple[Labels, int]:
    """Return the 8-connected pieces above `level` of `least` pixels or more, numbered by their first pixels."""
    height, width = values.shape
    wide = np.zeros((height, width + 2), np.int8)
    wide[:, 1:-1] = values > level
    step = np.diff(wide, axis=1)
    row, start = np.nonzero(step > 0)
    stop = np.nonzero(step < 0)[1]
    root = np.arange(len(row))
    a, b = _neighbours(row, start, stop, width)
    while len(a):
        before = root.copy()
        lower = np.minimum(root[a], root[b])
        np.minimum.at(root, root[a], lower)
        np.minimum.at(root, root[b], lower)
        while (root[root] != root).any():
            root = root[root]
        if (before == root).all():
            break
    area = np.bincount(root, stop - start, minlength=len(root) + 1)[: len(root)]
    keep = area >= least
    number = np.where(keep, np.cumsum(keep), 0)[root]
    out = np.zeros(height * width, np.int32)
    length = stop - start
    first = np.repeat(row * width + start - np.concatenate([[0], np.cumsum(length)[:-1]]), length) if len(row) else row
    out[first + np.arange(int(length.sum()))] = np.repeat(number, length)
    return out.reshape(height, width), int(keep.sum())


def _neighbours(
    row: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of runs of neighbouring rows that touch, also at corners."""
    pitch = width + 3
    begin, end = (row + 1) * pitch + start, (row + 1) * pitch + stop
    low = np.searchsorted(end, begin - pitch, "left")  # the first above that ends at the start or later
    high = np.searchsorted(begin, end - pitch, "right")
    number = np.maximum(high - low, 0)
    own = np.repeat(np.arange(len(row)), number)
    offset = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
    return own, np.repeat(low, number) + offset


def sums(labels: Labels, count: int, values: Image, image: Image) -> NDArray[np.float64]:
    """Return `COLUMNS` sums of every piece; float64 (count, COLUMNS)."""
    height, width = labels.shape
    out = np.zeros((count + 1, COLUMNS))
    y, x = np.nonzero(labels)
    at, p, v = labels[y, x], values[y, x].astype(np.float64), image[y, x].astype(np.float64)
    for column, weight in enumerate((np.ones(len(at)), y, x, y * y, y * x, x * x, p, v, v * v)):
        out[:, column] = np.bincount(at, weight, minlength=count + 1)
    out[1:, 9] = -np.inf
    np.maximum.at(out[:, 9], at, p)
    out[at[(y == 0) | (x == 0) | (y == height - 1) | (x == width - 1)], 10] = 1
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        i, j = y + down, x + right
        inside = (i >= 0) & (j >= 0) & (i < height) & (j < width)
        edge = inside.copy()
        edge[inside] = labels[i[inside], j[inside]] != at[inside]
        out[:, 11] += np.bincount(at[edge], minlength=count + 1)
        i, j = y + REACH * down, x + REACH * right
        free = edge & (i >= 0) & (j >= 0) & (i < height) & (j < width)
        free[free] = labels[i[free], j[free]] == 0
        there, beyond = image[i[free], j[free]].astype(np.float64), values[i[free], j[free]]
        for column, weight in enumerate((np.ones(len(there)), there, there * there, beyond), start=12):
            out[:, column] += np.bincount(at[free], weight, minlength=count + 1)
    return out[1:]


def containing(labels: Labels, count: int, lower: Labels) -> NDArray[np.int64]:
    """Return in which piece of a lower level each piece lies: its number there less 1; (count,)."""
    number, place = np.unique(labels.ravel(), return_index=True)
    out = np.full(count, -1, np.int64)
    out[number[number > 0] - 1] = lower.ravel()[place[number > 0]] - 1
    return out


def paint(out: Labels, labels: Labels, number: NDArray[np.int32]) -> None:
    """Write into `out` the number of each piece where it is not 0."""
    new = number[labels]
    np.copyto(out, new, where=new > 0)
