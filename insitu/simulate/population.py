"""Particles on the support and their outlines, in nm: one disc each, or two while a pair becomes round."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import cos, pi, sin
from typing import TYPE_CHECKING

import numpy as np

from insitu.simulate.geometry import pair_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """The particles of one moment; float64 arrays of shape (N,) unless noted.

    Attributes
    ----------
    particle : int64
        Identity, from 1.
    y, x : nm
        Centre of volume.
    radius : nm
        Radius once round; volume is proportional to its cube.
    merged_frame : int64
        First frame of contact of a pair that is still becoming round, −1 for a round particle.
    share : float
        Share of the volume in the first of the two spheres of a pair.
    angle : rad
        Direction from the second to the first, from x towards y.
    separation : float
        Distance of the two centres at first contact, in units of `radius`.
    """

    particle: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    radius: NDArray[np.float64]
    merged_frame: NDArray[np.int64]
    share: NDArray[np.float64]
    angle: NDArray[np.float64]
    separation: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.particle)

    def take(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Population:
        """Return the chosen particles."""
        return Population(*(getattr(self, f.name)[keep] for f in fields(self)))

    def join(self, other: Population) -> Population:
        """Return both together."""
        return Population(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Discs:
    """What the outlines consist of: one disc for a round particle, two for a pair; `owner` = row in the population."""

    owner: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    radius: NDArray[np.float64]


def round_particles(
    particle: NDArray[np.int64], y: NDArray[np.float64], x: NDArray[np.float64], radius: NDArray[np.float64]
) -> Population:
    """Return a population of round particles."""
    zero = np.zeros(len(particle))
    return Population(particle, y, x, radius, np.full(len(particle), -1, np.int64), zero, zero, zero)


def discs(population: Population, frame: int, relax_frames: int) -> Discs:
    """Return the discs that make up the outlines at `frame`.

    A pair keeps its centre of volume and its volume: two spheres whose centres approach (fast at first) while both grow
    such that their union keeps the volume. This is a path from contact to sphere, not a model of sintering.
    """
    pairs = np.flatnonzero(population.merged_frame >= 0)
    if not len(pairs):
        return Discs(np.arange(len(population)), population.y, population.x, population.radius)
    single = np.flatnonzero(population.merged_frame < 0)
    owner, y, x, radius = [single], [population.y[single]], [population.x[single]], [population.radius[single]]
    for row in pairs:
        a, b, distance = pair_geometry(population, int(row), frame, relax_frames)
        share, angle = float(population.share[row]), float(population.angle[row])
        along = np.array([(1.0 - share) * distance, -share * distance])
        owner.append(np.array([row, row]))
        y.append(population.y[row] + along * sin(angle))
        x.append(population.x[row] + along * cos(angle))
        radius.append(np.array([a, b]))
    return Discs(np.concatenate(owner), np.concatenate(y), np.concatenate(x), np.concatenate(radius))


def pair_geometry(population: Population, row: int, frame: int, relax_frames: int) -> tuple[float, float, float]:
    """Return both radii and the distance of the centres, in nm, of a pair that is becoming round."""
    size, share = float(population.radius[row]), float(population.share[row])
    progress = min(1.0, max(0.0, (frame - int(population.merged_frame[row])) / max(relax_frames, 1)))
    distance = float(population.separation[row]) * (1.0 - progress) ** 2
    a, b = share ** (1.0 / 3.0), (1.0 - share) ** (1.0 / 3.0)
    scale = pair_scale(a, b, distance)
    return size * scale * a, size * scale * b, size * distance


def contacts(outlines: Discs) -> list[tuple[int, int]]:
    """Return pairs of rows of the population whose outlines overlap, each once, the lower row first."""
    y, x, radius, owner = outlines.y, outlines.x, outlines.radius, outlines.owner
    if len(y) < 2:
        return []
    if len(y) <= 300:
        reach = radius[:, None] + radius[None, :]
        near = (y[:, None] - y[None, :]) ** 2 + (x[:, None] - x[None, :]) ** 2 < reach * reach
        first, second = np.nonzero(np.triu(near, 1))
    else:
        from scipy.spatial import cKDTree

        pairs = cKDTree(np.column_stack([y, x])).query_pairs(2.0 * float(radius.max()), output_type="ndarray")
        first, second = pairs[:, 0], pairs[:, 1]
        touching = np.hypot(y[first] - y[second], x[first] - x[second]) < radius[first] + radius[second]
        first, second = first[touching], second[touching]
    rows = {
        (min(a, b), max(a, b)) for a, b in zip(owner[first].tolist(), owner[second].tolist(), strict=True) if a != b
    }
    return sorted(rows)


def volume(population: Population) -> float:
    """Return the total volume in nm³ as spheres; with another contact angle all volumes share one factor."""
    return float(4.0 / 3.0 * pi * np.sum(population.radius**3))
