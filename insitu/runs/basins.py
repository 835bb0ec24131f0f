"""The outlines that are several particles: basins of the distance to the outside, kept apart where the neck is narrow.

Plain loops over one small window an outline, see `insitu.runs.distances`. numba compiles them where it is there;
without it the same code runs as it stands, slower, to the same bits: squared distances are integers, and pixels of
equal distance come in raster order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.runs.distances import distances, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.runs.distances import Flat, Outline

    Rule = tuple[float, float, int]

FEW = 64  # passes that are sorted in place


@kernel
def _steepest(squared: Flat, width: int, across: Flat, best: Flat) -> None:
    """Write 16 times the largest squared distance among a pixel and its neighbours, and the rank of where that is.

    Of equals the first in raster order counts: it has the highest rank, 8; the last has 0, the pixel itself 4.
    """
    kind = squared.dtype.type
    inner = len(squared) - 2
    left, here, right, out = squared[:inner], squared[1:-1], squared[2:], across[1:-1]
    for p in range(inner):
        out[p] = max(kind(16 * left[p] + 2), kind(16 * here[p] + 1), kind(16 * right[p]))
    inner = len(squared) - 2 * width
    above, here, below, out = across[:inner], across[width:-width], across[2 * width :], best[width:-width]
    for p in range(inner):
        out[p] = max(kind(above[p] + 6), kind(here[p] + 3), below[p])


@kernel
def _steps(outline: Outline, squared: Flat, best: Flat, basin: Flat, peaks: Flat) -> int:
    """Write into `basin` the pixel that each pixel inside steps to, minus its number for a peak; count the peaks.

    Peaks are numbered from 1 in raster order; `peaks` gets their squared distances. Where the step leads to an earlier
    pixel whose peak is known, that peak is written instead.
    """
    (row, start, stop), mine, (y0, x0, _, x1) = outline
    width = x1 - x0 + 2
    step = np.empty(9, np.int64)
    for rank in range(9):
        step[rank] = (1 - rank // 3) * width + 1 - rank % 3
    basin[:] = 0
    n = peaks[0] = 0
    for r in mine:
        at = (row[r] - y0 + 1) * width + 1 - x0
        for p in range(at + start[r], at + stop[r]):
            rank = best[p] & 15
            if rank == 4:
                n += 1
                basin[p] = -n
                peaks[n] = squared[p]
            else:
                q = p + step[rank]
                basin[p] = min(basin[q], 0) or q
    return n


@kernel
def _climb(outline: Outline, basin: Flat, area: NDArray[np.int64]) -> None:
    """Replace the steps by the number of the peak that they lead to, and count the pixels of each."""
    (row, start, stop), mine, (y0, x0, _, x1) = outline
    width = x1 - x0 + 2
    for r in mine[::-1]:  # upwards, since most steps that are left lead to later pixels
        at = (row[r] - y0 + 1) * width + 1 - x0
        for p in range(at + stop[r] - 1, at + start[r] - 1, -1):
            q = p
            while basin[q] > 0:
                q = basin[q]
            peak = basin[q]
            area[-peak] += 1
            q = p
            while basin[q] > 0:
                basin[q], q = peak, basin[q]
    for p in range(len(basin)):
        basin[p] = -basin[p]


@kernel
def _borders(basin: Flat, width: int, found: Flat) -> int:
    """Write into `found` the pixels with another basin next to them, to the right or below; count them."""
    kind = found.dtype.type
    size = len(basin) - width - 1
    here, right, out = basin[:size], basin[1:], found[:size]
    left_below, below, right_below = basin[width - 1 :], basin[width:], basin[width + 1 :]
    for p in range(size):
        a = here[p]
        other = (right[p] != a) & (right[p] != 0) | (left_below[p] != a) & (left_below[p] != 0)
        other |= (below[p] != a) & (below[p] != 0) | (right_below[p] != a) & (right_below[p] != 0)
        out[p] = kind(other & (a != 0))
    count = 0
    for p in range(size):
        if out[p]:
            out[count] = p
            count += 1
    return count


@kernel
def _passes(squared: Flat, basin: Flat, width: int, border: Flat) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the height² of every pass at the pixels `border`, highest first, and the two basins it lies between."""
    height = np.empty(4 * len(border), np.int64)
    between = np.empty((4 * len(border), 2), np.int64)
    k = 0
    for p in border:
        a = basin[p]
        for q in (p + 1, p + width - 1, p + width, p + width + 1):
            b = basin[q]
            if b and b != a:
                here = min(squared[p], squared[q])
                # of passes between the same two that follow each other only the first of the highest can matter
                if k and between[k - 1, 0] == min(a, b) and between[k - 1, 1] == max(a, b):
                    if here <= height[k - 1]:
                        continue
                    k -= 1
                height[k], between[k, 0], between[k, 1] = here, min(a, b), max(a, b)
                k += 1
    order = _downwards(height[:k])
    return height[order], between[order]


