"""The loops of `insitu.runs.loops` in plain numpy, for machines without numba: slower, the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.runs.loops import step_kinds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.runs.loops import Column, Lines


def extract(mask: NDArray[np.uint8]) -> Lines:
    """Return the runs of nonzero pixels of a mask (H, W)."""
    height, width = mask.shape
    framed = np.zeros((height, width + 2), np.bool_)
    framed[:, 1:-1] = mask
    row, column = np.nonzero(framed[:, 1:] != framed[:, :-1])
    return row[0::2].astype(np.int32), column[0::2].astype(np.int32), column[1::2].astype(np.int32)


def run_sums(lines: Lines, image: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of an image (H, W) over each run: int64, or float64, left to right, for a float image."""
    row, start, stop = lines
    length = (stop - start).astype(np.int64)
    first = row.astype(np.int64) * image.shape[1] + start
    flat = image.reshape(-1)
    if image.dtype.kind != "f":
        end = np.cumsum(length)
        pixel = np.arange(length.sum()) + np.repeat(first - (end - length), length)
        total = np.concatenate(([0], np.cumsum(flat[pixel].astype(np.int64))))
        return np.asarray(total[end] - total[end - length], np.int64)
    # left to right in every run at once: floats add up to the same bits only in the same order
    order = np.argsort(-length, kind="stable")
    active = np.searchsorted(-length[order], -np.arange(length.max(initial=0)), side="left")
    sums = np.zeros(len(row), np.float64)
    for step, count in enumerate(active):
        runs = order[:count]
        sums[runs] += flat[first[runs] + step].astype(np.float64)
    return sums


def unite(lines: Lines) -> tuple[Column, int]:
    """Return the 8-connected component of each run, numbered in raster order, and their number."""
    row, start, stop = lines
    pitch = int(stop.max(initial=0)) + 2
    key = row.astype(np.int64) * pitch
    above = key - pitch
    low = np.searchsorted(key + stop, above + start, side="left")
    high = np.searchsorted(key + start, above + stop, side="right")
    count = np.maximum(high - low, 0)
    lower = np.repeat(np.arange(len(row)), count)
    upper = np.arange(len(lower)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    parent = np.arange(len(row))
    while len(lower):
        a, b = parent[upper], parent[lower]
        apart = a != b
        upper, lower, a, b = upper[apart], lower[apart], a[apart], b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(shorter := parent[parent], parent):
            parent = shorter
    number = np.cumsum(parent == np.arange(len(row)))
    return number[parent].astype(np.int32), int(number[-1]) if len(row) else 0


def intersect(a: Lines, b: Lines) -> NDArray[np.int64]:
    """Return (3, K): run of `a`, run of `b` and the pixels they share, for every pair that shares any."""
    pitch = np.int64(max(a[2].max(initial=0), b[2].max(initial=0)) + 1)
    low = np.searchsorted(b[0] * pitch + b[2], a[0] * pitch + a[1], side="right")
    high = np.searchsorted(b[0] * pitch + b[1], a[0] * pitch + a[2], side="left")
    count = np.maximum(high - low, 0)
    i = np.repeat(np.arange(len(a[0])), count)
    j = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    shared = np.minimum(a[2][i], b[2][j]) - np.maximum(a[1][i], b[1][j])
    return np.stack([i, j, shared]).astype(np.int64)


def fill(lines: Lines, value: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the value of each run into its pixels of `out` (H, W)."""
    for y, first, end, v in zip(*(column.tolist() for column in lines), value, strict=True):
        out[y, first:end] = v


def moments(lines: Lines, label: Column, n: int) -> tuple[NDArray[np.int64], Column]:
    """Return per label the sums (n, 6) of 1, y, x, y², xy, x² over its pixels and its box (n, 4) y0 x0 y1 x1."""
    row, start, stop = lines
    y, a, length = row.astype(np.int64), start.astype(np.int64), (stop - start).astype(np.int64)
    along = length * a + length * (length - 1) // 2
    square = length * a * a + a * length * (length - 1) + (length - 1) * length * (2 * length - 1) // 6
    sums = np.zeros((n, 6), np.int64)
    for column, value in enumerate((length, y * length, along, y * y * length, y * along, square)):
        np.add.at(sums[:, column], label - 1, value)
    box = np.zeros((n, 4), np.int32)
    box[:, :2] = np.iinfo(np.int32).max
    np.minimum.at(box[:, 0], label - 1, row)
    np.minimum.at(box[:, 1], label - 1, start)
    np.maximum.at(box[:, 2], label - 1, row + 1)
    np.maximum.at(box[:, 3], label - 1, stop)
    return sums, box


def totals(label: Column, values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the sum per label of a value per run, added in raster order, in the dtype of `values`."""
    out = np.zeros(n, values.dtype)
    np.add.at(out, label - 1, values)
    return out


def border_steps(lines: Lines, label: Column, n: int, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Count per label its border pixels (n, 3) by kind of step, see `step_kinds`."""
    labels = np.zeros((shape[0] + 2, shape[1] + 2), np.int32)
    row, start, stop = (column + np.int32(1) for column in lines)
    fill((row, start, stop), label, labels)
    flat, pitch = labels.reshape(-1), shape[1] + 2
    inside = np.flatnonzero(flat)
    beside = (-pitch, pitch, -1, 1)
    ends = np.any([flat[inside + step] != flat[inside] for step in beside], axis=0)
    at = inside[ends]
    border = np.zeros_like(flat)
    border[at] = flat[at]
    code = np.ones(len(at), np.int64)
    for step in beside:
        code += 2 * (border[at + step] == border[at])
    for step in (-pitch - 1, -pitch + 1, pitch - 1, pitch + 1):
        code += 10 * (border[at + step] == border[at])
    steps = np.zeros((n, 3), np.int64)
    kind = step_kinds()[code]
    counted = kind >= 0
    np.add.at(steps, (flat[at[counted]] - 1, kind[counted]), 1)
    return steps
