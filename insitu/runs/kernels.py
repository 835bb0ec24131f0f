"""The loops of `insitu.runs.loops`, compiled by numba; no kernel holds the GIL.

A kernel calls only kernels of its own file: numba's disk cache sees a change only in the file of the function called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.compiling import kernel
from insitu.runs.borders import border_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.runs.loops import Column, Lines

    Mark = tuple[
        Column, Column, Column
    ]  # label of each border pixel of a row (one column of margin), their columns, how many
    Words = NDArray[np.uint64]

__all__ = ["border_steps", "extract", "fill", "intersect", "moments", "run_sums", "totals", "unite"]

# Typed constants: numba compares a uint64 with a Python integer as floats and loses the low bits.
NONE = np.uint64(0)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
HIGH = np.uint64(0x8080808080808080)
LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
POSITIONS = np.uint64(0x0001020304050607)
TOP_BYTE = np.uint64(56)
HIGH_BIT = np.uint64(7)


@kernel
def _nonzero_bytes(word: np.uint64) -> np.uint64:
    """Set the high bit of each byte that is not zero, clear all other bits."""
    return (((word & LOW) + LOW) | word) & HIGH


@kernel
def _first_byte(marked: np.uint64, word: int) -> int:
    """Return the flat index of the lowest byte whose high bit is set (little-endian: the leftmost pixel)."""
    lowest = marked & (NONE - marked)
    position = ((lowest >> HIGH_BIT) * POSITIONS) >> TOP_BYTE
    return (word << 3) + int(position)


@kernel
def _next_inside(words: Words, i: int, end: int) -> int:
    """Return the first flat index in [i, end) whose pixel is not zero, or `end`."""
    w = i >> 3
    marked = _nonzero_bytes(words[w]) & (ALL << np.uint64((i & 7) << 3))
    if marked == NONE:
        last = (end + 7) >> 3
        w += 1
        while w + 4 <= last and (words[w] | words[w + 1] | words[w + 2] | words[w + 3]) == NONE:
            w += 4
        while w < last and words[w] == NONE:
            w += 1
        if w >= last:
            return end
        marked = _nonzero_bytes(words[w])
    return min(end, _first_byte(marked, w))


@kernel
def _next_outside(words: Words, i: int, end: int) -> int:
    """Return the first flat index in [i, end) whose pixel is zero, or `end`."""
    w = i >> 3
    last = (end + 7) >> 3
    marked = (_nonzero_bytes(words[w]) ^ HIGH) & (ALL << np.uint64((i & 7) << 3))
    while marked == NONE:
        w += 1
        if w >= last:
            return end
        marked = _nonzero_bytes(words[w]) ^ HIGH
    return min(end, _first_byte(marked, w))


@kernel
def _scan(words: Words, height: int, width: int) -> Column:
    """Return the runs (3, R) of a mask given as words of eight pixels; rows need not begin at a word."""
    room = 16384 + width
    found = np.empty((3, room), np.int32)
    n = 0
    for y in range(height):
        if n + width > room:  # a row has at most (width + 1) // 2 runs
            room = 2 * room + width
            grown = np.empty((3, room), np.int32)
            grown[:, :n] = found[:, :n]
            found = grown
        first = y * width
        end = first + width
        i = _next_inside(words, first, end)
        while i < end:
            stop = _next_outside(words, i, end)
            found[0, n] = y
            found[1, n] = i - first
            found[2, n] = stop - first
            n += 1
            i = _next_inside(words, stop, end) if stop < end else end
    return found[:, :n].copy()


def extract(mask: NDArray[np.uint8]) -> Lines:
    """Return the runs of nonzero pixels of a C-contiguous mask (H, W), reading eight pixels at a time."""
    if mask.size == 0:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    flat = mask.reshape(-1)
    if mask.size % 8 or not flat[: mask.size // 8 * 8].view(np.uint64).flags.aligned:
        flat = np.zeros(-(-mask.size // 8) * 8, np.uint8)
        flat[: mask.size] = mask.reshape(-1)
    row, start, stop = _scan(flat.view("<u8"), *mask.shape)
    return row, start, stop


@kernel
def _sum_runs(lines: Lines, image: NDArray[Any], out: NDArray[Any]) -> None:
    row, start, stop = lines
    zero = out.dtype.type(0)
    flat = image.reshape(image.size)
    for r in range(len(row)):
        total = zero
        first = np.uint64(row[r]) * np.uint64(image.shape[1])  # unsigned indices: no test for negative ones in the loop
        for i in range(first + np.uint64(start[r]), first + np.uint64(stop[r])):
            total += out.dtype.type(flat[i])
        out[r] = total


def run_sums(lines: Lines, image: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of an image (H, W) over each run: int64, or float64, left to right, for a float image."""
    if image.dtype == np.float16:  # numba has no arithmetic for it
        image = image.astype(np.float64)
    sums = np.empty(len(lines[0]), np.float64 if image.dtype.kind == "f" else np.int64)
    _sum_runs(lines, image, sums)
    return sums


