"""From the results of frames to the columns of tables."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.types import Particles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from insitu.types import Calibration, Event, Frame, FrameResult

Columns = dict[str, Any]

_MEASURED = tuple(f.name for f in fields(Particles))


class Clock:
    """Start of exposure of each frame in s since frame 0: the source's own where it has one, else index × frame time.

    Events are decided some frames after they happened, so times of the last `memory` frames, `step` apart, are kept
    where they do not follow from the frame time.
    """

    def __init__(self, calibration: Calibration, memory: int = 4096, step: int = 1) -> None:
        self._frame_time = calibration.s_per_frame
        self.memory, self._step = memory, step
        self._known: OrderedDict[int, float] = OrderedDict()

    def see(self, frame: Frame) -> float | None:
        """Return the time of a frame, and remember it."""
        own = frame.time_s if frame.time_s is not None else frame.header.time_s
        if own is None:
            return self.time(frame.index)
        self.remember(frame.index, float(own))
        return float(own)

    def remember(self, index: int, time_s: float) -> None:
        """Keep the time of a frame."""
        if time_s == self._regular(index):
            return
        self._known[index] = time_s
        while self._known and next(iter(self._known)) <= index - self.memory * self._step:
            self._known.popitem(last=False)

    def time(self, index: int) -> float | None:
        """Return the time of a frame seen before, or what the frame time gives; None while unknown."""
        return self._known.get(index, self._regular(index))

    def _regular(self, index: int) -> float | None:
        return None if self._frame_time is None else index * self._frame_time


def particle_columns(results: Sequence[FrameResult], times: Sequence[float | None]) -> Columns:
    """Return the rows of ``particles`` of some frames (`times` in s, one a frame)."""
    counts = [len(r.particles) for r in results]
    columns: Columns = {
        "frame": np.repeat(np.array([r.frame.index for r in results], np.int32), counts),
        "time_s": np.repeat(np.array(times, np.float64), counts),
        "particle": _joined([r.ids for r in results], np.int64),
    }
    for name in _MEASURED:
        columns[name] = np.concatenate([getattr(r.particles, name) for r in results]) if results else np.empty(0)
    return columns


def _joined(arrays: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype)


def event_columns(events: Sequence[Event], first: int, clock: Clock) -> Columns:
    """Return the rows of ``events``, numbered from `first` in the order given, which is the order of decision."""
    numbers = ("gap_px", "approach_px_per_frame", "volume_balance")
    plain = ("frame", "decided_frame", "kind", "y", "x", "parents", "children", "parent_areas_px", "child_areas_px")
    rest = ("contact_frame", "touches_edge", "confidence", "note")
    columns: Columns = {name: [getattr(e, name) for e in events] for name in (*plain, *rest)}
    columns["event"] = np.arange(first, first + len(events), dtype=np.int64)
    columns["time_s"] = np.array([clock.time(e.frame) for e in events], np.float64)
    for name in numbers:
        # a quantity the kind of event does not have is None, stored as NaN
        columns[name] = np.array([getattr(e, name) for e in events], np.float64)
    return columns


def frame_columns(results: Sequence[FrameResult], times: Sequence[float | None], region_px: int) -> Columns:
    """Return the rows of ``frames``; `region_px` is the analysed area in camera px².

    Frames that could not be used have NaN where a mean over their pixels or particles would stand.
    """
    frames = [r.frame for r in results]
    return {
        "frame": [f.index for f in frames],
        "time_s": list(times),
        "timestamp_utc": [f.header.timestamp_utc for f in frames],
        "exposure_s": [f.header.exposure_s for f in frames],
        "source": [_text(f.header.source) for f in frames],
        "source_number": [f.header.source_number for f in frames],
        "status": [f.status for f in frames],
        "flags": [list(dict.fromkeys((*r.frame.flags, *r.flags))) for r in results],
        "n_particles": [len(r.particles) for r in results],
        "n_small": [r.n_small for r in results],
        "area_fraction": [_area_fraction(r, region_px) for r in results],
        "mean_equivalent_diameter_px": [_mean_diameter(r.particles) for r in results],
        "drift_y_px": [r.drift_px[0] for r in results],
        "drift_x_px": [r.drift_px[1] for r in results],
        "threshold": [r.threshold for r in results],
    }


def _text(name: str) -> str:
    """Return a file name as tables can hold it: bytes that are no UTF-8 appear as escapes."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


def _area_fraction(result: FrameResult, region_px: int) -> float:
    if result.frame.status != "ok":
        return float("nan")
    return int(result.particles.area_px.sum(dtype=np.int64)) / region_px


def _mean_diameter(particles: Particles) -> float:
    inside = particles.equivalent_diameter_px[~(particles.touches_edge | particles.composite)]
    return float(inside.mean()) if len(inside) else float("nan")
