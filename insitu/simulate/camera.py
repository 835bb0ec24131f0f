"""A camera that writes files while the experiment runs: what a program that watches a folder meets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from insitu.simulate.movie import Simulation

Layout = Literal["flat", "seconds"]


def frame_path(folder: Path, index: int, fps: float, layout: Layout) -> Path:
    """Return where the camera puts frame `index`: in one folder, or in one folder a second of the movie."""
    if layout == "flat":
        return folder / f"frame_{index:06d}.tif"
    second = int(index / fps)
    return folder / f"second_{second:04d}" / f"frame_{index - round(second * fps):04d}.tif"


def drop_frames(
    simulation: Simulation,
    folder: str | Path,
    fps: float | None = None,
    layout: Layout = "flat",
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Write the frames one by one at the pace of a camera, each as a TIFF of its own, under its final name.

    Parameters
    ----------
    simulation : Simulation
    folder : path
        Made when absent; must not hold frames already.
    fps : float, optional
        Pace of writing; the movie's own when absent. A frame that is late is written at once, none is left out.
    layout : {"flat", "seconds"}
        One folder, or one folder a second.
    clock, sleep : callable
        Time in s and how to wait, for tests.

    Returns
    -------
    float
        Largest delay behind the pace in s.

    Raises
    ------
    CommandError
        The folder is not empty, or the pace is not positive.
    """
    import tifffile

    folder, pace = Path(folder), simulation.settings.fps if fps is None else fps
    if pace <= 0.0:
        raise CommandError(f"camera pace of {pace} frames/s", "give --camera a positive number of frames per second")
    if folder.is_dir() and any(folder.iterdir()):
        raise CommandError(f"{folder} is not empty", "give the camera a new folder")
    nm_per_px, start, late = simulation.settings.nm_per_px, clock(), 0.0
    for index in range(len(simulation)):
        image = simulation.frame(index)
        wait = start + index / pace - clock()
        if wait > 0.0:
            sleep(wait)
        late = max(late, -wait)
        path = frame_path(folder, index, simulation.settings.fps, layout)
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            path,
            image,
            imagej=True,
            resolution=(1e3 / nm_per_px, 1e3 / nm_per_px),
            resolutionunit="NONE",
            metadata={"unit": "um"},
        )
    return late
