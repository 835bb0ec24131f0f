"""``overlay.mp4`` and ``overlay.png``: the movie with what was found drawn into it, from a run folder and its source.

The still picture is drawn by `insitu.figures`, those of the movie by `insitu.report.painter`, which is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import figures
from insitu.errors import BadFrame, CommandError, InputError
from insitu.figures import Mark, Scene
from insitu.report import encoding
from insitu.report.encoding import write_mp4
from insitu.report.painter import Painter
from insitu.report.sensors import at, sensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.results import Run
    from insitu.types import Reader

MAX_FRAMES = 900
PLAYED_FPS = 30
GIF_BYTES = 5_000_000
# painted large enough for its words, then made small: the noise of a micrograph costs bytes that a GIF has not
_GIF_FPS, _GIF_FRAMES, _GIF_PAINTED_PX, _GIF_PX = 12, 160, 640, 400
_SHORTEST_S = 4  # a movie of a few frames is slowed down to last so long
_TAIL = 15  # shown frames: half a second
_MOST_MARKS = 20
_MEANING = ("mark", "coalescence", "splitting", "dissolution", "nucleation", "appearance")
_NO_PICTURE = 1  # counts of a frame whose movie is not there
_FLASH_S = 0.4  # played seconds an event is pointed at


@dataclass(frozen=True, slots=True)
class Made:
    """What was written: every `stride`-th frame of the run, `frames` in all, played at `fps`."""

    path: Path
    frames: int
    stride: int
    fps: int


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The particles of the shown frames: columns in frame order, and where each frame begins."""

    frame: NDArray[np.int64]
    particle: NDArray[np.int64]
    label: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]

    def of(self, frame: int) -> slice:
        """Return the rows of a frame."""
        first, last = np.searchsorted(self.frame, [frame, frame + 1])
        return slice(int(first), int(last))


