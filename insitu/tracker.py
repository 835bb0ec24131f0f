"""Linker and event detector as one: the only state of the engine that lives from frame to frame.

It sees used frames through `step` and unusable ones through `skip`; a bad or missing frame ends no track. What it has
returned is final.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.events import EventDetector
from insitu.link.linker import OptimalLinker
from insitu.types import FrameResult, Particles, Runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from insitu.options import EventOptions, LinkOptions
    from insitu.types import Event, Frame, Measured


class Tracker:
    """Give the particles of each frame their identity and say what happened to them.

    Parameters
    ----------
    link, events : LinkOptions, EventOptions
    shape : tuple of int
        Height and width of the analysed region in camera px.
    frame_step : int, optional
        Difference of the indices of two successive frames.
    """

    def __init__(self, link: LinkOptions, events: EventOptions, shape: tuple[int, int], frame_step: int = 1) -> None:
        self._shape = shape
        self._link = link
        self._frame_step = frame_step
        self._last: tuple[int, float] | None = None
        self._linker = OptimalLinker(link, frame_step=frame_step)
        self._detector = EventDetector(events, shape, link.memory_frames, link.blank_frames)

    def step(self, frame: Frame, measured: Measured, threshold: float | None, flags: tuple[str, ...]) -> FrameResult:
        """Link the particles of a used frame and decide what its arrival makes certain."""
        particles = measured.particles
        ended: tuple[Event, ...] = ()
        if self._too_long_since_last(frame):
            self._linker.forget()
            ended = self._detector.interrupt(frame.index)
        ids = self._linker.step(frame.index, np.column_stack([particles.y, particles.x]))
        drift = self._linker.drift
        happened = ended + self._detector.step(frame.index, measured, ids, drift)
        return FrameResult(
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

    def skip(self, frame: Frame) -> FrameResult:
        """Account for a bad or missing frame: a row with its reason, nothing else."""
        return FrameResult(
            frame=frame,
            runs=Runs.empty(self._shape),
            particles=Particles.empty(),
            ids=np.empty(0, np.int64),
            drift_px=self._linker.drift,
            flags=frame.flags,
        )

    def finish(self) -> tuple[Event, ...]:
        """Return what can be said at the end of the movie and was not said before."""
        return self._detector.finish()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything needed to go on, as named arrays."""
        last = np.array([] if self._last is None else self._last, np.float64)
        parts = {"link": self._linker.state(), "events": self._detector.state(), "time": {"last": last}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state returned by `state`."""
        last = state["time.last"]
        self._last = (int(last[0]), float(last[1])) if len(last) else None
        for part, keeper in (("link", self._linker), ("events", self._detector)):
            keeper.restore({k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")})
