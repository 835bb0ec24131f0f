"""What is remembered of each live track: a bounded table, whatever the length of the movie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from insitu.types import Particles

RING = 8

_TRACK = np.dtype(
    [
        ("particle", np.int64),
        ("first_frame", np.int32),  # first frame in which it was seen
        ("watched", np.int32),  # counted frames since then
        ("seen", np.int32),  # frames in which it was seen
        ("absent", np.int32),  # counted frames in a row in which it was not seen
        ("absent_frame", np.int32),  # the first of these
        ("swept", np.bool_),  # it went together with most others
        ("unnamed", np.bool_),  # its beginning has not been decided
        ("first_y", np.float64),
        ("first_x", np.float64),
        ("first_area", np.int32),
        ("first_border", np.float64),  # px between its box and the border when first seen
        ("border", np.float64),  # the same when last seen
        ("largest_area", np.float64),  # largest median of three successive areas
        ("ring", np.float64, (RING, 4)),  # frame, y, x, area_px of the last sightings, at seen % RING
    ]
)


class Histories:
    """First and last sightings of the live tracks, in order of their ids.

    `tracks` is a structured array; rows are found by `rows_of`. Lengths in px, areas in px².
    """

    def __init__(self) -> None:
        self.tracks: NDArray[np.void] = np.zeros(0, _TRACK)

    def rows_of(self, particles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each id, -1 for an id that is not live."""
        known = self.tracks["particle"]
        if len(known) == 0:
            return np.full(len(particles), -1, np.int64)
        row = np.minimum(np.searchsorted(known, particles), len(known) - 1)
        return np.where(known[row] == particles, row, -1).astype(np.int64)

    def add(self, particles: NDArray[np.int64], frame: int, columns: NDArray[np.float64], *, unnamed: bool) -> None:
        """Begin tracks; `columns` (n, 4) holds y, x, area_px, border of their first sighting."""
        new = np.zeros(len(particles), _TRACK)
        new["particle"], new["first_frame"], new["unnamed"] = particles, frame, unnamed
        new["first_y"], new["first_x"] = columns[:, 0], columns[:, 1]
        new["first_area"], new["first_border"] = columns[:, 2], columns[:, 3]
        self.tracks = np.concatenate([self.tracks, new])
        self.tracks = self.tracks[np.argsort(self.tracks["particle"], kind="stable")]
        self.see(self.rows_of(particles), frame, columns)

    def see(self, rows: NDArray[np.int64], frame: int, columns: NDArray[np.float64]) -> None:
        """Record the sighting of the tracks in `rows`; `columns` as in `add`."""
        t = self.tracks
        seen = t["seen"][rows]
        ring = t["ring"]
        ring[rows, seen % RING, 0] = frame
        ring[rows, seen % RING, 1:] = columns[:, :3]
        areas = np.stack([ring[rows, (seen - back) % RING, 3] for back in range(3)])
        median = np.where(seen >= 2, np.median(areas, axis=0), np.where(seen == 0, areas[0], 0.0))
        t["largest_area"][rows] = np.maximum(t["largest_area"][rows], median)
        t["border"][rows] = columns[:, 3]
        t["seen"][rows] = seen + 1
        t["absent"][rows] = 0

    def sightings(self, row: int, n: int = RING) -> NDArray[np.float64]:
        """Return the last sightings (≤ n) of one track in order of time: columns frame, y, x, area_px."""
        seen = int(self.tracks["seen"][row])
        order = np.arange(max(0, seen - min(n, RING)), seen) % RING
        ring: NDArray[np.float64] = self.tracks["ring"][row][order]
        return ring

    def forget(self, rows: NDArray[np.int64]) -> None:
        """Drop tracks that have ended."""
        if len(rows):
            self.tracks = np.delete(self.tracks, rows)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the table as plain arrays."""
        return {name: np.ascontiguousarray(self.tracks[name]) for name in _TRACK.names or ()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the table over from `state`."""
        self.tracks = np.zeros(len(state["particle"]), _TRACK)
        for name in _TRACK.names or ():
            self.tracks[name] = state[name]


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
