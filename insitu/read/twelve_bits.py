"""Pixels of 12 bits, packed two into three bytes, low bits first (compiled; imported by the readers that meet them)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from insitu.compiling import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def unpack_blocks(
    raw: NDArray[np.uint8],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    layout: tuple[int, int, int],
    out: NDArray[Any],
) -> None:
    """Unpack blocks of pixels, each to its place.

    Parameters
    ----------
    raw : uint8 array of shape (N, bytes), contiguous
        Blocks with their headers.
    y, x : int64 arrays of shape (N,)
        Place of each block's first pixel in `out`; the block must fit there, nothing is checked.
    layout : tuple of int
        Bytes of a header, rows and columns (an even number) of a block, whose pixels lie row by row.
    out : uint16 array of shape (H, W)
    """
    header, rows, columns = layout
    pairs = columns // 2
    for block in range(len(raw)):
        data = raw[block]
        for row in range(rows):
            # slices of one line keep the index arithmetic out of the innermost loop
            line = out[y[block] + row, x[block] : x[block] + columns]
            triples = data[header + 3 * pairs * row : header + 3 * pairs * (row + 1)]
            for pair in range(pairs):
                middle = triples[3 * pair + 1]
                line[2 * pair] = triples[3 * pair] | (middle & 0x0F) << 8
                line[2 * pair + 1] = middle >> 4 | triples[3 * pair + 2] << 4
