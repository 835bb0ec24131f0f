"""The specimen: discs on a support that ripen, migrate, touch and become one, nucleate and dissolve.

All lengths in nm, times in s; the origin is the centre of pixel (0, 0) before any stage drift. One step is one frame.
A step depends on the state before it, the seed and the frame number alone, so that the world can go on from any saved
state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, hypot, sqrt
from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import CommandError
from insitu.simulate.population import Population, contacts, discs, round_particles
from insitu.simulate.ripening import Ripening, ripen, self_similar_radii

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.simulate.settings import SimulationSettings

PLACING, STEPPING, STAGE, IMAGING, CRYSTAL = range(5)
"""Independent streams of random numbers, so that no part of the simulation disturbs another."""


@dataclass(frozen=True, slots=True)
class World:
    """State after `frame`: the population, the next identity, and what happened in the step that led here.

    `merged` holds (parent, parent, child) in order; `born` the particles that nucleated.
    """

    frame: int
    population: Population
    next_particle: int
    merged: tuple[tuple[int, int, int], ...] = ()
    born: tuple[int, ...] = ()


def box_nm(s: SimulationSettings) -> tuple[float, float, float, float]:
    """Return the populated support (y0, x0, y1, x1) in nm: the frame, and as much round it as drift needs."""
    margin = s.margin_nm
    if margin is None:
        duration = s.frames / s.fps
        jumps = s.drift_jump_nm * sqrt(s.frames / s.drift_jump_every) if s.drift_jump_every else 0.0
        margin = 1.5 * s.mean_diameter_nm + max(abs(v) for v in s.drift_nm_per_s) * duration + 2.0 * jumps
    height, width = ((n - 0.5) * s.nm_per_px for n in s.shape)
    return -0.5 * s.nm_per_px - margin, -0.5 * s.nm_per_px - margin, height + margin, width + margin


def initial_radii(rng: np.random.Generator, s: SimulationSettings, count: int) -> NDArray[np.float64]:
    """Draw the radii in nm that the movie starts with."""
    mean = 0.5 * s.mean_diameter_nm
    if s.distribution == "self-similar":
        radii = self_similar_radii(rng, count, s.ripening_exponent)
        radii *= mean / max(float(radii.mean()), 1e-9) if count else 1.0
    else:
        sigma = sqrt(np.log1p(s.spread**2))
        radii = mean * np.exp(sigma * rng.standard_normal(count) - 0.5 * sigma**2)
    return np.maximum(radii, 0.55 * s.dissolution_diameter_nm)


def initial_world(s: SimulationSettings) -> World:
    """Place the particles at random, the largest first, none nearer to another than `gap_nm`."""
    rng = np.random.default_rng([s.seed, PLACING])
    y0, x0, y1, x1 = box_nm(s)
    frame_area = s.shape[0] * s.shape[1] * s.nm_per_px**2
    count = round(s.particles * (y1 - y0) * (x1 - x0) / frame_area)
    radii = np.sort(initial_radii(rng, s, count))[::-1]
    y, x = np.empty(count), np.empty(count)
    for i, radius in enumerate(radii):
        for _ in range(50):
            spots = rng.uniform((y0, x0), (y1, x1), (32, 2))
            gap = np.hypot(spots[:, :1] - y[:i], spots[:, 1:] - x[:i]) - radii[:i] - radius
            free = np.flatnonzero((gap > s.gap_nm).all(axis=1))
            if len(free):
                y[i], x[i] = spots[free[0]]
                break
        else:
            raise CommandError(
                f"no room for {s.particles} particles of {s.mean_diameter_nm} nm in the frame",
                "lower particles, mean_diameter_nm or gap_nm",
            )
    order = rng.permutation(count)
    numbers = np.arange(1, count + 1, dtype=np.int64)
    return World(0, round_particles(numbers, y[order], x[order], radii[order]), count + 1)


def advance(world: World, s: SimulationSettings) -> World:
    """Return the world one frame later."""
    frame = world.frame + 1
    rng = np.random.default_rng([s.seed, STEPPING, frame])
    law = Ripening(
        s.ripening_exponent,
        s.ripening_rate,
        s.deposition_nm_per_s - s.evaporation_nm_per_s,
        0.5 * s.dissolution_diameter_nm,
    )
    population = _rounded(world.population, frame, s.relax_frames)
    if len(population) and (law.rate or law.flux_nm_per_s):
        grown = ripen(population.radius, s.s_per_frame, law)
        population = replace(population, radius=grown).take(grown > 0.0)
    state = World(frame, population, world.next_particle)
    state = _nucleate(rng, state, s)
    moves = _substeps(population, s)
    for _ in range(moves):
        state = replace(state, population=_migrate(rng, state.population, s, s.s_per_frame / moves))
        state = _coalesce(state, s)
    return state


def _rounded(population: Population, frame: int, relax_frames: int) -> Population:
    """Forget the two halves of pairs whose time is over."""
    over = (population.merged_frame >= 0) & (frame >= population.merged_frame + relax_frames)
    return replace(population, merged_frame=np.where(over, -1, population.merged_frame))


def diffusion(population: Population, s: SimulationSettings) -> NDArray[np.float64]:
    """Return the diffusion constant of each particle in nm²/s, D ∝ r^−m."""
    return np.asarray(s.diffusion_nm2_per_s * (0.5 * s.mean_diameter_nm / population.radius) ** s.diffusion_exponent)


def _substeps(population: Population, s: SimulationSettings) -> int:
    """Return into how many moves a frame is divided, so that none is longer than a quarter of a particle's radius."""
    if not s.diffusion_nm2_per_s or not len(population):
        return 1
    stride = np.sqrt(4.0 * diffusion(population, s) * s.s_per_frame) / (0.25 * population.radius)
    return int(np.clip(ceil(float(np.percentile(stride, 90)) ** 2), 1, 32))


