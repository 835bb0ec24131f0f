"""Tables of particles whose growth is known: mean-field ripening, discs thrown over a border, a long movie.

Nothing here imports `insitu.coarsening`: what is checked and what checks share no code. Ripening is
dr/dt = k r^(1−n) (r/r* − 1) with r* = Σr^(4−n)/Σr^(3−n), which conserves Σr³; it starts from the self-similar
distribution, found by solving dS/du = 3 ν S/W(u), W = u^(1−n)(u − 1) − ν u, with scipy's ODE solver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.integrate import solve_ivp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.run_folders import Columns

# theory: d(r*ⁿ)/dt over k, standard deviation over mean, ⟨r⟩/r*
RATE = {2: 1 / 2, 3: 4 / 9, 4: 27 / 64}
SPREAD = {2: 0.354, 3: 0.215, 4: 0.152}
MEAN = {2: 8 / 9, 3: 1.0, 4: 1.0338}


def asymptotic(n: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return `number` values of r/r* from the self-similar distribution."""
    nu = ((n - 1) / n) ** n / (n - 1)
    top = n / (n - 1)

    def slope(u: float, log_share: np.ndarray) -> np.ndarray:  # noqa: ARG001 - an ODE in u alone
        return np.array([3 * nu / (u ** (1.0 - n) * (u - 1) - nu * u)])

    def dust(_u: float, log_share: np.ndarray) -> float:
        return log_share[0] + 30

    dust.terminal = True
    solved = solve_ivp(slope, (1e-9, top * (1 - 1e-4)), [0.0], rtol=1e-10, atol=1e-12, events=dust, max_step=1e-3)
    share = 1 - np.exp(solved.y[0])
    return np.interp(rng.random(number), share, solved.t)


def discs(frame: int, particle: np.ndarray, r: np.ndarray, place: tuple, region: tuple) -> Columns:
    """Return rows of discs as a segmentation would see them: whole pixels, boxes, a flag where the border cuts."""
    y, x = place
    y0, x0 = np.floor(y - r + 0.5), np.floor(x - r + 0.5)
    y1, x1 = np.ceil(y + r + 0.5), np.ceil(x + r + 0.5)
    edge = (y0 <= 0) | (x0 <= 0) | (y1 >= region[0]) | (x1 >= region[1])
    area = np.maximum(np.rint(np.pi * r**2), 1).astype(np.int32)
    return {
        "frame": np.full(len(r), frame, np.int32),
        "particle": particle.astype(np.int64),
        "label": (np.arange(len(r)) % 65535 + 1).astype(np.uint16),
        "y": y,
        "x": x,
        "area_px": area,
        "equivalent_diameter_px": np.sqrt(4 * area / np.pi),
        "bbox_y0": np.clip(y0, 0, region[0]).astype(np.int32),
        "bbox_x0": np.clip(x0, 0, region[1]).astype(np.int32),
        "bbox_y1": np.clip(y1, 0, region[0]).astype(np.int32),
        "bbox_x1": np.clip(x1, 0, region[1]).astype(np.int32),
        "touches_edge": edge,
    }


class Ripening:
    """Mean-field ripening of many particles on a support so large that few touch its border.

    k is chosen so that r* grows by `growth` over the movie; lengths in px, times in frames.
    """

    def __init__(self, n: int, number: int, frames: int, *, growth: float = 2.1, r0_px: float = 40.0, seed: int = 0):
        self.n, self.frames, self.r0 = n, frames, r0_px
        rng = np.random.default_rng(seed)
        self.start = r0_px * asymptotic(n, number, rng)
        self.k = r0_px**n * (growth**n - 1) / RATE[n] / (frames - 1)
        side = int(np.sqrt(np.pi * (self.start**2).sum() / 0.2))
        self.region = (side, side)
        self.y, self.x = rng.uniform(0, side, (2, number))
        self.first = np.zeros(number, np.int32)
        self.last = np.full(number, -1, np.int32)
        self.sizes: list[tuple[float, float, int]] = []  # mean, r*, number of each frame

    def rows(self) -> Iterator[Columns]:
        """Yield the rows of each frame; particles below 20 px² are not seen, as in a run."""
        n, r, alive = self.n, self.start.copy(), np.arange(len(self.start))
        for frame in range(self.frames):
            critical = (r ** (4.0 - n)).sum() / (r ** (3.0 - n)).sum()
            self.sizes.append((float(r.mean()), float(critical), len(r)))
            seen = np.pi * r**2 >= 20
            self.last[alive[seen]] = frame
            here = alive[seen]
            rows = discs(frame, here, r[seen], (self.y[here], self.x[here]), self.region)
            yield rows
            left = 1.0
            while left > 0 and frame < self.frames - 1:
                # steps short against the time in which r* changes, and a midpoint for r*
                step = min(left, 4e-3 * critical**n / self.k)
                half = self._moved(r, critical, step / 2)
                middle = (half[half > 0] ** (4.0 - n)).sum() / (half[half > 0] ** (3.0 - n)).sum()
                r = self._moved(r, middle, step)
                alive, r = alive[r > 0], r[r > 0]
                critical = (r ** (4.0 - n)).sum() / (r ** (3.0 - n)).sum()
                left -= step

    def _moved(self, r: np.ndarray, critical: float, step: float) -> np.ndarray:
        """Advance rⁿ, d(rⁿ)/dt = n k (r/r* − 1), by Heun's method; 0 where a particle is gone."""
        n, k = self.n, self.k
        power = r**n
        slope = n * k * (r / critical - 1)
        guess = np.maximum(power + step * slope, 0)
        power = power + step / 2 * (slope + n * k * (guess ** (1 / n) / critical - 1))
        return np.where(power > 0, np.maximum(power, 0) ** (1 / n), 0)

    def tables(self) -> dict[str, Columns]:
        """Return frames, events (one dissolution a lost particle) and tracks; only once the rows were drawn."""
        frame = np.arange(self.frames)
        gone = np.flatnonzero((self.last >= 0) & (self.last < self.frames - 1))
        gone = gone[np.argsort(self.last[gone], kind="stable")]
        seen = np.flatnonzero(self.last >= 0)
        at = self.last[gone] + 1
        return {
            "frames": {"frame": frame, "status": ["ok"] * len(frame)},
            "events": {
                "event": np.arange(len(gone)),
                "frame": at,
                "decided_frame": at,
                "kind": ["dissolution"] * len(gone),
                "y": self.y[gone],
                "x": self.x[gone],
                "parents": [[int(p)] for p in gone],
            },
            "tracks": {
                "particle": seen,
                "first_frame": self.first[seen],
                "last_frame": self.last[seen],
                "length": self.last[seen] + 1,
                "origin": ["start"] * len(seen),
                "fate": ["end" if last == self.frames - 1 else "dissolution" for last in self.last[seen].tolist()],
                "equivalent_diameter_px_first": 2 * self.start[seen],
            },
        }


