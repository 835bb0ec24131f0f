"""Whether a file is complete, although nobody says so.

It is, once a reader can read it to its end, and a later file exists, or no program has it open for writing, or it has
not changed for a while; and its last row is not zero, as it is in a file that was given its size before its content.
"""

from __future__ import annotations

import fcntl
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.read.watch.patience import Patience

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.5


@dataclass(slots=True)
class Attempt:
    """What was seen of the file that is next, each time it was looked at (times in s, monotonic).

    Attributes
    ----------
    size, changed_ns
        As the file system last told.
    since : float
        When size or time of change were first seen as they are.
    next : float
        When to look at it again.
    """

    name: str
    next: float
    size: int = -1
    changed_ns: int = -1
    since: float = 0.0
    pause: float = _FIRST_PAUSE_S

    def see(self, size: int, changed_ns: int, now: float) -> bool:
        """Note what the file system says of the file; return whether it has changed."""
        if (size, changed_ns) == (self.size, self.changed_ns):
            return False
        self.size, self.changed_ns, self.since = size, changed_ns, now
        self.pause = _FIRST_PAUSE_S
        return True

    def put_off(self, now: float) -> None:
        """Look again later, each time a little later."""
        self.next = now + self.pause
        self.pause = min(1.5 * self.pause, _LONGEST_PAUSE_S)

    def quiet_for(self, now: float, newest_ns: int) -> float:
        """Return for how long, in s, the file has not changed.

        That a later file was changed so much later tells it at once, by the file system's own clock.
        """
        return max(now - self.since, (newest_ns - self.changed_ns) * 1e-9 if newest_ns else 0.0)


def released(path: Path) -> bool:
    """Whether no program has a file open for writing; False also where the system does not tell.

    A read lease (fcntl(2), F_SETLEASE) is granted only then. It is given back at once; a program that opens the file
    for writing in between waits for these microseconds.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # a broken lease is told by SIGIO, which would end this process; SIGURG is ignored unless somebody handles it
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError):  # not Linux
        return False
    finally:
        os.close(descriptor)
    return True


class Tails:
    """Whether a last row of zeros is odd for this camera."""

    def __init__(self) -> None:
        self._zero = self._all = 0

    def suspicious(self, image: NDArray[Any]) -> bool:
        """Whether the end of `image` (H, W) looks as if it were not written yet."""
        return not image[-1].any() and (self._all < 8 or 2 * self._zero < self._all)

    def learn(self, image: NDArray[Any]) -> None:
        """Take account of a frame that is complete."""
        self._all += 1
        self._zero += not image[-1].any()


def trusted(attempt: Attempt, path: Path, patience: Patience, now: float, newest_ns: int, *, followed: bool) -> bool:
    """Whether there is reason to believe that the writer is done with a file (`followed`: a later one exists)."""
    if followed or attempt.quiet_for(now, newest_ns) >= patience.settle_s:
        return True
    return patience.ask_system and released(path)
