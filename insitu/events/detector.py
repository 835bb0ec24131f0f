"""What happened to the particles: beginnings, ends and mergers, decided from what was seen and never taken back.

An end is decided when the linker's memory has run out, a beginning after `birth_frames` counted frames; what returns in
time was never gone. What seems to have merged is awaited for `contact_frames`: if it returns it had only touched.
`evidence` gathers what two frames show, `mergers` judges which particles went into which.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.events import verdicts
from insitu.events.contacts import Contact, OpenEnds, without
from insitu.events.evidence import PAIR, Outlines, follow, gather
from insitu.events.histories import Histories, columns_of
from insitu.events.mergers import Lone, pairs_of, source_of
from insitu.options import LinkOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from insitu.options import EventOptions
    from insitu.types import Event, Measured

MOST_VANISHED = "most particles vanished"
MOST_CHANGES = 1000
TOO_MANY_CHANGES = "too many changes"


class EventDetector:
    """Decide events from labelled runs, particles and track ids of the used frames.

    Parameters
    ----------
    options : EventOptions
    shape : tuple of int
        Height and width of the analysed region in camera px.
    memory_frames : int
        The linker's memory: used frames a particle may be unseen.
    blank_frames : int, optional
        As in the linker (its default if not given): frames in a row in which most particles vanish at once that do not
        count as unseen.

    Attributes
    ----------
    flags : tuple of str
        Remarks on the last step: ``"most particles vanished"`` (more than half of more than ten: such a frame decides
        no event), ``"too many changes"`` (more than 1000 that vanish or begin: a frame of specks; they are not asked
        whether they merged or split off).
    partings : list of Contact
        Contacts that ended in the last step.
    """

    def __init__(
        self,
        options: EventOptions,
        shape: tuple[int, int],
        memory_frames: int,
        blank_frames: int | None = None,
    ) -> None:
        self._options = options
        self._shape = shape
        self._memory = memory_frames
        self._blank_frames = LinkOptions().blank_frames if blank_frames is None else blank_frames
        self._histories = Histories()
        self._before: Outlines | None = None
        self._ends = OpenEnds(options, self._histories)
        self._births: NDArray[np.void] = np.zeros(0, PAIR)
        self._frame = -1
        self._held = 0
        self._drift = (0.0, 0.0)
        self.flags: tuple[str, ...] = ()
        self.partings: list[Contact] = []
        self._began: dict[int, int] = {}

    @property
    def known(self) -> NDArray[np.int64]:
        """Ids of the tracks that have not ended."""
        known: NDArray[np.int64] = self._histories.tracks["particle"]
        return known

    @property
    def in_contact(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids of the particles that are unseen because they touch another one, and of these: the linker awaits them."""
        host = self._histories.tracks["host"]
        return self.known[host > 0], host[host > 0] - 1

    @property
    def open_since(self) -> int:
        """First frame that a verdict still to come may change: that of the oldest end with a neighbour."""
        return int(self._ends.pairs["frame"].min(initial=np.iinfo(np.int32).max))

    def began(self, track: int) -> int:
        """Return the frame in which a track was first seen, or the present one for a track that has ended."""
        return self._began.get(track, self._frame)

    def open_contacts(self) -> list[Contact]:
        """Return the contacts open now."""
        return [self._ends.contact(m) for m in self._ends.contacts()]

    def step(
        self, index: int, measured: Measured, ids: NDArray[np.int64], drift: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[Event, ...]:
        """Take the next used frame; return the events that it makes certain.

        Parameters
        ----------
        index : int
            Position of the frame in the source's timeline; it may jump over bad and missing frames.
        measured : Measured
            Labelled runs and particles; row k of the particles has label k + 1.
        ids : int64 array of shape (n,)
            Track ids from the linker.
        drift : tuple of float, optional
            Cumulative shift (y, x) of the stage in px: outlines are compared without it.

        Returns
        -------
        tuple of Event
            In order of frame, kind and first particle.
        """
        self._frame = index
        self.partings = []
        particles = measured.particles
        columns = columns_of(particles, self._shape, measured.runs.origin)
        box = np.stack([particles.bbox_y0, particles.bbox_x0, particles.bbox_y1, particles.bbox_x1], axis=1)
        now = Outlines(measured.runs, np.asarray(ids, np.int64), columns[:, 2], box.astype(np.int64))
        rows = self._histories.rows_of(now.ids)
        slip = (drift[0] - self._drift[0], drift[1] - self._drift[1])
        if self._is_blank(rows):
            self._see(index, now, rows, columns, drift)
            return ()
        if self._before is not None:
            self._gather(index, self._before.moved(slip), now, rows)
        self._drift = drift
        self._see(index, now, rows, columns, drift)
        self._count(index, now.ids, max(abs(slip[0]), abs(slip[1])))
        self._ends.see(now.ids, now.area)
        follow(self._births, now.ids, now.area)
        self._before = now
        return self._decide(index)

    def finish(self) -> tuple[Event, ...]:
        """Return the beginnings not yet named; particles unseen at the end of the movie make no event."""
        return _in_order(self._name_beginnings(self._single(self._histories.tracks["unnamed"]), self._frame))

    def _is_blank(self, rows: NDArray[np.int64]) -> bool:
        """Say whether most particles (seen more than once) vanished at once: that tells of the beam, not of them."""
        tracks = self._histories.tracks
        counted = (tracks["absent"] == 0) & (tracks["seen"] > 1)
        n_last, found = int(np.count_nonzero(counted)), int(np.count_nonzero(counted[rows[rows >= 0]]))
        blank = _most(n_last - found, n_last)
        self.flags = (MOST_VANISHED,) if blank else ()
        self._held = self._held + 1 if blank else 0
        return blank and self._held <= self._blank_frames

    def interrupt(self, index: int) -> tuple[Event, ...]:
        """End all tracks as lost, because nothing was seen for too long before used frame `index`.

        What the next step shows is there as at the start of a movie: it makes no event.
        """
        histories = self._histories
        single = self._single(np.ones(len(histories), np.bool_))
        events = self._name_beginnings(self._single(histories.tracks["unnamed"]), self._frame)
        for row in single.tolist():
            events.append(verdicts.interrupted(row, histories, index))
        self._histories, self._before, self._held = Histories(), None, 0
        self._ends.watch(self._histories)
        self._births = np.zeros(0, PAIR)
        return _in_order(events)

    def _gather(self, index: int, before: Outlines, now: Outlines, rows: NDArray[np.int64]) -> None:
        """Collect what this frame shows of the particles that are gone or new in it."""
        gather_with = partial(gather, index, histories=self._histories, reach=self._options.contact_gap_px)
        seen = np.zeros(len(self._histories), np.bool_)
        seen[rows[rows >= 0]] = True
        gone = np.flatnonzero(~seen[self._histories.rows_of(before.ids)]) + 1
        new = np.flatnonzero(rows < 0) + 1
        if max(len(gone), len(new)) > MOST_CHANGES:
            self.flags += (TOO_MANY_CHANGES,)
        # When most of a crowd changes at once, or a frame is full of specks, no neighbour tells anything.
        if 0 < len(gone) <= MOST_CHANGES and not _most(len(gone), len(before.ids)):
            self._ends.add(gather_with(lone=before, labels=gone, other=now))
        if 0 < len(new) <= MOST_CHANGES and not _most(len(new), len(now.ids)):
            self._births = np.concatenate([self._births, gather_with(lone=now, labels=new, other=before)])

    def _see(
        self,
        index: int,
        now: Outlines,
        rows: NDArray[np.int64],
        columns: NDArray[np.float64],
        drift: tuple[float, float],
    ) -> None:
        """Write the sightings of this frame into the histories."""
        old, new = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        returned = now.ids[old[self._histories.tracks["absent"][rows[old]] > 0]]
        if len(returned):
            self._part(returned, now.ids)
            self._ends.drop(returned)
        self._histories.see(rows[old], index, columns[old], drift)
        if len(new):
            # What is there when the movie starts did not begin: it makes no event.
            began = self._before is not None
            self._histories.add(now.ids[new], index, columns[new], unnamed=began, drift=drift)

    def _single(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the rows among `chosen` that are particles, not the row of several in a contact that is still open."""
        contacts = [m.other for m in self._ends.contacts() if self._ends.only_together(m)]
        composite = np.isin(self.known, contacts) | self._histories.tracks["void"]
        return np.flatnonzero(chosen & ~composite)

    def _part(self, returned: NDArray[np.int64], present: NDArray[np.int64]) -> None:
        """Note the contacts that ended because particles returned, and take back what was seen of them as one."""
        histories = self._histories
        for m in self._ends.found(histories.rows_of(returned)):
            if m.fresh and m.other in present:
                continue
            row, contact = histories.row_of(m.other), self._ends.contact(m)
            self.partings.append(contact)
            if m.fresh:
                histories.tracks["void"][row] |= contact.only
                self._ends.drop(np.array([m.other]))
                self._births = self._births[self._births["lone"] != m.other]
            else:
                histories.unmix(row, m.frame, m.pairs[0].last, m.pairs[0].largest)

    def _count(self, index: int, ids: NDArray[np.int64], slip: float) -> None:
        """Let the counters of all live tracks run on by one counted frame."""
        tracks = self._histories.tracks
        unseen = np.ones(len(self._histories), np.bool_)
        unseen[self._histories.rows_of(ids)] = False
        missed = unseen & (tracks["absent"] == 0)
        tracks["absent_frame"][missed] = index
        tracks["slip"][missed] = slip
        tracks["first_slip"][tracks["first_frame"] == index] = slip
        # Of what vanished with most of the crowd nothing can be said, not even that it had shrunk.
        tracks["swept"][missed] = MOST_VANISHED in self.flags
        tracks["absent"][unseen] += 1
        tracks["watched"][tracks["first_frame"] != index] += 1

    def _decide(self, index: int) -> tuple[Event, ...]:
        """Decide the ends whose memory has run out, then the beginnings that were watched long enough."""
        self._began = {}
        ended = self._ended()
        events = self._name_ends(ended, index) if len(ended) else []
        tracks = self._histories.tracks
        if len(ended):
            self._ends.drop(tracks["particle"][ended])
        due = tracks["unnamed"] & (tracks["watched"] >= max(self._memory, self._options.birth_frames))
        # One that may have begun as the child of a merger waits for the verdict on its parents.
        due[self._histories.rows_of(self._ends.pairs["other"][self._ends.pairs["fresh"]])] = False
        due |= tracks["unnamed"] & (tracks["absent"] > self._memory)
        due &= ~tracks["void"]
        events += self._name_beginnings(np.flatnonzero(due), index)
        if len(ended):
            self._histories.forget(ended)
        return _in_order(events)

    def _ended(self) -> NDArray[np.int64]:
        """Return the rows of the tracks whose end is certain: memory run out, and no contact that may end again."""
        tracks = self._histories.tracks
        longest = max(self._memory, self._options.contact_frames)
        over = tracks["absent"] > self._memory
        if longest > self._memory:
            # Asked at once, so that the linker knows, and again when the area after the contact is known.
            asked = (tracks["absent"] == 1) | (tracks["absent"] == self._memory + 1)
            asked = np.flatnonzero(asked & ~tracks["void"])
            if len(asked) and len(self._ends):
                tracks["host"][asked] = 0
                for m in self._ends.found(asked):
                    tracks["host"][[self._histories.row_of(p) for p in m.guests]] = 1 + m.other
            over &= (tracks["host"] == 0) | (tracks["absent"] > longest)
            waiting = np.flatnonzero(tracks["host"] > 0).tolist() if over.any() else []
            hosts = [self._histories.row_of(int(tracks["host"][row]) - 1) for row in waiting]
            # A neighbour that ends takes the decision along, and those that wait for the one it takes along.
            while any(h >= 0 and over[h] and not over[row] for row, h in zip(waiting, hosts, strict=True)):
                for row, h in zip(waiting, hosts, strict=True):
                    over[row] |= h >= 0 and over[h]
        return np.flatnonzero(over)

    def _name_ends(self, ended: NDArray[np.int64], index: int) -> list[Event]:
        """Name the ends of the tracks in rows `ended`: mergers first, then one by one."""
        histories = self._histories
        ended = ended[~histories.tracks["void"][ended]]
        lone = self._ends.lone(ended)
        found = self._ends.among(lone)
        events = [verdicts.coalescence(m, lone, histories, index) for m in found]
        merged = {p for m in found for p in m.guests}
        for m in found:
            child = histories.row_of(m.other)
            self._began[m.other] = int(histories.tracks["first_frame"][child])
            if m.fresh:
                # A child that began with the merger needs no other beginning, one that was void is a particle now.
                began = self._began[m.other] == m.frame or histories.tracks["void"][child]
                histories.tracks["unnamed"][child] &= not began
                histories.tracks["void"][child] = False
        for row, (particle, last) in zip(ended, lone.items(), strict=True):
            if particle not in merged:
                events.append(verdicts.end(int(row), last, histories, self._options, index))
        return events

    def _name_beginnings(self, rows: NDArray[np.int64], index: int) -> list[Event]:
        """Name the beginnings of the tracks in `rows`."""
        histories, events = self._histories, []
        if not len(rows):
            return []
        for row in rows.tolist():
            pairs = self._births[self._births["lone"] == histories.tracks["particle"][row]]
            source = source_of(pairs_of(pairs), Lone(float(histories.tracks["first_area"][row])), self._options)
            if source is not None:
                events.append(verdicts.splitting(row, *source, histories, index))
            else:
                events.append(verdicts.beginning(row, histories, self._options, index))
        histories.tracks["unnamed"][rows] = False
        self._births = without(self._births, histories.tracks["particle"][~histories.tracks["unnamed"]])
        return events

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything needed to go on, as arrays: the last outlines, the live tracks and the open evidence."""
        counters = np.array([self._frame, self._held, self._before is not None], np.int64)
        parts: dict[str, NDArray[Any]] = {"counters": counters, "values": np.array([self._ends.smallest, *self._drift])}
        for name, pairs in (("ends", self._ends.pairs), ("births", self._births)):
            parts |= {f"{name}_{field}": pairs[field].copy() for field in PAIR.names or ()}
        parts |= {f"track_{name}": array for name, array in self._histories.state().items()}
        if self._before is not None:
            parts |= {f"before_{name}": array for name, array in self._before.state().items()}
        return parts

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`; the events that follow are those an uninterrupted detector would give."""
        self._frame, self._held, started = (int(v) for v in state["counters"])
        self._ends.smallest, *drift = (float(v) for v in state["values"])
        self._drift = (drift[0], drift[1])
        for name in ("ends", "births"):
            pairs = np.zeros(len(state[f"{name}_lone"]), PAIR)
            for field in PAIR.names or ():
                pairs[field] = state[f"{name}_{field}"]
            if name == "ends":
                self._ends.pairs = pairs
            else:
                self._births = pairs
        self._histories.restore(_part(state, "track_"))
        self._before = Outlines.restored(_part(state, "before_")) if started else None


def _most(part: int, whole: int) -> bool:
    """Say whether `part` is more than half of more than ten particles."""
    return whole > 10 and 2 * part > whole


def _part(state: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the entries of `state` under a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def _in_order(events: list[Event]) -> tuple[Event, ...]:
    """Sort events by frame, kind and particles, so that their order never depends on how they were found."""
    return tuple(sorted(events, key=lambda e: (e.frame, e.kind, e.parents, e.children)))
