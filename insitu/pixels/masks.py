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
    """Return the sum of round(steps·p) over each run, and its largest p."""
    total, most = np.zeros(row.shape[0], np.int64), np.zeros(row.shape[0], np.float32)
    for n in range(row.shape[0]):
        line = probability[row[n]]
        for x in range(start[n], stop[n]):
            total[n] += np.int64(np.rint(line[x] * steps))
            most[n] = max(most[n], line[x])
    return total, most