class Overlay:
    """The pictures of a run.

    Parameters
    ----------
    run : Run
        With label images.
    reader : Reader or None
        The source of the run; without it the pictures are black, with what was found in them.
    frames : range
        Frames of the source that will be shown.
    flash : int
        Shown frames during which an event is pointed at.
    """

    def __init__(self, run: Run, reader: Reader | None, frames: range, flash: int = 12) -> None:
        about = run.info
        geometry = about["geometry"]
        self._reader, self._labels = reader, run.labels
        self._first, self._step = int(geometry["first_frame"]), int(geometry["step"])
        self.origin, self._bin = tuple(geometry["origin"]), int(geometry["bin"])
        self._calibration = run.calibration
        self.frames = frames
        self._flash_frames = frames.step * flash
        self._shape = int(about["source"]["height"]), int(about["source"]["width"])
        if reader is not None and (reader.info.height, reader.info.width) != self._shape:
            raise InputError(
                f"'{reader.info.path}' is not the movie of '{run.path}': its frames have another size",
                "give the movie that the run was made from",
            )
        wanted = run.particles.to_arrow(("frame", "particle", "label", "y", "x"), frames=frames)
        self._rows = Rows(*(wanted[name].to_numpy() for name in ("frame", "particle", "label", "y", "x")))
        self._sensors = sensors(run)[0]
        happened = run.events.to_arrow(("frame", "kind", "y", "x")).to_pylist()
        self._events = sorted((e["frame"], e["kind"], e["y"], e["x"]) for e in happened)

    def scene(self, frame: int) -> Scene:
        """Return what is shown of source frame `frame`; a frame that cannot be read is black and says so."""
        labels = np.asarray(self._labels[(frame - self._first) // self._step])
        labels = labels.repeat(self._bin, axis=0).repeat(self._bin, axis=1)
        image, remark = self._image(frame)
        y0, x0 = self.origin
        here = self._rows.of(frame)
        ids = np.zeros(int(self._rows.label[here].max(initial=0)), np.int64)
        ids[self._rows.label[here] - 1] = self._rows.particle[here]
        step = self._calibration.s_per_frame
        time = "" if step is None else f" · {frame * step:.3f} s"
        return Scene(
            image=image[y0 : y0 + labels.shape[0], x0 : x0 + labels.shape[1]],
            labels=labels,
            ids=ids,
            tails=self._tails(frame, ids),
            marks=[Mark(kind, y - y0, x - x0) for _, kind, y, x in self._recent(frame)],
            nm_per_px=self._calibration.nm_per_px,
            caption=f"frame {frame}{time}{remark}",
            notes=at(self._sensors, float(frame) if step is None else frame * step),
        )

    def ages(self, frame: int) -> list[float]:
        """Return how old each mark of the scene is, 0 (now) to 1 (about to go)."""
        return [(frame - at) / self._flash_frames for at, *_ in self._recent(frame)]

    def _recent(self, frame: int) -> list[tuple[int, str, float, float]]:
        """Return the events that are pointed at, the newest first; where many crowd, those that mean most."""
        recent = [e for e in reversed(self._events) if 0 <= frame - e[0] < self._flash_frames]
        if len(recent) <= _MOST_MARKS:
            return recent
        kept = sorted(recent, key=lambda e: _MEANING.index(e[1]) if e[1] in _MEANING else len(_MEANING))[:_MOST_MARKS]
        return [e for e in recent if e in kept]

    def _image(self, frame: int) -> tuple[NDArray[Any], str]:
        if self._reader is None:
            return np.full(self._shape, _NO_PICTURE, np.uint8), ""
        image = np.zeros(self._reader.info.shape, self._reader.info.dtype)
        try:
            if self._reader.header(frame).status == "missing":
                return image, " · missing"
            self._reader.read_into(frame, image)
        except BadFrame as bad:
            return np.zeros_like(image), f" · {bad.reason}"
        return image, ""

    def _tails(self, frame: int, ids: NDArray[np.int64]) -> dict[int, NDArray[np.float64]]:
        rows = slice(self._rows.of(frame - self.frames.step * _TAIL).start, self._rows.of(frame).stop)
        particle = self._rows.particle[rows]
        order = np.argsort(particle, kind="stable")
        places = np.stack([self._rows.y[rows], self._rows.x[rows]], axis=1)[order] - np.array(self.origin)
        names, starts = np.unique(particle[order], return_index=True)
        present = set(ids.tolist())
        pieces = np.split(places, starts[1:]) if len(names) else []
        return {int(n): piece for n, piece in zip(names, pieces, strict=True) if int(n) in present}


def write_movie(
    run: Run,
    reader: Reader,
    path: Path,
    *,
    max_frames: int = MAX_FRAMES,
    progress: Callable[[int], None] | None = None,
) -> Made:
    """Write the run as an H.264 movie: outlines by track, tails, events, scale bar where calibrated.

    Parameters
    ----------
    run : Run
    reader : Reader
        The run's source, opened.
    path : Path
        Where to write; replaced only once the movie is whole.
    max_frames : int
        A longer run is shown with a stride, which is written in the picture.
    progress : callable, optional
        Called with the number of frames drawn so far.

    Raises
    ------
    CommandError
        There is no ffmpeg, or the run has no frames.
    ResourceError
        ffmpeg could not write.
    """
    planes = _planes(run)
    stride = -(-planes // max_frames)
    frames = _shown(run, planes, stride)
    fps = min(PLAYED_FPS, max(1, len(frames) // _SHORTEST_S))
    overlay = Overlay(run, reader, frames, max(2, round(_FLASH_S * fps)))
    painter = Painter(overlay.scene(overlay.frames[0]), f"every {stride} frames" if stride > 1 else "")
    write_mp4(path, painter.size, fps, _pictures(overlay, painter, progress))
    return Made(path, len(overlay.frames), stride, fps)


def write_gif(run: Run, reader: Reader, path: Path, *, most_bytes: int = GIF_BYTES) -> Made:
    """Write the run as a GIF of at most `most_bytes`: as many frames, evenly spaced, as there is room for.

    Raises
    ------
    CommandError
        The run has no frames.
    ResourceError
        It cannot be written.
    """
    planes = _planes(run)
    room = min(planes, _GIF_FRAMES)
    while True:
        frames = _shown(run, planes, -(-planes // room))
        overlay = Overlay(run, reader, frames, max(2, round(_FLASH_S * _GIF_FPS)))
        stride = frames.step // int(run.info["geometry"]["step"])
        remark = f"every {stride} frames" if stride > 1 else ""
        painter = Painter(overlay.scene(frames[0]), remark, largest=_GIF_PAINTED_PX)
        probe = _pictures(overlay, painter, None, (frames[0], frames[-1]))
        wanted = int(most_bytes * 0.95 / (len(encoding.gif(_GIF_FPS, probe, _GIF_PX)) / 2))
        if wanted >= len(frames) or len(frames) <= 2:
            break
        room = max(2, min(wanted, len(frames) - 1))
    encoding.write_gif(path, _GIF_FPS, _pictures(overlay, painter, None), _GIF_PX)
    return Made(path, len(frames), stride, _GIF_FPS)


def write_still(run: Run, reader: Reader, path: Path, frame: int | None = None) -> int:
    """Write one frame of a run as PNG and return its number: by default one in which a coalescence is fresh."""
    planes = int(run.labels.shape[0])
    frames = _shown(run, planes, 1)
    if frame is None:
        happened = run.events.to_arrow(("frame", "kind", "touches_edge")).to_pylist()
        merged = [e for e in happened if e["kind"] == "coalescence" and e["frame"] in frames]
        # one that is wholly in the picture tells more
        merges = [e["frame"] for e in sorted(merged, key=lambda e: (e["touches_edge"], e["frame"]))]
        frame = merges[0] if merges else frames[len(frames) // 2]
    overlay = Overlay(run, reader, range(frames[max(0, frames.index(frame) - _TAIL)], frame + 1, frames.step))
    figures.overlay(path, overlay.scene(frame))
    return frame


def source_of(run: Run, given: str | Path | None = None) -> Reader:
    """Open the movie of a run, where the run found it or where it is `given` to be now.

    Raises
    ------
    InputError
        It cannot be read there.
    """
    from insitu.read import open_source

    return open_source(given if given is not None else str(run.path / str(run.info["source"]["path"])))


def _planes(run: Run) -> int:
    planes = int(run.labels.shape[0])
    if planes == 0:
        raise CommandError(f"'{run.path}' has no frames to show", "let the run get further: insitu run … --resume")
    return planes


def _shown(run: Run, planes: int, stride: int) -> range:
    """Return every `stride`-th of the run's frames, in numbers of the source."""
    geometry = run.info["geometry"]
    first, step = int(geometry["first_frame"]), int(geometry["step"])
    return range(first, first + planes * step, step * stride)


def _pictures(
    overlay: Overlay,
    painter: Painter,
    progress: Callable[[int], None] | None,
    frames: Sequence[int] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    for k, frame in enumerate(overlay.frames if frames is None else frames, 1):
        yield painter(overlay.scene(frame), overlay.ages(frame))
        if progress:
            progress(k)
