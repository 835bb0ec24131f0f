"""The basins of `insitu.runs.basins` in their first, plain form: the whole map of distances, every pass, no shortcut.

Slow without a compiler, and meant to be: what is faster has to give the same parts.
"""

from __future__ import annotations

import numpy as np

from insitu.runs import lines_of
from insitu.runs.cut import divide
from insitu.runs.split import DEPTH_PX, NECK, _may_be_several

FAR = 1 << 20  # px; longer than any frame


def _paint(lines, mine, y0, x0, window):
    """Write 1 into the pixels of the runs `mine`, 0 elsewhere."""
    row, start, stop = lines
    window[:] = 0
    for r in mine:
        window[row[r] - y0, start[r] - x0 : stop[r] - x0] = 1


def _along_columns(window):
    """Replace 1 by the distance to the nearest 0 in the same column, FAR if there is none."""
    height, width = window.shape
    for x in range(width):
        window[0, x] *= FAR
    for y in range(1, height):
        for x in range(width):
            if window[y, x]:
                window[y, x] = min(window[y - 1, x] + 1, FAR)
    for y in range(height - 2, -1, -1):
        for x in range(width):
            window[y, x] = min(window[y, x], window[y + 1, x] + 1)


def _along_row(column, place, begin):
    """Replace the distances along the columns by the squared distance min over x' of (x - x')² + column[x']².

    The lower envelope of the parabolas in one sweep: Meijster, Roerdink & Hesselink 2000, 10.1007/0-306-47025-X_36.
    `place` (3, w) and `begin` (w) are room to work in.
    """
    width = len(column)
    top = -1
    for x in range(width):
        if column[x] >= FAR:
            continue
        first = 0
        while top >= 0:
            other = place[top]
            # pixels from `first` on are nearer to the outside at x than to that at `other`
            first = (column[x] ** 2 - column[other] ** 2 + x * x - other * other) // (2 * (x - other)) + 1
            if first > begin[top]:
                break
            top -= 1
        if top < 0:
            first = 0
        if first < width:
            top += 1
            place[top] = x
            begin[top] = first
    if top < 0:
        column[:] = FAR
        return
    for k in range(top + 1):
        begin[width + k] = column[place[k]]
    for x in range(width - 1, -1, -1):
        while begin[top] > x:
            top -= 1
        column[x] = (x - place[top]) ** 2 + begin[width + top] ** 2


def _ascend(squared, basin):
    """Write into `basin` (flat) the peak that each pixel inside climbs to, numbered from 1 in raster order; count them.

    Every step goes to the neighbour farthest from the outside; of equals, to the earlier in raster order, so that no
    path turns in a circle. The frame of one pixel around `squared` (h, w) is outside.
    """
    height, width = squared.shape
    flat, up = squared.reshape(squared.size), basin.reshape(basin.size)
    n = 0
    for y in range(1, height - 1):
        for p in range(y * width + 1, (y + 1) * width - 1):
            if not flat[p]:
                up[p] = 0
                continue
            most, best = flat[p], p
            for q in (p - width - 1, p - width, p - width + 1, p - 1):
                if flat[q] > most or (flat[q] == most and best == p):
                    most, best = flat[q], q
            for q in (p + 1, p + width - 1, p + width, p + width + 1):
                if flat[q] > most:
                    most, best = flat[q], q
            n += best == p
            up[p] = best if best != p else -n
    for p in range(len(up)):
        if up[p] > 0:
            q = up[p]
            while up[q] > 0:
                q = up[q]
            peak = up[q]
            q = p
            while up[q] > 0:
                up[q], q = peak, up[q]
    for p in range(len(up)):
        up[p] = -up[p]
    return n


def _passes(squared, basin, n):
    """Return the height of each of `n` peaks; the height² of every pass, highest first; the basins it lies between."""
    width = squared.shape[1]
    flat, of = squared.reshape(squared.size), basin.reshape(basin.size)
    peak = np.zeros(n + 1, np.float64)
    count = 0
    for p in range(width, len(flat) - width):
        if of[p]:
            peak[of[p]] = max(peak[of[p]], flat[p])
            for q in (p + 1, p + width - 1, p + width, p + width + 1):
                count += of[q] != 0 and of[q] != of[p]
    pass_height = np.empty(count, np.int64)
    between = np.empty((count, 2), np.int64)
    k = 0
    for p in range(width, len(flat) - width):
        if of[p]:
            for q in (p + 1, p + width - 1, p + width, p + width + 1):
                if of[q] != 0 and of[q] != of[p]:
                    pass_height[k] = min(flat[p], flat[q])
                    between[k, 0], between[k, 1] = of[p], of[q]
                    k += 1
    order = np.argsort(-pass_height, kind="mergesort")
    return np.sqrt(peak), pass_height[order], between[order]


