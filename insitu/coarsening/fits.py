"""Power laws fitted to ⟨r⟩(t) and to the critical radii, compared, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening import powerlaw
from insitu.coarsening.absent import Absent
from insitu.coarsening.families import draws_of, interval
from insitu.coarsening.kinetics import RADII, over
from insitu.coarsening.verdict import (
    EXPONENTS,
    MIN_DELTA_AIC,
    Verdict,
    chosen,
    near_enough,
    of_a_closed_system,
    too_few,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns
    from insitu.coarsening.families import FamilyBootstrap
    from insitu.coarsening.gather import Gathered


MIN_WINDOWS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One radius over time: weights of the windows, the bootstrap's draws, and the fewest families of a window."""

    times: powerlaw.Times
    r: NDArray[np.float64]
    weight: NDArray[np.float64]
    draws: NDArray[np.float64] | None
    number: float = 0.0

    @classmethod
    def of(
        cls,
        times: powerlaw.Times,
        r: NDArray[np.float64],
        draws: NDArray[np.float64] | None,
        number: NDArray[np.float64],
    ) -> Curve:
        """Leave out windows without sizes, and weight the others by the scatter of their draws."""
        kept = np.isfinite(r) & (r > 0)
        if draws is not None:
            # a window that a twentieth of the draws find empty would take those draws with it
            kept &= np.isfinite(draws).mean(axis=0) > 0.95
            draws = draws[:, kept]
            draws = draws[np.isfinite(draws).all(axis=1)]
            draws = draws if len(draws) >= 20 else None
        weight = np.ones(int(kept.sum()))
        if draws is not None and kept.any():
            weight = 1 / _smooth(draws.var(axis=0), floor=1e-18 * float((r[kept] ** 2).mean()))
            weight = weight / weight.mean()
        return cls(times.take(kept), r[kept], weight, draws, float(number[kept].min(initial=np.inf)))


def fits(gathered: Gathered, table: Columns, bootstrap: FamilyBootstrap) -> tuple[Columns, Verdict, list[Absent]]:
    """Fit ⟨r⟩(t) with n = 2, 3, 4 and free, and the critical radius of each n with that n.

    Parameters
    ----------
    gathered : Gathered
    table : Columns
        Its table ``kinetics``.
    bootstrap : FamilyBootstrap
        Gives the windows their weights and K its interval; without draws the interval comes from the residuals.

    Returns
    -------
    table, verdict, absent
        Table ``fits`` (no rows where nothing can be fitted), and what may be said.
    """
    mean = _curve(gathered, table, bootstrap, "mean_radius")
    confidence = gathered.options.confidence
    if len(mean.times) < MIN_WINDOWS:
        why = f"{len(mean.times)} time windows hold sizes; a fit needs {MIN_WINDOWS}"
        return {}, Verdict(None, f"No growth law is fitted: {why}."), [Absent("fits of ⟨r⟩(t)", why)]
    rows, verdict = _mean_radius(mean, confidence)
    few = too_few(bootstrap.n_families, bootstrap.effective)
    verdict = few or of_a_closed_system(verdict, table["volume_relative"])
    for row in rows:
        row["decided"] = row["model"] == f"n{verdict.n}"
        if row["decided"]:
            row["wording"] = verdict.sentence
    for n in EXPONENTS:
        curve = _curve(gathered, table, bootstrap, f"critical_radius_n{n}")
        if len(curve.times) >= MIN_WINDOWS:
            rows.append(_critical(curve, n, confidence))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}, verdict, []


