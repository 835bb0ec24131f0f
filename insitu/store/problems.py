"""``problems.jsonl``: what was wrong with which file or frame, each told once however often a run is resumed."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from insitu.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from insitu.store.disk import Disk


class Problems:
    """Notes that wait for the commit of their frame; `size` is the valid length of the file in bytes."""

    def __init__(self, path: Path, size: int, disk: Disk) -> None:
        self.size = size
        self._path, self._disk = path, disk
        self._waiting: list[tuple[int | None, bytes]] = []
        self._told: set[bytes] | None = None
        self._lock = threading.Lock()

    def note(self, frame: int | None, where: str, what: str) -> None:
        """Take a note; readers call this from their threads, ahead of the commit."""
        content = {"schema": SCHEMA_VERSION, "frame": frame, "where": where, "what": what}
        with self._lock:
            self._waiting.append((frame, json.dumps(content, ensure_ascii=False).encode() + b"\n"))

    def write(self, before: int | None) -> None:
        """Append the notes on frames below `before` (None: all), and those on the run that are not there yet."""
        with self._lock:
            ready = [n for n in self._waiting if before is None or n[0] is None or n[0] < before]
            self._waiting = [n for n in self._waiting if n not in ready]
        lines = [line for frame, line in ready if frame is not None or self._is_new(line)]
        if lines:
            data = b"".join(lines)
            self._disk.append(self._path, data)
            self.size += len(data)

    def _is_new(self, line: bytes) -> bool:
        """Whether a note on the run as a whole is not in the file: a resumed run meets such problems again."""
        if self._told is None:
            kept = self._path.read_bytes()[: self.size] if self._path.exists() else b""
            self._told = set(kept.splitlines(keepends=True))
        new = line not in self._told
        self._told.add(line)
        return new
