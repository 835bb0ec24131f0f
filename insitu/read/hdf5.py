"""HDF5 stacks: the one 3-D dataset of a file, or the one that is named as ``file.h5::/path``."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.read.calibration import found, nanometres, seconds
from insitu.read.files import OpenFile, magic, shown, split_member
from insitu.read.frames import camera_dtype, check_frame, check_index, check_slot
from insitu.read.untrusted import reading
from insitu.types import Calibration, Header, SourceInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# HDF5 files whose layout another reader understands
_DESCRIBED = (".emd", ".hspy", ".de5")
# one chunk is decoded as a whole: more than this is a bomb, or a file that no frame can be had from in reasonable time
_MAX_CHUNK_BYTES = 1 << 30
# a number of frames that is believed although most of them were not written (yet)
_ANY_NUMBER = 1000
_COMPRESSED_WITH = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd", 32026: "blosc2"}


class Hdf5Reader:
    """A dataset (t, y, x), or with further axes of length one, as a movie; a single (y, x) dataset is one frame.

    Pixel size and frame time are attributes of the dataset: ``nm_per_px`` and ``fps``, or ``element_size_um``
    (z, y, x in µm, as ImageJ's and ilastik's HDF5 writers store it).

    Parameters
    ----------
    path : Path
        The file, or ``file.h5::/path/to/dataset``.

    Raises
    ------
    InputError
        Not HDF5 or damaged, no or several candidate datasets, a missing compression plug-in.
    """

    members = True

    def __init__(self, path: Path) -> None:
        import h5py

        file, member = split_member(str(path))
        self._name = shown(path)
        OpenFile(Path(file)).close()  # a missing or empty file deserves a better message than h5py's
        # h5py is not safe to call from several threads without the care it takes itself; one lock keeps frames whole
        self._lock = threading.Lock()
        with reading(Path(file), "HDF5"):
            self._file = h5py.File(file, "r", locking=False)
        try:
            # damage shows up wherever the tree is walked, as errors of many types
            with reading(Path(file), "HDF5"):
                self._data = self._dataset(member)
                self._source = shown(str(self._data.name))
                self.info = self._describe(self._data)
        except InputError:
            self._file.close()
            raise

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` starts with the HDF5 signature."""
        if magic(path).startswith(_SIGNATURE):
            return True
        return (path.is_file() and path.suffix.lower() in {".h5", ".hdf5", ".hdf"}) or "no HDF5 signature"

    def _dataset(self, member: str) -> Any:  # noqa: ANN401 - h5py.Dataset
        """Return the dataset that is named, or the only one that can be a movie."""
        import h5py

        if member:
            found_there = self._file.get(member)
            if not isinstance(found_there, h5py.Dataset):
                raise InputError(f"'{self._name}': there is no dataset '{shown(member)}'", self._choice())
            return found_there
        if split_member(self._name)[0].lower().endswith(_DESCRIBED):
            # their own reader knows the calibration; what it refused (spectra, scans) is no movie by default
            raise InputError(
                f"'{self._name}' has a reader of its own: nothing else is read unless named", self._choice()
            )
        candidates = _candidates(self._file)
        if len(candidates) == 1:
            return self._file[candidates[0]]
        if not candidates:
            raise InputError(
                f"'{self._name}' holds no dataset (frames, height, width)", "save the movie as a 3-D dataset"
            )
        raise InputError(f"'{self._name}' holds {len(candidates)} datasets that can be a movie", self._choice())

    def _choice(self) -> str:
        file = split_member(self._name)[0]
        names = _candidates(self._file)[:6]
        return "name one: " + ", ".join(f"'{file}::{shown(n)}'" for n in names) if names else "it holds no movie"

    def _describe(self, data: Any) -> SourceInfo:  # noqa: ANN401 - h5py.Dataset
        shape = tuple(int(n) for n in data.shape or ())
        axes = [k for k, n in enumerate(shape[:-2]) if n > 1]
        if len(shape) < 2 or 0 in shape or len(axes) > 1:
            raise InputError(f"'{self._name}' has the shape {shape}, not (frames, height, width)", self._choice())
        # the axis that counts frames; the others before y and x have length one
        self._axis = axes[0] if axes else 0
        self._lead = len(shape) - 2
        height, width = shape[-2:]
        check_frame(height, width, self._name)
        dtype = camera_dtype(np.dtype(data.dtype), self._name)
        self._as_bytes = data.dtype.kind == "b"
        if data.chunks and math.prod(data.chunks) * data.dtype.itemsize > _MAX_CHUNK_BYTES:
            raise InputError(
                f"'{self._name}' has chunks of {data.chunks}", "save it again with chunks (1, height, width)"
            )
        _check_filters(data, self._name)
        n_frames = shape[self._axis] if self._lead else 1
        if n_frames > _ANY_NUMBER and not (data.is_virtual or data.external):
            _check_length(data, n_frames, self._axis, self._name)
        return SourceInfo(self._name, "HDF5", height, width, dtype, n_frames, _calibration(data))

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its dataset."""
        check_index(index, self.info.n_frames)
        return Header(self._source, index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; BadFrame ``"unreadable"`` where its chunk is damaged."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        place: list[Any] = [0] * self._lead + [slice(None), slice(None)]
        if self._lead:
            place[self._axis] = index
        try:
            with self._lock:
                if self._as_bytes or not out.flags.c_contiguous:
                    out[...] = self._data[tuple(place)]
                else:
                    self._data.read_direct(out, tuple(place))
        except Exception as error:  # a damaged chunk makes filters raise errors of their own
            raise BadFrame("unreadable", f"frame {index} of {self._name}: {shown(str(error))[:200]}") from error
        return ()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def _candidates(file: Any) -> list[str]:  # noqa: ANN401 - h5py.File
    """Return the paths of numeric datasets that can be movies; of single images only where there is no stack."""
    import h5py

    stacks: list[str] = []
    images: list[str] = []

    def visit(name: str, item: Any) -> None:  # noqa: ANN401 - h5py.Group or Dataset
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biuf" or item.shape is None:
            return
        long = [n for n in item.shape[:-2] if n > 1]
        if len(item.shape) >= 2 and min(item.shape[-2:]) >= 2 and len(long) <= 1:
            (stacks if len(item.shape) > 2 else images).append(f"/{name}")

    file.visititems(visit)
    return stacks or images


def _check_filters(data: Any, name: str) -> None:  # noqa: ANN401 - h5py.Dataset
    """Refuse a dataset that this installation cannot decompress: otherwise every frame would be a bad one."""
    import h5py

    properties = data.id.get_create_plist()
    for k in range(properties.get_nfilters()):
        code = properties.get_filter(k)[0]
        if not h5py.h5z.filter_avail(code):
            what = _COMPRESSED_WITH.get(code, f"filter {code}")
            raise InputError(
                f"'{name}' is compressed with {what}, which h5py cannot read", "save it again with gzip or lzf"
            )


def _check_length(data: Any, declared: int, axis: int, name: str) -> None:  # noqa: ANN401 - h5py.Dataset
    """Refuse a number of frames far beyond what was written."""
    held = data.id.get_num_chunks() * data.chunks[axis] if data.chunks else data.id.get_storage_size() and declared
    if declared > 10 * held + _ANY_NUMBER:
        raise InputError(
            f"'{name}' declares {declared} frames, but holds at most {held}",
            "copy the file again; if frames were left out on purpose, save the part that was written",
        )


def _calibration(data: Any) -> Calibration:  # noqa: ANN401 - h5py.Dataset
    sizes = _numbers(data.attrs.get("element_size_um"))
    y, x = (nanometres(v, "µm") for v in sizes[-2:]) if len(sizes) in {2, 3} else (None, None)
    source = "HDF5 element_size_um"
    own = _numbers(data.attrs.get("nm_per_px"))
    if len(own) == 1:
        y, x, source = None, nanometres(own[0], "nm"), "HDF5 attribute nm_per_px"
    rate = _numbers(data.attrs.get("fps"))
    step = seconds(1 / rate[0]) if len(rate) == 1 and rate[0] > 0 else None
    return found(x, y, nm_source=source, s_per_frame=step, s_source="HDF5 attribute fps")


def _numbers(value: object) -> list[float]:
    try:
        return [float(v) for v in np.asarray(value, np.float64).ravel()] if value is not None else []
    except (TypeError, ValueError):
        return []
