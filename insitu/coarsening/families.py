"""Merge families, and the bootstrap over them.

Particles that merge or split share their fate, and the sizes of one particle in neighbouring frames are the same
measurement over again. What may be drawn anew is therefore neither a row nor a particle but a family: a connected
component of the graph of parents and children.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

FIELDS = ("w", "wr", "wr2", "wr3", "w_r")
# fewer families than this, counted by weight, say nothing about how the mean would scatter
MIN_FAMILIES = 8.0
_GROUPS = 2000


def families(events: pd.DataFrame, n_particles: int) -> NDArray[np.int64]:
    """Return the family of each particle id 0…n−1.

    Parameters
    ----------
    events : DataFrame
        With lists ``parents`` and ``children``.
    n_particles : int
        Ids are below this.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [
        (first, other)
        for parents, children in zip(events["parents"], events["children"], strict=True)
        for first, *others in [[*parents, *children] or [0]]
        for other in others
    ]
    edges = np.array(pairs, np.int64).reshape(-1, 2)
    n = max(n_particles, int(edges.max(initial=-1)) + 1)
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, family = connected_components(graph, directed=False)
    return np.asarray(family[:n_particles], np.int64)


class FamilyBootstrap:
    """Sums per window, drawn anew many times.

    Above 2000 families they are first joined at random into 2000 groups of equal number: the variance of a sum stays
    the same, and the cost no longer grows with the movie.

    Parameters
    ----------
    records : mapping
        `TrackSums.columns`.
    family : int64 array
        Family of each particle id.
    n_windows : int
    draws : int
        Number of draws; 0 = none.
    seed : int

    Attributes
    ----------
    effective : float
        Families of equal size that would tell as much: (Σn)²/Σn².
    squares : float64 array of shape (windows,)
        Σ over families of (Σw)².
    """

    def __init__(
        self,
        records: Mapping[str, NDArray[Any]],
        family: NDArray[np.int64],
        n_windows: int,
        draws: int,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        present, group = np.unique(family[records["particle"]], return_inverse=True)
        self.n_families = len(present)
        rows = np.bincount(group, records["n"], minlength=len(present))
        self._total = np.bincount(records["window"], records["w"], minlength=n_windows).astype(np.float64)
        self.squares = _squares(group * n_windows + records["window"], records["w"], n_windows)
        self.effective = float(rows.sum() ** 2 / (rows**2).sum()) if len(present) else 0.0
        n_groups = min(self.n_families, _GROUPS)
        if self.n_families > _GROUPS:
            group = (rng.permutation(self.n_families) % _GROUPS)[group]
        self._sums: dict[str, NDArray[np.float64]] = {}
        if not draws or self.effective < MIN_FAMILIES:
            return
        # how often each group is drawn, (draws, groups)
        times = np.stack([np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups) for _ in range(draws)])
        place = group * n_windows + records["window"]
        for name in FIELDS:
            of_group = np.bincount(place, records[name], minlength=n_groups * n_windows).reshape(n_groups, n_windows)
            self._sums[name] = times.astype(np.float64) @ of_group

    @property
    def number(self) -> NDArray[np.float64]:
        """Effective number of families of each window, (Σw)²/Σw²; 0 where there is none."""
        return np.divide(self._total**2, self.squares, out=np.zeros_like(self.squares), where=self.squares > 0)

    @property
    def why_none(self) -> str:
        """Why there are no draws; empty where there are."""
        if self._sums:
            return ""
        if self.effective < MIN_FAMILIES:
            return (
                f"{self.n_families} merge families that count as {self.effective:.1f} of equal size: "
                f"fewer than {MIN_FAMILIES:.0f} tell no scatter"
            )
        return "the bootstrap is switched off (bootstrap = 0)"

    def sums(self, name: str) -> NDArray[np.float64]:
        """Return Σ of a field, (draws, windows)."""
        return self._sums[name]

    def ratio(self, over: str, under: str) -> NDArray[np.float64]:
        """Return a ratio of sums, (draws, windows); NaN where a draw holds no size in a window."""
        under_sum = self._sums[under]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(under_sum > 0, self._sums[over] / under_sum, np.nan)


def interval(
    draws: NDArray[np.float64], estimate: NDArray[np.float64], number: NDArray[np.float64], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the bias-corrected percentile interval, made wider for small samples.

    The draws are off to the side on which the estimate itself is off (r*ⁿ of few particles is too large); the
    percentiles are shifted back by twice the share of draws below the estimate, as a normal score (Efron 1981,
    doi:10.2307/3314608). A sample of n varies a little less among its draws than samples do; the ends are moved out
    by √(n/(n−1)) and Student's t over the normal distribution.

    Parameters
    ----------
    draws : float64 array of shape (draws, m)
    estimate : float64 array of shape (m,)
    number : float64 array of shape (m,)
        Effective number of families behind each estimate.

    Returns
    -------
    low, high : float64 arrays of shape (m,)
        NaN where fewer than half of the draws are known.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    z = float(ndtri((1 + confidence) / 2))
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    for k in range(len(estimate)):
        known = draws[np.isfinite(draws[:, k]), k]
        if 2 * len(known) < len(draws) or not len(known) or not np.isfinite(estimate[k]):
            continue
        # rounding must not pass for a bias where nothing scatters
        below = (known < estimate[k]).mean() + (known == estimate[k]).mean() / 2
        off = float(ndtri(np.clip(below, 1 / len(known), 1 - 1 / len(known)))) if np.ptp(known) > 0 else 0.0
        ends = np.quantile(known, [float(ndtr(2 * off - z)), float(ndtr(2 * off + z))])
        n = max(float(number[k]), 2.0)
        wider = np.sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 + confidence) / 2)) / z
        low[k], high[k] = estimate[k] + wider * (ends - estimate[k])
    return low, high


def _squares(place: NDArray[np.int64], w: NDArray[np.float64], n_windows: int) -> NDArray[np.float64]:
    """Return Σ over families of (Σw)² by window, from the place family·windows + window of each record."""
    which, of_family = np.unique(place, return_inverse=True)
    weight = np.bincount(of_family, w, minlength=len(which))
    return np.bincount(which % n_windows, weight**2, minlength=n_windows).astype(np.float64)


def draws_of(bootstrap: FamilyBootstrap, pair: Sequence[str]) -> NDArray[np.float64] | None:
    """Return the draws of a ratio of two fields, or None where there is no bootstrap."""
    return None if bootstrap.why_none else bootstrap.ratio(pair[0], pair[1])
