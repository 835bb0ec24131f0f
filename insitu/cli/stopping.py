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

    from insitu.read.watch import Until


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


class Ending(Stop):
    """Like `Stop`, for a source that is still being filled: the first Ctrl-C says that no more frames are expected."""

    def __init__(self, announce: Callable[[str], None], until: Until) -> None:
        super().__init__(announce)
        self._until = until

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Take a signal: end the source, then the run, then the program."""
        if number == signal.SIGINT and not self._until.finish.is_set():
            self._until.finish.set()
            self._announce("no more frames are expected: analysing what is there; once more to stop and resume later")
            return
        super().ask(number, frame)
        self._until.stop.set()


@contextmanager
def stoppable(announce: Callable[[str], None], until: Until | None = None) -> Iterator[Stop]:
    """Let SIGINT and SIGTERM set the event of a `Stop` (of an `Ending`, with `until`) while the block lasts."""
    stop = Stop(announce) if until is None else Ending(announce, until)
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
