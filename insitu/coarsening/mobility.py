"""How particles wander: mean squared displacement against time, and its fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.absent import Absent, Columns
from insitu.coarsening.resampling import resampled_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.coarsening.displacements import Displacements

FEWEST_TRACKS = 5
FEWEST_LAGS = 4
ALPHAS = np.linspace(0.1, 2.0, 96)
"""Exponents that are looked at: 1 is free diffusion, 2 is flight or drift that is left."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Mean squared displacement of a group of tracks, and the same for tracks drawn with replacement."""

    lag: NDArray[np.int64]
    msd: NDArray[np.float64]
    drawn: NDArray[np.float64]  # (draws, L)
    n: NDArray[np.int64]
    tracks: int


def curve(found: Displacements, chosen: NDArray[np.bool_], draws: int, seed: int) -> Curve:
    """Return the mean over all displacements of the chosen tracks; lags without displacement are left out."""
    squares, count = found.squares[chosen], found.count[chosen]
    total = count.sum(axis=0)
    # a lag that only one or two tracks are long enough for tells of these, not of the group
    kept = (count > 0).sum(axis=0) >= min(FEWEST_TRACKS, max(1, int(chosen.sum())))
    squares, count, total = squares[:, kept], count[:, kept], total[kept]
    n, lags = len(squares), squares.shape[1]
    sums = resampled_sums(np.concatenate([squares, count.astype(np.float64)], axis=1), draws, seed)
    drawn = np.divide(sums[:, :lags], sums[:, lags:], out=np.full((draws, lags), np.nan), where=sums[:, lags:] > 0)
    return Curve(found.lag[kept], squares.sum(axis=0) / np.maximum(total, 1), drawn, total, n)


@dataclass(frozen=True, slots=True)
class Diffusion:
    """MSD(τ) = 4 D_α τ^α + 4 σ². `exponent` is None where nothing moves: D_α is 0 then."""

    coefficient: float
    exponent: float | None
    sigma: float
    free: float
    free_sigma: float


def fit(
    tau: NDArray[np.float64],
    msd: NDArray[np.float64],
    weight: NDArray[np.float64],
    alphas: NDArray[np.float64] = ALPHAS,
) -> Diffusion:
    """Fit 4 D_α τ^α + 4 σ² with D_α ≥ 0 and σ² ≥ 0 by least squares, and the same with α = 1 (free diffusion).

    At a given α both are the solution of a linear problem, so that α alone is searched for: no starting values, no
    local minimum. σ is the error of a position (y and x each); that the shutter is open for a while, which lowers the
    MSD by a third of what is moved in that time, is not corrected for.

    Parameters
    ----------
    tau, msd : float64 arrays of shape (L,), L ≥ 4
    weight : float64 array of shape (L,)
        One over the variance of `msd`.
    """
    steep, flat, rest = _linear(tau, msd, weight, alphas)
    best = int(np.argmin(rest))
    fine = np.linspace(alphas[max(best - 1, 0)], alphas[min(best + 1, len(alphas) - 1)], 41)
    steep, flat, rest = _linear(tau, msd, weight, fine)
    best = int(np.argmin(rest))
    free, free_flat, _ = _linear(tau, msd, weight, np.ones(1))
    moves = bool(steep[best] > 0)
    return Diffusion(
        float(steep[best]) / 4.0,
        float(fine[best]) if moves else None,
        float(np.sqrt(flat[best] / 4.0)),
        float(free[0]) / 4.0,
        float(np.sqrt(free_flat[0] / 4.0)),
    )


