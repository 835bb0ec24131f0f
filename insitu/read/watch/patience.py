"""How long is waited for what: local disks tell the truth at once, shares of a network after seconds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_SHARED = frozenset(("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre"))
_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in s, one number in frames.

    Attributes
    ----------
    poll_s
        Between two looks at the newest folders; longer where a look itself takes long (`duty`).
    duty
        Share of a core that looking may take.
    audit_s
        Between two looks at every folder.
    settle_s
        A file that has not changed for this long, and can be read to its end, is complete.
    quiet_s
        The same for a file whose last row is zero where those of others are not: written in advance, filled later.
    retry_s
        A file that has not changed for this long and still cannot be read is a bad frame.
    reorder_s, reorder_frames
        A number is missing once a later one has been there for so long, or once so many later ones are there.
    ask_system
        Ask the operating system whether a writer still has the file open: true on local disks only.
    """

    poll_s: float = 0.02
    duty: float = 0.02
    audit_s: float = 5.0
    settle_s: float = 0.25
    quiet_s: float = 1.0
    retry_s: float = 10.0
    reorder_s: float = 1.0
    reorder_frames: int = 512
    ask_system: bool = True

    def pause(self, cpu_s: float, wall_s: float) -> float:
        """Return how long to wait, in s, from the beginning of a look to that of the next.

        What counts is the CPU time of a look. Its wall time is also time in which other threads of a busy engine ran: a
        look of 0.2 ms that had to wait 10 ms for its turn must not blind the watcher for half a second. A share that
        answers slowly is given as long again as it took.
        """
        return max(self.poll_s, cpu_s / self.duty, 2.0 * wall_s)


LOCAL = Patience()
# attributes of a share are cached for seconds, and a copy over it may pause
SHARED = Patience(
    poll_s=0.05, settle_s=2.0, quiet_s=5.0, retry_s=30.0, reorder_s=5.0, reorder_frames=4096, ask_system=False
)


def patience_for(folder: Path) -> Patience:
    """Return what suits the disk on which `folder` lies or will lie."""
    return SHARED if is_share(file_system(folder)) else LOCAL


def is_share(kind: str) -> bool:
    """Whether a type of file system is served by another computer, or by a program."""
    return kind in _SHARED or kind.startswith("fuse")


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str:
    """Return the type of the file system that holds `folder`, empty where it cannot be told (proc(5), mountinfo)."""
    place = os.path.realpath(folder)
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    found, longest = "", -1
    for line in lines:
        head, dash, tail = line.partition(" - ")
        fields = head.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of two mounts on one place the later one is seen
            found, longest = tail.split(" ")[0], len(point)
    return found


def _unescaped(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text
