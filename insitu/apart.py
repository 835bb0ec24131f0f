"""Rows of several particles in contact, replaced by a row each: their common outline is cut at the neck."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from insitu.measure import measure
from insitu.runs.cut import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from insitu.events.contacts import Contact
    from insitu.options import MeasureOptions
    from insitu.types import FrameResult, Runs


def apart(
    result: FrameResult,
    tracks: NDArray[np.int64],
    contacts: Sequence[Contact],
    name: Callable[[int, int], int],
    options: MeasureOptions,
) -> FrameResult:
    """Give each of the particles in contact its own row, label and id.

    Parameters
    ----------
    result : FrameResult
        With the names of the particles as ids.
    tracks : int64 array of shape (n,)
        The linker's track of each row.
    contacts : sequence of Contact
        Those that hold in this frame. One that cannot be cut (a particle would get no pixel, or would be there twice)
        is left as it is.
    name : callable
        Returns what a track is called in a frame.
    options : MeasureOptions
    """
    runs, columns = result.runs, np.column_stack([tracks, result.ids, result.particles.composite])
    for track in dict.fromkeys(c.track for c in contacts):
        members = {m[0]: (m[1:], name(m[0], c.begin - 1)) for c in contacts if c.track == track for m in c.members}
        names = [called for _, called in members.values()]
        row = np.flatnonzero(columns[:, 0] == track)
        if len(row) == 0 or len(set(names)) < len(names):
            continue
        if not set(np.delete(columns[:, 1], row).tolist()).isdisjoint(names):
            continue
        found = _cut(runs, int(row[0]) + 1, np.array([place for place, _ in members.values()]))
        if found is None:
            continue
        runs, number, parts = found
        kept = number > 0
        renumbered = np.zeros((runs.n_labels, 3), np.int64)
        renumbered[number[kept] - 1] = columns[kept]
        renumbered[parts - 1] = [(-1, called, False) for called in names]
        columns = renumbered
    if runs is result.runs:
        return result
    # Every part stays as it is, also one below the smallest area: it was a particle before.
    measured = measure(runs, replace(options, min_area_px=1, split="none"))
    particles = replace(measured.particles, composite=columns[:, 2].astype(np.bool_))
    return replace(result, runs=measured.runs, particles=particles, ids=columns[:, 1].copy())


def _cut(
    runs: Runs, label: int, members: NDArray[np.float64]
) -> tuple[Runs, NDArray[np.int32], NDArray[np.int32]] | None:
    """Cut one label among particles, given by y, x (px of the camera) and area (px²)."""
    centres = (members[:, :2] - runs.origin - (runs.bin - 1) / 2) / runs.bin
    return cut(runs, label, centres, members[:, 2] / runs.bin**2)
