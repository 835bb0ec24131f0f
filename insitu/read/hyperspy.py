"""Formats without a reader of our own, through rosettasciio (extra ``hyperspy``).

rosettasciio is GPL-3.0-or-later: it is no requirement, and imported only where it is installed and a file needs it.
Only its image formats are used, by name: some of its readers of spectra evaluate text from the file. Where it cannot
read a format in pieces, the whole file is held in memory, and a note says so.
"""

from __future__ import annotations

import math
import threading
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.read.axes import Axis, named, pixel_size
from insitu.read.calibration import found, seconds
from insitu.read.files import shown
from insitu.read.frames import GREY_NOTE, camera_dtype, check_frame, check_index, check_slot, grey
from insitu.read.untrusted import reading, reading_frame
from insitu.types import Calibration, Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# suffix → rosettasciio module
FORMATS = {
    ".ali": "mrc",
    ".app5": "topspin",
    ".blo": "blockfile",
    ".de5": "emd",
    ".hspy": "hspy",
    ".img": "hamamatsu",
    ".mib": "quantumdetector",
    ".mrcz": "mrcz",
    ".nxs": "nexus",
    ".prz": "pantarhei",
    ".rpl": "ripple",
    ".unf": "semper",
    ".zspy": "zspy",
}


class HyperspyReader:
    """The first image signal of a file that rosettasciio reads.

    Parameters
    ----------
    path : Path
        The file, or folder (``.zspy``).

    Raises
    ------
    InputError
        rosettasciio is not installed, cannot read the file, or finds no images in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        module = FORMATS.get(path.suffix.lower())
        if module is None:
            raise InputError(f"'{shown(path)}' has no format that is read through rosettasciio", "convert it to TIFF")
        try:
            read: Any = import_module(f"rsciio.{module}").file_reader
        except ImportError as error:
            message = f"'{shown(path)}' needs {error.name or 'rosettasciio'}, which is not installed"
            raise InputError(message, 'pip install "insitu[hyperspy]"') from error
        with reading(path, module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._open(module, *_signals(read, path))

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Return True for a suffix that rosettasciio reads and no reader before this one."""
        return path.suffix.lower() in FORMATS

    def _open(self, module: str, signals: list[dict[str, Any]], lazy: bool) -> None:
        name = shown(self._path)
        images = [s for s in signals if s["data"].ndim >= 2 and _order(s) is not None]
        if not images:
            raise InputError(f"'{name}' holds no images, only spectra or single values", "give a file of images")
        signal = max(images, key=lambda s: s["data"].ndim > 2)
        axes, self._data = signal["axes"], signal["data"]
        order = _order(signal)
        assert order is not None
        self._navigation, self._turned = tuple(order[:-2]), order[-2:] != sorted(order[-2:])
        shape = self._data.shape
        self._counts = tuple(shape[k] for k in self._navigation)
        height, width = (shape[k] for k in order[-2:])
        check_frame(height, width, name)
        dtype = self._data.dtype
        self._rgb = dtype.names is not None and {"R", "G", "B"} <= set(dtype.names)
        notes = ["read through rosettasciio"]
        notes += [GREY_NOTE] * self._rgb
        notes += ["the whole file is held in memory"] * (not lazy)
        if len(self._counts) > 1:
            notes.append(f"{' × '.join(map(str, self._counts))} scan positions read as frames, row by row")
        if len(images) > 1:
            notes.append(f"{len(images) - 1} further image signals in the file not read")
        by_index = {axis.get("index_in_array", k): axis for k, axis in enumerate(axes)}
        self.info = SourceInfo(
            path=name,
            format=f"{module} (rosettasciio)",
            height=height,
            width=width,
            dtype=np.dtype(dtype["R"]) if self._rgb else camera_dtype(dtype, name),
            n_frames=math.prod(self._counts),
            calibration=_calibration([by_index.get(k, {}) for k in order]),
            notes=tuple(notes),
        )

    def header(self, index: int) -> Header:
        """Return what is known of frame `index` without its pixels."""
        check_index(index, self.info.n_frames)
        return Header(shown(self._path.name), index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (H, W) with frame `index`; `BadFrame` ``"unreadable"`` where rosettasciio fails."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        where: list[Any] = [slice(None)] * self._data.ndim
        for axis, position in zip(self._navigation, np.unravel_index(index, self._counts), strict=True):
            where[axis] = int(position)
        with reading_frame(self._path, index), self._lock:
            image = self._data[tuple(where)]
            image = np.asarray(image.compute(scheduler="synchronous") if hasattr(image, "compute") else image)
            image = image.T if self._turned else image
            if self._rgb:
                grey(np.stack([image[c] for c in "RGB"], axis=-1), out)
            else:
                out[...] = image
        return ()

    def close(self) -> None:
        """Let go of the data."""
        self._data = self._data[:0] if self._data.ndim else self._data


def _signals(read: Any, path: Path) -> tuple[list[dict[str, Any]], bool]:  # noqa: ANN401 - rosettasciio has no types
    """Signals of a file, in pieces where the format allows it."""
    try:
        return read(str(path), lazy=True), True
    except (NotImplementedError, TypeError):
        return read(str(path)), False


def _order(signal: dict[str, Any]) -> list[int] | None:
    """Array axes of a signal as navigation…, y, x; None where its signal is no image."""
    axes = signal["axes"]
    if len(axes) != signal["data"].ndim:
        return None
    places = [(axis.get("index_in_array", k), axis) for k, axis in enumerate(axes)]
    image = [k for k, axis in places if not axis.get("navigate", False)]
    if len(image) != 2 and len(places) == 2:
        image = [k for k, _ in places]
    if len(image) != 2:
        return None
    names = {k: str(axis.get("name", "")).lower() for k, axis in places}
    if names[image[0]] == "x" and names[image[1]] == "y":
        image.reverse()
    return [*(k for k, _ in places if k not in image), *image]


def _axis(axis: dict[str, Any]) -> Axis:
    unit = axis.get("units")
    scale = axis.get("scale")
    known = isinstance(unit, str) and isinstance(scale, (int, float, np.number))
    return (float(scale), unit) if known and scale is not None and isinstance(unit, str) else (math.nan, "")


def _calibration(axes: list[dict[str, Any]]) -> Calibration:
    *navigation, y, x = (_axis(axis) for axis in axes)
    y_nm, x_nm, nm_source = pixel_size(y, x, "rosettasciio axes")
    step, s_source = None, "unknown"
    if len(navigation) == 1:
        scale, unit = navigation[0]
        step, s_source = seconds(scale, unit), "rosettasciio axes"
        if step is None and unit:
            s_source = f"unknown: the stack axis is in {named(unit)}, not a time"
    return found(x_nm, y_nm, nm_source=nm_source, s_per_frame=step, s_source=s_source)
