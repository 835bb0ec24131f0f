"""Runs whose frames others analyse: plan them, hand out their ranges, and take what comes back in order.

The ordered pass is the loop of `insitu.pipeline`, in this process, one run after the other; what is asked of workers is
ahead of it by as much as they can do.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from insitu.distributed.plan import make_plan, range_frames, read_plan
from insitu.distributed.work import Task
from insitu.engine import Analysed, Engine
from insitu.errors import CommandError, SourceStopped
from insitu.pipeline import Hooks, drive, run_folder, stored_reference
from insitu.progress import Rate
from insitu.read import open_source
from insitu.store import layout
from insitu.store.disk import TEMPORARY, Disk
from insitu.store.ranges import range_path, read_range

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterator, Sequence

    from insitu.distributed.plan import Plan
    from insitu.distributed.work import Outcome
    from insitu.intake import Selection
    from insitu.progress import Progress, RunSummary
    from insitu.settings import Settings
    from insitu.store.commit import RunFolder
    from insitu.store.ranges import Found
    from insitu.types import FrameResult, Runs

_TICK_S = 0.25
_LEFT_S = 600.0
_RANGES_AHEAD = 4  # ranges a worker that are planned before they are needed


class Workers(Protocol):
    """Those who analyse ranges: `processes.Processes`, `dasked.Dask`."""

    jobs: int

    @property
    def lost(self) -> int | None:
        """Workers that died while they had a range; None where nobody knows."""

    @property
    def waiting(self) -> int:
        """Ranges that no worker has begun."""

    def submit(self, task: Task) -> None:
        """Take a range."""

    def outcome(self, task: Task, timeout_s: float) -> Outcome | None:
        """Return how a range ended, None while it has not, or raise what went wrong."""

    def finished(self, out: str) -> int:
        """Return how many frames of a run are analysed."""

    def cancel(self, out: str) -> None:
        """Forget the ranges of a run."""

    def close(self) -> None:
        """End."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is the same for all movies of a command.

    `planned` runs keep the plan that they have: this process may have no GPU. `range_frames` None is what is fair.
    """

    settings: Settings
    selection: Selection | None = None
    resume: bool = False
    overwrite: bool = False
    planned: bool = False
    range_frames: int | None = None


class Team:
    """Analyses movies with the help of workers; `process` stands in for `insitu.pipeline.process`.

    Parameters
    ----------
    workers : Workers
    orders : Orders
    movies : sequence of (source, out)
        All that will be asked for, in order: the next ones are planned before their turn, so that no worker waits.
    """

    def __init__(self, workers: Workers, orders: Orders, movies: Sequence[tuple[str, Path]] = ()) -> None:
        self._workers, self._orders = workers, orders
        self._coming = deque((source, Path(out).absolute()) for source, out in movies)
        self._begun: dict[Path, _Movie | Exception] = {}

    def process(
        self,
        source: str | Path,
        out: str | Path,
        *_: Any,  # noqa: ANN401 - what `orders` holds already
        progress: Callable[[Progress], None] | None = None,
        on_result: Callable[[FrameResult], None] | None = None,
        stop: threading.Event | None = None,
        **__: Any,  # noqa: ANN401 - same
    ) -> RunSummary:
        """Analyse one movie; parameters, result and errors as `insitu.pipeline.process`."""
        began, out = time.monotonic(), Path(out).absolute()
        if not isinstance(source, str | os.PathLike):
            raise CommandError("only a movie on disk can be divided", "save it first, or leave out --jobs and --dask")
        if out not in self._begun:
            self._begin(str(source), out)
        self._begin_more()
        movie = self._begun.pop(out)
        if isinstance(movie, Exception):
            raise movie
        with movie.stack:
            hooks = Hooks(progress, on_result, stop, plane=movie.plane, metrics=movie.metrics)
            try:
                summary = drive(movie.engine, movie.folder, began, hooks, movie.frames(hooks))
            finally:
                self._workers.cancel(str(out))
        return replace(summary, notes=(*summary.notes, *movie.remarks()))

    def close(self) -> None:
        """Leave runs whose turn did not come to a later --resume."""
        for movie in self._begun.values():
            if not isinstance(movie, Exception):
                movie.stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_more(self) -> None:
        """Plan the next movies while the workers have less than enough to do."""
        while self._coming and self._workers.waiting < _RANGES_AHEAD * self._workers.jobs:
            source, out = self._coming.popleft()
            if out not in self._begun:
                self._begin(source, out)

    def _begin(self, source: str, out: Path) -> None:
        """Make or resume the run folder of a movie, write its plan, and hand out its ranges."""
        self._coming = deque(pair for pair in self._coming if pair[1] != out)
        try:
            movie = _Movie(source, out, self._orders, self._workers)
        except Exception as error:
            self._begun[out] = error  # told when it is the movie's turn
        else:
            self._begun[out] = movie


class _Movie:
    """One run whose folder is open and whose ranges are handed out."""

    def __init__(self, source: str, out: Path, orders: Orders, workers: Workers) -> None:
        self._out, self._workers = out, workers
        self._planes: dict[int, tuple[Runs | None, bytes | None]] = {}
        self._counts = {"ranges": 0, "found": 0, "analysed": 0}
        self._spent = [0.0, 0.0]
        with ExitStack() as stack:
            self.engine, self.folder, self.plan = stack.enter_context(opened(source, out, orders, workers.jobs))
            self.tasks: list[Task] = []
            if self.plan is not None:
                key = self.plan.key
                self.tasks = [Task(str(out), key, a, b) for a, b in self.plan.ranges(self.folder.committed)]
            self._kept = deque(self.tasks)
            for task in self.tasks:
                workers.submit(task)
            self.stack = stack.pop_all()

    def frames(self, hooks: Hooks) -> Callable[[int, Progress], Generator[Analysed]]:
        """Return what gives the analysed frames from a plane on, in order, as the workers finish them."""

        def analysed(first_plane: int, seen: Progress) -> Generator[Analysed]:
            rate = Rate(seen.done)
            for task in self.tasks:
                with self.engine.watch.stage("wait for workers"):
                    outcome = self._awaited(task, seen, rate, hooks)
                self._count(outcome)
                path = range_path(self._out, task.key, task.first, task.stop)
                found = read_range(path, max(0, first_plane - task.first))
                while (one := self._read(found)) is not None:
                    self._planes[one.frame.index] = (one.measured.runs if one.measured else None, one.plane)
                    yield Analysed(one.frame, one.measured, one.threshold, one.flags)
                self._tidy()

        return analysed

    def _read(self, found: Iterator[Found]) -> Found | None:
        with self.engine.watch.stage("read ranges"):
            return next(found, None)

    def plane(self, result: FrameResult) -> bytes | None:
        """Return the packed label plane of a result, if linking has left its particles as they were measured."""
        runs, packed = self._planes.pop(result.frame.index, (None, None))
        return packed if runs is None or runs is result.runs else None

    def metrics(self) -> dict[str, Any]:
        """Return what ``run.json`` says of the workers."""
        spent = {"seconds": round(self._spent[0], 3), "cpu_s": round(self._spent[1], 3)}
        return {"workers": {"jobs": self._workers.jobs, **self._counts, **spent, "lost": self._workers.lost}}

    def remarks(self) -> tuple[str, ...]:
        """Return who did how much, in words."""
        if not self._counts["ranges"]:
            return ()
        analysed, found, lost = self._counts["analysed"], self._counts["found"], self._workers.lost
        parts = [f"ranges: {analysed} analysed, {found} found from before", f"workers: {self._workers.jobs}"]
        return ("; ".join(parts) + (f", {lost} lost" if lost else ""),)

    def _awaited(self, task: Task, seen: Progress, rate: Rate, hooks: Hooks) -> Outcome:
        """Wait for a range, telling how many frames are ahead; end when asked to stop."""
        while True:
            outcome = self._workers.outcome(task, _TICK_S)
            seen.ahead = max(0, self._workers.finished(str(self._out)) + self.tasks[0].first - seen.done)
            if outcome is not None:
                return outcome
            if hooks.stop is not None and hooks.stop.is_set():
                raise SourceStopped
            seen.frames_per_s, seen.problems = rate(seen.done + seen.ahead), []
            if hooks.progress:
                hooks.progress(seen)

    def _count(self, outcome: Outcome) -> None:
        self._counts["ranges"] += 1
        self._counts["found" if outcome.found else "analysed"] += 1
        if not outcome.found:
            self._spent[0] += outcome.seconds
            self._spent[1] += outcome.cpu_s

    def _tidy(self) -> None:
        """Remove the ranges whose frames are all committed: from there on the run folder holds them."""
        while self._kept and self._kept[0].stop <= self.folder.committed:
            task = self._kept.popleft()
            range_path(self._out, task.key, task.first, task.stop).unlink(missing_ok=True)


@contextmanager
def opened(source: str, out: Path, orders: Orders, jobs: int) -> Iterator[tuple[Engine, RunFolder, Plan | None]]:
    """Open the movie, the run folder and its plan; the plan is None where the run is finished already.

    Raises
    ------
    InsituError
        As `insitu.pipeline.process`; CommandError where the movie cannot be divided.
    """
    reader = open_source(source)
    try:
        reference = stored_reference(out) if orders.resume else None
        engine = Engine(reader, orders.settings, orders.selection, reference)
        plan = _planned(engine, source, out, orders, jobs)
        resume, overwrite = orders.resume, orders.overwrite
        with run_folder(engine, source, out, resume=resume, overwrite=overwrite, same=plan.same) as folder:
            if not folder.finished:
                _sweep(out)
                plan.write(out, Disk(fsync=orders.settings.store.fsync))
            yield engine, folder, None if folder.finished else plan
    finally:
        reader.close()


def _sweep(out: Path) -> None:
    """Remove what killed workers left half written; what is being written has changed lately."""
    for path in (out / layout.RANGES).glob(f"*{TEMPORARY}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFT_S:
                path.unlink()


def _planned(engine: Engine, source: str, out: Path, orders: Orders, jobs: int) -> Plan:
    """Return the plan of a run: the one it has where that is to be kept, else a new one with the ranges it has."""
    before = read_plan(out) if orders.resume else None
    if orders.planned and before is not None:
        return before
    shard = orders.settings.store.shard_frames
    frames = orders.range_frames or range_frames(engine.total or 0, jobs, shard)
    plan = make_plan(engine, source, out, frames)
    if before is not None and before.key == plan.key:
        return replace(plan, range_frames=before.range_frames)
    return plan
