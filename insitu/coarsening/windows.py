"""Time windows of equal length, and the sums of every track in each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening.sums import longer

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The used frames cut into windows of equal duration; a window without frames does not exist.

    Attributes
    ----------
    frame : int64 array of shape (F,)
        Used frames, sorted.
    time : float64 array of shape (F,)
        Their times, in s or frames.
    window : int64 array of shape (F,)
        Window of each frame, 0…len − 1, never decreasing.
    start : float64 array of shape (len,)
        Time of the first frame of each window.
    """

    frame: NDArray[np.int64]
    time: NDArray[np.float64]
    window: NDArray[np.int64]
    start: NDArray[np.float64]

    @classmethod
    def of(cls, frame: NDArray[np.int64], time: NDArray[np.float64], number: int) -> Windows:
        """Cut used frames into at most `number` windows, and never into more than there are frames."""
        if not len(frame):
            return cls(frame, time, np.zeros(0, np.int64), np.zeros(0))
        number = min(number, len(frame))
        span = time[-1] - time[0]
        # half a mean step beyond the last frame: windows of a regular movie then hold equal numbers of frames
        span += span / max(1, len(frame) - 1)
        share = (time - time[0]) / span if span > 0 else np.zeros(len(time))
        raw = np.minimum((share * number + 1e-9).astype(np.int64), number - 1)
        used, window = np.unique(np.maximum.accumulate(raw), return_inverse=True)
        first = np.searchsorted(window, np.arange(len(used)))
        return cls(frame, time, window.astype(np.int64), time[first])

    def __len__(self) -> int:
        return len(self.start)

    def place(self, frame: NDArray[Any]) -> NDArray[np.intp]:
        """Return the place of each frame among the used ones, and −1 for a frame that was not used."""
        found = np.searchsorted(self.frame, frame)
        there = self.frame[np.minimum(found, len(self.frame) - 1)] == frame if len(self.frame) else found < 0
        return np.where(there, found, -1)

    def total(self, values: NDArray[Any]) -> NDArray[Any]:
        """Add values of the used frames (F,) window by window, in order of frame."""
        sums: NDArray[Any] = np.zeros(len(self), values.dtype)
        np.add.at(sums, self.window, values)
        return sums

    @property
    def n_frames(self) -> NDArray[np.int64]:
        """Used frames of each window."""
        return np.bincount(self.window, minlength=len(self)).astype(np.int64)

    @property
    def middle(self) -> NDArray[np.float64]:
        """Mean time of the used frames of each window."""
        return np.asarray(self.total(self.time - self.start[self.window]) / self.n_frames + self.start)

    def bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and last used frame of each window."""
        first = np.searchsorted(self.window, np.arange(len(self)))
        last = np.searchsorted(self.window, np.arange(len(self)), side="right") - 1
        return self.frame[first], self.frame[last]

    def spread(self, number: int) -> NDArray[np.int64]:
        """Return `number` windows evenly spread from the first to the last, fewer where there are fewer."""
        return np.unique(np.rint(np.linspace(0, len(self) - 1, min(number, len(self)))).astype(np.int64))


_FIELDS = ("n", "w", "wr", "wr2", "wr3", "w_r", "t", "r", "tt", "tr", "rr", "lag_tt", "lag_rr", "lag_tr")


class TrackSums:
    """Sums over the sizes of each track in each window; one record a track and window that has any.

    r in px; t in the study's time, counted from the start of the window, so that no digits are lost in long movies.

    Fields of a record, all float64: ``n`` sizes; with border weights ``w`` Σw, ``wr`` Σwr, ``wr2``, ``wr3``, ``w_r``
    Σw/r; without ``t`` Σt, ``r`` Σr, ``tt`` Σt², ``tr`` Σtr, ``rr`` Σr²; and over neighbouring sizes of the record
    ``lag_tt`` Σt₋t, ``lag_rr`` Σr₋r, ``lag_tr`` Σ(t₋r + r₋t); ``first_*`` and ``last_*`` their t and r.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._current = np.zeros(0, np.int64)  # record of each track in the window it was last seen in
        self._particle = np.zeros(0, np.int64)
        self._window = np.zeros(0, np.int64)
        names = (*_FIELDS, "first_t", "first_r", "last_t", "last_r")
        self._of = {name: np.zeros(0) for name in names}
        self._n = 0
        self._open, self._open_from = -1, 0  # window of the last sizes, and its first record

    def __len__(self) -> int:
        return self._n

    def add(
        self,
        place: NDArray[np.intp],
        particle: NDArray[np.int64],
        r_px: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> None:
        """Add sizes in order of frame; `place` is that of their frames in the windows."""
        window = self._windows.window[place]
        t = self._windows.time[place] - self._windows.start[window]
        cuts = [0, *(np.flatnonzero(np.diff(window)) + 1).tolist(), len(window)]
        for a, b in pairwise(cuts if len(window) else []):
            self._add_window(int(window[a]), particle[a:b], t[a:b], r_px[a:b], weight[a:b])

    def _add_window(
        self,
        window: int,
        particle: NDArray[np.int64],
        t: NDArray[np.float64],
        r: NDArray[np.float64],
        w: NDArray[np.float64],
    ) -> None:
        record = self._records(window, particle)
        of = self._of
        order = np.argsort(record, kind="stable")
        follows = np.zeros(len(order), bool)
        follows[1:] = record[order][1:] == record[order][:-1]
        ends = order[np.append(~follows[1:], True)]
        begins = order[~follows]
        begins_record = begins[of["n"][record[begins]] == 0]
        for name, values in (("t", t), ("r", r)):
            of[f"first_{name}"][record[begins_record]] = values[begins_record]
        before_t, before_r = self._before("t", t, record, order, follows), self._before("r", r, record, order, follows)
        wr = w * r
        terms = (
            np.ones(len(r)), w, wr, wr * r, wr * r * r, w / r, t, r, t * t, t * r, r * r,
            before_t * t, before_r * r, before_t * r + before_r * t,
        )  # fmt: skip
        for name, term in zip(_FIELDS, terms, strict=True):
            np.add.at(of[name], record, term)
        of["last_t"][record[ends]], of["last_r"][record[ends]] = t[ends], r[ends]

    def _before(
        self,
        name: str,
        values: NDArray[np.float64],
        record: NDArray[np.int64],
        order: NDArray[np.intp],
        follows: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return the value of the size before, in the same record; 0 for its first, which adds nothing then."""
        before = np.zeros(len(values))
        before[order[1:]] = values[order[:-1]]
        heads = order[~follows]
        held = self._of["n"][record[heads]] > 0
        before[heads] = np.where(held, self._of[f"last_{name}"][record[heads]], 0.0)
        return before

    def _records(self, window: int, particle: NDArray[np.int64]) -> NDArray[np.int64]:
        if (top := int(particle.max()) + 1) > len(self._current):
            self._current = longer(self._current, max(top, 2 * len(self._current)), -1)
        if window != self._open:
            self._open, self._open_from = window, self._n
        record = self._current[particle]
        fresh = np.unique(particle[record < self._open_from])
        if len(fresh):
            self._make(window, fresh)
            record = self._current[particle]
        return record

    def _make(self, window: int, particle: NDArray[np.int64]) -> None:
        start, self._n = self._n, self._n + len(particle)
        if self._n > len(self._particle):
            size = max(self._n, 3 * len(self._particle) // 2)
            self._particle, self._window = (longer(a, size) for a in (self._particle, self._window))
            for name, held in self._of.items():
                self._of[name] = longer(held, size)
        self._particle[start : self._n], self._window[start : self._n] = particle, window
        self._current[particle] = np.arange(start, self._n)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return all records as columns, ``particle`` and ``window`` first, in order of window, then particle."""
        order = np.lexsort((self._particle[: self._n], self._window[: self._n]))
        held = {"particle": self._particle, "window": self._window, **self._of}
        return {name: values[: self._n][order] for name, values in held.items()}