@kernel
def _root(parent: Column, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _join_rows(parent: Column, lines: Lines, above: int, here: int, end: int) -> None:
    """Unite each run of a row [here, end) with those it touches, corners included, in the row above [above, here)."""
    _, start, stop = lines
    k = above
    for j in range(here, end):
        while k < here and stop[k] < start[j]:
            k += 1
        m = k
        while m < here and start[m] <= stop[j]:
            a = _root(parent, m)
            b = _root(parent, j)
            parent[max(a, b)] = min(a, b)
            m += 1


@kernel
def _unite(lines: Lines, label: Column) -> int:
    row = lines[0]
    parent = np.arange(len(row)).astype(np.int32)
    above = 0
    here = 0
    while here < len(row):
        end = here
        while end < len(row) and row[end] == row[here]:
            end += 1
        if above < here and row[above] == row[here] - 1:
            _join_rows(parent, lines, above, here, end)
        above = here
        here = end
    n = 0
    for r in range(len(row)):  # a root is the first run of its component, so numbers follow the raster
        if parent[r] == r:
            n += 1
            label[r] = n
        else:
            label[r] = label[_root(parent, r)]
    return n


def unite(lines: Lines) -> tuple[Column, int]:
    """Return the 8-connected component of each run, numbered in raster order, and their number."""
    label = np.empty(len(lines[0]), np.int32)
    return label, int(_unite(lines, label))


@kernel
def _intersect(a: Lines, b: Lines, out: NDArray[np.int64]) -> int:
    row_a, start_a, stop_a = a
    row_b, start_b, stop_b = b
    i = 0
    j = 0
    n = 0
    while i < len(row_a) and j < len(row_b):
        if row_a[i] < row_b[j]:
            i += 1
        elif row_a[i] > row_b[j]:
            j += 1
        else:
            shared = min(stop_a[i], stop_b[j]) - max(start_a[i], start_b[j])
            if shared > 0:
                out[0, n] = i
                out[1, n] = j
                out[2, n] = shared
                n += 1
            if stop_a[i] < stop_b[j]:
                i += 1
            else:
                j += 1
    return n


def intersect(a: Lines, b: Lines) -> NDArray[np.int64]:
    """Return (3, K): run of `a`, run of `b` and the pixels they share, for every pair that shares any."""
    out = np.empty((3, len(a[0]) + len(b[0])), np.int64)
    return out[:, : _intersect(a, b, out)]


@kernel
def fill(lines: Lines, value: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the value of each run into its pixels of `out` (H, W)."""
    row, start, stop = lines
    for r in range(len(row)):
        out[row[r], start[r] : stop[r]] = value[r]


@kernel
def _moments(lines: Lines, label: Column, sums: NDArray[np.int64], box: Column) -> None:
    row, start, stop = lines
    for r in range(len(row)):
        y = np.int64(row[r])
        a = np.int64(start[r])
        length = np.int64(stop[r]) - a
        k = label[r] - 1
        along = length * a + length * (length - 1) // 2
        sums[k, 0] += length
        sums[k, 1] += y * length
        sums[k, 2] += along
        sums[k, 3] += y * y * length
        sums[k, 4] += y * along
        sums[k, 5] += length * a * a + a * length * (length - 1) + (length - 1) * length * (2 * length - 1) // 6
        box[k, 0] = min(box[k, 0], row[r])
        box[k, 1] = min(box[k, 1], start[r])
        box[k, 2] = max(box[k, 2], row[r] + 1)
        box[k, 3] = max(box[k, 3], stop[r])


def moments(lines: Lines, label: Column, n: int) -> tuple[NDArray[np.int64], Column]:
    """Return per label the sums (n, 6) of 1, y, x, y², xy, x² over its pixels and its box (n, 4) y0 x0 y1 x1."""
    sums = np.zeros((n, 6), np.int64)
    box = np.zeros((n, 4), np.int32)
    box[:, :2] = np.iinfo(np.int32).max
    _moments(lines, label, sums, box)
    return sums, box


@kernel
def _total(label: Column, values: NDArray[Any], out: NDArray[Any]) -> None:
    for r in range(len(label)):
        out[label[r] - 1] += values[r]


def totals(label: Column, values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the sum per label of a value per run, added in raster order, in the dtype of `values`."""
    out = np.zeros(n, values.dtype)
    _total(label, values, out)
    return out