def _linear(
    tau: NDArray[np.float64], msd: NDArray[np.float64], weight: NDArray[np.float64], alphas: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return a, b ≥ 0 of a τ^α + b nearest to `msd`, and the sum of squares left, for each α."""
    p = tau[None, :] ** alphas[:, None]
    s, sp, spp = weight.sum(), p @ weight, (p * p) @ weight
    sm, spm = float(weight @ msd), p @ (weight * msd)
    apart = s * spp - sp * sp
    safe = np.where(apart > 0, apart, 1.0)
    a = np.where(apart > 0, (s * spm - sp * sm) / safe, 0.0)
    b = np.where(apart > 0, (spp * sm - sp * spm) / safe, sm / s)
    a, b = np.where(b < 0, spm / spp, a), np.maximum(b, 0.0)
    a, b = np.maximum(a, 0.0), np.where(a < 0, sm / s, b)
    left = (weight * (a[:, None] * p + b[:, None] - msd) ** 2).sum(axis=1)
    return a, b, left


def mobility(
    found: Displacements,
    size_class: NDArray[np.int64],
    seconds: float,
    *,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Columns, Columns, tuple[Absent, ...]]:
    """Return the MSD against lag, and its fits, of all particles (class −1) and of each class of size.

    Parameters
    ----------
    found : Displacements
        Squares in the length unit squared.
    size_class : int64 array of shape (T,)
        Class of each track, −1 for one without a size.
    seconds : float
        Time units per frame.

    Returns
    -------
    mobility : dict
        ``size_class``, ``lag_frames``, ``lag_{time}``, ``msd_{length}2``, ``low``, ``high``, ``n`` (displacements),
        ``n_particles``. Intervals from drawing particles with replacement.
    fits : dict
        One row a class: ``D_alpha`` (length²/time^α), ``alpha`` (NaN where nothing moves), ``sigma_{length}``,
        ``D_free`` (α = 1, length²/time), each with ``…_low`` and ``…_high``.
    absent : tuple of Absent
    """
    curves, fits, absent = [], [], []
    classes = [-1, *sorted(set(size_class[size_class >= 0].tolist()))]
    for k in classes if len(classes) > 2 else [-1]:
        who = "all particles" if k < 0 else f"size class {k}"
        chosen = size_class == k if k >= 0 else np.ones(len(size_class), np.bool_)
        chosen &= found.count.sum(axis=1) > 0
        if chosen.sum() < FEWEST_TRACKS:
            absent.append(Absent(f"mobility of {who}", f"{int(chosen.sum())} tracks with two positions: too few"))
            continue
        one = curve(found, chosen, draws, seed)
        curves.append(_msd_rows(one, k, seconds, confidence))
        if len(one.lag) < FEWEST_LAGS:
            absent.append(Absent(f"diffusion of {who}", f"{len(one.lag)} lags are too few for a fit"))
        else:
            fits.append(_fit_row(one, k, seconds, confidence))
    return _joined(curves), _joined(fits), tuple(absent)


def _msd_rows(one: Curve, number: int, seconds: float, confidence: float) -> Columns:
    low, high = _ends(one.drawn, confidence)
    n = len(one.lag)
    return {
        "size_class": np.full(n, number, np.int32),
        "lag_frames": one.lag,
        "lag_{time}": one.lag * seconds,
        "msd_{length}2": one.msd,
        "msd_{length}2_low": low,
        "msd_{length}2_high": high,
        "n": one.n,
        "n_particles": np.full(n, one.tracks, np.int64),
    }


def _ends(drawn: NDArray[np.float64], confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle share of the draws in each column; NaN where a tenth of them is missing."""
    enough = np.isfinite(drawn).mean(axis=0) > 0.9 if len(drawn) >= 20 else np.zeros(drawn.shape[1], np.bool_)
    low, high = np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    for k in np.flatnonzero(enough).tolist():
        known = drawn[np.isfinite(drawn[:, k]), k]
        low[k], high[k] = np.quantile(known, [0.5 - 0.5 * confidence, 0.5 + 0.5 * confidence])
    return low, high


def _fit_row(one: Curve, number: int, seconds: float, confidence: float) -> Columns:
    tau = np.asarray(one.lag * seconds, np.float64)
    whole = np.isfinite(one.drawn).all(axis=1)
    drawn = one.drawn[whole]
    variance = drawn.var(axis=0) if len(drawn) > 1 else np.zeros(len(tau))
    # without scatter (one lag, one value) the error is taken as proportional to the value
    floor = 1e-4 * float(np.median(one.msd)) ** 2 + 1e-300
    weight = 1.0 / (variance + np.where(variance > 0, 0.0, one.msd**2 / one.n + floor))
    weight = np.asarray(weight / weight.max(), np.float64)
    best = fit(tau, one.msd, weight)
    again = [fit(tau, row, weight, ALPHAS[::3]) for row in drawn]
    values = np.array([_numbers(f) for f in again]).reshape(len(again), 4)
    low, high = _ends(values, confidence)
    row: Columns = {"size_class": np.array([number], np.int32), "n_particles": np.array([one.tracks], np.int64)}
    for k, name in enumerate(("D_alpha", "alpha", "sigma_{length}", "D_free_{length}2_per_{time}")):
        row |= {name: np.array([_numbers(best)[k]]), f"{name}_low": low[k : k + 1], f"{name}_high": high[k : k + 1]}
    return row


def _numbers(found: Diffusion) -> tuple[float, float, float, float]:
    return found.coefficient, np.nan if found.exponent is None else found.exponent, found.sigma, found.free


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} if parts else {}
