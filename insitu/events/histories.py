"""What is remembered of each live track: a bounded table, whatever the length of the movie."""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.events.plain_sightings import RING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from insitu.types import Particles

# σ of an area in px² over its square root: 0.05 px along a perimeter of about 3.5 √area px.
OUTLINE_ERROR = 0.05 * 3.5

_FIELDS: dict[str, tuple[type, tuple[int, ...]]] = {
    "particle": (np.int64, ()),
    "first_frame": (np.int64, ()),  # first frame in which it was seen
    "watched": (np.int64, ()),  # counted frames since then
    "seen": (np.int64, ()),  # frames in which it was seen
    "absent": (np.int64, ()),  # counted frames in a row in which it was not seen
    "absent_frame": (np.int64, ()),  # the first of these
    "host": (np.int64, ()),  # 1 + id of the neighbour it is in contact with, once that lasts; 0 without
    "void": (np.bool_, ()),  # it stood for several particles in contact that have parted: it never began and has no end
    "swept": (np.bool_, ()),  # it went together with most others
    "unnamed": (np.bool_, ()),  # its beginning has not been decided
    "first_y": (np.float64, ()),
    "first_x": (np.float64, ()),
    "first_area": (np.float64, ()),
    "first_border": (np.float64, ()),  # px between its box and the border when first seen
    "border": (np.float64, ()),  # the same when last seen
    "largest_area": (np.float64, ()),  # largest median of three successive areas
    "first_slip": (np.float64, ()),  # px by which the stage had moved since the frame before, when first seen
    "slip": (np.float64, ()),  # the same when it was missed for the first time
    "ring": (np.float64, (RING, 6)),  # of the last sightings, at seen % RING: see `sightings`
}


