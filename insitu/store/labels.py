"""Label images as OME-Zarr 0.5, written as whole shards.

A plane is painted, packed (zstd-1) and forgotten as soon as its frame arrives; packed planes wait, about 50 kB each for
a 1792×1920 frame, until their shard is complete, and then become one file. Neither a raw shard (440 MB for such frames)
nor the runs of its frames are held. The bytes are those that zarr-python writes for the same planes: a test compares.

Format: zarr v3 specification, codecs ``sharding_indexed`` (index at the end: little-endian uint64 offset and length of
each inner chunk, then CRC32C) and ``zstd``; OME-Zarr 0.5 ``multiscales`` and ``image-label``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.schema import SCHEMA_VERSION
from insitu.store import layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from insitu.store.disk import Disk, Stored
    from insitu.types import RunInfo, Runs

_ABSENT = 2**64 - 1  # offset and length of an inner chunk that a shard does not hold
_CRC32C = 0x82F63B78  # Castagnoli polynomial, reflected (RFC 3720, appendix B.4)


def plane_shape(info: RunInfo) -> tuple[int, int]:
    """Return height and width of a label plane: the analysed region in binned px."""
    return info.region[0] // info.bin, info.region[1] // info.bin


class PlanePacker:
    """Paints label planes of one `shape` (binned px) and packs each as an inner chunk of a shard."""

    def __init__(self, shape: tuple[int, int]) -> None:
        from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

        self._codec = Zstd(level=1, checksum=True)
        self._plane = np.zeros(shape, np.uint16)

    def pack(self, runs: Runs | None) -> bytes:
        """Return the plane of labelled runs, zstd-1; None gives zeros.

        Raises
        ------
        ValueError
            The runs do not have the shape of the planes.
        """
        self._plane[:] = 0
        if runs is not None and len(runs):
            from insitu.runs import paint

            if tuple(runs.shape) != self._plane.shape:
                raise ValueError(f"runs of shape {tuple(runs.shape)} do not fit label planes of {self._plane.shape}")
            paint(runs, out=self._plane)
        return bytes(self._codec.encode(self._plane.astype("<u2", copy=False)))


class LabelStack:
    """The label array of a run while it grows.

    Parameters
    ----------
    info : RunInfo
        Run folder, region, binning, calibration and frame step.
    shard_frames : int
        Planes a shard.
    disk : Disk
        Where files go.
    stored : int
        Planes in complete shards already there (after a resume).
    waiting : sequence of bytes
        Packed planes after those (after a resume).
    """

    def __init__(
        self,
        info: RunInfo,
        shard_frames: int,
        disk: Disk,
        stored: int = 0,
        waiting: Sequence[bytes] = (),
    ) -> None:
        self._out, self._info, self._shard, self._disk = info.out, info, shard_frames, disk
        self.stored = stored
        self._waiting = list(waiting)
        self._packer = PlanePacker(plane_shape(info))

    @property
    def planes(self) -> int:
        """Planes taken, in shards and waiting."""
        return self.stored + len(self._waiting)

    def add(self, runs: Runs | None, packed: bytes | None = None) -> None:
        """Take the next plane; None is a frame that could not be used, stored as zeros.

        `packed` is the plane of these runs where another process has painted and packed it.

        Raises
        ------
        ValueError
            The runs do not have the shape of the planes.
        """
        self._waiting.append(packed or self._packer.pack(runs))

    def waiting(self, first: int) -> list[bytes]:
        """Return the packed planes from number `first` on that are in no shard yet."""
        return self._waiting[max(0, first - self.stored) :]

    def write_shards(self, *, last: bool = False) -> dict[str, Stored]:
        """Write every complete shard, and at the end of the run (`last`) the partial one; return the files."""
        files = {}
        while len(self._waiting) >= self._shard or (last and self._waiting):
            name = layout.shard(self.stored // self._shard)
            planes = self._waiting[: self._shard]
            self._disk.make_folders((self._out / name).parent, self._out)
            files[name] = self._disk.write(self._out / name, shard_bytes(planes, self._shard))
            self._disk.sync_folder((self._out / name).parent)
            del self._waiting[: self._shard]
            self.stored += len(planes)
        if files:
            self.write_array_metadata()
        return files

    def write_metadata(self) -> None:
        """Write what the group and the array say about themselves."""
        self._disk.make_folders(self._out / layout.LABEL_ARRAY, self._out)
        _write_json(self._disk, self._out / layout.LABELS, group_metadata(self._info))
        self.write_array_metadata()

    def write_array_metadata(self) -> None:
        """Write the array's metadata: as many planes as there are in shards."""
        shape = (self.stored, *plane_shape(self._info))
        _write_json(self._disk, self._out / layout.LABEL_ARRAY, array_metadata(shape, self._shard))


