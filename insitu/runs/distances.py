"""The exact Euclidean distance of the pixels of one outline to the outside, squared: integers, so no rounding.

A window lies flat in memory, with a frame of one pixel around the outline, so that most loops run over one long row of
neighbours at fixed offsets, which a compiler turns into instructions on many pixels at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from insitu.compiling import kernel
except ImportError:  # no numba

    def kernel(function: Any) -> Any:  # type: ignore[misc]  # noqa: ANN401 - a decorator that does nothing
        """Leave `function` as it is."""
        return function


__all__ = ["LARGEST_IN_32_BITS", "distances", "kernel"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.runs.loops import Lines

    Flat = NDArray[Any]  # int32, or int64 where squared distances could be too large
    # row, start, stop of the runs of a frame; which of them are the outline, in raster order; its box y0, x0, y1, x1
    Outline = tuple[Lines, NDArray[np.int64], tuple[int, int, int, int]]

# Height + width of a window up to which 16 squared distances, and a rank below 9, fit 31 bits.
LARGEST_IN_32_BITS = 8190
NARROW_PX = 24  # half the width up to which asking row by row is faster


@kernel
def _along_rows(outline: Outline, shape: tuple[int, int], out: Flat) -> None:
    """Write the squared distance to the end of the run, in the row, of each pixel of the outline, 0 elsewhere.

    Beyond the border of the frame nothing is known to be outside: what lies there is farther than anything.
    """
    (row, start, stop), mine, (y0, x0, y1, x1) = outline
    width = x1 - x0 + 2
    far = width + y1 - y0 + 2
    out[:] = 0
    for r in mine:
        before = start[r] - 1 if start[r] else -far
        behind = stop[r] if stop[r] < shape[1] else shape[1] + far
        at = (row[r] - y0 + 1) * width + 1 - x0 + start[r]
        line = out[at : at + stop[r] - start[r]]
        for i in range(len(line)):
            away = min(i + start[r] - before, behind - start[r] - i, far)
            line[i] = away * away
    if y0 == 0:
        out[:width] = far * far
    if y1 == shape[0]:
        out[len(out) - width :] = far * far


@kernel
def _lower(squared: Flat, other: Flat, more: int) -> None:
    kind = squared.dtype.type
    for p in range(len(squared)):
        squared[p] = min(squared[p], kind(other[p] + more))


@kernel
def _from_rows(along: Flat, width: int, squared: Flat) -> None:
    """Write the least of (distance along row y + k)² + k²: the rows k away are asked for all pixels at once.

    It ends where k² is as large as any distance left, so the cost of a pixel grows with the widest place.
    """
    size = len(along)
    most = 0
    squared[:] = along
    squared[:width] = 0
    squared[size - width :] = 0
    for k in range(1, size // width):
        if k % 2:  # asking once too often changes nothing
            most = 0
            for p in range(size):
                most = max(most, squared[p])
        if k * k >= most:
            break
        away = k * width
        _lower(squared[away : size - width], along[: size - width - away], k * k)
        _lower(squared[width : size - away], along[width + away :], k * k)


@kernel
def _envelope(column: NDArray[np.int64], place: NDArray[np.int64], begin: NDArray[np.int64]) -> int:
    """Write which y' the least of column[y'] + (y - y')² is from, and from which y on; return how many they are.

    The lower envelope of the parabolas in one sweep: Meijster, Roerdink & Hesselink 2000, 10.1007/0-306-47025-X_36.
    """
    top = -1
    for y in range(len(column)):
        first = 0
        while top >= 0:
            other = place[top]
            # Pixels from `first` on are nearer to the outside at y than to that at `other`. The numbers are below 2^33
            # and 2^17, so a quotient of floats is on the right side of every integer.
            first = int(np.floor((column[y] - column[other] + y * y - other * other) / (2.0 * (y - other)))) + 1
            if first > begin[top]:
                break
            top -= 1
        if top < 0:
            first = 0
        if first < len(column):
            top += 1
            place[top] = y
            begin[top] = first
    return top + 1


@kernel
def _from_columns(along: Flat, width: int, squared: Flat) -> None:
    """Write the same as `_from_rows` column by column, at a cost of a pixel that does not depend on the shape."""
    height = len(along) // width
    column, place, begin = np.empty(height, np.int64), np.empty(height, np.int64), np.empty(height, np.int64)
    squared[:] = 0
    for x in range(1, width - 1):
        for y in range(height):
            column[y] = along[y * width + x]
        top = _envelope(column, place, begin) - 1
        for y in range(height - 1, -1, -1):
            while begin[top] > y:
                top -= 1
            if 0 < y < height - 1:
                squared[y * width + x] = column[place[top]] + (y - place[top]) ** 2


@kernel
def distances(outline: Outline, shape: tuple[int, int], along: Flat, squared: Flat) -> None:
    """Write the squared distance of every pixel inside to the outside, 0 elsewhere; `along` is room to work in."""
    _along_rows(outline, shape, along)
    _, x0, _, x1 = outline[2]
    width = x1 - x0 + 2
    most = 0
    for p in range(width, len(along) - width):
        most = max(most, along[p])
    if min(most, (len(along) // width) ** 2 // 4) <= NARROW_PX**2:
        _from_rows(along, width, squared)
    else:
        _from_columns(along, width, squared)
