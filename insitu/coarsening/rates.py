"""How often things happen, and which of them change the number of particles.

A track begins and ends with events, so that the change of the number of particles between two frames is a sum over
the events between them; what is left over was not understood by the engine, and is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening.intervals import clustered_interval, poisson_interval, share_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns

KINDS = ("appearance", "nucleation", "coalescence", "splitting", "dissolution", "entering", "leaving", "lost")
TERMS = {
    "coalescence": ("coalescence",),
    "dissolution": ("dissolution",),
    "appearance": ("appearance", "nucleation"),
    "splitting": ("splitting",),
    "border": ("entering", "leaving"),
    "lost": ("lost",),
}
"""What changes the number of particles, and by which kinds of events."""


@dataclass(frozen=True, slots=True, eq=False)
class Happenings:
    """Events of a run, one entry an event.

    Attributes
    ----------
    kind : object array of shape (N,)
        Kinds of `insitu.schema.EVENTS`.
    window : int64 array
        Window in which it happened; −1 outside all windows.
    parents, children : int64 arrays
        Numbers of particles before and after.
    family : int64 array
        Particles that come from one another are one family; events of a family are not independent.
    """

    kind: NDArray[Any]
    window: NDArray[np.int64]
    parents: NDArray[np.int64]
    children: NDArray[np.int64]
    family: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        kind: Sequence[str],
        window: Sequence[int],
        parents: Sequence[Sequence[int]],
        children: Sequence[Sequence[int]],
    ) -> Happenings:
        """Return events given by the particles of each; families follow from these."""
        before, after = (np.array([len(ids) for ids in side], np.int64) for side in (parents, children))
        both = [[*map(int, p), *map(int, c)] for p, c in zip(parents, children, strict=True)]
        return cls(np.array(kind, dtype=object), np.array(window, np.int64), before, after, _families(both))

    def take(self, keep: NDArray[np.bool_]) -> Happenings:
        """Return the chosen events."""
        return Happenings(*(getattr(self, name)[keep] for name in self.__slots__))


def _families(members: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return a number for each event, the same for events that share a particle, over any number of steps."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    event = np.repeat(np.arange(len(members)), [len(m) for m in members])
    ids, particle = np.unique(np.array([p for m in members for p in m], np.int64), return_inverse=True)
    size = len(members) + len(ids)
    if not size:
        return np.zeros(0, np.int64)
    graph = coo_array((np.ones(len(event), np.int8), (event, len(members) + particle)), (size, size))
    return np.asarray(connected_components(graph, directed=False)[1][: len(members)], np.int64)


def event_rates(
    found: Happenings,
    time: NDArray[np.float64],
    duration: NDArray[np.float64],
    area: float,
    confidence: float = 0.95,
) -> Columns:
    """Count the events of each kind in each window, and their rate per area and time.

    Intervals are those of a Poisson count (Garwood 1936); they hold for events that do not bring each other about.

    Parameters
    ----------
    found : Happenings
    time, duration : float64 arrays of shape (W,)
        Middle and length of each window.
    area : float
        Area of the region.

    Returns
    -------
    dict
        One row a window and kind that occurs anywhere: ``window``, ``time_{time}``, ``kind``, ``count``,
        ``cumulative`` (count until the end of the window), ``rate_per_{area}_{time}`` with ``…_low``, ``…_high``.
    """
    windows = len(time)
    kinds = [k for k in KINDS if (found.kind == k).any()]
    inside = (found.window >= 0) & (found.window < windows)
    counts = np.array([np.bincount(found.window[inside & (found.kind == k)], minlength=windows) for k in kinds])
    counts = counts.reshape(len(kinds), windows).T
    low, high = poisson_interval(counts.astype(np.float64), confidence)
    exposure = area * np.asarray(duration, np.float64)[:, None]
    name = "rate_per_{area}_{time}"
    return {
        "window": np.repeat(np.arange(windows, dtype=np.int32), len(kinds)),
        "time_{time}": np.repeat(time, len(kinds)),
        "kind": np.array(kinds * windows, dtype=object),
        "count": counts.ravel(),
        "cumulative": counts.cumsum(axis=0).ravel(),
        name: (counts / exposure).ravel(),
        f"{name}_low": (low / exposure).ravel(),
        f"{name}_high": (high / exposure).ravel(),
    }


def number_balance(
    found: Happenings,
    time: NDArray[np.float64],
    duration: NDArray[np.float64],
    change: NDArray[np.int64],
    *,
    area: float,
    confidence: float = 0.95,
) -> Columns:
    """Split the change of the number of particles in each window into what made it.

    A coalescence of p particles into c takes p − c, a splitting gives c − p, a dissolution takes one, the border gives
    what entered and takes what left. ``unexplained`` is the change that no event accounts for.

    Parameters
    ----------
    found : Happenings
    time, duration : float64 arrays of shape (W,)
    change : int64 array of shape (W,)
        Particles at the end of the window less those at its beginning, counted from the frames themselves.
    area : float

    Returns
    -------
    dict
        One row a window and term (`TERMS`, then ``unexplained``, ``total``): ``window``, ``time_{time}``, ``term``,
        ``change`` (particles), ``rate_per_{area}_{time}`` with ``…_low``, ``…_high``. The interval is that of a count
        in which one event may move several particles; gains and losses of a term are two counts, whose intervals are
        added. Of ``unexplained`` and ``total`` nothing is drawn at random: their ends are NaN.
    """
    windows, terms = len(time), (*TERMS, "unexplained", "total")
    made = [_term(found, kinds, windows, confidence) for kinds in TERMS.values()]
    unknown = np.full(windows, np.nan)
    explained = np.sum([change for change, _, _ in made], axis=0)
    made += [(change - explained, unknown, unknown), (change.astype(np.float64), unknown, unknown)]
    moved, low, high = (np.concatenate(column) for column in zip(*made, strict=True))
    per_area = 1.0 / (area * np.tile(np.asarray(duration, np.float64), len(terms)))
    name = "rate_per_{area}_{time}"
    table: Columns = {
        "window": np.tile(np.arange(windows, dtype=np.int32), len(terms)),
        "time_{time}": np.tile(time, len(terms)),
        "term": np.repeat(np.array(terms, dtype=object), windows),
        "change": np.rint(moved).astype(np.int64),
        name: moved * per_area,
        f"{name}_low": low * per_area,
        f"{name}_high": high * per_area,
    }
    order = np.argsort(table["window"], kind="stable")
    return {name: values[order] for name, values in table.items()}


def _term(
    found: Happenings, kinds: tuple[str, ...], windows: int, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the change of the number of particles by these kinds in each window, and its interval."""
    step = np.where(np.isin(found.kind, kinds), found.children - found.parents, 0)
    gain, gain_low, gain_high = _moved(found.window, np.maximum(step, 0), windows, confidence)
    loss, loss_low, loss_high = _moved(found.window, np.maximum(-step, 0), windows, confidence)
    # a side on which nothing ever happens adds no doubt
    if not gain.any():
        return -loss, -loss_high, -loss_low
    if not loss.any():
        return gain, gain_low, gain_high
    # variances add: so do squares of the distances from the values to the ends
    change = gain - loss
    low, high = (
        change - np.hypot(gain - gain_low, loss_high - loss),
        change + np.hypot(gain_high - gain, loss - loss_low),
    )
    return change, low, high


