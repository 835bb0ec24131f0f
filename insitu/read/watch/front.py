"""How far the writer of a growing file has come, where the file may have room for frames that are yet to be written.

Frames are written in order. Where a file grows with every frame its size tells which are written; where room for many
came at once only the pixels do, which are zero until then. A frame may be read while it is written, with zeros in its
middle: it counts once a later one had visibly begun *before* it was read, or two reads, a while apart, agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Front:
    """Which frames of a growing file are surely written.

    Parameters
    ----------
    apart_s : float
        How far apart two reads are that have to agree.
    """

    def __init__(self, apart_s: float) -> None:
        self._apart_s = apart_s
        self._there = 0  # frames the file has room for
        self._together = 0  # frames before this one got their room together with others, perhaps in advance
        self._begun = 0  # the last frame that has visibly begun: those before it are written
        self._end_seen = 0
        self._sizes_tell = True
        self._earlier: tuple[int, bytes, float] | None = None

    def opened(self, there: int) -> None:
        """Note for how many frames the file has room now."""
        at_once = not self._there or there - self._there > 1
        if at_once or self._begun + 1 < self._together:  # room ahead of the writer, and more of it
            self._together = there
        self._there = there

    def in_advance(self, index: int) -> bool:
        """Whether the room of frame `index` may have been taken before it was written."""
        return index < self._together

    def overtaken(self, index: int) -> bool:
        """Whether a frame behind frame `index` has visibly begun."""
        return index < self._begun

    def doubt(self) -> None:
        """Trust pixels alone from now on: a frame that the size told to be written looks as if it were not."""
        self._sizes_tell = False

    def passed(self, index: int, begun: Callable[[int], bool], *, through: bool = False) -> bool:
        """Whether the writer is beyond frame `index`, to be asked before that is read.

        `begun` looks at one frame; `through`: look also beyond frames of zeros, of a blanked beam perhaps.
        """
        if index + 1 >= self._there:
            return False
        if index < self._begun or (self._sizes_tell and index + 1 >= self._together):
            return True
        if self._end_seen != self._there:  # a movie that is written to its end takes one look
            self._end_seen = self._there
            for far in (self._there - 1, self._there - 2):  # the last one may be there in part
                if far > index and begun(far):
                    self._begun = far
                    return True
        step = 1
        while index + step < self._there:  # far behind the writer, few looks lead far
            if begun(index + step):
                self._begun = index + step
            elif not through:
                break
            step *= 2
        return index < self._begun

    def agrees(self, index: int, seen: bytes, began: float, ended: float) -> bool:
        """Whether frame `index`, read from `began` to `ended` (s), is as it was when it was read a while before."""
        if self._earlier and self._earlier[:2] == (index, seen):
            return began - self._earlier[2] >= self._apart_s
        self._earlier = (index, seen, ended)
        return False

    def settled(self, index: int) -> None:
        """Note that frame `index` is written."""
        self._begun = max(self._begun, index)
        self._earlier = None
