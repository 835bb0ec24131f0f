"""How often the 95 % intervals about single particles hold the truth: ``python -m benchmarks.coarsening_particles``.

Each row draws worlds whose truth is known, at random and again for every repeat. Writes
``benchmarks/results/coarsening_particles.md``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import stats

from insitu.coarsening.displacements import displacements, lags_of
from insitu.coarsening.environment import pair_correlation
from insitu.coarsening.growth import Rates, critical_radius, rates
from insitu.coarsening.mobility import mobility
from insitu.coarsening.rates import Happenings, coalescence_share, number_balance
from insitu.coarsening.survival import aalen_johansen, kaplan_meier
from insitu.coarsening.windows import TrackSums, Windows

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 300
Generator = np.random.Generator


def critical(n: int, number: int, scatter: float) -> Callable[[Generator], bool | None]:
    """Speeds by the mean-field law with r* = 1 and errors like k/r² × `scatter`."""

    def once(rng: Generator) -> bool | None:
        r = rng.uniform(0.4, n / (n - 1), number)
        se = scatter / r**2
        rate = r ** (1.0 - n) * (r - 1.0) + se * rng.standard_normal(number)
        same = np.arange(number)
        found = critical_radius(Rates(same, 0 * same, r, rate, se, same), seed=int(rng.integers(2**31)))
        return None if found.low is None else found.low <= 1.0 <= found.high

    return once


def speed(sizes: int, rho: float) -> Callable[[Generator], float]:
    """Draw straight lines with noise of lag-1 correlation `rho`; the interval is Student's t."""

    def once(rng: Generator) -> float:
        e = rng.standard_normal((200, sizes))
        for k in range(1, sizes):
            e[:, k] = rho * e[:, k - 1] + np.sqrt(1 - rho**2) * e[:, k]
        r = 10 + 0.02 * np.arange(sizes) + 0.2 * e
        frame = np.arange(sizes)
        sums = TrackSums(Windows.of(frame, frame.astype(float), 1))
        sums.add(np.repeat(frame, 200), np.tile(np.arange(200), sizes), r.T.ravel(), np.ones(r.size))
        found = rates(sums.columns())
        reach = stats.t.ppf(0.975, found.n - 2) * found.rate_se
        return float(np.mean(np.abs(found.rate - 0.02) < reach))

    return once


def share(trials: int, chain: int) -> Callable[[Generator], bool | None]:
    """Families of `chain` losses that share their fate: 0.4 coalesce."""

    def once(rng: Generator) -> bool | None:
        families = trials // chain
        merged = rng.random(families) < 0.4
        kind = np.repeat(np.where(merged, "coalescence", "dissolution"), chain).astype(object)
        n = len(kind)
        children = np.where(kind == "coalescence", 1, 0)
        found = Happenings(kind, np.zeros(n, int), children + 1, children, np.repeat(np.arange(families), chain))
        one = coalescence_share(found)
        return None if one is None else one.low <= 0.4 <= one.high

    return once


def balance(mean: float) -> Callable[[Generator], float]:
    """Dissolutions as a Poisson process of `mean` events a window."""

    def once(rng: Generator) -> float:
        n = rng.poisson(mean, 5)
        one = np.ones(n.sum(), int)
        kind = np.full(n.sum(), "dissolution", object)
        found = Happenings(kind, np.repeat(np.arange(5), n), one, 0 * one, np.arange(n.sum()))
        table = number_balance(found, np.arange(5.0), np.ones(5), -n, area=1.0)
        rows = table["term"] == "dissolution"
        low, high = (table[f"rate_per_{{area}}_{{time}}_{e}"][rows] for e in ("low", "high"))
        return float(np.mean((low <= -mean) & (-mean <= high)))

    return once


