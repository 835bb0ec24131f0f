"""Make other images of the same particles: polarity, scale, rotation, stretch, gamma, blur, noise, digitisation.

Networks that have seen one noise and one magnification fail on the next microscope; the literature names the variety
of training images as the lever (Groschner et al., doi:10.1017/S1431927621000386; Sytwu et al.,
doi:10.1017/S1431927622012466). Every image is changed as a whole and then goes through `prepare` and `condition` like
a frame in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, log, pi, sin
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How widely images are varied; lengths in px, ranges are drawn evenly in the logarithm.

    Attributes
    ----------
    invert : float
        Share of images with particles and support exchanged in brightness.
    diameter_px : tuple of float
        Range of the typical diameter after scaling; a share `native` keeps its scale within 15 %.
    most_scale, least_scale : float
        Limits of the scale.
    noise : float
        Share of images to which noise is added, of a contrast-to-noise ratio `contrast_to_noise` and correlated over
        `grain_px`.
    """

    invert: float = 0.5
    diameter_px: tuple[float, float] = (8.0, 200.0)
    native: float = 0.35
    least_scale: float = 0.1
    most_scale: float = 1.4
    stretch: float = 0.15
    gamma: tuple[float, float] = (0.6, 1.7)
    blur: float = 0.35
    blur_px: tuple[float, float] = (0.4, 1.6)
    noise: float = 0.5
    contrast_to_noise: tuple[float, float] = (1.2, 15.0)
    grain_px: tuple[float, float] = (0.3, 2.2)


LIGHT = Augmentation(
    invert=0.0,
    native=0.6,
    diameter_px=(6.0, 150.0),
    least_scale=0.5,
    gamma=(0.8, 1.25),
    blur=0.2,
    noise=0.3,
    contrast_to_noise=(1.5, 15.0),
)
"""For one microscope: its polarity, near its magnification and noise."""


def varied(
    rng: np.random.Generator,
    image: NDArray[Any],
    labels: NDArray[np.int32],
    unknown: NDArray[np.bool_],
    how: Augmentation,
) -> tuple[NDArray[np.uint16], NDArray[np.int32], NDArray[np.bool_]]:
    """Return another image of the same particles with its labels and unknown pixels.

    Parameters
    ----------
    rng : numpy Generator
    image, labels, unknown : arrays of shape (H, W)
    how : Augmentation

    Returns
    -------
    image : uint16 (h, w)
    labels : int32 (h, w)
    unknown : bool (h, w)
    """
    grey, labels, unknown = _moved(rng, image, labels, unknown, how)
    low, high = np.percentile(grey, [0.1, 99.9])
    grey = np.clip((grey - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    if rng.random() < how.invert:
        grey = 1.0 - grey
    grey = grey ** np.float32(_log_uniform(rng, *how.gamma))
    if rng.random() < how.blur:
        grey = _smooth(grey, _log_uniform(rng, *how.blur_px))
    if rng.random() < how.noise:
        grey = grey + _noise(rng, grey, labels, how)
    return _digitised(rng, grey), labels, unknown


def _moved(
    rng: np.random.Generator,
    image: NDArray[Any],
    labels: NDArray[np.int32],
    unknown: NDArray[np.bool_],
    how: Augmentation,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]:
    """Scale, turn, stretch and mirror; what comes in from outside is the mirror image of what is inside."""
    from scipy import ndimage

    scale = _scale(rng, labels, how)
    angle = rng.uniform(0.0, 2.0 * pi) if rng.random() < 0.5 else 0.5 * pi * rng.integers(4)
    stretch = exp(rng.uniform(-how.stretch, how.stretch))
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    axis = rng.uniform(0.0, pi)
    frame = np.array([[cos(axis), -sin(axis)], [sin(axis), cos(axis)]])
    matrix = turn @ frame @ np.diag([stretch, 1.0 / stretch]) @ frame.T / scale
    if rng.random() < 0.5:
        matrix[:, 1] *= -1.0
    grey = image.astype(np.float32)
    if scale < 0.9:
        grey = _smooth(grey, 0.45 / scale)
    shape = tuple(max(48, round(n * scale)) for n in image.shape)
    centre_in, centre_out = (np.array(image.shape) - 1) / 2, (np.array(shape) - 1) / 2
    offset = centre_in - matrix @ centre_out

    def warp(a: NDArray[Any], order: Literal[0, 1]) -> NDArray[Any]:
        return np.asarray(
            ndimage.affine_transform(
                a, matrix, offset.tolist(), shape, order=order, mode="mirror", prefilter=False, output=a.dtype
            )
        )

    return warp(grey, 1), warp(labels, 0), warp(unknown.astype(np.uint8), 0) > 0


def _scale(rng: np.random.Generator, labels: NDArray[np.int32], how: Augmentation) -> float:
    if rng.random() < how.native:
        return exp(rng.uniform(-0.14, 0.14))
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    typical = 2.0 * float(np.sqrt(np.median(areas) / pi)) if areas.size else 30.0
    return float(np.clip(_log_uniform(rng, *how.diameter_px) / typical, how.least_scale, how.most_scale))


def _noise(
    rng: np.random.Generator, grey: NDArray[np.float32], labels: NDArray[np.int32], how: Augmentation
) -> NDArray[np.float32]:
    """Return noise whose size follows from the contrast, half of the time growing with the brightness as shot noise."""
    inside = labels > 0
    contrast = abs(float(grey[inside].mean()) - float(grey[~inside].mean())) if 0 < inside.mean() < 1 else 0.3
    grain = _log_uniform(rng, *how.grain_px)
    field = rng.standard_normal(grey.shape, np.float32)
    if grain > 0.4:
        field = _smooth(field, grain)
        field /= field.std()
    size: Any = np.float32(max(contrast, 0.05) / _log_uniform(rng, *how.contrast_to_noise))
    if rng.random() < 0.5:
        size = np.asarray(size * np.sqrt(0.2 + grey) / np.sqrt(0.2 + grey.mean()), np.float32)
    return np.asarray(field * size, np.float32)


def _digitised(rng: np.random.Generator, grey: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Spread over 8 bits or more; what lies outside the camera's range is cut off."""
    top = float(rng.choice([220.0, 220.0, 4000.0]))
    levels = np.clip(np.rint((grey + np.float32(0.08)) * np.float32(top / 1.2)), 0, 65535)
    return np.asarray(levels, np.uint16)


def _smooth(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(image, sigma_px, truncate=3.0), np.float32)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))
