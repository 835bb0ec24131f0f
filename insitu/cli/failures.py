"""From an exception to two lines on stderr and an exit code; the only place where errors are printed."""

from __future__ import annotations

import difflib
import errno
import io
import os
import signal
import sys
import traceback
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from insitu.errors import (
    EXIT_BUG,
    EXIT_COMMAND,
    EXIT_DONE,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_RESOURCE,
    EXIT_TERMINATED,
    InsituError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_DEBUG: ContextVar[bool] = ContextVar("debug", default=False)


def debugging() -> bool:
    """Whether ``--debug`` was given."""
    return _DEBUG.get()


_EXIT_PIPE = 141  # 128 + SIGPIPE: whoever read our stdout has gone, which is not our error

# what the operating system says of a path that a user gave; never a fault of the program
_OF_THE_SYSTEM = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE, errno.ENOTCONN,
})  # fmt: skip


class Terminated(KeyboardInterrupt):
    """SIGTERM: cleaned up after like Ctrl-C, with an exit code of its own."""

    exit_code = EXIT_TERMINATED


def guarded(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Invoke `command`; whatever happens becomes an exit code, and an error its two lines on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = _DEBUG.set("--debug" in own)
    before = _on_sigterm()
    _any_name_on_stdout()
    try:
        code = _invoked(command, arguments)
        sys.stdout.flush()
    except BaseException as error:
        return _left(error)
    finally:
        _DEBUG.reset(debug)
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    return code


def report(error: BaseException) -> int:
    """Print the two lines of an error, with ``--debug`` after its traceback, and return its exit code."""
    if _DEBUG.get() and not isinstance(error, KeyboardInterrupt):
        traceback.print_exception(error)
    message, hint, code = explained(error)
    say(message, hint)
    return code


def say(message: str, hint: str) -> None:
    """Print an error's two lines; each stays one line whatever a file name or a library put into it."""
    for head, text in (("error:", message), ("hint: ", hint)):
        print(head, " ".join(text.split()), file=sys.stderr)  # noqa: T201 - the one way out for errors


def _invoked(command: click.Command, arguments: list[str]) -> int:
    # not Command.main: it prints click's own texts and swallows interrupts
    try:
        with command.make_context("insitu", arguments) as context:
            code = command.invoke(context)
    except click.exceptions.Exit as done:
        code = done.exit_code
    return code if isinstance(code, int) else EXIT_DONE


def _left(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_DONE
    if isinstance(error, BrokenPipeError):
        # keeps the interpreter from complaining when it flushes stdout at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_PIPE
    return report(error)


def _any_name_on_stdout() -> None:
    """Let file names pass that are no text in the locale's encoding, instead of failing after the work is done."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape" if sys.stdout.encoding.lower() == "utf-8" else "replace")


def explained(error: BaseException) -> tuple[str, str, int]:
    """Return message, hint and exit code for any exception."""
    if isinstance(error, InsituError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, click.ClickException):
        return (*_misused(error), EXIT_COMMAND)
    if isinstance(error, Terminated):
        return "terminated", "nothing was lost that had been committed; go on with --resume", EXIT_TERMINATED
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted", "nothing was lost that had been committed; go on with --resume", EXIT_INTERRUPTED
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return "memory exhausted", "try --set segment.batch=1 --set read.prefetch_frames=2, or a crop", EXIT_RESOURCE
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = f" at '{error.filename}'" if error.filename else ""
        return (
            f"no space left on the disk{where}",
            "free some space, then give the same command again (a run: with --resume)",
            EXIT_RESOURCE,
        )
    if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM and error.filename:
        why = error.strerror or type(error).__name__
        return (
            f"'{error.filename}' cannot be used: {why}",
            "check its name, its rights and the disk it lies on",
            EXIT_INPUT,
        )
    place = traceback.extract_tb(error.__traceback__)
    at = f" ({Path(place[-1].filename).name}:{place[-1].lineno})" if place else ""
    what = f"{type(error).__name__}: {error}"[:300]
    hint = "this is a bug: run again with --debug and report what it prints, with the output of insitu doctor"
    return f"{what}{at}", hint, EXIT_BUG


def _out_of_memory(error: BaseException) -> bool:
    """Whether torch could not allocate: on a GPU it has a class of its own for that, on a CPU it has not."""
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and ("not enough memory" in text or "can't allocate memory" in text)
    )


def _misused(error: click.ClickException) -> tuple[str, str]:
    """Return message and hint for a wrong use of the command line."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "insitu"
    see = f"see: {path} --help"
    if isinstance(error, click.NoSuchOption):
        return f"unknown option {error.option_name}", _nearest_option(error, context) or see
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and isinstance(error.ctx.command, click.Group):
        return f"{path} needs a command: {', '.join(error.ctx.command.commands)}", see
    if isinstance(error, click.MissingParameter) and error.param is not None:
        name = error.param.make_metavar(context) if context else str(error.param.name)
        option = f"{error.param.opts[0]} " if isinstance(error.param, click.Option) else ""
        return f"{path} needs {option}{name}", see
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{error.param.opts[0]}: {error.message}", see
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:], see


def _nearest_option(error: click.NoSuchOption, context: click.Context | None) -> str:
    """Return the hint for an unknown option: a near option, else a setting, else a less near option."""
    from insitu.settings import nearest

    known = [o for p in context.command.params for o in p.opts] if context else []
    near = difflib.get_close_matches(error.option_name, known, 1, 0.55)
    if near and difflib.SequenceMatcher(None, error.option_name, near[0]).ratio() > 0.7:
        return f"did you mean {near[0]}?"
    setting = nearest(error.option_name.lstrip("-").replace("-", "_"))
    if setting and "--set" in known:
        return setting.replace("did you mean '", "did you mean --set ").replace("'?", "=VALUE?")
    return f"did you mean {near[0]}?" if near else ""


def _on_sigterm() -> Any:  # noqa: ANN401 - whatever handler was there
    """Turn SIGTERM into `Terminated`; return the handler before, or None outside the main thread."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    try:
        return signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread: a test or an embedding program handles signals itself
        return None
