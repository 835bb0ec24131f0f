"""MRC stacks (MRC2014), plain and from Direct Electron cameras.

The 1024-byte header is described by Cheng et al., J. Struct. Biol. 192, 146 (2015), doi:10.1016/j.jsb.2015.04.002. Rows
are handed on in the order they are stored in, as mrcfile and rosettasciio do.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.read.calibration import found, nanometres, seconds
from insitu.read.files import OpenFile, magic, shown
from insitu.read.frames import check_frame, check_index, check_slot, credible
from insitu.types import Calibration, Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_HEADER = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED = {3: "complex integers", 4: "complex numbers", 16: "RGB", 101: "4-bit counts"}
_SUFFIXES = {".mrc", ".mrcs", ".st", ".ali", ".map"}
_ORDERS = {0x44: "<", 0x11: ">"}
_IMOD_STAMP = 1146047817


class MrcReader:
    """An MRC file as a movie: its sections are the frames.

    The number of sections in the header is compared with the file: cameras write the header first and often never
    correct it. A Direct Electron ``…_info.txt`` beside the movie gives frame time, exposure and, where the header has
    none, the pixel size.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        A header that cannot be true, or a mode that holds no camera counts.
    """

    def __init__(self, path: Path) -> None:
        name = shown(path)
        self._file = OpenFile(path)
        head = self._file.read(0, _HEADER)
        if len(head) < _HEADER:
            raise InputError(f"'{name}' is cut short: {len(head)} of 1024 header bytes", "copy the file again")
        order = _byte_order(head)
        width, height, sections, mode = struct.unpack_from(order + "4i", head)
        if mode not in _MODES:
            what = _REFUSED.get(mode, "no known pixel type")
            raise InputError(
                f"'{name}' has MRC mode {mode} ({what})", "save it again as 16-bit integers or 32-bit floats"
            )
        check_frame(height, width, name)
        (extended,) = struct.unpack_from(order + "i", head, 92)
        self._start = _HEADER + extended
        if extended < 0 or self._start >= self._file.size:
            raise InputError(
                f"'{name}' claims {extended} bytes of extended header, the file has {self._file.size}",
                "the header is damaged or the copy incomplete: copy the file again",
            )
        sidecar = _sidecar(path)
        unsigned, notes = _unsigned(head, order, mode, has_sidecar=bool(sidecar))
        self._stored = np.dtype("u1" if unsigned else order + _MODES[mode])
        self._frame_bytes = height * width * self._stored.itemsize
        n_frames, counted = _count(sections, self._file.size - self._start, self._frame_bytes, name)
        self.info = SourceInfo(
            name, "MRC (Direct Electron)" if sidecar else "MRC", height, width, self._stored.newbyteorder("="),
            n_frames, _calibration(head, order, sidecar), (*notes, *counted),
        )  # fmt: skip

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` has the MAP mark of MRC2014, or is named like an older MRC file."""
        if magic(path, 212)[208:212] in {b"MAP ", b"MAP\0"}:
            return True
        return (path.is_file() and path.suffix.lower() in _SUFFIXES) or "no MRC mark"

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its section."""
        check_index(index, self.info.n_frames)
        return Header(shown(self._file.path.name), index, exposure_s=self.info.calibration.exposure_s)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; BadFrame ``"truncated"`` where the file ends too early."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        self._file.fill_frame(out, self._start + index * self._frame_bytes, self._stored)
        return ()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _byte_order(head: bytes) -> str:
    """Return the byte order of the machine stamp; where it is none, the one in which the header makes sense."""
    stamped = _ORDERS.get(head[212])
    for order in (stamped, "<", ">"):
        if order is None:
            continue
        width, height, _, mode = struct.unpack_from(order + "4i", head)
        if 0 < width < 1 << 20 and 0 < height < 1 << 20 and mode in {**_MODES, **_REFUSED}:
            return order
    return stamped or "<"


def _unsigned(head: bytes, order: str, mode: int, *, has_sidecar: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether mode-0 bytes are unsigned: MRC2014 says signed, IMOD flags it, Direct Electron never counts below 0."""
    if mode != 0:
        return False, ()
    stamp, flags = struct.unpack_from(order + "2i", head, 152)
    if stamp == _IMOD_STAMP and not flags & 1:
        return True, ("bytes read as unsigned (IMOD flag)",)
    return has_sidecar, ("bytes read as unsigned (Direct Electron counts)",) if has_sidecar else ()


def _count(sections: int, available: int, frame_bytes: int, name: str) -> tuple[int, tuple[str, ...]]:
    whole = available // frame_bytes
    if whole > sections:
        return whole, (f"the header counts {sections} frames, the file holds {whole}: all are read",)
    return credible(sections, available, frame_bytes, name)


def _calibration(head: bytes, order: str, sidecar: dict[str, str]) -> Calibration:
    """Return pixel size (cell length in Å over its number of pixels) and, from the sidecar, the frame time."""
    intervals = struct.unpack_from(order + "2i", head, 28)
    lengths = struct.unpack_from(order + "2f", head, 40)
    x, y = (nanometres(a / n if n > 0 else math.nan, "Å") for a, n in zip(lengths, intervals, strict=True))
    source = "MRC header"
    if x is None and y is None:
        x, y = (nanometres(_number(sidecar, f"Specimen Pixel Size {a} (nanometers)"), "nm") for a in "XY")
        source = "Direct Electron info file"
    exposure = seconds(_number(sidecar, "Frame Time (nanoseconds)"), "ns")
    if exposure is None:
        exposure = seconds(1 / (_number(sidecar, "Frames Per Second") or math.nan))
    summed = _number(sidecar, "Autosave Movie Sum Count")
    step = exposure * summed if exposure is not None and summed >= 1 else exposure
    return found(x, y, nm_source=source, s_per_frame=step, s_source="Direct Electron info file", exposure_s=step)


def _sidecar(path: Path) -> dict[str, str]:
    """Return the fields of the ``…_info.txt`` that Direct Electron software writes beside ``…_movie.mrc``."""
    stem = path.stem.removesuffix("_movie")
    names = {stem, stem.rpartition("_")[0]} - {""}
    for info in (path.with_name(f"{name}_info.txt") for name in sorted(names, key=len, reverse=True)):
        try:
            with info.open(encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 20)
        except OSError:
            continue
        pairs = (line.partition("=") for line in text.splitlines())
        fields = {key.strip(): value.strip() for key, mark, value in pairs if mark}
        if "Frames Per Second" in fields or "Camera Model" in fields:
            return fields
    return {}


def _number(fields: dict[str, str], key: str) -> float:
    try:
        return float(fields.get(key, ""))
    except ValueError:
        return math.nan
