"""FEI TIA series: ``.ser``, with what the ``.emi`` beside it knows of the acquisition.

The header counts the elements that were recorded (``ValidNumberElements``), which may be fewer than were planned. Each
element carries its own calibration, in metres, and a time stamp of whole seconds: too coarse for a frame time unless
the series is long. Rows are stored from the bottom of the image upwards.
"""

from __future__ import annotations

import math
import re
import struct
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

_MAGIC = struct.pack("<HH", 0x4949, 0x0197)
# byte order, series id, version, kind of data, kind of tag, elements planned, elements recorded
_HEAD = struct.Struct("<HHHIIII")
_WIDE_OFFSETS = 0x0220
_IMAGES = 0x4122
# calibration (offset, delta, element) of x and of y, data type, width, height
_ELEMENT = struct.Struct("<ddiddiHii")
_TAG = struct.Struct("<HHI")
_TYPES = {1: "<u1", 2: "<u2", 3: "<u4", 4: "<i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8"}
_STAMP_S = 1.0
# the mean over a span this long is good to 1 %, single stamps this far apart to 10 %
_SPAN_S = 100 * _STAMP_S
_APART_S = 10 * _STAMP_S
_EMI_TAIL = 1 << 24
# one kilometre: no pixel is that large, so the axis is in 1/m
_RECIPROCAL = 1e3


@dataclass(frozen=True, slots=True)
class _Element:
    offset: int
    dtype: np.dtype[Any]
    height: int
    width: int
    y_m: float
    x_m: float


