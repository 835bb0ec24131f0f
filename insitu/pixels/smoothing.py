"""Sums over a frame: separable kernels, block means, surfaces of low order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]

CELL = 4


@kernel
def _add_scaled(out: Image, a: Image, b: Image, weight: np.float32) -> None:
    for x in range(out.shape[0]):
        out[x] += weight * (a[x] + b[x])


@kernel
def _column_sums(image: Image, y: int, weights: Image, zeros: Image, out: Image) -> None:
    """Weighted sum of the rows around row `y`; rows outside the frame are zero."""
    height, reach = image.shape[0], weights.shape[0] - 1
    row = image[y]
    for x in range(out.shape[0]):
        out[x] = weights[0] * row[x]
    for i in range(1, reach + 1):
        up = image[y - i] if y >= i else zeros
        down = image[y + i] if y + i < height else zeros
        _add_scaled(out, up, down, weights[i])


@kernel
def _down(image: Image, y: int, weights: tuple[np.float32, ...], out: Image) -> None:
    """Do what `_column_sums` does where all rows are inside; the taps are unrolled, their number being a type."""
    reach = len(weights) - 1
    rows = image[y - reach : y + reach + 1]
    for x in range(out.shape[0]):
        total = weights[0] * rows[reach, x]
        for i in range(1, reach + 1):
            total += weights[i] * (rows[reach - i, x] + rows[reach + i, x])
        out[x] = total


@kernel
def _across(wide: Image, weights: tuple[np.float32, ...], gain: np.float32, column_gain: Image, out: Image) -> None:
    """Weighted sum of the columns around each; `wide` has `reach` more on either side."""
    reach = len(weights) - 1
    for x in range(out.shape[0]):
        total = weights[0] * wide[x + reach]
        for i in range(1, reach + 1):
            total += weights[i] * (wide[x + reach - i] + wide[x + reach + i])
        out[x] = total * (gain * column_gain[x])


@kernel
def smooth_into(  # noqa: PLR0917 - the kernel in both forms, gains, and what is written
    image: Image,
    weights: tuple[np.float32, ...],
    as_array: Image,
    row_gain: Image,
    column_gain: Image,
    out: Image,
    most: Image,
) -> None:
    """Put a frame (H, W) under a symmetric separable kernel, zero outside, times a gain per row and per column.

    Parameters
    ----------
    image : float32 (H, W), C-contiguous
    weights, as_array : tuple of r + 1 float32, and the same as an array
        Half kernel, centre first.
    row_gain, column_gain : float32 (H,), (W,)
    out : float32 (H, W)
        Written; must not be `image`.
    most : float32 (h, w) or (0, 0)
        The largest value in each cell of 4×4 px is written here.
    """
    height, width = image.shape
    reach = len(weights) - 1
    wide = np.zeros(width + 2 * reach, np.float32)
    zeros = np.zeros(width, np.float32)
    highest = np.empty(width, np.float32)
    middle = wide[reach : reach + width]
    for y in range(height):
        if reach <= y < height - reach:
            _down(image, y, weights, middle)
        else:
            _column_sums(image, y, as_array, zeros, middle)
        _across(wide, weights, row_gain[y], column_gain, out[y])
        if most.shape[0]:
            _highest(out[y], highest, y % CELL == 0)
            if y % CELL == CELL - 1 or y == height - 1:
                _fold_highest(highest, most[y // CELL])


@kernel
def _highest(row: Image, highest: Image, first: bool) -> None:
    if first:
        highest[:] = row
        return
    for x in range(row.shape[0]):
        highest[x] = row[x] if row[x] > highest[x] else highest[x]  # noqa: FURB136 - max() is not vectorised


@kernel
def _fold_highest(highest: Image, out: Image) -> None:
    width = highest.shape[0]
    for j in range(out.shape[0]):
        most = highest[j * CELL]
        for x in range(j * CELL + 1, min((j + 1) * CELL, width)):
            most = max(most, highest[x])
        out[j] = most


@kernel
def block_means(image: Image, side: int) -> NDArray[np.float64]:
    """Return the means over side×side blocks (h, w), those at the far borders over what is there."""
    height, width = image.shape
    rows, columns = -(-height // side), -(-width // side)
    means = np.empty((rows, columns), np.float64)
    total = np.empty(width, np.float32)
    for block in range(rows):
        total[:] = np.float32(0.0)
        last = min(height, (block + 1) * side)
        for y in range(block * side, last):
            row = image[y]
            for x in range(width):
                total[x] += row[x]
        _fold(total, side, last - block * side, means[block])
    return means


@kernel
def _fold(total: Image, side: int, rows: int, out: NDArray[np.float64]) -> None:
    """Turn column sums over `rows` rows into means over blocks of `side` columns."""
    width = total.shape[0]
    for block in range(out.shape[0]):
        first, last = block * side, min(width, (block + 1) * side)
        value = 0.0
        for x in range(first, last):
            value += total[x]
        out[block] = value / ((last - first) * rows)


@kernel
def _surface_row(coefficients: NDArray[Any], y: float, position: Image, out: Image) -> None:
    """Evaluate Σ c_ij y^i x^j for a row; at most cubic in x."""
    terms = np.zeros(4, np.float64)
    for i in range(coefficients.shape[0] - 1, -1, -1):
        for j in range(coefficients.shape[1]):
            terms[j] = terms[j] * y + coefficients[i, j]
    c0, c1, c2, c3 = np.float32(terms[0]), np.float32(terms[1]), np.float32(terms[2]), np.float32(terms[3])
    for x in range(out.shape[0]):
        at = position[x]
        out[x] = ((c3 * at + c2) * at + c1) * at + c0


@kernel
def step_means(
    image: Image, surface: NDArray[np.float64], y_at: NDArray[np.float64], x_at: Image, side: int
) -> NDArray[np.float64]:
    """Return block means of a frame's |step to the right|, its surface taken away; the last column repeats."""
    height, width = image.shape
    rows, columns = -(-height // side), -(-width // side)
    means = np.empty((rows, columns), np.float64)
    total, flat = np.empty(width, np.float32), np.empty(width, np.float32)
    for block in range(rows):
        total[:] = np.float32(0.0)
        last = min(height, (block + 1) * side)
        for y in range(block * side, last):
            _surface_row(surface, y_at[y], x_at, flat)
            row = image[y]
            for x in range(width):
                flat[x] = row[x] - flat[x]
            for x in range(width - 1):
                total[x] += abs(flat[x + 1] - flat[x])
            total[width - 1] += abs(flat[width - 1] - flat[width - 2])
        _fold(total, side, last - block * side, means[block])
    return means


@kernel
def levelled(  # noqa: PLR0917 - two surfaces with their axes
    image: Image,
    surface: NDArray[np.float64],
    course: NDArray[np.float64],
    axes: tuple[NDArray[np.float64], Image],
    course_axes: tuple[NDArray[np.float64], Image],
    bounds: tuple[float, float],
) -> Image:
    """Return (frame − surface) / course kept within `bounds`."""
    height, width = image.shape
    out = np.empty((height, width), np.float32)
    low, high = np.float32(bounds[0]), np.float32(bounds[1])
    gain = np.empty(width, np.float32)
    for y in range(height):
        row = out[y]
        _surface_row(surface, axes[0][y], axes[1], row)
        _surface_row(course, course_axes[0][y], course_axes[1], gain)
        source = image[y]
        for x in range(width):
            row[x] = (source[x] - row[x]) / min(max(gain[x], low), high)
    return out


@kernel
def surface(coefficients: NDArray[np.float64], y_at: NDArray[np.float64], x_at: Image) -> Image:
    """Return the surface at every pixel, float32 (H, W)."""
    out = np.empty((y_at.shape[0], x_at.shape[0]), np.float32)
    for y in range(out.shape[0]):
        _surface_row(coefficients, y_at[y], x_at, out[y])
    return out
