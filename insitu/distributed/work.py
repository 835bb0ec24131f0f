"""What a worker does with a range: read, segment, measure, leave a file. It may be done twice, by anybody, at any time.

A worker that cannot give the bytes of the run refuses: another version, another kind of processor, another movie under
the same path.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from insitu.distributed.plan import Plan, read_plan, worker_facts
from insitu.engine import Engine, identity
from insitu.errors import CommandError, InputError, ResourceError
from insitu.intake import Selection
from insitu.models.memory import give_back_unused, keep_large_blocks
from insitu.read import open_source
from insitu.read.fingerprint import fingerprint
from insitu.settings import Settings, load
from insitu.store.about import plain
from insitu.store.disk import Disk
from insitu.store.ranges import Found, range_path, write_range
from insitu.types import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from insitu.engine import Analysed

_TELL_S = 0.25
_AGAIN = "give the same command with --resume: what is analysed is kept"


class Task(NamedTuple):
    """Planes `first` to before `stop` of the run in folder `out`, whose plan has identity `key`."""

    out: str
    key: str
    first: int
    stop: int


class Place(NamedTuple):
    """A worker's part of its machine: which GPU, where a run needs one, and on a CPU how many lanes (0: all cores)."""

    slot: int = 0
    lanes: int = 0


ALONE = Place()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a range ended: `found` where it had been analysed before; `seconds` of time and of CPU spent on it."""

    frames: int
    found: bool
    seconds: float
    cpu_s: float
    worker: str


class _Desk:
    """The engine a worker has open: opening it anew for every range would cost seconds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # a dask worker with several threads does its ranges one after the other
        self.out = ""
        self.plan: Plan | None = None
        self.engine: Engine | None = None

    def open(self, task: Task, place: Place) -> Engine:
        """Return the engine for a task, opened now or before."""
        plan = _plan(task)
        # the whole plan, not its key: a resumed run may treat bad frames otherwise
        if self.engine is None or (self.out, self.plan) != (task.out, plan):
            self.clear()
            self.engine, self.out, self.plan = _opened(plan, Path(task.out), place), task.out, plan
        return self.engine

    def clear(self) -> None:
        """Close the source."""
        if self.engine is not None:
            self.engine.reader.close()
        self.engine = None


_desk = _Desk()


def here() -> str:
    """Return the name of this worker for messages."""
    return f"{socket.gethostname()}:{os.getpid()}"


def analyse_range(task: Task, place: Place = ALONE, told: Callable[[int], None] | None = None) -> Outcome:
    """Analyse one range, unless its file is there already.

    Parameters
    ----------
    task : Task
    place : Place
        What of this machine is this worker's.
    told : callable, optional
        Called with the number of frames done, a few times a second at most.

    Raises
    ------
    CommandError
        This worker would not give the bytes of the run.
    InputError
        The run or the movie is not there, or is another; or a frame is bad and the run shall stop at it.
    ResourceError
        The disk is full or fails.
    """
    began, cpu = time.monotonic(), time.process_time()
    path = range_path(Path(task.out), task.key, task.first, task.stop)
    found = path.is_file()
    if not found:
        with _desk.lock:
            engine = _desk.open(task, place)
            try:
                _write(engine, task, path, told)
            except OSError as error:
                raise ResourceError(
                    f"worker {here()} cannot write '{path.parent}': {error.strerror or error}",
                    "free space or mend the disk, then " + _AGAIN,
                ) from error
    spent = time.monotonic() - began, time.process_time() - cpu
    return Outcome(task.stop - task.first, found, *spent, here())


def _write(engine: Engine, task: Task, path: Path, told: Callable[[int], None] | None) -> None:
    settings, (_, _, height, width) = engine.settings, engine.region
    binning = settings.prepare.bin
    shape = (height // binning, width // binning) if settings.store.labels else None
    with closing(engine.analysed(task.first, task.stop, images=False)) as frames:
        found = (Found(f.frame, f.measured, f.threshold, f.flags) for f in _telling(frames, told))
        cut = settings.events.in_contact == "split"
        write_range(path, found, Disk(fsync=settings.store.fsync), plane_shape=shape, sums=cut)
    give_back_unused()


def _telling(frames: Iterator[Analysed], told: Callable[[int], None] | None) -> Iterator[Analysed]:
    last = time.monotonic()
    for done, frame in enumerate(frames, 1):
        yield frame
        if told and (now := time.monotonic()) - last > _TELL_S:
            told(done)
            last = now


def _plan(task: Task) -> Plan:
    """Return the plan of a task, which must be there."""
    plan = read_plan(Path(task.out))
    if plan is None or plan.key != task.key:
        raise InputError(
            f"worker {here()} does not find the plan of the run in '{task.out}'",
            "the movie and OUT must have the same path on every machine: use a disk that all of them share",
        )
    return plan


def _opened(plan: Plan, out: Path, place: Place) -> Engine:
    """Open the movie of a plan, or refuse."""
    if plan.worker != (own := worker_facts("cpu")) and plan.same["device"] == "cpu":
        raise _refusal(plan.worker, own)
    if not _there(plan.source):
        raise InputError(
            f"worker {here()} does not find the movie '{plan.source}'",
            "the movie and OUT must have the same path on every machine: use a disk that all of them share",
        )
    settings = _settings(plan, place)
    if settings.segment.reuse_memory:
        keep_large_blocks()
    reader = open_source(plan.source)
    try:
        reference = Reference(**{**plan.reference, "frames": tuple(plan.reference["frames"])})
        engine = Engine(reader, settings, Selection(**plan.selection), reference)
        _check(engine, plan, out)
    except BaseException:
        reader.close()
        raise
    return engine


def _there(source: str) -> bool:
    return os.path.lexists(source.partition("::")[0]) or "*" in source


def _settings(plan: Plan, place: Place) -> Settings:
    """Return the settings of a worker: the device is of the type of the run, whatever else this machine has."""
    device = "cpu"
    if plan.same["device"] == "cuda":
        import torch

        device = f"cuda:{place.slot % max(1, torch.cuda.device_count())}"
    settings = load(given={k: (v, "plan") for k, v in plan.values().items()})
    lanes = settings.segment.lanes or (place.lanes if device == "cpu" else 0)
    return settings.replace({"segment.device": device, "segment.lanes": lanes}, "plan")


def _check(engine: Engine, plan: Plan, out: Path) -> None:
    """Refuse what would not give the same bytes."""
    own = plain(identity(engine))
    if own != plan.same:
        raise _refusal(plan.same, own)
    if (facts := worker_facts(engine.device)) != plan.worker:
        raise _refusal(plan.worker, facts)
    if (now := plain(fingerprint(plan.source, out))) != plan.fingerprint:
        sizes = f"{plan.fingerprint.get('bytes')} bytes then, {now.get('bytes')} now"
        raise InputError(
            f"'{plan.source}' is not, on {here()}, the movie that the run began with ({sizes})",
            "wait until the movie is complete, then begin again with --overwrite; insitu watch follows a growing one",
        )


def _refusal(wanted: Mapping[str, Any], own: Mapping[str, Any]) -> CommandError:
    differing = "; ".join(f"{n} is {b} there and {a} in the run" for n, a, b in _differences(wanted, own))
    return CommandError(
        f"worker {here()} would not give the bytes of this run: {differing}",
        "use workers with the same versions and the same kind of processor, or begin again there with --overwrite",
    )


def _differences(wanted: Mapping[str, Any], own: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*wanted, *own}):
        a, b = wanted.get(name), own.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            yield f"{prefix}{name}", a, b
