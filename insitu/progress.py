"""How a run is going and how it went: counts, rate, time per stage. For people; nothing here decides anything."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(slots=True)
class Progress:
    """What a user sees while a run goes on; `total` is None for a source of unknown length.

    `problems` says what is wrong with the frame just done (empty where it could be used): all are in
    ``problems.jsonl``, and a movie may have a million. `notes` are sentences of the run folder that a user must see (a
    stale lock taken over, nothing left to do). Behind a source that is still being filled, `lag_frames` are there and
    not analysed, and the newest of them is `lag_s` younger (s) than the last that is; None for other sources. Where
    workers analyse, `ahead` frames are analysed and wait to be linked.
    """

    total: int | None
    done: int = 0
    used: int = 0
    bad: int = 0
    missing: int = 0
    particles: int = 0
    events: int = 0
    frames_per_s: float = 0.0
    resumed_from: int = 0
    lag_frames: int | None = None
    lag_s: float | None = None
    ahead: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended. `particles` counts rows, `exit_code` follows the command line's codes."""

    out: Path
    exit_code: int
    total: int
    used: int
    bad: int
    missing: int
    particles: int
    events: int
    seconds: float
    resumed_from: int
    interrupted: bool = False
    notes: tuple[str, ...] = ()


class Stopwatch:
    """CPU and wall seconds per stage, and how full the queues are, for ``run.json``, ``--debug`` and ``--profile``.

    May be used from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds: dict[str, list[float]] = {}
        self._gauges: dict[str, list[float]] = {}
        self._began: float | None = None

    @property
    def running_s(self) -> float:
        """Wall time in s since the first stage began."""
        return 0.0 if self._began is None else time.perf_counter() - self._began

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block under `name`: wall time, and CPU time of this thread."""
        wall, cpu = time.perf_counter(), time.thread_time()
        self._began = self._began or wall
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            with self._lock:
                spent = self.seconds.setdefault(name, [0.0, 0.0])
                spent[0] += wall
                spent[1] += cpu

    def gauge(self, name: str, value: float) -> None:
        """Note what is in a queue now."""
        with self._lock:
            seen = self._gauges.setdefault(name, [0.0, 0.0, 0.0])
            seen[0] += 1
            seen[1] += value
            seen[2] = max(seen[2], value)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return ``{stage: {"wall_s": …, "cpu_s": …}}``, summed over the threads that do it."""
        with self._lock:
            return {k: {"wall_s": round(v[0], 3), "cpu_s": round(v[1], 3)} for k, v in self.seconds.items()}

    def queues(self) -> dict[str, dict[str, float]]:
        """Return ``{queue: {"mean": …, "most": …}}``."""
        with self._lock:
            return {k: {"mean": round(v[1] / v[0], 2), "most": v[2]} for k, v in self._gauges.items()}


class Rate:
    """Frames per second over the last five seconds; `done` frames were done before (by a run that is resumed)."""

    def __init__(self, done: int = 0) -> None:
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), done)])

    def __call__(self, done: int) -> float:
        """Return the rate after `done` frames."""
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > 5.0:
            self._marks.popleft()
        (then, before), (now, done) = self._marks[0], self._marks[-1]
        return (done - before) / (now - then) if now > then else 0.0
