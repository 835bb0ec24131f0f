"""What the statistics are fed with: tables of a run, handed in, so that this package opens no folder.

`Run` fulfils `Tables` through `insitu.statistics`; `MemoryTables` holds DataFrames, for tests and generators.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from insitu.coarsening.columns import Units
from insitu.types import Calibration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

Rows = dict[str, "NDArray[Any]"]


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """What the numbers of a run refer to.

    Attributes
    ----------
    region : tuple of int
        Height and width of the analysed region in camera px.
    calibration : Calibration
        ``nm_per_px`` and ``s_per_frame`` are None where unknown.
    bin : int
        Camera px per analysed px.
    origin : tuple of int
        Camera pixel (y, x) of the region's first pixel.
    name : str
        Name of the run, for people.
    finished : bool
        False while the run is being written: there are no tracks yet.
    """

    region: tuple[int, int]
    calibration: Calibration = field(default_factory=Calibration)
    bin: int = 1
    name: str = ""
    finished: bool = True
    origin: tuple[int, int] = (0, 0)

    @property
    def units(self) -> Units:
        """Units of every length and time of the study."""
        return Units.of(self.calibration.nm_per_px, self.calibration.s_per_frame)


class Tables(Protocol):
    """The tables of one run. Columns are those of `insitu.schema`; pixel columns always exist."""

    @property
    def info(self) -> StudyInfo:
        """Region, calibration, name."""

    def particle_batches(self, columns: Sequence[str], frames: Sequence[int] | None = None) -> Iterator[Rows]:
        """Yield rows of ``particles`` in order of frame as numpy columns, in bounded memory.

        `frames`, sorted, selects rows of these frames only.
        """

    @property
    def tracks(self) -> pd.DataFrame:
        """One row a particle; empty while the run is being written."""

    @property
    def events(self) -> pd.DataFrame:
        """One row an event."""

    @property
    def frames(self) -> pd.DataFrame:
        """One row a frame, bad and missing ones included."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryTables:
    """Tables held in memory; `particles` is a mapping of columns (a DataFrame will do) in order of frame."""

    info: StudyInfo
    particles: Mapping[str, Any]
    tracks: pd.DataFrame
    events: pd.DataFrame
    frames: pd.DataFrame
    batch_rows: int = 131_072

    def particle_batches(self, columns: Sequence[str], frames: Sequence[int] | None = None) -> Iterator[Rows]:
        """Yield slices of the rows."""
        held = {name: np.asarray(self.particles[name]) for name in columns}
        kept = None
        if frames is not None:
            kept = np.flatnonzero(np.isin(np.asarray(self.particles["frame"]), np.asarray(frames)))
        n = len(np.asarray(self.particles["frame"])) if kept is None else len(kept)
        for a in range(0, n, self.batch_rows):
            rows = slice(a, a + self.batch_rows) if kept is None else kept[a : a + self.batch_rows]
            yield {name: values[rows] for name, values in held.items()}


def frame_times(tables: Tables) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the used frames, sorted, and the time of each in the study's unit (s, or the frame number itself)."""
    frames = tables.frames
    used = frames[(frames["status"] == "ok").to_numpy()]
    number = used["frame"].to_numpy(np.int64)
    time = number.astype(np.float64)
    if tables.info.calibration.s_per_frame is not None:
        known = used["time_s"].to_numpy(np.float64)
        time = np.where(np.isfinite(known), known, number * tables.info.calibration.s_per_frame)
    order = np.argsort(number, kind="stable")
    return number[order], time[order]
