"""A coarsening world of discs for the benchmarks of tracking: ripening, migration, mergers, nucleation; exact truth.

Nothing of the engine is used to make the truth. Radii and lengths in px, times in frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Truth:
    """One event: kind, frame, place."""

    kind: str
    frame: int
    y: float
    x: float


@dataclass
class Discs:
    """A movie of masks.

    `relax` is the number of frames a touching pair takes to become one disc (0: within a frame); `breathe` the relative
    scatter of each radius from frame to frame, `loss` the share of volume lost in a merger, `missed` the share of
    particles that are not seen in a frame, `brushes` the number of pairs that touch for 1-8 frames and part again.
    """

    n: int
    frames: int
    seed: int
    shape: tuple[int, int] = (1792, 1920)
    radius: float = 11.0
    relax: int = 0
    breathe: float = 0.01
    loss: float = 0.0
    missed: float = 0.0
    ripening: float = 2.0
    step: float = 8.0
    nucleation: float = 0.02
    brushes: int = 0
    smallest: float = 2.5
    truth: list[Truth] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.r = self.rng.lognormal(np.log(self.radius), 0.35, self.n)
        self.at = np.empty((0, 2))
        while len(self.at) < self.n:
            k = len(self.at)
            p = self.r[k] + 3 + self.rng.random(2) * (np.array(self.shape) - 2 * self.r[k] - 6)
            if k == 0 or (np.hypot(*(self.at - p).T) > self.r[:k] + self.r[k] + 6).all():
                self.at = np.vstack([self.at, p])
        self.ids, self.n_ids = np.arange(self.n), self.n
        # Frame of contact, its two discs (y, x, r), where and how large they end, and the id they will have.
        self.melting: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, float, int]] = []
        self.touched: dict[tuple[int, int], int] = {}
        self.brushing = self._plan_brushes()

    def _plan_brushes(self) -> list[tuple[int, int, np.ndarray, float, float]]:
        """Choose pairs of extra particles, far from others, that touch for a while and part."""
        out = []
        for _ in range(self.brushes):
            for _ in range(1000):
                p = self.rng.random(2) * (np.array(self.shape) - 160) + 80
                alone = all(np.hypot(*(q - p)) > 100 for _, _, q, _, _ in out)
                if alone and (np.hypot(*(self.at - p).T) > self.r + 70).all():
                    break
            else:
                continue
            begin, last = int(self.rng.integers(12, self.frames - 25)), int(self.rng.integers(1, 9))
            out.append((begin, last, p, *self.rng.uniform(7, 13, 2)))
        return out

    def _brush_discs(self, frame: int) -> list[tuple[float, float, float]]:
        """Where the touching pairs are: they approach by 0.7 px a frame, overlap by 1 px, and part."""
        discs = []
        for begin, last, p, a, b in self.brushing:
            away = max(begin - frame, frame - (begin + last - 1), 0)
            gap = -1.0 if away == 0 else min(1.5 + 0.7 * away, 14.0)
            half = (a + b + gap) / 2
            discs += [(p[0], p[1] - half, a), (p[0], p[1] + half, b)]
        return discs

    def masks(self) -> Iterator[np.ndarray]:
        """Yield the masks; `truth` is complete at the end."""
        for frame in range(self.frames):
            if frame:
                self._advance(frame)
            discs = [(y, x, r) for (y, x), r in zip(self.at, self.r, strict=True)]
            discs += [tuple(d) for m in self.melting for d in self._melting_discs(m, frame)]
            yield self._paint(discs + self._brush_discs(frame))

    def _paint(self, discs: list[tuple[float, float, float]]) -> np.ndarray:
        mask = np.zeros(self.shape, bool)
        for disc in discs:
            if self.rng.random() < self.missed:
                continue
            y, x, r = disc + self.rng.standard_normal(3) * (0.15, 0.15, self.breathe * disc[2])
            y0, y1 = max(0, int(y - r)), min(self.shape[0], int(y + r + 2))
            x0, x1 = max(0, int(x - r)), min(self.shape[1], int(x + r + 2))
            if y1 > y0 and x1 > x0:
                yy, xx = np.ogrid[y0:y1, x0:x1]
                mask[y0:y1, x0:x1] |= (yy - y) ** 2 + (xx - x) ** 2 <= r * r
        return mask

    def _advance(self, frame: int) -> None:
        mean = self.r.mean()
        cube = self.r**3 + 3 * self.ripening * (self.r / mean - 1)
        gone = cube <= self.smallest**3
        self.truth += [Truth("dissolution", frame, *p) for p in self.at[gone]]
        self.r, self.at, self.ids = np.cbrt(cube[~gone]), self.at[~gone], self.ids[~gone]
        self.at = self.at + self.rng.normal(0, 1, self.at.shape) * (self.step / self.r)[:, None]
        # A wall at the border: those that leave are another test.
        for axis in (0, 1):
            self.at[:, axis] = np.clip(self.at[:, axis], self.r + 2, self.shape[axis] - self.r - 3)
        self._keep_off_brushes()
        self._finish_melting(frame)
        while self._merge(frame):
            pass
        self._touch_melting(frame)
        for _ in range(self.rng.poisson(self.nucleation)):
            p = self.rng.random(2) * (np.array(self.shape) - 40) + 20
            room = 1.15 * mean + 3
            if (np.hypot(*(self.at - p).T) > self.r + room).all() and self._clear(p, room):
                self._add(p, 1.15 * mean, self._new_id())
                self.truth.append(Truth("appearance", frame, *p))

    def _keep_off_brushes(self) -> None:
        """Push particles out of the places of the touching pairs: what met those would be no event of the truth."""
        for _, _, q, a, b in self.brushing:
            away = self.at - q
            distance = np.maximum(np.hypot(*away.T), 1e-9)
            clear = np.maximum(distance, self.r + (a + b + 14) / 2 + max(a, b) + 10)
            self.at = q + away * (clear / distance)[:, None]

    def _clear(self, p: np.ndarray, reach: float) -> bool:
        melting = all(np.hypot(*(c - p)) > big * 2 + reach for _, _, _, c, big, _ in self.melting)
        return melting and all(np.hypot(*(q - p)) > 2 * (a + b) + reach for _, _, q, a, b in self.brushing)

    def _merge(self, frame: int) -> bool:
        pairs = cKDTree(self.at).query_pairs(2 * self.r.max() + 2, output_type="ndarray")
        i, j = pairs.T
        # Outlines touch when less than one background pixel is left between them.
        near = np.hypot(*(self.at[i] - self.at[j]).T) < self.r[i] + self.r[j] + 1.0
        if not near.any():
            return False
        a, b = (int(v[near][0]) for v in (i, j))
        volume = self.r[a] ** 3 + self.r[b] ** 3
        centre = (self.at[a] * self.r[a] ** 3 + self.at[b] * self.r[b] ** 3) / volume
        big = float(np.cbrt(volume * (1 - self.loss)))
        since = self.touched.get((int(self.ids[a]), int(self.ids[b])), frame)
        since = min(since, self.touched.get((int(self.ids[b]), int(self.ids[a])), frame))
        self.truth.append(Truth("coalescence", since, *centre))
        child = self._new_id()
        if self.relax:
            parts = [np.append(self.at[k], self.r[k]) for k in (a, b)]
            self.melting.append((frame, *parts, centre, big, child))
        keep = np.ones(len(self.r), bool)
        keep[[a, b]] = False
        self.at, self.r, self.ids = self.at[keep], self.r[keep], self.ids[keep]
        if not self.relax:
            self._add(centre, big, child)
        return True

    def _new_id(self) -> int:
        self.n_ids += 1
        return self.n_ids - 1

    def _add(self, p: np.ndarray, r: float, number: int) -> None:
        self.at, self.r, self.ids = np.vstack([self.at, p]), np.append(self.r, r), np.append(self.ids, number)

    def _melting_discs(self, melting: tuple, frame: int) -> list[np.ndarray]:
        """Return the two discs (y, x, r) of a pair on its way to become one."""
        since, a, b, c, big, _ = melting
        part = (frame - since) / self.relax
        return [d + part * (np.append(c, big) - d) for d in (a, b)]

    def _touch_melting(self, frame: int) -> None:
        """Note since when others touch a melting pair: they merge with it once it is one, but the contact is seen."""
        before, self.touched = self.touched, {}
        parts = [(m[-1], *d) for m in self.melting for d in self._melting_discs(m, frame)]
        moving = [np.column_stack([self.ids, self.at, self.r]), np.array(parts).reshape(-1, 4)]
        every = np.concatenate(moving)
        for child, y, x, r in parts:
            near = np.hypot(every[:, 1] - y, every[:, 2] - x) < every[:, 3] + r + 1.0
            for other in every[near & (every[:, 0] != child), 0].astype(int).tolist():
                self.touched[child, other] = before.get((child, other), frame)

    def _finish_melting(self, frame: int) -> None:
        done = [m for m in self.melting if frame - m[0] >= self.relax]
        self.melting = [m for m in self.melting if frame - m[0] < self.relax]
        for _, _, _, centre, big, child in done:
            self._add(centre, big, child)


def score(
    truth: list[Truth], found: list[Truth], kind: str, frames: int = 2, distance: float = 40.0
) -> tuple[int, int, int]:
    """Return matched, found and true events of a kind: one to one, nearest in time first."""
    true, seen = [e for e in truth if e.kind == kind], [e for e in found if e.kind == kind]
    pairs = sorted(
        (abs(a.frame - b.frame), np.hypot(a.y - b.y, a.x - b.x), i, j)
        for i, a in enumerate(true)
        for j, b in enumerate(seen)
        if abs(a.frame - b.frame) <= frames and np.hypot(a.y - b.y, a.x - b.x) <= distance
    )
    used_true: set[int] = set()
    used_seen: set[int] = set()
    for _, _, i, j in pairs:
        if i not in used_true and j not in used_seen:
            used_true.add(i)
            used_seen.add(j)
    return len(used_true), len(seen), len(true)
