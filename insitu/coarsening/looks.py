"""A second look at the particles table: the middle frame of every window, and the paths of tracks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening import sums

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from insitu.coarsening.gather import Gathered
    from insitu.coarsening.source import Tables
    from insitu.coarsening.windows import Windows

PATH_ROWS = 2_000_000
"""Positions that are followed: beyond that, tracks are drawn at random."""
DRAWS = 200
"""Draws of a bootstrap, at most: intervals that are asked for once a window or class need no more."""
_COLUMNS = ("frame", "particle", "y", "x", "area_px", "touches_edge", "composite")


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The particles of one frame; lengths in the study's unit, positions from the corner of the region.

    Attributes
    ----------
    frame : int
    particle : int64 array of shape (N,)
    y, x, radius : float64 arrays
        The radius of every row; it is a size where `sized`.
    sized : bool array
        Touches no edge and is no composite.
    """

    frame: int
    particle: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    radius: NDArray[np.float64]
    sized: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.particle)


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Positions on the support (drift subtracted) of some tracks, rows of sizes only; in the study's unit."""

    frame: NDArray[np.int64]
    particle: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What the second look found.

    Attributes
    ----------
    moments : dict
        Window → its middle frame.
    paths : Paths
    at_start : int64 array
        Particles of the first used frame that have a size.
    drawn : int
        Tracks whose paths are followed, of `tracks`.
    """

    moments: dict[int, Moment]
    paths: Paths
    at_start: NDArray[np.int64]
    drawn: int
    tracks: int


def look(tables: Tables, gathered: Gathered) -> Looks:
    """Read the rows again and keep what is needed; memory does not grow with the movie."""
    windows = gathered.windows
    middle = {w: _middle(windows, w) for w in range(len(windows))}
    first = int(windows.frame[0])
    wanted = np.array(sorted({first, *middle.values()}), np.int64)
    followed, known = _followed(gathered)
    frames: list[dict[str, NDArray[Any]]] = []
    paths: list[dict[str, NDArray[Any]]] = []
    for rows in tables.particle_batches(_COLUMNS):
        used = windows.place(rows["frame"]) >= 0
        seen = used & np.isin(rows["frame"], wanted)
        frames.append({name: values[seen] for name, values in rows.items()})
        particle = np.asarray(rows["particle"], np.int64)
        kept = used & followed[np.minimum(particle, len(followed) - 1)] & sums.measured(rows)
        paths.append({name: rows[name][kept] for name in ("frame", "particle", "y", "x")})
    held = _joined(frames, _COLUMNS)
    at_start = (held["frame"] == first) & sums.measured(held)
    return Looks(
        {w: _moment(held, f, gathered) for w, f in middle.items()},
        _on_support(_joined(paths, ("frame", "particle", "y", "x")), gathered),
        np.asarray(held["particle"], np.int64)[at_start],
        int(followed.sum()),
        known,
    )


def _middle(windows: Windows, window: int) -> int:
    inside = windows.frame[windows.window == window]
    return int(inside[len(inside) // 2])


def _followed(gathered: Gathered) -> tuple[NDArray[np.bool_], int]:
    """Return which particle ids are followed (the last entry stands for all beyond), and how many have a size."""
    count = np.bincount(gathered.records["particle"], gathered.records["n"]).astype(np.int64)
    several = np.flatnonzero(count >= 2)
    order = np.random.default_rng(gathered.options.seed).permutation(several)
    chosen = order[np.cumsum(count[order]) <= PATH_ROWS]
    followed = np.zeros(len(count) + 1, np.bool_)
    followed[chosen] = True
    return followed, len(several)


def _joined(parts: list[dict[str, NDArray[Any]]], names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    return {n: np.concatenate([p[n] for p in parts]) if parts else np.zeros(0) for n in names}


def _moment(held: dict[str, NDArray[Any]], frame: int, gathered: Gathered) -> Moment:
    rows = {name: values[held["frame"] == frame] for name, values in held.items()}
    per_px, origin = gathered.units.per_px, gathered.info.origin
    y, x = ((np.asarray(rows[n], np.float64) + 0.5 - o) * per_px for n, o in zip("yx", origin, strict=True))
    radius = sums.radius_px(rows["area_px"]) * per_px
    return Moment(frame, np.asarray(rows["particle"], np.int64), y, x, radius, sums.measured(rows))


def _on_support(rows: dict[str, NDArray[Any]], gathered: Gathered) -> Paths:
    """Subtract the stage's drift."""
    frame = np.asarray(rows["frame"], np.int64)
    at = [np.asarray(rows[name], np.float64) - _drift(gathered.frame_table, frame, name) for name in "yx"]
    per_px = gathered.units.per_px
    return Paths(frame, np.asarray(rows["particle"], np.int64), at[0] * per_px, at[1] * per_px)


def _drift(table: pd.DataFrame, frame: NDArray[np.int64], axis: str) -> NDArray[np.float64]:
    """Return the cumulative shift of the stage at each frame in px; 0 where it is not known."""
    name = f"drift_{axis}_px"
    if name not in table or not len(table):
        return np.zeros(len(frame))
    known = table["frame"].to_numpy(np.int64)
    order = np.argsort(known, kind="stable")
    shift = np.nan_to_num(table[name].to_numpy(np.float64), nan=0.0)[order]
    place = np.minimum(np.searchsorted(known[order], frame), len(known) - 1)
    return np.where(known[order][place] == frame, shift[place], 0.0)


def extent(gathered: Gathered) -> tuple[float, float]:
    """Return height and width of the region in the study's unit."""
    height, width = gathered.info.region
    return height * gathered.units.per_px, width * gathered.units.per_px


def draws(gathered: Gathered) -> int:
    """Return how many draws the smaller bootstraps make."""
    return min(gathered.options.bootstrap, DRAWS)


def window_of(windows: Windows, frame: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the window of each event: that of the first used frame from it on, the last one beyond."""
    place = np.minimum(np.searchsorted(windows.frame, frame), len(windows.frame) - 1)
    return windows.window[place]
