"""The statistics of run folders: their tables handed to `insitu.coarsening`, the result written beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from insitu.coarsening.source import StudyInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from insitu.coarsening.source import Rows
    from insitu.results import Run

STRETCH_ROWS = 131_072


@dataclass(frozen=True, slots=True, eq=False)
class RunTables:
    """A run as `insitu.coarsening.source.Tables`."""

    run: Run

    @property
    def info(self) -> StudyInfo:
        """Region, calibration, name."""
        geometry = self.run.info["geometry"]
        height, width = geometry["region"]
        name = self.run.path.name.removesuffix(".insitu")
        return StudyInfo((int(height), int(width)), self.run.calibration, int(geometry["bin"]), name, self.run.finished)

    def particle_batches(self, columns: Sequence[str], frames: Sequence[int] | None = None) -> Iterator[Rows]:
        """Yield rows in order of frame; a stretch of frames at a time, since arrow reads far ahead within one scan."""
        if frames is not None:
            yield from self._read(columns, frames)
            return
        geometry = self.run.info["geometry"]
        first, step = int(geometry["first_frame"]), int(geometry["step"])
        planes = sum(self.run.counts[status] for status in ("ok", "bad", "missing"))
        stretch = max(1, STRETCH_ROWS * planes // max(1, len(self.run.particles))) * step
        for start in range(first, first + planes * step, stretch):
            yield from self._read(columns, range(start, start + stretch))

    def _read(self, columns: Sequence[str], frames: Sequence[int]) -> Iterator[Rows]:
        for batch in self.run.particles.batches(columns, frames=frames):
            yield {name: batch[name].to_numpy(zero_copy_only=False) for name in columns}

    @property
    def tracks(self) -> pd.DataFrame:
        """One row a particle."""
        return self.run.tracks.to_pandas()

    @property
    def events(self) -> pd.DataFrame:
        """One row an event."""
        return self.run.events.to_pandas()

    @property
    def frames(self) -> pd.DataFrame:
        """One row a frame."""
        return self.run.frames.to_pandas()
