"""Open anything as a movie: one call, whatever the format.

A reader is a class with

- ``claims(path) -> bool | str`` (classmethod): True where the file is its own by content or, failing that, by name;
  otherwise the reason, in a few words, why it is not. It is asked for existing paths only, reads a few bytes at most,
  imports nothing heavy and never raises.
- ``__init__(path)``: opens it, validates every declared size against the real one before allocating anything, and
  raises `InputError` where no frame can be had.
- ``info``, ``header``, ``read_into``, ``close`` as `insitu.types.Reader` says; `read_into` may be called from several
  threads.
- ``members = True`` (optional) where the reader understands ``file::member``; it then gets the path with the member.

`insitu.testing.check_reader` checks all of this on a given file.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import CalibrationError, InputError
from insitu.read.calibration import calibrated, unusual
from insitu.read.files import OpenFile, shown, split_member, unreadable
from insitu.read.frames import judge, remarks
from insitu.registry import Entry, entries
from insitu.types import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["calibrated", "describe", "judge", "open_source", "remarks"]


def open_source(
    source: str | Path | list[str | Path] | Iterable[Any] | Reader,
    *,
    pattern: str | None = None,
) -> Reader:
    """Open a movie.

    Parameters
    ----------
    source : path, list of paths, or iterable of arrays
        A file, a folder of numbered images, a glob pattern (``"run/*.dm4"``), ``file.h5::/member``, a list of single
        images in any order (their numbers order them), an array (t, y, x), or any iterable of (y, x) arrays. A reader
        that is open already is returned as it is.
    pattern : str, optional
        Which files of a folder to take, as a glob pattern relative to it.

    Raises
    ------
    InputError
        Nothing there, or no reader can open it; the message gives each reader's reason.
    """
    if isinstance(source, Reader):
        return source
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), pattern)
    if isinstance(source, list | tuple) and source and all(isinstance(s, str | os.PathLike) for s in source):
        return _open_files([Path(s) for s in source])
    from insitu.read.arrays import ArraysReader

    return ArraysReader(source)


def _open_path(path: Path, pattern: str | None) -> Reader:
    if pattern is not None and path.is_dir():
        from insitu.read.folder import FolderReader

        return FolderReader(path, pattern=pattern)
    name, member = split_member(os.fspath(path))
    _there_or_raise(path, name, member)
    if path.exists():
        return open_single(path)
    if member:
        return open_single(Path(name), member)
    return _open_files(_matches(name))


def _open_files(files: list[Path]) -> Reader:
    from insitu.read.folder import FolderReader

    if len(files) == 1:
        return _open_path(files[0], None)
    reader: Reader = FolderReader.from_files(files)
    return reader


def _there_or_raise(path: Path, name: str, member: str) -> None:
    """Refuse what is not there, what may not be read and what is no movie, before any reader is asked."""
    try:
        target = path if path.exists() or not member else Path(name)
        if target.is_dir():
            next(target.iterdir(), None)
        elif target.exists() or not _matches(name):
            OpenFile(target).close()
    except OSError as error:
        raise unreadable(target, error) from error
    except ValueError as error:  # a zero byte in the name
        raise InputError(f"'{shown(path)}' is no path: {error}", "check the path") from error


def _matches(pattern: str) -> list[Path]:
    return [Path(match) for match in glob.glob(pattern, recursive=True)] if glob.has_magic(pattern) else []  # noqa: PTH207 - an absolute pattern is no Path.glob


def open_single(path: Path, member: str = "") -> Reader:
    """Open one existing file or folder with the first registered reader that claims and can read it."""
    refusals: dict[str, list[str]] = {}
    failures: list[InputError] = []
    for entry in entries("readers"):
        answer = _claim(entry, path, member)
        if answer is not True:
            refusals.setdefault(str(answer), []).append(entry.name)
        elif entry.missing():
            failures.append(_needs(entry, path))
        else:
            try:
                reader: Reader = entry.load()(Path(f"{path}::{member}") if member else path)
            except InputError as error:
                failures.append(error)
            else:
                return reader
    if failures:
        # the first reader that called the file its own knows best what is wrong; others may add to it
        more = "".join(f"; {shown(f.message)}" for f in failures[1:])
        raise InputError(shown(failures[0].message) + more, shown(failures[0].hint)) from failures[0]
    reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in refusals.items())
    raise InputError(
        f"cannot read '{shown(path)}' ({reasons})",
        "convert it to TIFF, for example with Fiji: File > Save As > Tiff; docs/formats.md lists what can be read",
    )


def _claim(entry: Entry, path: Path, member: str) -> bool | str:
    """Ask one reader; whatever goes wrong inside a reader of another package is its refusal, never the end."""
    try:
        reader = entry.load()
        if member and not getattr(reader, "members", False):
            return "has no '::' members"
        answer: bool | str = reader.claims(path)
    except Exception as error:
        return f"not available ({shown(str(error))})"
    return answer or "not its format"


def _needs(entry: Entry, path: Path) -> InputError:
    package = f"insitu[{entry.extra}]" if entry.extra else " ".join(entry.missing())
    return InputError(
        f"'{shown(path)}' needs {', '.join(entry.missing())}, which is not installed", f'pip install "{package}"'
    )


def describe(reader: Reader) -> dict[str, Any]:
    """Return what `insitu info` prints of a source: plain values only.

    Keys: ``path, format, n_frames, height, width, dtype, nm_per_px, nm_source, s_per_frame, s_source, exposure_s,
    lossy, n_missing, notes, problem`` (the calibration error a run would end with, or None).
    """
    info = reader.info
    problem = None
    try:
        calibrated(info)
    except CalibrationError as error:
        problem = error.message
    remark = unusual(info.calibration.nm_per_px)
    missing = sum(reader.header(i).status == "missing" for i in range(info.n_frames or 0))
    return {
        "path": info.path,
        "format": info.format,
        "n_frames": info.n_frames,
        "height": info.height,
        "width": info.width,
        "dtype": str(info.dtype),
        "nm_per_px": info.calibration.nm_per_px,
        "nm_source": info.calibration.nm_source,
        "s_per_frame": info.calibration.s_per_frame,
        "s_source": info.calibration.s_source,
        "exposure_s": info.calibration.exposure_s,
        "lossy": info.lossy,
        "n_missing": missing,
        "notes": [*info.notes, *([remark] if remark else [])],
        "problem": problem,
    }
