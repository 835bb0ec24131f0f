"""Arrays as one small file: the tracker's state, and packed label planes that wait for their shard."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of an ``.npz`` file: the same bytes for the same arrays (no time stamp, no pickle)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            one = io.BytesIO()
            np.lib.format.write_array(one, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), one.getvalue())
    return buffer.getvalue()


def unpack(path: Path | IO[bytes]) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def pack_planes(planes: Sequence[bytes]) -> bytes:
    """Return packed label planes as the bytes of a file."""
    lengths = np.array([len(p) for p in planes], np.int64)
    return pack({"lengths": lengths, "bytes": np.frombuffer(b"".join(planes), np.uint8)})


def unpack_planes(path: Path | IO[bytes]) -> list[bytes]:
    """Return packed label planes, in order."""
    arrays = unpack(path)
    ends = np.cumsum(arrays["lengths"])
    joined = arrays["bytes"].tobytes()
    return [joined[end - length : end] for end, length in zip(ends, arrays["lengths"], strict=True)]
