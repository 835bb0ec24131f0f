"""Frames that were analysed by another process and wait to be linked: one file for a range of planes.

The file is a zip archive of stored (not deflated) members: for every packet of `PACKET` frames one with the measured
columns, the packed runs and what is known of the frames, and one with the label planes exactly as they will stand in a
shard. It is written under a name of its own and renamed when it is whole, so that a range may be analysed twice, at the
same time, by processes that know nothing of each other. The name holds the identity of the run: a file of another run
is never taken for it.
"""

from __future__ import annotations

import io
import json
import os
import socket
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from insitu.errors import InputError
from insitu.store import layout
from insitu.store.disk import TEMPORARY
from insitu.store.labels import PlanePacker
from insitu.store.state import pack, pack_planes, unpack, unpack_planes
from insitu.types import Frame, Header, Measured, Particles, Runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.store.disk import Disk

PACKET = 64
_FORMAT = 1
_COLUMNS = tuple(f.name for f in fields(Particles))
_RUNS = ("row", "start", "stop", "label")
_SUMS = ("intensity_sum", "probability_sum")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One frame of a range, analysed by itself; `plane` is its packed label plane where labels are written."""

    frame: Frame
    measured: Measured | None
    threshold: float | None = None
    flags: tuple[str, ...] = ()
    plane: bytes | None = None


def range_path(out: Path, key: str, first: int, stop: int) -> Path:
    """Return where the planes from `first` to before `stop`, of the run with identity `key`, lie when analysed."""
    return out / layout.RANGES / f"{first:08d}-{stop:08d}-{key}.zip"


def write_range(
    path: Path,
    frames: Iterable[Found],
    disk: Disk,
    *,
    plane_shape: tuple[int, int] | None = None,
    sums: bool = False,
) -> dict[str, int]:
    """Write the file of a range; it appears whole or not at all.

    Parameters
    ----------
    path : Path
        As `range_path` gives it; its folder must exist.
    frames : iterable of Found
        In order; their label planes are painted here.
    disk : Disk
    plane_shape : tuple of int, optional
        Height and width of the label planes; none are written without it.
    sums : bool
        Keep the sums of counts and probabilities of every run: needed where particles may be cut apart later.

    Returns
    -------
    dict
        Number of frames ``ok``, ``bad`` and ``missing``, and of ``particles``.
    """
    counts = dict.fromkeys(("ok", "bad", "missing", "particles"), 0)
    packer = PlanePacker(plane_shape) if plane_shape else None
    # under the name of this process until it is whole: another may be writing the same range
    own = path.with_name(f"{path.name}.{_writer(os.getpid())}")
    try:
        with disk.writing(own) as file, zipfile.ZipFile(cast("IO[bytes]", file), "w") as archive:
            for number, packet in enumerate(_packets(frames)):
                _add(archive, _member("frames", number), _squeezed(pack(_arrays(packet, sums=sums))))
                if packer:
                    planes = [packer.pack(f.measured.runs if f.measured else None) for f in packet]
                    _add(archive, _member("planes", number), pack_planes(planes))
                for found in packet:
                    counts[found.frame.status] += 1
                    counts["particles"] += len(found.measured.particles) if found.measured else 0
            _add(archive, "end", json.dumps({"format": _FORMAT, "counts": counts}).encode())
        disk.rename(own, path)
    except BaseException:
        for left in (own, own.with_name(own.name + TEMPORARY)):
            left.unlink(missing_ok=True)
        raise
    disk.sync_folder(path.parent)
    return counts


def _writer(pid: int) -> str:
    return f"{socket.gethostname()}-{pid}"


def clear_partial(out: Path, pid: int) -> None:
    """Remove what process `pid` of this machine, which has ended, left half written in the run `out`."""
    for path in (out / layout.RANGES).glob(f"*.{_writer(pid)}{TEMPORARY}"):
        with suppress(OSError):
            path.unlink()


def read_range(path: Path, skip: int = 0) -> Iterator[Found]:
    """Yield the frames of a range but the first `skip`, a packet at a time.

    Raises
    ------
    InputError
        The file is damaged: analyse the range again.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if json.loads(archive.read("end"))["format"] != _FORMAT:
                raise ValueError("written by another version")  # noqa: TRY301 - one way out for all damage
            number, first = 0, 0
            while (member := _member("frames", number)) in names:
                frames = _frames(_unsqueezed(archive.read(member)))
                planes: Sequence[bytes | None] = [None] * len(frames)
                if skip < first + len(frames) and (member := _member("planes", number)) in names:
                    planes = unpack_planes(io.BytesIO(archive.read(member)))
                for found, plane in islice(zip(frames, planes, strict=True), max(0, skip - first), None):
                    yield Found(*found, plane=plane)
                number, first = number + 1, first + len(frames)
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError, RuntimeError) as error:
        raise InputError(
            f"'{path}' is damaged: {error}", "delete it, then give the same command with --resume"
        ) from error


