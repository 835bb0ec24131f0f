"""``overlay.mp4`` and ``overlay.png``: the movie with what was found drawn into it, from a run folder and its source.

The still picture is drawn by `insitu.figures`, those of the movie by `insitu.report.painter`, which is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import figures
from insitu.errors import BadFrame, CommandError, InputError, ResourceError
from insitu.figures import Mark, Scene
from insitu.report.painter import Painter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.results import Run
    from insitu.types import Reader

MAX_FRAMES = 900
PLAYED_FPS = 30
_SHORTEST_S = 4  # a movie of a few frames is slowed down to last so long
_TAIL = 15  # shown frames: half a second
_MOST_MARKS = 20
_MEANING = ("mark", "coalescence", "splitting", "dissolution", "nucleation", "appearance")
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
    reader : Reader
        The source of the run.
    frames : range
        Frames of the source that will be shown.
    flash : int
        Shown frames during which an event is pointed at.
    """

    def __init__(self, run: Run, reader: Reader, frames: range, flash: int = 12) -> None:
        about = run.info
        geometry = about["geometry"]
        self._reader, self._labels = reader, run.labels
        self._first, self._step = int(geometry["first_frame"]), int(geometry["step"])
        self._origin, self._bin = tuple(geometry["origin"]), int(geometry["bin"])
        self._calibration = run.calibration
        self.frames = frames
        self._flash_frames = frames.step * flash
        if (reader.info.height, reader.info.width) != (about["source"]["height"], about["source"]["width"]):
            raise InputError(
                f"'{reader.info.path}' is not the movie of '{run.path}': its frames have another size",
                "give the movie that the run was made from",
            )
        wanted = run.particles.to_arrow(("frame", "particle", "label", "y", "x"), frames=frames)
        self._rows = Rows(*(wanted[name].to_numpy() for name in ("frame", "particle", "label", "y", "x")))
        happened = run.events.to_arrow(("frame", "kind", "y", "x")).to_pylist()
        self._events = sorted((e["frame"], e["kind"], e["y"], e["x"]) for e in happened)

    def scene(self, frame: int) -> Scene:
        """Return what is shown of source frame `frame`; a frame that cannot be read is black and says so."""
        labels = np.asarray(self._labels[(frame - self._first) // self._step])
        labels = labels.repeat(self._bin, axis=0).repeat(self._bin, axis=1)
        image, remark = self._image(frame)
        y0, x0 = self._origin
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
        places = np.stack([self._rows.y[rows], self._rows.x[rows]], axis=1)[order] - np.array(self._origin)
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
    planes = int(run.labels.shape[0])
    if planes == 0:
        raise CommandError(f"'{run.path}' has no frames to show", "let the run get further: insitu run … --resume")
    stride = -(-planes // max_frames)
    frames = _shown(run, planes, stride)
    fps = min(PLAYED_FPS, max(1, len(frames) // _SHORTEST_S))
    overlay = Overlay(run, reader, frames, max(2, round(_FLASH_S * fps)))
    painter = Painter(overlay.scene(overlay.frames[0]), f"every {stride} frames" if stride > 1 else "")
    _encode(path, painter.size, fps, _pictures(overlay, painter, progress))
    return Made(path, len(overlay.frames), stride, fps)


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


def _shown(run: Run, planes: int, stride: int) -> range:
    """Return every `stride`-th of the run's frames, in numbers of the source."""
    geometry = run.info["geometry"]
    first, step = int(geometry["first_frame"]), int(geometry["step"])
    return range(first, first + planes * step, step * stride)


def _pictures(
    overlay: Overlay, painter: Painter, progress: Callable[[int], None] | None
) -> Iterator[NDArray[np.uint8]]:
    for k, frame in enumerate(overlay.frames, 1):
        yield painter(overlay.scene(frame), overlay.ages(frame))
        if progress:
            progress(k)


def _encode(path: Path, size: tuple[int, int], fps: int, pictures: Iterator[NDArray[np.uint8]]) -> None:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise CommandError("no ffmpeg to write a movie with", "pip install imageio-ffmpeg") from error
    partial = path.with_name(f"{path.stem}.tmp{path.suffix}")
    writer = imageio_ffmpeg.write_frames(
        str(partial),
        (size[1], size[0]),
        fps=fps,
        codec="libx264",
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-preset", "veryfast", "-crf", "21", "-movflags", "+faststart"],
    )
    try:
        writer.send(None)
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
        writer.close()
        partial.replace(path)
    except OSError as error:
        raise ResourceError(f"cannot write '{path}': {error}", "free some space, or choose another folder") from error
    finally:
        writer.close()
        partial.unlink(missing_ok=True)
