"""Medians of displacements for `insitu.link.drift` with numpy, where numba is missing: the same numbers as compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from insitu.link.plain import candidates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MAD_TO_SIGMA = 1.4826  # of a normal distribution
MOST_VOTERS = 300
FEWEST_VOTERS = 60
MOST_PAIRS = 3000


class Agreed(NamedTuple):
    """Number of displacements that lie together, their median (y, x) in px, and their variance about it in px²."""

    n: int
    step: Floats
    variance: Floats


def middle(samples: Floats) -> Agreed:
    """Return the median of (n, 2) samples, and the variance that follows from their median deviation."""
    if not len(samples):
        return Agreed(0, np.zeros(2), np.zeros(2))
    centre = _median(samples)
    scatter = MAD_TO_SIGMA * _median(np.abs(samples - centre))
    return Agreed(len(samples), centre, scatter * scatter)


def _median(samples: Floats) -> Floats:
    ordered = np.sort(samples, axis=0)
    median: Floats = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return median


def common(steps: Floats, centre: Floats, radius: float) -> Agreed:
    """Return what the (n, 2) steps within `radius` of `centre` have in common."""
    away = steps - centre
    return middle(steps[away[:, 0] * away[:, 0] + away[:, 1] * away[:, 1] <= radius * radius])


def steps_within(sources: Floats, targets: Floats, reach: float) -> Floats:
    """Return all displacements (n, 2) from a source to a target that are at most `reach` long."""
    source, target, _ = candidates(sources, targets, reach)
    steps: Floats = targets[target] - sources[source]
    return steps


def voters(n_sources: int, targets: Floats, reach: float) -> tuple[int, float]:
    """Return that every how-manieth source is to vote, and the density of the targets in their box, per px².

    Thinned evenly, so that a crowd or a frame full of specks costs no more than others.
    """
    box = targets.max(axis=0) - targets.min(axis=0) + 1
    density = len(targets) / float(box[0] * box[1])
    partners = max(1.0, min(float(len(targets)), density * np.pi * reach * reach))
    wanted = min(max(int(MOST_PAIRS / partners), FEWEST_VOTERS), MOST_VOTERS)
    return -(-n_sources // wanted), density


def near(sources: Floats, targets: Floats, search_range: float) -> tuple[int, Agreed]:
    """Return how many steps from a source to a target are within the cells about none, and what those have in common.

    The latter is empty if it may lie beyond the search range, so that it must be looked for farther out.
    """
    steps = steps_within(sources, targets, search_range)
    count = int((np.abs(steps) < search_range / 2).all(axis=1).sum())
    first = common(steps, np.zeros(2), search_range * np.sqrt(0.5))
    if first.step[0] * first.step[0] + first.step[1] * first.step[1] > search_range * search_range / 4:
        return count, middle(steps[:0])
    return count, common(steps, first.step, search_range / 2)


def since(ids: Ints, positions: Floats, key_ids: Ints, key: Floats) -> Agreed:
    """Return what the displacements of the particles that are among the (sorted) `key_ids` have in common."""
    if not len(key_ids):
        return middle(positions[:0])
    place = np.minimum(np.searchsorted(key_ids, ids), len(key_ids) - 1)
    here = np.flatnonzero(key_ids[place] == ids)
    return middle(positions[here] - key[place[here]])
