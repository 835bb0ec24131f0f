"""Tables of detections from elsewhere: `track_table` gives them identities and says what happened to the particles.

With areas the particles are drawn as discs and the events are decided as in a movie. Without areas only what positions
can tell is said (`insitu.link.meetings`): mergers and splittings, and beginnings and ends without a reason, none of it
with a confidence above 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.discs import discs
from insitu.errors import CommandError
from insitu.events import EventDetector
from insitu.link.from_positions import Seen, events_from_positions
from insitu.link.linker import OptimalLinker
from insitu.link.tables import position_columns, whole_frames
from insitu.options import EventOptions, LinkOptions
from insitu.tracks import TrackSummary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from insitu.types import Event

    Region = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """A table of detections, tracked: `particles` is it with ids; `events` and `tracks` as in a run, in px.

    `frames` has ``frame, drift_y_px, drift_x_px, flags`` of the used frames: the cumulative shift of the stage to
    subtract, and remarks as in a run (``"link candidates dropped"``, ``"most particles new"``, …).
    """

    particles: pd.DataFrame
    events: pd.DataFrame
    tracks: pd.DataFrame
    frames: pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class _Linked:
    """Used frames and their rows in the sorted table; drift (n, 2) and flags; frames before which all tracks ended."""

    frames: list[tuple[int, slice]]
    ids: NDArray[np.int64]
    drift: NDArray[np.float64]
    flags: list[tuple[str, ...]]
    interrupted: set[int]


def track_table(
    df: pd.DataFrame,
    *,
    search_range_px: float,
    memory_frames: int = 3,
    drift_range_px: float = 100.0,
    frames: Iterable[int] | None = None,
    shape: tuple[int, int] | None = None,
    area_column: str = "area_px",
    t_column: str = "frame",
    options: EventOptions | None = None,
) -> Tracked:
    """Link a table of detections of any origin and decide the events.

    Parameters
    ----------
    df : DataFrame
        One row a particle a frame, in any order: `t_column` (whole numbers), ``y`` and ``x`` in px, and `area_column`
        in px² where areas are known. Other columns are kept. A row without a finite position gets an id of its own and
        makes no event.
    search_range_px : float
        Farthest a particle may move between two used frames.
    memory_frames : int
        Used frames a particle may be unseen and keep its id.
    drift_range_px : float
        Longest sudden step of the stage that is found before linking; 0 where it is known to stand still. What
        particles wander by themselves is not taken for the stage; what nearly all of them move together is.
    frames : iterable of int, optional
        The frames that were looked at. One without a row is then an empty frame and uses up memory; by default frames
        without rows count as missing and use up nothing, but beyond `link.max_gap_frames` of them all tracks end.
    shape : tuple of int, optional
        Height and width of the frame in px. Without it no border is known: nothing enters or leaves.
    area_column, t_column : str
    options : EventOptions, optional
        What is called an event; only with areas.

    Returns
    -------
    Tracked
        `particles` is a copy of `df` in order of frame with column ``particle`` (int64).

    Raises
    ------
    CommandError
        A column is missing or holds no numbers, a frame number is not whole, or an area is not above zero.
    """
    link = _link_options(search_range_px, memory_frames, drift_range_px)
    table = _in_order(df, t_column)
    times, places, area = table[t_column].to_numpy(), _places(table), _areas(table, area_column)
    linked = _linked(_frames(times, frames), places, link)
    table["particle"] = linked.ids
    if area is None:
        seen = Seen(times, linked.ids, places, np.array([frame for frame, _ in linked.frames], np.int64), linked.drift)
        happened = events_from_positions(seen, link, shape)
    else:
        happened = _from_areas(linked, places, area, link=link, options=options or EventOptions(), shape=shape)
    columns = {"frame": times, "particle": linked.ids, "y": places[:, 0], "x": places[:, 1]}
    columns["equivalent_diameter_px"] = np.full(len(table), np.nan) if area is None else np.sqrt(4 * area / np.pi)
    shift = _frame_table(linked)
    return Tracked(table, _event_table(happened), _track_table(columns, shift, happened), shift)


def _in_order(df: pd.DataFrame, t_column: str) -> pd.DataFrame:
    """Return a copy of the table, sorted by frame; refuse one that cannot be tracked."""
    position_columns(df, ("y", "x"), t_column)
    table = df.copy()
    table[t_column] = whole_frames(df[t_column].to_numpy(), t_column)
    return table.iloc[np.argsort(table[t_column].to_numpy(), kind="stable")]


def _link_options(search_range_px: float, memory_frames: int, drift_range_px: float) -> LinkOptions:
    if not (np.isfinite(search_range_px) and search_range_px > 0):
        raise CommandError(
            f"search_range_px={search_range_px!r} is not above zero", "give the farthest a particle may move, in px"
        )
    if memory_frames != int(memory_frames) or memory_frames < 0:
        raise CommandError(f"memory_frames={memory_frames!r} is not a number of frames", "give a whole number ≥ 0")
    if not (np.isfinite(drift_range_px) and drift_range_px >= 0):
        raise CommandError(f"drift_range_px={drift_range_px!r} is no length", "give px, or 0 to look for no drift")
    return LinkOptions(
        search_range_px=float(search_range_px),
        memory_frames=int(memory_frames),
        drift_range_px=float(drift_range_px),
    )


def _places(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return (n, 2) y, x in px; both NaN where either is not finite."""
    places = table[["y", "x"]].to_numpy(np.float64, na_value=np.nan).copy()
    places[~np.isfinite(places).all(axis=1)] = np.nan
    return places


