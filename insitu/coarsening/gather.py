"""One pass over the particles table: everything that the statistics of a run are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening import sums
from insitu.coarsening.families import families
from insitu.coarsening.source import frame_times
from insitu.coarsening.windows import TrackSums, Windows

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from insitu.coarsening.columns import Units
    from insitu.coarsening.source import StudyInfo, Tables
    from insitu.options import CoarseningOptions


FEWEST_WINDOWS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """A run, summed up.

    Attributes
    ----------
    windows : Windows
        The used frames in time windows.
    frames : dict
        `FrameSums.at` the used frames: arrays of shape (F,), px.
    records : dict
        `TrackSums.columns`: one record a track and window, px.
    histogram : SizeHistogram
        Sizes by window.
    family : int64 array
        Merge family of each particle id (connected components of the parent graph).
    events, tracks, frame_table : DataFrame
        As in the run.
    """

    info: StudyInfo
    options: CoarseningOptions
    windows: Windows
    frames: dict[str, NDArray[Any]]
    records: dict[str, NDArray[Any]]
    histogram: sums.SizeHistogram
    family: NDArray[np.int64]
    events: pd.DataFrame
    tracks: pd.DataFrame
    frame_table: pd.DataFrame

    @property
    def units(self) -> Units:
        """Units of the study."""
        return self.info.units


def gather(tables: Tables, options: CoarseningOptions) -> Gathered:
    """Read the rows of a run once, in bounded memory, and sum them up."""
    info = tables.info
    frame, time = frame_times(tables)
    # a curve through time needs several windows, the speed of a particle several sizes in each
    number = min(options.windows, max(len(frame) // options.window_frames, FEWEST_WINDOWS))
    windows = Windows.of(frame, time, number)
    by_frame = sums.FrameSums(info.region, info.bin, options.detection_radius_px)
    by_track = TrackSums(windows)
    histogram = sums.SizeHistogram(max(1, len(windows)))
    top = -1
    for batch in tables.particle_batches((*sums.NEEDS, "particle")):
        place = windows.place(batch["frame"])
        used = place >= 0  # rows of a frame that is flagged bad do not count
        rows, place = (batch, place) if used.all() else ({k: v[used] for k, v in batch.items()}, place[used])
        if not len(place):
            continue
        by_frame.add(rows)
        top = max(top, int(rows["particle"].max()))
        kept = np.flatnonzero(sums.measured(rows))
        r, w = sums.radius_px(rows["area_px"][kept]), sums.weights(rows, info.region, info.bin)[kept]
        by_track.add(place[kept], rows["particle"][kept], r, w)
        histogram.add(windows.window[place[kept]], r, w)
    events = tables.events
    return Gathered(
        info,
        options,
        windows,
        by_frame.at(windows.frame),
        by_track.columns(),
        histogram,
        families(events, top + 1),
        events,
        tables.tracks,
        tables.frames,
    )
