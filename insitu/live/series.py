"""Curves of a run that may last for days, in constant memory: neighbouring points are merged when room runs out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 2048
# events are told of frames that lie back by a look-ahead: so many points are sent again each time
TRAILING = 256


@dataclass(frozen=True, slots=True)
class Point:
    """What one frame adds to the curves; None where it tells nothing."""

    x: float
    number: int | None = None
    diameter_px: float | None = None
    coverage: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Points from number `first` on, as sums and numbers of frames."""

    epoch: int
    first: int
    x: NDArray[np.float64]
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    events: NDArray[np.int64]

    def plain(self) -> dict[str, Any]:
        """Return the means for JSON: None where no frame told."""
        with np.errstate(invalid="ignore"):
            means = self.sums / self.counts
        number, diameter, coverage = (_plain(column) for column in means.T)
        return {
            "epoch": self.epoch,
            "from": self.first,
            "x": _plain(self.x),
            "number": number,
            "diameter_px": diameter,
            "coverage": coverage,
            "events": self.events.tolist(),
        }


class Series:
    """Number, mean diameter, coverage and events against time or frame, each point a mean over `width` frames.

    Parameters
    ----------
    points : int
        Most points that are kept, even.
    """

    def __init__(self, points: int = POINTS) -> None:
        self.width, self.epoch, self.total = 1, 0, 0
        self._x = np.zeros(points)
        # a sum and how many frames it is over, for number, diameter and coverage; events as they are
        self._sums = np.zeros((points, 3))
        self._counts = np.zeros((points, 3), np.int64)
        self._events = np.zeros(points, np.int64)

    def __len__(self) -> int:
        return (self.total + self.width - 1) // self.width

    def add(self, point: Point) -> None:
        """Add the next frame."""
        if self.total == self.width * len(self._x):
            self._merge()
        place, within = divmod(self.total, self.width)
        if within == 0:
            self._x[place] = point.x
        for column, value in enumerate((point.number, point.diameter_px, point.coverage)):
            if value is not None and math.isfinite(value):
                self._sums[place, column] += value
                self._counts[place, column] += 1
        self.total += 1

    def happened(self, x: float) -> None:
        """Count an event at `x`, which may lie before the newest frame."""
        if self.total:
            place = int(np.searchsorted(self._x[: len(self)], x, side="right")) - 1
            self._events[max(place, 0)] += 1

    def since(self, epoch: int, known: int) -> Part:
        """Return a copy of the points that a page lacks that has `known` of them, of `epoch`.

        Merging begins a new epoch: a page of another one lacks all.
        """
        first = max(0, min(known, len(self)) - TRAILING) if epoch == self.epoch else 0
        part = slice(first, len(self))
        return Part(
            self.epoch,
            first,
            self._x[part].copy(),
            self._sums[part].copy(),
            self._counts[part].copy(),
            self._events[part].copy(),
        )

    def _merge(self) -> None:
        half = len(self._x) // 2
        self._x[:half] = self._x[::2].copy()
        self._sums[:half] = self._sums.reshape(half, 2, 3).sum(axis=1)
        self._counts[:half] = self._counts.reshape(half, 2, 3).sum(axis=1)
        self._events[:half] = self._events.reshape(half, 2).sum(axis=1)
        for column in (self._x, self._sums, self._counts, self._events):
            column[half:] = 0
        self.width, self.epoch = 2 * self.width, self.epoch + 1


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers for JSON, with six digits, None where there is none."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.tolist()]


def sizes(diameters: NDArray[np.float64], bins: int = 24) -> dict[str, Any]:
    """Return a histogram of diameters from 0 to a round number just above the largest: ``top``, ``counts``."""
    largest = float(diameters.max(initial=0.0))
    if largest <= 0:
        return {"top": 0.0, "counts": []}
    power = 10.0 ** math.floor(math.log10(largest))
    top = next(m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if m * power >= largest * (1 - 1e-12))
    return {"top": top, "counts": np.histogram(diameters, bins=bins, range=(0.0, top))[0].tolist()}
