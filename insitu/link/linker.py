"""From positions to identities, frame by frame: optimal assignment per subnet, with memory and a small state."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.link import adaptive
from insitu.link.adaptive import Shrinking
from insitu.link.drift import Compass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from insitu.options import LinkOptions

    Assign = Callable[[NDArray[np.float64], NDArray[np.float64], float, int], tuple[NDArray[np.int64], int]]

LARGEST_SUBNET = 200
OVERSIZE = "link candidates dropped"
MOST_NEW = "most particles new"
MANY_NEW = 100  # new particles below which nothing is said


def assignment(method: str = "optimal", shrinking: Shrinking | None = None) -> Assign:
    """Return trackpy's assignment, the compiled one, or where numba is missing that of numpy and scipy (same links)."""
    home = "reference" if method == "trackpy" else "compiled" if find_spec("numba") else "plain"
    module = import_module(f"insitu.link.{home}")
    assign: Assign = module.assign
    if shrinking is not None and method == "trackpy":
        assign = partial(module.assign, shrinking=shrinking)
    elif shrinking is not None:
        assign = partial(adaptive.assign, module, shrinking=shrinking)
    return assign


class OptimalLinker:
    """Link the positions of each used frame to those seen before.

    In every subnet (particles connected by possible links) the links minimise the sum of squared displacements plus
    search_range² for every earlier particle that stays unlinked (Crocker and Grier, 10.1006/jcis.1996.0217; the cost of
    trackpy). A subnet with more than 200 particles on either side loses its longest candidate links until it fits; with
    `adaptive_stop_px` the range shrinks where more than 15 particles compete (see `adaptive`). Over k frames that could
    not be used the range is √(k + 1) times as wide, as for diffusion. A row whose position is not finite never links
    and gets an id of its own. New ids are given in order of row.

    Parameters
    ----------
    options : LinkOptions
    hold_blank : bool, optional
        A frame in which more than half of more than ten particles vanish at once (beam blanked, out of focus) does not
        count towards the memory, for at most `blank_frames` frames in a row. Off for trackpy's behaviour.
    frame_step : int, optional
        Difference of the indices of two successive frames.

    Attributes
    ----------
    flags : tuple of str
        Remarks on the last step: ``"link candidates dropped"``; ``"most particles new"`` where more than a hundred are
        new and nine in ten of all (specks, or another field of view). (`EventDetector` flags the blanked beam.)
    """

    def __init__(self, options: LinkOptions, *, hold_blank: bool = True, frame_step: int = 1) -> None:
        self._range = float(options.search_range_px)
        self._memory = int(options.memory_frames)
        self._predict = options.predict
        self._blank_frames = int(options.blank_frames) if hold_blank else 0
        self._frame_step = frame_step
        stop = options.adaptive_stop_px
        self._assign = assignment(options.method, None if stop is None else Shrinking(stop, options.adaptive_step))
        self._compass = Compass(options.drift_range_px, self._range)
        self._sources = _sources(0, 2)
        self._awaited: NDArray[np.int64] = np.empty(0, np.int64)
        self._hosts: NDArray[np.int64] = np.empty(0, np.int64)
        self._next = 0
        self._held = 0
        self._last = -1
        self.flags: tuple[str, ...] = ()

    @property
    def drift(self) -> tuple[float, float]:
        """Cumulative shift (y, x) of the stage in px, to subtract from the positions of the last step."""
        return float(self._compass.shift[0]), float(self._compass.shift[1])

    def step(self, index: int, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Link the positions of the next used frame.

        Parameters
        ----------
        index : int
            Position of the frame in the source's timeline; one that does not rise counts as the next frame.
        positions : float64 array of shape (n, d)
            Positions in px; (y, x) in the engine, any d ≥ 1 in tables.

        Returns
        -------
        int64 array of shape (n,)
            Track id of each row, unique within the frame.
        """
        positions = np.ascontiguousarray(positions, np.float64)
        finite = np.isfinite(positions)
        usable = np.arange(len(positions)) if finite.all() else np.flatnonzero(finite.all(axis=1))
        seen = positions if len(usable) == len(positions) else positions[usable]
        elapsed = max(1, (index - self._last) // self._frame_step) if self._last >= 0 else 1
        before, self._last = self._last, index
        self._drop_forgotten(positions.shape[1])
        sources = self._expected(index)
        voters = self._sources["seen"] == before
        self._look(sources, seen, voters)
        radius = self._range * np.sqrt(elapsed)
        links, dropped = self._assign(sources, self._corrected(seen), radius, LARGEST_SUBNET)
        self._leave_to_hosts(links)
        linked = links >= 0
        blank = self._most_vanished(linked)
        self._held = self._held + 1 if blank else 0
        ids = np.full(len(positions), -1, np.int64)
        ids[usable[links[linked]]] = self._sources["ids"][linked]
        new = np.flatnonzero(ids < 0)
        ids[new] = np.arange(self._next, self._next + len(new))
        self._next += len(new)
        known = len(self._sources["ids"]) > 0
        many = known and len(new) > max(MANY_NEW, 9 * (len(positions) - len(new)))
        self.flags = (OVERSIZE,) * bool(dropped) + (MOST_NEW,) * many
        held = blank and self._held <= self._blank_frames
        again = linked & voters
        self._compass.settle(ids[usable], seen, seen[links[again]] - self._sources["positions"][again], blank=held)
        self._remember(ids[usable], seen, links, index, counted=not held)
        return ids

    @property
    def known(self) -> NDArray[np.int64]:
        """Ids of the particles that may be linked to."""
        ids: NDArray[np.int64] = self._sources["ids"]
        return ids

    def await_return(self, ids: NDArray[np.int64], hosts: NDArray[np.int64]) -> None:
        """Keep looking for these unseen particles whatever their age, until the next call: they touch their hosts.

        One of them is seen again only beside its host; a single particle there is the host, wherever it went.
        """
        self._awaited, self._hosts = ids, hosts

    def _leave_to_hosts(self, links: NDArray[np.int64]) -> None:
        """Give a link to the host where it is the only one among the particles in a contact (in place)."""
        if not len(self._awaited):
            return
        known = np.flatnonzero(np.isin(self._sources["ids"], np.concatenate([self._awaited, self._hosts])))
        row = dict(zip(self._sources["ids"][known].tolist(), known.tolist(), strict=True))
        guests: dict[int, list[int]] = {}
        for guest, host in zip(self._awaited.tolist(), self._hosts.tolist(), strict=True):
            guests.setdefault(row.get(host, -1), []).append(row.get(guest, -1))
        for host, among in guests.items():
            found = [k for k in among if k >= 0 and links[k] >= 0]
            if host >= 0 > links[host] and len(found) == 1:
                links[host], links[found[0]] = links[found[0]], -1

    def take_id(self) -> int:
        """Return an id that no particle has or will have."""
        self._next += 1
        return self._next - 1

    def drop(self, track: int) -> None:
        """Never link to this track again."""
        keep = self._sources["ids"] != track
        self._sources = {name: values[keep] for name, values in self._sources.items()}

    def forget(self) -> None:
        """End all tracks: whatever comes next is new."""
        self._sources = _sources(0, self._sources["positions"].shape[1])

    def _drop_forgotten(self, n_dim: int) -> None:
        """Drop the sources whose memory has run out and that nobody awaits."""
        of = self._sources
        keep = of["age"] <= self._memory
        if len(self._awaited):
            keep |= np.isin(of["ids"], self._awaited)
        if not keep.any():
            self._sources = _sources(0, n_dim)
        elif not keep.all():
            self._sources = {name: values[keep] for name, values in of.items()}

    def _look(self, sources: NDArray[np.float64], seen: NDArray[np.float64], last: NDArray[np.bool_]) -> None:
        """Look for a step of the stage: first by those of the last frame that were there before, then by all of it.

        Where these agree on nothing, those are asked that the last frame did not show.
        """
        settled = last & self._sources["settled"]
        if not (self._compass.look(sources[settled], seen) or self._compass.look(sources[last], seen)):
            self._compass.look(sources[~last], seen)

    def _corrected(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions without the shift of the stage."""
        return positions - self._compass.shift if positions.shape[1] == 2 else positions.copy()

    def _expected(self, index: int) -> NDArray[np.float64]:
        """Return where the sources are looked for in a frame: where they were, or where their velocity took them."""
        of = self._sources
        positions: NDArray[np.float64] = of["positions"]
        if not self._predict:
            return positions
        moved: NDArray[np.float64] = of["velocity"] * self._frames_since(of["seen"], index)[:, None]
        return positions + moved

    def _frames_since(self, seen: NDArray[np.int64], index: int) -> NDArray[np.int64]:
        """Return how many frames ago frames `seen` were, at least one."""
        return np.maximum((index - seen) // self._frame_step, 1)

    def _remember(
        self,
        ids: NDArray[np.int64],
        seen: NDArray[np.float64],
        links: NDArray[np.int64],
        index: int,
        *,
        counted: bool,
    ) -> None:
        """Take the particles of this frame as sources, after them those that are unseen."""
        of, linked = self._sources, links >= 0
        now = _sources(len(ids), seen.shape[1])
        now["ids"], now["positions"] = ids, self._corrected(seen)
        now["seen"][:] = index
        now["settled"][links[linked]] = True
        if self._predict:
            past = links[linked]
            took = self._frames_since(of["seen"][linked], index)
            moved = (now["positions"][past] - of["positions"][linked]) / took[:, None]
            began = ~of["settled"][linked][:, None]
            now["velocity"][past] = np.where(began, moved, (of["velocity"][linked] + moved) / 2)
        unseen = np.flatnonzero(~linked)
        if len(unseen):
            rest = {name: values[unseen] for name, values in of.items()}
            rest["age"] += int(counted)
            now = {name: np.concatenate([now[name], rest[name]]) for name in now}
        self._sources = now

    def _most_vanished(self, linked: NDArray[np.bool_]) -> bool:
        """Say whether more than half of more than ten particles of the last counted frame were not found again.

        Only particles seen more than once count: that specks of a single frame go is no sign of a blanked beam.
        """
        fresh = (self._sources["age"] == 0) & self._sources["settled"]
        n = int(np.count_nonzero(fresh))
        return n > 10 and 2 * int(np.count_nonzero(linked & fresh)) < n

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything needed to go on, as arrays: O(particles), independent of the number of frames seen."""
        counters = np.array([self._next, self._held, self._last], np.int64)
        waiting = {"awaited": self._awaited, "hosts": self._hosts}
        return {**self._sources, **waiting, "counters": counters, **self._compass.state()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`; the ids that follow are those an uninterrupted linker would give."""
        self._sources = {name: np.array(state[name]) for name in _sources(0, 2)}
        self._awaited, self._hosts = (np.array(state[name], np.int64) for name in ("awaited", "hosts"))
        self._next, self._held, self._last = (int(v) for v in state["counters"])
        self._compass.restore(state)


def _sources(n: int, n_dim: int) -> dict[str, NDArray[Any]]:
    """Return the table of particles that may be linked to: corrected positions, frames unseen, seen more than once."""
    return {
        "positions": np.zeros((n, n_dim)),
        "velocity": np.zeros((n, n_dim)),
        "ids": np.zeros(n, np.int64),
        "age": np.zeros(n, np.int64),
        "seen": np.zeros(n, np.int64),
        "settled": np.zeros(n, np.bool_),
    }
