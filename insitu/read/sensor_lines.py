"""A text file that another program appends to, line by line, and the cells of a line.

A line counts once its end is there: until then a number in it may be half written.
"""

from __future__ import annotations

import codecs
import csv
import math
import os
import stat
from typing import TYPE_CHECKING

from insitu.errors import InputError
from insitu.read.files import shown, unreadable

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
_MARK = 4
LONGEST_LINE = 1 << 16


class GrowingText:
    """Reads what was appended since the last look.

    Attributes
    ----------
    unfinished : bool
        The file ends, so far, with a line that has no end.
    replaced : bool
        The file became shorter, or another one: what was read before is not what it holds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replaced = self.unfinished = False
        self._offset = 0
        self._inode = -1
        self._rest = b""
        self._wide: codecs.IncrementalDecoder | None = None
        self._text = ""

    def new_lines(self) -> list[str]:
        """Return the lines that have come, without their ends; none where there is no file yet.

        Raises
        ------
        InputError
            It may not be read, is no regular file, or is no text.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(self.path, error) from error
        try:
            return self._appended(descriptor)
        except OSError as error:
            raise unreadable(self.path, error) from error
        finally:
            os.close(descriptor)

    def _appended(self, descriptor: int) -> list[str]:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"'{shown(self.path)}' is not a regular file", "give the log of the sensors as a file")
        if self._inode not in (-1, status.st_ino) or status.st_size < self._offset:
            self.replaced = True
            return []
        if status.st_size < _MARK:  # too little to tell its encoding
            return []
        self._inode = status.st_ino
        lines: list[str] = []
        while data := os.pread(descriptor, _CHUNK, self._offset):
            self._offset += len(data)
            lines += self._lines(data)
        return lines

    def _lines(self, data: bytes) -> list[str]:
        begin = self._offset - len(data) == 0
        if begin and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            self._wide = codecs.getincrementaldecoder("utf-16")("replace")
        if self._wide is not None:
            *whole, self._text = (self._text + self._wide.decode(data)).split("\n")
            self.unfinished = bool(self._text.strip())
            return [line.removesuffix("\r") for line in whole]
        if b"\0" in data:
            raise InputError(f"'{shown(self.path)}' is no text", "give the log of the sensors, as CSV")
        *complete, self._rest = (self._rest + data.removeprefix(codecs.BOM_UTF8 if begin else b"")).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise InputError(
                f"'{shown(self.path)}' has a line of more than {LONGEST_LINE} bytes", "give the log as CSV"
            )
        self.unfinished = bool(self._rest.strip())
        return [_decoded(line).removesuffix("\r") for line in complete]


def _decoded(line: bytes) -> str:
    """Return a line as text: UTF-8, or Latin-1 as older programs write it (``°C``)."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return [cell.strip() for cell in line.split(delimiter)]


def number(cell: str, delimiter: str) -> float | None:
    """Return the number in a cell, with a comma as decimal mark where it does not separate cells.

    NaN where the cell is empty or says that there is none; None where it is no number.
    """
    text = cell.strip().strip('"')
    if text.lower() in _NOTHING:
        return math.nan
    if delimiter != "," and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


_NOTHING = {"", "nan", "-", "--", "n/a", "na", "null", "none", "#n/a"}
