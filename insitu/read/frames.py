"""What holds for a frame of any format: its slot, its size limits, grey from colour, and whether it can be used."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.types import SourceInfo

# 16384², almost three times the largest TEM camera mode (K3 super-resolution, 11520×8184). A frame beyond it is a
# damaged header or a decompression bomb, and is refused before anything is allocated.
MAX_FRAME_PX = 2**28

GREY_NOTE = "RGB averaged to grey"


def check_slot(out: NDArray[Any], info: SourceInfo) -> None:
    """Refuse a slot that is not one frame of the source (ValueError: a mistake of the program, not of the user)."""
    if out.shape != info.shape or out.dtype != info.dtype:
        raise ValueError(f"a slot of {out.shape} {out.dtype} cannot hold a frame of {info.shape} {info.dtype}")


def check_index(index: int, n_frames: int | None) -> None:
    """Refuse an index outside the timeline (IndexError: a mistake of the program)."""
    if index < 0 or (n_frames is not None and index >= n_frames):
        raise IndexError(f"frame {index} of {n_frames}")


def check_frame(height: int, width: int, where: str, samples: int = 1) -> None:
    """Refuse a frame size that no camera gives.

    Raises
    ------
    InputError
        An empty side, or more than `MAX_FRAME_PX` pixels, each of `samples` numbers.
    """
    if height < 1 or width < 1 or samples < 1 or height * width * samples > MAX_FRAME_PX:
        of = "" if samples == 1 else f" of {samples} numbers each"
        raise InputError(
            f"'{where}' claims frames of {height} × {width} px{of}; 1 to {MAX_FRAME_PX} px can be read",
            "the header is damaged, or the file is not a movie: convert it again from the original",
        )


def camera_dtype(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Return the native dtype in which counts of `dtype` are handed on (a mask becomes uint8).

    Raises
    ------
    InputError
        Complex numbers, objects, records, dates, text.
    """
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(f"'{where}' holds {dtype}, not camera counts", "export real intensities (integer or float)")
    return dtype.newbyteorder("=")


def credible(declared: int, available: int, frame_bytes: int, where: str) -> tuple[int, tuple[str, ...]]:
    """Return how many frames a file is taken to have, and a note where that is not what it declares or holds.

    Frames that are declared but lie behind the end of a file that was cut short stay on the timeline, where each is a
    bad frame; a number far beyond what the file can hold is no number of frames.

    Parameters
    ----------
    declared : int
        Frames the header declares.
    available : int
        Bytes from the first pixel to the end of the file.
    frame_bytes : int
    where : str
        The file, for the message.

    Raises
    ------
    InputError
        The file does not hold one whole frame, or its frames have no bytes.
    """
    if frame_bytes < 1:
        raise InputError(f"'{where}' declares frames without pixels", "the header is damaged: copy the file again")
    whole = max(0, available) // frame_bytes
    if not whole:
        raise InputError(
            f"'{where}' holds not one complete frame: a frame needs {frame_bytes} bytes, {max(0, available)} are there",
            "the copy is incomplete or the header damaged: copy the file again",
        )
    if declared <= whole:
        return declared, ()
    note = f"cut short: {declared} frames declared, {whole} complete"
    if declared <= 10 * whole + 1000:
        return declared, (note,)
    return -(-available // frame_bytes), (note,)


def grey(image: NDArray[Any], out: NDArray[Any]) -> None:
    """Fill `out` (H, W) with the mean of the first three channels of `image` (H, W, 3 or 4), rounded for integers."""
    colour = image[..., :3]
    if out.dtype.kind == "f":
        np.mean(colour, axis=-1, out=out)
        return
    total = colour.sum(axis=-1, dtype=np.int64)
    out[...] = (total + 1) // 3  # nearest integer: a sum of three leaves remainder 0, 1 or 2, never a half


def judge(image: NDArray[Any]) -> tuple[str, ...]:
    """Return why a frame cannot be used: ``"all zero"``, ``"constant"``, ``"not finite"``; nothing where it can.

    Integer frames with structure are left after their first row; a float frame costs one sum, because a sum is finite
    only if every term is.

    Parameters
    ----------
    image : ndarray of shape (H, W)
    """
    first = image[0, 0]
    if not (image[0] != first).any() and not (image != first).any():
        if first == 0:
            return ("all zero",)
        return ("constant",) if np.isfinite(first) else ("not finite",)
    if image.dtype.kind == "f" and not _finite(image):
        return ("not finite",)
    return ()


def remarks(image: NDArray[Any]) -> tuple[str, ...]:
    """Return what is odd about a frame that can be used: ``"zero tail"``.

    A file that was given its size before its content, and was never written to its end, ends in rows of zeros. A
    counting detector leaves such rows anywhere; therefore the tail must be more than twice as long as the longest
    stretch of them elsewhere.

    Parameters
    ----------
    image : ndarray of shape (H, W)
    """
    if image[-1].any():
        return ()
    filled = np.flatnonzero(image.any(axis=1))
    if not len(filled):
        return ()
    elsewhere = max(int(filled[0]), int(np.diff(filled).max(initial=1)) - 1)
    tail = len(image) - 1 - int(filled[-1])
    return ("zero tail",) if tail > 2 * elsewhere + 1 else ()


def _finite(image: NDArray[Any]) -> bool:
    with np.errstate(all="ignore"):
        total = float(image.sum(dtype=np.float64 if image.dtype.itemsize == 8 else np.float32))
    # a sum may overflow although every term is finite: then look at every pixel
    return math.isfinite(total) or bool(np.isfinite(image).all())


def utc_stamp(seconds: float, timespec: str) -> str:
    """Return s since 1970 as ISO 8601 in UTC, to ``"seconds"`` or ``"milliseconds"``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec)
