"""A camera that writes files while the experiment runs: what a program that watches a folder meets."""

from __future__ import annotations

import io
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.errors import CommandError
from insitu.simulate.writing import Way, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from insitu.simulate.movie import Simulation

Layout = Literal["flat", "seconds", "gatan"]
Growing = Literal["growing-tiff", "growing-mrc"]


@dataclass(frozen=True, slots=True)
class Manner:
    """What a camera and the way from it to the disk do to a movie.

    Attributes
    ----------
    way : {"whole", "slow", "chunked", "rename", "allocated"}
        How a file is written (`insitu.simulate.writing`).
    gaps : float
        Share of frames that are never written.
    disorder : int
        Frames within which files arrive in any order; 1 = in order.
    seed : int
        Of gaps and disorder.
    """

    way: Way = "whole"
    gaps: float = 0.0
    disorder: int = 1
    seed: int = 0

    def order(self, frames: int) -> list[int]:
        """Return the frames that are written, in order of their arrival; the first and the last always are."""
        rng = np.random.default_rng(self.seed)
        kept = [k for k in range(frames) if rng.random() >= self.gaps or k in {0, frames - 1}]
        step = max(1, self.disorder)
        mixed = [rng.permutation(kept[first : first + step]) for first in range(0, len(kept), step)]
        return [int(k) for part in mixed for k in part]


def frame_path(folder: Path, index: int, fps: float, layout: Layout) -> Path:
    """Return where the camera puts frame `index`: in one folder, or in one folder a second of the movie."""
    if layout == "flat":
        return folder / f"frame_{index:06d}.tif"
    second = int(index / fps)
    number = index - round(second * fps)
    if layout == "seconds":
        return folder / f"second_{second:04d}" / f"frame_{number:04d}.tif"
    parts = (f"Hour_{second // 3600:02d}", f"Minute_{second // 60 % 60:02d}", f"Second_{second % 60:02d}")
    return folder.joinpath(*parts) / f"{folder.name}_{'_'.join(parts)}_Frame_{number:04d}.tif"


def drop_frames(
    simulation: Simulation,
    folder: str | Path,
    fps: float | None = None,
    layout: Layout = "flat",
    manner: Manner | None = None,
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
    layout : {"flat", "seconds", "gatan"}
        One folder, one folder a second, or folders by hour, minute and second as Gatan cameras make them.
    manner : Manner, optional
        What goes wrong on the way to the disk; nothing by default.
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
    folder, pace = Path(folder), simulation.settings.fps if fps is None else fps
    manner = manner or Manner()
    _check(folder, pace)
    late = 0.0
    beat = _Beat(pace, clock, sleep)
    for position, index in enumerate(manner.order(len(simulation))):
        data = _tiff(simulation.frame(index), simulation.settings.nm_per_px)
        late = max(late, beat.wait(position))
        path = frame_path(folder, index, simulation.settings.fps, layout)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data, manner.way, 0.5 / pace, sleep)
    return late


def grow_file(
    simulation: Simulation,
    path: Path,
    fps: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Append the frames to one file at the pace of a camera: to an MRC where it is named so, else to a TIFF.

    Returns the largest delay behind the pace in s; raises as `drop_frames`.
    """
    _check(path.parent / path.name, fps)
    beat = _Beat(fps, clock, sleep)
    append = _growing_mrc if path.suffix == ".mrc" else _growing_tiff
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (simulation.frame(index) for index in range(len(simulation)))
    return max((beat.wait(k) for k, _ in enumerate(append(path, frames, simulation))), default=0.0)


class _Beat:
    """The pace of a camera."""

    def __init__(self, pace: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._pace, self._clock, self._sleep = pace, clock, sleep
        self._start = clock()

    def wait(self, position: int) -> float:
        """Wait until it is time for a frame; return how late it is already, in s."""
        wait = self._start + position / self._pace - self._clock()
        if wait > 0.0:
            self._sleep(wait)
        return max(0.0, -wait)


def _check(place: Path, pace: float) -> None:
    if pace <= 0.0:
        raise CommandError(f"camera pace of {pace} frames/s", "give --camera a positive number of frames per second")
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise CommandError(f"{place} is not empty", "give the camera a new folder")


def _tiff(image: NDArray[Any], nm_per_px: float) -> bytes:
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, image, **_scale(nm_per_px), imagej=True)
    return file.getvalue()


def _scale(nm_per_px: float) -> dict[str, Any]:
    px_per_um = 1e3 / nm_per_px
    return {"resolution": (px_per_um, px_per_um), "resolutionunit": "NONE", "metadata": {"unit": "um"}}


def _growing_tiff(path: Path, frames: Iterator[NDArray[Any]], simulation: Simulation) -> Iterator[None]:
    """Write a page after the other, each on the disk before the next; the first says what ImageJ says of a stack."""
    import tifffile

    s = simulation.settings
    said = f"ImageJ=1.11a\nunit=um\nfinterval={s.s_per_frame}\nfps={s.fps}\n"
    how = _scale(s.nm_per_px) | {"metadata": None}
    with path.open("wb") as file, tifffile.TiffWriter(file) as writer:
        for k, image in enumerate(frames):
            yield
            writer.write(image, contiguous=False, description=said if k == 0 else None, photometric="minisblack", **how)
            file.flush()


def _growing_mrc(path: Path, frames: Iterator[NDArray[Any]], simulation: Simulation) -> Iterator[None]:
    """Write section after section; the header counts them only at the end, as cameras do."""
    s = simulation.settings
    height, width = s.shape
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, width, height, 0, 6)
    struct.pack_into("<3i3f", head, 28, width, height, 1, 10 * s.nm_per_px * width, 10 * s.nm_per_px * height, 1.0)
    head[208:216] = b"MAP \x44\x44\0\0"
    with path.open("wb") as file:
        file.write(head)
        for image in frames:
            yield
            file.write(image.astype("<u2").tobytes())
            file.flush()
        file.seek(8)
        file.write(struct.pack("<i", s.frames))
