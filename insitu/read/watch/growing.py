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

_UNFINISHED = frozenset(("truncated", "unreadable", "zero tail"))


class GrowingFile:
    """A movie file as it grows; frames as its own reader gives them once it is complete.

    A frame is used once it can be read to its end and a later one is there, or no program has the file open for
    writing, or the file has not changed for a while.

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
        self._settled = len((past or Past()).sources)
        self._kept: tuple[int, NDArray[Any], tuple[str, ...]] | None = None
        self._news = clock()
        self._next_look = 0.0
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
            closing = self._over()
            self._look(force=closing)
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
        """Return how many frames are in the file beyond frame `index`, and how long ago the file last grew (s)."""
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

    def _settle(self, index: int, slot: NDArray[Any] | None, *, closing: bool) -> bool:
        """Settle the next frame; False where it must be waited for."""
        assert self._reader is not None
        there, here = self._reader.info.n_frames or 0, self._settled
        if here >= there or not (closing or self._trusted(followed=here + 1 < there)):
            return False
        if closing or (here < index and here + 1 < there):
            self._settled += 1
            return True
        reason = self._try(here, slot if here == index else None)
        quiet = self._clock() - self._file.since >= self._patience.quiet_s
        if reason in _UNFINISHED and not (reason == "zero tail" and quiet):
            return False
        self._settled += 1
        return True

    def _trusted(self, *, followed: bool) -> bool:
        quiet = self._clock() - self._file.since >= self._patience.settle_s
        return followed or quiet or (self._patience.ask_system and released(self._path))

    def _try(self, index: int, slot: NDArray[Any] | None) -> str:
        """Read a frame; return why it does not count as complete, empty where it does."""
        assert self._reader is not None
        self._kept = None
        if slot is None and self._scratch.shape != self.info.shape:
            self._scratch = np.empty(self.info.shape, self.info.dtype)
        out = self._scratch if slot is None else slot
        try:
            flags = self._reader.read_into(index, out)
        except BadFrame as bad:
            return bad.reason
        if self._tails.suspicious(out):
            return "zero tail"
        self._tails.learn(out)
        self._kept = (index, out, flags)
        return ""
