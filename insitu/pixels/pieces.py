"""The pieces of a map above a level, and what is summed over each of them: for `insitu.models.choice`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.compiling import kernel
from insitu.pixels.trees import COLUMNS, REACH
from insitu.pixels.trees import chosen as plain_chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]

_DOWN = np.array([0, 0, 1, -1])
_RIGHT = np.array([1, -1, 0, 0])


@kernel
def label(values: Image, level: float, least: int) -> tuple[Labels, int]:
    """Return the 8-connected pieces above `level` of `least` pixels or more, numbered by their first pixels."""
    height, width = values.shape
    out = np.zeros((height, width), np.int32)
    parent = np.zeros(height * ((width + 1) // 2) + 2, np.int32)
    used = 0
    for y in range(height):
        for x in range(width):
            if not values[y, x] > level:
                continue
            own = out[y, x - 1] if x > 0 else 0
            if y > 0:
                for c in range(max(0, x - 1), min(width, x + 2)):
                    other = out[y - 1, c]
                    if other == 0:
                        continue
                    if own == 0:
                        own = other
                    elif other != own:
                        a, b = _root(parent, own), _root(parent, other)
                        parent[max(a, b)] = min(a, b)
                        own = min(a, b)
            if own == 0:
                used += 1
                parent[used] = used
                own = used
            out[y, x] = own
    return out, _renumbered(out, parent[: used + 1], least)


@kernel
def _renumbered(out: Labels, parent: Labels, least: int) -> int:
    """Give the pieces that are large enough numbers from 1 in order of their first pixels, the others 0."""
    area = np.zeros(len(parent), np.int64)
    for i in range(1, len(parent)):
        parent[i] = _root(parent, i)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            area[parent[out[y, x]]] += 1
    number, found = np.zeros(len(parent), np.int32), 0
    for i in range(1, len(parent)):
        if parent[i] == i and area[i] >= least:
            found += 1
            number[i] = found
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            if out[y, x]:
                out[y, x] = number[parent[out[y, x]]]
    return found


@kernel
def _root(parent: Labels, at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = parent[at]
    return at


@kernel
def sums(labels: Labels, count: int, values: Image, image: Image) -> NDArray[np.float64]:
    """Return `COLUMNS` sums of every piece; float64 (count, COLUMNS)."""
    height, width = labels.shape
    out = np.zeros((count, COLUMNS))
    for y in range(height):
        for x in range(width):
            piece = labels[y, x]
            if piece == 0:
                continue
            row, p, v = out[piece - 1], float(values[y, x]), float(image[y, x])
            row[9] = p if row[0] == 0 else max(row[9], p)
            row[0] += 1
            row[1] += y
            row[2] += x
            row[3] += y * y
            row[4] += y * x
            row[5] += x * x
            row[6] += p
            row[7] += v
            row[8] += v * v
            if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                row[10] = 1
            for d in range(4):
                i, j = y + _DOWN[d], x + _RIGHT[d]
                if i < 0 or j < 0 or i >= height or j >= width or labels[i, j] == piece:
                    continue
                row[11] += 1
                i, j = y + REACH * _DOWN[d], x + REACH * _RIGHT[d]
                if i < 0 or j < 0 or i >= height or j >= width or labels[i, j] != 0:
                    continue
                v = float(image[i, j])
                row[12] += 1
                row[13] += v
                row[14] += v * v
                row[15] += values[i, j]
    return out


@kernel
def containing(labels: Labels, count: int, lower: Labels) -> NDArray[np.int64]:
    """Return in which piece of a lower level each piece lies: its number there less 1; (count,)."""
    out = np.full(count, -1, np.int64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            piece = labels[y, x]
            if piece and out[piece - 1] < 0:
                out[piece - 1] = lower[y, x] - 1
    return out


chosen = kernel(plain_chosen)


@kernel
def paint(out: Labels, labels: Labels, number: Any) -> None:  # noqa: ANN401 - int32 (count + 1)
    """Write into `out` the number of each piece where it is not 0."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            if labels[y, x] and number[labels[y, x]]:
                out[y, x] = number[labels[y, x]]