def _member(kind: str, number: int) -> str:
    return f"{kind}-{number:06d}"


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data)  # without the time: a range that is done twice has the same bytes


def _packets(frames: Iterable[Found]) -> Iterator[list[Found]]:
    source = iter(frames)
    while packet := list(islice(source, PACKET)):
        yield packet


def _squeezed(data: bytes) -> bytes:
    from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

    return bytes(Zstd(level=1, checksum=True).encode(data))


def _unsqueezed(data: bytes) -> io.BytesIO:
    from numcodecs.zstd import Zstd

    return io.BytesIO(Zstd().decode(data))


def _arrays(packet: Sequence[Found], *, sums: bool) -> dict[str, NDArray[Any]]:
    """Return the arrays of a packet: numbers as columns over all its frames, the rest as JSON."""
    used = [f.measured for f in packet if f.measured]
    facts = json.dumps({"mask": _mask(used[0].runs) if used else None, "frames": [_facts(f) for f in packet]})
    arrays: dict[str, NDArray[Any]] = {"facts": np.frombuffer(facts.encode(), np.uint8)}
    if used:
        arrays |= {n: np.concatenate([getattr(m.particles, n) for m in used]) for n in _COLUMNS}
        narrow = np.uint16 if max(used[0].runs.shape) < 2**16 else np.int32
        arrays |= {f"runs.{n}": np.concatenate([getattr(m.runs, n) for m in used]).astype(narrow) for n in _RUNS}
        there = [n for n in _SUMS if sums and getattr(used[0].runs, n) is not None]
        arrays |= {f"runs.{n}": np.concatenate([getattr(m.runs, n) for m in used]) for n in there}
    return arrays


def _mask(runs: Runs) -> dict[str, Any]:
    return {"shape": runs.shape, "origin": runs.origin, "bin": runs.bin}


def _facts(found: Found) -> dict[str, Any]:
    frame, measured = found.frame, found.measured
    facts: dict[str, Any] = {
        "index": frame.index,
        "status": frame.status,
        "frame_flags": frame.flags,
        "header": asdict(frame.header),
        "time_s": frame.time_s,
        "detail": frame.detail,
        "threshold": found.threshold,
        "flags": found.flags,
    }
    if measured:
        sizes = {"particles": len(measured.particles), "runs": len(measured.runs), "n_labels": measured.runs.n_labels}
        facts["measured"] = {**sizes, "n_small": measured.n_small, "flags": measured.flags}
    return facts


def _frames(data: io.BytesIO) -> list[tuple[Frame, Measured | None, float | None, tuple[str, ...]]]:
    """Return the frames of a packet."""
    arrays = unpack(data)
    facts = json.loads(arrays.pop("facts").tobytes())
    runs: dict[str, Any] = {n.removeprefix("runs."): a for n, a in arrays.items() if n.startswith("runs.")}
    runs |= {n: runs[n].astype(np.int32) for n in _RUNS if n in runs}
    mask = facts["mask"] and {k: tuple(v) if isinstance(v, list) else v for k, v in facts["mask"].items()}
    frames = []
    row = line = 0
    for f in facts["frames"]:
        frame = Frame(
            f["index"], None, f["status"], tuple(f["frame_flags"]), Header(**f["header"]), f["time_s"], f["detail"]
        )
        measured = None
        if m := f.get("measured"):
            rows, lines = slice(row, row + m["particles"]), slice(line, line + m["runs"])
            own = Runs(n_labels=m["n_labels"], **mask, **{n: a[lines] for n, a in runs.items()})
            particles = Particles(*(arrays[n][rows] for n in _COLUMNS))
            measured = Measured(own, particles, m["n_small"], tuple(m["flags"]))
            row, line = rows.stop, lines.stop
        frames.append((frame, measured, f["threshold"], tuple(f["flags"])))
    return frames