def _root(parent, b):
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    return b


def _united(
    peak,
    area,
    passes,
    rule,
):
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


def _window(lines, mine, shape):
    """Return the box y0, x0, y1, x1 of the runs `mine` with a margin of one pixel, cut at the border of the frame."""
    row, start, stop = lines
    left, right = shape[1], 0
    for r in mine:
        left = min(left, start[r])
        right = max(right, stop[r])
    y0, y1 = row[mine[0]] - 1, row[mine[-1]] + 2
    return max(y0, 0), max(left - 1, 0), min(y1, shape[0]), min(right + 1, shape[1])


def _basins(lines, runs, box, rule):
    """Return the part of each pixel of one outline, 0…, in its `box` with a margin of 1, and the number of parts."""
    y0, x0, y1, x1 = box
    squared = np.zeros((y1 - y0 + 2, x1 - x0 + 2), np.int64)
    inner = squared[1:-1, 1:-1]
    _paint(lines, runs, y0, x0, inner)
    _along_columns(inner)
    place, begin = np.empty(x1 - x0, np.int64), np.empty(2 * (x1 - x0), np.int64)
    for y in range(y1 - y0):
        _along_row(inner[y], place, begin)
    basin = np.zeros_like(squared)
    n = _ascend(squared, basin)
    flat = basin.reshape(basin.size)
    number = np.zeros(n + 1, np.int64)
    kept = 1
    if n > 1:
        peak, heights, between = _passes(squared, basin, n)
        area = np.zeros(n + 1, np.int64)
        for p in range(len(flat)):
            area[flat[p]] += 1
        parent = _united(peak, area, (heights, between), rule)
        kept = 0
        for b in range(1, n + 1):
            if parent[b] == b:
                number[b] = kept
                kept += 1
        for b in range(1, n + 1):
            number[b] = number[parent[b]]
    for p in range(len(flat)):
        flat[p] = number[flat[p]]
    return basin, kept


def find_parts(
    lines,
    outlines,
    shape,
    rule,
):
    """Divide outlines; return the part of each of their pixels, 0… over all of them, and the number of parts.

    Parameters
    ----------
    lines : tuple of int32 arrays
        Row, start, stop of the runs of a frame.
    outlines : tuple of int64 arrays
        The runs of the outlines, one outline after another, each in raster order; where each begins, and the end.
    shape : tuple of int
        Height and width of the frame. Beyond its border an outline goes on: nothing is cut there for want of pixels.
    rule : tuple
        `neck`, `depth` (px) and the least area of a part (px), see `_united`.
    """
    row, start, stop = lines
    mine, first = outlines
    pixels = 0
    for r in mine:
        pixels += stop[r] - start[r]
    part = np.empty(pixels, np.int64)
    total = 0
    at = 0
    for k in range(len(first) - 1):
        runs = mine[first[k] : first[k + 1]]
        box = _window(lines, runs, shape)
        basin, kept = _basins(lines, runs, box, rule)
        for r in runs:
            for x in range(start[r], stop[r]):
                part[at] = total + basin[row[r] - box[0] + 1, x - box[1] + 1]
                at += 1
        total += kept
    return part, total


def split_slowly(runs, min_area_px=1):
    """Return what `insitu.runs.split.split` must."""
    least = -(-min_area_px // runs.bin**2)
    asked = _may_be_several(runs, least)
    if not asked.any():
        return runs
    whole = np.flatnonzero(asked[runs.label - 1])
    whole = whole[np.argsort(runs.label[whole], kind="stable")]
    first = np.append(np.flatnonzero(np.diff(runs.label[whole], prepend=0)), len(whole)).astype(np.int64)
    part, n = find_parts(lines_of(runs), (whole, first), runs.shape, (NECK, DEPTH_PX, least))
    return runs if n == len(first) - 1 else divide(runs, whole, part)[0]
