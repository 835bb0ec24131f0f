"""The frames of a unit that is not committed yet, and their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from insitu.store.labels import plane_shape
from insitu.store.rows import Clock, event_columns, frame_columns, particle_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from insitu.types import Event, FrameResult, RunInfo


class Waiting:
    """The frames of a unit that is not committed yet."""

    def __init__(self, info: RunInfo) -> None:
        self.clock = Clock(info.calibration, step=info.step)
        self.results: list[FrameResult] = []
        self._times: list[float | None] = []
        height, width = plane_shape(info)
        self._region_px = height * width * info.bin**2

    def __len__(self) -> int:
        return len(self.results)

    def add(self, result: FrameResult) -> None:
        """Take the next frame."""
        self.results.append(result)
        self._times.append(self.clock.see(result.frame))

    def clear(self) -> None:
        """Forget the frames; their times are kept for events that are decided later."""
        self.results.clear()
        self._times.clear()

    def columns(self, extra: Sequence[Event], first_event: int) -> dict[str, Mapping[str, Any]]:
        """Return the rows of each table; `extra` events were decided after the last frame."""
        events = [e for r in self.results for e in r.events] + list(extra)
        return {
            "particles": particle_columns(self.results, self._times) if self.results else {},
            "events": event_columns(events, first_event, self.clock) if events else {},
            "frames": frame_columns(self.results, self._times, self._region_px) if self.results else {},
        }
