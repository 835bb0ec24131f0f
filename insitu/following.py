"""What a run does besides when its source is still being filled: commit by time, tell how far it is behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from insitu.progress import Progress
    from insitu.read.watch.live import Live
    from insitu.store.commit import RunFolder

# committing may take this share of the time: where the disk is slow, units grow instead of the lag
_SHARE = 0.25
_TELL_S = 0.1


class Following:
    """Keeps a run folder abreast of a source that is being filled.

    Parameters
    ----------
    reader : Live
    folder : RunFolder
    seen : Progress
        Its `lag_frames` and `lag_s` are kept up to date.
    frame : callable
        Number of frames done → index of the last of them in the source's timeline.
    unit_s : float
        Longest time in s between commits while there is something to commit.
    """

    def __init__(
        self, reader: Live, folder: RunFolder, seen: Progress, frame: Callable[[int], int], unit_s: float
    ) -> None:
        self._reader, self._folder, self._seen, self._frame = reader, folder, seen, frame
        self._unit_s = unit_s
        self._began: float | None = None
        self._costs_s = (0.0, 0.0)
        self._told = 0.0

    def due(self) -> bool:
        """Whether frames have waited long enough for their commit."""
        if not self._folder.uncommitted:
            self._began = None
            return False
        now = time.monotonic()
        if self._began is None:
            self._began = now
        return now - self._began >= max(self._unit_s, min(self._costs_s) / _SHARE)

    def commit(self, state: Callable[[], Any]) -> None:
        """Commit what waits, and learn how long that takes on this disk.

        The shorter of the last two counts: a slow disk is slow each time, while the first commit imports libraries and
        one in hundreds merges parts.
        """
        began = time.monotonic()
        self._folder.commit(state())
        self._costs_s = (self._costs_s[1], time.monotonic() - began)
        self._began = None

    def tell(self) -> None:
        """Note the lag, and what the source found odd."""
        now = time.monotonic()
        if now - self._told < _TELL_S:
            return
        self._told = now
        self.note()

    def note(self) -> None:
        """Put the source's remarks into ``problems.jsonl`` (with the next commit), and the lag into the progress."""
        for frame, where, what in self._reader.remarks():
            self._folder.problem(frame, where, what)
        self._seen.lag_frames, self._seen.lag_s = self._reader.lag(self._frame(self._seen.done))

    def account(self) -> dict[str, Any]:
        """Return what ``run.json`` says of the source at its end."""
        return self._reader.account()


def in_order(account: dict[str, Any]) -> bool:
    """Whether the frames stand in the run as they stand in the source now that it is complete."""
    return not account.get("late") and not account.get("order") and account.get("differs_from_frame") is None
