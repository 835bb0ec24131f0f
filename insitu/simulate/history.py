"""What happened in a simulated movie: events and tracks, taken from the geometry of the world."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import hypot, pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.types import Event, EventKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.simulate.truth import View
    from insitu.simulate.world import World


@dataclass(frozen=True, slots=True)
class Sighting:
    """A particle as last seen; lengths in px."""

    frame: int
    y: float
    x: float
    area: float
    edge: bool


@dataclass(slots=True)
class Biography:
    """First and last sighting of a particle, how it began and how it ended."""

    first: Sighting
    last: Sighting
    length: int = 1
    origin: str = "start"
    fate: str = "end"
    parents: tuple[int, ...] = ()
    children: tuple[int, ...] = ()


@dataclass(slots=True)
class History:
    """Turns the views of consecutive frames into events.

    A particle lives in this record while it can be seen. Coalescence: first frame in which the outlines touch (they
    then stay together). Dissolution: first frame without the particle, because it dissolved or fell below the visible
    size. Leaving: first frame in which no pixel of it is in the frame. Nucleation: first frame in which a particle
    born in the movie is large enough to be seen; entering: first frame of a particle that came over the border.
    """

    events: list[Event] = field(default_factory=list)
    lives: dict[int, Biography] = field(default_factory=dict)
    _present: dict[int, Sighting] = field(default_factory=dict)
    _outside: frozenset[int] = frozenset()
    _born: set[int] = field(default_factory=set)

    def add(self, world: World, view: View) -> None:
        """Take the next frame."""
        now = {
            int(p): Sighting(view.frame, float(y), float(x), float(a), bool(e))
            for p, y, x, a, e in zip(view.particle, view.y, view.x, view.area_px, view.touches_edge, strict=True)
        }
        self._born.update(world.born)
        families = families_of(world.merged)
        merged = {child: parents for child, parents in families.items() if child in now}
        before = self._present
        for child, parents in merged.items():
            self._merge(child, tuple(p for p in parents if p in before), now[child])
        gone = [p for p in before if p not in now and not any(p in parents for parents in merged.values())]
        for p in gone:
            self._end(p, view, families)
        for p, seen in now.items():
            self._continue(p, seen, view.frame, new=p not in before and p not in merged)
        self._present, self._outside = now, view.outside

    def _merge(self, child: int, parents: tuple[int, ...], seen: Sighting) -> None:
        if not parents:
            self._begin(child, seen, "entering")
            return
        before = [self._present[p] for p in parents]
        gap = None
        if len(before) == 2:
            a, b = before
            gap = max(0.0, hypot(a.y - b.y, a.x - b.x) - sqrt(a.area / pi) - sqrt(b.area / pi))
        volume = sum(s.area**1.5 for s in before)
        self.events.append(
            Event(
                kind="coalescence",
                frame=seen.frame,
                decided_frame=seen.frame,
                y=seen.y,
                x=seen.x,
                parents=parents,
                children=(child,),
                parent_areas_px=tuple(round(s.area) for s in before),
                child_areas_px=(round(seen.area),),
                contact_frame=seen.frame,
                gap_px=gap,
                volume_balance=(seen.area**1.5 - volume) / volume,
                touches_edge=seen.edge or any(s.edge for s in before),
                confidence=1.0,
                note="" if len(parents) > 1 else "the other particle lay outside the frame",
            )
        )
        for p in parents:
            self.lives[p].fate, self.lives[p].children = "coalescence", (child,)
        self.lives[child] = Biography(seen, seen, 0, "coalescence", parents=parents)

    def _end(self, particle: int, view: View, families: dict[int, tuple[int, ...]]) -> None:
        joined_outside = any(particle in parents and child in view.outside for child, parents in families.items())
        kind: EventKind = "leaving" if particle in view.outside or joined_outside else "dissolution"
        self._event(kind, view.frame, self._present[particle], parents=(particle,))
        self.lives[particle].fate = kind

    def _continue(self, particle: int, seen: Sighting, frame: int, *, new: bool) -> None:
        if new and frame == 0:
            self.lives[particle] = Biography(seen, seen, 0)
        elif new:
            grown: EventKind = "nucleation" if particle in self._born else "appearance"
            self._begin(particle, seen, "entering" if particle in self._outside else grown)
        life = self.lives[particle]
        life.last, life.length = seen, life.length + 1

    def _begin(self, particle: int, seen: Sighting, kind: EventKind) -> None:
        self._event(kind, seen.frame, seen, children=(particle,))
        if particle not in self.lives:
            self.lives[particle] = Biography(seen, seen, 0, kind)
        self.lives[particle].fate = "end"

    def _event(
        self, kind: EventKind, frame: int, seen: Sighting, parents: tuple[int, ...] = (), children: tuple[int, ...] = ()
    ) -> None:
        area = (round(seen.area),)
        self.events.append(
            Event(
                kind=kind,
                frame=frame,
                decided_frame=frame,
                y=seen.y,
                x=seen.x,
                parents=parents,
                children=children,
                parent_areas_px=area if parents else (),
                child_areas_px=area if children else (),
                touches_edge=seen.edge,
                confidence=1.0,
            )
        )

    def tracks(self) -> dict[str, NDArray[Any] | list[Any]]:
        """Return one row a particle ever seen, columns as in `schema.TRACKS` where the meaning is the same."""
        lives = sorted(self.lives.items())
        return {
            "particle": np.array([p for p, _ in lives], np.int64),
            "first_frame": np.array([b.first.frame for _, b in lives], np.int32),
            "last_frame": np.array([b.last.frame for _, b in lives], np.int32),
            "length": np.array([b.length for _, b in lives], np.int32),
            "origin": [b.origin for _, b in lives],
            "fate": [b.fate for _, b in lives],
            "parents": [list(b.parents) for _, b in lives],
            "children": [list(b.children) for _, b in lives],
            "equivalent_diameter_px_first": np.array([sqrt(4.0 * b.first.area / pi) for _, b in lives]),
            "equivalent_diameter_px_last": np.array([sqrt(4.0 * b.last.area / pi) for _, b in lives]),
        }


def families_of(merged: tuple[tuple[int, int, int], ...]) -> dict[int, tuple[int, ...]]:
    """Return child → all parents for the mergers of one frame; a child that merged again in it is nobody's parent."""
    families: dict[int, tuple[int, ...]] = {}
    for a, b, child in merged:
        families[child] = families.pop(a, (a,)) + families.pop(b, (b,))
    return families
