"""Ctrl-C and SIGTERM while a run goes on: the first ends it in good order, a second one at once."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from insitu.cli.failures import Terminated
from insitu.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class Asked(threading.Event):
    """Set once a run was asked to end; `exit_code` says by which signal, and ``run.json`` with it."""

    exit_code = EXIT_INTERRUPTED


class Stop:
    """Whether, and by which signal, a run was asked to end; `event` is what the pipeline looks at."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.event = Asked()
        self.terminated = False
        self._announce = announce

    @property
    def exit_code(self) -> int:
        """Exit code of a run that ended early."""
        return EXIT_TERMINATED if self.terminated else EXIT_INTERRUPTED

    @property
    def word(self) -> str:
        """What happened, for the user."""
        return "terminated" if self.terminated else "interrupted"

    def ask(self, number: int, _frame: FrameType | None = None) -> None:
        """Take a signal."""
        self.terminated = number == signal.SIGTERM
        if self.event.is_set():
            raise Terminated if self.terminated else KeyboardInterrupt
        self.event.exit_code = self.exit_code
        self.event.set()
        self._announce("storing what is done, then stopping; once more to stop at once")


@contextmanager
def stoppable(announce: Callable[[str], None]) -> Iterator[Stop]:
    """Let SIGINT and SIGTERM set the event of a `Stop` while the block lasts."""
    stop = Stop(announce)
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop.ask)
    except ValueError:
        pass  # not the main thread: whoever started it handles signals
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
