"""Single images with exact masks under widely varied conditions, to train networks that generalise.

What varies: contrast, thickness profile, shape, size (3–150 px), crowding, dose, defocus, grain of the support,
uneven illumination, blur, camera, digitisation, and images without any particle. Networks trained on simulated
images transfer to real ones when the conditions are drawn widely (DaCosta et al., doi:10.1038/s41524-024-01336-0).
A particle that no observer could see against the noise is not drawn, so that the mask never asks for the
impossible.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, pi, sqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.simulate.conditions import Conditions, Mode, draw_conditions
from insitu.simulate.crowd import populate
from insitu.simulate.detector import Detector, digitise, expose, hot_pixels, illumination
from insitu.simulate.lattice import drawn, modulation_of
from insitu.simulate.optics import (
    amplitude_image,
    dark_field_image,
    grain,
    padded_shape,
    padding_px,
    shifted,
    squared_frequency,
    transfer,
    wave_image,
)
from insitu.simulate.shapes import Shape, covers, patch, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MIN_SIGNAL_TO_NOISE = 5.0
"""A particle is drawn when its contrast, averaged over its area, exceeds the noise this many times (Rose criterion)."""


def random_scene(
    rng: np.random.Generator,
    shape: tuple[int, int] = (512, 512),
    *,
    mode: Mode | None = None,
    radius_px: tuple[float, float] = (3.0, 150.0),
    dose_e_per_px: tuple[float, float] = (3.0, 200.0),
    empty: float = 0.05,
    dtype: Literal["uint8", "uint16"] | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return one image and its exact mask under conditions drawn at random.

    Parameters
    ----------
    rng : numpy Generator
        Source of all randomness: the same state gives the same scene.
    shape : tuple of int
        Height and width in px.
    mode : {"bright-field", "dark-field"}, optional
        Three of four scenes are bright field when absent.
    radius_px, dose_e_per_px : tuple of float
        Ranges, drawn evenly in the logarithm.
    empty : float
        Share of scenes without particles.
    dtype : {"uint8", "uint16"}, optional
        Drawn when absent.

    Returns
    -------
    image : uint8 or uint16 array of shape (H, W)
    mask : bool array of shape (H, W)
        True where a pixel centre lies inside the outline of a particle.
    """
    conditions = draw_conditions(
        rng, shape, mode=mode, radius_px=radius_px, dose_e_per_px=dose_e_per_px, empty=empty, dtype=dtype
    )
    return scene_under(rng, conditions, radius_px)


