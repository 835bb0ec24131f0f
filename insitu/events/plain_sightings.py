"""The sightings of a frame written into the table of tracks, with numpy; `compiled_sightings` does the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Sightings = tuple[Ints, int, Floats, tuple[float, float]]
    Table = tuple[Floats, Ints, Floats, Floats, Ints, Ints]

RING = 8  # sightings kept of a track


def see(sightings: Sightings, table: Table) -> None:
    """Write the sightings of a frame, in place.

    Parameters
    ----------
    sightings : tuple
        Rows of the tracks, no two alike; the frame; (n, 4) y, x, area_px, border; the shift (y, x) of the stage in px.
    table : tuple of arrays
        Columns of `insitu.events.histories.Histories`: ring, seen, largest_area, border, absent, host.
    """
    rows, frame, columns, drift = sightings
    ring, seen, largest_area, border, absent, host = table
    before = seen[rows]
    ring[rows, before % RING, 0] = frame
    ring[rows, before % RING, 1:4] = columns[:, :3] - (*drift, 0.0)
    ring[rows, before % RING, 4:] = columns[:, :2]
    one, two, three = (ring[rows, (before - back) % RING, 3] for back in range(3))
    median = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
    # Below three sightings only the first counts, so that a later single one cannot stand for the largest.
    median = np.where(before >= 2, median, np.where(before == 0, one, 0.0))
    largest_area[rows] = np.maximum(largest_area[rows], median)
    border[rows] = columns[:, 3]
    seen[rows] = before + 1
    absent[rows] = 0
    host[rows] = 0