def _moved(
    window: NDArray[np.int64], step: NDArray[np.int64], windows: int, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return Σ step in each window with its interval; an event that moves k particles adds k² to the variance."""
    kept = (window >= 0) & (window < windows) & (step > 0)
    place, moved = window[kept], step[kept].astype(np.float64)
    count = np.bincount(place, moved, windows).astype(np.float64)
    low, high = clustered_interval(count, np.bincount(place, moved**2, windows).astype(np.float64), confidence)
    return count, low, high


@dataclass(frozen=True, slots=True)
class Share:
    """Share of coalescence in the loss of particles.

    Attributes
    ----------
    value, low, high : float
    coalesced, dissolved : int
        Particles lost by each: Σ (parents − children) and dissolutions.
    lost : int
        Tracks that ended without a reason: the share would lie between `least` and `most` had all of these dissolved,
        or all coalesced.
    """

    value: float
    low: float
    high: float
    coalesced: int
    dissolved: int
    lost: int
    least: float
    most: float


def coalescence_share(found: Happenings, confidence: float = 0.95) -> Share | None:
    """Return coalesced / (coalesced + dissolved) particles, None where no particle was lost either way.

    Each lost particle is one trial; the interval is the exact one of a share (which, unlike a bootstrap, is no point
    when all or none coalesced), for the number of trials that counts once losses of one family are no longer taken as
    independent (design effect, Rao & Scott 1992, doi:10.2307/2532311).
    """
    merged = np.where(found.kind == "coalescence", np.maximum(found.parents - found.children, 0), 0)
    dissolved = np.where(found.kind == "dissolution", np.maximum(found.parents - found.children, 0), 0)
    lost = int(np.where(found.kind == "lost", np.maximum(found.parents - found.children, 0), 0).sum())
    a, b = int(merged.sum()), int(dissolved.sum())
    n = a + b
    if n == 0:
        return None
    share = a / n
    effect = 1.0
    if 0 < a < n:
        names, of = np.unique(found.family, return_inverse=True)
        own = np.bincount(of, merged - share * (merged + dissolved), len(names))
        effect = max(1.0, float((own**2).sum()) / (n * share * (1.0 - share)))
    low, high = share_interval(a / effect, n / effect, confidence)
    return Share(share, low, high, a, b, lost, a / (n + lost), (a + lost) / (n + lost))
