"""The clock of a sensor log: which column holds the time, and what its cells mean.

The time of every reading is taken from its own stamp. That the step is constant is never assumed, for it is not: in a
log of a Protochips gas cell it was 47 to 362 ms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from insitu.read.sensor_lines import number
from insitu.read.sensor_units import in_seconds, split_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["epoch", "utc", "elapsed", "local", "clock"]

_UTC = {"timestamp utc", "time utc", "utc", "utc time", "datetime utc", "date time utc", "utc timestamp"}
_EPOCH = {"unix", "unix time", "unix timestamp", "epoch", "epoch time", "posix time"}
_STAMP = {"timestamp", "time stamp", "datetime", "date time", "date/time", "date and time"}
_ELAPSED = {
    "time", "t", "elapsed", "elapsed time", "experiment time", "relative time", "runtime", "run time", "seconds",
    "measurement time",
}  # fmt: skip
_FORMATS = ("%Y/%m/%d %H:%M:%S.%f", "%Y.%m.%d %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S.%f")
_OF_DAY = re.compile(r"(\d{1,2}):(\d{2}):(\d{2}(?:[.,]\d+)?)")
_RANK: dict[Kind, int] = {"epoch": 0, "utc": 0, "elapsed": 1, "local": 2, "clock": 3}
_DAY_S = 86400.0
_FIRST_EPOCH, _FIRST_EPOCH_MS = 1e8, 1e11


@dataclass(slots=True)
class Clock:
    """How the time of a reading is read.

    Attributes
    ----------
    column : int
    kind : {"epoch", "utc", "elapsed", "local", "clock"}
        Numbers since 1970; dates with their zone; numbers since the log began; dates without a zone; times of day.
    factor : float or None
        s in a unit of a numeric column; None while that is unknown.
    assumed : bool
        No unit is told: s are meant, as far as one knows.
    """

    column: int
    kind: Kind
    factor: float | None = 1.0
    assumed: bool = False
    _last: float = 0.0

    @property
    def universal(self) -> bool:
        """Whether times are UTC."""
        return self.kind in {"epoch", "utc"}

    def read(self, cell: str, delimiter: str) -> float | None:
        """Return the time in a cell in s (`elapsed`: in units of `factor`), or None where there is none."""
        if self.kind in {"epoch", "elapsed"}:
            value = number(cell, delimiter)
            return None if value is None or value != value else value  # noqa: PLR0124 - NaN
        if self.kind == "clock":
            return self._of_day(cell)
        stamp = _date(cell)
        return None if stamp is None else stamp.timestamp()

    def _of_day(self, cell: str) -> float | None:
        """Return the s since the midnight before the first reading."""
        found = _OF_DAY.fullmatch(cell.strip())
        if found is None:
            return None
        value = 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3].replace(",", "."))
        value += _DAY_S * round((self._last - value) / _DAY_S)  # past midnight the day goes on
        self._last = value
        return value


def find_clock(heads: Sequence[str], first: Sequence[str], delimiter: str) -> Clock | None:
    """Return the clock of a log from the heads of its columns and its first reading; None where no column is a time.

    Universal times are taken before times since a beginning, and these before times of an unknown zone.
    """
    clocks = [
        clock
        for column, head in enumerate(heads)
        if column < len(first) and (clock := _clock(column, head, first[column], delimiter)) is not None
    ]
    return min(clocks, key=lambda clock: _RANK[clock.kind], default=None)


def is_time(head: str) -> bool:
    """Whether the head of a column is that of a time."""
    name, unit = _plain(head)
    if name == "t" and head.strip().strip('"').startswith("T"):
        return False  # a temperature
    known = name in _UTC | _EPOCH | _STAMP | _ELAPSED
    return known and (not unit or unit.lower() == "utc" or in_seconds(unit) is not None)


def _clock(column: int, head: str, cell: str, delimiter: str) -> Clock | None:
    name, unit = _plain(head)
    if not is_time(head):
        return None
    if _OF_DAY.fullmatch(cell.strip()):
        return Clock(column, "clock")
    value = number(cell, delimiter)
    if value is None:
        stamp = _date(cell)
        if stamp is None:
            return None
        named = name in _UTC or unit.lower() == "utc"
        return Clock(column, "utc" if named or _zoned(cell) else "local")
    if name in _EPOCH or (name in _STAMP and value >= _FIRST_EPOCH):
        given = in_seconds(unit) if unit else None
        return Clock(column, "epoch", given or (1e-3 if value >= _FIRST_EPOCH_MS else 1.0))
    if name not in _ELAPSED:
        return None
    if name == "seconds":
        return Clock(column, "elapsed")
    factor = in_seconds(unit) if unit else 1.0
    return None if factor is None else Clock(column, "elapsed", factor, assumed=not unit)


def _plain(head: str) -> tuple[str, str]:
    """Return name and unit of a column of times: ``time_s``, ``Time (ms)``, ``timestamp_utc``."""
    name, unit = split_unit(head)
    name = " ".join(name.replace("_", " ").lower().split())
    before, _, last = name.rpartition(" ")
    if not unit and before in _ELAPSED | _EPOCH and in_seconds(last) is not None:
        return before, last
    return name, unit


def _date(cell: str) -> datetime | None:
    """Return a date with its time; one without a zone as if it were UTC. Day and month are never guessed."""
    text = cell.strip()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
        padded = text.replace(",", ".")
        for form in _FORMATS:
            try:
                found = datetime.strptime(padded if "." in padded[-8:] else f"{padded}.0", form).replace(tzinfo=UTC)
            except ValueError:
                continue
            break
    if found is None or (found.hour, found.minute, len(text) < 12) == (0, 0, True):
        return None  # a day alone is no time
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _zoned(cell: str) -> bool:
    try:
        return datetime.fromisoformat(cell.strip()).tzinfo is not None
    except ValueError:
        return False