BORDER = (1792, 1920)


def over_the_border(frames: int, seed: int = 0) -> Iterator[tuple[Columns, np.ndarray]]:
    """Yield rows of log-normal discs (median 40 px, σ .6) thrown over a region and beyond, and all radii thrown."""
    rng = np.random.default_rng(seed)
    H, W = BORDER
    given = 0
    for frame in range(frames):
        n = rng.poisson(450)
        r = np.clip(np.exp(rng.normal(np.log(40), 0.6, n)), 5, 250)
        y, x = rng.uniform(-260, H + 260, n), rng.uniform(-260, W + 260, n)
        seen = (y + r > 0) & (y - r < H) & (x + r > 0) & (x - r < W)
        yield discs(frame, given + np.arange(seen.sum()), r[seen], (y[seen], x[seen]), BORDER), r
        given += int(seen.sum())


class LongMovie:
    """300 particles in every frame; each lives for a while, grows, and is followed by another in its place."""

    def __init__(self, frames: int, life: int = 2000, number: int = 300, seed: int = 0):
        self.frames, self.number = frames, number
        rng = np.random.default_rng(seed)
        # frames in which the particle of each place is replaced, in order of frame
        rounds = 3 * frames // life + 3
        ends = np.cumsum(rng.exponential(life, (number, rounds)).astype(np.int64) + 1, axis=1)
        place, _ = np.nonzero(ends < frames)
        at = ends[ends < frames]
        order = np.argsort(at, kind="stable")
        self.at, self.place = at[order], place[order]
        self.y, self.x = rng.uniform(0, BORDER[0], number), rng.uniform(0, BORDER[1], number)
        self.rng = rng

    def rows(self, chunk: int = 200) -> Iterator[Columns]:
        """Yield the rows of `chunk` frames at a time."""
        current = np.arange(self.number)
        fresh = self.number
        done = 0
        base = self.rng.lognormal(np.log(20), 0.3, self.number)
        for start in range(0, self.frames, chunk):
            parts = []
            for frame in range(start, min(start + chunk, self.frames)):
                while done < len(self.at) and self.at[done] == frame:
                    current[self.place[done]] = fresh
                    base[self.place[done]] = self.rng.lognormal(np.log(20), 0.3)
                    fresh, done = fresh + 1, done + 1
                r = base * (1 + 7 * frame / self.frames) ** (1 / 3) * (1 + 0.01 * self.rng.normal(size=self.number))
                jitter = self.rng.normal(0, 0.2, (2, self.number))
                parts.append(discs(frame, current, r, (self.y + jitter[0], self.x + jitter[1]), BORDER))
            yield {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def tables(self) -> dict[str, Columns]:
        """Return frames, events (a dissolution and an appearance at every replacement) and tracks."""
        n = len(self.at)
        total = self.number + n
        first, last = np.zeros(total, np.int64), np.full(total, self.frames - 1)
        current = np.arange(self.number)
        before = np.empty(n, np.int64)
        for i, (at, place) in enumerate(zip(self.at.tolist(), self.place.tolist(), strict=True)):
            before[i] = current[place]
            last[before[i]], first[self.number + i] = at - 1, at
            current[place] = self.number + i
        both = np.repeat(self.at, 2)
        ids = np.column_stack([before, self.number + np.arange(n)]).ravel().tolist()
        gone = np.tile([True, False], n)
        return {
            "frames": {"frame": np.arange(self.frames), "status": ["ok"] * self.frames},
            "events": {
                "event": np.arange(2 * n),
                "frame": both,
                "decided_frame": both,
                "kind": ["dissolution", "appearance"] * n,
                "y": np.repeat(self.y[self.place], 2),
                "x": np.repeat(self.x[self.place], 2),
                "parents": [[p] if g else [] for p, g in zip(ids, gone, strict=True)],
                "children": [[] if g else [p] for p, g in zip(ids, gone, strict=True)],
            },
            "tracks": {
                "particle": np.arange(total),
                "first_frame": first,
                "last_frame": last,
                "length": last - first + 1,
                "origin": ["start" if f == 0 else "appearance" for f in first.tolist()],
                "fate": ["end" if end == self.frames - 1 else "dissolution" for end in last.tolist()],
                "equivalent_diameter_px_first": np.full(total, 40.0),
            },
        }
