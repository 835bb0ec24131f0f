"""The commit log: one fsynced line a unit, and what it promises.

A line names every file of its unit with size and SHA-256, and is written after they are durable. What no line names
does not exist: a reader skips it, a resumed run deletes it. A torn last line is no line. A line that begins at the
first plane of an earlier unit takes the place of that unit and of all after it: their parts were merged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from insitu.errors import InputError
from insitu.schema import SCHEMA_VERSION
from insitu.store import layout
from insitu.store.disk import Stored, hash_file

if TYPE_CHECKING:
    from pathlib import Path

COUNTED = ("ok", "bad", "missing", "particles", "events")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one line of the log says.

    Attributes
    ----------
    first, planes : int
        First plane of the unit, and number of planes committed after it.
    counts : dict
        Totals after the unit: frames by status (`ok`, `bad`, `missing`), rows of `particles` and `events`.
    rows : dict
        Rows of each table in this unit.
    files : dict
        Path relative to the run folder → size and hash.
    problems : int
        Size of ``problems.jsonl`` in bytes after the unit.
    closing : dict or None
        Only in the last unit: what ``run.json`` will say about the end. No frames follow it.
    """

    first: int
    planes: int
    counts: dict[str, int]
    rows: dict[str, int]
    files: dict[str, Stored]
    problems: int = 0
    closing: dict[str, Any] | None = None

    def line(self) -> bytes:
        """Return the line as written."""
        return _line(asdict(self))


@dataclass(frozen=True, slots=True)
class Log:
    """The valid lines of a log, and how many bytes they take."""

    units: tuple[Unit, ...] = ()
    finished: dict[str, Stored] | None = None
    size: int = 0

    @property
    def planes(self) -> int:
        """Planes committed."""
        return self.units[-1].planes if self.units else 0

    @property
    def counts(self) -> dict[str, int]:
        """Totals committed."""
        return dict(self.units[-1].counts) if self.units else dict.fromkeys(COUNTED, 0)

    @property
    def closing(self) -> dict[str, Any] | None:
        """What the closing line says, if it was written."""
        return self.units[-1].closing if self.units else None

    def parts(self, table: str) -> list[str]:
        """Return the parts of a table, in order of frames."""
        start = f"{layout.PARTS}/{table}-"
        return [name for unit in self.units for name in unit.files if name.startswith(start)]


@dataclass(slots=True)
class _Lines:
    units: list[Unit] = field(default_factory=list)
    finished: dict[str, Stored] | None = None
    size: int = 0


def finish_line(files: dict[str, Stored]) -> bytes:
    """Return the last line of a finished run."""
    return _line({"finished": True, "files": {name: asdict(stored) for name, stored in files.items()}})


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps({"schema": SCHEMA_VERSION, **content}, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_log(out: Path) -> Log:
    """Read the commit log of a run folder; a missing log is an empty one.

    Raises
    ------
    InputError
        A line that is not the last one cannot be read: the log was changed by something else.
    """
    try:
        lines = (out / layout.COMMITS).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return Log()
    read = _Lines()
    for number, line in enumerate(lines, 1):
        if not _take(line, read):
            if number < len(lines):
                raise damaged(out, f"line {number} of {layout.COMMITS} cannot be read")
            break
        read.size += len(line)
    return Log(tuple(read.units), read.finished, read.size)


def _take(line: bytes, into: _Lines) -> bool:
    """Take one line; False where it is torn."""
    if not line.endswith(b"\n"):
        return False
    try:
        content = json.loads(line)
        files = {_inside(name): Stored(**stored) for name, stored in content.pop("files").items()}
        content.pop("schema")
        if content.get("finished"):
            into.finished = files
        else:
            unit = Unit(files=files, **content)
            if not all(type(n) is int for n in (unit.first, unit.planes, *(unit.counts[name] for name in COUNTED))):
                return False
            while into.units and into.units[-1].first >= unit.first and into.units[-1].planes <= unit.planes:
                into.units.pop()
            into.units.append(unit)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return True


def _inside(name: str) -> str:
    """Return a name in a line; ValueError where it leads out of the run folder, whose files a resume may remove."""
    if not name.isprintable() or any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError(name)
    return name


def check_files(out: Path, names: dict[str, Stored], *, content: bool) -> None:
    """Compare files with what the log says of them: the size always, the SHA-256 where `content` is true.

    Raises
    ------
    InputError
        A file is missing or differs.
    """
    for name, stored in names.items():
        path = out / name
        if not path.is_file():
            raise damaged(out, f"{name}, named in {layout.COMMITS}, is missing")
        if path.stat().st_size != stored.bytes or (content and hash_file(path) != stored):
            raise damaged(out, f"{name} is not the file that {layout.COMMITS} names")


def damaged(out: Path, what: str) -> InputError:
    """Return the error of a run folder that something other than insitu has changed."""
    return InputError(
        f"the run '{out}' is damaged: {what}",
        "restore the folder from a copy, or analyse the movie again with --overwrite",
    )
