"""Lattice fringes: the planes of a crystal modulate what it absorbs and how it shifts the phase.

Each particle is a crystal of its own: its planes have the spacing of the material and a direction drawn for it. The
fringes move with the particle. A pixel averages over its width, which damps fringes of d px by sinc(1/d).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import CommandError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Lattice:
    """The planes of one particle.

    Attributes
    ----------
    spacing_px : float
        Distance between planes.
    angle_rad : float
        Direction of the planes' normal, from x towards y.
    phase_rad : float
        Of the fringes at the particle's centre.
    contrast : float
        Amplitude relative to the mean thickness, 0–1.
    """

    spacing_px: float
    angle_rad: float
    phase_rad: float
    contrast: float


def drawn(rng: np.random.Generator, spacing_px: float, contrast: float) -> Lattice:
    """Draw direction and phase of one particle's planes."""
    return Lattice(spacing_px, float(rng.uniform(0.0, pi)), float(rng.uniform(0.0, 2.0 * pi)), contrast)


def modulation_of(lattice: Lattice, centre: tuple[float, float], where: tuple[slice, slice]) -> NDArray[np.float32]:
    """Return the factor on the thickness, 1 on average, at the pixels of the window `where`.

    Parameters
    ----------
    lattice : Lattice
    centre : tuple of float
        Centre (y, x) of the particle in px.
    where : tuple of slice
        Rows and columns.

    Returns
    -------
    float32 array of the shape of `where`
    """
    y, x = np.ogrid[where]
    along = (y - centre[0]) * sin(lattice.angle_rad) + (x - centre[1]) * cos(lattice.angle_rad)
    # a square pixel averages over both of its sides
    damped = np.sinc(sin(lattice.angle_rad) / lattice.spacing_px) * np.sinc(cos(lattice.angle_rad) / lattice.spacing_px)
    fringes = np.cos(2.0 * pi / lattice.spacing_px * along + lattice.phase_rad)
    return np.asarray(1.0 + lattice.contrast * damped * fringes, np.float32)


def require_resolved(spacing_nm: float, nm_per_px: float) -> None:
    """Raise `CommandError` where the pixels are too large to show planes of this spacing (Nyquist)."""
    if spacing_nm < 2.0 * nm_per_px:
        raise CommandError(
            f"planes {spacing_nm:g} nm apart are not resolved at {nm_per_px:g} nm/px",
            f"give an nm_per_px of at most {spacing_nm / 2.0:g}, or lattice_nm = none",
        )
