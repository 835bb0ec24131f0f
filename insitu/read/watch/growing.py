"""One file that grows while the camera writes it, as a movie of unknown length: TIFF, MRC, raw with its JSON.

The file is opened anew, by the reader of its format, whenever it has grown; what that reader finds complete is used.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, EndOfSource, InputError, SourceStopped
from insitu.read.files import shown
from insitu.read.frames import check_slot
from insitu.read.watch.complete import Attempt, Tails, released
from insitu.read.watch.front import Front
from insitu.read.watch.ledger import status_of
from insitu.read.watch.live import Past
from insitu.read.watch.patience import Patience, patience_for
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.read.watch.until import Until
    from insitu.types import Reader

_UNFINISHED = frozenset(("truncated", "unreadable"))


class GrowingFile:
    """A movie file as it grows; frames as its own reader gives them once it is complete.

    A frame is used once it can be read to its end and a later one is there, or no program has the file open for
    writing, or the file has not changed for a while. Where the file has room for frames that are yet to be written, a
    later one must have begun before it is read, or it must be read twice with the same result (`Front`).

    Parameters
    ----------
    path : Path
        The file; it may not exist yet.
    until : Until
        When watching ends.
    patience : Patience, optional
        How long is waited for what; what suits the disk by default.
    past : Past, optional
        What an earlier run has made of the file.
    until_released : bool
        The movie ends when its writer closes the file, whatever `until` says.
    clock : callable, optional
        Monotonic time in s.

    Raises
    ------
    InputError
        It ended without one frame.
    SourceStopped
        The user stopped waiting for the first frame.
    """

    def __init__(
        self,
        path: Path,
        until: Until,
        *,
        patience: Patience | None = None,
        past: Past | None = None,
        until_released: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._until, self._clock = path, until, clock
        self._patience = patience or patience_for(path.parent)
        self._until_released = until_released
        self._file = Attempt(path.name, 0.0)
        self._reader: Reader | None = None
        self._opened_at = (-1, -1)
        self._why_not = "it did not come"
        self._tails = Tails()
        self._front = Front(self._patience.poll_s)
        self._settled = len((past or Past()).sources)
        self._kept: tuple[int, NDArray[Any], tuple[str, ...]] | None = None
        self._news = clock()
        self._next_look = self._next_through = 0.0
        self._ended = False
        self._shrunk = False
        self._scratch: NDArray[Any] = np.empty((0, 0))
        first = self._first()
        self.info = SourceInfo(
            first.path, first.format, first.height, first.width, first.dtype, None,
            first.calibration, first.notes, first.lossy,
        )  # fmt: skip

    def _first(self) -> SourceInfo:
        while True:
            if self._until.stop.is_set():
                raise SourceStopped
            self._look(force=self._over())
            if self._reader is not None:
                return self._reader.info
            if self._over():
                raise InputError(
                    f"no frame came into '{shown(self._path)}': {self._why_not}",
                    "is this the file the camera writes? insitu info shows what is in it",
                )
            self._until.stop.wait(self._patience.poll_s)

    def ready(self, index: int, timeout_s: float, slot: NDArray[Any] | None = None) -> bool:
        """Wait up to `timeout_s` for frame `index`; see `insitu.read.watch.live`."""
        deadline = self._clock() + timeout_s
        while index >= self._settled and not self._ended:
            if self._until.stop.is_set():
                raise SourceStopped
            over = self._over()
            self._look(force=over)
            closing = over and self._over()  # the engine, not the camera, may have been silent: the look brings news
            if self._settle(index, slot, closing=closing):
                continue
            if closing:
                self._ended = True
                continue
            left = deadline - self._clock()
            if left <= 0:
                return False
            self._until.stop.wait(min(left, self._patience.poll_s))
        return True

    def header(self, index: int) -> Header:
        """Return what is known of frame `index`, waiting for it; EndOfSource and SourceStopped as `WatchedFolder`."""
        while not self.ready(index, 1.0):
            pass
        if self._reader is None or index >= min(self._settled, self._reader.info.n_frames or 0):
            raise EndOfSource
        return self._reader.header(index)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; flags and BadFrame as the reader of the format."""
        check_slot(out, self.info)
        self.header(index)
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] == index:
            if kept[1].ctypes.data != out.ctypes.data:
                np.copyto(out, kept[1])
            return kept[2]
        assert self._reader is not None
        return self._reader.read_into(index, out)

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()

    def lag(self, index: int) -> tuple[int, float]:
        """Return how many frames are in the file beyond frame `index`, and how long ago it last grew (s)."""
        there = self._settled if self._reader is None else (self._reader.info.n_frames or 0)
        frames = max(0, there - 1 - index)
        return frames, max(0.0, self._clock() - self._file.since) if frames else 0.0

    def remarks(self) -> list[tuple[int | None, str, str]]:
        """Return what was odd since the last call."""
        shrunk, self._shrunk = self._shrunk, False
        return [(None, shown(self._path.name), "became shorter while it was watched")] if shrunk else []

    def fingerprint(self) -> dict[str, Any]:
        """Return the name of the file and a digest of the pixels of its first frame."""
        assert self._reader is not None
        first = np.zeros(self.info.shape, self.info.dtype)
        try:
            self._reader.read_into(0, first)
        except BadFrame:
            first[:] = 0
        digest = hashlib.sha256(first.tobytes()).hexdigest()
        return {"kind": "growing file", "file": shown(self._path.name), "sha256": digest}

    def account(self) -> dict[str, Any]:
        """Return whether the finished file has as many frames as were used; nothing of a file can come late."""
        there = None if self._reader is None else self._reader.info.n_frames
        return {"late": [], "differs_from_frame": None if there in {None, self._settled} else self._settled}

    def _over(self) -> bool:
        """Whether no more is to come."""
        silence = self._clock() - self._news
        if self._until.over(silence, begun=self._reader is not None):
            return True
        closed = self._until_released and self._reader is not None and silence >= self._patience.settle_s
        return closed and (released(self._path) or silence >= self._patience.quiet_s)

    def _look(self, *, force: bool = False) -> None:
        """Open the file anew if it has changed and it is time to."""
        now = self._clock()
        if now < self._next_look and not force:
            return
        status = status_of(self._path)
        if status is None:
            return
        self._shrunk |= status.st_size < self._file.size
        if self._file.see(status.st_size, status.st_mtime_ns, now):
            self._news = now
        if (self._file.size, self._file.changed_ns) == self._opened_at:
            return
        spent = time.thread_time()
        self._open()
        self._next_look = now + self._patience.pause(time.thread_time() - spent, self._clock() - now)

    def _open(self) -> None:
        from insitu.read import open_single

        try:
            reader = open_single(self._path)
        except InputError as error:
            self._why_not = error.message
            return
        info = reader.info
        if self._reader is not None:
            if (info.shape, info.dtype) != (self._reader.info.shape, self._reader.info.dtype):
                reader.close()
                return
            self._reader.close()
        self._reader = reader
        self._opened_at = (self._file.size, self._file.changed_ns)
        self._front.opened(info.n_frames or 0)

    def _settle(self, index: int, slot: NDArray[Any] | None, *, closing: bool) -> bool:
        """Settle the next frame; False where it must be waited for."""
        assert self._reader is not None
        there, here = self._reader.info.n_frames or 0, self._settled
        if here >= there:
            return False
        self._kept = None  # its memory may be that of frames that are only looked at
        passed = not closing and self._passed(here)
        if not (closing or passed or here + 1 < there or self._trusted()):
            return False
        if not (closing or (passed and here < index)):
            out = slot if here == index and slot is not None else self._own()
            if not self._whole(here, out, passed=passed):
                return False
        self._settled += 1
        self._front.settled(here)
        return True

    def _passed(self, index: int) -> bool:
        now = self._clock()
        through = now >= self._next_through
        if through:  # at the front of the writer these looks lead nowhere, each time
            self._next_through = now + self._patience.quiet_s
        return self._front.passed(index, self._begun, through=through)

    def _trusted(self) -> bool:
        quiet = self._clock() - self._file.since >= self._patience.settle_s
        return quiet or (self._patience.ask_system and released(self._path))

    def _whole(self, index: int, out: NDArray[Any], *, passed: bool) -> bool:
        """Read a frame; whether it counts as complete. `passed`: the writer was beyond it before."""
        began = self._clock()
        reason, flags = self._try(index, out)
        alone = self._front.in_advance(index) and not passed
        if not reason and (self._tails.suspicious(out) or (alone and not out[-1].any())):
            if not passed and not self._given_up(index):
                return False
            if passed and not self._front.overtaken(index):
                self._front.doubt()
                return False
        elif reason in _UNFINISHED or (
            alone and not self._front.agrees(index, reason.encode() or out.tobytes(), began, self._clock())
        ):
            return False
        if not reason:
            self._tails.learn(out)
            self._kept = (index, out, flags)
        return True

    def _given_up(self, index: int) -> bool:
        """Whether a frame with a last row of zeros, and nothing behind it, will not be written any more."""
        if self._clock() - self._file.since < self._patience.quiet_s:
            return False
        # a camera may pause for long with the room for the rest of its movie taken: nobody may have the file open
        return not self._front.in_advance(index) or (self._patience.ask_system and released(self._path))

    def _try(self, index: int, out: NDArray[Any]) -> tuple[str, tuple[str, ...]]:
        """Read a frame; return why there is none, empty where there is one, and its flags."""
        assert self._reader is not None
        try:
            return "", self._reader.read_into(index, out)
        except BadFrame as bad:
            return bad.reason, ()

    def _begun(self, index: int) -> bool:
        """Whether there is anything in frame `index`."""
        out = self._own()
        return not self._try(index, out)[0] and bool(out.any())

    def _own(self) -> NDArray[Any]:
        if self._scratch.shape != self.info.shape:
            self._scratch = np.empty(self.info.shape, self.info.dtype)
        return self._scratch
