"""What a user reads while a verb works: results on stdout, progress and logs on stderr, or JSON lines on stdout.

Nothing but plain text leaves for a pipe or a file: no carriage return, no escape code.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insitu.progress import Progress
    from insitu.types import FrameResult

SCHEMA = "insitu.cli/1"
_TERMINAL_S = 0.1
_PLAIN_S = 10.0
_JSON_S = 0.25
_BAR = 24
_SHOWN_PROBLEMS = 5


class Console:
    """The two streams of a verb.

    Parameters
    ----------
    as_json : bool
        One JSON object a line on stdout instead of text there, and no progress on stderr.
    quiet : bool
        Nothing on stderr (errors are not printed here).
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.terminal = not quiet and not as_json and sys.stderr.isatty()
        self._drawn = 0

    def result(self, text: str) -> None:
        """Print a result; with ``--json`` it is in the JSON lines instead."""
        self.settle()
        if not self.as_json:
            print(text, flush=True)  # noqa: T201 - stdout is the interface

    def note(self, text: str) -> None:
        """Log a line on stderr; with ``--json`` what matters is in the JSON lines."""
        self.settle()
        if not (self.quiet or self.as_json):
            print(" ".join(text.split("\n")), file=sys.stderr, flush=True)  # noqa: T201 - stderr is the interface

    def emit(self, line: str, /, **content: Any) -> None:  # noqa: ANN401 - JSON values
        """Print one JSON line of type `line`; nothing without ``--json``."""
        if self.as_json:
            content = {"schema": SCHEMA, "type": line, **content}
            print(json.dumps(content, ensure_ascii=False, default=str), flush=True)  # noqa: T201 - stdout is the interface

    def draw(self, text: str) -> None:
        """Draw `text` over the line drawn before; only on a terminal."""
        import shutil

        text = text[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write("\r" + text.ljust(self._drawn))
        sys.stderr.flush()
        self._drawn = len(text)

    def settle(self) -> None:
        """End the line that was drawn, so that the next text begins on a line of its own."""
        if self._drawn:
            sys.stderr.write("\n")
            self._drawn = 0


class Meter:
    """Progress of one run, counted in frames.

    A terminal gets one line that is redrawn, anything else a plain line every 10 s, ``--json`` at most four a second.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._every = _JSON_S if console.as_json else _TERMINAL_S if console.terminal else _PLAIN_S
        self._last = time.monotonic() - (0.0 if self._every == _PLAIN_S else self._every)
        self._problems = 0

    def __call__(self, progress: Progress) -> None:
        """Show `progress` if it is time to."""
        self._report_problems(progress.problems)
        now = time.monotonic()
        finished = progress.total is not None and progress.done >= progress.total
        if now - self._last < self._every and not (finished and self._every != _PLAIN_S):
            return
        self._last = now
        if self._console.as_json:
            self._console.emit("progress", **_fields(progress))
        elif self._console.terminal:
            self._console.draw(f"analyse  {_bar(progress)}{in_words(progress)}")
        else:
            self._console.note(f"analyse  {in_words(progress)}")

    def events(self, result: FrameResult) -> None:
        """Report the events that a frame decided, one JSON line each."""
        if not self._console.as_json:
            return
        for event in result.events:
            self._console.emit(
                "event",
                kind=event.kind,
                frame=event.frame,
                decided_frame=event.decided_frame,
                y=event.y,
                x=event.x,
                parents=list(event.parents),
                children=list(event.children),
                confidence=event.confidence,
            )

    def _report_problems(self, problems: list[tuple[int, str]]) -> None:
        for frame, reason in problems:
            self._problems += 1
            self._console.emit("problem", frame=frame, reason=reason)
            if self._problems <= _SHOWN_PROBLEMS:
                self._console.note(f"frame {frame} cannot be used: {reason}")
            if self._problems == _SHOWN_PROBLEMS + 1:
                self._console.note("more frames cannot be used; they are all in problems.jsonl")


class Tally:
    """What a verb that is no run has done: ``simulate  120/400 frames``."""

    def __init__(self, console: Console, verb: str, total: int, noun: str = "frames") -> None:
        self._console, self._verb, self._total, self._noun = console, verb, total, noun
        self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        """Show it if it is time to."""
        now = time.monotonic()
        every = _TERMINAL_S if self._console.terminal else _PLAIN_S
        if now - self._last < every and not (done == self._total and self._console.terminal):
            return
        self._last = now
        show = self._console.draw if self._console.terminal else self._console.note
        show(f"{self._verb:<8} {done}/{self._total} {self._noun}")


def in_words(progress: Progress) -> str:
    """Return progress as one line: frames, rate over the last 5 s, time left or lag, particles, events."""
    total = "" if progress.total is None else f"/{progress.total}"
    parts = [f"{progress.done}{total} frames", f"{progress.frames_per_s:.3g} frames/s"]
    left = remaining_s(progress)
    if left is not None:
        parts.append(f"{duration(left)} left")
    if progress.lag_frames is not None:
        parts.append(f"lag {counted(progress.lag_frames, 'frame')}, {progress.lag_s or 0.0:.1f} s")
    if progress.ahead:
        parts.append(f"{progress.ahead} ahead")
    parts += [counted(progress.particles, "particle"), counted(progress.events, "event")]
    lost = progress.bad + progress.missing
    return " · ".join([*parts, f"{lost} bad or missing"] if lost else parts)


def remaining_s(progress: Progress) -> float | None:
    """Return the seconds left at the present rate; None while either the end or the rate is unknown."""
    if progress.total is None or progress.frames_per_s <= 0:
        return None
    return max(0, progress.total - progress.done - progress.ahead) / progress.frames_per_s


def counted(number: int, noun: str) -> str:
    """Return ``1 event`` or ``2 events``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Return a time as ``12 s``, ``3:07`` or ``2:03:07``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(n_bytes: float) -> str:
    """Return a number of bytes as ``12 MB`` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _bar(progress: Progress) -> str:
    if not progress.total:
        return ""
    full = min(_BAR, _BAR * progress.done // progress.total)
    return "━" * full + "─" * (_BAR - full) + " "


def _fields(progress: Progress) -> dict[str, Any]:
    return {
        "done": progress.done,
        "total": progress.total,
        "used": progress.used,
        "bad": progress.bad,
        "missing": progress.missing,
        "frames_per_s": round(progress.frames_per_s, 3),
        "eta_s": remaining_s(progress),
        "particles": progress.particles,
        "events": progress.events,
        "ahead": progress.ahead,
        "lag_frames": progress.lag_frames,
        "lag_s": None if progress.lag_s is None else round(progress.lag_s, 3),
    }
