"""From a projected specimen to the intensity that arrives at the camera.

There are two bright-field models: the wave model propagates an exit wave through the lens (Fresnel fringes, grain
of the support by phase contrast), the amplitude model only absorbs. Dark field collects what is scattered to high
angles. All images are relative to the beam: 1 is the vacuum of bright field.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN_INNER_POTENTIAL_V = 28.0
"""Mean inner potential of gold in V, the default material (Reimer & Kohl, doi:10.1007/978-0-387-40093-8)."""


def wavelength_nm(voltage_kv: float) -> float:
    """Return the relativistic wavelength of electrons in nm (300 kV: 0.00197 nm)."""
    volts = 1e3 * voltage_kv
    return 1.226426 / sqrt(volts * (1.0 + 0.978476e-6 * volts))


def interaction_rad_per_v_nm(voltage_kv: float) -> float:
    """Return the interaction constant σ in rad/(V nm): phase gained per volt of potential and nm of path.

    σ = 2π/(λU) · (mc² + eU)/(2mc² + eU); Kirkland, doi:10.1007/978-3-030-33260-0, chapter 5.
    """
    volts, rest = 1e3 * voltage_kv, 510_998.95
    return 2.0 * pi / (wavelength_nm(voltage_kv) * volts) * (rest + volts) / (2.0 * rest + volts)


@dataclass(frozen=True, slots=True)
class Lens:
    """The objective lens. `defocus_nm` is positive for underfocus: a bright fringe surrounds a dark particle.

    Attributes
    ----------
    voltage_kv : float
        Acceleration voltage in kV.
    defocus_nm : float
        Defocus in nm, positive = underfocus.
    cs_mm : float
        Spherical aberration in mm.
    focal_spread_nm : float
        Rms spread of the defocus (chromatic aberration, high-tension ripple) in nm.
    convergence_mrad : float
        Semi-angle of the illumination (1/e of its intensity) in mrad.
    """

    voltage_kv: float = 300.0
    defocus_nm: float = 400.0
    cs_mm: float = 1.2
    focal_spread_nm: float = 4.0
    convergence_mrad: float = 0.1

    @property
    def fringe_nm(self) -> float:
        """Width scale of the Fresnel fringes, sqrt(λ |Δf|), in nm."""
        return sqrt(wavelength_nm(self.voltage_kv) * abs(self.defocus_nm))


def transfer(lens: Lens, shape: tuple[int, int], nm_per_px: float) -> NDArray[np.complex64]:
    """Return what the lens does to each spatial frequency of the exit wave, in the order of `fft2`.

    exp(−iχ) times the envelopes of focal spread and of partial coherence, χ = πλq² (Cs λ² q²/2 − Δf)
    (Kirkland, doi:10.1007/978-3-030-33260-0, chapter 3).

    Returns
    -------
    complex64 array of shape `shape`
    """
    wavelength = wavelength_nm(lens.voltage_kv)
    cs_nm, alpha = 1e6 * lens.cs_mm, 1e-3 * lens.convergence_mrad
    q2 = squared_frequency(shape) / nm_per_px**2
    aberration = pi * wavelength * q2 * (0.5 * cs_nm * wavelength**2 * q2 - lens.defocus_nm)
    slope = np.sqrt(q2) * (cs_nm * wavelength**3 * q2 - lens.defocus_nm * wavelength)
    temporal = 0.5 * (pi * wavelength * lens.focal_spread_nm) ** 2 * q2**2
    spatial = (pi * alpha / wavelength) ** 2 * slope**2
    return np.asarray(np.exp(-temporal - spatial) * np.exp(-1j * aberration), np.complex64)


def squared_frequency(shape: tuple[int, int], *, half: bool = False) -> NDArray[np.float64]:
    """Return |q|² in (cycles/px)², in the order of `fft2`, or of `rfft2` when `half`."""
    columns = np.fft.rfftfreq(shape[1]) if half else np.fft.fftfreq(shape[1])
    return np.fft.fftfreq(shape[0])[:, None] ** 2 + columns[None, :] ** 2


def wave_image(
    absorption: NDArray[np.float32], phase: NDArray[np.float32], lens: NDArray[np.complex64]
) -> NDArray[np.float32]:
    """Return the bright-field intensity of the exit wave exp(−a/2 + iφ) behind the lens.

    Parameters
    ----------
    absorption, phase : float32 arrays of shape (H, W)
        Thickness over mean free path, and phase in rad.
    lens : complex64 array of shape (H, W)
        From `transfer`.
    """
    from scipy import fft

    amplitude = np.exp(np.float32(-0.5) * absorption)
    wave = np.empty(absorption.shape, np.complex64)
    np.multiply(amplitude, np.cos(phase), out=wave.real)
    np.multiply(amplitude, np.sin(phase), out=wave.imag)
    wave = fft.fft2(wave, overwrite_x=True)
    wave *= lens
    wave = fft.ifft2(wave, overwrite_x=True)
    return np.asarray(wave.real**2 + wave.imag**2, np.float32)


def amplitude_image(absorption: NDArray[np.float32], texture: NDArray[np.float32] | float) -> NDArray[np.float32]:
    """Return the bright-field intensity without interference: absorption, and a relative `texture` of the support."""
    return np.asarray(np.exp(-absorption) * (1.0 + texture), np.float32)


def dark_field_image(absorption: NDArray[np.float32], support: NDArray[np.float32] | float) -> NDArray[np.float32]:
    """Return the share of the beam that reaches an annular detector: 1 − exp(−a), a of the particle plus the support.

    For thin particles it grows in proportion to the thickness; `absorption` is thickness over the mean free path for
    scattering on to the detector.
    """
    return np.asarray(-np.expm1(-(absorption + np.maximum(support, 0.0))), np.float32)


def grain(rng: np.random.Generator, shape: tuple[int, int], size_px: float) -> NDArray[np.complex64]:
    """Return the spectrum (`rfft2`) of a random periodic texture of zero mean and unit variance, grains of `size_px`.

    Periodic, so that it can follow the stage by any shift (`shifted`) without a border.
    """
    from scipy import fft

    spectrum = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    spectrum *= np.exp(-2.0 * (pi * size_px) ** 2 * squared_frequency(shape, half=True) / 4.0).astype(np.float32)
    spectrum[0, 0] = 0.0
    return np.asarray(spectrum / max(_rms(spectrum, shape), 1e-12), np.complex64)


def _rms(spectrum: NDArray[np.complex64], shape: tuple[int, int]) -> float:
    """Return the rms of the texture of a half spectrum (Parseval), without transforming it back."""
    power = np.square(np.abs(spectrum)).sum(axis=0, dtype=np.float64)
    # every column but the first, and the last of an even width, stands for two
    alone = power[0] + (power[-1] if shape[1] % 2 == 0 else 0.0)
    return float(sqrt(2.0 * power.sum() - alone) / (shape[0] * shape[1]))


def shifted(spectrum: NDArray[np.complex64], shape: tuple[int, int], shift: tuple[float, float]) -> NDArray[np.float32]:
    """Return the texture of `spectrum` moved by `shift` (y, x) px."""
    from scipy import fft

    if shift != (0.0, 0.0):
        rows = np.exp(-2j * pi * shift[0] * np.fft.fftfreq(shape[0])).astype(np.complex64)
        columns = np.exp(-2j * pi * shift[1] * np.fft.rfftfreq(shape[1])).astype(np.complex64)
        spectrum = spectrum * rows[:, None] * columns[None, :]
    return np.asarray(fft.irfft2(spectrum, shape), np.float32)


def padding_px(lens: Lens, nm_per_px: float) -> int:
    """Return a margin that keeps the fringes of one border from appearing at the opposite one."""
    return int(min(64.0, 8.0 + np.ceil(3.0 * lens.fringe_nm / nm_per_px)))


def padded_shape(shape: tuple[int, int], padding: int) -> tuple[int, int]:
    """Return the smallest shape with at least `padding` px on every side that transforms fast."""
    from scipy import fft

    return int(fft.next_fast_len(shape[0] + 2 * padding)), int(fft.next_fast_len(shape[1] + 2 * padding))
