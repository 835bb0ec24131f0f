"""The loop of the engine: read → prepare → segment → runs → measure → link → events, and on to a run folder.

`analyze` is the centre: a generator of `FrameResult` in frame order, the same for a file, a folder or a list. `process`
drives it into a run folder with a commit every `store.unit_frames` frames. The pipeline blocks when the disk is slow; it
never drops a frame.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, CommandError, InputError
from insitu.intake import Intake, Selection
from insitu.measure import measure
from insitu.types import Reference

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from insitu.settings import Settings
    from insitu.types import Calibration, FrameResult, Model, Reader


@dataclass(slots=True)
class Progress:
    """What a user sees while a run goes on; `total` is None for a source of unknown length."""

    total: int | None
    done: int = 0
    used: int = 0
    bad: int = 0
    missing: int = 0
    particles: int = 0
    events: int = 0
    frames_per_s: float = 0.0
    resumed_from: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)


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


class Stopwatch:
    """CPU and wall seconds per stage, for ``run.json`` and ``--debug``."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block under `name`."""
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        spent = self.seconds.setdefault(name, [0.0, 0.0])
        spent[0] += time.perf_counter() - wall
        spent[1] += time.thread_time() - cpu

    def summary(self) -> dict[str, dict[str, float]]:
        """Return ``{stage: {"wall_s": …, "cpu_s": …}}``; CPU is that of the pipeline's own thread."""
        return {k: {"wall_s": round(v[0], 3), "cpu_s": round(v[1], 3)} for k, v in self.seconds.items()}


class Engine:
    """An opened source with everything resolved that analysing it needs.

    Parameters
    ----------
    reader : Reader
    settings : Settings
    selection : Selection, optional
        Frames to analyse; all by default.
    reference : Reference, optional
        Whole-movie quantities of an earlier run that is being resumed; taken from the first frames otherwise.
    """

    def __init__(
        self,
        reader: Reader,
        settings: Settings,
        selection: Selection | None = None,
        reference: Reference | None = None,
    ) -> None:
        from insitu import models
        from insitu import prepare as preparing
        from insitu.read import calibrated
        from insitu.segment import resolve_device
        from insitu.tracker import Tracker

        self.reader = reader
        self.settings = settings
        self.selection = selection or Selection()
        given = settings.options("calibration")
        self.calibration: Calibration = calibrated(reader.info, given.nm_per_px, given.fps)
        self.total = self.selection.planes(reader.info.n_frames)
        if self.total == 0:
            message = f"no frames to analyse: '{reader.info.path}' has {reader.info.n_frames}"
            raise CommandError(message, "choose frames that exist: --frames START:STOP:STEP")
        options = settings.options("segment")
        self.device = resolve_device(options.device)
        self.model: Model = models.load(options.model, self.device)
        read = settings.options("read")
        self.intake = Intake(
            reader,
            self.calibration,
            self.selection,
            batch=options.batch,
            prefetch=read.prefetch_frames,
            on_bad=read.on_bad,
        )
        prepare = settings.options("prepare")
        if reference is None:
            frames = self.intake.reference(prepare.reference_frames, self.total)
            reference = preparing.reference(frames, prepare, options.polarity)
        self.reference = reference
        self.watch = Stopwatch()
        self.region = self._region(prepare.crop)
        self.tracker = Tracker(settings.options("link"), settings.options("events"), self.region[2:])

    def results(self, first_plane: int = 0) -> Iterator[FrameResult]:
        """Yield one result per frame from plane `first_plane` on, in frame order.

        The pixels in ``result.frame.image`` belong to a slot and are valid until the next result is asked for.
        """
        from insitu.prepare import prepare
        from insitu.segment import segment

        options = self.settings.options("segment")
        batches = self.intake.batches(first_plane, self.total)
        while True:
            with self.watch.stage("wait for frames"):
                batch = next(batches, None)
            if batch is None:
                return
            segmented = iter(())
            if batch.used:
                with self.watch.stage("prepare"):
                    prepared = prepare(
                        batch.images[: batch.used], self.settings.options("prepare"), self.reference, self.device
                    )
                with self.watch.stage("segment"):
                    segmented = iter(segment(prepared, self.model, options))
            for frame in batch.frames:
                if frame.status != "ok":
                    yield self.tracker.skip(frame)
                    continue
                found = next(segmented)
                with self.watch.stage("measure"):
                    measured = measure(found.runs, self.settings.options("measure"))
                with self.watch.stage("link"):
                    result = self.tracker.step(frame, measured, found.threshold, (*frame.flags, *found.flags))
                yield result

    def _region(self, crop: tuple[int, int, int, int] | None) -> tuple[int, int, int, int]:
        """Return the analysed region as (y0, x0, height, width) in camera px."""
        height, width = self.reader.info.shape
        if crop is None:
            return 0, 0, height, width
        y0, x0, y1, x1 = crop
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            message = f"prepare.crop = {list(crop)} does not lie in the frame of {height}×{width} px"
            raise CommandError(message, "give y0, x0, y1, x1 in camera pixels, half-open")
        return y0, x0, y1 - y0, x1 - x0


def stream(source: object, *, settings: Settings, selection: Selection | None = None) -> Iterator[FrameResult]:
    """Yield the result of every frame of `source`: a path, a folder, a list of files, or an iterable of 2-D arrays.

    Memory stays constant. See `insitu.stream` for the short form.
    """
    from insitu.read import open_source

    reader = open_source(source)
    try:
        yield from Engine(reader, settings, selection).results()
    finally:
        reader.close()


def fingerprint(source: object) -> dict[str, Any]:
    """Return what identifies a source on disk: names, sizes and a digest of its first and last 64 KiB.

    Enough to notice that a resumed run was pointed at another movie; not a checksum of the whole file.
    """
    if not isinstance(source, str | Path):
        return {"kind": "memory"}
    path = Path(source)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    size = 0
    for file in files:
        stat = file.stat()
        size += stat.st_size
        digest.update(f"{file.relative_to(path) if path.is_dir() else file.name}\0{stat.st_size}\0".encode("utf-8", "replace"))
    for file in (files[0], files[-1]) if files else ():
        with file.open("rb") as opened:
            digest.update(opened.read(65536))
            opened.seek(max(0, file.stat().st_size - 65536))
            digest.update(opened.read(65536))
    return {"kind": "folder" if path.is_dir() else "file", "files": len(files), "bytes": size, "sha256": digest.hexdigest()}


class _Rate:
    """Frames per second over the last five seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def __call__(self, done: int) -> float:
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > 5.0:
            self._marks.popleft()
        (then, before), (now, done) = self._marks[0], self._marks[-1]
        return (done - before) / (now - then) if now > then else 0.0
