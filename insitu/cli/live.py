"""``--live``: a page in the browser beside a run; it is told what the run tells, and never holds it up."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from insitu.errors import EXIT_DONE, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from insitu.cli.console import Console
    from insitu.environment import Following
    from insitu.live.board import Board
    from insitu.progress import Progress, RunSummary
    from insitu.types import FrameResult

_GIVEN = "here"
_HERE = "127.0.0.1"


def live_option(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add ``--live``."""
    text = "Show a page in the browser: on this machine, at port 8765 or the next free one."
    return click.option("--live", metavar="[[HOST:]PORT]", is_flag=False, flag_value=_GIVEN, help=text)(command)


class Page:
    """The page of a command, or nothing where none is wanted.

    Parameters
    ----------
    board : Board, optional
    """

    def __init__(self, board: Board | None = None) -> None:
        self._board = board

    @property
    def shown(self) -> bool:
        """Whether there is a page."""
        return self._board is not None

    def follow(self, sensors: Following) -> None:
        """Show what sensors say."""
        if self._board:
            self._board.sensors = sensors

    def begin(self, title: str, out: Path) -> None:
        """Show that a movie is waited for."""
        if self._board:
            self._board.begin(title, out)

    def opened(self) -> None:
        """Show that the movie can be read."""
        if self._board:
            self._board.opened()

    def on_result(self, meter: Callable[[FrameResult], None]) -> Callable[[FrameResult], None]:
        """Return what is called with every result: `meter`, then the page."""
        if (board := self._board) is None:
            return meter

        def both(result: FrameResult) -> None:
            meter(result)
            board.on_result(result)

        return both

    def progress(self, meter: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Return what is called with the progress: `meter`, then the page."""
        if (board := self._board) is None:
            return meter

        def both(progress: Progress) -> None:
            meter(progress)
            board.on_progress(progress)

        return both

    def finished(self, summary: RunSummary) -> None:
        """Show how a run ended."""
        if self._board:
            odd = f", {summary.bad} bad, {summary.missing} missing" if summary.exit_code != EXIT_DONE else ""
            self._board.end("DONE", f"{summary.used} of {summary.total} frames used{odd}; {summary.events} events")

    def stopped(self, word: str) -> None:
        """Show that a run was interrupted."""
        if self._board:
            self._board.end("STOPPED", f"{word}; the same command with --resume goes on")

    def failed(self, message: str) -> None:
        """Show that a run ended with an error."""
        if self._board:
            self._board.end("FAILED", message)


def place(wish: str) -> tuple[str, int | None]:
    """Read ``[HOST:]PORT``: the address to listen on, and the port or None for the usual one.

    Raises
    ------
    CommandError
        It has another form.
    """
    if wish == _GIVEN:
        return _HERE, None
    found = re.fullmatch(r"(?:(\[[0-9A-Fa-f:]+\]|[\w.-]+):)?(\d{1,5})", wish, re.ASCII)
    if found is None or not 0 <= int(found[2]) <= 65535:
        raise CommandError(
            f"--live {wish} is not a port", "write for example --live 8765, or --live after the other arguments"
        )
    return (found[1] or _HERE).strip("[]"), int(found[2])


@contextmanager
def shown(wish: str | None, console: Console, *, usual: bool = False) -> Iterator[Page]:
    """Serve a page while the block lasts, if it is wished for, or `usual` and possible.

    Raises
    ------
    CommandError
        The extra ``live`` is not installed, or `wish` is no port.
    ResourceError
        There is no port to listen on.
    """
    from insitu.live import missing

    absent = missing()
    if wish is not None and absent:
        raise CommandError(
            f"the live page needs {', '.join(absent)}, which is not installed", 'pip install "insitu[live]"'
        )
    if wish is None and usual and absent:
        console.note('a page can show how it goes: pip install "insitu[live]"')
    if absent or not (wish is not None or usual):
        yield Page()
        return
    from insitu.live.board import Board
    from insitu.live.server import LiveServer

    host, port = place(_GIVEN if wish is None else wish)
    board = Board()
    with LiveServer(board, port, host) as server:
        if server.note:
            console.note(f"note: {server.note}")
        console.emit("live", address=server.address)
        console.note(f"live page: {server.address}")
        yield Page(board)
