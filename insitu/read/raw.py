"""Raw frames without a header, described by a JSON file of the same name.

``movie.raw`` with ``movie.json``::

    {
        "shape": [1792, 1920],
        "dtype": "uint16",
        "offset": 0,
        "gap": 0,
        "byteorder": "little",
        "n_frames": 400,
        "nm_per_px": 0.2,
        "fps": 400,
    }

`shape` (height, width) or (frames, height, width) and `dtype` are required; `offset` is the number of bytes before the
first frame, `gap` between frames; without a count the file's size gives it.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.read.calibration import found, nanometres, seconds
from insitu.read.files import OpenFile, shown
from insitu.read.frames import camera_dtype, check_frame, check_index, check_slot, credible
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_KEYS = ("shape", "dtype", "offset", "gap", "byteorder", "n_frames", "nm_per_px", "fps")
_ORDERS = {"little": "<", "<": "<", "big": ">", ">": ">"}
_SUFFIXES = {".raw", ".bin", ".dat"}
_EXAMPLE = 'write {"shape": [height, width], "dtype": "uint16"}, with "nm_per_px" and "fps" where they are known'


class RawReader:
    """A raw file with its JSON sidecar as a movie.

    Parameters
    ----------
    path : Path
        The raw file.

    Raises
    ------
    InputError
        A sidecar that is missing, malformed, has unknown keys, or does not fit the file.
    """

    def __init__(self, path: Path) -> None:
        name = shown(path)
        sidecar = path.with_suffix(".json")
        fields = _fields(sidecar)
        height, width, declared = _shape(fields, sidecar)
        check_frame(height, width, shown(sidecar))
        self._stored = _dtype(fields, sidecar)
        self._start = _count(fields, "offset", 0, sidecar)
        frame_bytes = height * width * self._stored.itemsize
        self._stride = frame_bytes + _count(fields, "gap", 0, sidecar)
        self._file = OpenFile(path)
        # the last frame needs no gap behind it
        available = self._file.size - self._start + self._stride - frame_bytes
        whole, rest = divmod(max(0, available), self._stride)
        n_frames, notes = credible(declared, available, self._stride, name) if declared else (whole + (rest > 0), ())
        if whole == 0:
            raise InputError(
                f"'{name}' has {self._file.size} bytes, one frame as in '{shown(sidecar)}' needs {frame_bytes}",
                "correct shape, dtype or offset there",
            )
        if not declared and rest:
            notes = (f"cut short: {rest} bytes behind the last whole frame",)
        size = nanometres(_positive(fields, "nm_per_px", sidecar), "nm")
        step = seconds(1 / _positive(fields, "fps", sidecar))
        calibration = found(
            size, nm_source=f"sidecar {sidecar.name}", s_per_frame=step, s_source=f"sidecar {sidecar.name}"
        )
        self.info = SourceInfo(
            name, "raw", height, width, camera_dtype(self._stored, name), n_frames, calibration, notes
        )

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` is named like a raw file and has its sidecar."""
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            return "not .raw, .bin or .dat"
        return path.with_suffix(".json").is_file() or f"no sidecar {shown(path.with_suffix('.json').name)}"

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its place in the file."""
        check_index(index, self.info.n_frames)
        return Header(shown(self._file.path.name), index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; BadFrame ``"truncated"`` where the file ends too early."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        self._file.fill_frame(out, self._start + index * self._stride, self._stored)
        return ()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _fields(sidecar: Path) -> dict[str, Any]:
    try:
        fields = json.loads(sidecar.read_bytes()[: 1 << 20])
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{shown(sidecar)}' is no readable JSON: {shown(str(error))}", _EXAMPLE) from error
    if not isinstance(fields, dict):
        raise InputError(f"'{shown(sidecar)}' holds no JSON object", _EXAMPLE)
    for key in fields:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it may have {', '.join(_KEYS)}"
            raise InputError(f"'{shown(sidecar)}' has the unknown key '{shown(key)}'", hint)
    return fields


def _shape(fields: dict[str, Any], sidecar: Path) -> tuple[int, int, int]:
    """Return height, width and the declared number of frames (0: none)."""
    shape = fields.get("shape")
    declared = _count(fields, "n_frames", 0, sidecar)
    if isinstance(shape, list) and len(shape) in {2, 3} and all(type(n) is int and n > 0 for n in shape):
        *frames, height, width = shape
        if not frames or not declared or frames[0] == declared:
            return height, width, declared or (frames[0] if frames else 0)
    raise InputError(f"'{shown(sidecar)}': shape {shape} with n_frames {declared or 'not given'}", _EXAMPLE)


def _dtype(fields: dict[str, Any], sidecar: Path) -> np.dtype[Any]:
    order = _ORDERS.get(str(fields.get("byteorder", "little")))
    try:
        stored = np.dtype(str(fields.get("dtype")))
    except (TypeError, ValueError, SyntaxError):
        stored = np.dtype(object)
    if order is None or stored.kind not in "iuf":
        given = f"dtype {fields.get('dtype')}, byteorder {fields.get('byteorder', 'little')}"
        raise InputError(f"'{shown(sidecar)}': {shown(given)}", 'give for example "uint16" and "little" or "big"')
    return stored if stored.str[0] == ">" else stored.newbyteorder("<" if order == "<" else ">")


def _count(fields: dict[str, Any], key: str, default: int, sidecar: Path) -> int:
    value = fields.get(key, default)
    if type(value) is not int or value < 0:
        raise InputError(f"'{shown(sidecar)}': {key} is {value}", f"{key} is a whole number, 0 or more")
    return value


def _positive(fields: dict[str, Any], key: str, sidecar: Path) -> float:
    """Return a positive number, NaN where the key is absent."""
    value = fields.get(key, float("nan"))
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise InputError(f"'{shown(sidecar)}': {key} is {value}", f"{key} is a positive number")
    return float(value)
