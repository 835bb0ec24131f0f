"""The centre of the program: prepare → segment → measure → link → events, frame by frame, in frame order.

The same for a file, a folder or a list; it knows neither the run folder nor the command line.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError
from insitu.intake import Intake, Selection
from insitu.lanes import number_of_lanes
from insitu.measure import measure
from insitu.progress import Stopwatch
from insitu.runs import components
from insitu.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from insitu.intake import FrameBatch
    from insitu.settings import Settings
    from insitu.types import Calibration, Frame, FrameResult, Measured, Model, Reader, Reference, Segmented

# Raise it with every change that gives other outlines, tracks or events for the same frames and settings: a run is
# resumed only by the method that it was begun with.
METHOD = 2
_OF_WEIGHTS = ("sha256", "threshold", "seed", "outline", "choice")  # what a card says of what comes out


@dataclass(frozen=True, slots=True, eq=False)
class Analysed:
    """What can be said of one frame without looking at another: the seam between the parallel and the ordered part.

    `measured` is None for a frame that is bad or missing; `flags` are those of the frame and of its segmentation.
    """

    frame: Frame
    measured: Measured | None
    threshold: float | None = None
    flags: tuple[str, ...] = ()


class Engine:
    """An opened source with everything resolved that analysing it needs.

    `analysed` looks at every frame by itself, `tracked` at all of them in order. Only the first needs the device and
    the model, which are resolved when they are asked for: frames may have been analysed elsewhere.

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
        from insitu import prepare as preparing
        from insitu.read import calibrated

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
        self.watch = Stopwatch()
        read = settings.read
        self.intake = Intake(
            reader,
            self.calibration,
            self.selection,
            batch=options.batch,
            prefetch=read.prefetch_frames,
            on_bad=read.on_bad,
            batch_s=1e-3 * read.batch_ms,
            watch=self.watch,
        )
        prepare = settings.prepare
        if reference is None:
            frames = self.intake.reference(prepare.reference_frames, self.total)
            reference = preparing.reference(frames, prepare, options.polarity)
        self.reference = reference
        self.tracker = Tracker(settings.link, settings.events, self.region[2:], self.selection.step, settings.measure)

    @cached_property
    def device(self) -> str:
        """The device that segments: ``"cpu"`` or ``"cuda:N"``."""
        from insitu.segment import resolve_device

        return resolve_device(self.settings.segment.device)

    @cached_property
    def model(self) -> Model:
        """The model, on its device."""
        from insitu import models

        return models.load(self.settings.segment.model, self.device)

    def remarks(self) -> list[str]:
        """Return what a user should know about the model and these frames."""
        from insitu import models

        _, _, height, width = self.region
        side = self.settings.prepare.bin
        return models.remarks(self.model, (height // side, width // side))

    @cached_property
    def lanes(self) -> int:
        """How many frames (batches on a GPU) are worked on at a time; it changes no result."""
        return number_of_lanes(self.settings.segment.lanes, self.device)

    def results(
        self, first_plane: int = 0, *, images: bool = True, idle: Callable[[], None] | None = None
    ) -> Generator[FrameResult]:
        """Yield one result per frame from plane `first_plane` on, in frame order.

        A result may come later than its frame was read, until an open contact is decided. The pixels in
        ``result.frame.image`` belong to a slot and are valid until the next result is asked for; without `images` they
        are left out, which spares a copy of those that come later. `idle` is called many times a second while a
        source that is still being filled gives nothing.
        """
        with closing(self.analysed(first_plane, images=images, idle=idle)) as frames:
            yield from self.tracked(frames)

    def analysed(
        self,
        first_plane: int = 0,
        stop_plane: int | None = None,
        *,
        images: bool = True,
        idle: Callable[[], None] | None = None,
    ) -> Generator[Analysed]:
        """Yield the planes from `first_plane` to before `stop_plane` (None: to the end), segmented and measured.

        Nothing here depends on another frame, so any process may do any stretch. Pixels, `images` and `idle` as in
        `results`.
        """
        total = self.total if stop_plane is None else stop_plane
        from insitu.prepare import slots

        _ = self.model  # loaded once, before lanes ask for it
        slot = slots(self.device)
        # however this ends, its threads have ended when it returns: nobody reads from a source that is closed
        with closing(self.intake.batches(first_plane, total, self._measured, self.lanes, slot)) as batches:
            while True:
                with self.watch.stage("wait for frames"):
                    batch, found = next(batches, (None, None))
                if batch is None:
                    return
                if idle is not None and not batch.frames:
                    idle()
                for one in found or ():
                    yield one if images else replace(one, frame=replace(one.frame, image=None))

    def tracked(self, frames: Iterable[Analysed]) -> Generator[FrameResult]:
        """Yield one result per analysed frame, in frame order; see `results`."""
        for found in frames:
            if found.measured is None:
                yield from self.tracker.skip(found.frame)
                continue
            with self.watch.stage("link"):
                final = self.tracker.step(found.frame, found.measured, found.threshold, found.flags)
            yield from final
        yield from self.tracker.flush()

    def _measured(self, batch: FrameBatch) -> list[Analysed]:
        """Do all that concerns the frames of a batch by themselves; on any thread, in any order."""
        from insitu.prepare import prepare
        from insitu.segment import own_stream, segment

        segmented: Iterator[Segmented] = iter(())
        if batch.used:
            with own_stream(self.device):
                with self.watch.stage("prepare"):
                    prepared = prepare(batch.images[: batch.used], self.settings.prepare, self.reference, self.device)
                with self.watch.stage("segment"):
                    segmented = iter(segment(prepared, self.model, self.settings.segment))
        done = []
        for frame in batch.frames:
            if frame.status != "ok":
                done.append(Analysed(frame, None))
                continue
            found = next(segmented)
            with self.watch.stage("measure"):
                measured = measure(components(found.runs), self.settings.measure)
            done.append(Analysed(frame, measured, found.threshold, (*frame.flags, *found.flags)))
        return done


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
    """Return what must be equal for two runs to give the same bytes.

    That is the method, the model, the device type, precision, batch and versions. The name of a model does not say
    which weights it has: a network may be trained again under its old name.
    """
    from importlib.metadata import version

    from insitu.segment import resolve_precision

    options = engine.settings.segment
    packages = ("torch", "numpy", "scipy", "zarr", "numcodecs", "pyarrow")
    card = getattr(engine.model, "card", {})
    return {
        "method": METHOD,
        "model": engine.model.name,
        "weights": {key: card.get(key) for key in ("sha256", "threshold", "seed", "outline", "choice")}
        if card
        else None,
        "device": engine.device.partition(":")[0],
        "precision": resolve_precision(options.precision, engine.device, engine.model),
        "batch": options.batch,
        "threads": 1,  # of a frame; the last bits of a network's sums depend on them
        "versions": {name: version(name) for name in packages},
    }
