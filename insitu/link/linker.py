"""From positions to identities, frame by frame: optimal assignment per subnet, with memory and a small state."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from insitu.options import LinkOptions

    Assign = Callable[[NDArray[np.float64], NDArray[np.float64], float, int], tuple[NDArray[np.int64], int]]

LARGEST_SUBNET = 200
OVERSIZE = "link candidates dropped"


def assignment() -> Assign:
    """Return the compiled assignment, or the one of numpy and scipy where numba is missing (same links, slower)."""
    home = "compiled" if find_spec("numba") else "plain"
    assign: Assign = import_module(f"insitu.link.{home}").assign
    return assign


class OptimalLinker:
    """Link the positions of each used frame to those seen before.

    In every subnet (particles connected by possible links) the links minimise the sum of squared displacements plus
    search_range² for every earlier particle that stays unlinked (Crocker and Grier, 10.1006/jcis.1996.0217; the cost of
    trackpy). A subnet with more than 200 particles on either side loses its longest candidate links until it fits.
    A row whose position is not finite never links and gets an id of its own. New ids are given in order of row.

    Parameters
    ----------
    options : LinkOptions
        `search_range_px`, `memory_frames` (used frames only: what is never given to `step` does not count) and
        `blank_frames`.
    hold_blank : bool, optional
        A frame in which more than half of more than ten particles vanish at once (beam blanked, out of focus) does not
        count towards the memory, for at most `blank_frames` frames in a row. Off for trackpy's behaviour.

    Attributes
    ----------
    flags : tuple of str
        Remarks on the last step: ``"link candidates dropped"``. (`EventDetector` flags the blanked beam.)
    """

    def __init__(self, options: LinkOptions, *, hold_blank: bool = True) -> None:
        self._range = float(options.search_range_px)
        self._memory = int(options.memory_frames)
        self._blank_frames = int(options.blank_frames) if hold_blank else 0
        self._assign = assignment()
        self._positions: NDArray[np.float64] = np.empty((0, 2))
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._age: NDArray[np.int64] = np.empty(0, np.int64)
        self._settled: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._next = 0
        self._held = 0
        self.flags: tuple[str, ...] = ()

    def step(self, index: int, positions: NDArray[np.float64]) -> NDArray[np.int64]:  # noqa: ARG002 - part of the protocol
        """Link the positions of the next used frame.

        Parameters
        ----------
        index : int
            Position of the frame in the source's timeline.
        positions : float64 array of shape (n, d)
            Positions in px; (y, x) in the engine, any d ≥ 1 in tables.

        Returns
        -------
        int64 array of shape (n,)
            Track id of each row, unique within the frame.
        """
        positions = np.ascontiguousarray(positions, np.float64)
        usable = np.flatnonzero(np.isfinite(positions).all(axis=1))
        targets = positions[usable]
        if len(self._ids) == 0:
            self._positions = np.empty((0, positions.shape[1]))
        links, dropped = self._assign(self._positions, targets, self._range, LARGEST_SUBNET)
        linked = links >= 0
        blank = self._most_vanished(linked)
        self.flags = (OVERSIZE,) if dropped else ()
        self._held = self._held + 1 if blank else 0
        ids = np.full(len(positions), -1, np.int64)
        ids[usable[links[linked]]] = self._ids[linked]
        new = np.flatnonzero(ids < 0)
        ids[new] = np.arange(self._next, self._next + len(new))
        self._next += len(new)
        age = self._age + (0 if blank and self._held <= self._blank_frames else 1)
        kept = ~linked & (age <= self._memory)
        self._positions = np.concatenate([targets, self._positions[kept]])
        self._ids = np.concatenate([ids[usable], self._ids[kept]])
        self._age = np.concatenate([np.zeros(len(usable), np.int64), age[kept]])
        settled = np.ones(len(positions), np.bool_)
        settled[new] = False
        self._settled = np.concatenate([settled[usable], self._settled[kept]])
        return ids

    def _most_vanished(self, linked: NDArray[np.bool_]) -> bool:
        """Say whether more than half of more than ten particles of the last counted frame were not found again.

        Only particles seen more than once count: that specks of a single frame go is no sign of a blanked beam.
        """
        fresh = (self._age == 0) & self._settled
        n = int(np.count_nonzero(fresh))
        return n > 10 and 2 * int(np.count_nonzero(linked & fresh)) < n

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything needed to go on, as arrays: O(particles), independent of the number of frames seen."""
        return {
            "positions": self._positions.copy(),
            "ids": self._ids.copy(),
            "age": self._age.copy(),
            "settled": self._settled.copy(),
            "counters": np.array([self._next, self._held], np.int64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`; the ids that follow are those an uninterrupted linker would give."""
        self._positions = np.array(state["positions"], np.float64)
        self._ids = np.array(state["ids"], np.int64)
        self._age = np.array(state["age"], np.int64)
        self._settled = np.array(state["settled"], np.bool_)
        self._next, self._held = (int(v) for v in state["counters"])
