"""Errors that a user meets: what and where, then the command or edit that mends it.

Every error a user can cause is an `InsituError` (or a subclass), printed as two lines and turned into an exit code.
`BadFrame` is different: it is a fact about one frame, becomes a flagged row, and never reaches the user as an error.
"""

from __future__ import annotations

from typing import Any

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_COMMAND = 2
EXIT_INPUT = 3
EXIT_CALIBRATION = 4
EXIT_INCOMPLETE = 5
EXIT_RESOURCE = 6
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class InsituError(Exception):
    """An error with a remedy.

    Parameters
    ----------
    message : str
        What is wrong and where: it names the value and the place.
    hint : str
        The command or edit that mends it.
    exit_code : int, optional
        Exit code of the command line; the subclass decides by default.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str, hint: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error cross from a worker with its hint."""
        return type(self), (self.message, self.hint, self.exit_code)

    def __str__(self) -> str:
        return f"error: {self.message}\nhint:  {self.hint}"


class CommandError(InsituError):
    """A wrong command, option or setting (exit code 2)."""

    exit_code = EXIT_COMMAND


class InputError(InsituError):
    """An input that is missing, unreadable or not what it claims to be (exit code 3)."""

    exit_code = EXIT_INPUT


class CalibrationError(InsituError):
    """A calibration that is missing where it is needed, or implausible (exit code 4)."""

    exit_code = EXIT_CALIBRATION


class ResourceError(InsituError):
    """Disk or memory exhausted (exit code 6)."""

    exit_code = EXIT_RESOURCE


class BadFrame(Exception):  # noqa: N818 - a fact about one frame, not an error of the program
    """One frame that cannot be used; the pipeline records a flagged row and goes on.

    Parameters
    ----------
    reason : str
        Short code that goes into ``frames.flags``, for example ``"truncated"`` or ``"not finite"``.
    detail : str
        One sentence for ``problems.jsonl``.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class EndOfSource(Exception):  # noqa: N818 - the normal end of a source whose length was unknown
    """Raised by a reader of unknown length when no further frame exists."""


class SourceStopped(Exception):  # noqa: N818 - what the user asked for
    """Raised by a reader that waits for frames once it is told to wait no longer; the source has not ended."""
