"""From an opened source to batches of frames: the reader thread, its slots, and the account of every frame.

Frames come out in timeline order, each exactly once, as `ok`, `bad` (with the reason) or `missing`. Slots are
allocated once and reused; when none is free the reader waits, so nothing is ever dropped. What is to be done with a
batch can be begun as soon as it is read, on lanes beside each other (`insitu.lanes`).
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, CommandError, EndOfSource, InputError
from insitu.lanes import Lanes
from insitu.progress import Stopwatch
from insitu.read import judge, remarks
from insitu.read.calibration import GIVEN_FPS
from insitu.read.watch.live import is_live
from insitu.types import Frame, Header

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from insitu.types import Calibration, Reader


# how often what waits for its commit is looked at while nothing comes: short against `store.unit_ms`
_IDLE_S = 0.025
_ROUNDING_S = 0.999e-3


@dataclass(frozen=True, slots=True)
class Selection:
    """The frames ``start + k·step`` below `stop` of the source's timeline; `stop` None means to its end.

    Raises
    ------
    CommandError
        A negative number, or a step below 1.
    """

    start: int = 0
    stop: int | None = None
    step: int = 1

    def __post_init__(self) -> None:
        if self.start < 0 or self.step < 1 or (self.stop is not None and self.stop < 0):
            message = f"frames {self.start}:{'' if self.stop is None else self.stop}:{self.step} cannot be selected"
            raise CommandError(message, "give start and stop ≥ 0 and a step ≥ 1, for example 0:2000:10")

    def frame(self, plane: int) -> int:
        """Return the source frame of label plane `plane`."""
        return self.start + plane * self.step

    def planes(self, n_frames: int | None) -> int | None:
        """Return how many planes a source of `n_frames` has; None while that is unknown."""
        if n_frames is None and self.stop is None:
            return None
        stop = min(s for s in (self.stop, n_frames) if s is not None)
        return max(0, -(-(stop - self.start) // self.step))


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Consecutive frames; `images[:used]` are the pixels of those that are ok, in order."""

    frames: tuple[Frame, ...]
    images: NDArray[Any]
    used: int


_NOTHING = FrameBatch((), np.empty((0, 0, 0)), 0)
_QUEUED = 2  # slots that wait for a lane, or for the thread that takes the results, besides those in the lanes


