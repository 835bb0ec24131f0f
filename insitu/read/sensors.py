"""Logs of temperature, pressure and the like, written beside a movie: Protochips, DENSsolutions, any CSV.

A log may still be written while it is read (`SensorLog.look`); what it holds in the end does not depend on how often it
was looked at. Layouts, in our own words: Protochips writes ``Time, Notes, …`` with the units among its notes; DENS
DigiHeater writes tabs below a head of three lines, DENS Impulse plain commas with ``TimeStamp`` and ``Experiment time``
(both as read by RosettaSciIO, https://hyperspy.org/rosettasciio).
"""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import InputError
from insitu.read.files import shown
from insitu.read.sensor_lines import GrowingText, cells, number
from insitu.read.sensor_times import Clock, find_clock, is_time
from insitu.read.sensor_units import column_names, in_seconds, split_unit
from insitu.schema import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_HEAD_LINES = 60
_DELIMITERS = ("\t", ";", ",")
_NOTES = {"notes", "note", "comment", "comments"}
_COUNTERS = {"", "sample", "index", "row", "no", "no.", "#"}
_UNITS_NOTE = re.compile(r"(\w+) units = (.+)")
_DIGIHEATER = "digiheater"


class SensorLog:
    """A log, as far as it was written at the last look.

    Parameters
    ----------
    path : Path
        It need not exist yet.

    Attributes
    ----------
    path : Path
    format : str
        ``"Protochips"``, ``"DENS DigiHeater"``, ``"DENS Impulse"`` or ``"CSV"``; empty until it is known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self.format = ""
        self._text = GrowingText(self.path)
        self._head: list[str] = []
        self._delimiter = ","
        self._heads: list[str] = []
        self._clock: Clock | None = None
        self._note_column: int | None = None
        self._sensors: list[int] = []
        self._units: dict[str, str] = {}
        self._times = array("d")
        self._values: list[array[float]] = []
        self._notes: dict[int, str] = {}
        self._odd: dict[str, int] = {}
        self._last: tuple[str, ...] = ()

    def look(self) -> bool:
        """Read what was appended; return whether there is more than before.

        A log that was replaced by another one is read anew from its beginning.

        Raises
        ------
        InputError
            It may not be read, is no text, or no column of it is a time.
        """
        lines = self._text.new_lines()
        if self._text.replaced:
            self._begin()
            lines = self._text.new_lines()
        for line in lines:
            if self._clock is None:
                self._learn(line)
            else:
                self._take(line)
        return bool(lines)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def universal(self) -> bool | None:
        """Whether its times are UTC; None until that is known."""
        return None if self._clock is None else self._clock.universal

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Time of each reading, (n,) float64, in s: since 1970 if `universal`, since its own zero otherwise.

        The zero of a log that counts is 0, that of one with dates or times of day its first reading.
        """
        clock, times = self._clock, np.array(self._times, np.float64)
        if clock is None or clock.factor is None:
            return np.empty(0)
        if clock.kind in {"local", "clock"} and len(times):
            times -= times[0]
        return times * clock.factor

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Name and unit of each sensor, as in ``environment.parquet``: ``("holder_temperature_C", "°C")``."""
        heads = [split_unit(self._heads[column]) for column in self._sensors]
        told = [(name, unit or self._unit_of(name)) for name, unit in heads]
        return column_names(told, (column.name for column in ENVIRONMENT))

    @property
    def values(self) -> list[NDArray[np.float64]]:
        """Readings of each sensor, (n,) float64 each, NaN where there is none."""
        return [np.array(column, np.float64)[: len(self.times_s)] for column in self._values]

    @property
    def notes(self) -> list[str | None]:
        """What the log notes at each reading."""
        return [self._notes.get(k) for k in range(len(self.times_s))]

    @property
    def has_notes(self) -> bool:
        """Whether one column of the log holds notes."""
        return self._note_column is not None

    def remarks(self) -> list[str]:
        """Return what is odd about the log, one sentence each."""
        told = [f"{count} {what}" for what, count in self._odd.items()]
        if self._clock is not None and self._clock.factor is None:
            told.append("the unit of its times is not told: not used")
        if self._clock is not None and self._clock.assumed and self.format == "CSV":
            told.append("its times have no unit: taken as s")
        times = self.times_s
        if (backwards := int((np.diff(times) < 0).sum())) > 0:
            told.append(f"its time runs backwards {backwards} times: sorted by time")
        if self._text.unfinished:
            told.append("its last line has no end: not used")
        return told

    def checked(self) -> SensorLog:
        """Return the log itself if it holds readings.

        Raises
        ------
        InputError
            It is missing or empty, or has no readings.
        """
        if not self.path.exists():
            raise InputError(f"there is no '{shown(self.path)}'", "name the log of the sensors: --log FILE")
        if self._clock is None:
            raise self._no_time()
        if not len(self.times_s):
            raise InputError(f"'{shown(self.path)}' has no readings", "is it the right log, and was it written yet?")
        return self

    def _no_time(self) -> InputError:
        seen = next((line for line in self._head if line.strip()), "")
        what = f"its first line is '{shown(seen[:80])}'" if seen else "it is empty"
        return InputError(
            f"'{shown(self.path)}' has no column of times that can be read: {what}",
            "its columns need heads, one of them time_s, 'time (ms)', timestamp_utc or the like",
        )

    def _learn(self, line: str) -> None:
        """Look for the heads of the columns, and below them for the first reading."""
        self._head.append(line)
        if len(self._head) > _HEAD_LINES:
            raise self._no_time()
        whole = [known for known in self._head if known.strip() and not known.startswith("#")]
        for place, heads in enumerate(whole[:-1]):
            below = whole[place + 1 :]
            if any(self._understand(heads, reading) for reading in below):
                self._name_format(whole[0])
                self._head = []
                for reading in below:
                    self._take(reading)
                return

    def _understand(self, heads: str, first: str) -> bool:
        """Take `heads` for the heads of the columns if one is a time, and `first` has one."""
        for delimiter in _DELIMITERS:
            names, values = cells(heads, delimiter), cells(first, delimiter)
            if len(names) < 2 or not any(is_time(name) for name in names):
                continue
            clock = find_clock(names, values, delimiter)
            if clock is None or len(values) < 2:
                continue
            self._delimiter, self._heads, self._clock = delimiter, names, clock
            self._note_column = next((k for k, name in enumerate(names) if name.lower() in _NOTES), None)
            times = {k for k, name in enumerate(names) if is_time(name)}
            left_out = {*times, self._note_column}
            self._sensors = [k for k, name in enumerate(names) if k not in left_out and name.lower() not in _COUNTERS]
            self._values = [array("d") for _ in self._sensors]
            return True
        return False

    def _name_format(self, first_line: str) -> None:
        names = {name.lower() for name in self._heads}
        clock = self._clock
        if _DIGIHEATER in first_line.lower():
            self.format = "DENS DigiHeater"
        elif {"timestamp", "experiment time"} <= names:
            self.format = "DENS Impulse"
        elif self._heads[0] == "Time" and self._note_column == 1 and clock is not None and clock.kind == "elapsed":
            self.format = "Protochips"
            clock.factor = None  # one of its notes tells it
        else:
            self.format = "CSV"

    def _take(self, line: str) -> None:
        """Take a reading."""
        clock = self._clock
        assert clock is not None
        if not line.strip() or line.startswith("#"):
            return
        row = cells(line, self._delimiter)
        note = row[self._note_column] if self._note_column is not None and self._note_column < len(row) else ""
        self._take_units(note)
        time = clock.read(row[clock.column], self._delimiter) if clock.column < len(row) else None
        if time is None:
            self._note_odd("lines without a time that can be read: not used")
            return
        if len(row) != len(self._heads):
            self._note_odd("lines with more or fewer cells than columns")
        readings = tuple(row[k] if k < len(row) else "" for k in self._sensors)
        if (row[clock.column], *readings) == self._last:  # as Protochips writes its head: one reading, a line a note
            place = len(self._times) - 1
            if note:
                self._notes[place] = "; ".join(filter(None, (self._notes.get(place), note)))
            return
        self._last = (row[clock.column], *readings)
        if note:
            self._notes[len(self._times)] = note
        self._times.append(time)
        for column, cell in zip(self._values, readings, strict=True):
            value = number(cell, self._delimiter)
            if value is None:
                self._note_odd("cells that are no numbers")
            column.append(float("nan") if value is None else value)

    def _take_units(self, note: str) -> None:
        if self.format == "Protochips" and (found := _UNITS_NOTE.fullmatch(note)):
            self._units[found[1].lower()] = found[2].strip()
            if found[1].lower() == "time" and self._clock is not None:
                self._clock.factor = in_seconds(found[2])

    def _unit_of(self, name: str) -> str:
        return next((unit for word, unit in self._units.items() if word in name.lower()), "")

    def _note_odd(self, what: str) -> None:
        self._odd[what] = self._odd.get(what, 0) + 1
