"""From a source to a run folder: the engine's results are committed every `store.unit_frames` frames.

The pipeline blocks when the disk is slow; it never drops a frame. `stream` is the same engine without a folder.
"""

from __future__ import annotations

import platform
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import chain
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from insitu.engine import Engine, identity
from insitu.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError, SourceStopped
from insitu.following import Following, in_order
from insitu.models.memory import give_back_unused, keep_large_blocks
from insitu.progress import Progress, Rate, RunSummary
from insitu.read import open_source
from insitu.read.fingerprint import fingerprint
from insitu.read.watch.live import is_live
from insitu.types import Reference, RunInfo

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterable, Iterator

    from insitu.engine import Analysed
    from insitu.intake import Selection
    from insitu.settings import Settings
    from insitu.store.commit import RunFolder
    from insitu.types import Event, FrameResult, Reader

    Source = str | Path | list[str | Path] | Iterable[Any]


FRAMES_PER_TIDYING = 1024


@dataclass(frozen=True, slots=True)
class Hooks:
    """What happens along with the loop: what the caller wants to be told, how it says stop, who follows the source.

    Where frames were analysed elsewhere, `plane` gives the packed label plane that came with a result, and `metrics`
    what ``run.json`` shall say of it.
    """

    progress: Callable[[Progress], None] | None = None
    on_result: Callable[[FrameResult], None] | None = None
    stop: threading.Event | None = None
    following: Following | None = None
    plane: Callable[[FrameResult], bytes | None] | None = None
    metrics: Callable[[], dict[str, Any]] | None = None


def stream(source: Source, *, settings: Settings, selection: Selection | None = None) -> Iterator[FrameResult]:
    """Yield the result of every frame of `source`: a path, a folder, a list of files, or an iterable of 2-D arrays.

    Memory stays constant. See `insitu.stream` for the short form. Beginnings that were too short to name when the movie
    ended are events of the run folder only.
    """
    reader = open_source(source)
    try:
        yield from Engine(reader, settings, selection).results()
    finally:
        reader.close()


def process(
    source: Source | Reader,
    out: str | Path,
    settings: Settings,
    *,
    selection: Selection | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    on_result: Callable[[FrameResult], None] | None = None,
    stop: threading.Event | None = None,
) -> RunSummary:
    """Analyse `source` into the run folder `out`.

    Parameters
    ----------
    source
        Anything `insitu.read.open_source` opens, or a reader whose source is still being filled (`insitu.read.watch`).
    out : path
        The run folder; must not exist unless `resume` or `overwrite`.
    settings : Settings
    selection : Selection, optional
        Frames to analyse.
    resume : bool
        Go on after the last committed frame of `out`.
    overwrite : bool
        Replace the run that is there.
    progress : callable, optional
        Called after every frame with the same, updated `Progress`.
    on_result : callable, optional
        Called with every result after it was handed to the store, pixels included while the call lasts.
    stop : threading.Event, optional
        Once set, what is done is committed and the run ends as interrupted, resumable; with its `exit_code` if it has
        one, else 130.

    Raises
    ------
    InsituError
        As the command line reports it; what was committed before is safe.
    """
    began = time.monotonic()
    out = Path(out).absolute()
    if settings.segment.reuse_memory:
        keep_large_blocks()
    reader = open_source(source)
    try:
        engine = Engine(reader, settings, selection, stored_reference(out) if resume else None)
        with run_folder(engine, source, out, resume=resume, overwrite=overwrite) as folder:
            return drive(engine, folder, began, Hooks(progress, on_result, stop))
    finally:
        reader.close()


