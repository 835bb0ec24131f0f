"""How particles lie on the support: distances, order, and whether like lies next to like. One frame at a time.

All lengths in one unit. The region is a rectangle, and what its border hides is corrected for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.intervals import clustered_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns
    from insitu.coarsening.neighbours import Neighbours


@dataclass(frozen=True, slots=True)
class Spacing:
    """Nearest neighbours of the particles of one frame.

    Attributes
    ----------
    mean_centre, mean_gap : float
        Mean distance to the nearest centre, and to the nearest outline.
    clark_evans : float
        Mean distance over that of points thrown at random: 1 at random, below 1 in clusters, above 1 where particles
        keep a distance, which all do that cannot overlap.
    z : float
        Its distance from 1 in standard errors.
    closest : float
        Smallest distance of two centres.
    """

    n: int
    mean_centre: float
    mean_gap: float
    clark_evans: float
    z: float
    closest: float


def nearest(
    y: NDArray[np.float64], x: NDArray[np.float64], radius: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance of each particle to the nearest centre and to the nearest outline, from outline to outline.

    The nearest outline may belong to another particle than the nearest centre. A gap below 0 is an overlap.

    Parameters
    ----------
    y, x, radius : float64 arrays of shape (N,), N ≥ 2
    """
    from scipy.spatial import cKDTree

    points = np.column_stack([y, x])
    tree = cKDTree(points)
    distance, other = (np.asarray(v) for v in tree.query(points, k=2))
    self_first = other[:, 0] == np.arange(len(y))
    centre = distance[:, 1]
    found = np.where(self_first, other[:, 1], other[:, 0])
    gap = centre - radius - radius[found]
    # an outline nearer than this one belongs to a centre within this reach
    reach = gap + radius + radius.max()
    for i in np.flatnonzero(radius[found] < radius.max()).tolist():
        near = np.array(tree.query_ball_point(points[i], max(reach[i], 0.0)), np.int64)
        near = near[near != i]
        if len(near):
            at = np.hypot(y[near] - y[i], x[near] - x[i]) - radius[near] - radius[i]
            gap[i] = min(gap[i], float(at.min()))
    return centre, gap


def spacing(
    y: NDArray[np.float64], x: NDArray[np.float64], radius: NDArray[np.float64], region: tuple[float, float]
) -> Spacing | None:
    """Describe the nearest neighbours of one frame; None with less than two particles.

    R = ⟨d⟩ / E with Donnelly's mean E = ½√(A/N) + (0.0514 + 0.041/√N) P/N of points at random in a rectangle of area A
    and perimeter P, and variance 0.0703 A/N² + 0.037 P √(A/N⁵) (Clark & Evans 1954, doi:10.2307/1931034; Donnelly in
    Hodder, Simulation Studies in Archaeology, 1978), so that the border needs no margin.

    Parameters
    ----------
    y, x, radius : float64 arrays of shape (N,)
    region : tuple of float
        Height and width.
    """
    n = len(y)
    if n < 2:
        return None
    centre, gap = nearest(y, x, radius)
    area, perimeter = region[0] * region[1], 2.0 * (region[0] + region[1])
    expected = 0.5 * np.sqrt(area / n) + (0.0514 + 0.041 / np.sqrt(n)) * perimeter / n
    error = np.sqrt(0.0703 * area / n**2 + 0.037 * perimeter * np.sqrt(area / n**5))
    mean = float(centre.mean())
    return Spacing(n, mean, float(gap.mean()), mean / expected, float((mean - expected) / error), float(centre.min()))


def pair_correlation(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    region: tuple[float, float],
    edges: NDArray[np.float64],
    confidence: float = 0.95,
) -> Columns | None:
    """Estimate g(d), the density of particles at distance d from a particle over the mean density.

    Every pair counts with one over the share of places at which the region would show a pair with this vector between
    its centres, (H − |Δy|)(W − |Δx|)/HW: exact for a rectangle at every distance, direction by direction (translation
    correction; Illian et al. 2008, doi:10.1002/9780470725160, § 4.3). Pairs that share a particle vary together; the
    interval is that of a Poisson count made as much wider (variance as for dyads, Aronow et al. 2015,
    doi:10.1093/pan/mpv018).

    Parameters
    ----------
    y, x : float64 arrays of shape (N,)
        Centres.
    region : tuple of float
        Height and width.
    edges : float64 array of shape (B + 1,)
        Ends of the bins, rising, the last below both sides of the region.

    Returns
    -------
    dict or None
        ``distance_low_{length}``, ``distance_high_{length}``, ``pairs`` (unordered), ``g``, ``g_low``, ``g_high``;
        None with less than two particles.
    """
    n, bins = len(y), len(edges) - 1
    if n < 2:
        return None
    from scipy.spatial import cKDTree

    found = cKDTree(np.column_stack([y, x])).query_pairs(float(edges[-1]), output_type="ndarray")
    i, j = found[:, 0], found[:, 1]
    dy, dx = np.abs(y[i] - y[j]), np.abs(x[i] - x[j])
    place = np.searchsorted(edges, np.hypot(dy, dx), side="right") - 1
    kept = (place >= 0) & (place < bins)
    i, j, place = i[kept], j[kept], place[kept]
    weight = 1.0 / ((region[0] - dy[kept]) * (region[1] - dx[kept]))
    share = _histogram(i, place, weight, (n, bins)) + _histogram(j, place, weight, (n, bins))
    squares = np.asarray(2.0 * np.bincount(place, weight**2, bins), np.float64)
    scale = (region[0] * region[1]) ** 2 / (np.pi * np.diff(edges**2) * n * (n - 1))
    low, high = _pair_interval(share, squares, region, confidence)
    return {
        "distance_low_{length}": edges[:-1],
        "distance_high_{length}": edges[1:],
        "pairs": np.bincount(place, minlength=bins),
        "g": share.sum(axis=0) * scale,
        "g_low": low * scale,
        "g_high": high * scale,
    }


