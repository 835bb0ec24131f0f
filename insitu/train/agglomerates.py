"""Small bright or dark particles on a rough support: images of supported catalysts with their exact masks.

`insitu.simulate.random_scene` draws flat films. The supports of catalysts are heaps of grains, up to a hundred times as
large as the particles and often as bright as the fainter ones: thickness adds up over overlapping grains, and only
what is small and dense is a particle. Intensity follows thickness, with shot noise and blur.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VISIBLE = 5.0  # least signal of a particle over the noise of its area (Rose criterion)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What particles are added to; intensities relative to the centre of a single grain."""

    labels: NDArray[np.int32]
    mass: NDArray[np.float32]
    thickness: NDArray[np.float32] | None
    radius: float
    strength: float
    dose: float


def agglomerate_scene(
    rng: np.random.Generator, side: int, *, radius_px: tuple[float, float] = (2.5, 24.0)
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Draw one scene.

    Parameters
    ----------
    rng : numpy Generator
    side : int
        Height and width in px.
    radius_px : tuple of float
        Range of the scene's typical particle radius.

    Returns
    -------
    image : uint16 (side, side)
        Particles bright, or dark in a quarter of the scenes.
    labels : int32 (side, side)
        A number for each particle.
    """
    radius = _log_uniform(rng, *radius_px)
    thickness = _support(rng, side, radius)
    strength = _log_uniform(rng, 0.4, 4.0)
    labels, mass = np.zeros((side, side), np.int32), np.zeros((side, side), np.float32)
    dose = _log_uniform(rng, 4.0, 400.0)
    count = (
        int(np.clip(_log_uniform(rng, 0.003, 0.12) * side**2 / (pi * radius**2), 1, 150)) if rng.random() > 0.1 else 0
    )
    on_support = rng.random() < 0.85
    scene = _Scene(labels, mass, thickness if on_support else None, radius, strength, dose)
    for number in range(1, count + 1):
        _place(rng, scene, number)
    blur = _log_uniform(rng, 0.3, 1.8)
    image = _smooth(thickness + mass, blur)
    texture = _smooth(rng.standard_normal((side, side), np.float32), _log_uniform(rng, 0.8, 3.0))
    image = image * (1.0 + np.float32(_log_uniform(rng, 0.005, 0.05)) * texture / texture.std())
    noisy = image * dose + np.sqrt(np.maximum(image * dose, 0.05)) * rng.standard_normal(image.shape, np.float32)
    low, high = np.percentile(noisy, [0.05, rng.uniform(99.0, 99.95)])
    grey = np.clip((noisy - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    if rng.random() < 0.25:
        grey = 1.0 - grey
    grey = grey ** np.float32(exp(rng.uniform(-0.5, 0.4)))
    return np.rint(grey * rng.choice([255.0, 4000.0])).astype(np.uint16), labels


def _support(rng: np.random.Generator, side: int, radius: float) -> NDArray[np.float32]:
    """Return the thickness of a heap of grains (each 1 at its centre) and of a film below, with roughness."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    thickness = np.full((side, side), _log_uniform(rng, 0.02, 0.4), np.float32)
    centre = rng.uniform(0.0, side, 2)
    spread = rng.uniform(0.2, 1.0) * side
    grain = _log_uniform(rng, 2.0, 14.0) * radius
    plate = rng.random() < 0.3
    for _ in range(int(rng.integers(0, 3 + min(40, int(2.5 * side**2 / (pi * grain**2)))))):
        r = grain * exp(rng.normal(0.0, 0.3))
        cy, cx = centre + spread * rng.standard_normal(2)
        ratio = exp(rng.normal(0.0, 0.2))
        distance = ((y - cy) * ratio / r) ** 2 + ((x - cx) / ratio / r) ** 2
        height = (
            np.minimum(1.0, 6.0 * np.clip(1.0 - distance, 0.0, None)) * 0.5
            if plate
            else np.sqrt(np.clip(1.0 - distance, 0.0, None))
        )
        thickness += height.astype(np.float32)
    rough = sum(
        np.float32(rng.uniform(0.0, 0.25)) * _unit(_smooth(rng.standard_normal((side, side), np.float32), width))
        for width in (_log_uniform(rng, 1.5, 5.0), _log_uniform(rng, 5.0, 30.0))
    )
    return np.asarray(thickness * np.clip(1.0 + rough, 0.1, None), np.float32)


def _place(rng: np.random.Generator, scene: _Scene, number: int) -> None:
    """Add one particle where there is room, on the support where that is asked for; leave out what cannot be seen."""
    labels, mass, thickness = scene.labels, scene.mass, scene.thickness
    side = len(labels)
    r = float(np.clip(scene.radius * exp(rng.normal(0.0, 0.35)), 1.8, 60.0))
    for _ in range(6):
        cy, cx = rng.uniform(0.0, side - 1, 2)
        if thickness is not None and thickness[int(cy), int(cx)] < 0.5 * float(thickness.mean()):
            continue
        a, b, turn = r * exp(rng.normal(0.0, 0.12)), r * exp(rng.normal(0.0, 0.12)), rng.uniform(0.0, pi)
        reach = int(max(a, b)) + 3
        rows, columns = (slice(max(0, int(c) - reach), int(c) + reach + 1) for c in (cy, cx))
        y, x = np.ogrid[rows.start : min(rows.stop, side), columns.start : min(columns.stop, side)]
        u = ((y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)) / a
        v = ((x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)) / b
        distance = u * u + v * v
        inside = distance <= 1.0
        if (labels[rows, columns] > 0)[(distance <= (1.0 + 1.5 / r) ** 2)].any() and rng.random() < 0.85:
            continue
        profile = 0.25 + 0.75 * np.sqrt(np.clip(1.0 - distance, 0.0, None))
        height = profile * scene.strength * min(1.5, (r / scene.radius) ** 0.7) * exp(rng.normal(0.0, 0.2))
        under = thickness[rows, columns][inside].mean() if thickness is not None and inside.any() else 0.3
        signal = float(height[inside].mean()) if inside.any() else 0.0
        noise = np.sqrt(under / scene.dose / max(int(inside.sum()), 1)) + 0.03 * under
        if signal >= _VISIBLE * noise:
            mass[rows, columns][inside] = np.maximum(mass[rows, columns][inside], height[inside])
            labels[rows, columns][inside] = number
        return


def _unit(field: NDArray[np.float32]) -> NDArray[np.float32]:
    return field / np.float32(field.std())


def _smooth(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(image, sigma_px, truncate=3.0), np.float32)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))
