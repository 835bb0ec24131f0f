"""Files that are read at absolute offsets, straight into the slot they belong to, from any thread.

No file is ever mapped into memory: a mapped file that is cut short while it is read kills the whole process (SIGBUS),
a short `preadv` is an ordinary fact about one frame.
"""

from __future__ import annotations

import difflib
import os
import stat
import weakref
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def shown(path: Path | str) -> str:
    """Return `path` as one line of printable UTF-8, whatever bytes the name holds; the odd ones appear as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def similar(path: Path) -> str:
    """Return the entry of the same folder whose name is most like `path`'s, or an empty string."""
    try:
        # comparing names is slow, and a camera may have written a hundred thousand
        names = [entry.name for entry in islice(path.parent.iterdir(), 2000)]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return shown(path.parent / near[0]) if near else ""


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the user error for what the operating system refuses to give."""
    why = error.strerror or type(error).__name__
    if isinstance(error, PermissionError):
        return InputError(f"'{shown(path)}' may not be read: {why}", f"allow it: chmod u+r '{shown(path)}'")
    if isinstance(error, FileNotFoundError):
        near = similar(path)
        folder = f"'{shown(path.parent)}'"
        there = f"look what is in {folder}" if path.parent.is_dir() else f"there is no folder {folder} either"
        hint = f"did you mean '{near}'?" if near else there
        return InputError(f"there is no '{shown(path)}'", hint)
    return InputError(f"'{shown(path)}' cannot be read: {why}", "check the disk or share it lies on, then try again")


class OpenFile:
    """A regular file held open; reads carry their own offset, so that threads need no lock.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    size : int
        Bytes in the file when it was opened.

    Raises
    ------
    InputError
        The file is missing, may not be read, is empty, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # O_NONBLOCK: a named pipe must be refused, not waited for
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(path, error) from error
        self._descriptor = descriptor
        # closes the descriptor once: when called, or when the reader is forgotten
        self.close = weakref.finalize(self, os.close, descriptor)
        status = os.fstat(descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise InputError(f"'{shown(path)}' is not a regular file", "give a movie file or a folder of images")
        if not self.size:
            self.close()
            raise InputError(f"'{shown(path)}' is empty (0 bytes)", "copy the file again from the microscope computer")

    @property
    def descriptor(self) -> int:
        """The open file descriptor; ValueError once closed, because its number may belong to another file by then."""
        if not self.close.alive:
            raise ValueError(f"'{shown(self.path)}' is closed")
        return self._descriptor

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`; fewer at the end of the file."""
        if offset < 0 or offset >= self.size or count <= 0:
            return b""
        try:
            return os.pread(self.descriptor, min(count, self.size - offset), offset)
        except OSError as error:
            raise unreadable(self.path, error) from error

    def fill(self, out: NDArray[Any], offset: int) -> None:
        """Fill `out` with the bytes at `offset`.

        Raises
        ------
        BadFrame
            ``"truncated"`` where the file ends too early, ``"unreadable"`` where the disk reports an error.
        """
        if not out.flags.c_contiguous:
            whole = np.empty(out.shape, out.dtype)
            self.fill(whole, offset)
            out[...] = whole
            return
        left = out.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(left):  # one call moves at most 2 GiB
            try:
                got = os.preadv(self.descriptor, [left[done:]], offset + done)
            except OverflowError:  # a header may point beyond what any file can hold
                got = 0
            except OSError as error:
                raise BadFrame("unreadable", f"{shown(self.path)}: {error.strerror} at byte {offset + done}") from error
            if not got:
                missing = f"{len(left) - done} of {len(left)} bytes of the frame at byte {offset} are missing"
                raise BadFrame("truncated", f"{shown(self.path)}: {missing}")
            done += got

    def fill_frame(self, out: NDArray[Any], offset: int, stored: np.dtype[Any]) -> None:
        """Fill `out` with a frame that lies uncompressed at `offset` in dtype `stored` (any byte order)."""
        self.fill(out, offset)
        if not stored.isnative:
            out.byteswap(inplace=True)


def magic(path: Path, count: int = 64) -> bytes:
    """Return the first `count` bytes of a file, or none where it cannot be read (a claim must not raise)."""
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(count) or b""
    except (OSError, ValueError):
        return b""


def split_member(source: str) -> tuple[str, str]:
    """Split ``file.h5::/path`` into the file and the member inside it; the member is empty where none is named."""
    file, _, member = source.partition("::")
    return file, member
