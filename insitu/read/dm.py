"""Gatan DM3 and DM4: single images and stacks, with the calibration of every axis.

A file holds a list of images, of which one is the thumbnail; the image meant here is the largest that is no thumbnail.
Pixels are uncompressed and contiguous, fastest axis x, then y, then the stack; a frame is one positioned read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.read.axes import Axis, is_energy, named, pixel_size
from insitu.read.calibration import found, seconds
from insitu.read.dm_tags import SCALARS, Array, Tags, is_dm, read_tags
from insitu.read.files import OpenFile, magic, shown
from insitu.read.frames import GREY_NOTE, check_frame, check_index, check_slot, grey
from insitu.read.untrusted import COPY_AGAIN, reading, reading_frame
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.types import Calibration

# ImageData.DataType → numpy; 14 is a boolean kept in a byte
_REAL = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1", 39: "i8", 40: "u8"}
_BOOLEAN = 14
# four bytes a pixel: blue, green, red, unused
_RGB = (8, 23)
_COMPLEX = {3: "complex64", 5: "packed complex", 13: "complex128", 27: "packed complex", 28: "packed complex"}
_AXES = "ImageData.Calibrations.Dimension"
_EXPOSURE = (
    "ImageTags.DataBar.Exposure Time (s)",
    "ImageTags.Acquisition.Parameters.High Level.Exposure (s)",
    "ImageTags.Acquisition.Parameters.Detector.exposure (s)",
)
_FRAME_TIME = "ImageTags.In-situ.Recorded.Frame time (s)"
_RECORDED = "ImageTags.In-situ.Recorded.# Frames"
_EXPORT = "export the image or stack from DigitalMicrograph as a real-valued DM4 or TIFF"


@dataclass(frozen=True, slots=True)
class _Image:
    """One entry of ``ImageList`` whose pixels fit into the file."""

    key: str
    data_type: int
    shape: tuple[int, ...]
    array: Array

    @property
    def is_rgb(self) -> bool:
        return self.data_type in _RGB

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class DmReader:
    """A DM3 or DM4 file as a movie (a single image is a movie of one frame).

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InputError
        No readable image: a broken file, a spectrum, complex pixels, more than three axes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = OpenFile(path)
        try:
            with reading(path, "DM3/DM4"):
                self._open()
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Return True for a DM3/DM4 file, a reason for a file that is only named like one."""
        if path.suffix.lower() not in {".dm3", ".dm4"}:
            return False
        return is_dm(magic(path)) or "named like a Gatan DM file, but does not begin like one"

    def _open(self) -> None:
        tags, image, others = _find(self._file)
        if image.data_type in _COMPLEX:
            raise InputError(
                f"'{shown(self._path)}': its pixels are {_COMPLEX[image.data_type]}, not an image", _EXPORT
            )
        shape = image.shape if len(image.shape) == 3 else (1, *image.shape)
        check_frame(shape[1], shape[2], shown(self._path))
        self._rgb = image.is_rgb
        self._stored = np.dtype(tags.order + ("u1" if self._rgb else _REAL[image.data_type]))
        self._offset = image.array.offset
        self._frame_bytes = shape[1] * shape[2] * (4 if self._rgb else self._stored.itemsize)
        calibration, notes = _calibration(tags, image)
        if others:
            notes.append(f"{others} further image{'s' * (others > 1)} in the file not read")
        recorded = tags.number(f"{image.key}.{_RECORDED}")
        if recorded is not None and recorded > shape[0]:
            notes.append(f"the camera recorded {recorded:.0f} frames, this file holds {shape[0]}")
        self.info = SourceInfo(
            path=shown(self._path),
            format=f"DM{tags.version}",
            height=shape[1],
            width=shape[2],
            dtype=self._stored.newbyteorder("="),
            n_frames=shape[0],
            calibration=calibration,
            notes=tuple(notes),
        )

    def header(self, index: int) -> Header:
        """Return what is known of frame `index` without its pixels."""
        check_index(index, self.info.n_frames)
        return Header(shown(self._path.name), index, exposure_s=self.info.calibration.exposure_s)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (H, W) with frame `index`; `BadFrame` where the file ends inside it."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        with reading_frame(self._path, index):
            offset = self._offset + index * self._frame_bytes
            if self._rgb:
                pixels = np.empty((*self.info.shape, 4), np.uint8)
                self._file.fill(pixels, offset)
                grey(pixels, out)
            else:
                self._file.fill_frame(out, offset, self._stored)
        return ()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _find(file: OpenFile) -> tuple[Tags, _Image, int]:
    """Tags, the image that is meant, and how many others there are (thumbnails not counted)."""
    tags = images = None
    try:
        tags = read_tags(file)
        images = _images(file, tags)
    except InputError:
        # the jump over branches trusts the writer's tag lengths: without them, all tags are walked
        pass
    if not images or tags is None:
        tags = read_tags(file, jump=False)
        images = _images(file, tags)
    thumbnails = {int(tags.number(path) or 0) for path in tags.values if _is_thumbnail_index(path)}
    kept = [image for image in images if int(image.key.split(".")[1]) not in thumbnails] or images
    if not kept:
        raise InputError(f"'{shown(file.path)}': holds no image", _EXPORT)
    flat = [image for image in kept if len(image.shape) in (2, 3)]
    if not flat:
        axes = " × ".join(str(n) for n in kept[0].shape)
        raise InputError(f"'{shown(file.path)}': {axes} is neither an image nor a stack of images", _EXPORT)
    chosen = max(flat, key=lambda image: (not image.is_rgb, image.size))
    _refuse_spectra(file, tags, chosen)
    return tags, chosen, len(kept) - 1


def _is_thumbnail_index(path: str) -> bool:
    return path.startswith("Thumbnails.") and path.endswith(".ImageIndex")


def _images(file: OpenFile, tags: Tags) -> list[_Image]:
    images = []
    suffix = ".ImageData.Data"
    for path, array in tags.arrays.items():
        key = path.removesuffix(suffix)
        if key == path or key.count(".") != 1 or not key.startswith("ImageList."):
            continue
        image = _image(file, tags, key, array)
        if image is not None:
            images.append(image)
    return images


def _image(file: OpenFile, tags: Tags, key: str, array: Array) -> _Image | None:
    data_type = int(tags.number(f"{key}.ImageData.DataType") or 0)
    sizes: list[int] = []
    while (n := tags.number(f"{key}.ImageData.Dimensions.{len(sizes)}")) is not None and len(sizes) < 8:
        sizes.append(int(n))
    if not sizes or min(sizes) < 1 or (data_type not in _REAL and data_type not in _COMPLEX and data_type not in _RGB):
        return None
    declared = math.prod(sizes)
    size = 4 if data_type in _RGB else np.dtype(_REAL.get(data_type, "u1")).itemsize
    fits = data_type in _COMPLEX or declared * size == array.nbytes
    if not fits or (array.element not in SCALARS and data_type in _REAL):
        axes = " × ".join(str(n) for n in reversed(sizes))
        raise InputError(
            f"'{shown(file.path)}': claims {axes} pixels of {size} bytes but holds {array.nbytes} bytes", COPY_AGAIN
        )
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    return _Image(key, data_type, tuple(reversed(sizes)), array)


def _refuse_spectra(file: OpenFile, tags: Tags, image: _Image) -> None:
    unit = [tags.text(f"{image.key}.{_AXES}.{axis}.Units") for axis in range(len(image.shape))]
    if any(is_energy(u) for u in unit):
        raise InputError(
            f"'{shown(file.path)}': an axis is in {next(filter(is_energy, unit))}: spectra, no movie", _EXPORT
        )


def _axis(tags: Tags, image: _Image, number: int) -> Axis:
    at = f"{image.key}.{_AXES}.{number}"
    scale = tags.number(f"{at}.Scale")
    return (math.nan if scale is None else scale), tags.text(f"{at}.Units").strip()


def _calibration(tags: Tags, image: _Image) -> tuple[Calibration, list[str]]:
    x, y = _axis(tags, image, 0), _axis(tags, image, 1)
    name = f"DM{tags.version}"
    y_nm, x_nm, nm_source = pixel_size(y, x, f"{name} axis calibration")
    step, s_source, notes = None, "unknown", []
    if len(image.shape) == 3:
        scale, unit = _axis(tags, image, 2)
        step, s_source = seconds(scale, unit), f"{name} stack axis"
        if step is None and unit:
            s_source = f"unknown: the stack axis is in {named(unit)}, not a time"
            notes.append(f"the stack axis ({scale:g} {named(unit)} a step) is not a time")
    if step is None:
        given = tags.number(f"{image.key}.{_FRAME_TIME}")
        if given is not None and math.isfinite(given) and given > 0:
            step, s_source = given, f"{name} In-situ tags"
        elif not s_source.startswith("unknown"):
            s_source = "unknown"
    exposures = (tags.number(f"{image.key}.{path}") for path in _EXPOSURE)
    exposure = next((e for e in exposures if e is not None and math.isfinite(e) and e > 0), None)
    if image.is_rgb:
        notes.append(GREY_NOTE)
    if image.data_type == _BOOLEAN:
        notes.append("boolean pixels read as 0 and 1")
    calibration = found(x_nm, y_nm, nm_source=nm_source, s_per_frame=step, s_source=s_source, exposure_s=exposure)
    return calibration, notes
