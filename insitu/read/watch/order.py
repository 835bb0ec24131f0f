"""The order of files that are not all there yet, such that it is the order they have once all are.

`insitu.read.timeline` looks at all names and decides which of their numbers counts. Here the first names decide, and
one thing is learned later: that numbers begin again, as in ``Second_00/Frame_0000`` … ``Second_01/Frame_0000``.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from insitu.read import timeline as tl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"[0-9]+")


class Place(NamedTuple):
    """Where a file stands: its number, in the group of files among which numbers count."""

    group: tuple[int, ...]
    number: int


class Order:
    """How the files of one recording are ordered.

    Parameters
    ----------
    names : sequence of str
        The names that came first, relative to the folder; at least one.

    Attributes
    ----------
    shape : str or None
        What the names share; None where they share nothing: then the last number counts.
    column : int
        Which number counts.
    nested : bool
        Numbers begin again in each group.
    step : int
        Distance between numbers of successive frames; 1 until it is known (`see_step`).
    """

    def __init__(self, names: Sequence[str]) -> None:
        alike = [n for n in (tl.alike(names)[0] if len(names) > 1 else names) if tl.numbers_of(n)]
        self.shape = tl.shape_of(alike[0]) if alike else None
        self._timed = bool(alike) and tl.in_timed_folders(alike[0])
        rows = sorted(tl.numbers_of(name) for name in alike)
        column = tl.counting_column(rows, alike[0]) if len(rows) > 1 else -1
        self.nested = column is None
        if column is None:
            column = max(tl.varying_columns(rows), default=-1)
        self.column = column if column >= 0 or not rows else len(rows[0]) + column
        self.step = 1

    def place(self, name: str) -> Place | None:
        """Return where a file stands, None where it is none of the recording."""
        row = tl.numbers_of(name)
        if not row or (self.shape is not None and tl.shape_of(name) != self.shape):
            return None
        return Place(row[: self.column], row[self.column]) if self.shape is not None else Place((), row[-1])

    def key(self, place: Place) -> Place:
        """Return what places are sorted by."""
        return place if self.nested else Place((), place.number)

    def next_after(self, last: Place) -> int:
        """Return the number that follows `last` in its group."""
        return last.number + (1 if self.nested else self.step)

    def begins_again(self, last: Place, place: Place, *, taken: bool) -> bool:
        """Whether `place` shows that numbers begin again in each group.

        `taken`: the same number stands already in another group. In folders by hour, minute and second a smaller number
        in a later folder is enough; a number that the name carries beside the count (a temperature) proves nothing.
        """
        if self.nested or self.shape is None:
            return False
        return taken or (self._timed and place.group > last.group and place.number <= last.number)

    def see_step(self, numbers: Iterable[int]) -> None:
        """Take the distance between successive frames from the numbers that are known."""
        self.step = math.gcd(*(b - a for a, b in pairwise(sorted(numbers)))) or 1

    def nest(self) -> None:
        """Count within each group from now on."""
        self.nested, self.step = True, 1


def predicted(name: str, column: int, step: int) -> str:
    """Return the name that follows `name`: number `column` greater by `step`, as wide as it was."""
    stem = tl.stem_of(name)
    for place, found in enumerate(_NUMBER.finditer(stem)):
        if place == column:
            digits = str(int(found[0]) + step).zfill(len(found[0]))
            return stem[: found.start()] + digits + stem[found.end() :] + name[len(stem) :]
    return ""
