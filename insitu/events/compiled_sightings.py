"""The sightings of a frame written into the table of tracks, compiled: the numbers of `plain_sightings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insitu.compiling import kernel
from insitu.events.plain_sightings import RING

if TYPE_CHECKING:
    from insitu.events.plain_sightings import Sightings, Table


@kernel
def see(sightings: Sightings, table: Table) -> None:
    """Write the sightings of a frame, in place."""
    rows, frame, columns, drift = sightings
    ring, seen, largest_area, border, absent, host = table
    for i in range(len(rows)):
        r = rows[i]
        n = seen[r]
        y, x, area = columns[i, 0], columns[i, 1], columns[i, 2]
        last = ring[r, n % RING]
        last[0], last[1], last[2], last[3], last[4], last[5] = frame, y - drift[0], x - drift[1], area, y, x
        median = area if n == 0 else 0.0
        if n >= 2:
            two, three = ring[r, (n - 1) % RING, 3], ring[r, (n - 2) % RING, 3]
            median = max(min(area, two), min(max(area, two), three))
        largest_area[r] = max(largest_area[r], median)
        border[r] = columns[i, 3]
        seen[r] = n + 1
        absent[r] = 0
        host[r] = 0
