"""Tiny named worlds of discs: each is a movie of a few frames with what happens in it known beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.events import EventDetector
from insitu.link.linker import OptimalLinker
from insitu.measure import measure
from insitu.options import EventOptions, LinkOptions, MeasureOptions
from insitu.runs import components, find_runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from insitu.types import Event, Measured

Disc = tuple[float, float, float]  # y, x, radius in px
SHAPE = (120, 160)
LINK = LinkOptions(search_range_px=8, memory_frames=3)
EVENTS = EventOptions(birth_frames=4, contact_frames=3)
# Two that have nothing to do with the story, so that it is never the only thing in the frame.
BYSTANDERS: list[Disc] = [(100.0, 25.0, 7.0), (20.0, 140.0, 9.0)]


def mask_of(discs: Iterable[Disc], shape: tuple[int, int] = SHAPE) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for cy, cx, r in discs:
        mask |= (y - cy) ** 2 + (x - cx) ** 2 <= r * r
    return mask


def measured_of(discs: Iterable[Disc], shape: tuple[int, int] = SHAPE) -> Measured:
    return measure(components(find_runs(mask_of(discs, shape))), MeasureOptions(min_area_px=1, perimeter=False))


@dataclass
class Movie:
    """Frames as lists of discs; None is a frame that cannot be used. Particles of frame 0 have ids in raster order."""

    frames: list[list[Disc] | None]
    link: LinkOptions = LINK
    events: EventOptions = EVENTS
    shape: tuple[int, int] = SHAPE

    def track(self) -> tuple[list[np.ndarray], list[Event]]:
        linker = OptimalLinker(self.link)
        detector = EventDetector(self.events, self.shape, self.link.memory_frames)
        ids, events = [], []
        for index, discs in enumerate(self.frames):
            if discs is None:
                continue
            measured = measured_of(discs, self.shape)
            p = measured.particles
            ids.append(linker.step(index, np.column_stack([p.y, p.x])))
            events += detector.step(index, measured, ids[-1])
        return ids, [*events, *detector.finish()]

    def happened(self) -> list[Event]:
        return self.track()[1]


def merged_radius(*radii: float) -> float:
    """Radius of the disc whose volume (r³) is that of the discs together."""
    return sum(r**3 for r in radii) ** (1 / 3)


def still(frames: int, *discs: Disc) -> list[list[Disc] | None]:
    return [[*BYSTANDERS, *discs] for _ in range(frames)]


def merge_fast(gap: float = 3.0) -> Movie:
    """Two approach and are one relaxed disc in frame 8."""
    big, small = (60.0, 60.0, 14.0), 9.0
    frames = [still(1, big, (60.0, 60.0 + 14 + 9 + gap + 0.5 * (7 - k), small))[0] for k in range(8)]
    return Movie(frames + still(10, (60.0, 65.0, merged_radius(14, 9))))


def merge_slowly() -> Movie:
    """Two approach, touch in frame 8 and relax over ten frames."""
    frames = [still(1, (60.0, 60.0, 12.0), (60.0, 95.0 - k, 11.0))[0] for k in range(8)]
    for k in range(10):
        part = k / 9
        frames += still(1, (60.0, 60 + 9 * part, 12 + 2.5 * part), (60.0, 83 - 14 * part, 11.0 + 3.5 * part))
    return Movie(frames + still(4, (60.0, 69.0, merged_radius(12, 11))))


def shrinks_away() -> Movie:
    """One shrinks and is gone in frame 12."""
    return Movie([still(1, (60.0, 80.0, 12 * (1 - k / 12) ** (1 / 3)))[0] for k in range(12)] + still(6))


def leaves() -> Movie:
    """One walks out through the right border and is gone in frame 11."""
    return Movie([still(1, (60.0, 132.0 + 4 * k, 8.0))[0] for k in range(11)] + still(6))


def enters() -> Movie:
    """One walks in through the lower border from frame 3 on."""
    return Movie(still(3) + [still(1, (125.0 - 4 * k, 90.0, 8.0))[0] for k in range(10)])


def flickers(gone: int = 2) -> Movie:
    """One is not seen for `gone` frames from frame 5 on."""
    there = (60.0, 80.0, 8.0)
    return Movie(still(5, there) + still(gone) + still(8, there))


def unusable_frames() -> Movie:
    """Nothing happens, but five frames in a row, more than the memory, cannot be used."""
    return Movie([*still(5, (60.0, 80.0, 8.0)), None, None, None, None, None, *still(5, (60.0, 80.0, 8.0))])


def _crowd() -> list[Disc]:
    return [(20.0 + 20 * i, 20.0 + 20 * j, 5.0) for i in range(4) for j in range(6)]


def blanked(frames: int = 6) -> Movie:
    """A crowd is not seen at all for longer than the memory."""
    return Movie([_crowd()] * 5 + [[]] * frames + [_crowd()] * 5)


def three_merge() -> Movie:
    """Three become one in frame 6; it lies nearest to the largest."""
    before = [(60.0, 60.0, 14.0), (60.0, 84.0, 8.0), (84.0, 60.0, 8.0)]
    return Movie(still(6, *before) + still(8, (63.0, 63.0, merged_radius(14, 8, 8))))


def merge_into_new() -> Movie:
    """Two equal discs become one midway, farther from either centre than the search range."""
    return Movie(still(6, (60.0, 60.0, 12.0), (60.0, 86.0, 12.0)) + still(8, (60.0, 73.0, merged_radius(12, 12))))


def appears() -> Movie:
    """One is there from frame 5 on, full grown, away from the border."""
    return Movie(still(5) + still(8, (60.0, 80.0, 9.0)))


def nucleates() -> Movie:
    """One is there from frame 5 on and grows."""
    return Movie(still(5) + [still(1, (60.0, 80.0, 3 + 0.8 * k))[0] for k in range(10)])


def splits() -> Movie:
    """One becomes two in frame 6; the larger part goes on."""
    return Movie(still(6, (60.0, 65.0, merged_radius(14, 9))) + still(10, (60.0, 60.0, 14.0), (60.0, 86.0, 9.0)))


def vanishes() -> Movie:
    """One is gone in frame 6 without having shrunk, far from everything."""
    return Movie(still(6, (60.0, 80.0, 9.0)) + still(6))


WORLDS = [
    merge_fast,
    merge_slowly,
    shrinks_away,
    leaves,
    enters,
    flickers,
    unusable_frames,
    blanked,
    three_merge,
    merge_into_new,
    appears,
    nucleates,
    splits,
    vanishes,
]
