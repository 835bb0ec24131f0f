"""Ways of taking a picture, drawn at random over the range that microscopes and their users cover."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, pi
from typing import TYPE_CHECKING, Literal

from insitu.errors import CommandError
from insitu.simulate.detector import Detector
from insitu.simulate.optics import Lens, wavelength_nm

if TYPE_CHECKING:
    import numpy as np

Mode = Literal["bright-field", "dark-field"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """One way of taking a picture; lengths in px, drawn by `draw_conditions`.

    Attributes
    ----------
    contrast : float
        Share of the beam that the centre of a particle of `radius_px` takes away (bright field) or scatters on to the
        detector (dark field).
    phase_ratio : float
        Phase shift in rad per unit of absorption t/L (σ V L; 2.7 for gold at 300 kV with L = 15 nm).
    lens : Lens or None
        None: no interference, the amplitude model.
    support_phase_rad, support_rms : float
        Rms grain of the support: phase (wave model), and relative intensity over `support_px`.
    patchy_rms : float
        Rms of slow changes in support thickness over `patchy_px`.
    lattice : float
        Amplitude of the fringes relative to the thickness, 0 = none.
    lattice_nm : float or None
        Distance of the planes of every particle; None: half of the particles have fringes of 2.2–7 px.
    """

    shape: tuple[int, int]
    mode: Mode
    radius_px: float
    size_spread: float
    coverage: float
    touching: float
    contrast: float
    contrast_spread: float
    phase_ratio: float
    nm_per_px: float
    lens: Lens | None
    support_phase_rad: float
    support_rms: float
    support_px: float
    patchy_rms: float
    patchy_px: float
    background: float
    gradient: float
    gradient_angle: float
    curvature: float
    blur_px: float
    dose_e_per_px: float
    irregular: float
    lattice: float
    detector: Detector
    stretch: bool
    lattice_nm: float | None = None


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly in the logarithm."""
    return exp(rng.uniform(log(low), log(high)))


def draw_conditions(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    mode: Mode | None = None,
    radius_px: tuple[float, float] = (3.0, 150.0),
    dose_e_per_px: tuple[float, float] = (3.0, 200.0),
    empty: float = 0.05,
    dtype: Literal["uint8", "uint16"] | None = None,
) -> Conditions:
    """Draw the conditions of `random_scene`."""
    if not 0.5 <= radius_px[0] <= radius_px[1] or not 0.0 < dose_e_per_px[0] <= dose_e_per_px[1]:
        raise CommandError(
            f"ranges of a scene: radius {radius_px} px, dose {dose_e_per_px} e⁻/px",
            "give (smallest, largest), both positive, radii from 0.5 px",
        )
    mode = mode or ("bright-field" if rng.random() < 0.75 else "dark-field")
    bright = mode == "bright-field"
    dose = log_uniform(rng, *dose_e_per_px)
    nm_per_px = log_uniform(rng, 0.04, 1.0)
    # typical sizes stop at 60 px; the few larger ones come from the spread and from `populate`
    radius = log_uniform(rng, radius_px[0], max(radius_px[0], min(radius_px[1], 60.0)))
    return Conditions(
        shape=shape,
        mode=mode,
        radius_px=radius,
        size_spread=rng.uniform(0.05, 0.55),
        coverage=0.0 if rng.random() < empty else log_uniform(rng, 0.01, 0.35),
        touching=float(rng.choice([0.0, 0.0, 0.1, 0.35])),
        contrast=rng.uniform(0.1, 0.8) if bright else log_uniform(rng, 0.02, 0.4),
        contrast_spread=rng.uniform(0.0, 0.35),
        phase_ratio=rng.uniform(0.0, 3.5),
        nm_per_px=nm_per_px,
        lens=_draw_lens(rng, nm_per_px) if bright and rng.random() < 0.7 else None,
        support_phase_rad=rng.uniform(0.0, 0.25),
        support_rms=log_uniform(rng, 0.002, 0.06),
        support_px=rng.uniform(0.7, 5.0),
        patchy_rms=rng.choice([0.0, 1.0]) * rng.uniform(0.0, 0.06 if bright else 0.2),
        patchy_px=log_uniform(rng, 15.0, 150.0),
        background=1.0 if bright else log_uniform(rng, 0.005, 0.1),
        gradient=rng.choice([0.0, 1.0]) * rng.uniform(0.0, 0.6),
        gradient_angle=rng.uniform(0.0, 2.0 * pi),
        curvature=rng.choice([0.0, 0.0, 1.0]) * rng.uniform(0.0, 0.5),
        blur_px=rng.uniform(0.3, 1.6) if rng.random() < 0.6 else 0.0,
        dose_e_per_px=dose if bright else 10.0 * dose,
        irregular=float(rng.choice([0.0, 0.5, 1.0])),
        lattice=rng.choice([0.0, 0.0, 1.0]) * rng.uniform(0.1, 0.6),
        detector=_draw_detector(rng, dose, dtype),
        stretch=bool(rng.random() < 0.4),
    )


def _draw_lens(rng: np.random.Generator, nm_per_px: float) -> Lens:
    """Draw a lens whose fringes are 0.4–5 px wide, mostly in underfocus."""
    voltage = float(rng.choice([80.0, 200.0, 300.0]))
    fringe_nm = nm_per_px * log_uniform(rng, 0.4, 5.0)
    sign = 1.0 if rng.random() < 0.8 else -1.0
    return Lens(
        voltage_kv=voltage,
        defocus_nm=sign * fringe_nm**2 / wavelength_nm(voltage),
        cs_mm=float(rng.choice([0.0, 0.6, 1.2])),
        focal_spread_nm=rng.uniform(2.0, 8.0),
        convergence_mrad=log_uniform(rng, 0.01, 0.3),
    )


def _draw_detector(rng: np.random.Generator, dose: float, dtype: str | None) -> Detector:
    dtype = dtype or str(rng.choice(["uint8", "uint16"]))
    level = rng.uniform(50.0, 170.0) if dtype == "uint8" else log_uniform(rng, 200.0, 12_000.0)
    return Detector(
        gain=level / dose,
        offset=rng.uniform(0.0, 0.3) * level,
        readout_counts=rng.uniform(0.0, 0.02) * level,
        mtf_nyquist=log_uniform(rng, 0.08, 1.0),
        hot_fraction=float(rng.choice([0.0, 0.0, 1e-5, 1e-4])),
        dtype=dtype,
    )
