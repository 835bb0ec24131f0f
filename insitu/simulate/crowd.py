"""Random particles in a frame: sizes, places, contacts, shapes."""

from __future__ import annotations

from dataclasses import replace
from math import exp, pi
from typing import TYPE_CHECKING

import numpy as np

from insitu.simulate.conditions import Conditions, log_uniform
from insitu.simulate.shapes import Profile, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


def populate(rng: np.random.Generator, c: Conditions, radius_px: tuple[float, float]) -> list[Shape]:
    """Place particles: most apart, a share `touching` in contact or overlapping, some cut by the border."""
    if c.coverage == 0.0:
        return []
    area = c.shape[0] * c.shape[1]
    mean_area = pi * c.radius_px**2 * exp(2.0 * c.size_spread**2)
    count = int(np.clip(round(c.coverage * area / mean_area), 1, 500))
    radii = c.radius_px * np.exp(c.size_spread * rng.standard_normal(count))
    if rng.random() < 0.12:
        radii[: rng.integers(1, 3)] = log_uniform(rng, 50.0, 150.0)
    radii = np.sort(np.clip(radii, *radius_px))[::-1]
    template = _draw_template(rng, c)
    placed = np.empty((0, 3))
    for radius in radii:
        spot = _spot(rng, c, placed, float(radius))
        if spot is not None:
            placed = np.vstack([placed, [*spot, radius]])
    return [_draw_shape(rng, c, template, row) for row in placed]


def _spot(
    rng: np.random.Generator, c: Conditions, placed: NDArray[np.float64], radius: float
) -> tuple[float, float] | None:
    """Find a free place for a particle of `radius`, or one in contact with another; None when there is no room."""
    low, high = -0.7 * radius, 0.7 * radius
    if len(placed) and rng.random() < c.touching:
        y, x, other = placed[rng.integers(len(placed))]
        reach, angle = (other + radius) * rng.uniform(0.7, 1.02), rng.uniform(0.0, 2.0 * pi)
        return float(y + reach * np.sin(angle)), float(x + reach * np.cos(angle))
    tries = rng.uniform([low, low], [c.shape[0] + high, c.shape[1] + high], (24, 2))
    if not len(placed):
        return float(tries[0, 0]), float(tries[0, 1])
    gaps = (
        np.hypot(tries[:, :1] - placed[:, 0], tries[:, 1:] - placed[:, 1]) - placed[:, 2] * 1.15 - radius * 1.15 - 2.0
    )
    free = np.flatnonzero((gaps > 0.0).all(axis=1))
    return (float(tries[free[0], 0]), float(tries[free[0], 1])) if len(free) else None


def _draw_template(rng: np.random.Generator, c: Conditions) -> Shape:
    """Draw what the particles of one scene have in common."""
    profiles: tuple[Profile, ...] = ("cap", "cap", "cap", "plate", "prism")
    kind = profiles[rng.integers(len(profiles))] if c.irregular else "cap"
    rods = c.irregular > 0.0 and rng.random() < 0.2
    return Shape(
        0.0,
        0.0,
        1.0,
        aspect=rng.uniform(1.5, 4.0) if rods else 1.0,
        corners=int(rng.choice([0, 0, 3, 4, 6, 8])) if c.irregular else 0,
        faceting=rng.uniform(0.3, 1.0),
        profile=kind,
        contact_deg=rng.uniform(70.0, 180.0),
        height=rng.uniform(0.5, 1.0) if kind == "cap" else rng.uniform(0.3, 0.8),
    )


def _draw_shape(rng: np.random.Generator, c: Conditions, template: Shape, row: NDArray[np.float64]) -> Shape:
    y, x, radius = (float(v) for v in row)
    aspect = template.aspect * exp(rng.normal(0.0, 0.08 + 0.12 * c.irregular))
    waves = tuple(
        (order, c.irregular * rng.normal(0.0, 0.16 / order), rng.uniform(0.0, 2.0 * pi)) for order in (2, 3, 4, 5)
    )
    return replace(
        template,
        y=y,
        x=x,
        radius=radius,
        aspect=aspect,
        angle_rad=rng.uniform(0.0, pi),
        waves=waves if c.irregular else (),
        # diffraction makes crystals of equal thickness differ in darkness; very large ones are mostly flatter
        height=template.height * exp(rng.normal(0.0, c.contrast_spread)) * min(1.0, (60.0 / radius) ** 0.5),
    )
