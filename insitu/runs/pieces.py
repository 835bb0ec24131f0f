"""Outlines cut into the pieces of their parts, in raster order.

The loops here call those of `basins`, and these those of `distances`: numba's disk cache sees a change only in the file
of the function called, so whoever changes one of the two deletes the cache (``insitu/runs/__pycache__``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.runs.basins import parts_of
from insitu.runs.distances import LARGEST_IN_32_BITS, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.runs.basins import Rule
    from insitu.runs.loops import Column, Lines

    # runs of the outlines, one outline after another, each in raster order; where each begins; boxes y0, x0, y1, x1
    Outlines = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    # for each run the first of its pieces, -1 if its outline stays whole; end and part of each piece
    Pieces = tuple[NDArray[np.int64], NDArray[np.int32]]


@kernel
def _gather(lines: Lines, label: Column, asked: NDArray[np.bool_]) -> Outlines:
    """Return the outlines that are `asked`."""
    row, start, stop = lines
    place = np.empty(len(asked), np.int64)
    n = 0
    for k in range(len(asked)):
        place[k] = n
        n += asked[k]
    first = np.zeros(n + 2, np.int64)
    box = np.zeros((n, 4), np.int64)
    for r in range(len(row)):
        if asked[label[r] - 1]:
            k = place[label[r] - 1]
            if not first[k + 2]:
                box[k, 0], box[k, 1] = row[r], start[r]
            first[k + 2] += 1
            box[k, 1] = min(box[k, 1], start[r])
            box[k, 2] = row[r] + 1
            box[k, 3] = max(box[k, 3], stop[r])
    first = np.cumsum(first)
    mine = np.empty(first[-1], np.int64)
    for r in range(len(row)):
        if asked[label[r] - 1]:
            k = place[label[r] - 1]
            mine[first[k + 1]] = r
            first[k + 1] += 1
    return mine, first[:-1], box


@kernel
def _cut_run(ends: tuple[int, int], basin: NDArray[Any], number: NDArray[np.int64], piece: NDArray[np.int32]) -> int:
    """Write end and part of each piece of a run, whose first pixel is the first of `basin`; count them."""
    start, stop = ends
    now = basin[0]
    n = 0
    for i in range(1, stop - start):
        if basin[i] != now:
            if number[basin[i]] != number[now]:
                piece[0, n], piece[1, n] = start + i, number[now]
                n += 1
            now = basin[i]
    piece[0, n], piece[1, n] = stop, number[now]
    return n + 1


@kernel
def _divide(
    lines: Lines, outlines: Outlines, shape: tuple[int, int], rule: Rule, room: NDArray[Any]
) -> tuple[Pieces, int]:
    """Return the pieces and the number of parts over all outlines, of which those that stay whole have one each."""
    row, start, stop = lines
    mine, first, boxes = outlines
    begin = np.full(len(row), -1, np.int64)
    most = 0
    for r in mine:
        most += stop[r] - start[r]
    piece = np.empty((2, most), np.int32)
    at = parts = 0
    for k in range(len(boxes)):
        runs = mine[first[k] : first[k + 1]]
        box = (boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3])
        width = box[3] - box[1] + 2
        basin, number, kept = parts_of((lines, runs, box), shape, room, rule)
        if kept > 1:
            number += parts
            for r in runs:
                begin[r] = at
                left = basin[(row[r] - box[0] + 1) * width + 1 - box[1] + start[r] :]
                at += _cut_run((start[r], stop[r]), left, number, piece[:, at:])
        parts += kept
    return (begin, piece[:, :at]), parts


@kernel
def _in_order(lines: Lines, label: Column, n_labels: int, pieces: Pieces, parts: int) -> tuple[NDArray[np.int32], int]:
    """Return run, start, stop and new label of whatever there is now, in raster order, and the number of labels."""
    row, start, stop = lines
    begin, piece = pieces
    n = piece.shape[1]
    for r in range(len(row)):
        n += begin[r] < 0
    out = np.empty((4, n), np.int32)
    name = np.zeros(n_labels + 1 + parts, np.int32)
    at = labels = 0
    for r in range(len(row)):
        x, j, old = start[r], begin[r], label[r]
        while x < stop[r]:
            end = stop[r]
            if j >= 0:
                end, old = piece[0, j], n_labels + 1 + piece[1, j]
                j += 1
            if not name[old]:
                labels += 1
                name[old] = labels
            out[0, at], out[1, at], out[2, at], out[3, at] = r, x, end, name[old]
            at += 1
            x = end
    return out, labels


def find_pieces(
    lines: Lines, labels: tuple[Column, int], asked: NDArray[np.bool_], shape: tuple[int, int], rule: Rule
) -> tuple[NDArray[np.int32], int]:
    """Divide outlines.

    Parameters
    ----------
    lines : tuple of int32 arrays
        Row, start, stop of the runs of a frame.
    labels : tuple
        The outline of each run, 1…n, and n.
    asked : bool array of shape (n,)
        Which outlines may be several.
    shape : tuple of int
        Height and width of the frame. Beyond its border an outline goes on: nothing is cut there for want of pixels.
    rule : tuple
        `neck`, `depth` (px) and the least area of a part (px), see `_united`.

    Returns
    -------
    tuple
        For each piece of a run, in raster order, the run it is cut from, its start and stop, and its label, numbered
        anew in raster order; and the number of labels.
    """
    outlines = _gather(lines, labels[0], asked)
    height, width = outlines[2][:, 2] - outlines[2][:, 0] + 2, outlines[2][:, 3] - outlines[2][:, 1] + 2
    kind = np.int32 if (height + width).max() <= LARGEST_IN_32_BITS else np.int64
    pieces, parts = _divide(lines, outlines, shape, rule, np.empty((4, (height * width).max()), kind))
    return _in_order(lines, *labels, pieces, parts)