def shard_bytes(planes: Sequence[bytes], shard_frames: int) -> bytes:
    """Return packed planes as one zarr v3 shard of `shard_frames` inner chunks; those beyond `planes` are absent."""
    index = np.full((shard_frames, 2), _ABSENT, "<u8")
    lengths = np.array([len(p) for p in planes], np.uint64)
    index[: len(planes), 0] = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    index[: len(planes), 1] = lengths
    packed = index.tobytes()
    return b"".join([*planes, packed, crc32c(packed).to_bytes(4, "little")])


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of a few kB, as a shard index needs it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _crc_entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_CRC32C if value & 1 else 0)
    return value


_CRC_TABLE = tuple(_crc_entry(n) for n in range(256))


def group_metadata(info: RunInfo) -> dict[str, Any]:
    """Return the group's ``zarr.json``: axes, scale and translation in nm and s where known, else without a unit.

    An axis whose calibration is unknown counts camera pixels, or frames, without a unit, and the attribute
    ``calibration`` (``time_calibration`` for the frame time) says so.
    """
    nm, s = info.calibration.nm_per_px, info.calibration.s_per_frame
    time: dict[str, str] = {"name": "t", "type": "time"} | ({"unit": "second"} if s is not None else {})
    space = {"type": "space"} | ({"unit": "nanometer"} if nm is not None else {})
    px, frame = (1.0 if nm is None else nm), (1.0 if s is None else s)
    # a binned pixel's centre lies (bin − 1)/2 camera pixels after its first camera pixel
    centre = [(start + (info.bin - 1) / 2) * px for start in info.origin]
    transformations = [
        {"type": "scale", "scale": [info.step * frame, info.bin * px, info.bin * px]},
        {"type": "translation", "translation": [info.first_frame * frame, *centre]},
    ]
    multiscale = {
        "name": "labels",
        "axes": [time, {"name": "y", **space}, {"name": "x", **space}],
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
    }
    unknown = {"calibration": nm, "time_calibration": s}
    own = {"schema": SCHEMA_VERSION, "first_frame": info.first_frame, "step": info.step, "bin": info.bin}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "ome": {"version": "0.5", "multiscales": [multiscale], "image-label": {}},
            "insitu": own,
            **{name: "unknown" for name, value in unknown.items() if value is None},
        },
    }


def array_metadata(shape: tuple[int, int, int], shard_frames: int) -> dict[str, Any]:
    """Return the array's ``zarr.json``."""
    inner = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "zstd", "configuration": {"level": 1, "checksum": True}},
    ]
    sharding = {
        "chunk_shape": [1, *shape[1:]],
        "codecs": inner,
        "index_codecs": [inner[0], {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [shard_frames, *shape[1:]]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "dimension_names": ["t", "y", "x"],
        "storage_transformers": [],
    }


def _write_json(disk: Disk, folder: Path, content: dict[str, Any]) -> None:
    disk.write(folder / "zarr.json", json.dumps(content, indent=1).encode())
    disk.sync_folder(folder)
