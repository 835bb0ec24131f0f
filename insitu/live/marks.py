"""Notes of the operator at a moment of the run: ``marks.jsonl`` in the run folder, a line each.

They stand beside the tables, not in them: the tables of a run do not depend on who watched it.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from insitu.store.layout import MARKS

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 500


def cleaned(note: str) -> str:
    """Return a note on one line, without control characters, of at most 500 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in note).split())[:LONGEST]


def write_mark(out: Path, note: str, frame: int, time_s: float | None) -> dict[str, Any]:
    """Add a mark to a run folder, on the disk when this returns; return it.

    Raises
    ------
    OSError
        It cannot be written.
    """
    mark = {
        "kind": "mark",
        "frame": frame,
        "time_s": time_s,
        "timestamp_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "note": cleaned(note),
    }
    line = json.dumps(mark, ensure_ascii=False) + "\n"
    descriptor = os.open(out / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    return mark