def _areas(table: pd.DataFrame, column: str) -> NDArray[np.float64] | None:
    """Return the areas in px², or None where the table has none."""
    if column not in table:
        return None
    area = table[column].to_numpy(np.float64, na_value=np.nan)
    bad = np.flatnonzero(~(area > 0))
    if len(bad):
        raise CommandError(
            f"row {table.index[bad[0]]} has {column} = {area[bad[0]]}", "give areas in px², or drop the column"
        )
    return area


def _frames(times: NDArray[np.int64], wanted: Iterable[int] | None) -> list[tuple[int, slice]]:
    """Return every used frame with its rows in the sorted table."""
    used = np.unique(times if wanted is None else np.concatenate([times, np.asarray(list(wanted), np.int64)]))
    bounds = (np.searchsorted(times, used, side).tolist() for side in ("left", "right"))
    return [(frame, slice(a, b)) for frame, a, b in zip(used.tolist(), *bounds, strict=True)]


def _linked(frames: list[tuple[int, slice]], places: NDArray[np.float64], link: LinkOptions) -> _Linked:
    """Give identities frame by frame, as the engine does: drift first, a wider range over missing frames."""
    numbers = np.array([frame for frame, _ in frames], np.int64)
    step = max(1, int(np.gcd.reduce(np.diff(numbers)))) if len(numbers) > 1 else 1
    linker, ids = OptimalLinker(link, frame_step=step), np.empty(len(places), np.int64)
    drift, interrupted = np.zeros((len(frames), 2)), set()
    flags: list[tuple[str, ...]] = []
    for k, (frame, rows) in enumerate(frames):
        if k and (frame - frames[k - 1][0]) // step - 1 > link.max_gap_frames:
            linker.forget()
            interrupted.add(frame)
        ids[rows] = linker.step(frame, places[rows])
        drift[k] = linker.drift
        flags.append(linker.flags)
    return _Linked(frames, ids, drift, flags, interrupted)


def _from_areas(
    linked: _Linked,
    places: NDArray[np.float64],
    area: NDArray[np.float64],
    *,
    link: LinkOptions,
    options: EventOptions,
    shape: tuple[int, int] | None,
) -> list[Event]:
    """Decide events as in a movie of discs of these areas."""
    size, origin = _region(places, area, link.search_range_px, shape)
    detector = EventDetector(options, size, link.memory_frames, link.blank_frames)
    happened: list[Event] = []
    for k, ((frame, rows), shift) in enumerate(zip(linked.frames, linked.drift.tolist(), strict=True)):
        if frame in linked.interrupted:
            happened += detector.interrupt(frame)
        measured, kept = discs(places[rows], area[rows], size, origin)
        happened += detector.step(frame, measured, linked.ids[rows][kept], (shift[0], shift[1]))
        linked.flags[k] += detector.flags
    return [*happened, *detector.finish()]


def _region(
    places: NDArray[np.float64], area: NDArray[np.float64], search_range_px: float, shape: tuple[int, int] | None
) -> Region:
    """Return size and origin of the region of the detector; of an unknown one so large that no border is near."""
    if shape is not None:
        return shape, (0, 0)
    finite = places[np.isfinite(places).all(axis=1)]
    if not len(finite):
        return (1, 1), (0, 0)
    away = ceil(4 * search_range_px + 2 * float(np.sqrt(area.max())))
    low = [floor(v) - away for v in finite.min(axis=0)]
    high = [ceil(v) + away for v in finite.max(axis=0)]
    return (high[0] - low[0], high[1] - low[1]), (low[0], low[1])


def _event_table(events: Sequence[Event]) -> pd.DataFrame:
    """Return events as the table of a run has them (px)."""
    import pandas as pd

    from insitu.schema import EVENTS

    names = [c.name for c in EVENTS if c.name not in {"event", "time_s"}]
    columns: dict[str, Any] = {name: [getattr(e, name) for e in events] for name in names}
    for name in ("contact_frame", "gap_px", "approach_px_per_frame", "volume_balance"):
        columns[name] = np.array([np.nan if v is None else v for v in columns[name]], np.float64)
    return pd.DataFrame({"event": np.arange(len(events), dtype=np.int64), **columns})


def _frame_table(linked: _Linked) -> pd.DataFrame:
    """Return drift and flags of the used frames."""
    import pandas as pd

    columns: dict[str, Any] = {"drift_y_px": linked.drift[:, 0], "drift_x_px": linked.drift[:, 1]}
    columns["flags"] = pd.Series([list(flags) for flags in linked.flags], dtype=object)
    return pd.DataFrame({"frame": np.array([frame for frame, _ in linked.frames], np.int64), **columns})


def _track_table(columns: dict[str, NDArray[Any]], frames: pd.DataFrame, events: Sequence[Event]) -> pd.DataFrame:
    """Return one row a particle, as the table of a run has it (px)."""
    import pandas as pd

    summary = TrackSummary()
    summary.add_frames({name: frames[name].to_numpy() for name in ("frame", "drift_y_px", "drift_x_px")})
    summary.add(columns)
    return pd.DataFrame(summary.rows(events))
