"""Loops over runs, compiled by numba: the fast half of `runs` and `measure`.

`_run_arrays` has the same functions in plain numpy for machines without numba; both give the same bits. All kernels of the
room live in this one file because numba's disk cache notices changes only in the file that defines a function.

Run arrays are int32, C-contiguous and in raster order; labels are 1…n. No kernel holds the GIL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Run = NDArray[np.int32]

F = TypeVar("F", bound="Callable[..., Any]")

# Typed constants: numba compares a uint64 with a Python integer as floats and loses the low bits.
ONES = np.uint64(0x0101010101010101)
HIGHS = np.uint64(0x8080808080808080)
ZERO = np.uint64(0)


def kernel(function: F) -> F:
    """Compile `function` on first use, with a disk cache where one can be written (a read-only install has none)."""
    try:
        compiled: F = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writable place for the cache: compile in memory, once a process
        compiled = numba.njit(nogil=True)(function)
    return compiled


@kernel
def _skip_zeros(flat: NDArray[np.uint8], words: NDArray[np.uint64], i: int, end: int) -> int:
    """Return the first index in [i, end) whose byte is not zero, or `end`."""
    while i < end and i & 7:
        if flat[i]:
            return i
        i += 1
    w = i >> 3
    last = end >> 3
    while w < last and words[w] == ZERO:
        w += 1
    i = max(i, w << 3)
    while i < end and not flat[i]:
        i += 1
    return i


@kernel
def _skip_ones(flat: NDArray[np.uint8], words: NDArray[np.uint64], i: int, end: int) -> int:
    """Return the first index in [i, end) whose byte is zero, or `end`."""
    while i < end and i & 7:
        if not flat[i]:
            return i
        i += 1
    w = i >> 3
    last = end >> 3
    # (v − 0x01…) & ~v & 0x80… is zero exactly when no byte of v is zero, whatever the bytes are
    while w < last and ((words[w] - ONES) & ~words[w] & HIGHS) == ZERO:
        w += 1
    i = max(i, w << 3)
    while i < end and flat[i]:
        i += 1
    return i


@kernel
def _scan(flat: NDArray[np.uint8], words: NDArray[np.uint64], height: int, width: int) -> NDArray[np.int32]:
    """Return the runs of a flat mask as an int32 array (3, R): row, start, stop."""
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
        i = _skip_zeros(flat, words, first, end)
        while i < end:
            stop = _skip_ones(flat, words, i, end)
            found[0, n] = y
            found[1, n] = i - first
            found[2, n] = stop - first
            n += 1
            i = _skip_zeros(flat, words, stop, end)
    return found[:, :n].copy()


def extract(mask: NDArray[np.uint8]) -> tuple[Run, Run, Run]:
    """Return (row, start, stop) of the nonzero runs of a C-contiguous uint8 mask (H, W), eight pixels at a time."""
    flat = mask.reshape(-1)
    words = flat[: len(flat) // 8 * 8].view(np.uint64)
    if not words.flags.aligned:  # a view that starts inside a word
        flat = flat.copy()
        words = flat[: len(flat) // 8 * 8].view(np.uint64)
    found = _scan(flat, words, *mask.shape)
    return found[0], found[1], found[2]


@kernel
def _sum_integers(row: Run, start: Run, stop: Run, image: NDArray[Any], out: NDArray[np.int64]) -> None:
    for r in range(len(row)):
        total = np.int64(0)
        for x in range(start[r], stop[r]):
            total += np.int64(image[row[r], x])
        out[r] = total


@kernel
def _sum_floats(row: Run, start: Run, stop: Run, image: NDArray[Any], out: NDArray[np.float64]) -> None:
    for r in range(len(row)):
        total = 0.0
        for x in range(start[r], stop[r]):  # left to right: the order is part of the result
            total += np.float64(image[row[r], x])
        out[r] = total


def run_sums(row: Run, start: Run, stop: Run, image: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of `image` (H, W), C-contiguous, over each run: int64, or float64 for a float image."""
    if image.dtype.kind == "f":
        totals = np.empty(len(row), np.float64)
        wide = image if image.dtype.itemsize >= 4 else image.astype(np.float64)
        _sum_floats(row, start, stop, wide, totals)
        return totals
    sums = np.empty(len(row), np.int64)
    _sum_integers(row, start, stop, image, sums)
    return sums


