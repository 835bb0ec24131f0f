"""The order of numbered files: by the number that counts them, never by spelling or time of arrival.

``frame_2`` comes before ``frame_10``. Of several numbers in a name, the one that is different in every file and leaves
the fewest gaps counts them; where none is, as in ``Minute_00_Second_01_Frame_0003``, all together order them and the
last one counts within what stands before it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from insitu.errors import InputError
from insitu.read.files import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = re.compile(r"[0-9]+")
# folders of Gatan cameras, in the spellings that sites have
NESTED = re.compile(r"(hour|minute|second)[ _.-]?[0-9]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Files in order of time; None where a number is missing.

    Attributes
    ----------
    names : tuple of str or None
    numbers : tuple of int
        The counting number of each place, missing ones included.
    notes : tuple of str
    """

    names: tuple[str | None, ...]
    numbers: tuple[int, ...]
    notes: tuple[str, ...] = ()


def timeline(names: Sequence[str]) -> Timeline:
    """Order file names (which may carry folders) and find the gaps between them.

    Raises
    ------
    InputError
        Two names with equal numbers.
    """
    if len(names) == 1:
        numbers = numbers_of(names[0])
        return Timeline(tuple(names), (numbers[-1] if numbers else 0,))
    same, notes = alike(names)
    if not same:
        return _unlike(names)
    rows = {name: numbers_of(name) for name in same}
    ordered = sorted(same, key=rows.__getitem__)
    _all_different(ordered, rows)
    column = counting_column([rows[name] for name in ordered], same[0])
    if column is not None:
        return _filled({rows[name][column]: name for name in same}, notes)
    varying = varying_columns(list(rows.values()))
    keys = {name: tuple(row[c] for c in varying) for name, row in rows.items()}
    return _nested(ordered, keys, notes)


def numbers_of(name: str) -> tuple[int, ...]:
    """Return all numbers of a name, in order."""
    return tuple(int(n) for n in _NUMBER.findall(stem_of(name)))


def stem_of(name: str) -> str:
    """Return a name without its suffix: the digit of .dm4 counts nothing."""
    return name.rpartition(".")[0] or name


def shape_of(name: str) -> str:
    """Return what names that belong together share: all but the numbers, in any case of letters."""
    return _NUMBER.sub("#", stem_of(name)).casefold()


def varying_columns(rows: Sequence[tuple[int, ...]]) -> list[int]:
    """Return which of the numbers are not the same in all names."""
    return [c for c, column in enumerate(zip(*rows, strict=True)) if len(set(column)) > 1]


def counting_column(rows: Sequence[tuple[int, ...]], name: str) -> int | None:
    """Return which of the numbers counts alone: different in all names, with the fewest gaps; None where none is.

    `rows` are the numbers of files named like `name`, in order. Of equals the first counts, those of folders last: the
    first two files may lie in two folders, whose numbers go up as their own do. In folders by time a number that does
    not rise with the rows starts again in each, even where the first of them happens to hold only the numbers that the
    next one does not.
    """
    columns = {c: [row[c] for row in rows] for c in varying_columns(rows)}
    unique = [c for c, numbers in columns.items() if len(set(numbers)) == len(numbers)]
    if in_timed_folders(name):
        unique = [c for c in unique if columns[c] == sorted(columns[c])]
    folders = len(_NUMBER.findall(name.rpartition("/")[0]))
    return min(unique, key=lambda c: (_missing(sorted(columns[c])), c < folders)) if unique else None


def in_timed_folders(name: str) -> bool:
    """Whether a file lies in folders by hour, minute or second, as Gatan cameras make them."""
    return NESTED.fullmatch(name.split("/", 1)[0]) is not None and "/" in name


def alike(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the names that differ in their numbers only, if they are the majority; the others become a note."""
    shapes = {name: shape_of(name) for name in names}
    shape, count = Counter(shapes.values()).most_common(1)[0]
    if 2 * count <= len(names) or "#" not in shape:
        return [], ()
    others = [name for name in names if shapes[name] != shape]
    if not others:
        return list(names), ()
    some = ", ".join(f"'{shown(name)}'" for name in sorted(others)[:3]) + (", …" if len(others) > 3 else "")
    kept = [name for name in names if shapes[name] == shape]
    return kept, (f"{len(others)} files ignored whose names differ from '{shown(shape)}': {some}",)


def _unlike(names: Sequence[str]) -> Timeline:
    """Order names of different shapes: by their last number, else their first; without numbers by the alphabet."""
    rows = {name: numbers_of(name) for name in names}
    if not all(rows.values()):
        ordered = sorted(names)
        return Timeline(tuple(ordered), tuple(range(len(ordered))), ("names without numbers: in alphabetical order",))
    for place in (-1, 0):
        counted = {row[place]: name for name, row in rows.items()}
        if len(counted) == len(names):
            return _filled(counted, ())
    keys: dict[str, tuple[int, ...]] = {name: (row[-1],) for name, row in rows.items()}
    ordered = sorted(names, key=keys.__getitem__)
    _all_different(ordered, keys)
    raise AssertionError("equal numbers were found above")


def _all_different(ordered: Sequence[str], keys: dict[str, tuple[int, ...]]) -> None:
    for before, after in pairwise(ordered):
        if keys[before] == keys[after]:
            raise InputError(
                f"'{shown(before)}' and '{shown(after)}' have the same number {keys[after][-1]}",
                "say which files belong to the movie, for example with the pattern 'folder/frame_*.tif'",
            )


def believable(files: int) -> int:
    """Return how many frames may be missing among so many files; more, and the numbers are no count of frames."""
    return 10 * files + 1000


def _missing(numbers: Sequence[int]) -> int:
    """Return how many numbers are missing from a sorted sequence, given its own step."""
    step = math.gcd(*(b - a for a, b in pairwise(numbers)))
    return (numbers[-1] - numbers[0]) // step + 1 - len(numbers)


def _filled(counted: dict[int, str], notes: tuple[str, ...]) -> Timeline:
    """Return the files in order of their number, with a place for each number that is missing."""
    numbers = sorted(counted)
    missing = _missing(numbers)
    if missing == 0 or missing > believable(len(numbers)):
        if missing:
            notes += (f"numbers jump between {numbers[0]} and {numbers[-1]}: gaps are not counted",)
        return Timeline(tuple(counted[n] for n in numbers), tuple(numbers), notes)
    step = math.gcd(*(b - a for a, b in pairwise(numbers)))
    places = range(numbers[0], numbers[-1] + 1, step)
    return Timeline(tuple(counted.get(n) for n in places), tuple(places), notes)


def _nested(ordered: Sequence[str], keys: dict[str, tuple[int, ...]], notes: tuple[str, ...]) -> Timeline:
    """Return files whose last number starts again with each value of those before it; gaps inside a run are filled."""
    names: list[str | None] = []
    numbers: list[int] = []
    for _, run in groupby(ordered, key=lambda name: keys[name][:-1]):
        counted = {keys[name][-1]: name for name in run}
        inside = range(min(counted), max(counted) + 1)
        holes = len(inside) - len(counted)
        for number in inside if holes <= believable(len(counted)) else sorted(counted):
            names.append(counted.get(number))
            numbers.append(number)
    return Timeline(
        tuple(names), tuple(numbers), (*notes, "numbers start again: gaps at the ends of a run are not seen")
    )
