"""Events of tracks without areas: what positions alone can tell, none of it with a confidence above 0.5.

Who met whom (`meetings`), and who began or ended for no known reason: near the border it may have crossed that,
anywhere else it appeared or was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from insitu.link.meetings import MOST_CERTAIN, meetings
from insitu.types import Event

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.options import LinkOptions
    from insitu.types import EventKind

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NOTE = "from positions alone"


class Seen(NamedTuple):
    """Rows in order of frame: frame, track id, place (y, x) in px. Used frames, and the drift (n, 2) in each, px."""

    times: Ints
    ids: Ints
    places: Floats
    frames: Ints
    drift: Floats

    def drift_at(self, times: Ints) -> Floats:
        """Return the shift of the stage (y, x) in px in used frames."""
        shift: Floats = self.drift[np.searchsorted(self.frames, times)]
        return shift

    @property
    def last_frame(self) -> int:
        """The frame of the last row."""
        return int(self.times[-1]) if len(self.times) else 0


def events_from_positions(seen: Seen, link: LinkOptions, shape: tuple[int, int] | None) -> list[Event]:
    """Return the events of linked rows, in order; without the `shape` (height, width) of the frame no border is known.

    Rows without a finite position make no event.
    """
    events: list[Event] = []
    explained: set[tuple[bool, int]] = set()
    for m in meetings(seen.times, seen.ids, seen.places - seen.drift_at(seen.times), link.search_range_px):
        y, x = (np.array([m.y, m.x]) + seen.drift_at(np.array(m.frame))).tolist()
        merged = m.kind == "coalescence"
        explained |= {(merged, guest) for guest in m.guests}
        before, after = ((m.host, *m.guests), (m.host,)) if merged else ((m.host,), (m.host, *m.guests))
        decided = min(m.frame + (link.memory_frames if merged else 0), seen.last_frame)
        events.append(Event(m.kind, m.frame, decided, y, x, before, after, confidence=m.confidence, note=NOTE))
    finite = np.flatnonzero(np.isfinite(seen.places).all(axis=1))
    for ended in (False, True):
        edge = int(seen.times[-1 if ended else 0]) if len(finite) else 0
        rows = [
            row
            for row in finite[_extreme(seen.ids[finite], last=ended)].tolist()
            if (ended, int(seen.ids[row])) not in explained and int(seen.times[row]) != edge
        ]
        events += [_alone(seen, row, link, shape, ended=ended) for row in rows]
    return sorted(events, key=lambda e: (e.frame, e.kind, e.parents, e.children))


def _extreme(ids: Ints, *, last: bool) -> Ints:
    """Return the first, or last, row of each id."""
    rows = np.unique(ids[::-1] if last else ids, return_index=True)[1]
    return np.asarray(len(ids) - 1 - rows if last else rows, np.int64)


def _alone(seen: Seen, row: int, link: LinkOptions, shape: tuple[int, int] | None, *, ended: bool) -> Event:
    """Word a beginning or an end; within the search range of the border it may have crossed it."""
    place, frame, who = seen.places[row], int(seen.times[row]), (int(seen.ids[row]),)
    border = np.inf if shape is None else float(min(*place, *(np.array(shape) - 1 - place)))
    near = border <= link.search_range_px
    kind: EventKind = ("leaving" if near else "lost") if ended else ("entering" if near else "appearance")
    confidence = MOST_CERTAIN / (1 + max(border, 0.0) / link.search_range_px) if near else MOST_CERTAIN / 2
    return Event(
        kind=kind,
        frame=min(frame + 1, seen.last_frame) if ended else frame,
        decided_frame=min(frame + 1 + link.memory_frames, seen.last_frame) if ended else frame,
        y=float(place[0]),
        x=float(place[1]),
        parents=who if ended else (),
        children=() if ended else who,
        confidence=confidence,
        note=NOTE,
    )
