"""Frames that are in memory already, or come from a generator: any iterable of 2-D arrays."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, EndOfSource, InputError
from insitu.read.frames import GREY_NOTE, camera_dtype, check_frame, check_slot, grey
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_SHAPE_HINT = "give an array (frames, height, width), or an iterable of (height, width) arrays"


class ArraysReader:
    """An array, a sequence of arrays or an iterator of arrays as a movie.

    What has a length and can be indexed (ndarray, list, dask or zarr array) gives its frames in any order. An iterator
    gives them once and forwards: asking for a later frame passes over those between, asking for an earlier one is
    refused, and its length stays unknown until `EndOfSource`.

    Parameters
    ----------
    frames : array-like of shape (T, H, W), or iterable of arrays of shape (H, W) or (H, W, 3 or 4)

    Raises
    ------
    InputError
        No frame at all, or a first item that is no image.
    """

    def __init__(self, frames: Iterable[Any]) -> None:
        movie: Any = frames[None] if isinstance(frames, np.ndarray) and frames.ndim == 2 else frames
        try:
            self._sequence: Any = movie if _indexable(movie) else None
            self._iterator = iter(movie)
        except TypeError as error:
            raise InputError(f"a {type(frames).__name__} is not a movie", _SHAPE_HINT) from error
        first = self._first()
        self._lock = threading.Lock()
        self._next = 0
        n_frames: int | None = len(self._sequence) if self._sequence is not None else None
        notes = (GREY_NOTE,) if first.ndim == 3 else ()
        self._dtype = first.dtype
        self._depth = first.shape[2:]
        height, width = first.shape[:2]
        self.info = SourceInfo("", "arrays", height, width, camera_dtype(first.dtype, "array"), n_frames, notes=notes)

    def _first(self) -> NDArray[Any]:
        """Return the first frame without using it up."""
        if self._sequence is not None:
            if not len(self._sequence):
                raise InputError("the sequence of frames is empty", _SHAPE_HINT)
            item = self._sequence[0]
        else:
            try:
                item = next(self._iterator)
            except StopIteration:
                raise InputError("the iterator of frames gave none", _SHAPE_HINT) from None
        self._ahead: list[Any] = [item]
        first = np.asarray(item)
        if first.ndim not in (2, 3) or (first.ndim == 3 and first.shape[2] not in (3, 4)):
            raise InputError(f"frames have shape {first.shape}, not (height, width)", _SHAPE_HINT)
        camera_dtype(first.dtype, "array")
        check_frame(first.shape[0], first.shape[1], "array")
        return first

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its number."""
        if index < 0 or (self.info.n_frames is not None and index >= self.info.n_frames):
            raise IndexError(f"frame {index} of {self.info.n_frames}")
        return Header(source="", source_number=index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`.

        Raises
        ------
        BadFrame
            ``"shape changed"``, ``"dtype changed"`` or ``"not an image"``.
        EndOfSource
            The iterator has ended.
        InputError
            The iterator has passed this frame already.
        """
        self.header(index)
        check_slot(out, self.info)
        item = self._sequence[index] if self._sequence is not None else self._take(index)
        try:
            image = np.asarray(item)
        except Exception as error:
            raise BadFrame("not an image", f"frame {index}: {error}") from error
        if image.dtype.kind == "O":
            raise BadFrame("not an image", f"frame {index} is a {type(item).__name__}")
        if image.shape != self.info.shape + self._depth:
            raise BadFrame("shape changed", f"frame {index} has shape {image.shape}, the first {self.info.shape}")
        if image.dtype != self._dtype:
            raise BadFrame("dtype changed", f"frame {index} is {image.dtype}, the first {self._dtype}")
        if self._depth:
            grey(image, out)
        else:
            out[...] = image
        return ()

    def _take(self, index: int) -> Any:  # noqa: ANN401 - whatever the iterator gives
        """Return item `index` of the iterator, passing over those before it."""
        with self._lock:
            if index < self._next:
                raise InputError(
                    f"frame {index} was asked for after frame {self._next - 1}, but an iterator gives its frames once",
                    "give a list or an array where frames are needed again",
                )
            while True:
                try:
                    item = self._ahead.pop() if self._ahead else next(self._iterator)
                except StopIteration:
                    raise EndOfSource from None
                self._next += 1
                if self._next > index:
                    return item

    def close(self) -> None:
        """Let go of the frames."""
        self._ahead = []


def _indexable(frames: object) -> bool:
    return hasattr(frames, "__len__") and hasattr(frames, "__getitem__") and not isinstance(frames, dict | str | bytes)
