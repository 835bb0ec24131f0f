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
        numbers = _numbers(names[0])
        return Timeline(tuple(names), (numbers[-1] if numbers else 0,))
    alike, notes = _alike(names)
    if not alike:
        return _unlike(names)
    rows = {name: _numbers(name) for name in alike}
    varying = [c for c in range(len(rows[alike[0]])) if len({row[c] for row in rows.values()}) > 1]
    keys = {name: tuple(row[c] for c in varying) for name, row in rows.items()}
    ordered = sorted(alike, key=rows.__getitem__)
    _all_different(ordered, rows)
    unique = [c for c in range(len(varying)) if len({key[c] for key in keys.values()}) == len(alike)]
    if unique:
        column = min(unique, key=lambda c: _missing(sorted(key[c] for key in keys.values())))
        counted = {key[column]: name for name, key in keys.items()}
        return _filled(counted, notes)
    return _nested(ordered, keys, notes)


def _numbers(name: str) -> tuple[int, ...]:
    stem = name.rpartition(".")[0] or name  # the digit of .dm4 counts nothing
    return tuple(int(n) for n in _NUMBER.findall(stem))


def _alike(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the names that differ in their numbers only, if they are the majority; the others become a note."""
    shapes = {name: _NUMBER.sub("#", name.rpartition(".")[0] or name).casefold() for name in names}
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
    rows = {name: _numbers(name) for name in names}
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


def _missing(numbers: Sequence[int]) -> int:
    """Return how many numbers are missing from a sorted sequence, given its own step."""
    step = math.gcd(*(b - a for a, b in pairwise(numbers)))
    return (numbers[-1] - numbers[0]) // step + 1 - len(numbers)


def _filled(counted: dict[int, str], notes: tuple[str, ...]) -> Timeline:
    """Return the files in order of their number, with a place for each number that is missing."""
    numbers = sorted(counted)
    missing = _missing(numbers)
    if missing == 0 or missing > 10 * len(numbers) + 1000:
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
        for number in inside if holes <= 10 * len(counted) + 1000 else sorted(counted):
            names.append(counted.get(number))
            numbers.append(number)
    return Timeline(
        tuple(names), tuple(numbers), (*notes, "numbers start again: gaps at the ends of a run are not seen")
    )
