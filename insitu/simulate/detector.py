"""The camera: electrons that arrive one by one, spread in the scintillator, amplified, digitised."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.simulate.optics import squared_frequency

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True, slots=True)
class Detector:
    """An integrating camera.

    Attributes
    ----------
    gain : float
        Counts per electron.
    offset : float
        Counts of an unexposed pixel.
    readout_counts : float
        Rms of the readout noise in counts.
    mtf_nyquist : float
        Modulation transfer at the Nyquist frequency, 0 < m ≤ 1; 1 = every electron stays in its pixel.
    hot_fraction : float
        Share of pixels that are hot.
    dtype : str
        ``"uint8"`` or ``"uint16"``; values are rounded and clipped to its range.
    """

    gain: float = 20.0
    offset: float = 100.0
    readout_counts: float = 2.0
    mtf_nyquist: float = 0.4
    hot_fraction: float = 0.0
    dtype: str = "uint16"


def modulation(mtf_nyquist: float, shape: tuple[int, int], *, half: bool = True) -> NDArray[np.float32]:
    """Return the modulation transfer function of a Gaussian spread with the given value at the Nyquist frequency."""
    return np.exp(log(mtf_nyquist) * squared_frequency(shape, half=half) / 0.25).astype(np.float32)


def electrons(rng: np.random.Generator, expected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw the number of electrons in each pixel (Poisson) for the `expected` number.

    Above 60 e⁻/px the normal approximation is used: its skewness (1/sqrt(60) = 0.13) is lost, mean and variance stay.
    """
    mean = np.maximum(expected, np.float32(0.0))
    if float(mean.mean()) > 60.0:
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        return np.maximum(np.rint(mean + np.sqrt(mean) * noise), np.float32(0.0))
    return rng.poisson(mean).astype(np.float32)


def expose(
    rng: np.random.Generator,
    expected: NDArray[np.float32],
    detector: Detector,
    spread: NDArray[np.float32] | None = None,
    hot: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the frame that the camera writes for the `expected` electrons per pixel.

    Electrons arrive independently and each spreads afterwards, so signal and noise both follow the MTF.

    Parameters
    ----------
    expected : float32 array of shape (H, W)
        Expected electrons per pixel.
    spread : float32 array, optional
        From `modulation` (half spectrum) for this shape; computed when absent.
    hot : float array of shape (H, W), optional
        Additional counts of hot pixels, from `hot_pixels`.

    Returns
    -------
    uint8 or uint16 array of shape (H, W)
    """
    counts = electrons(rng, expected)
    if detector.mtf_nyquist < 1.0:
        from scipy import fft

        spread = modulation(detector.mtf_nyquist, expected.shape) if spread is None else spread
        counts = fft.irfft2(fft.rfft2(counts) * spread, expected.shape)
    counts = counts * np.float32(detector.gain) + np.float32(detector.offset)
    if detector.readout_counts > 0.0:
        counts += np.float32(detector.readout_counts) * rng.standard_normal(counts.shape, dtype=np.float32)
    return digitise(counts if hot is None else counts + hot, detector.dtype)


def digitise(counts: NDArray[np.float32], dtype: DTypeLike) -> NDArray[Any]:
    """Round and clip `counts` to the range of the integer type `dtype`."""
    limits = np.iinfo(np.dtype(dtype))
    return np.clip(np.rint(counts), limits.min, limits.max).astype(dtype)


def hot_pixels(rng: np.random.Generator, shape: tuple[int, int], detector: Detector) -> NDArray[np.float32] | None:
    """Return the additional counts of the camera's hot pixels (10–100 % of its range), None without any."""
    if detector.hot_fraction <= 0.0:
        return None
    extra = np.zeros(shape, np.float32)
    where = rng.random(shape) < detector.hot_fraction
    extra[where] = float(np.iinfo(detector.dtype).max) * rng.uniform(0.1, 1.0, int(where.sum()))
    return extra


def illumination(
    shape: tuple[int, int], gradient: float, angle_rad: float = 0.0, curvature: float = 0.0
) -> NDArray[np.float32]:
    """Return the relative beam intensity over the frame, of mean 1.

    Parameters
    ----------
    gradient : float
        Difference between opposite sides, relative to the mean.
    angle_rad : float
        Direction in which it rises, from the x axis towards y.
    curvature : float
        Relative loss from the centre to a corner (a beam that is not spread far enough).
    """
    y = np.linspace(-0.5, 0.5, shape[0])[:, None]
    x = np.linspace(-0.5, 0.5, shape[1])[None, :]
    field = 1.0 + gradient * (x * np.cos(angle_rad) + y * np.sin(angle_rad)) - 2.0 * curvature * (x * x + y * y)
    field = np.maximum(field, 0.02)
    return np.asarray(field / field.mean(), np.float32)
