"""Where the material of dissolved particles goes: whether their neighbours gain more than others of their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns
    from insitu.coarsening.neighbours import Neighbours

FEWEST_OTHERS = 12
"""Particles elsewhere that tell what a particle of a given size gains anyway."""
FEWEST_EVENTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Particles of one frame and who lies next to whom."""

    particle: NDArray[np.int64]
    neighbours: Neighbours


def neighbour_gain(
    events: Sequence[tuple[int, int, int]],
    snapshots: Mapping[int, Snapshot],
    sizes: Mapping[int, tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> Columns:
    """Compare what the neighbours of dissolved particles gain with what particles of their size gain elsewhere.

    Sizes are means over one time window, from the window before the dissolution to the one after it, so that the noise
    of single frames is averaged out. What is gained elsewhere is a parabola of Δ(r³) against r over all particles of
    these windows that were no neighbours of a dissolved one.

    Parameters
    ----------
    events : sequence of (event, window, particle)
        Dissolutions.
    snapshots : mapping
        Window → particles of one of its frames.
    sizes : mapping
        Window → particles (sorted) and their mean radius.

    Returns
    -------
    dict
        One row a dissolution of which this can be said: ``event``, ``particle``, ``window``, ``n_neighbours``,
        ``lost_{length}3``, ``gain_{length}3``, ``expected_{length}3``. Missing are dissolutions next to the border, in
        the first and last window, and those none of whose neighbours has a size before and after.
    """
    rows: list[tuple[float, ...]] = []
    for window in sorted({w for _, w, _ in events}):
        if window - 1 not in snapshots or window - 1 not in sizes or window + 1 not in sizes:
            continue
        here = [(event, particle) for event, w, particle in events if w == window]
        rows += _of_window(window, here, snapshots[window - 1], sizes[window - 1], sizes[window + 1])
    table = np.array(rows, np.float64).reshape(-1, 7)
    names = ("event", "particle", "window", "n_neighbours", "lost_{length}3", "gain_{length}3", "expected_{length}3")
    return {n: table[:, k].astype(np.int64) if k < 4 else table[:, k] for k, n in enumerate(names)}


def _of_window(
    window: int,
    events: Sequence[tuple[int, int]],
    snapshot: Snapshot,
    before: tuple[NDArray[np.int64], NDArray[np.float64]],
    after: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> list[tuple[float, ...]]:
    both, at, then = np.intersect1d(before[0], after[0], assume_unique=True, return_indices=True)
    radius = before[1][at]
    gain = after[1][then] ** 3 - radius**3
    near = _next_to([p for _, p in events], snapshot, both)
    touched = np.zeros(len(both), np.bool_)
    for places in near.values():
        touched[places] = True
    if (~touched).sum() < FEWEST_OTHERS or np.ptp(radius[~touched]) <= 0:
        return []
    scale = float(radius[~touched].mean())
    anyway = np.polynomial.Polynomial.fit(radius[~touched] / scale, gain[~touched], 2)(radius / scale)
    rows: list[tuple[float, ...]] = []
    for event, particle in events:
        places = near[particle]
        k = int(np.searchsorted(before[0], particle))
        if not len(places) or k == len(before[0]) or before[0][k] != particle:
            continue
        lost = float(before[1][k] ** 3)
        rows.append(
            (event, particle, window, len(places), lost, float(gain[places].sum()), float(anyway[places].sum()))
        )
    return rows


def _next_to(particles: Sequence[int], snapshot: Snapshot, known: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Return the places in `known` of the neighbours of each particle; none where its surroundings are not complete."""
    found = snapshot.neighbours
    one = np.concatenate([found.first, found.second])
    other = np.concatenate([found.second, found.first])
    order = np.argsort(one, kind="stable")
    one, other = one[order], other[order]
    place = np.searchsorted(known, snapshot.particle)
    there = np.append(known, -1)[place] == snapshot.particle
    row = {p: k for k, p in enumerate(snapshot.particle.tolist())}
    near: dict[int, NDArray[np.int64]] = {}
    for particle in particles:
        k = row.get(particle, -1)
        if k < 0 or not found.complete[k]:
            near[particle] = np.zeros(0, np.int64)
            continue
        rows = other[slice(*np.searchsorted(one, [k, k + 1]))]
        near[particle] = np.sort(place[rows[there[rows]]])
    return near


@dataclass(frozen=True, slots=True)
class Excess:
    """Share of the lost volume that neighbours gained beyond what was to be expected."""

    value: float
    low: float
    high: float
    events: int


def excess_share(table: Columns, *, draws: int = 500, confidence: float = 0.95, seed: int = 0) -> Excess | None:
    """Return the share of what dissolved that its neighbours gained beyond what was to be expected.

    The median over dissolutions of (gain − expected) / lost, weighted with what was lost, since sizes err alike whether
    much or little is lost: a merger that was taken for a dissolution gives a neighbour many times what was lost, and
    would rule a mean. The interval comes from drawing dissolutions with replacement, widened as Student's t over the
    normal distribution, since few scatter less among themselves than they may. The value is 0 where the material
    spreads over all particles alike (mean field), 1 where it all goes to the neighbours. None with less than 8
    dissolutions.
    """
    from scipy.special import ndtri, stdtrit

    n = len(table.get("event", ()))
    if n < FEWEST_EVENTS or draws < 20:
        return None
    lost = table["lost_{length}3"]
    share = (table["gain_{length}3"] - table["expected_{length}3"]) / lost
    order = np.argsort(share, kind="stable")
    share, lost = share[order], lost[order]
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    tails = np.array([0.5 - 0.5 * confidence, 0.5 + 0.5 * confidence])
    value = _weighted_median(share, lost)
    wider = np.sqrt(n / (n - 1.0)) * float(stdtrit(n - 1.0, tails[1]) / ndtri(tails[1]))
    drawn = np.array([_weighted_median(share, lost * t) for t in times])
    low, high = value + wider * (np.quantile(drawn, tails) - value)
    return Excess(value, float(low), float(high), n)


def _weighted_median(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the value that half of the weight lies below; `values` rise."""
    middle = np.cumsum(weight) - 0.5 * weight
    return float(np.interp(0.5 * weight.sum(), middle, values))
