"""From the probability of every pixel to a mask, and what the mask's runs hold of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Column = NDArray[np.int32]


@kernel
def above(probability: Image, threshold: np.float32) -> NDArray[np.uint8]:
    """Return 1 where the probability (H, W) exceeds the threshold; NaN does not."""
    height, width = probability.shape
    mask = np.empty((height, width), np.uint8)
    for y in range(height):
        row, out = probability[y], mask[y]
        for x in range(width):
            out[x] = row[x] > threshold
    return mask


@kernel
def over_runs(
    row: Column, start: Column, stop: Column, probability: Image, steps: np.float32
) -> tuple[NDArray[np.int64], Image]:
    """Return the sum of round(steps·p), p ≥ 0, over each run, and its largest p."""
    total, most = np.empty(row.shape[0], np.int64), np.empty(row.shape[0], np.int32)
    width = np.uint64(probability.shape[1])
    flat = probability.reshape(probability.size)
    bits = flat.view(np.int32)  # of numbers that are not negative the order is that of the floats
    for n in range(row.shape[0]):
        first = np.uint64(row[n]) * width  # unsigned indices: no test for negative ones in the loop
        added, largest = np.int64(0), np.int32(0)
        for i in range(first + np.uint64(start[n]), first + np.uint64(stop[n])):
            added += np.int32(np.rint(flat[i] * steps))
            largest = max(largest, bits[i])
        total[n], most[n] = added, largest
    return total, most.view(np.float32)
