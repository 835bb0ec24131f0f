"""One engine a run folder: an advisory lock that dies with its process, and says who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from insitu.errors import CommandError
from insitu.store import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOKERS, _A_LOOK_S = 5, 0.02


class Lock:
    """Hold ``OUT/lock`` as long as this object is open.

    The kernel releases the lock when the process ends, however it ends, so a file left behind by a killed engine is
    stale by construction; the process id and boot id in it are there for the message.

    Raises
    ------
    CommandError
        Another engine works in the folder.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / layout.LOCK
        self._descriptor, left = self._take()
        self.stale = _owner(left) if left else ""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "boot": boot_id()}).encode(), 0)

    def _take(self) -> tuple[int, bytes]:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            content = os.pread(descriptor, 4096, 0)
            try:
                _exclude(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                raise CommandError(
                    f"another engine is working in '{self._path.parent}' ({_owner(content) or 'starting'})",
                    "wait until it ends, stop it, or choose another folder with -o OTHER",
                ) from None
            if self._still_named(descriptor):
                return descriptor, content
            # its holder removed the file between our open and our lock: try again on the new one
            os.close(descriptor)

    def _still_named(self, descriptor: int) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False

    @property
    def held(self) -> bool:
        """Whether the lock has not been released."""
        return self._descriptor >= 0

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Let go of the lock when the block fails, so that the next attempt is not refused."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Remove the file and let go; a second call does nothing."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def _exclude(descriptor: int) -> None:
    """Lock a file; BlockingIOError where an engine has it, not where somebody only looks whether one does (`held`)."""
    for attempt in range(_LOOKERS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 == _LOOKERS:
                raise
            time.sleep(_A_LOOK_S)
        else:
            return


def held(out: Path) -> bool:
    """Whether an engine works in a run folder; True also where that cannot be told."""
    try:
        with (out / layout.LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # BlockingIOError: one has it; others: a share without locks
        return True
    return False


def boot_id() -> str:
    """Return the kernel's id of this boot; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _owner(content: bytes) -> str:
    try:
        owner = json.loads(content)
        return f"process {owner['pid']}" + ("" if owner["boot"] == boot_id() else " of an earlier boot")
    except (ValueError, KeyError, TypeError):
        return ""
