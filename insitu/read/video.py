"""MP4, MOV and AVI through PyAV (extra ``video``): for looking, not for measurement, unless the codec is lossless.

A pass over the packets, without decoding, gives the time stamp of every frame and the key frames; frame `i` is the i-th
in order of display. Decoding runs forwards; a frame elsewhere is reached from the key frame before it. Where stamps
cannot be trusted (AVI with frames stored out of order), frames are counted as they leave the decoder, from the first.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.read.calibration import found, seconds
from insitu.read.files import magic, shown
from insitu.read.frames import check_frame, check_index, check_slot
from insitu.read.untrusted import COPY_AGAIN, reading, reading_frame
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LOSSY_NOTE = "lossy video: not for measurement"
_SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv"}
_LOSSLESS = {"ffv1", "rawvideo", "huffyuv", "ffvhuff", "png", "utvideo"}
# QuickTime/MP4 atoms that may come first
_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_MATROSKA = b"\x1aE\xdf\xa3"
# prefetching threads ask for frames a little out of order: so many decoded ones are kept
_KEPT = 8


class VideoReader:
    """A video file as a movie of grey frames.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        PyAV is not installed, no video in the file, or nothing in it can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._container: Any = None
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        try:
            import av
        except ImportError as error:
            raise InputError(
                f"'{shown(path)}' needs PyAV, which is not installed", 'pip install "insitu[video]"'
            ) from error
        self._av = av
        try:
            with reading(path, "video"):
                self._open()
        except BaseException:
            self.close()
            raise

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Return True for MP4, MOV, AVI and Matroska files that begin as such, else why not."""
        if path.suffix.lower() not in _SUFFIXES:
            return False
        start = magic(path, 16)
        known = start[4:8] in _ATOMS or (start[:4] == b"RIFF" and start[8:11] == b"AVI") or start[:4] == _MATROSKA
        return known or "named like a video, but does not begin like one"

    def _open(self) -> None:
        name = shown(self._path)
        self._index()
        self._start()
        stream = self._stream
        stamp, first = next(((s, f) for s, f in self._frames if s in self._stamps), (0, None))
        if first is None:
            raise InputError(f"'{name}' holds no frame that can be decoded", COPY_AGAIN)
        self._next = self._stamps.index(stamp) + 1
        self._format = first.format.name
        height, width = first.height, first.width
        check_frame(height, width, name)
        self._deep = first.format.components[0].bits > 8
        lossy = stream.codec_context.name not in _LOSSLESS
        notes = [LOSSY_NOTE] if lossy else []
        if not self._format.startswith("gray"):
            notes.append("colour reduced to its brightness (luma)")
        step, s_source = self._frame_time()
        if step is not None:
            notes.append("the frame time is the playback rate of the video, which need not be the camera's")
        self.info = SourceInfo(
            path=name,
            format=f"video ({stream.codec_context.name})",
            height=height,
            width=width,
            dtype=np.dtype(np.uint16 if self._deep else np.uint8),
            n_frames=len(self._stamps),
            calibration=found(s_per_frame=step, s_source=s_source),
            notes=tuple(notes),
            lossy=lossy,
        )
        if not self._fault(first):
            self._keep(self._next - 1, first)

    def _index(self) -> None:
        """Time stamps of all frames in order of display, and of the key frames, from the packets alone."""
        stamps: list[int] = []
        keys: list[int] = []
        timed = True
        with self._av.open(str(self._path)) as container:
            if not container.streams.video:
                raise InputError(f"'{shown(self._path)}' holds no video", "give the file that holds the images")
            stream = container.streams.video[0]
            self._base = stream.time_base
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                timed = timed and packet.pts is not None
                stamps.append(packet.pts or 0)
                if packet.is_keyframe:
                    keys.append(packet.pts or 0)
            shuffled = container.format.name == "avi" and stream.codec_context.has_b_frames
            self._counted = shuffled or not timed or len(set(stamps)) < len(stamps)
            if self._counted:
                self._base = 1 / stream.average_rate if stream.average_rate else None
        if self._counted:
            with self._av.open(str(self._path)) as container:
                stamps, keys = [stamp for stamp, _ in self._decode(container)], []
        if not stamps:
            raise InputError(f"'{shown(self._path)}' holds no frame", COPY_AGAIN)
        self._stamps, self._keys = sorted(stamps), sorted(keys)

    def _start(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = self._av.open(str(self._path))
        self._stream = self._container.streams.video[0]
        self._frames = self._decode(self._container)
        self._next = 0

    def _decode(self, container: Any) -> Iterator[tuple[int, Any]]:  # noqa: ANN401 - PyAV is not imported here
        """Yield time stamps and decoded frames; a packet that cannot be decoded gives none, those behind it follow."""
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        count = 0
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    if self._counted or frame.pts is not None:
                        yield (count if self._counted else frame.pts), frame
                    count += 1
            except self._av.error.FFmpegError:
                continue

    def _frame_time(self) -> tuple[float | None, str]:
        """Mean frame time in s by the stamps, or by the stated rate where there is one frame."""
        if len(self._stamps) > 1 and self._base:
            mean = float((self._stamps[-1] - self._stamps[0]) * self._base) / (len(self._stamps) - 1)
            return seconds(mean), "video time stamps"
        rate = self._stream.average_rate
        return (seconds(1 / float(rate)) if rate else None), "video frame rate"

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: when it is played."""
        check_index(index, self.info.n_frames)
        time_s = float((self._stamps[index] - self._stamps[0]) * self._base) if self._base else None
        return Header(shown(self._path.name), index, time_s=time_s)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (H, W) with the brightness of frame `index`.

        Raises
        ------
        BadFrame
            ``"unreadable"`` or ``"corrupt"``: the frame cannot be decoded, or only in part.
            ``"shape changed"``: the video changes its size or pixel format.
        """
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        with self._lock, reading_frame(self._path, index):
            if index not in self._kept:
                frame = self._seek_and_decode(index)
                if fault := self._fault(frame):
                    is_like = f"{frame.height} × {frame.width} {frame.format.name}"
                    raise BadFrame(fault, f"{shown(self._path.name)}: frame {index} ({is_like})")
                self._keep(index, frame)
            out[...] = self._kept[index]
        return ()

    def _seek_and_decode(self, index: int) -> Any:  # noqa: ANN401 - an av.VideoFrame
        """Decode up to frame `index`, from here or from the key frame before it."""
        wanted = self._stamps[index]
        key = self._keys[bisect_right(self._keys, wanted) - 1] if self._keys else self._stamps[0]
        sought = False
        if index < self._next or bisect_right(self._stamps, key) - 1 > self._next:
            self._start()
            if self._stamps[0] < key <= wanted:
                self._container.seek(key, stream=self._stream, backward=True)
                sought = True
        frame, overshot = self._forward_to(index)
        if sought and overshot:
            # the container seeks badly: from the beginning there is no doubt
            self._start()
            frame, _ = self._forward_to(index)
        if frame is None:
            raise BadFrame("unreadable", f"{shown(self._path.name)}: frame {index} cannot be decoded")
        return frame

    def _forward_to(self, index: int) -> tuple[Any, bool]:
        """Frame `index`, or None; and whether the very first frame that came lay behind it."""
        wanted, first = self._stamps[index], True
        for stamp, frame in self._frames:
            here = max(bisect_right(self._stamps, stamp) - 1, 0)
            self._next = here + 1
            if stamp == wanted:
                return frame, False
            # frames nearby are soon asked for
            if abs(index - here) < _KEPT and not self._fault(frame):
                self._keep(here, frame)
            if stamp > wanted:
                return None, first
            first = False
        self._next = len(self._stamps)
        return None, False

    def _fault(self, frame: Any) -> str:  # noqa: ANN401 - an av.VideoFrame
        """Why a decoded frame cannot be used, or an empty string."""
        if (frame.height, frame.width, frame.format.name) != (*self.info.shape, self._format):
            return "shape changed"
        return "corrupt" if frame.is_corrupt else ""

    def _keep(self, index: int, frame: Any) -> None:  # noqa: ANN401 - an av.VideoFrame
        self._kept[index] = self._brightness(frame)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _brightness(self, frame: Any) -> NDArray[Any]:  # noqa: ANN401 - an av.VideoFrame
        """Brightness (H, W): the first plane as coded where it is that, else converted."""
        if not self._deep and (frame.format.name == "gray" or _starts_with_luma(frame.format)):
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            return rows[: frame.height, : frame.width].copy()
        image: NDArray[Any] = frame.to_ndarray(format="gray16le" if self._deep else "gray")
        return image

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None


def _starts_with_luma(pixels: Any) -> bool:  # noqa: ANN401 - an av.VideoFormat
    return bool(pixels.is_planar and pixels.components[0].is_luma)