class SerReader:
    """A ``.ser`` series of images as a movie; an ``.emi`` stands for the first ``.ser`` that belongs to it.

    Parameters
    ----------
    path : Path
        The ``.ser`` or ``.emi`` file.

    Raises
    ------
    InputError
        A broken file, spectra, complex pixels, or no element recorded.
    """

    def __init__(self, path: Path) -> None:
        self._notes: list[str] = []
        self._path = self._series(path) if path.suffix.lower() == ".emi" else path
        self._file = OpenFile(self._path)
        try:
            with reading(self._path, "SER"):
                self._open()
        except BaseException:
            self.close()
            raise

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Return True for a series, or an ``.emi`` with a series beside it, else the reason why not."""
        suffix = path.suffix.lower()
        if suffix == ".emi":
            return bool(_siblings(path)) or "no .ser file beside this .emi"
        if suffix != ".ser":
            return False
        return magic(path).startswith(_MAGIC) or "named .ser, but does not begin like a TIA series"

    def _series(self, emi: Path) -> Path:
        found_files = _siblings(emi)
        if not found_files:
            raise InputError(f"'{shown(emi)}' has no .ser file beside it", "copy the .ser files into the same folder")
        if len(found_files) > 1:
            self._notes.append(f"{len(found_files)} series belong to this .emi; this is {shown(found_files[0].name)}")
        return found_files[0]

    def _open(self) -> None:
        file, name = self._file, shown(self._path)
        _, _, version, kind, self._tag_kind, planned, recorded = _HEAD.unpack(exactly(file, 0, _HEAD.size))
        if not exactly(file, 0, 4).startswith(_MAGIC):
            raise InputError(f"'{name}' does not begin like a TIA series", COPY_AGAIN)
        if kind != _IMAGES:
            raise InputError(f"'{name}' holds spectra, not images", "give the .ser file of an image detector")
        if not 0 < recorded <= planned:
            raise InputError(f"'{name}' has {recorded} of {planned} elements recorded", COPY_AGAIN)
        wide = version >= _WIDE_OFFSETS
        at = struct.unpack("<Q" if wide else "<I", exactly(file, _HEAD.size, 8 if wide else 4))[0]
        code, size = ("<u8", 8) if wide else ("<u4", 4)
        self._offsets = np.frombuffer(exactly(file, at, recorded * size), code)
        try:
            self._tags = np.frombuffer(exactly(file, at + planned * size, recorded * size), code)
        except InputError:
            self._tags = self._offsets[:0]
        if recorded < planned:
            self._notes.append(f"{recorded} of {planned} planned frames were recorded")
        first = self._element(0)
        check_frame(first.height, first.width, name)
        exactly(file, first.offset, first.height * first.width * first.dtype.itemsize)
        self._first = first
        calibration, mean = self._calibration(first)
        self._stamped = mean >= _APART_S
        self.info = SourceInfo(
            path=name,
            format="SER",
            height=first.height,
            width=first.width,
            dtype=first.dtype.newbyteorder("="),
            n_frames=recorded,
            calibration=calibration,
            notes=tuple(self._notes),
        )

    def _element(self, index: int) -> _Element:
        offset = int(self._offsets[index])
        fields = _ELEMENT.unpack(exactly(self._file, offset, _ELEMENT.size))
        kind, width, height = fields[6:]
        if kind not in _TYPES:
            what = "complex pixels" if kind in (9, 10) else f"pixels of unknown type {kind}"
            raise InputError(f"'{shown(self._path)}' has {what}", "export real-valued images from TIA")
        return _Element(offset + _ELEMENT.size, np.dtype(_TYPES[kind]), height, width, fields[4], fields[1])

    def _stamp(self, index: int) -> float | None:
        """Return the time stamp of an element in s, or None where there is none."""
        if index >= len(self._tags):
            return None
        try:
            kind, _, seconds = _TAG.unpack(exactly(self._file, int(self._tags[index]), _TAG.size))
        except InputError:
            return None
        return float(seconds) if kind == self._tag_kind & 0xFFFF and seconds else None

    def _calibration(self, first: _Element) -> tuple[Calibration, float]:
        """Calibration, and the mean distance of two time stamps in s (0 where unknown)."""
        mode, exposure = _emi(self._path)
        # a scanned image is formed with the microscope in diffraction: its mode names both
        diffraction = "diffraction" in mode.lower() and "stem" not in mode.lower()
        reciprocal = diffraction or max(first.y_m, first.x_m) > _RECIPROCAL
        unit = "1/m" if reciprocal else "m"
        y_nm, x_nm, nm_source = pixel_size((first.y_m, unit), (first.x_m, unit), "SER element calibration")
        n, step, mean, s_source = len(self._offsets), None, 0.0, "unknown"
        begin, end = self._stamp(0), self._stamp(n - 1)
        if n > 1 and begin is not None and end is not None:
            mean = max(end - begin, 0.0) / (n - 1)
            if end - begin >= _SPAN_S:
                step, s_source = mean, f"SER time stamps, mean over {end - begin:.0f} s"
            else:
                s_source = f"unknown: SER time stamps are whole seconds, and the series lasts {end - begin:.0f} s"
        calibration = found(x_nm, y_nm, nm_source=nm_source, s_per_frame=step, s_source=s_source, exposure_s=exposure)
        return calibration, mean

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`; its time only where stamps of whole seconds are good to 10 %."""
        check_index(index, self.info.n_frames)
        start, now = self._stamp(0), self._stamp(index)
        time_s = now - start if self._stamped and now is not None and start is not None else None
        exposure = self.info.calibration.exposure_s
        stamp = None if now is None else utc_stamp(now, "seconds")
        return Header(shown(self._path.name), index, time_s=time_s, exposure_s=exposure, timestamp_utc=stamp)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (H, W) with frame `index`.

        Raises
        ------
        BadFrame
            ``"truncated"``, or ``"shape changed"``, ``"dtype changed"`` for an element unlike the first.
        """
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        with reading_frame(self._path, index):
            try:
                element = self._element(index)
            except InputError as error:
                raise BadFrame("truncated", error.message) from error
            is_like = f"{shown(self._path.name)}, element {index} is {element.height} × {element.width} {element.dtype}"
            if (element.height, element.width) != (self._first.height, self._first.width):
                raise BadFrame("shape changed", is_like)
            if element.dtype != self._first.dtype:
                raise BadFrame("dtype changed", is_like)
            self._file.fill_frame(out, element.offset, element.dtype)
            _turn_upright(out)
        return ()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _turn_upright(image: NDArray[Any]) -> None:
    half = len(image) // 2
    top = image[:half].copy()
    image[:half] = image[::-1][:half]
    image[len(image) - half :] = top[::-1]


def _siblings(emi: Path) -> list[Path]:
    pattern = re.compile(re.escape(emi.stem) + r"_(\d+)\.ser", re.IGNORECASE)
    matches = ((pattern.fullmatch(p.name), p) for p in emi.parent.iterdir()) if emi.parent.is_dir() else ()
    return [p for _, p in sorted((int(m[1]), p) for m, p in matches if m)]


def _emi(series: Path) -> tuple[str, float | None]:
    """Return the microscope mode and the exposure in s from the ``.emi`` of a series (empty and None without one).

    The n-th ``ObjectInfo`` describes the n-th series. It is searched, not parsed: XML of unknown origin may be a bomb.
    """
    stem, _, number = series.stem.rpartition("_")
    emi = series.with_name(f"{stem}.emi")
    if not number.isdigit() or not emi.is_file():
        return "", None
    try:
        file = OpenFile(emi)
    except InputError:
        return "", None
    text = file.read(max(0, file.size - _EMI_TAIL), _EMI_TAIL)
    file.close()
    objects = re.findall(rb"<ObjectInfo>(.*?)</ObjectInfo>", text, re.DOTALL)
    if not 0 < int(number) <= len(objects):
        return "", None
    info = objects[int(number) - 1].decode("utf-8", "replace")
    mode = re.search(r"<Label>Mode</Label><Value>([^<]{0,200})", info)
    exposure = None
    # a scan takes FrameTime for an image; for a camera the dwell time is the exposure
    for label in ("FrameTime", "DwellTimePath"):
        value = re.search(rf"<{label}>([-+.\deE]{{1,30}})</{label}>", info)
        if exposure is None and value:
            exposure = _positive(value[1])
    return (mode[1] if mode else ""), exposure


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
