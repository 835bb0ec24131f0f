"""Single pictures: PNG, JPEG, BMP. A folder of them is a movie.

The size is read from the file's own header and judged before a decoder sees the file, because decoders allocate what a
header claims.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.read.files import OpenFile, magic, shown
from insitu.read.frames import GREY_NOTE, check_frame, check_index, check_slot, grey
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
_END_OF_JPEG = b"\xff\xd9"
LOSSY_NOTE = "lossy JPEG compression: not for measurement"


class _Shape(NamedTuple):
    format: str
    height: int
    width: int
    dtype: np.dtype[Any]
    colour: bool


class PictureReader:
    """A PNG, JPEG or BMP file as a movie of one frame.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        A damaged header, or more pixels than any camera has.
    """

    def __init__(self, path: Path) -> None:
        name = shown(path)
        self._file = OpenFile(path)
        shape = _shape(self._file.read(0, 1 << 20))
        if shape is None:
            raise InputError(f"'{name}' has a damaged picture header", "copy it again, or save it as TIFF or PNG")
        check_frame(shape.height, shape.width, name)
        self._format = shape.format
        lossy = shape.format == "JPEG"
        notes = (*((GREY_NOTE,) if shape.colour else ()), *((LOSSY_NOTE,) if lossy else ()))
        self.info = SourceInfo(
            name, shape.format, shape.height, shape.width, shape.dtype, 1, notes=notes, lossy=lossy
        )  # fmt: skip

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` starts as a PNG, JPEG or BMP does."""
        head = magic(path)
        if head.startswith((_PNG, _JPEG)) or (head.startswith(_BMP) and path.suffix.lower() == ".bmp"):
            return True
        named = path.is_file() and path.suffix.lower() in {".png", ".jpg", ".jpeg", ".bmp"}
        return named or "no PNG, JPEG or BMP signature"

    def header(self, index: int) -> Header:
        """Return what is known of the one frame: its file."""
        check_index(index, 1)
        return Header(shown(self._file.path.name), 0)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with the picture, colours averaged; BadFrame ``"truncated"`` or ``"unreadable"``."""
        check_index(index, 1)
        check_slot(out, self.info)
        try:
            data = self._file.read(0, self._file.size)
        except InputError as error:
            raise BadFrame("unreadable", error.message) from error
        # a JPEG decoder paints what is missing grey instead of complaining
        if self._format == "JPEG" and _END_OF_JPEG not in data[-(1 << 16) :]:
            raise BadFrame("truncated", f"{self.info.path} ends before its image does")
        image = self._decode(data)
        if image.shape[:2] != out.shape or image.dtype != out.dtype:
            raise BadFrame("unreadable", f"{self.info.path} decodes to {image.shape} {image.dtype}")
        if image.ndim == 2:
            out[...] = image
        elif image.shape[2] >= 3:
            grey(image, out)
        else:
            out[...] = image[..., 0]
        return ()

    def _decode(self, data: bytes) -> NDArray[Any]:
        import imagecodecs

        decoders: dict[str, Callable[[bytes], NDArray[Any]]] = {
            "PNG": imagecodecs.png_decode,
            "JPEG": imagecodecs.jpeg8_decode,
            "BMP": _decode_bmp,
        }
        try:
            return decoders[self._format](data)
        except Exception as error:
            raise BadFrame("unreadable", f"{self.info.path}: {shown(str(error))[:200]}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _decode_bmp(data: bytes) -> NDArray[Any]:
    """Return a BMP as RGB, through Pillow: imagecodecs 2026.3.6 crashes the process on a damaged one."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["BMP"]) as image:
        return np.asarray(image.convert("RGB"))


def _shape(data: bytes) -> _Shape | None:
    """Return what the header of a picture claims; None where it is damaged or of a kind that holds no counts."""
    if data.startswith(_PNG) and len(data) >= 29:
        depth, kind = data[24], data[25]
        dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
        return _Shape("PNG", _big(data[20:24]), _big(data[16:20]), dtype, colour=kind in {2, 3, 6})
    if data.startswith(_JPEG):
        return _jpeg_shape(data)
    if data.startswith(_BMP) and len(data) >= 30:
        width, height = (int.from_bytes(data[a : a + 4], "little", signed=True) for a in (18, 22))
        return _Shape("BMP", abs(height), width, np.dtype(np.uint8), colour=data[28] > 8)
    return None


def _jpeg_shape(data: bytes) -> _Shape | None:
    frame = jpeg_frame(data)
    if frame is None or frame[0] != 8:
        return None
    _, height, width, components = frame
    return _Shape("JPEG", height, width, np.dtype(np.uint8), colour=components > 1)


def jpeg_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (bits, height, width, components) that a JPEG stream claims; None where `data` holds no frame header."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        # SOF0…SOF15 except DHT (C4), JPG (C8) and DAC (CC)
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return data[at + 4], _big(data[at + 5 : at + 7]), _big(data[at + 7 : at + 9]), data[at + 9]
        at += 1 if marker == 0xFF else 2 + _big(data[at + 2 : at + 4])
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")