class Histories:
    """First and last sightings of the live tracks, in order of their ids.

    `tracks` holds one array a field, all of the same length; rows are found by `rows_of`. Lengths in px, areas in px².
    """

    def __init__(self) -> None:
        self.tracks: dict[str, NDArray[Any]] = _blank(0)
        self._table: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None  # the ids it is of, their rows by id

    def __len__(self) -> int:
        return len(self.tracks["particle"])

    def rows_of(self, particles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each id, -1 for an id that is not live."""
        known = self.tracks["particle"]
        if len(known) == 0:
            return np.full(len(particles), -1, np.int64)
        span = int(known[-1] - known[0]) + 1
        if span > 64 * (len(known) + 64):
            row = np.minimum(np.searchsorted(known, particles), len(known) - 1)
            return np.where(known[row] == particles, row, -1).astype(np.int64)
        # Ids lie close together as a rule: a table of all of them is faster than a search for each.
        if self._table is None or self._table[0] is not known:
            rows = np.full(span + 2, -1, np.int64)
            rows[known - (known[0] - 1)] = np.arange(len(known))
            self._table = known, rows
        place = np.minimum(np.maximum(particles - (known[0] - 1), 0), span + 1)
        found: NDArray[np.int64] = self._table[1][place]
        return found

    def row_of(self, particle: int) -> int:
        """Return the row of one id, -1 if it is not live."""
        known = self.tracks["particle"]
        row = int(known.searchsorted(particle))
        return row if row < len(known) and known[row] == particle else -1

    def add(
        self,
        particles: NDArray[np.int64],
        frame: int,
        columns: NDArray[np.float64],
        *,
        unnamed: bool,
        drift: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Begin tracks; `columns` (n, 4) holds y, x, area_px, border of their first sighting."""
        new = _blank(len(particles))
        new["particle"][:], new["first_frame"][:], new["unnamed"][:] = particles, frame, unnamed
        for k, name in enumerate(("first_y", "first_x", "first_area", "first_border")):
            new[name][:] = columns[:, k]
        order = np.argsort(np.concatenate([self.tracks["particle"], particles]), kind="stable")
        self.tracks = {name: np.concatenate([values, new[name]])[order] for name, values in self.tracks.items()}
        self.see(self.rows_of(particles), frame, columns, drift)

    def see(
        self,
        rows: NDArray[np.int64],
        frame: int,
        columns: NDArray[np.float64],
        drift: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Record the sighting of the tracks in `rows`; `columns` as in `add`, `drift` the shift of the stage in px."""
        t = self.tracks
        table = tuple(t[name] for name in ("ring", "seen", "largest_area", "border", "absent", "host"))
        _loops().see((rows, frame, np.ascontiguousarray(columns), (float(drift[0]), float(drift[1]))), table)

    def sightings(self, row: int, n: int = RING) -> NDArray[np.float64]:
        """Return the last sightings (≤ n) of one track in order of time.

        Columns: frame; y, x without the drift; area_px; y, x in the frame.
        """
        seen = int(self.tracks["seen"][row])
        order = np.arange(max(0, seen - min(n, RING)), seen) % RING
        ring: NDArray[np.float64] = self.tracks["ring"][row][order]
        return ring

    def unmix(self, row: int, begin: int, area: float, largest: float) -> None:
        """Take back the areas seen from frame `begin` on, when the track stood for several particles in contact."""
        ring = self.tracks["ring"][row]
        ring[ring[:, 0] >= begin, 3] = area
        self.tracks["largest_area"][row] = largest

    def forget(self, rows: NDArray[np.int64]) -> None:
        """Drop tracks that have ended."""
        keep = np.ones(len(self), np.bool_)
        keep[rows] = False
        self.tracks = {name: values[keep] for name, values in self.tracks.items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the table."""
        return {name: values.copy() for name, values in self.tracks.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the table over from `state`."""
        self.tracks = {name: np.array(state[name], dtype) for name, (dtype, _) in _FIELDS.items()}


@cache
def _loops() -> ModuleType:
    """Return the compiled loops, or where numba is missing those of numpy (same numbers)."""
    return import_module(f"insitu.events.{'compiled' if find_spec('numba') else 'plain'}_sightings")


def _blank(n: int) -> dict[str, NDArray[Any]]:
    """Return a table of `n` tracks with all fields 0."""
    return {name: np.zeros((n, *shape), dtype) for name, (dtype, shape) in _FIELDS.items()}


def median(values: Sequence[float]) -> float:
    """Return the median of a few values (numpy's own takes longer than all else done with them)."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def mean_step(path: NDArray[np.float64]) -> float:
    """Return the mean distance between successive sightings in px; 0 for a single one."""
    if len(path) < 2:
        return 0.0
    y, x = path[:, 1].tolist(), path[:, 2].tolist()
    return sum(math.hypot(y[k + 1] - y[k], x[k + 1] - x[k]) for k in range(len(y) - 1)) / (len(y) - 1)


def slope(t: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the slope of a straight line through a few values over `t` by least squares, and Σ (t - mean)²."""
    middle = sum(t) / len(t)
    about = [s - middle for s in t]
    square = sum(s * s for s in about)
    return sum(s * v for s, v in zip(about, values, strict=True)) / square, square


def fades(path: NDArray[np.float64], frame: int, smallest: float) -> bool:
    """Say whether a particle was about to go out of sight by itself in `frame`.

    Its volume (area^1.5), carried on at the rate of its last sightings to one frame beyond, comes below that of one and
    a half times the smallest area seen so far (in px², what the segmentation can just find).
    """
    t: list[float] = path[:, 0].tolist()
    volume: list[float] = [a**1.5 for a in path[:, 3].tolist()]
    rate = min(slope(t, volume)[0], 0.0) if len(t) > 2 else 0.0
    return bool(volume[-1] + rate * (frame + 1 - t[-1]) <= (1.5 * smallest) ** 1.5)


def declines(path: NDArray[np.float64]) -> bool:
    """Say whether the area went down over the last sightings, surely: by more than twice the error of the slope.

    The error is that of the residuals, and at least that of a digitised outline (a fraction of a px along it).
    """
    if len(path) < 3:
        return False
    t, area = path[:, 0].tolist(), path[:, 3].tolist()
    rate, square = slope(t, area)
    mean_t, mean = sum(t) / len(t), sum(area) / len(area)
    left = sum((a - mean - rate * (s - mean_t)) ** 2 for s, a in zip(t, area, strict=True))
    error = max(math.sqrt(left / (len(t) - 2)), OUTLINE_ERROR * math.sqrt(mean)) / math.sqrt(square)
    return rate < -2 * error


def columns_of(particles: Particles, shape: tuple[int, int], origin: tuple[int, int]) -> NDArray[np.float64]:
    """Return (n, 4) y, x, area_px and the px between each box and the border of the region `shape` at `origin`."""
    border = np.minimum.reduce(
        [
            particles.bbox_y0 - origin[0],
            particles.bbox_x0 - origin[1],
            origin[0] + shape[0] - particles.bbox_y1,
            origin[1] + shape[1] - particles.bbox_x1,
        ]
    )
    border = np.where(particles.touches_edge, 0, border)
    return np.column_stack([particles.y, particles.x, particles.area_px, border]).astype(np.float64)
