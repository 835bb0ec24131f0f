"""``overlay.mp4`` and ``overlay.png``: the movie with what was found drawn into it, from a run folder and its source.

Drawn with numpy and Pillow, 10 ms a frame; matplotlib draws only the still picture (`insitu.figures`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import figures
from insitu.errors import BadFrame, CommandError, InputError, ResourceError
from insitu.figures import Mark, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from insitu.results import Run
    from insitu.types import Reader

Box = tuple[float, float, float, float]

MAX_FRAMES = 900
PLAYED_FPS = 30
_SHORTEST_S = 4  # a movie of a few frames is slowed down to last so long
_TAIL = 15  # shown frames: half a second
_FLASH_S = 0.4  # played seconds an event is pointed at
_LARGE, _SMALL = 1280, 400  # larger pictures are halved until they are not, smaller ones doubled
_STRIP = 34


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
        """Return the events that are pointed at, the newest first."""
        return [e for e in reversed(self._events) if 0 <= frame - e[0] < self._flash_frames]

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


class Painter:
    """Draws scenes of one movie as RGB pictures of one size.

    Parameters
    ----------
    scene : Scene
        The first one: it decides grey levels and size for all.
    remark : str
        Written beside the caption of every picture.
    """

    def __init__(self, scene: Scene, remark: str = "") -> None:
        height, width = scene.image.shape
        self._remark = remark
        self._range = figures.display_range(scene.image)
        self._reduce = -(-max(height, width) // _LARGE)
        self._enlarge = -(-_SMALL // max(height, width)) if max(height, width) < _SMALL else 1
        self.zoom = self._enlarge / self._reduce
        even = [2 * (-(-side // self._reduce) * self._enlarge // 2) for side in (height, width)]
        self._inner = even[0], even[1]
        self.size = even[0] + _STRIP, even[1]
        self._font: FreeTypeFont | None = None

    def __call__(self, scene: Scene, ages: list[float] | None = None) -> NDArray[np.uint8]:
        """Return the picture, uint8 of shape (*size, 3)."""
        from PIL import Image, ImageDraw

        height, width = self._inner
        picture = np.zeros((*self.size, 3), np.uint8)
        grey = self._grey(scene.image)
        picture[:height, :width] = grey[:, :, None]
        edge = _edges(self._resized(scene.labels))
        palette = np.zeros((len(scene.ids) + 1, 3), np.uint8)
        palette[1:] = [figures.colour(i) for i in scene.ids.tolist()]
        picture[:height, :width][edge > 0] = palette[edge[edge > 0]]
        image = Image.fromarray(picture)
        draw = ImageDraw.Draw(image)
        for particle, tail in scene.tails.items():
            if len(tail) > 1:
                draw.line([(x, y) for y, x in self._placed(tail)], figures.colour(particle), 1)
        written: list[Box] = []
        for mark, age in zip(scene.marks, ages or [0.0] * len(scene.marks), strict=True):
            self._flash(draw, mark, age, written)
        self._strip(draw, scene)
        return np.asarray(image)

    def _grey(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        low, high = self._range
        scaled = (image.astype(np.float32) - low) * (255.0 / (high - low))
        grey = np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
        if self._reduce > 1:
            from PIL import Image

            small = Image.fromarray(grey).reduce(self._reduce)
            grey = np.asarray(small)
        return self._enlarged(grey)

    def _resized(self, labels: NDArray[Any]) -> NDArray[Any]:
        return self._enlarged(labels[:: self._reduce, :: self._reduce])

    def _enlarged(self, image: NDArray[Any]) -> NDArray[Any]:
        if self._enlarge > 1:
            image = image.repeat(self._enlarge, axis=0).repeat(self._enlarge, axis=1)
        return image[: self._inner[0], : self._inner[1]]

    def _placed(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions in px of the picture (pixel centres lie at integers in both)."""
        placed: NDArray[np.float64] = (places + 0.5) * self.zoom - 0.5
        return placed

    def _flash(self, draw: ImageDraw, mark: Mark, age: float, written: list[Box]) -> None:
        """Draw a ring that grows, with the kind beside it where no newer event's word stands."""
        y, x = self._placed(np.array([mark.y, mark.x])).tolist()
        radius = 14 + 14 * age
        shade = figures.event_colour(mark.kind)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=shade, width=2)
        font = self._text()
        wide = draw.textlength(mark.kind, font)
        left = x + radius + 4 if x + radius + 6 + wide < self._inner[1] else x - radius - 4 - wide
        top = min(max(y - 8, 2), self._inner[0] - 20)
        box = (left - 3, top, left + wide + 3, top + 18)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in written):
            return
        written.append(box)
        draw.text((left, top), mark.kind, shade, font, stroke_width=2, stroke_fill=(0, 0, 0))

    def _strip(self, draw: ImageDraw, scene: Scene) -> None:
        """Write scale bar, caption and number of particles under the image; what has no room is left out."""
        font = self._text()
        middle, width = self._inner[0] + _STRIP // 2, self.size[1]
        free_from = 10.0
        if scene.nm_per_px is not None:
            length, text = figures.bar_length(scene.image.shape[1], scene.nm_per_px)
            end = 10 + length * self.zoom
            draw.rectangle((10, middle - 2, end, middle + 2), fill=(255, 255, 255))
            draw.text((end + 6, middle), text, (255, 255, 255), font, anchor="lm")
            free_from = end + 16 + draw.textlength(text, font)
        caption = scene.caption + (f" · {self._remark}" if self._remark else "")
        count = figures.count_of(scene)
        free_to = width - 10 - draw.textlength(count, font) - 10
        if free_from + draw.textlength(caption, font) <= free_to:
            draw.text((width - 10, middle), count, (255, 255, 255), font, anchor="rm")
        else:
            free_to = width - 10
        draw.text(((free_from + free_to) / 2, middle), caption, (255, 255, 255), font, anchor="mm")

    def _text(self) -> Any:  # noqa: ANN401 - either of Pillow's fonts
        if self._font is None:
            from PIL import ImageFont

            self._font = ImageFont.load_default(15)  # type: ignore[assignment]  # FreeType where Pillow has it
        return self._font


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
        merged = run.events.to_arrow(("frame", "kind")).to_pylist()
        merges = [e["frame"] for e in merged if e["kind"] == "coalescence" and e["frame"] in frames]
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


def _edges(labels: NDArray[Any]) -> NDArray[Any]:
    """Return an image with the label of the particle at pixels on either side of an outline, 0 elsewhere."""
    edges = np.zeros_like(labels)
    for axis in (0, 1):
        near, far = (labels[:-1], labels[1:]) if axis == 0 else (labels[:, :-1], labels[:, 1:])
        mine, next_to = (edges[:-1], edges[1:]) if axis == 0 else (edges[:, :-1], edges[:, 1:])
        differs = near != far
        owner = np.maximum(near, far)[differs]
        mine[differs] = owner
        next_to[differs] = owner
    return edges
