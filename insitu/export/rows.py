"""The rows of a run frame by frame, in bounded memory."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from insitu.results import Run

STRETCH_ROWS = 131_072
Columns = dict[str, "NDArray[Any]"]


def record_batches(run: Run, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield rows of the particles table in order of frame.

    A stretch of frames at a time: arrow reads far ahead within what it is asked for (some 2 million rows).
    """
    geometry = run.info["geometry"]
    first, step = int(geometry["first_frame"]), int(geometry["step"])
    planes = sum(run.counts[status] for status in ("ok", "bad", "missing"))
    stretch = max(1, STRETCH_ROWS * planes // max(1, len(run.particles))) * step
    for start in range(first, first + planes * step, stretch):
        yield from run.particles.batches(columns, frames=range(start, start + stretch))


def batches(run: Run, columns: Sequence[str]) -> Iterator[Columns]:
    """Yield rows of the particles table, in order of frame, as columns of arrays."""
    for batch in record_batches(run, columns):
        yield {name: batch[name].to_numpy(zero_copy_only=False) for name in columns}


def by_frame(run: Run, columns: Sequence[str]) -> Iterator[tuple[int, Columns]]:
    """Yield each frame that has particles, with its rows."""
    held: Columns | None = None
    for batch in batches(run, ["frame", *(c for c in columns if c != "frame")]):
        rows = batch if held is None else {n: np.concatenate([held[n], v]) for n, v in batch.items()}
        frames = rows["frame"]
        starts = np.flatnonzero(np.append(True, frames[1:] != frames[:-1]))
        for a, b in pairwise(starts.tolist()):
            yield int(frames[a]), {n: v[a:b] for n, v in rows.items()}
        # The last frame of a batch may go on in the next one.
        held = {n: v[starts[-1] :] for n, v in rows.items()}
    if held is not None and len(held["frame"]):
        yield int(held["frame"][0]), held


def shape_of(run: Run) -> tuple[int, int]:
    """Return height and width of the source's frames in camera px."""
    source = run.info["source"]
    return int(source["height"]), int(source["width"])
