"""Who lies next to whom, and what neighbours do to each other's growth.

Neighbours are those whose Voronoi cells share a side (Delaunay). In ripening, what a particle loses spreads over its
surroundings, so that its neighbours' sizes set the critical radius it feels (Simonsen et al., J. Catal. 281, 147, 2011;
Horwath et al., Nano Lett. 21, 5324, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns

FEWEST_PARTICLES = 12
"""Particles with a complete neighbourhood that a correlation needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Neighbouring particles of one frame.

    Attributes
    ----------
    first, second : int64 arrays of shape (P,)
        Rows of the two particles of each pair; every pair once.
    complete : bool array of shape (N,)
        No particle beyond the border of the region could be a neighbour of this one.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    complete: NDArray[np.bool_]

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum of `values` (N,) over the neighbours of each particle."""
        n = len(self.complete)
        one, other = (np.bincount(a, values[b], n) for a, b in ((self.first, self.second), (self.second, self.first)))
        return np.asarray(one + other, np.float64)

    @property
    def count(self) -> NDArray[np.int64]:
        """Neighbours of each particle."""
        return self.total(np.ones(len(self.complete))).astype(np.int64)


def neighbours(y: NDArray[np.float64], x: NDArray[np.float64], region: tuple[float, float]) -> Neighbours:
    """Find the neighbours of every particle.

    A neighbourhood is complete when the circles through the corners of all its triangles, which hold no particle, lie
    inside the region: a particle outside cannot change it.

    Parameters
    ----------
    y, x : float64 arrays of shape (N,)
        Centres, measured from the corner of the region.
    region : tuple of float
        Height and width in the same unit.
    """
    from scipy.spatial import Delaunay, QhullError

    n = len(y)
    lonely = np.zeros(0, np.int64)
    points = np.column_stack([y, x])
    try:
        if n < 3:
            raise QhullError  # noqa: TRY301 - two cases, one answer
        corners = Delaunay(points).simplices.astype(np.int64)
    except QhullError:  # all on one line
        pairs = np.array([[0, 1]]) if n == 2 else np.empty((0, 2), np.int64)
        return (
            Neighbours(pairs[:, 0], pairs[:, 1], np.zeros(n, np.bool_)) if n else Neighbours(lonely, lonely, lonely > 0)
        )
    sides = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]), axis=1)
    pairs, times = np.unique(sides, axis=0, return_counts=True)
    open_ended = np.zeros(n, np.bool_)
    open_ended[pairs[times == 1].ravel()] = True  # on the hull
    open_ended[corners[_reaches_out(points[corners], region)].ravel()] = True
    seen = np.zeros(n, np.bool_)
    seen[pairs.ravel()] = True  # of several particles at one place, Delaunay keeps one
    return Neighbours(pairs[:, 0], pairs[:, 1], seen & ~open_ended)


def _reaches_out(triangle: NDArray[np.float64], region: tuple[float, float]) -> NDArray[np.bool_]:
    """Return whether the circle through the corners (T, 3, 2) of each triangle leaves the region."""
    a, b, c = (triangle[:, k] for k in range(3))
    u, v = b - a, c - a
    twice = 2.0 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    uu, vv = (u**2).sum(axis=1), (v**2).sum(axis=1)
    flat = np.abs(twice) < 1e-12 * (uu + vv)
    twice = np.where(flat, 1.0, twice)
    dy, dx = (v[:, 1] * uu - u[:, 1] * vv) / twice, (u[:, 0] * vv - v[:, 0] * uu) / twice
    radius, y, x = np.hypot(dy, dx), a[:, 0] + dy, a[:, 1] + dx
    inside = np.minimum(np.minimum(y, x), np.minimum(region[0] - y, region[1] - x)) >= radius
    return np.asarray(flat | ~inside)


def local_critical_radius(
    found: Neighbours, radius: NDArray[np.float64], exponent: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the critical radius that its neighbours impose on each particle.

    r*_i = Σ r_j^(4−n) / Σ r_j^(3−n) over the neighbours j, the mean-field formula with the particle's surroundings in
    place of the whole population; the particle itself is left out, or its own size would enter on both sides.

    Parameters
    ----------
    radius : float64 array of shape (N,)
        Sizes; one that is not finite counts nowhere, but its neighbours' surroundings are incomplete.

    Returns
    -------
    radius, known : float64 and bool arrays of shape (N,)
        The radius is 0 where it is not known.
    """
    size = np.where(np.isfinite(radius), radius, 1.0)
    above, below = found.total(size ** (4.0 - exponent)), found.total(size ** (3.0 - exponent))
    unsized = found.total((~np.isfinite(radius)).astype(np.float64))
    known = found.complete & (unsized == 0) & (below > 0)
    return np.where(known, above / np.where(known, below, 1.0), 0.0), known


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Particles of one window with their speed and the critical radius their neighbours impose on them."""

    particle: NDArray[np.int64]
    radius: NDArray[np.float64]
    rate: NDArray[np.float64]
    local: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.particle)


def growth_correlation(
    windows: Sequence[Surroundings], *, draws: int = 200, confidence: float = 0.95, seed: int = 0
) -> Columns | None:
    """Compare how well size over global, and over local critical radius, orders the speeds of particles.

    Spearman's rank correlation (growth is no straight line of size) within each window, so that the global critical
    radius, one number a window, drops out; the mean over windows by number of particles. ``neighbours`` is the rank
    correlation of speed with r*_i at equal size (partial): negative where large neighbours take from a particle. Its
    expectation without any influence of neighbours is 0, which does not hold for ``local`` − ``global``.
    Intervals from drawing particles, each with all its windows, with replacement.

    Returns
    -------
    dict or None
        Rows ``global``, ``local``, ``neighbours`` (column ``quantity``) with ``correlation``,
        ``correlation_low``, ``correlation_high`` (both only with draws), ``n_particles``; None with
        less than 12 particles.
    """
    usable = [w for w in windows if len(w) >= FEWEST_PARTICLES and np.ptp(w.radius) > 0 and np.ptp(w.rate) > 0]
    usable = [w for w in usable if np.ptp(w.local) > 0]
    if not usable:
        return None
    names = np.unique(np.concatenate([w.particle for w in usable]))
    places = [np.searchsorted(names, w.particle) for w in usable]
    value = _mean_correlations(usable, [np.arange(len(w)) for w in usable])
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))
        drawn.append(_mean_correlations(usable, [np.repeat(np.arange(len(p)), times[p]) for p in places]))
    table: Columns = {
        "quantity": np.array(["global", "local", "neighbours"], dtype=object),
        "correlation": value,
        "n_particles": np.full(3, len(names), np.int64),
    }
    if draws >= 20:
        ends = np.quantile(np.array(drawn), [0.5 - 0.5 * confidence, 0.5 + 0.5 * confidence], axis=0)
        table |= {"correlation_low": ends[0], "correlation_high": ends[1]}
    return table


def _mean_correlations(windows: Sequence[Surroundings], rows: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return the mean correlations with r/r*, r/r*_i and, at equal size, r*_i."""
    sums, weight = np.zeros(3), 0.0
    for w, chosen in zip(windows, rows, strict=True):
        r, rate, local = w.radius[chosen], w.rate[chosen], w.local[chosen]
        if len(r) < 4 or not (np.ptp(r) and np.ptp(rate) and np.ptp(local) and np.ptp(r / local)):
            continue
        size, near = _rank_correlation(r, rate), _rank_correlation(r / local, rate)
        rate_local, size_local = _rank_correlation(local, rate), _rank_correlation(local, r)
        rest = (1.0 - size**2) * (1.0 - size_local**2)
        partial = (rate_local - size * size_local) / np.sqrt(rest) if rest > 1e-12 else 0.0
        sums += len(r) * np.array([size, near, partial])
        weight += len(r)
    return np.asarray(sums / weight) if weight else sums


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    p, q = _ranks(a), _ranks(b)
    p, q = p - p.mean(), q - q.mean()
    return float(p @ q / np.sqrt((p @ p) * (q @ q)))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value; equal ones share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - 0.5 * (count - 1))[place], np.float64)
