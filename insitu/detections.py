"""Tables of detections from elsewhere: `track_table` gives them identities and says what happened to the particles.

With areas the particles are drawn as discs and the events are decided as in a movie. Without areas only what positions
can tell is said (`insitu.link.meetings`): mergers and splittings, and beginnings and ends without a reason, none of it
with a confidence above 0.5.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.discs import discs
from insitu.errors import CommandError
from insitu.events import EventDetector
from insitu.link.linker import OptimalLinker
from insitu.link.meetings import MOST_CERTAIN, meetings
from insitu.link.tables import position_columns, whole_frames
from insitu.options import EventOptions, LinkOptions
from insitu.tracks import TrackSummary
from insitu.types import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from insitu.types import EventKind

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
        happened = _from_positions(times, linked, places, link, shape)
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


def _from_positions(
    times: NDArray[np.int64],
    linked: _Linked,
    places: NDArray[np.float64],
    link: LinkOptions,
    shape: tuple[int, int] | None,
) -> list[Event]:
    """Say what positions alone can tell: who met whom, and who began or ended for no known reason."""
    ids, drift = linked.ids, np.zeros_like(places)
    for (_, of_frame), shift in zip(linked.frames, linked.drift, strict=True):
        drift[of_frame] = shift
    events: list[Event] = []
    explained: set[tuple[bool, int]] = set()
    last_frame = int(times[-1]) if len(times) else 0
    for m in meetings(times, ids, places - drift, link.search_range_px):
        y, x = (float(v) for v in (m.y, m.x) + linked.drift[_row_of(linked, m.frame)])
        merged = m.kind == "coalescence"
        explained |= {(merged, guest) for guest in m.guests}
        before, after = ((m.host, *m.guests), (m.host,)) if merged else ((m.host,), (m.host, *m.guests))
        decided = min(m.frame + (link.memory_frames if merged else 0), last_frame)
        events.append(Event(m.kind, m.frame, decided, y, x, before, after, confidence=m.confidence, note=_NOTE))
    finite = np.flatnonzero(np.isfinite(places).all(axis=1))
    for ended, rows in ((False, _extreme(ids[finite], last=False)), (True, _extreme(ids[finite], last=True))):
        for row in finite[rows].tolist():
            particle, frame = int(ids[row]), int(times[row])
            if (ended, particle) in explained or frame == int(times[-1 if ended else 0]):
                continue
            events.append(_alone(particle, frame, places[row], link, shape, ended=ended, last_frame=last_frame))
    return sorted(events, key=lambda e: (e.frame, e.kind, e.parents, e.children))


_NOTE = "from positions alone"


def _row_of(linked: _Linked, frame: int) -> int:
    """Return the place of a used frame."""
    return bisect_left(linked.frames, frame, key=lambda f: f[0])


def _extreme(ids: NDArray[np.int64], *, last: bool) -> NDArray[np.int64]:
    """Return the first, or last, row of each id."""
    rows = np.unique(ids[::-1] if last else ids, return_index=True)[1]
    return np.asarray(len(ids) - 1 - rows if last else rows, np.int64)


def _alone(
    particle: int,
    frame: int,
    place: NDArray[np.float64],
    link: LinkOptions,
    shape: tuple[int, int] | None,
    *,
    ended: bool,
    last_frame: int,
) -> Event:
    """Word a beginning or an end; within the search range of the border it may have crossed it."""
    border = np.inf if shape is None else float(min(*place, *(np.array(shape) - 1 - place)))
    near = border <= link.search_range_px
    kind: EventKind = ("leaving" if near else "lost") if ended else ("entering" if near else "appearance")
    confidence = MOST_CERTAIN / (1 + max(border, 0.0) / link.search_range_px) if near else MOST_CERTAIN / 2
    who = (particle,)
    decided = min(frame + 1 + link.memory_frames, last_frame) if ended else frame
    return Event(
        kind=kind,
        frame=min(frame + 1, last_frame) if ended else frame,
        decided_frame=decided,
        y=float(place[0]),
        x=float(place[1]),
        parents=who if ended else (),
        children=() if ended else who,
        confidence=confidence,
        note=_NOTE,
    )


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