@kernel
def _root(parent: Run, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _join_rows(parent: Run, start: Run, stop: Run, above: int, here: int, end: int) -> None:
    """Unite each run of a row [here, end) with the runs it touches, corners included, in the row above [above, here)."""
    k = above
    for j in range(here, end):
        while k < here and stop[k] < start[j]:
            k += 1
        m = k
        while m < here and start[m] <= stop[j]:
            a = _root(parent, m)
            b = _root(parent, j)
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b
            m += 1


@kernel
def _unite(row: Run, start: Run, stop: Run, label: Run) -> int:
    runs = len(row)
    parent = np.arange(runs).astype(np.int32)
    above = 0
    here = 0
    while here < runs:
        end = here
        while end < runs and row[end] == row[here]:
            end += 1
        if above < here and row[above] == row[here] - 1:
            _join_rows(parent, start, stop, above, here, end)
        above = here
        here = end
    n = 0
    for r in range(runs):  # a root is the first run of its component, so numbers follow the raster
        if parent[r] == r:
            n += 1
            label[r] = n
        else:
            label[r] = label[_root(parent, r)]
    return n


def unite(row: Run, start: Run, stop: Run) -> tuple[Run, int]:
    """Return the 8-connected component of each run, numbered in raster order, and their number."""
    label = np.empty(len(row), np.int32)
    return label, int(_unite(row, start, stop, label))


@kernel
def _intersect(
    row_a: Run, start_a: Run, stop_a: Run, row_b: Run, start_b: Run, stop_b: Run, out: NDArray[np.int64]
) -> int:
    i = 0
    j = 0
    n = 0
    while i < len(row_a) and j < len(row_b):
        if row_a[i] != row_b[j]:
            if row_a[i] < row_b[j]:
                i += 1
            else:
                j += 1
            continue
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


def intersect(a: tuple[Run, Run, Run], b: tuple[Run, Run, Run]) -> NDArray[np.int64]:
    """Return (3, K): index of the run in `a`, of the run in `b`, and the pixels they share, for every pair that does."""
    out = np.empty((3, len(a[0]) + len(b[0])), np.int64)
    return out[:, : _intersect(*a, *b, out)]


@kernel
def _fill(row: Run, start: Run, stop: Run, value: NDArray[Any], out: NDArray[Any]) -> None:
    for r in range(len(row)):
        out[row[r], start[r] : stop[r]] = value[r]


def fill(row: Run, start: Run, stop: Run, value: NDArray[Any], out: NDArray[Any]) -> None:
    """Write `value` of each run into its pixels of `out` (H, W)."""
    _fill(row, start, stop, value, out)


@kernel
def _moments(row: Run, start: Run, stop: Run, label: Run, sums: NDArray[np.int64], box: NDArray[np.int32]) -> None:
    box[:, :2] = np.iinfo(np.int32).max
    box[:, 2:] = 0
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


def moments(row: Run, start: Run, stop: Run, label: Run, n: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return per label the sums (n, 6) of 1, y, x, y², xy, x² over its pixels, and its half-open box (n, 4) y0 x0 y1 x1."""
    sums = np.zeros((n, 6), np.int64)
    box = np.empty((n, 4), np.int32)
    _moments(row, start, stop, label, sums, box)
    return sums, box


@kernel
def _total(label: Run, values: NDArray[Any], out: NDArray[Any]) -> None:
    for r in range(len(label)):
        out[label[r] - 1] += values[r]


def totals(label: Run, values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the sum per label of a value per run, added in raster order, in the dtype of `values`."""
    out = np.zeros(n, values.dtype)
    _total(label, values, out)
    return out


@kernel
def _uncovered(
    start: Run, stop: Run, label: Run, j: int, first: int, end: int, line: Run, seen: Run, n: int
) -> tuple[int, int]:
    """Note the pixels of run j that no run of its label covers in a neighbouring row [first, end).

    `line` holds the label of every border pixel found in this row, `seen` their columns. Returns the number found so far
    and where the next run of this row must begin to look.
    """
    while first < end and stop[first] <= start[j]:
        first += 1
    x = start[j]
    k = first
    while k < end and start[k] < stop[j]:
        if label[k] == label[j]:
            while x < start[k]:
                if line[x + 1] != label[j]:
                    line[x + 1] = label[j]
                    seen[n] = x
                    n += 1
                x += 1
            x = max(x, stop[k])
        k += 1
    while x < stop[j]:
        if line[x + 1] != label[j]:
            line[x + 1] = label[j]
            seen[n] = x
            n += 1
        x += 1
    return n, first


@kernel
def _border_line(start: Run, stop: Run, label: Run, offset: NDArray[np.int64], y: int, line: Run, seen: Run) -> int:
    """Write the border pixels of row y (a 4-neighbour is not of the same label) to `line`; return their number."""
    n = 0
    above = offset[max(y - 1, 0)]
    above_end = offset[y]
    below = offset[y + 1]
    below_end = offset[min(y + 2, len(offset) - 1)]
    for j in range(offset[y], offset[y + 1]):
        line[start[j] + 1] = label[j]
        seen[n] = start[j]
        n += 1
        if stop[j] - start[j] > 1:
            line[stop[j]] = label[j]
            seen[n] = stop[j] - 1
            n += 1
        n, above = _uncovered(start, stop, label, j, above, above_end, line, seen, n)
        n, below = _uncovered(start, stop, label, j, below, below_end, line, seen, n)
    return n


@kernel
def _border_steps(
    start: Run, stop: Run, label: Run, offset: NDArray[np.int64], width: int, steps: NDArray[np.int64], kind: Run
) -> None:
    height = len(offset) - 1
    line = np.zeros((3, width + 2), np.int32)  # border labels of rows y − 1, y, y + 1, a column of nothing on each side
    seen = np.empty((3, width), np.int32)
    count = np.zeros(3, np.int64)
    for y in range(height + 1):
        new = y % 3
        for m in range(count[new]):
            line[new, seen[new, m] + 1] = 0
        count[new] = 0
        if y < height:
            count[new] = _border_line(start, stop, label, offset, y, line[new], seen[new])
        if y == 0:
            continue
        here = line[(y + 2) % 3]
        up = line[(y + 1) % 3]
        down = line[new]
        for m in range(count[(y + 2) % 3]):
            x = seen[(y + 2) % 3, m] + 1
            k = here[x]
            beside = (up[x] == k) + (down[x] == k) + (here[x - 1] == k) + (here[x + 1] == k)
            across = (up[x - 1] == k) + (up[x + 1] == k) + (down[x - 1] == k) + (down[x + 1] == k)
            step = kind[10 * across + 2 * beside + 1]
            if step >= 0:
                steps[k - 1, step] += 1


def border_steps(
    row: Run, start: Run, stop: Run, label: Run, n: int, shape: tuple[int, int], kind: Run
) -> NDArray[np.int64]:
    """Count per label the border pixels (n, 3) of each kind of step; `kind` maps a neighbourhood code to 0…2 or −1."""
    steps = np.zeros((n, 3), np.int64)
    offset = np.searchsorted(row, np.arange(shape[0] + 1, dtype=np.int32)).astype(np.int64)
    _border_steps(start, stop, label, offset, shape[1], steps, kind)
    return steps