def _migrate(rng: np.random.Generator, population: Population, s: SimulationSettings, duration_s: float) -> Population:
    """Move every particle by a Brownian step; the border of the populated support reflects."""
    if not s.diffusion_nm2_per_s:
        return population
    stride = np.sqrt(2.0 * diffusion(population, s) * duration_s)
    y0, x0, y1, x1 = box_nm(s)
    y = population.y + stride * rng.standard_normal(len(population))
    x = population.x + stride * rng.standard_normal(len(population))
    return replace(population, y=_reflected(y, y0, y1), x=_reflected(x, x0, x1))


def _reflected(at: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    inside = np.where(at < low, 2.0 * low - at, at)
    return np.clip(np.where(inside > high, 2.0 * high - inside, inside), low, high)


def _coalesce(state: World, s: SimulationSettings) -> World:
    """Join particles in contact, one pair after another, until none touch."""
    while found := contacts(discs(state.population, state.frame, s.relax_frames)):
        state = _join(state, *found[0], s)
    return state


def _join(state: World, i: int, j: int, s: SimulationSettings) -> World:
    """Replace rows `i` and `j` by one particle of their volume at their centre of volume.

    The child has a new identity, unless one of the two is too small to be seen: then the other one just grew.
    """
    p = state.population
    if p.radius[i] < p.radius[j]:
        i, j = j, i
    cubes = p.radius[i] ** 3, p.radius[j] ** 3
    share = float(cubes[0] / (cubes[0] + cubes[1]))
    radius = float((cubes[0] + cubes[1]) ** (1.0 / 3.0))
    y, x = (share * float(v[i]) + (1.0 - share) * float(v[j]) for v in (p.y, p.x))
    # a pair that is touched again is taken as round; centres farther apart than both radii then move in
    distance = min(hypot(p.y[i] - p.y[j], p.x[i] - p.x[j]), float(p.radius[i] + p.radius[j]))
    seen = float(p.radius[j]) >= 0.5 * s.visible_diameter_px * s.nm_per_px
    number = state.next_particle if seen else int(p.particle[i])
    child = Population(
        np.array([number]),
        np.array([y]),
        np.array([x]),
        np.array([radius]),
        np.array([state.frame if s.relax_frames and seen else -1]),
        np.array([share]),
        np.array([np.arctan2(p.y[i] - p.y[j], p.x[i] - p.x[j])]),
        np.array([distance / radius]),
    )
    rest = np.ones(len(p), np.bool_)
    rest[[i, j]] = False
    event = ((int(p.particle[i]), int(p.particle[j]), number),) if seen else ()
    return replace(
        state,
        population=p.take(rest).join(child),
        next_particle=state.next_particle + seen,
        merged=state.merged + event,
    )


def _nucleate(rng: np.random.Generator, state: World, s: SimulationSettings) -> World:
    """Add nuclei at free places of the support."""
    if not s.nucleation_per_um2_s:
        return state
    y0, x0, y1, x1 = box_nm(s)
    count = rng.poisson(s.nucleation_per_um2_s * s.s_per_frame * (y1 - y0) * (x1 - x0) * 1e-6)
    y, x = rng.uniform(y0, y1, count), rng.uniform(x0, x1, count)
    radius = 0.5 * s.nucleus_diameter_nm
    p = state.population
    free = (np.hypot(y[:, None] - p.y, x[:, None] - p.x) > p.radius + 2.0 * radius).all(axis=1)
    y, x = y[free], x[free]
    numbers = np.arange(state.next_particle, state.next_particle + len(y), dtype=np.int64)
    born = round_particles(numbers, y, x, np.full(len(y), radius))
    return replace(
        state,
        population=p.join(born),
        next_particle=state.next_particle + len(y),
        born=tuple(numbers.tolist()),
    )
