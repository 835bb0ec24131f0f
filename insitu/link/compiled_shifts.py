"""Medians of displacements for `insitu.link.drift`, compiled. `plain_shifts` does the same with numpy, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel
from insitu.link.compiled import candidates
from insitu.link.plain_shifts import FEWEST_VOTERS, MAD_TO_SIGMA, MOST_PAIRS, MOST_VOTERS, Agreed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Found = tuple[int, Floats, Floats]


@kernel
def _median(samples: Floats) -> Floats:
    centre = np.empty(2)
    for axis in range(2):
        centre[axis] = np.median(samples[:, axis].copy())
    return centre


@kernel
def _middle(samples: Floats) -> Found:
    """Return number, median and variance of (n, 2) samples; see `middle`."""
    n, variance = len(samples), np.zeros(2)
    if n == 0:
        return n, np.zeros(2), variance
    centre = _median(samples)
    for axis in range(2):
        scatter = MAD_TO_SIGMA * np.median(np.abs(samples[:, axis] - centre[axis]))
        variance[axis] = scatter * scatter
    return n, centre, variance


@kernel
def _within(steps: Floats, centre: Floats, radius: float) -> Floats:
    chosen, n = np.empty_like(steps), 0
    for i in range(len(steps)):
        y, x = steps[i, 0] - centre[0], steps[i, 1] - centre[1]
        if y * y + x * x <= radius * radius:
            chosen[n, 0], chosen[n, 1] = steps[i, 0], steps[i, 1]
            n += 1
    return chosen[:n]


@kernel
def steps_within(sources: Floats, targets: Floats, reach: float) -> Floats:
    """Return all displacements (n, 2) from a source to a target that are at most `reach` long."""
    source, target, _ = candidates(sources, targets, reach)
    steps = np.empty((len(source), 2))
    for e in range(len(source)):
        for axis in range(2):
            steps[e, axis] = targets[target[e], axis] - sources[source[e], axis]
    return steps


@kernel
def voters(n_sources: int, targets: Floats, reach: float) -> tuple[int, float]:
    """Return that every how-manieth source is to vote, and the density of the targets (see `plain_shifts`)."""
    height = targets[:, 0].max() - targets[:, 0].min() + 1
    width = targets[:, 1].max() - targets[:, 1].min() + 1
    density = len(targets) / (height * width)
    partners = max(1.0, min(float(len(targets)), density * np.pi * reach * reach))
    wanted = min(max(int(MOST_PAIRS / partners), FEWEST_VOTERS), MOST_VOTERS)
    return -(-n_sources // wanted), density


@kernel
def _near(sources: Floats, targets: Floats, search_range: float) -> tuple[int, Found]:
    steps = steps_within(sources, targets, search_range)
    count = 0
    for i in range(len(steps)):
        count += abs(steps[i, 0]) < search_range / 2 and abs(steps[i, 1]) < search_range / 2
    first = _within(steps, np.zeros(2), search_range * np.sqrt(0.5))
    if not len(first):
        return count, _middle(first)
    step = _median(first)
    if step[0] * step[0] + step[1] * step[1] > search_range * search_range / 4:
        return count, _middle(first[:0])
    return count, _middle(_within(steps, step, search_range / 2))


@kernel
def _places(ids: Ints, key_ids: Ints) -> Ints:
    """Return where each of the ids is among the sorted, not empty `key_ids`, or -1."""
    place, low, span = np.full(len(ids), -1, np.int64), key_ids[0], key_ids[-1] - key_ids[0] + 1
    if span > 64 * (len(key_ids) + 64):
        for i, at in enumerate(np.searchsorted(key_ids, ids)):
            if at < len(key_ids) and key_ids[at] == ids[i]:
                place[i] = at
        return place
    # Ids lie close together as a rule: a table of all of them is faster than a search for each.
    table = np.full(span, -1, np.int64)
    for k in range(len(key_ids)):
        table[key_ids[k] - low] = k
    for i in range(len(ids)):
        if 0 <= ids[i] - low < span:
            place[i] = table[ids[i] - low]
    return place


@kernel
def _since(ids: Ints, positions: Floats, key_ids: Ints, key: Floats) -> Found:
    moved, n = np.empty_like(positions), 0
    if len(key_ids):
        for i, place in enumerate(_places(ids, key_ids)):
            if place >= 0:
                for axis in range(2):
                    moved[n, axis] = positions[i, axis] - key[place, axis]
                n += 1
    return _middle(moved[:n])


def middle(samples: Floats) -> Agreed:
    """Return the median of (n, 2) samples, and the variance that follows from their median deviation."""
    return Agreed(*_middle(samples))


def common(steps: Floats, centre: Floats, radius: float) -> Agreed:
    """Return what the (n, 2) steps within `radius` of `centre` have in common."""
    return Agreed(*_middle(_within(steps, centre, radius)))


def near(sources: Floats, targets: Floats, search_range: float) -> tuple[int, Agreed]:
    """Return the number of steps about none, and what they have in common (see `plain_shifts`)."""
    count, found = _near(sources, targets, search_range)
    return count, Agreed(*found)


def since(ids: Ints, positions: Floats, key_ids: Ints, key: Floats) -> Agreed:
    """Return what the displacements of the particles that are among the (sorted) `key_ids` have in common."""
    return Agreed(*_since(ids, positions, key_ids, key))
