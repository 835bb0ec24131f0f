"""Pictures into movies: MP4 by ffmpeg (of imageio-ffmpeg, or inside PyAV), GIF by Pillow, which is always there."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu import figures
from insitu.errors import CommandError, ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    Pictures = Iterable[NDArray[np.uint8]]

# visually clean outlines at a quarter of the bytes that the noise of the support would ask for
_CRF = "26"
_GREYS = 24


def encoder() -> Literal["ffmpeg", "av"] | None:
    """Return what can write an MP4 here; None where nothing can."""
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        pass
    else:
        return "ffmpeg"
    try:
        import av

        av.Codec("libx264", "w")
    except (ImportError, ValueError):
        return None
    return "av"


def write_mp4(path: Path, size: tuple[int, int], fps: int, pictures: Pictures) -> None:
    """Write pictures, uint8 of shape (height, width, 3), as H.264; `path` is replaced only once the movie is whole.

    Raises
    ------
    CommandError
        No encoder is installed.
    ResourceError
        The movie cannot be written.
    """
    how = encoder()
    if how is None:
        raise CommandError("no ffmpeg to write a movie with", "pip install imageio-ffmpeg, or write a GIF with --gif")
    partial = path.with_name(f"{path.stem}.tmp{path.suffix}")
    try:
        (_by_ffmpeg if how == "ffmpeg" else _by_av)(partial, size, fps, pictures)
        partial.replace(path)
    except OSError as error:
        raise ResourceError(f"cannot write '{path}': {error}", "free some space, or choose another folder") from error
    finally:
        partial.unlink(missing_ok=True)


def write_gif(path: Path, fps: int, pictures: Pictures, largest: int) -> None:
    """Write pictures as a GIF that repeats, its longest side `largest` px; `path` is replaced only once it is whole.

    Raises
    ------
    ResourceError
        It cannot be written.
    """
    partial = path.with_name(f"{path.stem}.tmp{path.suffix}")
    try:
        partial.write_bytes(gif(fps, pictures, largest))
        partial.replace(path)
    except OSError as error:
        raise ResourceError(f"cannot write '{path}': {error}", "free some space, or choose another folder") from error
    finally:
        partial.unlink(missing_ok=True)


def gif(fps: int, pictures: Pictures, largest: int) -> bytes:
    """Return pictures as the bytes of a GIF: greys and the colours of tracks, without dithering, which costs bytes."""
    from PIL import Image

    table = _palette()
    frames = []
    for pixels in pictures:
        picture = Image.fromarray(pixels)
        picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
        frames.append(picture.quantize(palette=table, dither=Image.Dither.NONE))
    held = io.BytesIO()
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)
    return held.getvalue()


def _by_ffmpeg(path: Path, size: tuple[int, int], fps: int, pictures: Pictures) -> None:
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        str(path),
        (size[1], size[0]),
        fps=fps,
        codec="libx264",
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-preset", "veryfast", "-crf", _CRF, "-movflags", "+faststart"],
    )
    try:
        writer.send(None)
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()


def _by_av(path: Path, size: tuple[int, int], fps: int, pictures: Pictures) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": _CRF})
        stream.height, stream.width, stream.pix_fmt = size[0], size[1], "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _palette() -> Any:  # noqa: ANN401 - a Pillow image
    from PIL import Image

    greys = [(int(g),) * 3 for g in np.linspace(0, 255, _GREYS)]
    colours = [*greys, *figures.PALETTE, *figures.EVENT_COLOURS.values()]
    table = Image.new("P", (1, 1))
    table.putpalette([c for colour in colours for c in colour])
    return table