def _smooth(variance: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Return the trend of a variance over the windows: a parabola through its logarithm.

    The variance of one window goes with its value: few small particles by chance, and both the harmonic mean and its
    scatter are off. Weights taken window by window would favour one side.
    """
    log = np.log(np.maximum(variance, max(floor, 1e-3 * float(np.median(variance)))))
    if len(log) < MIN_WINDOWS:
        return np.exp(log)
    place = np.linspace(-1, 1, len(log))
    return np.asarray(np.exp(np.polynomial.Polynomial.fit(place, log, 2)(place)))


# per frame, the sum under the ratio that gives a radius: how much each frame counts in the mean of its window
_UNDER = {"mean_radius": "wr0", "critical_radius_n2": "wr1", "critical_radius_n3": "wr0", "critical_radius_n4": "wr-1"}


def _curve(gathered: Gathered, table: Columns, bootstrap: FamilyBootstrap, name: str) -> Curve:
    """Return one radius over time, in length units."""
    drawn = draws_of(bootstrap, RADII[name])
    drawn = None if drawn is None else drawn * gathered.units.per_px
    windows, counts = gathered.windows, np.asarray(gathered.frames[_UNDER[name]], np.float64)
    since = windows.time - windows.start[windows.window]
    total = windows.total(counts)
    mean = over(windows.total(counts * since), total)
    apart = since - mean[windows.window]
    counts = np.where(counts > 0, counts, 0.0)
    apart = np.where(counts > 0, apart, 0.0)
    variance, third = (over(windows.total(counts * apart**k), total) for k in (2, 3))
    # frames that are one moment up to rounding
    variance = np.where(variance > 1e-12 * mean**2, variance, 0.0)
    times = powerlaw.Times.over(mean + windows.start, variance, third)
    return Curve.of(times, table[name + "_{length}"], drawn, bootstrap.number)


def _mean_radius(curve: Curve, confidence: float) -> tuple[list[dict[str, Any]], Verdict]:
    one = curve.r[None]
    free = powerlaw.fit_free(curve.times, one, curve.weight)
    laws = {n: powerlaw.fit(curve.times, one, curve.weight, n) for n in EXPONENTS}
    n_effective = powerlaw.effective_number(free.residuals[0], curve.weight)
    aic = {n: _aic(law, curve, n_effective, 2) for n, law in laws.items()}
    aic_free = _aic(free, curve, n_effective, 3)
    support = _support(curve)
    best = min(aic, key=lambda n: aic[n])
    low, high = _free_interval(curve, float(free.n[0]), confidence)
    verdict = chosen(best, aic, support, _growth(laws[best]))
    if verdict.n and aic[best] - aic_free >= MIN_DELTA_AIC:
        verdict = near_enough(verdict, float(free.n[0]), low, high)
    rows = []
    for n, law in laws.items():
        row = _row(curve, law, confidence, n_effective, quantity="mean_radius", model=f"n{n}")
        row |= {"aic": aic[n], "delta_aic": aic[n] - aic[best], "support": support.get(n, np.nan)}
        rows.append(row | {"wording": f"n = {n} is not what the data decide for"})
    row = _row(curve, free, confidence, n_effective, quantity="mean_radius", model="free")
    row |= {"aic": aic_free, "delta_aic": aic_free - aic[best], "n_low": low, "n_high": high}
    rows.append(row | {"wording": "the exponent that fits best; it is a number, not a mechanism"})
    return rows, verdict


def _critical(curve: Curve, n: int, confidence: float) -> dict[str, Any]:
    law = powerlaw.fit(curve.times, curve.r[None], curve.weight, n)
    n_effective = powerlaw.effective_number(law.residuals[0], curve.weight)
    row = _row(curve, law, confidence, n_effective, quantity="critical_radius", model=f"n{n}")
    return row | {"wording": f"r* that conserves volume if n = {n}; no choice between models is made from it"}


def _row(
    curve: Curve, law: powerlaw.PowerLaw, confidence: float, n_effective: float, *, quantity: str, model: str
) -> dict[str, Any]:
    low, high = rate_interval(curve, law, confidence, n_effective)
    scatter = np.sqrt((curve.weight * (law.residuals[0] / curve.r) ** 2).mean())
    return {
        "quantity": quantity,
        "model": model,
        "n": float(law.n[0]),
        "n_low": np.nan,
        "n_high": np.nan,
        "K": float(law.K[0]),
        "K_low": low,
        "K_high": high,
        "r0_{length}": float(law.start[0]),
        "growth": _growth(law),
        "residual_percent": 100 * float(scatter),
        "aic": np.nan,
        "delta_aic": np.nan,
        "n_effective": n_effective,
        "support": np.nan,
        "decided": False,
        "wording": "",
    }


def rate_interval(curve: Curve, law: powerlaw.PowerLaw, confidence: float, n_effective: float) -> tuple[float, float]:
    """Return the interval of K: particles drawn anew and the scatter of the windows about the curve, in quadrature.

    The bootstrap knows how another set of particles would have come out, the residuals what befalls whole frames
    (focus, threshold). Without a bootstrap the residuals alone remain, taken as autocorrelated.
    """
    from scipy.special import stdtrit

    K = float(law.K[0])
    error = powerlaw.rate_error(law, curve.times, curve.weight)
    spare = max(1, len(curve.times) - 2)
    if curve.draws is None:
        error *= np.sqrt(len(curve.times) / max(n_effective, 1.0))
        spare = max(1, round(n_effective) - 2)
    reach = float(stdtrit(spare, (1 + confidence) / 2)) * error
    if curve.draws is None:
        return K - reach, K + reach
    n = np.full(len(curve.draws), float(law.n[0]))
    drawn = powerlaw.fit(curve.times, curve.draws, curve.weight, n).K
    low, high = _interval(drawn, K, curve, confidence)
    return K - float(np.hypot(K - low, reach)), K + float(np.hypot(high - K, reach))


def _interval(drawn: NDArray[np.float64], estimate: float, curve: Curve, confidence: float) -> tuple[float, float]:
    low, high = interval(drawn[:, None], np.array([estimate]), np.array([curve.number]), confidence)
    return float(low[0]), float(high[0])


def _aic(law: powerlaw.PowerLaw, curve: Curve, n_effective: float, parameters: int) -> float:
    """Return Akaike's criterion; the variance is one more parameter. Rounding is the floor of the residuals."""
    rounding = 1e-20 * float((curve.weight * curve.r**2).sum())
    return n_effective * float(np.log((law.chi2[0] + rounding) / len(curve.times))) + 2 * (parameters + 1)


def _support(curve: Curve) -> dict[int, float]:
    """Return in what share of the draws each exponent fits best."""
    if curve.draws is None:
        return {}
    chi2 = np.stack([powerlaw.fit(curve.times, curve.draws, curve.weight, n).chi2 for n in EXPONENTS])
    won = np.bincount(chi2.argmin(axis=0), minlength=len(EXPONENTS)) / len(curve.draws)
    return dict(zip(EXPONENTS, won.tolist(), strict=True))


def _free_interval(curve: Curve, n: float, confidence: float) -> tuple[float, float]:
    if curve.draws is None:
        return np.nan, np.nan
    return _interval(powerlaw.fit_free(curve.times, curve.draws, curve.weight).n, n, curve, confidence)


def _growth(law: powerlaw.PowerLaw) -> float:
    return float(law.end[0] / law.start[0])
