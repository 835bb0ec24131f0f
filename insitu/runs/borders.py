"""The outlines of labels, row by row: what their perimeter is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel
from insitu.runs.loops import step_kinds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.runs.loops import Column, Lines


@kernel
def _mark_row(spans: Column, offset: NDArray[np.int64], y: int, line: Column, columns: Column) -> None:
    """Mark the border pixels of row y: both ends of each run, and what no run of its label covers above or below.

    `spans` (3, R) are start, stop and label; `line` (W + 2) holds the label of a border pixel at column x in [x + 1],
    zero elsewhere; `columns` (W + 2) their places in `line`, behind their number. The marks of an older row are undone.
    """
    for m in range(1, columns[0] + 1):
        line[columns[m]] = 0
    n = 0
    above = offset[y]
    below = offset[y + 2]
    for j in range(offset[y + 1], offset[y + 2]):
        start, stop, label = spans[0, j], spans[1, j], spans[2, j]
        for end in range(start + 1, stop + 1, max(stop - start - 1, 1)):
            n += 1
            columns[n] = end
            line[end] = label
        for side in range(2):  # the runs of the row above, then those of the row below
            k = below if side else above
            last = offset[y + 3] if side else offset[y + 1]
            while k < last and spans[1, k] <= start:
                k += 1
            if side:
                below = k
            else:
                above = k
            open_from = start
            while open_from < stop:
                while k < last and spans[0, k] < stop and spans[2, k] != label:
                    k += 1
                covered = k < last and spans[0, k] < stop
                for x in range(open_from + 1, (spans[0, k] if covered else stop) + 1):
                    if line[x] != label:
                        n += 1
                        columns[n] = x
                        line[x] = label
                open_from = max(open_from, spans[1, k]) if covered else stop
                k += 1
    columns[0] = n


@kernel
def _border_steps(
    spans: Column, offset: NDArray[np.int64], kind: Column, lines: Column, steps: NDArray[np.int64]
) -> None:
    """Walk down the rows with the borders of three of them at hand: row y is complete when y + 1 has been marked."""
    columns = np.zeros_like(lines)
    for y in range(len(offset) - 3):
        _mark_row(spans, offset, y, lines[y % 3], columns[y % 3])
        up, here, down = lines[(y + 1) % 3], lines[(y + 2) % 3], lines[y % 3]
        marked = columns[(y + 2) % 3]
        for m in range(1, marked[0] + 1):
            x = marked[m]
            k = here[x]
            beside = (up[x] == k) + (down[x] == k) + (here[x - 1] == k) + (here[x + 1] == k)
            across = (up[x - 1] == k) + (up[x + 1] == k) + (down[x - 1] == k) + (down[x + 1] == k)
            step = kind[1 + 2 * beside + 10 * across]
            if step >= 0:
                steps[k - 1, step] += 1


def border_steps(lines: Lines, label: Column, n: int, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Count per label its border pixels (n, 3) by kind of step, see `step_kinds`."""
    row, start, stop = lines
    # row y has the runs [offset[y + 1], offset[y + 2]); the rows above the first and below the last are empty
    offset = np.searchsorted(row, np.arange(-1, shape[0] + 3, dtype=np.int32))
    steps = np.zeros((n, 3), np.int64)
    _border_steps(np.stack((start, stop, label)), offset, step_kinds(), np.zeros((3, shape[1] + 2), np.int32), steps)
    return steps