class Intake:
    """Read the frames of a selection ahead of their use.

    Parameters
    ----------
    reader : Reader
    calibration : Calibration
        Decides `time_s` where the source records no time of its own.
    selection : Selection
    batch : int
        Usable frames per batch.
    prefetch : int
        Frames read ahead.
    on_bad : {"skip", "stop"}
    batch_s : float
        Of a source that is still being filled: longest time in s from the first frame of a batch to its end.
    watch : Stopwatch, optional
        Told how long reading takes, how long it waits for a slot, and how many slots wait for what.
    """

    def __init__(
        self,
        reader: Reader,
        calibration: Calibration,
        selection: Selection,
        *,
        batch: int = 1,
        prefetch: int = 8,
        on_bad: str = "skip",
        batch_s: float = 0.1,
        watch: Stopwatch | None = None,
    ) -> None:
        self._watch = watch or Stopwatch()
        self._reader = reader
        self._live = reader if is_live(reader) else None
        self._batch_s = batch_s
        self._calibration = calibration
        self._selection = selection
        self._batch = batch
        self._ahead = -(-prefetch // batch)
        self._on_bad = on_bad
        self._held: dict[int, Frame] = {}
        self._rate_given = calibration.s_source == GIVEN_FPS
        # the beat that the source's own times are judged by is its own, not the rate that the user puts in its place
        self._beat_s = (reader.info.calibration if self._rate_given else calibration).s_per_frame

    def frame(self, plane: int, slot: NDArray[Any]) -> Frame:
        """Read plane `plane` into `slot` (H, W) and account for it.

        Raises
        ------
        EndOfSource
            The source of unknown length has ended.
        InputError
            The frame is bad and `on_bad` is ``"stop"``.
        """
        held = self._held.pop(plane, None)
        if held is not None:
            if held.image is not None:
                np.copyto(slot, held.image)
            return held
        index = self._selection.frame(plane)
        header = self._header(index)
        if header.status == "missing":
            return Frame(index, None, "missing", ("missing",), header, self._time(index, header))
        try:
            flags = self._reader.read_into(index, slot)
            if unusable := judge(slot):
                raise BadFrame(unusable[0])  # noqa: TRY301 - one way out for all bad frames
        except BadFrame as bad:
            return self._bad(index, header, bad)
        flags += remarks(slot) + self._irregular(index, header)
        return Frame(index, slot, "ok", flags, header, self._time(index, header))

    def reference(self, wanted: int, total: int | None) -> list[tuple[int, NDArray[Any]]]:
        """Read the first `wanted` usable frames and hold them, so that a generator's frames are not lost.

        Gives up four times as many planes after the first usable one: a movie with many bad frames has fewer
        references. However long a blanked beam lasts at the beginning, it has one.
        """
        shape, dtype = self._reader.info.shape, self._reader.info.dtype
        usable: list[int] = []
        for plane in count() if total is None else range(total):
            try:
                held = self._held[plane] = self.frame(plane, np.empty(shape, dtype))
            except EndOfSource:
                break
            if held.image is not None:
                usable.append(plane)
            if len(usable) == wanted or (usable and plane - usable[0] >= 4 * wanted):
                break
        return [(f.index, f.image) for f in self._held.values() if f.image is not None]

    def batches(
        self,
        first_plane: int,
        total: int | None,
        work: Callable[[FrameBatch], Any] | None = None,
        lanes: int = 1,
        allocate: Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]] = np.empty,
    ) -> Generator[tuple[FrameBatch, Any]]:
        """Yield batches from plane `first_plane` on, each with what `work` made of it (None without).

        A batch's slot, made by `allocate`, is reused once the next one is asked for. `work` is done on `lanes` threads
        while earlier batches are looked at; what it raises is raised here, in its turn. While a source that is still
        being filled gives nothing, a batch without frames comes many times a second.
        """
        height, width = self._reader.info.shape
        free: queue.Queue[NDArray[Any]] = queue.Queue()
        ready: queue.Queue[tuple[FrameBatch, Future[Any] | None] | BaseException | None] = queue.Queue()
        for _ in range(max(self._ahead, lanes) + _QUEUED):
            free.put(allocate((self._batch, height, width), self._reader.info.dtype))
        stopped = threading.Event()
        crew = Lanes(work, lanes) if work else None

        def read_ahead() -> None:
            try:
                for batch in self._fill(first_plane, total, free, stopped):
                    ready.put((batch, crew.put(batch) if crew else None))
                ready.put(None)
            except BaseException as error:
                ready.put(error)

        thread = threading.Thread(target=read_ahead, name="insitu-reader", daemon=True)
        thread.start()
        try:
            while (item := self._next(ready)) is not None:
                if isinstance(item, BaseException):
                    raise item
                batch, done = item
                self._watch.gauge("frames read ahead", ready.qsize() * self._batch)
                yield batch, done.result() if done else None
                if batch is not _NOTHING:
                    free.put(batch.images)
        finally:
            stopped.set()
            free.put(np.empty((0, 0, 0), self._reader.info.dtype))
            thread.join()
            if crew:
                crew.close()

    def _next(self, ready: queue.Queue[Any]) -> Any:  # noqa: ANN401 - an item of the queue
        try:
            return ready.get(timeout=None if self._live is None else min(self._batch_s, _IDLE_S))
        except queue.Empty:
            return _NOTHING, None

    def _comes(self, plane: int, slot: NDArray[Any], began: float | None, stopped: threading.Event) -> bool:
        """Wait for a frame of a source that is still being filled; False where the batch that `began` must not wait."""
        if self._live is None:
            return True
        while not stopped.is_set():
            left = self._batch_s if began is None else began + self._batch_s - time.monotonic()
            if self._live.ready(self._selection.frame(plane), max(0.0, left), slot):
                return True
            if began is not None:
                return False
        return False

    def _fill(
        self, first: int, total: int | None, free: queue.Queue[NDArray[Any]], stopped: threading.Event
    ) -> Iterator[FrameBatch]:
        plane = first
        ended = False
        while not ended and (total is None or plane < total):
            with self._watch.stage("read: wait for a slot"):
                slot = free.get()
            if stopped.is_set():
                return
            frames: list[Frame] = []
            used = 0
            began = None
            # unusable frames ride along without a place in the slot; the bound keeps a long gap from growing the batch
            while used < self._batch and len(frames) < 4 * self._batch and (total is None or plane < total):
                if plane not in self._held and not self._comes(plane, slot[used], began, stopped):
                    break
                try:
                    with self._watch.stage("read"):
                        frame = self.frame(plane, slot[used])
                except EndOfSource:
                    ended = True
                    break
                began = began or time.monotonic()
                frames.append(frame)
                used += frame.status == "ok"
                plane += 1
            if frames:
                yield FrameBatch(tuple(frames), slot, used)
            else:
                free.put(slot)

    def _bad(self, index: int, header: Header, bad: BadFrame) -> Frame:
        if self._on_bad == "stop":
            message = f"frame {index} of '{self._reader.info.path}' cannot be used: {bad}"
            raise InputError(message, "repair the source, or go on without such frames: --on-bad skip") from bad
        return Frame(index, None, "bad", (bad.reason,), header, self._time(index, header), str(bad))

    def _header(self, index: int) -> Header:
        try:
            return self._reader.header(index)
        except BadFrame:  # its pixels will be refused too, with the reason
            return Header(source="", source_number=index)

    def _time(self, index: int, header: Header) -> float | None:
        """Return the start of exposure: the user's frame rate, else the frame's own time, else the header's rate."""
        step = self._calibration.s_per_frame
        if header.time_s is not None and not self._rate_given:
            return header.time_s
        return None if step is None else index * step

    def _irregular(self, index: int, header: Header) -> tuple[str, ...]:
        """Flag a frame whose own time is more than a tenth of a frame off the regular beat since the frame before."""
        step = self._beat_s
        if header.time_s is None or not step or index == 0:
            return ()
        before = self._header(index - 1).time_s
        if before is None:
            return ()
        # stamps rounded to milliseconds make a beat of 2.5 ms one of 2 and 3: two of them are less than 1 ms off
        rounded = all(abs(1e3 * t - round(1e3 * t)) < 1e-6 for t in (before, header.time_s))
        allowed = max(0.1 * step, _ROUNDING_S if rounded else 0.0)
        return () if abs(header.time_s - before - step) <= allowed else ("irregular time",)
