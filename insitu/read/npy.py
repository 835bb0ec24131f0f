"""numpy ``.npy`` stacks: (t, y, x) or one (y, x) frame, read frame by frame, never unpickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.read.files import OpenFile, magic, shown
from insitu.read.frames import camera_dtype, check_frame, check_index, check_slot, credible
from insitu.read.untrusted import reading
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"


class NpyReader:
    """A numpy array file as a movie.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        Not an array of 2-D frames of real numbers, or Fortran-ordered with more than one frame.
    """

    def __init__(self, path: Path) -> None:
        name = shown(path)
        self._file = OpenFile(path)
        shape, fortran, stored, self._start = _header(path)
        n_frames, height, width = _frames(shape, name)
        check_frame(height, width, name)
        self._transposed = fortran and len(shape) == 2
        if fortran and n_frames > 1:
            raise InputError(
                f"'{name}' is Fortran-ordered: the pixels of one frame lie scattered over the whole file",
                "save it again: numpy.save(name, numpy.ascontiguousarray(movie))",
            )
        self._stored = stored
        n_frames, notes = credible(n_frames, self._file.size - self._start, height * width * stored.itemsize, name)
        self.info = SourceInfo(name, "NPY", height, width, camera_dtype(stored, name), n_frames, notes=notes)

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` starts with numpy's magic bytes."""
        return magic(path).startswith(_MAGIC) or "no numpy magic bytes"

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its place in the file."""
        check_index(index, self.info.n_frames)
        return Header(source=shown(self._file.path.name), source_number=index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; BadFrame ``"truncated"`` where the file ends too early."""
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        offset = self._start + index * out.nbytes
        if self._transposed:
            columns = np.empty(self.info.shape[::-1], out.dtype)
            self._file.fill_frame(columns, offset, self._stored)
            out[...] = columns.T
        else:
            self._file.fill_frame(out, offset, self._stored)
        return ()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, Fortran order, dtype and the offset of the first pixel."""
    with reading(path, "numpy"), path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        return shape, fortran, dtype, file.tell()


def _frames(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"'{name}' holds an array of shape {shape}, not a movie", "save it with shape (frames, height, width)"
        )
    n_frames, height, width = (1, *shape) if len(shape) == 2 else shape
    return n_frames, height, width
