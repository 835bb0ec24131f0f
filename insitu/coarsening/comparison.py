"""Several runs together: the run, not the particle, is what is repeated.

Particles of one run share its temperature, its beam and its support, so that thousands of them make K of that run
precise and say nothing about how K comes out another time. Groups are therefore compared by their runs, and a line of
Arrhenius is drawn through one point a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.absent import Absent
from insitu.coarsening.verdict import EXPONENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns
    from insitu.coarsening.study import Study

GAS_CONSTANT = 8.31446261815324e-3  # kJ/(mol K), CODATA
KELVIN = 273.15
EV = 96.48533212331  # kJ/mol per eV
MIN_RUNS = 3


@dataclass(slots=True, eq=False)
class Comparison:
    """Several runs side by side.

    Attributes
    ----------
    n : int
        Exponent that K of all runs is taken with.
    columns : dict
        Tables ``runs``, ``groups`` and ``arrhenius``, names as in `columns.TABLES`; those without rows are left out.
    sentences : list of str
        What may be said.
    absent : list of Absent
    """

    n: int
    columns: dict[str, Columns] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Line:
    """A weighted straight line with its slope's interval (NaN below three points)."""

    slope: float
    low: float
    high: float
    intercept: float
    tau: float


def compare(
    studies: Mapping[str, Study],
    groups: Mapping[str, str],
    temperatures: Mapping[str, float] | None = None,
    exponent: int | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Compare runs.

    Parameters
    ----------
    studies : mapping
        Name of a run → its study, all in the same units.
    groups : mapping
        Name of a run → its group; runs of one group repeat each other.
    temperatures : mapping, optional
        Name of a run → its temperature in °C.
    exponent : int, optional
        2, 3 or 4; by default the one that fits the runs best together (least ΣAIC).
    confidence : float
        Coverage of the intervals, those of the studies and those given.
    """
    n, told = (
        (exponent, f"K is taken with n = {exponent}, as asked for.") if exponent else _best(list(studies.values()))
    )
    result = Comparison(n, sentences=[told])
    runs = _runs(studies, groups, temperatures, n)
    result.columns["runs"] = runs
    positive = np.isfinite(runs["K"]) & (runs["K"] > 0)
    for name, K in zip(runs["run"][~positive], runs["K"][~positive], strict=True):
        why = "it has no fit" if np.isnan(K) else f"K = {K:.3g} is not above 0: nothing grows"
        result.absent.append(Absent(f"the run '{name}' in the comparison of K", why))
    kept = {name: values[positive] for name, values in runs.items()}
    if positive.any():
        result.columns["groups"] = _groups(kept, confidence)
    if temperatures is None:
        result.absent.append(Absent("Arrhenius fit", "no temperatures were given"))
    else:
        _arrhenius(result, kept, confidence)
    return result


def _best(studies: Sequence[Study]) -> tuple[int, str]:
    """Return the exponent of the least ΣΔAIC over the runs, and the sentence that says so."""
    total = dict.fromkeys(EXPONENTS, 0.0)
    counted = 0
    for study in studies:
        table = study.columns.get("fits")
        if table is None:
            continue
        counted += 1
        for n in EXPONENTS:
            total[n] += float(table["delta_aic"][_row(table, n)])
    if not counted:
        return 3, "No run has a fit; n = 3 stands for none."
    best, second = sorted(EXPONENTS, key=lambda n: total[n])[:2]
    decided = [study.verdict.n for study in studies].count(best)
    return best, (
        f"K is taken with n = {best}, which fits the runs together best (ΔAIC to n = {second}: "
        f"{total[second] - total[best]:.1f}); {decided} of {len(studies)} runs decide for it by themselves."
    )


def _row(table: Columns, n: int) -> int:
    return int(np.flatnonzero((table["quantity"] == "mean_radius") & (table["model"] == f"n{n}"))[0])


def _runs(
    studies: Mapping[str, Study], groups: Mapping[str, str], temperatures: Mapping[str, float] | None, n: int
) -> Columns:
    """Return one row a run."""
    rows = []
    for name, study in studies.items():
        table = study.columns.get("fits")
        fit = {} if table is None else {k: float(table[k][_row(table, n)]) for k in ("K", "K_low", "K_high", "growth")}
        value = {k: float(v["value"]) for k, v in study.headline.items()}
        share = study.headline.get("coalescence_share", {})
        rows.append({
            "run": name,
            "group": groups[name],
            "temperature_c": np.nan if temperatures is None else float(temperatures[name]),
            "sizes": study.counts.get("sizes", 0),
            "particles": study.counts.get("particles", 0),
            "mean_radius_first_{length}": value.get("mean_radius_first", np.nan),
            "mean_radius_last_{length}": value.get("mean_radius_last", np.nan),
            "growth": fit.get("growth", np.nan),
            "decided_n": np.nan if study.verdict.n is None else float(study.verdict.n),
            "n": n,
            **{k: fit.get(k, np.nan) for k in ("K", "K_low", "K_high")},
            "coalescence_share": float(share.get("value", np.nan)),
        })  # fmt: skip
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _groups(runs: Columns, confidence: float) -> Columns:
    """Return one row a group: the geometric mean of K over its runs, its interval from their scatter alone."""
    from scipy.special import stdtrit

    rows = []
    for name in dict.fromkeys(runs["group"].tolist()):
        log = np.log(runs["K"][runs["group"] == name])
        m = len(log)
        spread = float(log.std(ddof=1)) if m > 1 else np.nan
        reach = float(stdtrit(m - 1, (1 + confidence) / 2)) * spread / np.sqrt(m) if m > 1 else np.nan
        centre = float(log.mean())
        rows.append({
            "group": name,
            "n_runs": m,
            "K": np.exp(centre),
            "K_low": np.exp(centre - reach),
            "K_high": np.exp(centre + reach),
            "spread": np.exp(spread),
        })  # fmt: skip
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _arrhenius(result: Comparison, runs: Columns, confidence: float) -> None:
    """Add the table ``arrhenius``: K, and K·T where n = 3."""
    from scipy.special import ndtri

    kelvin = runs["temperature_c"] + KELVIN
    distinct = len(np.unique(kelvin))
    if distinct < 2:
        result.absent.append(Absent("Arrhenius fit", f"{distinct} temperature(s) with K above 0; two are needed"))
        return
    # half the interval of ln K, as a standard error
    reach = 2 * float(ndtri((1 + confidence) / 2))
    error = (np.log(runs["K_high"]) - np.log(np.maximum(runs["K_low"], runs["K"] * 1e-3))) / reach
    rows = []
    for quantity in ("K", "K T")[: 2 if result.n == 3 else 1]:
        value = runs["K"] * (kelvin if quantity == "K T" else 1.0)
        found = line(1 / (GAS_CONSTANT * kelvin), np.log(value), error, confidence)
        # the slope against 1/(RT) is minus the activation energy
        rows.append({
            "quantity": quantity,
            "activation_energy_kj_per_mol": -found.slope,
            "activation_energy_kj_per_mol_low": -found.high,
            "activation_energy_kj_per_mol_high": -found.low,
            "activation_energy_ev": -found.slope / EV,
            "ln_prefactor": found.intercept,
            "scatter_between_runs": found.tau,
            "n_runs": len(kelvin),
            "n_temperatures": distinct,
        })  # fmt: skip
    result.columns["arrhenius"] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if len(kelvin) < MIN_RUNS:
        result.absent.append(Absent("interval of the activation energy", f"{len(kelvin)} runs; three are needed"))
    energy = rows[-1]
    interval = (
        f" ({energy['activation_energy_kj_per_mol_low']:.3g} to {energy['activation_energy_kj_per_mol_high']:.3g})"
        if len(kelvin) >= MIN_RUNS
        else " (two runs: no interval)"
    )
    result.sentences.append(
        f"{energy['quantity']} follows an apparent activation energy of "
        f"{energy['activation_energy_kj_per_mol']:.3g} kJ/mol{interval} over {distinct} temperatures. It lumps "
        "together what supplies, carries and attaches the atoms."
    )


def line(x: NDArray[np.float64], y: NDArray[np.float64], error: NDArray[np.float64], confidence: float = 0.95) -> Line:
    """Fit a line to one point a run: its own error, and a scatter between runs that is estimated.

    Random-effects regression, weights 1/(error² + τ²) with τ² by the method of moments (DerSimonian & Laird 1986,
    doi:10.1016/0197-2456(86)90046-2); the interval is Student's, its variance scaled by the weighted residuals where
    these are larger (Knapp & Hartung 2003, doi:10.1002/sim.1482).
    """
    from scipy.special import stdtrit

    error = np.where(np.isfinite(error) & (error > 0), error, np.nan)
    # runs without an interval of their own count as the least certain of the others
    error = np.where(np.isnan(error), np.nanmax(error) if np.isfinite(error).any() else 1.0, error)
    design = np.column_stack([np.ones_like(x), x - x.mean()])
    weight = 1 / error**2
    spare = len(x) - 2
    tau2 = 0.0
    if spare > 0:
        beta = _weighted(design, y, weight)
        q = float((weight * (y - design @ beta) ** 2).sum())
        hat = np.linalg.solve(design.T @ (weight[:, None] * design), design.T @ (weight[:, None] ** 2 * design))
        tau2 = max(0.0, (q - spare) / float(weight.sum() - np.trace(hat)))
        weight = 1 / (error**2 + tau2)
    beta = _weighted(design, y, weight)
    if spare < 1:
        return Line(float(beta[1]), np.nan, np.nan, float(beta[0] - beta[1] * x.mean()), np.nan)
    covariance = np.linalg.inv(design.T @ (weight[:, None] * design))
    scale = max(1.0, float((weight * (y - design @ beta) ** 2).sum()) / spare)
    reach = float(stdtrit(spare, (1 + confidence) / 2)) * float(np.sqrt(covariance[1, 1] * scale))
    slope = float(beta[1])
    return Line(slope, slope - reach, slope + reach, float(beta[0] - slope * x.mean()), float(np.sqrt(tau2)))


def _weighted(design: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.solve(design.T @ (weight[:, None] * design), design.T @ (weight * y)), np.float64)
