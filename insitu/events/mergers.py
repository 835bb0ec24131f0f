"""Which particles went into which: the verdict on pairs of a vanished particle and a neighbour that stayed.

A merger of compact particles must raise the neighbour's area to at least that of the disc with the summed volumes
(V ∝ A^1.5), and at most by one and a half times the areas absorbed (just touching, with a neck). With ``d`` the px² by
which the area seen lies outside this range,

    agreement   v = 1 - d / (tolerance · gain + 2 σ), at least 0
    information i = gain / (gain + 2 σ)
    confidence    = 1 - (1 - min(1, cover)) (1 - v i)

where ``gain`` is the least rise a merger demands and ``σ`` the scatter of the neighbour's area from frame to frame. A
small particle beside a large one gives i ≈ 0: then cover and gap decide, and a particle that had shrunk until it was
about to go out of sight is not taken to have merged. A splitting is judged as the merger it is when the movie runs
backwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from insitu.events.histories import median

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from insitu.options import EventOptions

INFORMED = 0.5
NECK = 1.5


class Pair(NamedTuple):
    """One row of `evidence.PAIR` as plain numbers: there are few of them, and numpy takes longer to look at each."""

    lone: int
    other: int
    frame: int
    cover: float
    gap: float
    approach: float
    fresh: bool
    before: float
    last: float
    largest: float
    noise: float
    after: list[float]

    @property
    def area_after(self) -> float | None:
        """Median of the areas of the other seen after the event in px², None before there is one."""
        seen = [a for a in self.after if math.isfinite(a)]
        return median(seen) if seen else None


@dataclass(frozen=True, slots=True)
class Lone:
    """A particle that vanished or began.

    `area` is its area at that end in px², `shrunk` the share of the largest area it had, `fading` whether it was so
    small, or shrank so fast, that it was about to go out of sight by itself, `step` how far it moved from one sighting
    to the next, in px.
    """

    area: float
    shrunk: float = 1.0
    fading: bool = False
    step: float = 0.0


@dataclass(frozen=True, slots=True)
class Merger:
    """Pairs, all of one neighbour and frame, accepted as one merger, with its confidence."""

    pairs: list[Pair]
    confidence: float

    @property
    def other(self) -> int:
        """The track that goes on."""
        return self.pairs[0].other

    @property
    def frame(self) -> int:
        """The first frame of contact."""
        return self.pairs[0].frame

    @property
    def fresh(self) -> bool:
        """Whether the track that goes on began in that frame."""
        return self.pairs[0].fresh

    @property
    def guests(self) -> list[int]:
        """The tracks that ended in it."""
        return [p.lone for p in self.pairs]


def pairs_of(rows: NDArray[np.void]) -> list[Pair]:
    """Return rows of `evidence.PAIR` as plain numbers."""
    return [Pair._make((*row[:-1], row[-1].tolist())) for row in rows.tolist()]


def mergers(pairs: Sequence[Pair], lone: dict[int, Lone], options: EventOptions) -> list[Merger]:
    """Find the mergers among the pairs; a particle goes into one neighbour only, the most confident one.

    Parameters
    ----------
    pairs : sequence of Pair
    lone : dict
        By id, the particles that vanished; pairs of others are ignored.
    options : EventOptions
    """
    groups: dict[tuple[int, int], list[Pair]] = {}
    for pair in pairs:
        if pair.lone in lone:
            groups.setdefault((pair.other, pair.frame), []).append(pair)
    found = {key: m for key, group in groups.items() if (m := _merger(group, lone, options))}
    with_guest: dict[int, list[tuple[int, int]]] = {}
    for key, group in groups.items():
        for pair in group:
            with_guest.setdefault(pair.lone, []).append(key)
    waiting = [(-m.confidence, -key[0], -key[1]) for key, m in found.items()]
    heapify(waiting)
    accepted: list[Merger] = []
    while waiting:
        doubt, other, frame = heappop(waiting)
        key = (-other, -frame)
        best = found.get(key)
        if best is None or best.confidence != -doubt:
            continue  # judged anew since
        # The neighbour's gain is spent and its guests are placed: neither takes part again.
        del found[key]
        accepted.append(best)
        guests = set(best.guests)
        for rival in {k for guest in best.guests for k in with_guest[guest] if k in found}:
            if guests.isdisjoint(found[rival].guests):
                continue
            groups[rival] = [p for p in groups[rival] if p.lone not in guests]
            again = _merger(groups[rival], lone, options)
            del found[rival]
            if again is not None:
                found[rival] = again
                heappush(waiting, (-again.confidence, -rival[0], -rival[1]))
    return accepted


def source_of(pairs: Sequence[Pair], lone: Lone, options: EventOptions) -> tuple[Pair, float] | None:
    """Return the pair of the particle that a new one split off from, with the confidence, or None."""
    best = None
    for pair in pairs:
        # Backwards in time: what is left of the source took up the new particle and must have become the old source.
        left = pair.area_after
        near = pair.cover >= options.overlap_fraction or pair.gap <= options.contact_gap_px
        if left is None or not near:
            continue
        v, i = agreement(left, pair.before, [lone.area], pair.noise, options)
        confidence = 1.0 - (1.0 - min(1.0, pair.cover)) * (1.0 - v * i)
        if v > 0 and i >= INFORMED and (best is None or confidence > best[1]):
            best = pair, confidence
    return best


def agreement(
    before: float, after: float, absorbed: Sequence[float], noise: float, options: EventOptions
) -> tuple[float, float]:
    """Return (v, i): how well an area `after` fits `before` plus the areas `absorbed`, and how much that can tell."""
    volume = before**1.5 + sum(a**1.5 for a in absorbed)
    least, most = volume ** (2 / 3), before + NECK * sum(absorbed)
    # What a fresh particle must gain is counted from the largest of those that formed it.
    gain = least - (before or max(absorbed))
    outside = max(least - after, after - most, 0.0)
    return max(0.0, 1.0 - outside / (options.volume_tolerance * gain + 2 * noise)), gain / (gain + 2 * noise)


def _merger(pairs: Sequence[Pair], lone: dict[int, Lone], options: EventOptions) -> Merger | None:
    """Find the largest set that went into one neighbour in one frame, leaving out the weakest until the rest holds."""
    if not pairs:
        return None
    within = sorted(pairs, key=lambda p: (-p.cover, p.gap, p.lone))
    first = within[0]
    after = first.area_after
    # A single particle that is continued under a new id has not merged: a fresh child needs two parents.
    while len(within) > int(first.fresh) and after is not None:
        areas = [lone[p.lone].area for p in within]
        noise = 0.2 * math.sqrt(max(areas)) if first.fresh else first.noise
        v, i = agreement(first.before, after, areas, noise, options)
        weak = [k for k, p in enumerate(within) if not _holds(p, lone[p.lone], v, i, options)]
        if not weak:
            return Merger(within, 1.0 - max(1.0 - min(1.0, p.cover) for p in within) * (1.0 - v * i))
        del within[weak[-1]]
    return None


def _holds(pair: Pair, lone: Lone, v: float, i: float, options: EventOptions) -> bool:
    """Say whether one vanished particle may be part of a merger whose areas agree to `v` with information `i`."""
    covered = pair.cover >= options.overlap_fraction
    # What a particle can cross within a frame counts as close, within the contact gap.
    within = min(options.contact_gap_px, max(options.contact_gap_px / 2, 1 + 2 * lone.step))
    close = pair.gap <= within
    if lone.fading and lone.shrunk < options.shrink_fraction:
        # Dissolution explains the end as well: more must speak for a merger.
        return pair.cover >= 2 * options.overlap_fraction or (i >= INFORMED and v >= 0.5 and (covered or close))
    if i >= INFORMED:
        # A fast one may have been farther away before; then its old place must be reached and the area must fit well.
        crossed = v >= 0.5 and pair.cover > 0 and pair.gap <= options.contact_gap_px + 2 * lone.step
        return v > 0 and (covered or pair.gap <= options.contact_gap_px or crossed)
    return covered or close
