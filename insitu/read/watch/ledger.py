"""What the files of a watched folder were like when they were used, and what the folder is like in the end."""

from __future__ import annotations

from array import array
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from insitu.errors import InputError
from insitu.read.files import shown
from insitu.read.timeline import timeline

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from insitu.read.watch.arrivals import Arrivals


_ENOUGH = 64
_JUMP_NS = 2_000_000_000  # files that come together may be so far out of order


class Ledger:
    """Size and time of change of each settled file, by frame; two numbers a frame, for there may be millions.

    Attributes
    ----------
    newest_ns : int
        Latest time of change of the files seen since the clock of the file system last jumped back, in ns.
    remarks : deque of (str, str)
        Where that clock jumped, and that it did.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._changed_ns, self._sizes = array("q"), array("q")
        self._replaced: set[int] = set()
        self.newest_ns = 0
        self.remarks: deque[tuple[str, str]] = deque()

    def see(self, names: Sequence[str]) -> None:
        """Take note of files that have arrived together, in any order."""
        times = [(s.st_mtime_ns, name) for name in names[-_ENOUGH:] if (s := status_of(self._root / name)) is not None]
        if not times:
            return
        newest, name = max(times)
        back_ns = self.newest_ns - newest
        if back_ns > _JUMP_NS:
            self.remarks.append((shown(name), f"the clock of the disk jumped back by {back_ns / 1e9:.0f} s"))
        # else what was changed after a jump would seem as old as it was long, and half a file complete
        self.newest_ns = newest if back_ns > _JUMP_NS else max(self.newest_ns, newest)

    def add(self, changed_ns: int, size: int) -> None:
        """Take note of the file of the next frame."""
        self._changed_ns.append(changed_ns)
        self._sizes.append(size)

    def add_missing(self) -> None:
        """Take note that the next frame has no file."""
        self.add(self._changed_ns[-1] if self._changed_ns else 0, -1)

    def find(self, name: str | None) -> None:
        """Take note of the file of the next frame as it is now, which an earlier run has used."""
        status = None if name is None else status_of(self._root / name)
        if status is None:
            self.add_missing()
        else:
            self.add(status.st_mtime_ns, status.st_size)

    def behind_s(self, index: int) -> float:
        """Return by how many s the newest file is younger than that of frame `index`."""
        if not 0 <= index < len(self._changed_ns):
            return 0.0
        return max(0.0, (self.newest_ns - self._changed_ns[index]) * 1e-9)

    def replaced(self, names: Sequence[str | None], last: int | None = None) -> list[tuple[int | None, str, str]]:
        """Remark, once, on files changed after they were used, among the `last` frames (None: all).

        Deleted ones are the camera computer's own affair.
        """
        remarks: list[tuple[int | None, str, str]] = []
        for index in islice(range(len(names) - 1, -1, -1), last):
            name = names[index]
            if name is None or index in self._replaced or self._sizes[index] < 0:
                continue
            status = status_of(self._root / name)
            if status and (status.st_mtime_ns, status.st_size) != (self._changed_ns[index], self._sizes[index]):
                self._replaced.add(index)
                remarks.append((index, shown(name), "changed after it was used"))
        return remarks


def status_of(path: Path) -> os.stat_result | None:
    """Return what the file system says of a file; None where there is none, or it cannot be told."""
    try:
        return path.stat()
    except OSError:
        return None


def in_the_end(arrivals: Arrivals) -> dict[str, Any]:
    """Return which files came late, and at which frame `insitu run` on the folder would begin to differ."""
    late = [shown(name) for name in arrivals.late]
    try:
        line = timeline([n for n in arrivals.names if n is not None] + arrivals.late)
    except InputError as error:
        return {"late": late, "order": error.message}
    pairs = zip(line.names, arrivals.names, strict=False)
    differs = next((k for k, (batch, here) in enumerate(pairs) if batch != here), None)
    if differs is None and len(line.names) != len(arrivals.names):
        differs = min(len(line.names), len(arrivals.names))
    return {"late": late, "differs_from_frame": differs}
