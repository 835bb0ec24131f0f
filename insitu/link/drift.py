"""How far the stage moved: displacement voting before linking, and the cumulative shift from the particles linked.

Before linking all displacements up to a reach vote in coarse cells, as in registration by a Hough vote; where one cell
stands out, the median of the displacements near it is the step of the stage. After linking the shift since a key frame
is the median over the particles known from there, so that errors do not add up frame by frame. A stage at rest has a
shift of exactly 0: nothing is reported before it stands out of its error.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Candidates = Callable[[Floats, Floats, float], tuple[Ints, Ints, Floats]]

FEWEST = 5  # particles below which nothing is said of the stage
MOST_VOTERS = 300
FEWEST_VOTERS = 60
MOST_PAIRS = 3000
SHARE = 0.4  # of the voters that must agree
SURE = 4.0  # standard errors by which a shift must stand out


def vote(sources: Floats, targets: Floats, reach: float, search_range: float) -> Floats:
    """Return the step (y, x) in px that most of the particles made together, (0, 0) where none stands out.

    Parameters
    ----------
    sources, targets : float64 arrays of shape (n, 2) and (m, 2)
        Finite positions before and after, in px.
    reach : float
        Longest step that is looked for, px.
    search_range : float
        Of the linker, px: cells are a third of it wide, so that particles may move by themselves as well.
    """
    still = np.zeros(2)
    if min(len(sources), len(targets)) < FEWEST:
        return still
    # Evenly thinned, so that a crowd or a frame full of specks costs no more than others.
    area = float(np.prod(targets.max(axis=0) - targets.min(axis=0) + 1))
    partners = max(1.0, len(targets) * min(1.0, np.pi * reach**2 / area))
    voters = int(np.clip(MOST_PAIRS / partners, FEWEST_VOTERS, MOST_VOTERS))
    sources = sources[:: -(-len(sources) // voters)]
    wanted = min(len(sources), len(targets))
    home = "compiled" if find_spec("numba") else "plain"
    pairs: Candidates = import_module(f"insitu.link.{home}").candidates
    source, target, _ = pairs(sources, targets, reach)
    if len(source) < FEWEST:
        return still
    steps = targets[target] - sources[source]
    step, count, chance = _peak(steps, reach, search_range / 3)
    if count < FEWEST or count - chance < max(SHARE * wanted, 4 * np.sqrt(chance)):
        return still
    # The first look takes in all of the cells, the second what lies about the median of those.
    for radius in (search_range * np.sqrt(0.5), search_range / 2):
        near = steps[((steps - step) ** 2).sum(axis=1) <= radius**2]
        if len(near) < FEWEST:
            return still
        step = _middle(near)
    sure = np.maximum(SURE * _error(near, step), search_range / 5)
    return step if (np.abs(step) > sure).any() else still


def _peak(steps: Floats, reach: float, side: float) -> tuple[Floats, float, float]:
    """Return the centre of the 3×3 cells with the most steps, their number, and the number expected by chance."""
    half = int(np.ceil(reach / side)) + 1
    cells = 2 * half + 1
    place = np.floor(steps / side + 0.5).astype(np.int64) + half
    votes = np.bincount(place[:, 0] * cells + place[:, 1], minlength=cells * cells).reshape(cells, cells)
    rows = votes[:-2] + votes[1:-1] + votes[2:]
    blocks = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    # On a lattice several steps fit as well as none: the shortest is taken.
    most = blocks.max()
    # What does not stand out of the votes for no step is none.
    if most <= 1.25 * blocks[half - 1, half - 1]:
        most = blocks[half - 1, half - 1]
    best = np.argwhere(blocks == most) - (half - 1)
    at = best[np.argmin((best**2).sum(axis=1))]
    count = float(most)
    elsewhere = max(1.0, np.pi * (reach / side) ** 2 - 9)
    return at * side, count, 9 * (len(steps) - count) / elsewhere


def _middle(samples: Floats) -> Floats:
    """Return the median of (n, 2) samples along the first axis."""
    ordered = np.sort(samples, axis=0)
    middle: Floats = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return middle


def _error(samples: Floats, middle: Floats) -> Floats:
    """Return the standard error of the median of (n, 2) samples, from their median deviation; at least 0.1 px / √n."""
    scatter = 1.4826 * _middle(np.abs(samples - middle))
    error: Floats = np.maximum(1.25 * scatter, 0.1) / np.sqrt(len(samples))
    return error


class Compass:
    """Keep the cumulative shift of the stage.

    Parameters
    ----------
    reach : float
        Longest sudden step that is looked for, px; 0 turns everything off.
    search_range : float
        Of the linker, px.

    Attributes
    ----------
    shift : float64 array of shape (2,)
        Cumulative shift (y, x) in px to subtract from positions.
    """

    def __init__(self, reach: float, search_range: float) -> None:
        self._reach = reach
        self._range = search_range
        self.shift: Floats = np.zeros(2)
        self._best: Floats = np.zeros(2)  # the best estimate, reported as `shift` once it is known to move
        self._doubt: Floats = np.zeros(2)  # its variance up to the key frame
        self._moves = False
        self._ids: Ints = np.empty(0, np.int64)
        self._key: Floats = np.empty((0, 2))

    def look(self, sources: Floats, targets: Floats) -> None:
        """Move the shift by what the vote finds between corrected positions `sources` and raw positions `targets`."""
        if self._reach > 0 and targets.shape[1] == 2:
            step = vote(sources, targets - self.shift, max(self._reach, self._range), self._range)
            self.shift, self._best = self.shift + step, self._best + step

    def settle(self, ids: Ints, positions: Floats) -> None:
        """Refine the shift by the particles known since the key frame: raw positions (n, 2) of `ids` (n,).

        The frame becomes the next key frame when fewer than half of the particles of the last one are left.
        """
        if self._reach <= 0 or positions.shape[1] != 2:
            return
        place = np.searchsorted(self._ids, ids)
        place[place == len(self._ids)] = 0
        here = np.flatnonzero(self._ids[place] == ids) if len(self._ids) else np.empty(0, np.int64)
        error = np.zeros(2)
        if len(here) >= FEWEST:
            shifts = positions[here] - self._key[place[here]]
            self._best = _middle(shifts)
            error = _error(shifts, self._best) ** 2
            off = np.abs(self._best - self.shift)
            self._moves = self._moves or bool((off > SURE * np.sqrt(self._doubt + error)).any())
            self.shift = self._best if self._moves else self.shift
        if 2 * len(here) < max(len(self._ids), len(ids)):
            order = np.argsort(ids)
            self._ids, self._key = ids[order], positions[order] - self._best
            self._doubt = self._doubt + error

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything needed to go on, as arrays."""
        shift = np.concatenate([self.shift, self._best, self._doubt, [self._moves]])
        return {"shift": shift, "key_ids": self._ids, "key": self._key}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`."""
        shift = np.array(state["shift"], np.float64)
        self.shift, self._best, self._doubt, self._moves = shift[:2], shift[2:4], shift[4:6], bool(shift[6])
        self._ids, self._key = np.array(state["key_ids"], np.int64), np.array(state["key"], np.float64)
