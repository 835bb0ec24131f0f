"""Small bright or dark particles on a rough support: images of supported catalysts with their exact masks.

`insitu.simulate.random_scene` draws flat films. The supports of catalysts are heaps of grains or clouds of aggregated
carbon, many times as large as the particles, as bright as the fainter ones and often out of focus: thickness adds up
over overlapping grains, and only what is small and dense is a particle. Intensity follows thickness, with shot noise
and blur.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VISIBLE = 5.0  # least signal of a particle over the noise of its area (Rose criterion)
_MOST = 400  # particles of a scene


@dataclass(frozen=True, slots=True)
class Look:
    """What scenes are like; lengths in px or in typical particle radii, ranges drawn evenly in the logarithm.

    Attributes
    ----------
    radius_px : tuple of float
        The scene's typical particle radius.
    signal : tuple of float
        Thickness of a typical particle: over the support's mean, or with `by_visibility` over what can just be seen.
    distinct : float
        Least signal of a particle over the roughness of the support at its scale.
    dose : tuple of float
        Electrons a pixel at the mean thickness.
    blur, defocus : tuple of float
        Widths in px and in px a px of radius, beyond 0.3 px: of the image, and of the support, which reaches above and
        below the plane in focus.
    counted : bool
        Single electrons are seen (Poisson); a Gaussian stands for them otherwise.
    """

    radius_px: tuple[float, float]
    signal: tuple[float, float]
    by_visibility: bool
    distinct: float
    dose: tuple[float, float]
    blur: tuple[float, float]
    defocus: tuple[float, float]
    counted: bool = False


CLEAR = Look(
    radius_px=(2.2, 26.0),
    signal=(0.15, 3.0),
    by_visibility=False,
    distinct=2.5,
    dose=(3.0, 1500.0),
    blur=(1.0, 0.12),
    defocus=(1.0, 1.0),
)
"""Sharp particles, most of them far denser than the support."""
FAINT = Look(
    radius_px=(2.2, 20.0),
    signal=(1.2, 12.0),
    by_visibility=True,
    distinct=1.5,
    dose=(8.0, 2000.0),
    blur=(0.7, 0.4),
    defocus=(1.0, 2.0),
)
"""Particles as blurred as small ones are by a wide probe, down to what can just be told from the support."""
FEW_ELECTRONS = Look(
    radius_px=(6.0, 45.0),
    signal=(1.3, 10.0),
    by_visibility=True,
    distinct=2.5,
    dose=(0.2, 20.0),
    blur=(0.7, 0.3),
    defocus=(1.0, 2.0),
    counted=True,
)
"""Large particles on a fine raster: a few electrons a pixel, so that specks of noise must not be particles."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What particles are added to; thickness relative to the support's typical one."""

    labels: NDArray[np.int32]
    mass: NDArray[np.float32]
    thickness: NDArray[np.float32]
    rough: NDArray[np.float32]
    anywhere: bool
    radius: float
    spread: float
    strength: float
    dose: float
    distinct: float


