"""A folder of numbered images that a camera is filling, as a movie of unknown length."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, EndOfSource, InputError, SourceStopped
from insitu.read.files import shown
from insitu.read.folder import Images
from insitu.read.frames import check_slot
from insitu.read.watch.arrivals import Arrivals
from insitu.read.watch.complete import Attempt, Tails, trusted
from insitu.read.watch.ledger import Ledger, in_the_end, status_of
from insitu.read.watch.listing import Listing
from insitu.read.watch.live import Past
from insitu.read.watch.patience import Patience, patience_for
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.read.watch.until import Until

_FINAL = frozenset(("shape changed", "dtype changed", "not one frame"))  # no patience can mend these
_LONG_PAUSE_S = 0.1  # between looks: in the meantime the next file is asked for by its name
_RECENT = 1000


class WatchedFolder:
    """Numbered images as they arrive; frames, names and numbers as `FolderReader` gives them once all are there.

    Everything happens in the thread that asks for frames: while it is busy with others, the disk is the buffer.

    Parameters
    ----------
    path : Path
        The folder; it may not exist yet.
    until : Until
        When watching ends.
    patience : Patience, optional
        How long is waited for what; what suits the disk by default.
    exclude : collection of Path, optional
        Folders inside that are no part of the recording.
    past : Past, optional
        What an earlier run has made of the folder: its frames keep their places, whatever came late.
    clock : callable, optional
        Monotonic time in s.

    Raises
    ------
    InputError
        It ended without one readable image, or the files are movies of their own.
    SourceStopped
        The user stopped waiting for the first image.
    """

    def __init__(
        self,
        path: Path,
        until: Until,
        *,
        patience: Patience | None = None,
        exclude: Collection[Path] = (),
        past: Past | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._until, self._clock = path, until, clock
        self._patience = patience or patience_for(path)
        self._listing = Listing(path, exclude)
        self._arrivals = Arrivals(self._patience)
        self._images: Images | None = None
        self._tails = Tails()
        self._attempt: Attempt | None = None
        self._kept: tuple[int, NDArray[Any], tuple[str, ...]] | None = None
        self._ledger = Ledger(path)
        self._news = self._next_look = self._next_audit = clock()
        self._between_looks_s = 0.0
        self._closing = self._ended = False
        self._remarks: deque[tuple[int | None, str, str]] = deque()
        self._scratch: NDArray[Any] = np.empty((0, 0))
        self._past = past or Past()
        self._go_on()
        first = self._first()
        self.info = SourceInfo(
            shown(path), f"folder of {first.format}", first.height, first.width, first.dtype, None,
            first.calibration, first.notes, first.lossy,
        )  # fmt: skip

    def _go_on(self) -> None:
        """Take the frames of an earlier run as settled."""
        if not self._past.sources:
            return
        new = self._listing.look(audit=True)
        named = {shown(name): name for name in new}
        names = [None if source is None else named.get(source, source) for source in self._past.sources]
        self._arrivals.go_on(names, self._past.numbers)
        self._take(new, self._clock())
        for name in names:
            self._ledger.find(name)
        for name in islice((n for n in names if n is not None), 8):
            with suppress(BadFrame):
                self._images = self._images or self._opened(name)

    def _first(self) -> SourceInfo:
        """Wait for the first image that can be read, and return what it says of itself."""
        while self._images is None:
            if self._ended:
                raise InputError(
                    f"no image that can be read came into '{shown(self._root)}'",
                    "is this the folder the camera writes to? insitu info shows what is in it",
                )
            self.ready(len(self._arrivals.names), 1.0)
        return self._images.info

    def ready(self, index: int, timeout_s: float, slot: NDArray[Any] | None = None) -> bool:
        """Wait up to `timeout_s` for frame `index`; see `insitu.read.watch.live`."""
        deadline = self._clock() + timeout_s
        while index >= len(self._arrivals.names) and not self._ended:
            if self._until.stop.is_set():
                raise SourceStopped
            self._look()
            if self._settle(index, slot) or self._end():
                continue
            left = deadline - self._clock()
            if left <= 0:
                return False
            self._until.stop.wait(min(left, self._pause()))
        return True

    def header(self, index: int) -> Header:
        """Return file and number of frame `index`, waiting for it; ``"missing"`` where the number did not come.

        Raises
        ------
        EndOfSource
            There is no such frame, and watching has ended.
        SourceStopped
            The user stopped waiting.
        """
        while not self.ready(index, 1.0):
            pass
        names = self._arrivals.names
        if index >= len(names):
            raise EndOfSource
        name, number = names[index], self._arrivals.numbers[index]
        return Header("" if name is None else shown(name), number, "missing" if name is None else "ok")

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; flags and BadFrame as `FolderReader.read_into`."""
        check_slot(out, self.info)
        self.header(index)
        name = self._arrivals.names[index]
        if name is None:
            raise BadFrame("missing", f"number {self._arrivals.numbers[index]} did not come into {self.info.path}")
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] == index:
            if kept[1].ctypes.data != out.ctypes.data:
                np.copyto(out, kept[1])
            return kept[2]
        assert self._images is not None
        return self._images.read_into(name, out)

    def close(self) -> None:
        """Nothing stays open between frames."""

    def lag(self, index: int) -> tuple[int, float]:
        """Return how many files are there beyond frame `index`, and by how many s the newest of them is younger."""
        frames = len(self._arrivals.names) - 1 - index + self._arrivals.waiting
        return frames, self._ledger.behind_s(index) if frames else 0.0

    def remarks(self) -> list[tuple[int | None, str, str]]:
        """Return what was odd since the last call."""
        told: list[tuple[int | None, str, str]] = []
        while self._remarks:
            told.append(self._remarks.popleft())
        for remarks in (self._listing.remarks, self._arrivals.remarks, self._ledger.remarks):
            while remarks:
                told.append((None, *remarks.popleft()))
        return told

    def fingerprint(self) -> dict[str, Any]:
        """Return the name of the folder and a digest of its first image."""
        first = next((n for n in self._arrivals.names if n is not None), "")
        try:
            with (self._root / first).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:  # the camera's computer may delete what was copied away
            if self._past.fingerprint:
                return self._past.fingerprint
            digest = ""
        return {"kind": "watched folder", "folder": self._root.name, "first": shown(first), "sha256": digest}

    def account(self) -> dict[str, Any]:
        """Return which files came late, and at which frame `insitu run` on this folder would begin to differ."""
        return in_the_end(self._arrivals)

    def _look(self) -> None:
        """List what is new if it is time to."""
        now = self._clock()
        if self._closing:
            return
        if now < self._next_look:
            self._look_ahead(now)
            return
        audit, spent = now >= self._next_audit, time.thread_time()
        new = self._listing.look(audit=audit)
        self._between_looks_s = self._patience.pause(time.thread_time() - spent, self._clock() - now)
        self._next_look = now + self._between_looks_s
        if audit:
            self._next_audit = now + max(self._patience.audit_s, self._between_looks_s)
            self._remarks += self._ledger.replaced(self._arrivals.names, _RECENT)
        self._take(new, now)

    def _look_ahead(self, now: float) -> None:
        """Ask for the next file by its name where a look at the whole folder takes long."""
        while self._between_looks_s > _LONG_PAUSE_S and (name := self._arrivals.expected()):
            if not (self._root / name).is_file():
                return
            self._listing.know(name)
            self._take([name], now)

    def _take(self, new: list[str], now: float) -> None:
        for name in new:
            self._arrivals.arrive(name, now)
        if new:
            self._news = now
            self._ledger.see(new)

    def _pause(self) -> float:
        """Return how long to sleep, in s, before anything can have changed."""
        now = self._clock()
        times = [self._next_look] if self._between_looks_s <= _LONG_PAUSE_S else [now + self._patience.poll_s]
        if self._attempt is not None:
            times.append(self._attempt.next)
        return max(0.001, min(times) - now)

    def _settle(self, index: int, slot: NDArray[Any] | None) -> bool:
        """Settle the next place of the timeline; False where it must be waited for."""
        now, before = self._clock(), len(self._arrivals.names)
        name = self._arrivals.next(now, force=self._closing)
        for _ in range(before, len(self._arrivals.names)):
            self._ledger.add_missing()
        if len(self._arrivals.names) > before:
            return True
        if name is None:
            return False
        if self._attempt is None or self._attempt.name != name:
            self._attempt = Attempt(name, now)
        outcome = self._judge(self._attempt, slot if before == index else None, now, wanted=before >= index)
        if outcome == "wait":
            return False
        if outcome == "vanished":
            self._arrivals.drop()
            self._listing.forget(name)
            self._remarks.append((None, shown(name), "vanished before it was read"))
        else:
            self._arrivals.settle()
            self._ledger.add(self._attempt.changed_ns, self._attempt.size)
        self._attempt = None
        return True

    def _judge(self, attempt: Attempt, slot: NDArray[Any] | None, now: float, *, wanted: bool) -> str:
        """Return whether a file is ``"complete"``, has ``"vanished"``, or what to do: ``"wait"``."""
        if now < attempt.next:
            return "wait"
        path = self._root / attempt.name
        try:
            status = path.stat()
        except OSError as error:
            attempt.put_off(now)
            gone = isinstance(error, FileNotFoundError | NotADirectoryError) and self._root.is_dir()
            return "vanished" if gone else "complete" if self._closing else "wait"
        if attempt.see(status.st_size, status.st_mtime_ns, now):
            self._news = now
        followed = self._arrivals.waiting > 1
        if not trusted(attempt, path, self._patience, now, self._ledger.newest_ns, followed=followed):
            attempt.put_off(now)
            return "wait"
        if not wanted:
            return "complete"
        reason = self._try(attempt.name, slot)
        after = status_of(path)
        if not reason and after is not None and attempt.see(after.st_size, after.st_mtime_ns, now):
            attempt.put_off(now)  # its writer ended while it was read, or did not
            return "wait"
        quiet = attempt.quiet_for(now, self._ledger.newest_ns)
        patience = self._patience
        limit = patience.quiet_s if reason == "zero tail" else patience.settle_s if self._closing else patience.retry_s
        # the clock of the file system may jump: what it says of a file that cannot be read is not enough
        watched = reason == "zero tail" or now - attempt.since >= min(limit, patience.settle_s)
        if not reason or reason in _FINAL or (quiet >= limit and watched):
            return "complete"
        attempt.put_off(now)
        return "wait"

    def _try(self, name: str, slot: NDArray[Any] | None) -> str:
        """Read a file to its end; return why it does not count as complete, empty where it does."""
        self._kept = None
        try:
            if self._images is None:
                self._images = self._opened(name)
            info = self._images.info
            if slot is None and self._scratch.shape != info.shape:
                self._scratch = np.empty(info.shape, info.dtype)
            out = self._scratch if slot is None else slot
            flags = self._images.read_into(name, out)
        except BadFrame as bad:
            return bad.reason
        except OSError as error:
            return error.strerror or type(error).__name__
        if self._tails.suspicious(out):
            self._kept = (len(self._arrivals.names), out, flags)
            return "zero tail"
        self._tails.learn(out)
        self._kept = (len(self._arrivals.names), out, flags)
        return ""

    def _opened(self, name: str) -> Images:
        """Open the first image, which says what the others must be like."""
        from insitu.read import open_single

        try:
            reader = open_single(self._root / name)
        except InputError as error:
            raise BadFrame("unreadable", error.message) from error
        try:
            return Images(self._root, reader)
        finally:
            reader.close()

    def _end(self) -> bool:
        """End the source if it is time to and nothing is left; True where something has changed."""
        if self._closing:
            self._ended = not self._arrivals.waiting
            if self._ended:
                self._remarks += self._ledger.replaced(self._arrivals.names)
            return self._ended
        begun = bool(self._arrivals.names or self._arrivals.waiting)
        if not self._until.over(self._clock() - self._news, begun=begun):
            return False
        self._next_look = self._next_audit = 0.0
        news = self._news
        self._look()
        self._closing = self._news == news or self._until.finish.is_set()
        return True