def lives(incidence: bool, number: int = 80) -> Callable[[Generator], bool | None]:
    """Hazards 0.1 (dissolution), 0.2 (coalescence), 1/8 (out of sight); survival, or incidence of the first, at 4."""

    def once(rng: Generator) -> bool | None:
        ends = rng.exponential((10, 5, 8), (number, 3))
        duration, cause = ends.min(axis=1), np.array([1, 2, 0])[ends.argmin(axis=1)]
        if incidence:
            table, name, true = aalen_johansen(duration, cause), "incidence", (1 - np.exp(-1.2)) / 3
            rows = np.flatnonzero((table["cause"] == 1) & (table["time_{time}"] <= 4))
        else:
            table, name, true = kaplan_meier(duration, cause > 0), "survival", np.exp(-1.2)
            rows = np.flatnonzero(table["time_{time}"] <= 4)
        low, high = table[f"{name}_low"][rows[-1]], table[f"{name}_high"][rows[-1]]
        return None if np.isnan(low) else bool(low <= true <= high)

    return once


def pairs(number: int) -> Callable[[Generator], float]:
    """Points at random on a square: g = 1 in all bins."""

    def once(rng: Generator) -> float:
        y, x = rng.uniform(0, 100, (2, number))
        table = pair_correlation(y, x, (100, 100), np.array([0.0, 3.0, 10.0, 20.0, 25.0]))
        return float(np.mean((table["g_low"] <= 1) & (table["g_high"] >= 1)))

    return once


def walks(what: str, true: float) -> Callable[[Generator], bool]:
    """Thirty walks of 120 frames with D = 0.5 px²/frame and errors of position of 0.5 px."""

    def once(rng: Generator) -> bool:
        at = rng.standard_normal((30, 120, 2)).cumsum(axis=1) + 0.5 * rng.standard_normal((30, 120, 2))
        frame, particle = np.tile(np.arange(120), 30), np.repeat(np.arange(30), 120)
        found = displacements(frame, particle, at[..., 0].ravel(), at[..., 1].ravel(), lags_of(frame))
        _, fits, _ = mobility(found, np.full(30, -1), 1.0, draws=100, seed=int(rng.integers(2**31)))
        return bool(fits[f"{what}_low"][0] <= true <= fits[f"{what}_high"][0])

    return once


CASES: dict[str, Callable[[Generator], bool | float | None]] = {
    **{f"critical radius, n = {n}, 150 particles, noise 0.1": critical(n, 150, 0.1) for n in (2, 3, 4)},
    "critical radius, n = 3, 150 particles, noise 0.5": critical(3, 150, 0.5),
    "critical radius, n = 3, 2500 particles, noise 0.5": critical(3, 2500, 0.5),
    "speed, 5 sizes, independent": speed(5, 0.0),
    "speed, 50 sizes, independent": speed(50, 0.0),
    "speed, 50 sizes, correlated (0.6)": speed(50, 0.6),
    "share of coalescence, 80 single losses": share(80, 1),
    "share of coalescence, 300 losses in families of 5": share(300, 5),
    "rate of dissolution, 0.7 events a window": balance(0.7),
    "rate of dissolution, 12 events a window": balance(12.0),
    "survival, 80 particles": lives(incidence=False),
    "incidence of dissolution, 80 particles": lives(incidence=True),
    "g(d), 20 particles": pairs(20),
    "g(d), 300 particles": pairs(300),
    "D (α = 1), 30 particles": walks("D_free_{length}2_per_{time}", 0.5),
    "α, 30 particles": walks("alpha", 1.0),
}


def main() -> None:
    """Print and write the table."""
    lines = [
        "# Intervals about single particles",
        "",
        f"Made by `python -m benchmarks.coarsening_particles`: how often the 95 % interval holds the truth, {REPEATS}",
        "repeats a row. Bar: 90–99 %. Exact intervals of counts and shares may lie above: they never hold less.",
        "",
        "| what | holds the truth | no interval |",
        "| --- | --- | --- |",
    ]
    for number, (name, once) in enumerate(CASES.items()):
        rng = np.random.default_rng(number)
        held = [once(rng) for _ in range(REPEATS)]
        told = [h for h in held if h is not None]
        lines.append(f"| {name} | {100 * np.mean(told):.1f} % | {100 * (1 - len(told) / len(held)):.1f} % |")
        print(lines[-1], flush=True)
    (Path(__file__).parent / "results" / "coarsening_particles.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
