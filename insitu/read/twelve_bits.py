"""Pixels of 12 bits, packed two into three bytes, low bits first (compiled; imported by the readers that meet them)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numba import njit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def unpack_blocks(
    raw: NDArray[np.uint8],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    shape: tuple[int, int],
    out: NDArray[Any],
) -> None:
    """Unpack blocks of pixels, each to its place.

    Parameters
    ----------
    raw : uint8 array of shape (N, bytes)
        Pixels of the blocks, row by row.
    y, x : int64 arrays of shape (N,)
        Place of each block's first pixel in `out`; the block must fit there, nothing is checked.
    shape : tuple of int
        Rows and columns (an even number) of a block.
    out : uint16 array of shape (H, W)
    """
    rows, columns = shape
    for block in range(len(raw)):
        at = 0
        for row in range(rows):
            line = out[y[block] + row]
            for column in range(x[block], x[block] + columns, 2):
                middle = raw[block, at + 1]
                line[column] = raw[block, at] | (middle & 0x0F) << 8
                line[column + 1] = middle >> 4 | raw[block, at + 2] << 4
                at += 3