def scene_under(
    rng: np.random.Generator, conditions: Conditions, radius_px: tuple[float, float]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return one image and its exact mask under given conditions; particles are placed and shaped at random.

    Parameters
    ----------
    rng : numpy Generator
    conditions : Conditions
    radius_px : tuple of float
        Smallest and largest radius.

    Returns
    -------
    image, mask
        As `random_scene`.
    """
    shapes = visible(populate(rng, conditions, radius_px), conditions)
    return render(rng, conditions, shapes), mask_of(shapes, conditions.shape)


def absorption_per_px(c: Conditions) -> float:
    """Return t/L per px of thickness, such that a sphere of `radius_px` has the stated contrast at its centre."""
    return -log(1.0 - c.contrast) / (2.0 * c.radius_px)


def visible(shapes: Sequence[Shape], c: Conditions) -> list[Shape]:
    """Keep the particles whose mean contrast stands out of shot noise and grain (`MIN_SIGNAL_TO_NOISE`)."""
    grain_px = max(c.support_px, 1.0)
    kept = []
    for shape in shapes:
        thickness = shape.height * shape.radius * (4.0 / 3.0 if shape.profile == "cap" else 1.2)
        signal = 1.0 - exp(-absorption_per_px(c) * thickness)
        if c.lattice_nm is not None:  # rms of the fringes, which show the particle as its mean contrast does
            signal *= sqrt(1.0 + 0.5 * c.lattice**2)
        pixels = pi * shape.radius**2
        shot = c.background / (c.dose_e_per_px * pixels)
        # a patch as small as the particle looks like one; across a wide one the particle's rim still stands out
        patchy = c.background * c.patchy_rms * (1.0 if c.patchy_px < 6.0 * shape.radius else 0.5)
        texture = (c.background * c.support_rms * grain_px) ** 2 / pixels + patchy**2
        if signal > MIN_SIGNAL_TO_NOISE * sqrt(shot + texture):
            kept.append(shape)
    return kept


def mask_of(shapes: Sequence[Shape], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where a pixel centre lies inside the outline of any of `shapes`."""
    mask = np.zeros(size, np.bool_)
    for shape in shapes:
        where = window(shape, size)
        if where is not None:
            mask[where] |= covers(shape, where)
    return mask


def render(rng: np.random.Generator, c: Conditions, shapes: Sequence[Shape]) -> NDArray[Any]:
    """Return the image of `shapes` under the conditions `c`."""
    padding = padding_px(c.lens, c.nm_per_px) if c.lens else 8
    size = padded_shape(c.shape, padding)
    absorption = _absorption(rng, c, shapes, size, padding)
    slow = np.float32(c.patchy_rms) * shifted(grain(rng, size, c.patchy_px), size, (0.0, 0.0)) if c.patchy_rms else 0.0
    texture = np.float32(c.support_rms) * shifted(grain(rng, size, c.support_px), size, (0.0, 0.0)) + slow
    if c.mode == "dark-field":
        image = dark_field_image(absorption, np.asarray(c.background * (1.0 + texture), np.float32))
    elif c.lens is None:
        image = amplitude_image(absorption, texture)
    else:
        phase = shifted(grain(rng, size, max(0.35 / c.nm_per_px, 0.3)), size, (0.0, 0.0)) * np.float32(
            c.support_phase_rad
        )
        lens = transfer(c.lens, size, c.nm_per_px)
        image = wave_image(absorption - texture, phase + np.float32(c.phase_ratio) * absorption, lens)
    if c.blur_px:
        image = _blurred(image, c.blur_px)
    inner = image[padding : padding + c.shape[0], padding : padding + c.shape[1]]
    beam = illumination(c.shape, c.gradient, c.gradient_angle, c.curvature)
    dose = c.dose_e_per_px
    counts = expose(rng, inner * beam * np.float32(dose), _level(c), hot=hot_pixels(rng, c.shape, c.detector))
    return _stretched(rng, counts) if c.stretch else counts


def _absorption(
    rng: np.random.Generator, c: Conditions, shapes: Sequence[Shape], size: tuple[int, int], padding: int
) -> NDArray[np.float32]:
    """Return t/L of all particles; where two overlap in projection it adds up."""
    absorption = np.zeros(size, np.float32)
    scale = np.float32(absorption_per_px(c))
    for shape in shapes:
        moved = replace(shape, y=shape.y + padding, x=shape.x + padding)
        where = window(moved, size)
        if where is None:
            continue
        thickness = patch(moved, where) * scale
        if c.lattice and c.lattice_nm is not None:
            planes = drawn(rng, c.lattice_nm / c.nm_per_px, c.lattice)
            thickness *= modulation_of(planes, (moved.y, moved.x), where)
        elif c.lattice and rng.random() < 0.5:
            period, angle, phase = rng.uniform(2.2, 7.0), rng.uniform(0.0, pi), rng.uniform(0.0, 2.0 * pi)
            y, x = np.ogrid[where]
            fringes = np.cos(2.0 * pi / period * (y * np.sin(angle) + x * np.cos(angle)) + phase)
            thickness = thickness * (1.0 + np.float32(c.lattice) * fringes.astype(np.float32))
        absorption[where] += thickness
    return absorption


def _level(c: Conditions) -> Detector:
    """Adapt the gain of a dark-field detector to its weak signal."""
    if c.mode == "bright-field":
        return c.detector
    # the detector was drawn for the bright-field dose; dark field has ten times that, of which `contrast` arrives
    return replace(c.detector, gain=c.detector.gain / 10.0 / max(c.contrast + c.background, 0.02))


def _blurred(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    from scipy import fft

    spread = np.exp(-2.0 * (pi * sigma_px) ** 2 * squared_frequency(image.shape, half=True)).astype(np.float32)
    return np.asarray(fft.irfft2(fft.rfft2(image) * spread, image.shape), np.float32)


def _stretched(rng: np.random.Generator, counts: NDArray[Any]) -> NDArray[Any]:
    """Stretch the contrast between two percentiles to the full range, as viewers do on export."""
    low, high = np.percentile(counts, [rng.uniform(0.0, 1.0), rng.uniform(99.0, 100.0)])
    top = float(np.iinfo(counts.dtype).max)
    return digitise((counts.astype(np.float32) - low) * (top / max(high - low, 1.0)), counts.dtype)
