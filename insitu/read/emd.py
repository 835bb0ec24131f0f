"""Electron microscopy datasets in HDF5: Velox (Thermo Fisher) and Berkeley EMD.

Velox keeps each image stream as ``/Data/Image/<id>/Data`` of shape (H, W, N), with one column of JSON a frame; spectra
stand in other groups and are never touched. Berkeley EMD marks each array by ``emd_group_type = 1`` and gives a vector
with name and units for each axis. Its writers disagree on the order of axes (ncempy t, y, x; rosettasciio x, y, t), so
names and units decide: the axis of time counts frames, and images stored as (x, y) are turned.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.read.axes import Axis, is_energy, named, pixel_size
from insitu.read.calibration import found, seconds
from insitu.read.files import magic, shown
from insitu.read.frames import camera_dtype, check_frame, check_index, check_slot
from insitu.read.untrusted import COPY_AGAIN, reading, reading_frame
from insitu.types import Calibration, Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_HDF5 = b"\x89HDF\r\n\x1a\n"
_IMAGES = "/Data/Image"
# deflate packs at most 1032:1; what claims to be packed tighter is a bomb
_PACKING = 1100
_NODES = 100_000
_JSON_BYTES = 1 << 22
_HINT = "export the images from Velox or the acquisition program as TIFF or EMD"


@dataclass(frozen=True, slots=True)
class _Stream:
    """A dataset of images: which axis counts frames (None for one image), whether x comes before y, what is known."""

    data: Any
    time_axis: int | None
    turned: bool
    format: str
    calibration: Calibration
    times_s: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


class EmdReader:
    """The image stream of an EMD file; of several, the one with most frames.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        No image stream: spectra or diffraction scans only, complex images, or a broken file.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self._path = path
        self._file: Any = None
        try:
            with reading(path, "EMD"):
                self._file = _open_hdf5(h5py.File, path)
                stream = _velox(self._file, path) if _IMAGES in self._file else _berkeley(self._file, path)
                self._open(stream)
        except BaseException:
            self.close()
            raise

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Return True for an HDF5 file named ``.emd``, else why not."""
        if path.suffix.lower() != ".emd":
            return False
        return magic(path).startswith(_HDF5) or "named .emd, but is no HDF5 file"

    def _open(self, stream: _Stream) -> None:
        name, data = shown(self._path), stream.data
        shape = list(data.shape)
        n_frames = 1 if stream.time_axis is None else shape.pop(stream.time_axis)
        if stream.turned:
            shape.reverse()
        check_frame(shape[0], shape[1], name)
        _check_storage(data, shape[0] * shape[1] * data.dtype.itemsize, self._path)
        self._stream = stream
        self.info = SourceInfo(
            path=name,
            format=stream.format,
            height=shape[0],
            width=shape[1],
            dtype=camera_dtype(data.dtype, name),
            n_frames=n_frames,
            calibration=stream.calibration,
            notes=stream.notes,
        )

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`; its time where the file has one for every frame."""
        check_index(index, self.info.n_frames)
        times = self._stream.times_s
        time_s = None if times is None else float(times[index] - times[0])
        return Header(shown(self._path.name), index, time_s=time_s, exposure_s=self.info.calibration.exposure_s)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` (H, W) with frame `index`; `BadFrame` ``"unreadable"`` where its chunk is damaged."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        data, axis = self._stream.data, self._stream.time_axis
        where: list[Any] = [slice(None)] * data.ndim
        if axis is not None:
            where[axis] = slice(index, index + 1)
        with reading_frame(self._path, index):
            if out.flags.c_contiguous and not self._stream.turned:
                # memory with as many axes as the file: else HDF5 copies pixel by pixel, 400 times slower
                data.read_direct(out if axis is None else np.expand_dims(out, axis), tuple(where))
            else:
                image = data[tuple(where)]
                image = image if axis is None else image.squeeze(axis)
                out[...] = image.T if self._stream.turned else image
        return ()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def _open_hdf5(opener: Any, path: Path) -> Any:  # noqa: ANN401 - h5py has no types
    """Open for reading; without a lock where a share gives none or a writer holds it."""
    try:
        return opener(path, "r")
    except BlockingIOError:
        return opener(path, "r", locking=False)


def _check_storage(data: Any, frame: int, path: Path) -> None:  # noqa: ANN401 - h5py has no types
    """Refuse a dataset that lies in other files, or whose frames (bytes each) the stored bytes cannot hold."""
    if data.external or data.is_virtual:
        raise InputError(f"'{shown(path)}' keeps its images in other files", "give the file that holds the images")
    stored = data.id.get_storage_size()
    if 0 in data.shape or not stored or data.nbytes > _PACKING * path.stat().st_size or frame > _PACKING * stored:
        claim = " × ".join(str(n) for n in data.shape)
        raise InputError(f"'{shown(path)}' claims {claim} pixels but stores {stored} bytes", COPY_AGAIN)


def _is_image(data: Any, axes: tuple[int, ...]) -> bool:  # noqa: ANN401 - h5py has no types
    return hasattr(data, "shape") and data.ndim in axes and data.dtype.kind in "biuf"


# ---- Velox ---------------------------------------------------------------------------------------------------------


def _velox(file: Any, path: Path) -> _Stream:  # noqa: ANN401 - h5py has no types
    streams = []
    for group in list(file[_IMAGES].values())[:_NODES]:
        data = group.get("Data") if hasattr(group, "get") else None
        if _is_image(data, (3,)):
            streams.append((group, data))
    if not streams:
        raise InputError(f"'{shown(path)}' holds no image stream", _HINT)
    group, data = max(streams, key=_n_frames)
    told = _column(group.get("Metadata"))
    notes = [f"detector {told['detector']}"] if told.get("detector") else []
    if len(streams) > 1:
        notes.append(f"{len(streams) - 1} further image stream{'s' * (len(streams) > 2)} in the file not read")
    return _Stream(data, 2, turned=False, format="Velox EMD", calibration=told["calibration"], notes=tuple(notes))


def _n_frames(stream: tuple[Any, Any]) -> tuple[int, int]:
    """Frames of a Velox stream, then its pixels: what the longest movie is chosen by."""
    height, width, n_frames = stream[1].shape
    return n_frames, height * width


def _column(metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - h5py has no types
    """Calibration and detector from the JSON of the first frame (numbers are kept there as text)."""
    told: dict[str, Any] = {}
    if metadata is not None and metadata.ndim == 2 and 0 < metadata.shape[0] <= _JSON_BYTES and metadata.shape[1] > 0:
        text = bytes(metadata[:, 0]).split(b"\0", 1)[0]
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            told = {}
    result = _dig(told, "BinaryResult")
    size = _dig(result, "PixelSize")
    y = (_number(size.get("height")), str(result.get("PixelUnitY", "")))
    x = (_number(size.get("width")), str(result.get("PixelUnitX", "")))
    y_nm, x_nm, nm_source = pixel_size(y, x, "Velox metadata")
    detector = _dig(told, "Detectors", f"Detector-{result.get('DetectorIndex', '')}")
    scan, exposure = (
        seconds(_number(_dig(told, "Scan").get("FrameTime"))),
        seconds(_number(detector.get("ExposureTime"))),
    )
    step, s_source = scan, "Velox scan time of a frame"
    if step is None:
        step, s_source = exposure, "Velox exposure time (a readout pause is not recorded)"
    calibration = found(
        x_nm, y_nm, nm_source=nm_source, s_per_frame=step, s_source=s_source, exposure_s=exposure or scan
    )
    return {"calibration": calibration, "detector": named(str(result.get("Detector", "")))}


def _dig(tree: Any, *path: str) -> dict[str, Any]:  # noqa: ANN401 - JSON
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def _number(value: Any) -> float:  # noqa: ANN401 - JSON
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


# ---- Berkeley ------------------------------------------------------------------------------------------------------


def _berkeley(file: Any, path: Path) -> _Stream:  # noqa: ANN401 - h5py has no types
    groups: list[Any] = []
    seen = 0

    def visit(_: str, node: Any) -> bool | None:  # noqa: ANN401 - h5py has no types
        nonlocal seen
        seen += 1
        if node.attrs.get("emd_group_type", 0) == 1 and hasattr(node, "get"):
            groups.append(node)
        return True if seen >= _NODES else None

    file.visititems(visit)
    images = [g for g in groups if _is_image(g.get("data"), (2, 3)) and not _has_energy(g)]
    if not images:
        what = "arrays, but none is an image or a stack of images" if groups else "no Velox or Berkeley EMD data"
        raise InputError(f"'{shown(path)}' holds {what}", _HINT)
    group = max(images, key=lambda g: math.prod(g["data"].shape))
    data = group["data"]
    notes = () if len(images) == 1 else (f"{len(images) - 1} further arrays in the file not read",)
    time_axis = None if data.ndim == 2 else next((k for k in range(3) if _is_time(group, k)), 0)
    first, second = (k for k in range(data.ndim) if k != time_axis)
    turned = [_dim(group, k)[1].strip().lower() for k in (first, second)] == ["x", "y"]
    y, x = (second, first) if turned else (first, second)
    y_nm, x_nm, nm_source = pixel_size(_axis(group, y), _axis(group, x), "EMD axes")
    times, step, s_source = (None, None, "unknown") if time_axis is None else _times(group, time_axis)
    calibration = found(x_nm, y_nm, nm_source=nm_source, s_per_frame=step, s_source=s_source)
    return _Stream(data, time_axis, turned, "Berkeley EMD", calibration, times, notes)


def _dim(group: Any, axis: int) -> tuple[Any, str, str]:  # noqa: ANN401 - h5py has no types
    """Vector, name and units of an axis (numbered from 1 in the file)."""
    vector = group.get(f"dim{axis + 1}")
    if vector is None or not hasattr(vector, "shape") or vector.ndim != 1 or vector.dtype.kind not in "iuf":
        return None, "", ""
    texts = []
    for key in ("name", "units"):
        value = vector.attrs.get(key, "")
        value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        texts.append(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    return vector, texts[0], texts[1]


def _has_energy(group: Any) -> bool:  # noqa: ANN401 - h5py has no types
    return any(is_energy(_dim(group, k)[2].strip("[]").replace("_", "")) for k in range(group["data"].ndim))


def _is_time(group: Any, axis: int) -> bool:  # noqa: ANN401 - h5py has no types
    _, name, unit = _dim(group, axis)
    return seconds(1.0, unit) is not None or name.strip().lower() in {"t", "time", "frame", "frames"}


def _axis(group: Any, axis: int) -> Axis:  # noqa: ANN401 - h5py has no types
    vector, _, unit = _dim(group, axis)
    if vector is None or vector.shape[0] < 2:
        return math.nan, unit
    return float(vector[1]) - float(vector[0]), unit


def _times(group: Any, axis: int) -> tuple[NDArray[np.float64] | None, float | None, str]:  # noqa: ANN401
    """Start of every frame in s where given, mean frame time, and its source."""
    vector, _, unit = _dim(group, axis)
    n = group["data"].shape[axis]
    step, unit_s = _axis(group, axis)[0], seconds(1.0, unit)
    if vector is None or unit_s is None:
        stated = named(unit.strip("[] "))
        return None, None, f"unknown: the stack axis is in {stated}, not a time" if stated else "unknown"
    if vector.shape[0] != n or n < 2 or vector.nbytes > 8 * group.file.id.get_filesize():
        return None, seconds(step, unit), "EMD time axis"
    times = np.asarray(vector[:], np.float64) * unit_s
    if not (np.diff(times) > 0).all() or not np.isfinite(times).all():
        return None, None, "unknown: the times of the EMD time axis do not rise"
    return times, float(times[-1] - times[0]) / (n - 1), "EMD time axis"