def drive(
    engine: Engine,
    folder: RunFolder,
    began: float,
    hooks: Hooks,
    analysed: Callable[[int, Progress], Generator[Analysed]] | None = None,
) -> RunSummary:
    """Run the loop into an open folder; finish it unless `stop` was set.

    `analysed` gives the frames from a plane on where others analyse them, and may tell how far they are ahead; the
    engine's own by default.
    """
    seen = _progress(engine, folder)
    following = _following(engine, folder, seen)
    hooks = replace(hooks, following=following)
    interrupted = False
    if not folder.finished:
        folder.notes.extend(engine.remarks())
        if folder.state:
            engine.tracker.restore(folder.state)
        idle = _idle(engine, seen, hooks, following) if following else None
        if analysed is None:
            frames = engine.analysed(folder.committed, images=hooks.on_result is not None, idle=idle)
        else:
            frames = analysed(folder.committed, seen)
        with closing(frames), closing(engine.tracked(frames)) as results:
            try:
                interrupted = _loop(results, engine, folder, seen, hooks)
            except InputError:  # a frame that ends the run (``--on-bad stop``) does not take those before it along
                folder.commit(engine.tracker.state())
                raise
        if following:
            following.note()
        folder.commit(engine.tracker.state())
        if interrupted:
            folder.close({"exit": _stopped(hooks), "metrics": _metrics(engine, seen, began, hooks)})
        else:
            last = engine.tracker.finish()
            with engine.watch.stage("tracks"):
                tracks = _tracks(folder, last)
            about = {"metrics": _metrics(engine, seen, began, hooks)} | _account(following, folder)
            folder.finish(tracks, about=about, events=last)
    counts = folder.counts
    odd = counts["bad"] + counts["missing"] or not in_order(folder.about.get("watched") or {})
    code = EXIT_INCOMPLETE if odd else EXIT_DONE
    return RunSummary(
        out=folder.path,
        exit_code=_stopped(hooks) if interrupted else code,
        total=folder.committed,
        used=counts["ok"],
        bad=counts["bad"],
        missing=counts["missing"],
        particles=counts["particles"],
        events=counts["events"],
        seconds=time.monotonic() - began,
        resumed_from=seen.resumed_from,
        interrupted=interrupted,
        notes=tuple(folder.notes),
    )


def _following(engine: Engine, folder: RunFolder, seen: Progress) -> Following | None:
    if not is_live(engine.reader):
        return None
    unit_s = 1e-3 * engine.settings.store.unit_ms
    return Following(engine.reader, folder, seen, lambda done: engine.selection.frame(done - 1), unit_s)


def _idle(engine: Engine, seen: Progress, hooks: Hooks, following: Following) -> Callable[[], None]:
    """Return what is done while the source gives nothing: what waits is committed, and who looks on is told."""
    rate = Rate(seen.done)

    def idle() -> None:
        if following.due():
            following.commit(engine.tracker.state)
        following.tell()
        seen.frames_per_s = rate(seen.done)
        seen.problems = []
        if hooks.progress:
            hooks.progress(seen)

    return idle


def _account(following: Following | None, folder: RunFolder) -> dict[str, Any]:
    """Return what ``run.json`` says of a source that was being filled."""
    if following is None:
        return {}
    account = following.account()
    if in_order(account):
        return {"watched": account}
    late = len(account["late"])
    folder.notes.append(f"{late} files came too late for their place; to take them in: --resume --from-late")
    return {"watched": account, "exit": EXIT_INCOMPLETE}


def _stopped(hooks: Hooks) -> int:
    return int(getattr(hooks.stop, "exit_code", EXIT_INTERRUPTED))


def _progress(engine: Engine, folder: RunFolder) -> Progress:
    """Return the state of a run that begins, or that goes on with what is committed."""
    counts = folder.counts
    return Progress(
        engine.total,
        done=folder.committed,
        used=counts["ok"],
        bad=counts["bad"],
        missing=counts["missing"],
        particles=counts["particles"],
        events=counts["events"],
        resumed_from=folder.committed,
        notes=folder.notes,
    )


def _loop(
    results: Iterator[FrameResult],
    engine: Engine,
    folder: RunFolder,
    seen: Progress,
    hooks: Hooks,
) -> bool:
    """Hand every result to the folder, committing when a unit is full; return True when `stop` ended it early."""
    rate = Rate(seen.done)
    try:
        for result in results:
            with engine.watch.stage("store"):
                _store(result, engine, folder, hooks)
            _count(seen, result)
            if seen.done % FRAMES_PER_TIDYING == 0:
                give_back_unused()
            seen.ahead = max(0, seen.ahead - 1)
            seen.frames_per_s = rate(seen.done + seen.ahead)
            if hooks.on_result:
                hooks.on_result(result)
            if hooks.progress:
                hooks.progress(seen)
            if hooks.stop is not None and hooks.stop.is_set():
                return engine.total is None or seen.done < engine.total
    except SourceStopped:
        return True
    return False


