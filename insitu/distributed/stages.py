"""A divided run without a scheduler: plan it, let anybody analyse a share of its ranges, link what is there.

Each stage is a command (`insitu ranges`), so that a queue, a loop of a shell or a person can call it; the run folder is
all that they have in common.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from insitu.distributed.plan import RANGE_FRAMES, read_plan
from insitu.distributed.team import opened
from insitu.distributed.work import Outcome, Task, analyse_range, here
from insitu.errors import CommandError
from insitu.store.log import read_log
from insitu.store.place import is_run
from insitu.store.ranges import range_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from insitu.distributed.plan import Plan
    from insitu.distributed.team import Orders

_PLAN_FIRST = "plan it first: insitu ranges plan MOVIE -o OUT"


def whole_ranges(frames: int, shard_frames: int) -> int:
    """Return a range of about `frames` frames that is whole shards."""
    return max(1, frames // shard_frames) * shard_frames


def plan_run(source: str, out: Path, orders: Orders) -> list[Task]:
    """Make the run folder of a movie and its plan; return its ranges that are still to be linked.

    Raises
    ------
    InsituError
        As `insitu.pipeline.process`.
    """
    with opened(source, out.absolute(), orders, 1) as (_, folder, plan):
        return [] if plan is None else _tasks(out, plan, folder.committed)


def planned_tasks(out: Path) -> list[Task]:
    """Return the ranges of a planned run that are still to be linked; none where it is finished.

    Raises
    ------
    CommandError
        It is no planned run.
    """
    plan, log = read_plan(out), read_log(out)
    if plan is None:
        if is_run(out) and log.finished is not None:
            return []
        raise CommandError(f"'{out}' is not a planned run", _PLAN_FIRST)
    return _tasks(out, plan, log.planes)


def _tasks(out: Path, plan: Plan, done: int) -> list[Task]:
    return [Task(str(out.absolute()), plan.key, a, b) for a, b in plan.ranges(done)]


def share(tasks: Sequence[Task], number: int, of: int) -> list[Task]:
    """Return every `of`-th range from `number` on: all shares together are all ranges, each once."""
    return list(tasks[number::of])


def missing(tasks: Sequence[Task]) -> list[Task]:
    """Return the ranges whose file is not there."""
    return [t for t in tasks if not range_path(Path(t.out), t.key, t.first, t.stop).is_file()]


def analyse(tasks: Sequence[Task], told: Callable[[Task, Outcome], None]) -> None:
    """Analyse ranges one after the other in this process.

    Raises
    ------
    InsituError
        As `insitu.distributed.work.analyse_range`.
    """
    for task in tasks:
        told(task, analyse_range(task))


class Shelf:
    """Ranges that have all been analysed before: the workers of a pass that only links."""

    jobs = 0
    lost = None
    waiting = 0

    def submit(self, task: Task) -> None:
        """Do nothing: it is there, or it will be missed."""

    def outcome(self, task: Task, timeout_s: float) -> Outcome:  # noqa: ARG002 - nobody is waited for
        """Return that the range was found, or say that it is not there."""
        if missing([task]):
            raise CommandError(
                f"frames {task.first}…{task.stop - 1} of '{task.out}' are not analysed",
                f"insitu ranges analyse {task.out}",
            )
        return Outcome(task.stop - task.first, found=True, seconds=0.0, cpu_s=0.0, worker=here())

    def finished(self, out: str) -> int:  # noqa: ARG002 - the protocol's
        """Return 0: nobody works ahead."""
        return 0

    def cancel(self, out: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


__all__ = ["RANGE_FRAMES", "Shelf", "analyse", "missing", "plan_run", "planned_tasks", "share", "whole_ranges"]
