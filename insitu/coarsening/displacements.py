"""Squared displacements of tracks, summed, and the share of tracks that do not move.

Positions are those on the support: the stage's drift must have been subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.intervals import share_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Displacements:
    """Squared displacements summed track by track.

    Attributes
    ----------
    particle : int64 array of shape (T,)
    lag : int64 array of shape (L,)
        Frames between two positions.
    squares : float64 array of shape (T, L)
        Σ of squared displacements, over all pairs of positions that far apart.
    count : int64 array of shape (T, L)
        How many these are.
    """

    particle: NDArray[np.int64]
    lag: NDArray[np.int64]
    squares: NDArray[np.float64]
    count: NDArray[np.int64]


def lags_of(frame: NDArray[np.int64], number: int = 20, share: float = 0.25) -> NDArray[np.int64]:
    """Return lags in frames, evenly spread on a logarithmic scale, whole multiples of the smallest step of the movie.

    The longest is a quarter of the movie: beyond, hardly any displacements are independent.
    """
    used = np.unique(frame)
    if len(used) < 2:
        return np.zeros(0, np.int64)
    step = int(np.diff(used).min())
    longest = max(1, int(share * (used[-1] - used[0]) / step))
    return step * np.unique(np.rint(np.geomspace(1, longest, number)).astype(np.int64))


def displacements(
    frame: NDArray[np.int64],
    particle: NDArray[np.int64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    lag: NDArray[np.int64],
) -> Displacements:
    """Sum the squared displacements of every track at every lag; frames in which it was not seen are skipped.

    Parameters
    ----------
    frame, particle : int64 arrays of shape (N,)
        In any order; a particle is in a frame once.
    y, x : float64 arrays of shape (N,)
        Positions on the support.
    lag : int64 array of shape (L,)
        Frames, all above 0.
    """
    names, track = np.unique(particle, return_inverse=True)
    squares, count = np.zeros((len(names), len(lag))), np.zeros((len(names), len(lag)), np.int64)
    if not len(frame):
        return Displacements(names, lag, squares, count)
    base = int(frame.min())
    # a key in which the next track lies beyond the longest lag
    key = track.astype(np.int64) * (int(frame.max()) - base + 1 + int(lag.max(initial=0))) + (frame - base)
    order = np.argsort(key, kind="stable")
    key, track, y, x = key[order], track[order], y[order], x[order]
    for k, apart in enumerate(lag.tolist()):
        later = np.minimum(np.searchsorted(key, key + apart), len(key) - 1)
        here = np.flatnonzero(key[later] == key + apart)
        there = later[here]
        square = (y[there] - y[here]) ** 2 + (x[there] - x[here]) ** 2
        squares[:, k] = np.bincount(track[here], square, len(names))
        count[:, k] = np.bincount(track[here], minlength=len(names))
    return Displacements(names, lag, squares, count)


@dataclass(frozen=True, slots=True)
class Immobile:
    """Share of particles whose displacements are no larger than errors of position."""

    value: float
    low: float
    high: float
    tracks: int


def immobile_share(found: Displacements, sigma: float, confidence: float = 0.95) -> Immobile | None:
    """Return the share of tracks that cannot be told from ones that stand still.

    At the longest lag a particle at rest has displacements of 4 σ² on average, and the sum of m independent ones,
    over 2 σ², follows χ² with 2m degrees of freedom. A track counts as moving beyond its 95 % point; m is the number
    of stretches of that length in the track, at least 1. Since 5 % of particles at rest are beyond, too, the share is
    divided by 0.95. None without an error of position or without tracks that long.

    Parameters
    ----------
    sigma : float
        Error of a position (y and x each), in the unit of length, from the fit.
    """
    from scipy.special import gammaincinv

    if sigma <= 0 or not len(found.lag):
        return None
    # the longest lag that at least half of the tracks have
    present = (found.count > 0).mean(axis=0) if len(found.count) else np.zeros(len(found.lag))
    reached = np.flatnonzero(present >= 0.5)
    if not len(reached):
        return None
    k = int(reached[-1])
    tracks = found.count[:, k] > 0
    mean = found.squares[tracks, k] / found.count[tracks, k]
    step = int(found.lag[0])
    stretches = np.maximum((found.count[tracks, k] * step) // int(found.lag[k]), 1).astype(np.float64)
    limit = 2.0 * sigma**2 * gammaincinv(stretches, 0.95) * 2.0 / stretches
    still, n = int((mean <= limit).sum()), int(tracks.sum())
    low, high = share_interval(still, n, confidence)
    return Immobile(min(still / n / 0.95, 1.0), low, min(high / 0.95, 1.0), n)
