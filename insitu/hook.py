"""Tell another program of events: one process an event, its JSON on stdin, after the event is safe in the run.

The run folder is followed, not the engine, which is therefore never held up. Every committed event is told at least
once: which ones were told stands beside the run, and a run that is resumed goes on from there.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError, InsituError
from insitu.results import open_run
from insitu.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = "insitu.event/1"
TIMEOUT_S = 10.0
_LOOK_S = 0.05
_TAIL = 1 << 16
_PATIENCE_S = 60.0  # for events not told yet when the run is over


class EventHook:
    """Starts `command` for every event of the run in `out`.

    Parameters
    ----------
    command : str
        Program and arguments, split like a shell does; no shell runs it.
    out : Path
        The run folder; it may not exist yet.
    complain : callable
        Takes a sentence about a command that failed.
    resume : bool
        The run that is there goes on; otherwise it is about to be replaced.
    timeout_s : float
        Longest time in s that the command may take; then it is killed.

    Raises
    ------
    CommandError
        The command cannot be split, or is empty.
    """

    def __init__(
        self,
        command: str,
        out: Path,
        complain: Callable[[str], None],
        *,
        resume: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._command = split(command)
        self._out, self._complain, self._timeout_s = out, complain, timeout_s
        # what a run holds that is about to be replaced is no news; one that is resumed may hold events not told yet
        self._seen = (0, 0) if resume else self._log()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="insitu-hook", daemon=True)

    def start(self) -> None:
        """Begin to follow the run."""
        self._thread.start()

    def finish(self) -> None:
        """Wait, within reason, until all events that are safe have been told."""
        self._over.set()
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            self._complain("events of the end were not told in time; --resume tells them")

    def _follow(self) -> None:
        while True:
            over = self._over.is_set()
            try:
                self._tell_new()
            except (InsituError, OSError) as error:
                if over:
                    self._complain(f"--on-event: {getattr(error, 'message', error)}")
            if over:
                return
            self._over.wait(_LOOK_S)

    def _tell_new(self) -> None:
        """Tell the events that are safe and were not told."""
        log = self._log()
        if log == self._seen:
            return
        told = self._told()
        if self._safe() > told:
            for row in open_run(self._out).events.to_arrow().slice(told).to_pylist():
                self._tell(row)
                self._mark(int(row["event"]) + 1)
        self._seen = log

    def _safe(self) -> int:
        """Return how many events are safe, from the last line of the log: the whole of it may be long."""
        with (self._out / layout.COMMITS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"}\n")]
        try:
            return int(json.loads(lines[-1])["counts"]["events"]) if lines else 0
        except (ValueError, KeyError):  # the line that ends a run counts nothing
            return open_run(self._out).counts["events"]

    def _tell(self, row: dict[str, Any]) -> None:
        content = {"schema": SCHEMA, "run": str(self._out.resolve()), **{k: _plain(v) for k, v in row.items()}}
        name = self._command[0]
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command, without a shell
                self._command,
                input=json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n",
                stdout=subprocess.DEVNULL,
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._complain(f"event {row['event']}: '{name}' took longer than {self._timeout_s:g} s and was ended")
        except OSError as error:
            self._complain(f"event {row['event']}: '{name}' cannot be started: {error.strerror}")
        else:
            if done.returncode:
                self._complain(f"event {row['event']}: '{name}' ended with {done.returncode}")

    def _log(self) -> tuple[int, int]:
        """Return what tells whether the commit log has changed."""
        try:
            status = (self._out / layout.COMMITS).stat()
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_size

    def _told(self) -> int:
        try:
            return int(json.loads((self._out / layout.TOLD).read_bytes())["next_event"])
        except (OSError, ValueError, KeyError):
            return 0

    def _mark(self, following: int) -> None:
        temporary = self._out / f"{layout.TOLD}.tmp"
        temporary.write_text(json.dumps({"next_event": following}))
        os.replace(temporary, self._out / layout.TOLD)  # noqa: PTH105 - atomic, as the store writes it


def split(command: str) -> list[str]:
    """Return program and arguments of a command.

    Raises
    ------
    CommandError
        It cannot be split, or is empty.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CommandError(f"--on-event {command} cannot be read: {error}", "close the quotation marks") from error
    if not words:
        raise CommandError("--on-event names no command", "write for example --on-event 'python react.py'")
    return words


@contextmanager
def telling(command: str | None, out: Path, complain: Callable[[str], None], *, resume: bool = False) -> Iterator[None]:
    """Tell events of the run in `out` while the block lasts; do nothing without a command."""
    if command is None:
        yield
        return
    hook = EventHook(command, Path(out), complain, resume=resume)
    hook.start()
    try:
        yield
    finally:
        hook.finish()


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of a table
    return None if isinstance(value, float) and not math.isfinite(value) else value
