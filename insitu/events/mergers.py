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

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.events.histories import middle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.options import EventOptions

INFORMED = 0.5
NECK = 1.5


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


@dataclass(frozen=True, slots=True, eq=False)
class Merger:
    """Pairs (rows of `evidence.PAIR`, all of one neighbour and frame) accepted as one merger, with its confidence."""

    pairs: NDArray[np.void]
    confidence: float


def mergers(pairs: NDArray[np.void], lone: dict[int, Lone], options: EventOptions) -> list[Merger]:
    """Find the mergers among the pairs; a particle goes into one neighbour only, the most confident one.

    Parameters
    ----------
    pairs : structured array of `evidence.PAIR`
    lone : dict
        By id, the particles that vanished; pairs of others are ignored.
    options : EventOptions
    """
    groups: dict[tuple[int, int], NDArray[np.void]] = {}
    pairs = pairs[np.isin(pairs["lone"], list(lone))]
    keys = list(zip(pairs["other"].tolist(), pairs["frame"].tolist(), strict=True))
    for key in dict.fromkeys(keys):
        groups[key] = pairs[[k == key for k in keys]]
    found = {key: m for key, group in groups.items() if (m := _merger(group, lone, options))}
    accepted: list[Merger] = []
    while found:
        # The neighbour's gain is spent and its guests are placed: neither takes part again.
        key = max(found, key=lambda k: (found[k].confidence, k))
        best = found.pop(key)
        accepted.append(best)
        guests = best.pairs["lone"]
        for other in [k for k, m in found.items() if np.isin(m.pairs["lone"], guests).any()]:
            groups[other] = groups[other][~np.isin(groups[other]["lone"], guests)]
            again = _merger(groups[other], lone, options)
            if again is None:
                del found[other]
            else:
                found[other] = again
    return accepted


def source_of(pairs: NDArray[np.void], lone: Lone, options: EventOptions) -> tuple[NDArray[np.void], float] | None:
    """Return the pair of the particle that a new one split off from, with the confidence, or None."""
    best = None
    near = (pairs["cover"] >= options.overlap_fraction) | (pairs["gap"] <= options.contact_gap_px)
    for pair in pairs[near]:
        # Backwards in time: what is left of the source took up the new particle and must have become the old source.
        seen = pair["after"][np.isfinite(pair["after"])]
        if len(seen) == 0:
            continue
        left = middle(seen)
        v, i = agreement(left, float(pair["before"]), np.array([lone.area]), float(pair["noise"]), options)
        confidence = 1.0 - (1.0 - min(1.0, float(pair["cover"]))) * (1.0 - v * i)
        if v > 0 and i >= INFORMED and (best is None or confidence > best[1]):
            best = pair, confidence
    return best


def agreement(
    before: float, after: float, absorbed: NDArray[np.float64], noise: float, options: EventOptions
) -> tuple[float, float]:
    """Return (v, i): how well an area `after` fits `before` plus the areas `absorbed`, and how much that can tell."""
    volume = before**1.5 + float((absorbed**1.5).sum())
    least, most = volume ** (2 / 3), before + NECK * float(absorbed.sum())
    # What a fresh particle must gain is counted from the largest of those that formed it.
    gain = least - (before or float(absorbed.max()))
    outside = max(least - after, after - most, 0.0)
    return max(0.0, 1.0 - outside / (options.volume_tolerance * gain + 2 * noise)), gain / (gain + 2 * noise)


def _merger(pairs: NDArray[np.void], lone: dict[int, Lone], options: EventOptions) -> Merger | None:
    """Find the largest set that went into one neighbour in one frame, leaving out the weakest until the rest holds."""
    if len(pairs) == 0:
        return None
    pairs = pairs[np.lexsort((pairs["lone"], pairs["gap"], -pairs["cover"]))]
    fresh = bool(pairs["fresh"][0])
    seen = pairs["after"][0][np.isfinite(pairs["after"][0])]
    # A single particle that is continued under a new id has not merged: a fresh child needs two parents.
    while len(pairs) > int(fresh) and len(seen):
        area = np.array([lone[int(p)].area for p in pairs["lone"]])
        noise = 0.2 * float(np.sqrt(area.max())) if fresh else float(pairs["noise"][0])
        v, i = agreement(float(pairs["before"][0]), middle(seen), area, noise, options)
        holds = np.array([_holds(p, lone[int(p["lone"])], v, i, options) for p in pairs])
        if holds.all():
            doubt = (1.0 - np.minimum(1.0, pairs["cover"])) * (1.0 - v * i)
            return Merger(pairs, float(1.0 - doubt.max()))
        pairs = pairs[np.arange(len(pairs)) != np.flatnonzero(~holds)[-1]]
    return None


def _holds(pair: NDArray[np.void], lone: Lone, v: float, i: float, options: EventOptions) -> bool:
    """Say whether one vanished particle may be part of a merger whose areas agree to `v` with information `i`."""
    covered = pair["cover"] >= options.overlap_fraction
    # What a particle can cross within a frame counts as close, within the contact gap.
    within = min(options.contact_gap_px, max(options.contact_gap_px / 2, 1 + 2 * lone.step))
    close = pair["gap"] <= within
    if lone.fading and lone.shrunk < options.shrink_fraction:
        # Dissolution explains the end as well: more must speak for a merger.
        return bool(
            pair["cover"] >= 2 * options.overlap_fraction or (i >= INFORMED and v >= 0.5 and (covered or close))
        )
    if i >= INFORMED:
        # A fast one may have been farther away before; then its old place must be reached and the area must fit well.
        crossed = v >= 0.5 and pair["cover"] > 0 and pair["gap"] <= options.contact_gap_px + 2 * lone.step
        return bool(v > 0 and (covered or pair["gap"] <= options.contact_gap_px or crossed))
    return bool(covered or close)
