"""The centre of the program: prepare → segment → measure → link → events, frame by frame, in frame order.

The same for a file, a folder or a list; it knows neither the run folder nor the command line.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError
from insitu.intake import Intake, Selection
from insitu.measure import measure
from insitu.progress import Stopwatch
from insitu.runs import components
from insitu.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from insitu.intake import FrameBatch
    from insitu.settings import Settings
    from insitu.types import Calibration, FrameResult, Model, Reader, Reference, Segmented


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

        self.reader = reader
        self.settings = settings
        self.selection = selection or Selection()
        given = settings.calibration
        self.calibration: Calibration = calibrated(reader.info, given.nm_per_px, given.fps)
        self.total = self.selection.planes(reader.info.n_frames)
        self.region = region(reader.info.shape, settings.prepare.crop)
        if self.total == 0:
            message = f"no frames to analyse: '{reader.info.path}' has {reader.info.n_frames}"
            raise CommandError(message, "choose frames that exist: --frames START:STOP:STEP")
        options = settings.segment
        self.device = resolve_device(options.device)
        self.model: Model = models.load(options.model, self.device)
        read = settings.read
        self.intake = Intake(
            reader,
            self.calibration,
            self.selection,
            batch=options.batch,
            prefetch=read.prefetch_frames,
            on_bad=read.on_bad,
            batch_s=1e-3 * read.batch_ms,
        )
        prepare = settings.prepare
        if reference is None:
            frames = self.intake.reference(prepare.reference_frames, self.total)
            reference = preparing.reference(frames, prepare, options.polarity)
        self.reference = reference
        self.watch = Stopwatch()
        self.tracker = Tracker(settings.link, settings.events, self.region[2:], self.selection.step, settings.measure)

    def results(
        self, first_plane: int = 0, *, images: bool = True, idle: Callable[[], None] | None = None
    ) -> Generator[FrameResult]:
        """Yield one result per frame from plane `first_plane` on, in frame order.

        A result may come later than its frame was read, until an open contact is decided. The pixels in
        ``result.frame.image`` belong to a slot and are valid until the next result is asked for; without `images` they
        are left out, which spares a copy of those that come later. `idle` is called every ``read.batch_ms`` while a
        source that is still being filled gives nothing.
        """
        # however this ends, the reader's thread has ended when it returns: nobody reads from a source that is closed
        with closing(self.intake.batches(first_plane, self.total)) as batches:
            yield from self._analysed(batches, images=images, idle=idle)
            yield from self.tracker.flush()

    def _analysed(
        self, batches: Iterator[FrameBatch], *, images: bool, idle: Callable[[], None] | None
    ) -> Iterator[FrameResult]:
        from insitu.prepare import prepare
        from insitu.segment import segment

        options = self.settings.segment
        while True:
            with self.watch.stage("wait for frames"):
                batch = next(batches, None)
            if batch is None:
                return
            if idle is not None and not batch.frames:
                idle()
            segmented: Iterator[Segmented] = iter(())
            if batch.used:
                with self.watch.stage("prepare"):
                    prepared = prepare(batch.images[: batch.used], self.settings.prepare, self.reference, self.device)
                with self.watch.stage("segment"):
                    segmented = iter(segment(prepared, self.model, options))
            for frame in batch.frames:
                if frame.status != "ok":
                    yield from self.tracker.skip(frame)
                    continue
                found = next(segmented)
                with self.watch.stage("measure"):
                    measured = measure(components(found.runs), self.settings.measure)
                with self.watch.stage("link"):
                    seen = frame if images else replace(frame, image=None)
                    final = self.tracker.step(seen, measured, found.threshold, (*frame.flags, *found.flags))
                yield from final


def region(shape: tuple[int, int], crop: tuple[int, int, int, int] | None) -> tuple[int, int, int, int]:
    """Return the analysed region of a frame of `shape` as (y0, x0, height, width) in camera px.

    Raises
    ------
    CommandError
        The crop (y0, x0, y1, x1) does not lie in the frame.
    """
    height, width = shape
    if crop is None:
        return 0, 0, height, width
    y0, x0, y1, x1 = crop
    if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
        message = f"prepare.crop = {list(crop)} does not lie in the frame of {height}×{width} px"
        raise CommandError(message, "give y0, x0, y1, x1 in camera pixels, half-open")
    return y0, x0, y1 - y0, x1 - x0


def identity(engine: Engine) -> dict[str, Any]:
    """Return what must be equal for two runs to give the same bytes: model, device type, precision, batch, versions.

    The name of a model does not say which weights it has: a network may be trained again under its old name.
    """
    from importlib.metadata import version

    options = engine.settings.segment
    packages = ("torch", "numpy", "scipy", "zarr", "numcodecs", "pyarrow")
    card = getattr(engine.model, "card", {})
    return {
        "model": engine.model.name,
        "weights": {key: card.get(key) for key in ("sha256", "threshold", "seed")} if card else None,
        "device": engine.device.partition(":")[0],
        "precision": options.precision,
        "batch": options.batch,
        "versions": {name: version(name) for name in packages},
    }
