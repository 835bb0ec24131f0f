"""zarr arrays, format 2 and 3, and OME-Zarr images (0.4 and 0.5): the full-resolution level, with its scale and units.

Only the metadata files are parsed before anything is opened, and judged: a chunk is decoded as a whole, so its claimed
size is what an array can cost.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.read.calibration import found, nanometres, seconds
from insitu.read.files import shown, split_member
from insitu.read.frames import camera_dtype, check_frame, check_index, check_slot
from insitu.types import Calibration, Header, SourceInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_MAX_METADATA_BYTES = 1 << 26
_MAX_CHUNK_BYTES = 1 << 30
# a number of frames that is believed although most of their chunks were not written (yet)
_ANY_NUMBER = 1000


class ZarrReader:
    """A zarr array (t, y, x), or an OME-Zarr image whose other axes have length one, as a movie.

    Parameters
    ----------
    path : Path
        The folder of the store, or ``store.zarr::member`` for one array of a group.

    Raises
    ------
    InputError
        No zarr metadata or absurd ones, several candidate arrays, more than one axis besides y and x.
    """

    members = True

    def __init__(self, path: Path) -> None:
        import zarr

        store, member = split_member(str(path))
        self._name = shown(path)
        root = Path(store) / member.strip("/") if member else Path(store)
        if not root.resolve().is_relative_to(Path(store).resolve()):
            raise InputError(f"'{self._name}' leads out of the store", "name an array inside it")
        metadata = _metadata(root, self._name)
        image = _multiscale(metadata)
        inner = _level(root, image, metadata, self._name)
        _check_array(_metadata(inner, self._name), self._name)
        _check_codecs(_metadata(inner, self._name), self._name)
        try:
            self._array: Any = zarr.open_array(str(inner), mode="r")
        except Exception as error:  # zarr raises what its codecs and stores raise
            raise InputError(
                f"'{self._name}' is no readable zarr array: {shown(str(error))[:200]}", "copy it again"
            ) from error
        self._source = shown(inner.relative_to(Path(store)).as_posix()) if inner != Path(store) else ""
        self.info = self._describe(image, inner)

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` is a folder with zarr metadata."""
        if not path.is_dir():
            return "not a folder"
        return any((path / name).is_file() for name in _METADATA) or "no zarr metadata"

    def _describe(self, image: dict[str, Any], inner: Path) -> SourceInfo:
        shape = tuple(int(n) for n in self._array.shape)
        axes = _axes(image, len(shape))
        if len(shape) < 2 or 0 in shape or axes[-2:] != ["y", "x"]:
            raise InputError(f"'{self._name}' has the axes {axes} of lengths {shape}", "its last axes must be y and x")
        long = [k for k, n in enumerate(shape[:-2]) if n > 1]
        self._fixed = [k for k in long if axes[k] == "c" and len(long) > 1]
        rest = [k for k in long if k not in self._fixed]
        if len(rest) > 1:
            raise InputError(
                f"'{self._name}' has the axes {axes} of lengths {shape}, not one movie", "save one slice as (t, y, x)"
            )
        self._axis = rest[0] if rest else 0
        self._lead = len(shape) - 2
        height, width = shape[-2:]
        check_frame(height, width, self._name)
        notes = tuple(f"{shape[k]} channels: the first is used" for k in self._fixed)
        if rest and axes[self._axis] in {"z", "c"}:
            notes += (f"axis {axes[self._axis]} read as time",)
        dtype = camera_dtype(np.dtype(self._array.dtype), self._name)
        n_frames = shape[self._axis] if self._lead else 1
        if n_frames > _ANY_NUMBER:
            _check_length(inner, n_frames, self._array, self._axis, self._name)
        calibration = _calibration(image, axes)
        return SourceInfo(
            self._name, "OME-Zarr" if image else "zarr", height, width, dtype, n_frames, calibration, notes
        )  # fmt: skip

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`: its array."""
        check_index(index, self.info.n_frames)
        return Header(self._source, index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; BadFrame ``"unreadable"`` where its chunk is damaged.

        A chunk that was never written is the array's fill value, as zarr defines it.
        """
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        place: list[Any] = [0] * self._lead + [slice(None), slice(None)]
        if self._lead:
            place[self._axis] = index
        try:
            out[...] = self._array[tuple(place)]
        except Exception as error:  # a damaged chunk makes codecs raise errors of their own
            raise BadFrame("unreadable", f"frame {index} of {self._name}: {shown(str(error))[:200]}") from error
        return ()

    def close(self) -> None:
        """Nothing stays open between frames."""


def _metadata(folder: Path, name: str) -> dict[str, Any]:
    """Return the metadata of a node: format 3 as it is, format 2 with its attributes under ``attributes``.

    Raises
    ------
    InputError
        No metadata, or none that can be parsed.
    """
    try:
        if (folder / "zarr.json").is_file():
            return _json(folder / "zarr.json")
        for kind, file in (("array", ".zarray"), ("group", ".zgroup")):
            if (folder / file).is_file():
                attributes = _json(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}
                return {**_json(folder / file), "node_type": kind, "attributes": attributes}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{name}' has damaged zarr metadata: {shown(str(error))[:200]}", "copy the store again"
        ) from error
    raise InputError(f"'{name}' has no zarr metadata in '{shown(folder)}'", "give the folder that holds zarr.json")


def _json(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _MAX_METADATA_BYTES:
        raise ValueError(f"{file.name} has {file.stat().st_size} bytes")
    content = json.loads(file.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} holds no JSON object")  # noqa: TRY004 - damaged metadata, whatever is wrong
    return content


def _multiscale(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the first OME-Zarr image of a group (0.5 keeps it under ``ome``), or an empty dict."""
    attributes = metadata.get("attributes")
    if not isinstance(attributes, dict):
        return {}
    inner = attributes.get("ome", attributes)
    images = inner.get("multiscales") if isinstance(inner, dict) else None
    return images[0] if isinstance(images, list) and images and isinstance(images[0], dict) else {}


def _level(root: Path, image: dict[str, Any], metadata: dict[str, Any], name: str) -> Path:
    """Return the folder of the array to read: the node itself, level 0 of an image, or the only array of a group."""
    if metadata.get("node_type") == "array":
        return root
    if image:
        try:
            level = str(image["datasets"][0]["path"])
        except (LookupError, TypeError):
            raise InputError(f"'{name}' has multiscales without datasets", "name the array: store.zarr::0") from None
        folder = root / level
        if not folder.resolve().is_relative_to(root.resolve()):
            raise InputError(
                f"'{name}' names a level outside the store: {shown(level)}", "name the array: store.zarr::0"
            )
        return folder
    arrays = [p for p in sorted(root.iterdir()) if (p / ".zarray").is_file() or _is_array(p)]
    if len(arrays) == 1:
        return arrays[0]
    names = ", ".join(f"'{name}::{shown(p.name)}'" for p in arrays[:6])
    raise InputError(
        f"'{name}' is a group of {len(arrays)} arrays", f"name one: {names}" if names else "give the folder of an array"
    )


def _is_array(folder: Path) -> bool:
    try:
        return _json(folder / "zarr.json").get("node_type") == "array"
    except (OSError, ValueError, RecursionError):
        return False


def _check_array(metadata: dict[str, Any], name: str) -> None:
    """Refuse chunks (or shards' inner chunks) too large to decode, and shapes that are no shapes."""
    grid = metadata.get("chunk_grid", {})
    chunks = metadata.get("chunks") or (
        grid.get("configuration", {}).get("chunk_shape") if isinstance(grid, dict) else None
    )
    for codec in metadata.get("codecs") or ():
        if isinstance(codec, dict) and codec.get("name") == "sharding_indexed":
            chunks = codec.get("configuration", {}).get("chunk_shape", chunks)
    shape = metadata.get("shape")
    whole = all(isinstance(s, list) and all(type(n) is int and n >= 0 for n in s) for s in (shape, chunks))
    # eight bytes a pixel, the widest dtype that is accepted
    if not whole or math.prod(chunks or ()) * 8 > _MAX_CHUNK_BYTES:
        raise InputError(
            f"'{name}' has shape {shown(str(shape))[:80]} in chunks of {shown(str(chunks))[:80]}",
            "save it again with chunks (1, height, width)",
        )


def _check_codecs(metadata: dict[str, Any], name: str) -> None:
    """Refuse chunks that are pickles: decoding one could run any program."""
    listed = [*(metadata.get("codecs") or ()), *(metadata.get("filters") or ()), metadata.get("compressor")]
    words = [str(c.get("name", c.get("id", ""))) for c in listed if isinstance(c, dict)]
    if any("pickle" in word.lower() for word in words):
        raise InputError(
            f"'{name}' stores its chunks as pickles, which could run any program when decoded",
            "save it again with zstd, by the program that wrote it",
        )


def _check_length(folder: Path, declared: int, array: Any, axis: int, name: str) -> None:  # noqa: ANN401 - zarr.Array
    """Refuse a number of frames far beyond what the files of an array can hold."""
    chunk = (array.shards or array.chunks)[axis]
    files = sum(len(files) for _, _, files in os.walk(folder))
    if declared > 10 * files * chunk + _ANY_NUMBER:
        raise InputError(
            f"'{name}' declares {declared} frames, but its {files} files hold at most {files * chunk}",
            "copy the store again; if chunks were left out on purpose, save the part that was written",
        )


def _axes(image: dict[str, Any], n: int) -> list[str]:
    """Return the axis names of an image, or t, y, x (t, c, y, x; t, c, z, y, x) where nothing names them."""
    listed = image.get("axes")
    if isinstance(listed, list) and len(listed) == n:
        return [str(a.get("name", "?") if isinstance(a, dict) else a) for a in listed]
    return list("tczyx"[: n - 2] + "yx") if n <= 5 else ["?"] * n


def _calibration(image: dict[str, Any], axes: list[str]) -> Calibration:
    """Return the scale of level 0 where its axes have units; without a unit a scale says nothing."""
    scale = [1.0] * len(axes)
    try:
        for transforms in (
            image.get("coordinateTransformations", ()),
            image["datasets"][0]["coordinateTransformations"],
        ):
            for transform in transforms:
                if transform.get("type") == "scale" and len(transform["scale"]) == len(axes):
                    scale = [a * float(b) for a, b in zip(scale, transform["scale"], strict=True)]
        units = [str(axis.get("unit", "")) for axis in image["axes"]]
    except (LookupError, TypeError, ValueError, AttributeError):
        return Calibration()
    x, y = (nanometres(scale[k], units[k]) for k in (-1, -2))
    step = seconds(scale[axes.index("t")], units[axes.index("t")] or "none") if "t" in axes else None
    return found(x, y, nm_source="OME-Zarr scale", s_per_frame=step, s_source="OME-Zarr scale")
