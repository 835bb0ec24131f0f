"""Closed sums over the sizes of each frame, and size histograms: the part of the statistics that streams.

A frame's rows are added one after the other, and frames are put side by side, never added to each other. So any way of
cutting a movie into batches, and any way of merging parts, gives the same sums to the last bit: live equals batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

POWERS = range(-1, 7)
# columns of `particles` that sizes and weights come from
NEEDS = ("frame", "area_px", "touches_edge", "composite", "bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1")

_COUNTS = ("n_all", "n_edge", "n_composite", "n", "n_small", "area_all")
_SUMS = ("w_present", "r", *(f"wr{k}" for k in POWERS))
BINS_PER_DECADE = 50
_FIRST_BIN, _LAST_BIN = -BINS_PER_DECADE // 2, 4 * BINS_PER_DECADE  # 0.3 px to 10 000 px
_WEIGHT_STEP = 2.0**-20


def radius_px(area_px: NDArray[Any]) -> NDArray[np.float64]:
    """Return the radius of the disc of equal area, sqrt(A/π), in px."""
    return np.sqrt(np.asarray(area_px, np.float64) / np.pi)


def border_weight(
    height_px: NDArray[Any], width_px: NDArray[Any], region: tuple[int, int], step: int = 1
) -> NDArray[np.float64]:
    """Return the inverse chance that a box of this size, thrown anywhere into the region, touches none of its edges.

    A large particle is more often cut by the border than a small one; weighting those inside by HW/((H−h−1)(W−w−1))
    gives back the mean of the population (Miles, Stochastic Geometry, 1974; Lantuéjoul, Microsc. Acta Suppl. 4, 1980).

    Parameters
    ----------
    height_px, width_px : array of shape (n,)
        Height and width of the boxes in camera px.
    region : tuple of int
        Height and width of the analysed region in camera px.
    step : int
        Camera px per analysed px: the steps in which a box can lie.

    Returns
    -------
    float64 array of shape (n,)
        At least 1.
    """
    H, W = region
    places_y = np.maximum(H - np.asarray(height_px, np.float64) - step, step)
    places_x = np.maximum(W - np.asarray(width_px, np.float64) - step, step)
    return np.asarray(H * W / (places_y * places_x))


def measured(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return which rows tell a size: those that touch no edge and are no composite."""
    return np.asarray(~(np.asarray(columns["touches_edge"], bool) | np.asarray(columns["composite"], bool)))


def weights(columns: Mapping[str, NDArray[Any]], region: tuple[int, int], step: int = 1) -> NDArray[np.float64]:
    """Return the border weight of each row."""
    height = np.asarray(columns["bbox_y1"], np.int64) - columns["bbox_y0"]
    width = np.asarray(columns["bbox_x1"], np.int64) - columns["bbox_x0"]
    return border_weight(height, width, region, step)


