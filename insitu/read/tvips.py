"""TVIPS ``.tvips`` movies, also split over files ``NAME_000.tvips, NAME_001.tvips, …``.

The first file begins with a general header; every file holds records of one size: a frame header with a time stamp of
milliseconds, then the pixels. Version 1 has frame headers of 12 bytes, version 2 states their size.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.read.axes import pixel_size
from insitu.read.calibration import found
from insitu.read.files import OpenFile, magic, shown
from insitu.read.frames import check_frame, check_index, check_slot, utc_stamp
from insitu.read.untrusted import COPY_AGAIN, exactly, reading, reading_frame
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.types import Calibration

# size of this header, version, width, height, bits, offsets x y, bins x y, pixel size, kV, magnification, frame header
_GENERAL = struct.Struct("<IIIIIIIIIIIII")
# number, seconds since 1970, milliseconds; version 2 adds, from byte 24: mode (1 image, 2 diffraction)
_STAMP = struct.Struct("<III")
_MODE_AT, _DIFFRACTION = 24, 2
_SHORT_FRAME_HEADER = 12
_LONGEST_HEADER = 1 << 20
_DEPTHS: dict[int, np.dtype[Any]] = {8: np.dtype("<u1"), 16: np.dtype("<u2"), 32: np.dtype("<u4")}
_NUMBERED = re.compile(r"(.*_)(\d{3,})(\.tvips)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _General:
    size: int
    width: int
    height: int
    dtype: np.dtype[Any]
    pixel: int
    frame_header: int

    @property
    def record(self) -> int:
        """Bytes from one frame to the next."""
        return self.frame_header + self.height * self.width * self.dtype.itemsize


class TvipsReader:
    """A TVIPS movie, from its first file on.

    Parameters
    ----------
    path : Path
        The only or the first file (``…_000.tvips``).

    Raises
    ------
    InputError
        A later part instead of the first, a missing part, or a header that cannot be true.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[OpenFile] = []
        try:
            with reading(path, "TVIPS"):
                self._open()
        except BaseException:
            self.close()
            raise

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Return True for a TVIPS file that begins as one, a reason for one that does not."""
        if path.suffix.lower() != ".tvips":
            return False
        number = _NUMBERED.fullmatch(path.name)
        # later parts have no header; they are claimed, too, so that the user is told to give the first
        if number and int(number[2]):
            return True
        start = magic(path, _GENERAL.size)
        return (len(start) == _GENERAL.size and _plausible(start)) or "named .tvips, but its header is none"

    def _open(self) -> None:
        name = shown(self._path)
        parts = _parts(self._path)
        self._files.append(OpenFile(parts[0]))
        start = exactly(self._files[0], 0, _GENERAL.size)
        if not _plausible(start):
            raise InputError(f"'{name}' has no TVIPS header", COPY_AGAIN)
        general = _general(start)
        check_frame(general.height, general.width, name)
        self._general = general
        self._files += [OpenFile(part) for part in parts[1:]]
        counts = [self._count(number) for number in range(len(parts))]
        # frame index at which each file begins, then the total
        self._begins = [sum(counts[:k]) for k in range(len(counts) + 1)]
        if general.size + general.record > self._files[0].size:
            raise InputError(f"'{name}' holds no complete frame", COPY_AGAIN)
        self.info = SourceInfo(
            path=name,
            format="TVIPS",
            height=general.height,
            width=general.width,
            dtype=general.dtype.newbyteorder("="),
            n_frames=self._begins[-1],
            calibration=self._calibration(),
            notes=(f"{self._begins[-1]} frames in {len(parts)} files",) if len(parts) > 1 else (),
        )

    def _count(self, number: int) -> int:
        """Frames in a file; one that was cut counts, and will be bad."""
        file = self._files[number]
        payload = max(file.size - (0 if number else self._general.size), 0)
        return -(-payload // self._general.record)

    def _place(self, index: int) -> tuple[OpenFile, int]:
        """File and position of the record of frame `index`."""
        number = bisect_right(self._begins, index) - 1
        start = 0 if number else self._general.size
        return self._files[number], start + (index - self._begins[number]) * self._general.record

    def _stamp_ms(self, index: int) -> int | None:
        """Return the time of a frame in ms since 1970, or None where there is none."""
        file, offset = self._place(index)
        data = file.read(offset, _STAMP.size)
        if len(data) < _STAMP.size:
            return None
        _, seconds, milliseconds = _STAMP.unpack(data)
        return 1000 * seconds + milliseconds if seconds and milliseconds < 1000 else None

    def _calibration(self) -> Calibration:
        general, n = self._general, self._begins[-1]
        mode = 0
        if general.frame_header >= _MODE_AT + 4:
            mode = struct.unpack("<I", exactly(self._files[0], general.size + _MODE_AT, 4))[0]
        axis = (float(general.pixel), "1/nm" if mode == _DIFFRACTION else "nm")
        size, nm_source = None, "unknown: the TVIPS header gives no pixel size"
        if general.pixel:
            size, _, nm_source = pixel_size(axis, axis, "TVIPS header")
        begin, end = self._stamp_ms(0), self._stamp_ms(n - 1)
        step, s_source = None, "unknown: no rising TVIPS time stamps"
        if n > 1 and begin is not None and end is not None and end > begin:
            step, s_source = (end - begin) / 1000 / (n - 1), f"TVIPS time stamps, mean over {n} frames"
        return found(size, size, nm_source=nm_source, s_per_frame=step, s_source=s_source)

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its file, and its time since frame 0 from the stamps."""
        check_index(index, self.info.n_frames)
        file, _ = self._place(index)
        begin, now = self._stamp_ms(0), self._stamp_ms(index)
        time_s = None
        if begin is not None and now is not None and self.info.calibration.s_per_frame is not None:
            time_s = (now - begin) / 1000
        stamp = None if now is None else utc_stamp(now / 1000, "milliseconds")
        return Header(shown(file.path.name), index, time_s=time_s, timestamp_utc=stamp)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (H, W) with frame `index`; `BadFrame` ``"truncated"`` where its file ends inside it."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        with reading_frame(self._path, index):
            file, offset = self._place(index)
            if offset + self._general.record > file.size:
                raise BadFrame("truncated", f"{shown(file.path.name)} ends inside frame {index}")
            file.fill_frame(out, offset + self._general.frame_header, self._general.dtype)
        return ()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def _general(start: bytes) -> _General:
    fields: tuple[int, ...] = _GENERAL.unpack(start)
    size, version, width, height, bits, *_, pixel, _, _, frame_header = fields
    frame_header = _SHORT_FRAME_HEADER if version == 1 else frame_header
    return _General(size, width, height, _DEPTHS[bits], pixel, frame_header)


