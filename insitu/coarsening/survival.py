"""How long particles live: survival, and the incidence of each way to end where several compete.

A particle that is still there at the end, leaves, or is lost has an unknown end: it is right-censored. Coalescence and
dissolution compete: a particle that merged can no longer dissolve, so that one minus a Kaplan–Meier curve in which
mergers are censored would overstate dissolution. The Aalen–Johansen estimator does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.absent import Absent, Columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CAUSES = ("dissolution", "coalescence")
"""Ends that are known; their codes are 1, 2, …, and 0 is a particle whose end is not known."""


def size_classes(radius: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Divide particles into classes of equal number by size.

    Parameters
    ----------
    radius : float64 array of shape (N,)
        Initial radii; a size that is not finite has class −1.
    count : int
        Classes asked for; fewer where there are too few different sizes.

    Returns
    -------
    class, edges : int64 array of shape (N,), float64 array of shape (classes + 1,)
        Equal sizes always fall into one class. `edges` runs from the smallest to the largest size; class k holds sizes
        from ``edges[k]`` up to, but not including, ``edges[k + 1]`` (the last one includes it).
    """
    known = radius[np.isfinite(radius)]
    if not len(known):
        return np.full(len(radius), -1, np.int64), np.empty(0)
    firsts = np.sort(known)[len(known) * np.arange(1, count) // count]
    inner = np.unique(firsts[firsts > known.min()])
    found = np.searchsorted(inner, radius, side="right")
    return np.where(np.isfinite(radius), found, -1), np.concatenate([[known.min()], inner, [known.max()]])


def _risk_table(
    duration: NDArray[np.float64], cause: NDArray[np.int64], causes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the times at which anything happens, how many are at risk just before, and the ends of each cause."""
    times, place = np.unique(duration, return_inverse=True)
    ends = np.stack([np.bincount(place[cause == k], minlength=len(times)) for k in range(causes + 1)], axis=1)
    leaves = ends.sum(axis=1)
    at_risk = leaves[::-1].cumsum()[::-1]
    return times, at_risk.astype(np.float64), ends[:, 1:].astype(np.float64)


def _log_log(
    estimate: NDArray[np.float64], variance: NDArray[np.float64], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the interval of a probability on the scale of log(−log p), which never leaves 0…1.

    At p = 0 and p = 1 this scale has no interval: NaN.
    """
    from scipy.special import ndtri

    inside = (estimate > 1e-12) & (estimate < 1.0 - 1e-12)  # sums of many shares miss 1 by rounding
    p = np.where(inside, estimate, 0.5)
    half = float(ndtri(0.5 + 0.5 * confidence)) * np.sqrt(variance) / (p * -np.log(p))
    low, high = p ** np.exp(np.minimum(half, 700.0)), p ** np.exp(-half)
    return np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def kaplan_meier(duration: NDArray[np.float64], ended: NDArray[np.bool_], confidence: float = 0.95) -> Columns:
    """Estimate the share still alive after each time.

    S(t) = Π (1 − d_i/n_i) over the ends until t (Kaplan & Meier 1958, doi:10.1080/01621459.1958.10501452), variance by
    Greenwood's formula, interval on the scale of log(−log S) (Kalbfleisch & Prentice, doi:10.1002/9781118032985).

    Parameters
    ----------
    duration : float64 array of shape (N,)
        Time under observation, ≥ 0.
    ended : bool array of shape (N,)
        True: the particle ended then. False: it was still there when last seen (right-censored). A particle that is
        censored at the time at which another one ends counts as at risk.

    Returns
    -------
    dict
        ``time_{time}`` (0 first), ``survival``, ``survival_low``, ``survival_high`` (NaN where S is 0 or 1),
        ``at_risk``, ``ended``, ``censored``.
    """
    times, at_risk, ends = _risk_table(duration, ended.astype(np.int64), 1)
    died = ends[:, 0]
    survival = np.asarray(np.cumprod(1.0 - died / at_risk), np.float64)
    left = at_risk - died
    # the term of the last end of all is infinite, where S = 0 and there is no interval anyway
    greenwood = np.cumsum(np.divide(died, at_risk * left, out=np.zeros_like(died), where=left > 0))
    low, high = _log_log(survival, survival**2 * greenwood, confidence)
    leaves = at_risk - np.append(at_risk[1:], 0.0)
    return _from_zero(
        {
            "time_{time}": times,
            "survival": survival,
            "survival_low": low,
            "survival_high": high,
            "at_risk": at_risk.astype(np.int64),
            "ended": died.astype(np.int64),
            "censored": (leaves - died).astype(np.int64),
        },
        {
            "survival": 1.0,
            "survival_low": np.nan,
            "survival_high": np.nan,
            "at_risk": len(duration),
            "ended": 0,
            "censored": 0,
        },
    )


def aalen_johansen(
    duration: NDArray[np.float64], cause: NDArray[np.int64], causes: int = 2, confidence: float = 0.95
) -> Columns:
    """Estimate the share that has ended in each way until each time.

    F_k(t) = Σ S(t_i−) d_ki/n_i (Aalen & Johansen, Scand. J. Statist. 5, 141, 1978); Σ_k F_k = 1 − S. The variance
    is that of the delta method (Marubini & Valsecchi, Analysing Survival Data from Clinical Trials, 1995, ch. 10), the
    interval on the scale of log(−log F).

    Parameters
    ----------
    duration : float64 array of shape (N,)
        Time under observation.
    cause : int64 array of shape (N,)
        0 = censored, 1…`causes` = way in which it ended.

    Returns
    -------
    dict
        One row a cause and time, cause by cause: ``cause`` (int), ``time_{time}`` (0 first), ``incidence``,
        ``incidence_low``, ``incidence_high`` (NaN where F is 0 or 1), ``at_risk``, ``ended``.
    """
    times, at_risk, ends = _risk_table(duration, cause, causes)
    died = ends.sum(axis=1)
    survival = np.cumprod(1.0 - died / at_risk)
    before = np.concatenate([[1.0], survival[:-1]])
    parts = []
    for k in range(causes):
        own = ends[:, k]
        incidence = np.cumsum(before * own / at_risk)
        low, high = _log_log(incidence, _incidence_variance(incidence, before, own, died, at_risk), confidence)
        parts.append(
            _from_zero(
                {
                    "cause": np.full(len(times), k + 1, np.int64),
                    "time_{time}": times,
                    "incidence": incidence,
                    "incidence_low": low,
                    "incidence_high": high,
                    "at_risk": at_risk.astype(np.int64),
                    "ended": own.astype(np.int64),
                },
                {"cause": k + 1, "incidence_low": np.nan, "incidence_high": np.nan, "at_risk": len(duration)},
            )
        )
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _incidence_variance(
    incidence: NDArray[np.float64],
    before: NDArray[np.float64],
    own: NDArray[np.float64],
    died: NDArray[np.float64],
    at_risk: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the variance of F at each time.

    Var F(t) = Σ (F(t) − F_i)² d_i / (n_i (n_i − d_i)) + Σ S_i−² d_ki (n_i − d_ki) / n_i³
    − 2 Σ (F(t) − F_i) S_i− d_ki / n_i², all sums over t_i ≤ t, opened so that each is one running sum.
    """
    left = at_risk - died
    hazard = np.divide(died, at_risk * left, out=np.zeros_like(died), where=left > 0)
    binomial = np.cumsum(before**2 * own * (at_risk - own) / at_risk**3)
    shared = before * own / at_risk**2
    first = (
        incidence**2 * np.cumsum(hazard)
        - 2.0 * incidence * np.cumsum(incidence * hazard)
        + np.cumsum(incidence**2 * hazard)
    )
    cross = incidence * np.cumsum(shared) - np.cumsum(incidence * shared)
    return np.asarray(np.maximum(first + binomial - 2.0 * cross, 0.0))


def _from_zero(columns: Columns, start: dict[str, float]) -> Columns:
    """Put a row for the time 0 in front, unless something happened at 0."""
    if len(columns["time_{time}"]) and columns["time_{time}"][0] == 0.0:
        return columns
    return {name: np.concatenate([np.array([start.get(name, 0.0)], v.dtype), v]) for name, v in columns.items()}


def survival(
    duration: NDArray[np.float64],
    cause: NDArray[np.int64],
    radius: NDArray[np.float64],
    *,
    classes: int = 3,
    confidence: float = 0.95,
    causes: Sequence[str] = CAUSES,
) -> tuple[Columns, Columns, tuple[Absent, ...]]:
    """Estimate survival and the incidence of each end, for all particles and by class of initial size.

    Parameters
    ----------
    duration : float64 array of shape (N,)
        Time from the first sighting to the end, or to the last sighting where the end is not known.
    cause : int64 array of shape (N,)
        0 = not known (end of the movie, left, lost), k = ``causes[k − 1]``.
    radius : float64 array of shape (N,)
        Initial radius.

    Returns
    -------
    survival, incidence : dict
        Columns of `kaplan_meier` (any known end) and `aalen_johansen` with ``size_class`` (−1 = all together) and
        the sizes it spans, ``radius_low_{length}`` and ``radius_high_{length}``.
    absent : tuple of Absent
        What could not be computed, and why.
    """
    usable = np.isfinite(duration) & (duration >= 0.0) & np.isfinite(radius)
    if not usable.any():
        return {}, {}, (Absent("survival", "no particle was present at the start with a size that can be measured"),)
    duration, cause, radius = duration[usable], cause[usable], radius[usable]
    of, edges = size_classes(radius, classes)
    alive, ends = [], []
    for k in [-1, *range(len(edges) - 1)] if len(edges) > 2 else [-1]:
        rows = of == k if k >= 0 else np.ones(len(of), np.bool_)
        span = (edges[k], edges[k + 1]) if k >= 0 else (edges[0], edges[-1])
        alive.append(_classed(kaplan_meier(duration[rows], cause[rows] > 0, confidence), k, span))
        ends.append(_classed(aalen_johansen(duration[rows], cause[rows], len(causes), confidence), k, span))
    absent = []
    if classes > 1 and len(edges) <= 2:
        absent.append(Absent("survival by initial size", "all particles have the same initial size, or there is one"))
    if not (cause > 0).any():
        absent.append(Absent("intervals of survival", "no particle was seen to dissolve or to coalesce"))
    incidence = _joined(ends)
    incidence["cause"] = np.array(causes, dtype=object)[incidence["cause"] - 1]
    return _joined(alive), incidence, tuple(absent)


def _classed(columns: Columns, number: int, span: tuple[float, float]) -> Columns:
    n = len(columns["time_{time}"])
    return {
        "size_class": np.full(n, number, np.int32),
        "radius_low_{length}": np.full(n, span[0]),
        "radius_high_{length}": np.full(n, span[1]),
        **columns,
    }


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