def _pair_interval(
    share: NDArray[np.float64], squares: NDArray[np.float64], region: tuple[float, float], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the interval of the sum of all weights in each bin, (N, B) by particle; every pair stands in it twice."""
    total = share.sum(axis=0)
    n = len(share)
    mean = total / n
    own = squares / 2.0 - total**2 / (2.0 * n * (n - 1))  # pairs about their mean
    variance = np.maximum(((share - mean) ** 2).sum(axis=0) - own, 0.0)
    # weight of one pair; where there is none, that of a pair at distance 0
    one = np.divide(squares, total, out=np.full_like(total, 1.0 / (region[0] * region[1])), where=total > 0)
    low, high = clustered_interval(total / (2.0 * one), variance / one**2, confidence)
    return 2.0 * one * low, 2.0 * one * high


def _histogram(
    row: NDArray[np.int64], column: NDArray[np.int64], weight: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    flat = np.bincount(row * shape[1] + column, weight, shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), np.float64)


def hard_core(table: Columns) -> float | None:
    """Return the distance at which g first rises through ½: how near two centres come, apart from exceptions.

    None where g does not rise through ½ (no hole round a particle, or too few pairs to see it).
    """
    g = table["g"]
    middle = 0.5 * (table["distance_low_{length}"] + table["distance_high_{length}"])
    above = np.flatnonzero(g >= 0.5)
    if not len(above) or above[0] == 0:
        return None
    k = int(above[0])
    return float(middle[k - 1] + (0.5 - g[k - 1]) / (g[k] - g[k - 1]) * (middle[k] - middle[k - 1]))


@dataclass(frozen=True, slots=True)
class SizeCorrelation:
    """Correlation of a particle's size with the mean size of its neighbours.

    `p_value` is the share of random exchanges of the sizes that give one at least as far from their mean.
    """

    n: int
    correlation: float
    p_value: float


def size_correlation(
    found: Neighbours, radius: NDArray[np.float64], *, draws: int = 999, seed: int = 0
) -> SizeCorrelation | None:
    """Correlate each particle's size with its neighbours' mean; None with less than 12 neighbourhoods or equal sizes.

    Negative where a large particle has starved its surroundings, positive where like lies next to like.

    Parameters
    ----------
    found : Neighbours
    radius : float64 array of shape (N,)
        Sizes; rows that are not finite are left out with their neighbours.
    """
    size = np.where(np.isfinite(radius), radius, 0.0)
    unsized = found.total((~np.isfinite(radius)).astype(np.float64))
    known = np.isfinite(radius) & found.complete & (unsized == 0) & (found.count > 0)
    sized = np.flatnonzero(np.isfinite(radius))
    if known.sum() < 12 or np.ptp(radius[sized]) <= 0:
        return None
    count = np.where(found.count > 0, found.count, 1)

    def correlation(sizes: NDArray[np.float64]) -> float:
        a, b = sizes[known], (found.total(sizes) / count)[known]
        a, b = a - a.mean(), b - b.mean()
        scale = float(np.sqrt((a @ a) * (b @ b)))
        return float(a @ b) / scale if scale > 0 else 0.0

    rng = np.random.default_rng(seed)
    exchanged = np.empty(draws)
    for k in range(draws):
        mixed = size.copy()
        mixed[sized] = size[rng.permutation(sized)]
        exchanged[k] = correlation(mixed)
    value = correlation(size)
    centre = float(exchanged.mean()) if draws else 0.0
    beyond = int((np.abs(exchanged - centre) >= abs(value - centre) - 1e-12).sum())
    return SizeCorrelation(int(known.sum()), value, (beyond + 1) / (draws + 1))