def _store(result: FrameResult, engine: Engine, folder: RunFolder, hooks: Hooks) -> None:
    """Add a result to the folder, and commit where it is time to."""
    following = hooks.following
    plane = hooks.plane(result) if hooks.plane else None
    folder.add(replace(result, frame=replace(result.frame, image=None)), plane)
    if result.frame.status != "ok":
        what = result.frame.detail or ", ".join(result.flags)
        folder.problem(result.frame.index, result.frame.header.source, what)
    if following:
        following.tell()
        if folder.due or following.due():
            following.commit(engine.tracker.state)
    elif folder.due:
        folder.commit(engine.tracker.state())


def _count(seen: Progress, result: FrameResult) -> None:
    status = result.frame.status
    seen.done += 1
    seen.used += status == "ok"
    seen.bad += status == "bad"
    seen.missing += status == "missing"
    seen.particles += len(result.particles)
    seen.events += len(result.events)
    seen.problems = [] if status == "ok" else [(result.frame.index, ", ".join(result.flags))]


def _tracks(folder: RunFolder, last: tuple[Event, ...]) -> dict[str, Any]:
    """Return the columns of the tracks table, from what was committed: a resumed run needs no running sums.

    `last` are the events decided after the last frame.
    """
    from insitu.tracks import TrackSummary

    summary = TrackSummary()
    for frames in folder.rows("frames"):
        summary.add_frames(frames)
    for rows in folder.rows("particles"):
        summary.add(rows)
    return summary.rows(chain(folder.rows("events"), last))


def run_folder(
    engine: Engine,
    source: Source | Reader,
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    same: dict[str, Any] | None = None,
) -> RunFolder:
    """Create or resume the run folder of an engine; `same` is what must be equal (default: what this process is)."""
    from insitu.store.commit import RunFolder

    y0, x0, height, width = engine.region
    binning = engine.settings.prepare.bin
    info = RunInfo(
        out=out,
        source=engine.reader.info,
        calibration=engine.calibration,
        region=(height // binning * binning, width // binning * binning),
        first_frame=engine.selection.start,
        step=engine.selection.step,
        origin=(y0, x0),
        bin=binning,
    )
    about = {
        "source": {"fingerprint": engine.reader.fingerprint() if is_live(engine.reader) else fingerprint(source, out)},
        "identity": same or identity(engine),
        "reference": asdict(engine.reference),
        "host": {"machine": platform.machine(), "system": platform.platform(), "python": platform.python_version()},
        "selection": asdict(engine.selection),
    }
    text, options = engine.settings.to_toml(), engine.settings.store
    if resume:
        return RunFolder.resume(info, settings_text=text, about=about, options=options)
    return RunFolder.create(info, settings_text=text, about=about, options=options, overwrite=overwrite)


def stored_reference(out: Path) -> Reference | None:
    """Return the whole-movie quantities that an earlier run in `out` froze, or None where there is none."""
    from insitu.store.about import read_about

    stored = (read_about(out) or {}).get("reference")
    return Reference(**{**stored, "frames": tuple(stored["frames"])}) if stored else None


def _metrics(engine: Engine, seen: Progress, began: float, hooks: Hooks) -> dict[str, Any]:
    seconds = time.monotonic() - began
    done = seen.done - seen.resumed_from
    rss = psutil.Process().memory_info().rss
    return {
        "seconds": round(seconds, 3),
        "frames_analysed": done,
        "frames_per_s": round(done / seconds, 2) if seconds > 0 else None,
        "rss_MB": round(rss / 1e6, 1),
        "bytes_read": done * engine.reader.info.dtype.itemsize * prod(engine.reader.info.shape),
        "lanes": engine.__dict__.get("lanes"),  # none where the frames were analysed elsewhere
        "running_s": round(engine.watch.running_s, 3),
        "stages": engine.watch.summary(),
        "queues": engine.watch.queues(),
        **(hooks.metrics() if hooks.metrics else {}),
    }
