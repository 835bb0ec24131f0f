"""Linker, event detector and identities as one: the only state of the engine that lives from frame to frame.

It sees used frames through `step` and unusable ones through `skip`; a bad or missing frame ends no track. Frames that
an open question (has this particle merged, or does it only touch?) may still change are held back, at most twice the
longer of `events.contact_frames` and `link.memory_frames`, plus `link.blank_frames`; what has been returned is final.
`state` belongs to the last frame returned: who goes on from there gives the held frames again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.apart import apart
from insitu.events import EventDetector
from insitu.events.identities import FOR_EVER, Identities
from insitu.link.linker import OptimalLinker
from insitu.options import MeasureOptions
from insitu.types import FrameResult, Particles, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from insitu.events.contacts import Contact
    from insitu.options import EventOptions, LinkOptions
    from insitu.types import Event, Frame, Measured

    State = dict[str, NDArray[Any]]


FRAMES_PER_TIDYING = 16


class Tracker:
    """Give the particles of each frame their identity and say what happened to them.

    Parameters
    ----------
    link, events : LinkOptions, EventOptions
    shape : tuple of int
        Height and width of the analysed region in camera px.
    frame_step : int, optional
        Difference of the indices of two successive frames.
    measuring : MeasureOptions, optional
        How particles are measured that are cut apart (``in_contact = "split"``).
    """

    def __init__(
        self,
        link: LinkOptions,
        events: EventOptions,
        shape: tuple[int, int],
        frame_step: int = 1,
        measuring: MeasureOptions | None = None,
    ) -> None:
        self._shape = shape
        self._link = link
        self._events = events
        self._frame_step = frame_step
        self._measuring = measuring or MeasureOptions()
        self._partings: list[tuple[Contact, int]] = []
        # An open contact is decided within the longer of these in used frames; there is room for as many that are not.
        self._most_held = 2 * max(link.memory_frames, events.contact_frames) + link.blank_frames
        self._last: tuple[int, float] | None = None
        self._linker = OptimalLinker(link, frame_step=frame_step)
        self._detector = EventDetector(events, shape, link.memory_frames, link.blank_frames)
        self._identities = Identities()
        self._held: deque[tuple[FrameResult, State]] = deque()
        self._settled: State | None = None

    def step(
        self, frame: Frame, measured: Measured, threshold: float | None, flags: tuple[str, ...]
    ) -> Iterator[FrameResult]:
        """Link the particles of a used frame; yield the frames that nothing can change any more, in order.

        Pixels of a frame that is held back are copied.
        """
        before = self._settled or self._now()
        particles = measured.particles
        happened: tuple[Event, ...] = ()
        if self._too_long_since_last(frame):
            self._identities = self._with_open_contacts(frame.index)
            self._linker.forget()
            happened = self._detector.interrupt(frame.index)
        ids = self._linker.step(frame.index, np.column_stack([particles.y, particles.x]))
        drift = self._linker.drift
        happened += self._decided(self._detector.step(frame.index, measured, ids, drift))
        self._linker.await_return(*self._detector.in_contact)
        for contact in self._detector.partings:
            self._identities.contact(contact.track, contact.begin, frame.index, contact.larger, only=contact.only)
            if self._events.in_contact == "split":
                self._partings.append((contact, frame.index))
            if contact.only:
                self._linker.drop(contact.track)
        result = FrameResult(
            frame=frame,
            runs=measured.runs,
            particles=particles,
            ids=ids,
            events=happened,
            n_small=measured.n_small,
            threshold=threshold,
            drift_px=drift,
            flags=(*flags, *measured.flags, *self._linker.flags, *self._detector.flags),
        )
        return self._hold(result, before)

    def skip(self, frame: Frame) -> Iterator[FrameResult]:
        """Account for a bad or missing frame: a row with its reason, nothing else."""
        result = FrameResult(
            frame=frame,
            runs=Runs.empty(self._shape),
            particles=Particles.empty(),
            ids=np.empty(0, np.int64),
            drift_px=self._linker.drift,
            flags=frame.flags,
        )
        return self._hold(result, self._settled or self._now())

    def flush(self) -> Iterator[FrameResult]:
        """Yield the frames still held when the movie ends; contacts nobody decided are composite."""
        if self._held:
            identities = self._with_open_contacts(FOR_EVER)
            while self._held:
                yield self._released(identities)

    def finish(self) -> tuple[Event, ...]:
        """Return what can be said at the end of the movie and was not said before."""
        return _told(self._detector.finish(), self._identities)

    def state(self) -> State:
        """Return everything needed to go on after the last frame returned, as named arrays."""
        return self._settled or self._now()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state returned by `state`, with the frame after the last one returned."""
        last = state["time.last"]
        self._last = (int(last[0]), float(last[1])) if len(last) else None
        self._held.clear()
        self._settled = None
        for part, keeper in self._keepers().items():
            keeper.restore({k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")})

    def _keepers(self) -> dict[str, OptimalLinker | EventDetector | Identities]:
        return {"link": self._linker, "events": self._detector, "names": self._identities}

    def _now(self) -> State:
        """Return the state after the last frame seen."""
        last = np.array([] if self._last is None else self._last, np.float64)
        parts = {part: keeper.state() for part, keeper in self._keepers().items()} | {"time": {"last": last}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def _hold(self, result: FrameResult, before: State) -> Iterator[FrameResult]:
        """Queue a result and return what is final; `before` is the state after the last frame returned."""
        self._settled = before
        self._held.append((result, self._now()))
        return self._final(result.frame.index)

    def _final(self, index: int) -> Iterator[FrameResult]:
        """Yield the held frames that no open question reaches, or that have waited too long, as of frame `index`."""
        while self._held:
            oldest = self._held[0][0].frame.index
            if oldest < self._detector.open_since:
                yield self._released(self._identities)
            elif len(self._held) > self._most_held:
                yield self._released(self._with_open_contacts(FOR_EVER))
            else:
                break
        if index // self._frame_step % FRAMES_PER_TIDYING == 0:
            # Not the oldest frame held: a run that goes on after a stop does not hold those it has already given.
            self._identities.forget(self._live(), index, min(self._detector.open_since, index + 1))
        if self._held and (image := self._held[-1][0].frame.image) is not None:
            result, after = self._held.pop()
            self._held.append((replace(result, frame=replace(result.frame, image=image.copy())), after))

    def _released(self, identities: Identities) -> FrameResult:
        """Take the oldest held frame and give its particles their names."""
        result, after = self._held.popleft()
        self._settled = after
        tracks = result.ids
        ids, composite = identities.at(result.frame.index, tracks)
        result = replace(result, ids=ids, events=_told(result.events, identities))
        if not composite.any():
            return result
        particles = replace(result.particles, composite=result.particles.composite | composite)
        result = replace(result, particles=particles)
        return self._apart(result, tracks, identities) if self._events.in_contact == "split" else result

    def _apart(self, result: FrameResult, tracks: NDArray[np.int64], identities: Identities) -> FrameResult:
        """Cut the particles apart that touch in a frame and have not merged."""
        index = result.frame.index
        self._partings = [(contact, end) for contact, end in self._partings if end > index]
        touching = [contact for contact, _ in self._partings if contact.begin <= index]
        if identities is not self._identities:
            touching += [contact for contact in self._detector.open_contacts() if contact.begin <= index]
        return apart(result, tracks, touching, identities.of, self._measuring)

    def _too_long_since_last(self, frame: Frame) -> bool:
        """Say whether the frames (or the time) without a used one are more than tracks may bridge; note this frame."""
        now = (frame.index, np.nan if frame.time_s is None else frame.time_s)
        last, self._last = self._last, now
        if last is None:
            return False
        seconds = now[1] - last[1]
        if self._link.max_gap_s is not None and np.isfinite(seconds):
            return bool(seconds > self._link.max_gap_s)
        return (now[0] - last[0]) // self._frame_step - 1 > self._link.max_gap_frames

    def _live(self) -> NDArray[np.int64]:
        """Return the ids of all tracks that may go on."""
        return np.union1d(self._linker.known, self._detector.known)

    def _with_open_contacts(self, end: int) -> Identities:
        """Return the identities as they are if nobody decides the contacts that are open now, up to frame `end`."""
        identities = self._identities.copy()
        for contact in self._detector.open_contacts():
            identities.contact(contact.track, contact.begin, end, contact.larger, only=contact.only)
        return identities

    def _decided(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Give the child of each coalescence its name; return the events, which still speak of tracks."""
        for event in events:
            if event.kind == "coalescence":
                track, frame = event.children[0], event.frame
                child = track
                if self._events.survivor == "larger":
                    child = self._identities.of(event.parents[0], frame - 1)
                elif self._detector.began(track) < frame:
                    child = self._linker.take_id()
                if child != self._identities.of(track, frame):
                    self._identities.name(track, frame, FOR_EVER, child)
        return events


def _told(events: tuple[Event, ...], names: Identities) -> tuple[Event, ...]:
    """Return events with the names of the particles in place of their tracks."""
    return tuple(
        replace(
            e,
            parents=tuple(names.of(p, e.frame - 1) for p in e.parents),
            children=tuple(names.of(c, e.frame) for c in e.children),
        )
        for e in events
    )
