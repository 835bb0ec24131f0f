"""Every file operation of the store, in one place, so that a test can make any of them fail.

A file becomes visible only whole: it is written under a ``.tmp`` name, fsynced, renamed, and the folder that holds it
is fsynced before anything refers to it. A failing disk therefore leaves the previous state, never a half-written file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY = ".tmp"

FAILPOINTS = (
    "mid-create",
    "after-create",
    "after-shard",
    "after-parts",
    "after-state",
    "before-line",
    "after-line",
    "before-closing-line",
    "after-closing-line",
    "mid-compaction",
    "after-compaction",
    "before-finish-line",
    "after-finish-line",
    "before-merged-line",
    "after-merged-line",
    "mid-clean",
)

_passed: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Die as if killed (exit 137) at the n-th passage of the commit point that ``INSITU_FAILPOINT=name:n`` names."""
    wanted, _, number = os.environ.get("INSITU_FAILPOINT", "").partition(":")
    if wanted != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] == int(number or 1):
        os._exit(137)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the commit log says about a file: its size in bytes and its SHA-256."""

    bytes: int
    sha256: str


class HashingFile:
    """A binary file being written that knows its size and SHA-256; as much of a file object as `pyarrow` needs."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Append `data`."""
        self._disk.put(self._descriptor, data)
        self._hash.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Do nothing: writes are not buffered here."""

    def close(self) -> None:
        """Do nothing: the disk closes the descriptor after the fsync."""

    def stored(self) -> Stored:
        """Size and hash of what was written."""
        return Stored(self._size, self._hash.hexdigest())


class Disk:
    """The real disk. Tests derive from it and fail, or record, the operations at the top.

    Parameters
    ----------
    fsync : bool
        Wait for the disk; only a throw-away run should turn this off.
    """

    def __init__(self, *, fsync: bool = True) -> None:
        self.waits = fsync

    # operations that can fail

    def open(self, path: Path, flags: int) -> int:
        """Open a file for writing."""
        return os.open(path, flags | os.O_CLOEXEC, 0o666)

    def put(self, descriptor: int, data: bytes) -> None:
        """Write all of `data` at the file's position."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int, path: Path) -> None:  # noqa: ARG002 - `path` tells a recording test what was synced
        """Wait until a file or folder is on the medium."""
        if self.waits:
            os.fsync(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a finished file its name, atomically."""
        os.replace(old, new)  # noqa: PTH105 - the one place of os.replace; Path.replace hides it from the fault injection

    def make_folder(self, path: Path) -> None:
        """Make one folder whose parent exists."""
        path.mkdir(exist_ok=True)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all it holds; gone already is fine."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to `size` bytes."""
        descriptor = self.open(path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, size)
            self.sync(descriptor, path)
        finally:
            os.close(descriptor)

    # what the store is made of

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(descriptor, path)
        finally:
            os.close(descriptor)

    def make_folders(self, path: Path, inside: Path) -> None:
        """Make `path` and the folders between it and `inside`, durably."""
        if path == inside or path.is_dir():
            return
        self.make_folders(path.parent, inside)
        self.make_folder(path)
        self.sync_folder(path.parent)

    @contextmanager
    def writing(self, path: Path) -> Iterator[HashingFile]:
        """Write a file that appears whole or not at all; the folder's fsync (`sync_folder`) is left to the caller."""
        temporary = path.with_name(path.name + TEMPORARY)
        descriptor = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            yield HashingFile(self, descriptor)
            self.sync(descriptor, temporary)
        finally:
            os.close(descriptor)
        self.rename(temporary, path)

    def write(self, path: Path, data: bytes) -> Stored:
        """Write a whole file; see `writing`."""
        with self.writing(path) as file:
            file.write(data)
        return file.stored()

    def append(self, path: Path, data: bytes) -> None:
        """Append `data` and wait for it; on failure the file is cut back to what it was."""
        new = not path.exists()
        descriptor = self.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        size = os.fstat(descriptor).st_size
        try:
            self.put(descriptor, data)
            self.sync(descriptor, path)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        finally:
            os.close(descriptor)
        if new:  # without its name in the folder a power cut would take the file, fsynced as it is
            self.sync_folder(path.parent)


def hash_file(path: Path) -> Stored:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return Stored(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