class FrameSums:
    """Counts and Σ w rᵏ (k = −1…6) of every frame, in px.

    Parameters
    ----------
    region : tuple of int
        Height and width of the analysed region in camera px.
    step : int
        Camera px per analysed px.
    small_px : float
        Radius below which a size counts as near the detection limit.
    """

    def __init__(self, region: tuple[int, int], step: int = 1, small_px: float = 3.0) -> None:
        self.region, self.step, self.small_px = region, step, small_px
        self._n = 0
        self._held_frame = np.zeros(0, np.int64)
        self._of = {n: np.zeros(0, np.int64) for n in _COUNTS} | {n: np.zeros(0) for n in _SUMS}

    def __len__(self) -> int:
        return self._n

    @property
    def frame(self) -> NDArray[np.int64]:
        """Frames that have rows, sorted."""
        return self._held_frame[: self._n]

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows of ``particles`` (columns `NEEDS`), in order of frame and not before frames that were added.

        Raises
        ------
        ValueError
            Frames go backwards.
        """
        frame = np.asarray(columns["frame"], np.int64)
        if not len(frame):
            return
        if (np.diff(frame) < 0).any() or (len(self) and frame[0] < self.frame[-1]):
            raise ValueError(f"frame {frame.min()} comes after frame {max(frame.max(), *self.frame[-1:])}")
        place = self._places(frame)
        sizes, inside = measured(columns), ~np.asarray(columns["touches_edge"], bool)
        r, w = radius_px(columns["area_px"]), weights(columns, self.region, self.step)
        # rows of one frame may come in several calls: adding one after the other makes the cut invisible
        for name, kept in (("n_all", slice(None)), ("n_edge", ~inside), ("n", sizes)):
            np.add.at(self._of[name], place[kept], 1)
        np.add.at(self._of["n_composite"], place[np.asarray(columns["composite"], bool)], 1)
        np.add.at(self._of["n_small"], place[sizes & (r < self.small_px)], 1)
        np.add.at(self._of["area_all"], place, np.asarray(columns["area_px"], np.int64))
        np.add.at(self._of["w_present"], place[inside], w[inside])
        place, r, w = place[sizes], r[sizes], w[sizes]
        np.add.at(self._of["r"], place, r)
        term = w / r
        for k in POWERS:
            np.add.at(self._of[f"wr{k}"], place, term)
            term = term * r

    def _places(self, frame: NDArray[np.int64]) -> NDArray[np.intp]:
        fresh = np.unique(frame)
        if len(self):
            fresh = fresh[fresh > self.frame[-1]]
        start, self._n = self._n, self._n + len(fresh)
        if self._n > len(self._held_frame):
            size = max(self._n, 2 * len(self._held_frame))
            self._held_frame = longer(self._held_frame, size)
            self._of = {name: longer(held, size) for name, held in self._of.items()}
        self._held_frame[start : self._n] = fresh
        return np.searchsorted(self.frame, frame)

    def merged(self, other: FrameSums) -> FrameSums:
        """Return the sums of two parts of a movie that share no frame.

        Raises
        ------
        ValueError
            They share a frame, or were made for another region.
        """
        if (self.region, self.step, self.small_px) != (other.region, other.step, other.small_px):
            raise ValueError("sums of different regions cannot be merged")
        both = np.concatenate([self.frame, other.frame])
        order = np.argsort(both, kind="stable")
        if (np.diff(both[order]) == 0).any():
            raise ValueError("the parts share a frame: its rows must be added in one of them")
        merged = FrameSums(self.region, self.step, self.small_px)
        merged._n, merged._held_frame = len(both), both[order]
        parts = ((n, v[: len(self)], other._of[n][: len(other)]) for n, v in self._of.items())
        merged._of = {n: np.concatenate([a, b])[order] for n, a, b in parts}
        return merged

    def at(self, frames: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the sums of these frames; a frame without rows has zeros.

        Returns
        -------
        dict
            ``n_all`` rows, ``n_edge``, ``n_composite``, ``n`` sizes, ``n_small``, ``area_all`` (px²), ``w_present``
            (Σw of all rows inside), ``r`` (Σr without weights) and ``wr-1`` … ``wr6``; arrays of ``len(frames)``.
        """
        place = np.searchsorted(self.frame, frames)
        there = np.append(self.frame, np.iinfo(np.int64).max)[place] == frames
        held = {n: np.append(v[: self._n], v.dtype.type(0)) for n, v in self._of.items()}
        return {n: np.where(there, v[place], v.dtype.type(0)) for n, v in held.items()}


class SizeHistogram:
    """How many sizes, and what weight, in each window and each of 50 bins a decade of r in px.

    Weights are added as whole multiples of 2⁻²⁰, so that their sum is exact in whatever order.
    """

    edges_px: NDArray[np.float64] = 10.0 ** (np.arange(_FIRST_BIN, _LAST_BIN + 1) / BINS_PER_DECADE)

    def __init__(self, n_windows: int) -> None:
        self.count = np.zeros((n_windows, _LAST_BIN - _FIRST_BIN), np.int64)
        self._weight = np.zeros_like(self.count)

    @property
    def weight(self) -> NDArray[np.float64]:
        """Σw per window and bin."""
        return np.asarray(self._weight * _WEIGHT_STEP)

    def add(self, window: NDArray[Any], r_px: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        """Add sizes."""
        place = np.searchsorted(self.edges_px, r_px, side="right") - 1
        where = (window, np.clip(place, 0, self.count.shape[1] - 1))
        np.add.at(self.count, where, 1)
        np.add.at(self._weight, where, np.rint(weight / _WEIGHT_STEP).astype(np.int64))

    def __iadd__(self, other: Self) -> Self:
        self.count += other.count
        self._weight += other._weight
        return self


def longer(values: NDArray[Any], size: int, fill: int = 0) -> NDArray[Any]:
    """Return `values` with room for `size` of them."""
    grown = np.full(size, fill, values.dtype)
    grown[: len(values)] = values
    return grown
