"""A simulated movie as a TIFF stack that Fiji and this package read with its calibration, written frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from insitu.simulate.movie import Simulation

CLASSIC_LIMIT = 4 * 10**9 - 2**26
"""Bytes of pixels from which 32-bit offsets no longer suffice, with room for the directories."""


def write_tiff(simulation: Simulation, path: str | Path, progress: Callable[[int], None] | None = None) -> Path:
    """Write all frames to one ImageJ TIFF, or to one OME BigTIFF where 4 GB do not suffice.

    Pixel size (µm, as both formats have it) and frame interval (s) are stored in either case. One frame is in memory.

    Parameters
    ----------
    simulation : Simulation
    path : path
        Overwritten when it exists.
    progress : callable, optional
        Called with the number of frames written so far.

    Returns
    -------
    Path
        `path`.
    """
    import tifffile

    s = simulation.settings
    size = s.frames * s.shape[0] * s.shape[1] * np.dtype(s.dtype).itemsize
    big = size > CLASSIC_LIMIT
    um_per_px = 1e-3 * s.nm_per_px
    per_unit = (1e4 if big else 1.0) / um_per_px
    if big:
        metadata = {
            "axes": "TYX",
            "PhysicalSizeX": um_per_px,
            "PhysicalSizeY": um_per_px,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeYUnit": "µm",
            "TimeIncrement": s.s_per_frame,
            "TimeIncrementUnit": "s",
        }
    else:
        metadata = {"axes": "TYX", "unit": "um", "finterval": s.s_per_frame, "fps": s.fps, "tunit": "s"}

    def pages() -> Iterator[NDArray[Any]]:
        for index in range(len(simulation)):
            yield simulation.frame(index)
            if progress is not None:
                progress(index + 1)

    with tifffile.TiffWriter(path, bigtiff=big, ome=big, imagej=not big) as file:
        file.write(
            pages(),
            shape=(s.frames, *s.shape),
            dtype=s.dtype,
            photometric="minisblack",
            # OME states the unit of the tag; ImageJ reads pixels per its own unit
            resolution=(per_unit, per_unit),
            resolutionunit="CENTIMETER" if big else "NONE",
            metadata=metadata,
        )
    return Path(path)