def agglomerate_scene(
    rng: np.random.Generator, side: int, look: Look = CLEAR
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Draw one scene.

    Parameters
    ----------
    rng : numpy Generator
    side : int
        Height and width in px.
    look : Look

    Returns
    -------
    image : uint16 (side, side)
        Particles bright, or dark in a quarter of the scenes.
    labels : int32 (side, side)
        A number for each particle.
    """
    radius = _log_uniform(rng, *look.radius_px)
    thickness = _support(rng, side, radius, look)
    rough = _smooth(np.abs(thickness - _smooth(thickness, 1.5 * radius)), radius)
    anywhere, spread = rng.random() < 0.2, rng.uniform(0.1, 0.5)
    signal, dose = _log_uniform(rng, *look.signal), _log_uniform(rng, *look.dose)
    if look.by_visibility:
        least = _least_signal(thickness, rough, look.distinct, dose, pi * radius**2)
        signal = float(np.clip(signal * np.median(least), 0.05, 3.0))
    scene = _Scene(
        labels=np.zeros((side, side), np.int32),
        mass=np.zeros((side, side), np.float32),
        thickness=thickness,
        rough=rough,
        anywhere=anywhere,
        radius=radius,
        spread=spread,
        strength=signal,
        dose=dose,
        distinct=look.distinct,
    )
    covered = _log_uniform(rng, 0.01, 0.25) * side**2 / (pi * radius**2)
    for number in range(1, 1 + (int(np.clip(covered, 2, _MOST)) if rng.random() > 0.08 else 0)):
        _place(rng, scene, number)
    image = _taken(rng, thickness + scene.mass, dose, look.blur[0] + look.blur[1] * radius, counted=look.counted)
    return image, scene.labels


def _taken(
    rng: np.random.Generator, mass: NDArray[np.float32], dose: float, most_blur: float, *, counted: bool
) -> NDArray[np.uint16]:
    """Return the image of a thickness: blur, texture, shot noise, grain of a scaled picture, contrast, digitisation."""
    side = len(mass)
    image = _smooth(mass, _log_uniform(rng, 0.3, most_blur))
    texture = _smooth(rng.standard_normal((side, side), np.float32), _log_uniform(rng, 0.8, 3.0))
    image = image * (1.0 + np.float32(_log_uniform(rng, 0.002, 0.05)) * _unit(texture))
    if counted:
        noisy = rng.poisson(np.maximum(image * dose, 0.0)).astype(np.float32)
        noisy = _smooth(noisy, rng.uniform(0.4, 1.5)) if rng.random() < 0.5 else noisy
    else:
        noise = rng.standard_normal(image.shape, np.float32)
        if rng.random() < 0.4:
            noise = _unit(_smooth(noise, rng.uniform(0.4, 1.2)))
        noisy = image * dose + np.sqrt(np.maximum(image * dose, 0.05)) * noise
    low, high = np.percentile(noisy, [0.05, rng.uniform(99.0, 99.98)])
    grey = np.clip((noisy - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    if rng.random() < 0.25:
        grey = 1.0 - grey
    grey = grey ** np.float32(exp(rng.uniform(-0.5, 0.4)))
    return np.asarray(np.rint(grey * rng.choice([255.0, 4000.0])), np.uint16)


def _support(rng: np.random.Generator, side: int, radius: float, look: Look) -> NDArray[np.float32]:
    """Return the thickness of the support, about 1 on average where there is any: a heap, a cloud, or both."""
    thickness = np.full((side, side), _log_uniform(rng, 0.02, 0.3), np.float32)
    kind = rng.random()
    if kind < 0.75:
        thickness += _heap(rng, side, radius)
    if kind > 0.55:
        # grey values of a cloud are spread as the exponential of a field without a scale of its own
        cloud = np.exp(np.float32(rng.uniform(0.2, 0.7)) * _cloud(rng, side))
        thickness += np.float32(rng.uniform(0.3, 1.0)) * cloud
    rough = sum(
        np.float32(_log_uniform(rng, 0.003, most))
        * _unit(_smooth(rng.standard_normal((side, side), np.float32), width))
        for width, most in ((_log_uniform(rng, 1.5, 5.0), 0.06), (_log_uniform(rng, 5.0, 30.0), 0.15))
    )
    thickness = thickness * np.clip(1.0 + rough, 0.1, None)
    out_of_focus = _log_uniform(rng, 0.3, look.defocus[0] + look.defocus[1] * radius)
    return _smooth(np.asarray(thickness, np.float32), out_of_focus)


def _heap(rng: np.random.Generator, side: int, radius: float) -> NDArray[np.float32]:
    """Return overlapping grains, denser in some parts of the field than in others; mean 1."""
    heap = np.zeros((side, side), np.float32)
    # single grains as small as particles would be particles to anyone
    grain = float(np.clip(_log_uniform(rng, 2.5, 12.0) * radius, 8.0, 0.6 * side))
    layers = _log_uniform(rng, 1.5, 8.0)
    count = int(np.clip(layers * (side + 2 * grain) ** 2 / (pi * grain**2), 1, 500))
    dense = _cloud(rng, side, 3.5)
    bar = rng.uniform(-2.5, 0.3)  # grains lie where the field is above
    plate = rng.random() < 0.25
    for _ in range(count):
        r = grain * exp(rng.normal(0.0, 0.35))
        cy, cx = rng.uniform(-grain, side + grain, 2)
        at = (int(np.clip(c, 0, side - 1)) for c in (cy, cx))
        if dense[tuple(at)] < bar:
            continue
        ratio = exp(rng.normal(0.0, 0.2))
        rows, columns = _window(cy, cx, r * max(ratio, 1 / ratio), side)
        y, x = np.ogrid[rows, columns]
        distance = ((y - cy) * ratio / r) ** 2 + ((x - cx) / ratio / r) ** 2
        height = np.clip(1.0 - distance, 0.0, None)
        heap[rows, columns] += np.minimum(1.0, 6.0 * height) * 0.5 if plate else np.sqrt(height)
    mean = float(heap.mean())
    return heap / np.float32(mean) if mean > 0 else heap


def _cloud(rng: np.random.Generator, side: int, slope: float | None = None) -> NDArray[np.float32]:
    """Return a random field whose spectrum of power falls as frequency to `slope`; mean 0, spread 1."""
    slope = slope or rng.uniform(2.2, 3.6)
    fy, fx = np.fft.fftfreq(2 * side)[:, None], np.fft.rfftfreq(2 * side)[None]
    fall = np.maximum(np.hypot(fy, fx), 1.0 / (2 * side)) ** (-slope / 2)
    noise = np.fft.rfft2(rng.standard_normal((2 * side, 2 * side), np.float32))
    field = np.fft.irfft2(noise * fall, s=(2 * side, 2 * side))[:side, :side]
    return _unit(np.asarray(field - field.mean(), np.float32))


def _place(rng: np.random.Generator, scene: _Scene, number: int) -> None:
    """Add one particle where there is room, on the support where that is asked for; leave out what cannot be seen."""
    labels, mass, thickness = scene.labels, scene.mass, scene.thickness
    side = len(labels)
    large = 2.5 if rng.random() < 0.03 else 1.0
    r = float(np.clip(scene.radius * large * exp(rng.normal(0.0, scene.spread)), 1.8, 70.0))
    for _ in range(6):
        cy, cx = rng.uniform(0.0, side - 1, 2)
        if not scene.anywhere and thickness[int(cy), int(cx)] < 0.4 * float(thickness.mean()):
            continue
        rows, columns = _window(cy, cx, 1.6 * r + 3, side)
        distance = _outline(rng, (cy, cx), r, (rows, columns))
        inside = distance <= 1.0
        if not inside.any():
            return
        if (labels[rows, columns] > 0)[distance <= (1.0 + 1.5 / r) ** 2].any() and rng.random() < 0.85:
            continue
        profile = 0.25 + 0.75 * np.sqrt(np.clip(1.0 - distance, 0.0, None))
        size = float(np.clip((r / scene.radius) ** 0.8, 0.3, 2.0))
        height = profile * scene.strength * size * exp(rng.normal(0.0, 0.25))
        signal = float(height[inside].mean())
        under = float(thickness[rows, columns][inside].mean())
        if signal >= _least_signal(
            under, float(scene.rough[int(cy), int(cx)]), scene.distinct, scene.dose, float(inside.sum())
        ):
            mass[rows, columns][inside] = np.maximum(mass[rows, columns][inside], height[inside])
            labels[rows, columns][inside] = number
        return


def _least_signal(thickness: Any, rough: Any, distinct: float, dose: float, area: float) -> Any:  # noqa: ANN401 - float or array
    """Return the mean thickness from which a particle of an area can be seen: above noise, texture and roughness."""
    return np.maximum(_VISIBLE * (np.sqrt(thickness / dose / area) + 0.01 * thickness), distinct * rough)


def _outline(
    rng: np.random.Generator, centre: tuple[float, float], r: float, window: tuple[slice, slice]
) -> NDArray[np.float32]:
    """Return the squared distance from a centre in a window, 1 on the outline: a rounded, slightly uneven ellipse."""
    a, b, turn = r * exp(rng.normal(0.0, 0.12)), r * exp(rng.normal(0.0, 0.12)), rng.uniform(0.0, pi)
    y, x = np.ogrid[window]
    u = ((y - centre[0]) * np.cos(turn) + (x - centre[1]) * np.sin(turn)) / a
    v = ((x - centre[1]) * np.cos(turn) - (y - centre[0]) * np.sin(turn)) / b
    angle = np.arctan2(v, u)
    uneven = sum(rng.uniform(0.0, 0.06) * np.cos(waves * angle + rng.uniform(0.0, 2 * pi)) for waves in (3, 4, 6))
    return np.asarray((u * u + v * v) / (1.0 + uneven) ** 2, np.float32)


def _window(cy: float, cx: float, reach: float, side: int) -> tuple[slice, slice]:
    rows, columns = (
        slice(int(np.clip(c - reach, 0, side - 1)), int(np.clip(c + reach + 2, 1, side))) for c in (cy, cx)
    )
    return rows, columns


def _unit(field: NDArray[np.float32]) -> NDArray[np.float32]:
    return field / np.float32(field.std())


def _smooth(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(image, sigma_px, truncate=3.0), np.float32)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))
