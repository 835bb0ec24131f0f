"""The tables about the growth of single particles: speeds, critical radius, correlation with the neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.absent import Absent
from insitu.coarsening.growth import critical_radius
from insitu.coarsening.looks import draws
from insitu.coarsening.neighbours import Surroundings, growth_correlation, local_critical_radius

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.coarsening.gather import Gathered
    from insitu.coarsening.growth import Rates
    from insitu.coarsening.individuals import Individuals
    from insitu.coarsening.looks import Looks
    from insitu.coarsening.neighbours import Neighbours

CORRELATED_WINDOWS, CORRELATED_PARTICLES = 12, 5000
"""Windows, and particles drawn at random, that correlations are taken over at most."""
GROWTH_ROWS = 1_000_000
"""Rows of the table of speeds; beyond that, particles are drawn at random for it."""


def growth(result: Individuals, gathered: Gathered, speeds: Rates, seen: Looks, around: dict[int, Neighbours]) -> None:
    """Put the tables growth, critical and growth_correlation."""
    windows, options = gathered.windows, gathered.options
    if not len(speeds):
        result.put("growth", {}, "no particle has four sizes in one time window: fewer windows hold more")
        return
    of = gathered.records
    weight, total = (np.bincount(of["window"], of[name], len(windows)) for name in ("w", "wr"))
    mean = gathered.units.per_px * total / np.where(weight > 0, weight, 1.0)
    found = [
        critical_radius(
            speeds.take(speeds.window == w), draws=draws(gathered), confidence=options.confidence, seed=options.seed
        )
        for w in range(len(windows))
    ]
    has = np.array([w for w, c in enumerate(found) if c.radius is not None], np.int64)
    radius = np.array([np.nan if c.radius is None else c.radius for c in found])
    low, high = (np.array([np.nan if (v := getattr(c, e)) is None else v for c in found]) for e in ("low", "high"))
    local = _local(speeds, seen, around)
    rate = "rate_{length}_per_{time}"
    told = _told(result, gathered, speeds)
    listed, near = speeds.take(told), local[told]
    result.put(
        "growth",
        {
            "particle": listed.particle,
            "window": listed.window,
            "time_{time}": windows.middle[listed.window],
            "radius_{length}": listed.radius,
            rate: listed.rate,
            f"{rate}_se": listed.rate_se,
            "n_rows": listed.n,
            "radius_over_mean": listed.radius / mean[listed.window],
            "radius_over_critical": listed.radius / radius[listed.window],
            "local_critical_radius_{length}": near,
        },
    )
    result.put(
        "critical",
        {
            "window": has,
            "time_{time}": windows.middle[has],
            "critical_radius_{length}": radius[has],
            "critical_radius_{length}_low": low[has],
            "critical_radius_{length}_high": high[has],
            "critical_over_mean": radius[has] / mean[has],
            "n_particles": np.array([found[w].n for w in has], np.int64),
        },
    )
    if len(has) < len(found):
        whys = sorted({c.why for c in found if c.radius is None})
        result.absent.append(
            Absent(f"critical radius in {len(found) - len(has)} of {len(found)} windows", "; ".join(whys))
        )
    _correlation(result, gathered, speeds, local)


def _told(result: Individuals, gathered: Gathered, speeds: Rates) -> NDArray[np.bool_]:
    """Return which speeds go into the table: all, or those of particles drawn at random."""
    if len(speeds) <= GROWTH_ROWS:
        return np.ones(len(speeds), np.bool_)
    names, count = np.unique(speeds.particle, return_counts=True)
    order = np.random.default_rng(gathered.options.seed).permutation(len(names))
    drawn = names[order[np.cumsum(count[order]) <= GROWTH_ROWS]]
    result.caveats.append(f"The table of speeds holds {len(drawn)} particles drawn at random from {len(names)}.")
    return np.isin(speeds.particle, drawn)


def _local(speeds: Rates, seen: Looks, around: dict[int, Neighbours]) -> NDArray[np.float64]:
    """Return the critical radius that its neighbours impose on each entry; NaN where it is not known."""
    local = np.full(len(speeds), np.nan)
    for w, found in around.items():
        moment = seen.moments[w]
        value, known = local_critical_radius(found, np.where(moment.sized, moment.radius, np.nan))
        order = np.argsort(moment.particle[known], kind="stable")
        names, values = moment.particle[known][order], value[known][order]
        rows = np.flatnonzero(speeds.window == w)
        if not len(names) or not len(rows):
            continue
        place = np.minimum(np.searchsorted(names, speeds.particle[rows]), len(names) - 1)
        local[rows] = np.where(names[place] == speeds.particle[rows], values[place], np.nan)
    return local


def _correlation(result: Individuals, gathered: Gathered, speeds: Rates, local: NDArray[np.float64]) -> None:
    known = np.isfinite(local)
    surroundings = []
    windows = np.unique(speeds.window[known])
    names = np.unique(speeds.particle[known])
    if len(names) > CORRELATED_PARTICLES:
        names = np.random.default_rng(gathered.options.seed).permutation(names)[:CORRELATED_PARTICLES]
        known &= np.isin(speeds.particle, names)
    # more windows than these add little but time
    for w in windows[:: max(1, len(windows) // CORRELATED_WINDOWS)]:
        rows = known & (speeds.window == w)
        surroundings.append(Surroundings(speeds.particle[rows], speeds.radius[rows], speeds.rate[rows], local[rows]))
    options = gathered.options
    table = growth_correlation(surroundings, draws=draws(gathered), confidence=options.confidence, seed=options.seed)
    if table is None:
        result.put("growth_correlation", {}, "fewer than 12 particles with a speed and a complete neighbourhood")
        return
    for end in ("low", "high"):
        table.setdefault(f"correlation_{end}", np.full(3, np.nan))
    result.put("growth_correlation", table)
    for k, name in enumerate(("rate_with_size", "rate_with_size_over_local", "rate_with_neighbours")):
        ends = table["correlation_low"][k], table["correlation_high"][k]
        result.state(f"correlation_{name}", table["correlation"][k], "", *ends)
