"""One row a track, from sums that grow frame by frame: memory in proportion to the tracks, not to the frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from insitu.types import Event

_SUMS = ("t", "tt", "d", "dd", "td", "lag_tt", "lag_dd", "lag_td")
_FIELDS: dict[str, type] = {
    "rows": np.int64,
    "first_seen": np.int64,
    "last_seen": np.int64,
    # from here on of the rows that are no composite: only they tell of the size
    "length": np.int64,
    "first_frame": np.int64,
    "last_frame": np.int64,
    "first_d": np.float64,
    "last_d": np.float64,
    "first_y": np.float64,
    "first_x": np.float64,
    "last_y": np.float64,
    "last_x": np.float64,
    **dict.fromkeys(_SUMS, np.float64),
}


class TrackSummary:
    """Gather the columns of `schema.TRACKS` while the rows of the particles table go by.

    Times are counted from the first frame of each track and diameters from its first diameter, so that no digits are
    lost in long movies. Rows are added one after the other in order of frame; how they are cut into calls changes
    nothing, to the last bit.
    """

    def __init__(self) -> None:
        self._of: dict[str, NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in _FIELDS.items()}
        self._drift: NDArray[np.float64] = np.zeros((0, 3))

    def add_frames(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take the stage shift to subtract, before the rows of these frames are added.

        Parameters
        ----------
        columns : mapping of str to array of shape (n,)
            ``frame``, ``drift_y_px``, ``drift_x_px`` of the frames table, in order of frame. Frames that did not drift
            take no memory.
        """
        shift = np.column_stack([columns["frame"], columns["drift_y_px"], columns["drift_x_px"]]).astype(np.float64)
        self._drift = np.concatenate([self._drift, shift[(shift[:, 1:] != 0).any(axis=1)]])

    def _drift_at(self, frame: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the stage shift (y, x) at each frame in px; 0 where none was given."""
        known = np.concatenate([self._drift, [[np.inf, 0.0, 0.0]]])
        place = np.searchsorted(known[:, 0], frame)
        shift = np.where((known[place, 0] == frame)[:, None], known[place, 1:], 0.0)
        return shift[:, 0], shift[:, 1]

    def add(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows of the particles table.

        Parameters
        ----------
        columns : mapping of str to array of shape (n,)
            ``frame``, ``particle``, ``y``, ``x``, ``equivalent_diameter_px``, in order of frame and later than all rows
            added before; ``composite`` where rows may be several particles in contact, which have no size of their own.
        """
        particle = np.asarray(columns["particle"], np.int64)
        if len(particle) == 0:
            return
        self._grow(int(particle.max()) + 1)
        frame = np.asarray(columns["frame"], np.int64)
        diameter = np.asarray(columns["equivalent_diameter_px"], np.float64)
        y, x = (np.asarray(columns[c], np.float64) - d for c, d in zip("yx", self._drift_at(frame), strict=True))
        self._span("rows", particle, {"seen": frame, "y": y, "x": x})
        if "composite" in columns:
            single = ~np.asarray(columns["composite"], np.bool_)
            particle, frame, diameter = particle[single], frame[single], diameter[single]
        self._add_sizes(particle, frame, diameter)

    def _span(self, count: str, particle: NDArray[np.int64], values: Mapping[str, NDArray[Any]]) -> None:
        """Note the first and last values of each track, and count its rows."""
        order = np.argsort(particle, kind="stable")
        follows = np.zeros(len(order), np.bool_)
        follows[1:] = particle[order][1:] == particle[order][:-1]
        begins, ends = order[~follows], order[np.append(~follows[1:], True)[: len(order)]]
        begins = begins[self._of[count][particle[begins]] == 0]
        for name, column in values.items():
            self._of[f"first_{name}"][particle[begins]] = column[begins]
            self._of[f"last_{name}"][particle[ends]] = column[ends]
        np.add.at(self._of[count], particle, 1)

    def _add_sizes(self, particle: NDArray[np.int64], frame: NDArray[np.int64], diameter: NDArray[np.float64]) -> None:
        """Add rows to the sums over time and diameter."""
        of = self._of
        order = np.argsort(particle, kind="stable")
        follows = np.zeros(len(order), np.bool_)
        follows[1:] = particle[order][1:] == particle[order][:-1]
        begins = order[~follows]
        begins = begins[of["length"][particle[begins]] == 0]
        of["first_frame"][particle[begins]], of["first_d"][particle[begins]] = frame[begins], diameter[begins]
        t = (frame - of["first_frame"][particle]).astype(np.float64)
        d = diameter - of["first_d"][particle]
        before_t, before_d = self._before(particle, order, follows, t, d)
        terms = (t, t * t, d, d * d, t * d, before_t * t, before_d * d, before_t * d + before_d * t)
        for name, term in zip(_SUMS, terms, strict=True):
            # Adds row by row: the sum depends on the order of frames only, never on where the calls were cut.
            np.add.at(of[name], particle, term)
        self._span("length", particle, {"frame": frame, "d": diameter})

    def rows(self, events: Iterable[Event | Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return the table of tracks as columns (see `schema.TRACKS`), in order of particle.

        Parameters
        ----------
        events : iterable of Event, or of parts of the events table (columns)
            All events of the movie: they say how tracks began and ended. A track without one was there at the start,
            or is there at the end.

        Returns
        -------
        dict
            Numpy arrays; ``origin`` and ``fate`` lists of str, ``parents`` and ``children`` lists of lists of int.
            ``growth_px_per_frame`` is NaN below two points, its standard error below three.
        """
        of = self._of
        particle = np.flatnonzero(of["rows"])
        of = {name: values[particle] for name, values in of.items()}
        slope, error = growth(of)
        origin, fate, parents, children = _told(particle, _stories(events))
        return {
            "particle": particle.astype(np.int64),
            "first_frame": of["first_seen"].astype(np.int32),
            "last_frame": of["last_seen"].astype(np.int32),
            "length": of["rows"].astype(np.int32),
            "origin": origin,
            "fate": fate,
            "parents": parents,
            "children": children,
            "equivalent_diameter_px_first": of["first_d"],
            "equivalent_diameter_px_last": of["last_d"],
            "equivalent_diameter_px_mean": of["first_d"] + of["d"] / np.maximum(of["length"], 1),
            "growth_px_per_frame": slope,
            "growth_px_per_frame_se": error,
            "displacement_px": np.hypot(of["last_y"] - of["first_y"], of["last_x"] - of["first_x"]),
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything needed to go on, as arrays."""
        return {"drift": self._drift.copy(), **{name: values.copy() for name, values in self._of.items()}}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`."""
        self._drift = np.array(state["drift"], np.float64)
        self._of = {name: np.array(state[name], dtype) for name, dtype in _FIELDS.items()}

    def _grow(self, size: int) -> None:
        """Make room for ids below `size`, doubling so that growth costs little."""
        have = len(self._of["rows"])
        if size > have:
            for name, values in self._of.items():
                self._of[name] = np.concatenate([values, np.zeros(max(size, 2 * have) - have, values.dtype)])

    def _before(
        self,
        particle: NDArray[np.int64],
        order: NDArray[np.int64],
        follows: NDArray[np.bool_],
        *now: NDArray[np.float64],
    ) -> list[NDArray[np.float64]]:
        """Return t and d of the row before in the same track; 0 where there is none (and first t and d are 0)."""
        of = self._of
        stored = (of["last_frame"] - of["first_frame"])[particle], (of["last_d"] - of["first_d"])[particle]
        known = of["length"][particle] > 0
        before = []
        for values, last in zip(now, stored, strict=True):
            lagged = np.where(known, last, 0.0)
            lagged[order[follows]] = values[order[:-1][follows[1:]]]
            before.append(lagged)
        return before


def growth(of: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least-squares slope of diameter against frame and its standard error, px/frame.

    Successive residuals of a track are correlated, so that its n frames weigh less than n independent ones. With r1 the
    lag-1 autocorrelation of the residuals e (negative ones count as 0),

        n_eff = n (1 - r1) / (1 + r1),   se² = Σ e² / (n_eff - 2) / Σ (t - <t>)²

    as in Santer et al., J. Geophys. Res. 105, 7337 (2000), 10.1029/1999JD901105, eqs. 3-6. The slope is NaN below two
    points, the error below three points or where n_eff ≤ 2.
    """
    n = of["length"].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = of["tt"] - of["t"] ** 2 / n
        slope = np.where((n >= 2) & (spread > 0), (of["td"] - of["t"] * of["d"] / n) / spread, np.nan)
        start = (of["d"] - slope * of["t"]) / n
        squares = of["dd"] - of["d"] ** 2 / n - slope * (of["td"] - of["t"] * of["d"] / n)
        # What rounding leaves of a perfect fit is no scatter.
        squares = np.where(squares > 1e-12 * np.maximum(of["dd"], 1e-300), squares, 0.0)
        # Both ends of the track lack a partner; the first one has t = 0, d = 0.
        inner_t = 2 * of["t"] - (of["last_frame"] - of["first_frame"])
        inner_d = 2 * of["d"] - (of["last_d"] - of["first_d"])
        products = (
            of["lag_dd"]
            - slope * of["lag_td"]
            + slope**2 * of["lag_tt"]
            - start * inner_d
            + slope * start * inner_t
            + start**2 * (n - 1)
        )
        r1 = np.where(squares > 0, np.clip(products / squares, 0.0, 1.0), 0.0)
        free = n * (1 - r1) / (1 + r1) - 2
        error = np.where((n >= 3) & (free > 0), np.sqrt(squares / free / spread), np.nan)
    return slope, error


Story = tuple[str, tuple[int, ...], tuple[int, ...]]  # kind, parents, children


def _stories(events: Iterable[Event | Mapping[str, Any]]) -> Iterator[Story]:
    """Yield kind, parents and children of each event, however the events are given."""
    for event in events:
        if not isinstance(event, Mapping):
            yield event.kind, event.parents, event.children
            continue
        for kind, *lists in zip(event["kind"], event["parents"], event["children"], strict=True):
            parents, children = (tuple(int(p) for p in ids) for ids in lists)
            yield str(kind), parents, children


def _told(
    particle: NDArray[np.int64], stories: Iterable[Story]
) -> tuple[list[str], list[str], list[list[int]], list[list[int]]]:
    """Return origin, fate, parents and children of each track from the events.

    A track that is parent and child of the same event goes on through it: the event is neither its origin nor its fate.
    """
    origin, fate = dict.fromkeys(particle.tolist(), "start"), dict.fromkeys(particle.tolist(), "end")
    parents: dict[int, list[int]] = {}
    children: dict[int, list[int]] = {}
    for kind, before, after in stories:
        if kind == "mark":
            continue
        for child in set(after) - set(before):
            origin[child], parents[child] = kind, list(before)
        for parent in set(before) - set(after):
            fate[parent], children[parent] = kind, list(after)
    names = particle.tolist()
    return (
        [origin[p] for p in names],
        [fate[p] for p in names],
        [parents.get(p, []) for p in names],
        [children.get(p, []) for p in names],
    )