@kernel
def _downwards(height: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order from the highest down, of equals the earlier first."""
    if len(height) > FEW:
        return np.argsort(-height, kind="mergesort")
    order = np.arange(len(height))
    for k in range(1, len(height)):
        j = k
        while j and height[order[j - 1]] < height[k]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = k
    return order


@kernel
def _root(parent: NDArray[np.int64], b: int) -> int:
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    return b


@kernel
def _united(
    peak: NDArray[np.float64],
    area: NDArray[np.int64],
    passes: tuple[NDArray[np.int64], NDArray[np.int64]],
    rule: tuple[float, float, int],
) -> NDArray[np.int64]:
    """Return for each basin the one it belongs to: the passes are closed from the highest down where the rule says so.

    Two basins stay apart if the pass, of half width s, is narrow against the smaller of their peaks m: s ≤ `neck` m and
    m - s ≥ `depth` px. What then has less than `least` pixels is given to the neighbour behind its highest pass.
    """
    squared, between = passes
    neck, depth, least = rule
    parent = np.arange(len(peak))
    for k in range(len(squared)):
        a, b = _root(parent, between[k, 0]), _root(parent, between[k, 1])
        half, lower = np.sqrt(squared[k]), min(peak[a], peak[b])
        if a != b and (half > neck * lower or lower - half < depth):
            if peak[a] < peak[b] or (peak[a] == peak[b] and a > b):
                a, b = b, a
            parent[b] = a
            area[a] += area[b]
    # areas only grow, so one round from the highest pass down leaves nothing too small that has a neighbour
    for k in range(len(squared)):
        a, b = _root(parent, between[k, 0]), _root(parent, between[k, 1])
        if a != b and min(area[a], area[b]) < least:
            parent[b] = a
            area[a] += area[b]
    for b in range(len(parent)):
        parent[b] = _root(parent, b)
    return parent


@kernel
def _numbers(outline: Outline, rooms: tuple[Flat, Flat, Flat], n: int, rule: Rule) -> tuple[NDArray[np.int64], int]:
    """Return the part, 0…, that each of `n` basins (from entry 1) belongs to, and how many parts there are."""
    peaks, squared, basin = rooms
    width = outline[2][3] - outline[2][1] + 2
    peak = np.sqrt(peaks[: n + 1].astype(np.float64))
    area = np.zeros(n + 1, np.int64)
    _climb(outline, basin, area)
    border = peaks[: _borders(basin, width, peaks)]
    parent = _united(peak, area, _passes(squared, basin, width, border), rule)
    number = np.zeros(n + 1, np.int64)
    kept = 0
    for b in range(1, n + 1):
        if parent[b] == b:
            number[b] = kept
            kept += 1
    for b in range(1, n + 1):
        number[b] = number[parent[b]]
    return number, kept


@kernel
def parts_of(
    outline: Outline, shape: tuple[int, int], room: NDArray[Any], rule: Rule
) -> tuple[Flat, NDArray[np.int64], int]:
    """Return the basin, from 1, of each pixel in the box and a frame around it; the part, 0…, of each; how many parts.

    Beyond the border of the frame, of the given `shape`, an outline goes on: nothing is cut there for want of pixels.
    `room` (4, n) has at least the pixels of the box with its frame; `rule` is `neck`, `depth` (px) and the least area
    of a part (px), see `_united`. Where there is one part the basins are not followed to the end.
    """
    y0, x0, y1, x1 = outline[2]
    width = x1 - x0 + 2
    size = (y1 - y0 + 2) * width
    along, squared, best, basin = room[0, :size], room[1, :size], room[2, :size], room[3, :size]
    distances(outline, shape, along, squared)
    _steepest(squared, width, along, best)
    n = _steps(outline, squared, best, basin, along)
    if n == 1:
        return basin, np.zeros(2, np.int64), 1
    number, kept = _numbers(outline, (along, squared, basin), n, rule)
    return basin, number, kept
