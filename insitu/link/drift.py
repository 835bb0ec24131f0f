"""How far the stage moved: displacement voting before linking, and the cumulative shift from the particles linked.

Before linking all displacements up to a reach vote in coarse cells, as in registration by a Hough vote; where one cell
stands out, the median of the displacements near it is the step of the stage. Most frames need no such vote: where most
particles have a partner close by, those are looked at alone. After linking the shift since a key frame is the median
over the particles known from there, so that errors do not add up frame by frame. A stage at rest has a shift of
exactly 0: nothing is reported before it stands out of its error.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from numpy.typing import NDArray

    from insitu.link.plain_shifts import Agreed

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FEWEST = 5  # particles below which nothing is said of the stage
SHARE = 0.4  # of the voters that must agree
LEAD = 1.25  # times the votes for no step that another one needs
SURE = 4.0  # standard errors by which a shift must stand out
MEDIAN = 1.57  # variance of a median of normal samples, in that of their mean
FLOOR = 0.08**2  # px²; no particle is known better
TOGETHER = 0.01  # covariance of the motions of two particles, in the variance of one: neighbours move together
SPREAD = 4.0  # times the variance of one step after which a key frame is old
DOUBTED = 10  # particles' worth of belief that the particles have spread as far as that
STEADY = 32  # frames over which the variance of one step is averaged
ENOUGH = 256  # particles tell it well enough


@cache
def _shifts() -> ModuleType:
    """Return the compiled medians of displacements, or where numba is missing those of numpy (same numbers)."""
    return import_module(f"insitu.link.{'compiled' if find_spec('numba') else 'plain'}_shifts")


def vote(
    sources: Floats, targets: Floats, reach: float, search_range: float, jitter: Floats | float = 0.0
) -> Floats | None:
    """Return the step (y, x) in px that most of the particles made together, or None where none stands out.

    A step too small to matter to the linker, or that does not stand out of its error, is (0, 0).

    Parameters
    ----------
    sources, targets : float64 arrays of shape (n, 2) and (m, 2)
        Finite positions before and after, in px.
    reach : float
        Longest step that is looked for, px.
    search_range : float
        Of the linker, px: cells are a third of it wide, so that particles may move by themselves as well.
    jitter : float or float64 array of shape (2,), optional
        Variance of the steps of single particles as known from earlier frames, px².
    """
    if min(len(sources), len(targets)) < FEWEST:
        return None
    every, density = _shifts().voters(len(sources), targets, reach)
    sources = np.ascontiguousarray(sources[::every])
    wanted = min(len(sources), len(targets))
    count, found = _shifts().near(sources, targets, search_range)
    chance = density * search_range**2 * wanted
    # No other step has many more votes than one for each voter and those by chance.
    if found.n < FEWEST or LEAD * count < wanted + chance or not _enough(count, chance, wanted):
        found = _anywhere(sources, targets, reach, search_range, wanted)
    if found.n < FEWEST:
        return None
    far = np.abs(found.step) > search_range / 5
    if not far.any():
        return np.zeros(2)
    sure = np.abs(found.step) > SURE * np.sqrt(_error(found, np.zeros(2) + jitter))
    return found.step if (far & sure).any() else np.zeros(2)


def _anywhere(sources: Floats, targets: Floats, reach: float, search_range: float, wanted: int) -> Agreed:
    """Return what the steps about the one with the most votes have in common; nothing, if it does not stand out."""
    steps = _shifts().steps_within(sources, targets, reach)
    nothing: Agreed = _shifts().middle(steps[:0])
    if len(steps) < FEWEST:
        return nothing
    step, count, chance = _peak(steps, reach, search_range / 3)
    if not _enough(count, chance, wanted):
        return nothing
    # The first look takes in all of the cells, the second what lies about the median of those.
    first: Agreed = _shifts().common(steps, step, search_range * np.sqrt(0.5))
    second: Agreed = _shifts().common(steps, first.step, search_range / 2)
    return second if first.n >= FEWEST else nothing


def _enough(count: float, chance: float, wanted: int) -> bool:
    """Say whether so many votes, of which so many are expected by chance, are those of a stage."""
    return count >= FEWEST and count - chance >= max(SHARE * wanted, 4 * np.sqrt(chance))


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
    if most <= LEAD * blocks[half - 1, half - 1]:
        most = blocks[half - 1, half - 1]
    best = np.argwhere(blocks == most) - (half - 1)
    at = best[np.argmin((best**2).sum(axis=1))]
    count = float(most)
    elsewhere = max(1.0, np.pi * (reach / side) ** 2 - 9)
    return (at * side).astype(np.float64), count, 9 * (len(steps) - count) / elsewhere


def _error(found: Agreed, jitter: Floats) -> Floats:
    """Return the variance of the median of displacements as an estimate of the stage's.

    A few displacements that happen to lie close together say little of their spread, so that `jitter`, the variance of
    one step, has a part in it. As particles do not move quite independently, even many do not tell the shift exactly.
    """
    spread = (found.n * found.variance + DOUBTED * SPREAD * jitter) / (found.n + DOUBTED)
    error: Floats = MEDIAN * np.maximum(spread, np.maximum(jitter, FLOOR)) * (1 / found.n + TOGETHER)
    return error


class Compass:
    """Keep the cumulative shift of the stage.

    Particles that rest are compared with where they were in the key frame. Particles that wander by themselves know
    less of the stage the longer ago that was: the key frame is renewed once their displacements since then are spread
    twice as wide as those of one step, or fewer than half of its particles are left.

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
        self._jitter: Floats = np.zeros(2)  # variance of the step of a particle, averaged
        self._steps = 0  # frames in that average
        self._moves = False
        self._ids: Ints = np.empty(0, np.int64)
        self._key: Floats = np.empty((0, 2))

    def look(self, sources: Floats, targets: Floats) -> bool:
        """Move the shift by what the vote finds between corrected positions `sources` and raw positions `targets`.

        Returns
        -------
        bool
            False where most of the particles agree on no step, nor on none.
        """
        if self._reach <= 0 or targets.shape[1] != 2:
            return True
        step = vote(sources, targets - self.shift, max(self._reach, self._range), self._range, self._jitter)
        if step is None:
            return False
        self.shift, self._best = self.shift + step, self._best + step
        return True

    def settle(self, ids: Ints, positions: Floats, steps: Floats, *, blank: bool = False) -> None:
        """Refine the shift by the particles known since the key frame: raw positions (n, 2) of `ids` (n,).

        Parameters
        ----------
        ids, positions : int64 array of shape (n,), float64 array of shape (n, 2)
        steps : float64 array of shape (k, 2)
            Displacements of the particles that were seen in the last frame as well.
        blank : bool, optional
            Most particles are gone for once: the key frame stays.
        """
        if self._reach <= 0 or positions.shape[1] != 2:
            return
        step = _shifts().middle(np.ascontiguousarray(steps[:: len(steps) // ENOUGH + 1]))
        if step.n >= FEWEST:
            self._steps = min(self._steps + 1, STEADY)
            self._jitter = self._jitter + (step.variance - self._jitter) / self._steps
        moved = _shifts().since(ids, positions, self._ids, self._key)
        error, spread = np.zeros(2), False
        if moved.n >= FEWEST:
            self._best = moved.step
            spread = bool(moved.variance.sum() > SPREAD * max(float(self._jitter.sum()), 2 * FLOOR))
            error = _error(moved, self._jitter)
            off = np.abs(self._best - self.shift)
            self._moves = self._moves or bool((off > SURE * np.sqrt(self._doubt + error)).any())
            self.shift = self._best if self._moves else self.shift
        if spread or (2 * moved.n < max(len(self._ids), len(ids)) and not blank):
            order = np.argsort(ids)
            self._ids, self._key = ids[order], positions[order] - self._best
            self._doubt = self._doubt + error

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything needed to go on, as arrays."""
        counters = np.array([self._steps, self._moves], np.float64)
        parts = (self.shift, self._best, self._doubt, self._jitter, counters)
        return {"shift": np.concatenate(parts), "key_ids": self._ids, "key": self._key}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`."""
        shift = np.array(state["shift"], np.float64)
        self.shift, self._best, self._doubt, self._jitter = shift[:8].reshape(4, 2)
        self._steps, self._moves = int(shift[8]), bool(shift[9])
        self._ids, self._key = np.array(state["key_ids"], np.int64), np.array(state["key"], np.float64)