def _plausible(start: bytes) -> bool:
    size, version, width, height, bits, *_, frame_header = _GENERAL.unpack(start)
    return (
        _GENERAL.size <= size <= _LONGEST_HEADER
        and version in (1, 2)
        and width > 0
        and height > 0
        and bits in _DEPTHS
        and (version == 1 or _SHORT_FRAME_HEADER <= frame_header <= _LONGEST_HEADER)
    )


def _parts(path: Path) -> list[Path]:
    """Files of a movie in order, from the first; parts must follow without a gap."""
    match = _NUMBERED.fullmatch(path.name)
    if match is None:
        return [path]
    prefix, number, suffix = match.groups()
    if int(number):
        first = path.with_name(f"{prefix}{0:0{len(number)}d}{suffix}")
        raise InputError(f"'{shown(path)}' is a later part of a movie", f"give its first file: '{shown(first)}'")
    numbers: dict[int, Path] = {}
    for other in path.parent.iterdir():
        part = _NUMBERED.fullmatch(other.name)
        if part and part[1] == prefix and part[3].lower() == suffix.lower() and len(part[2]) == len(number):
            numbers[int(part[2])] = other
    last = max(numbers)
    gap = next((k for k in range(last) if k not in numbers), None)
    if gap is not None:
        missing = f"{prefix}{gap:0{len(number)}d}{suffix}"
        raise InputError(f"'{shown(missing)}' is missing: the movie has parts to {last}", "copy the missing part, too")
    return [numbers[k] for k in range(last + 1)]
