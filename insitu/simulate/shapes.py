"""Outlines of particles, the thickness they project, and their exact masks.

A particle is a star-shaped outline round a centre and a profile over it. A pixel belongs to the mask when its
centre lies inside the outline; the thickness is averaged over sub-pixels, because that is what a pixel integrates.
Pixel centres lie at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, radians, sin, sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Profile = Literal["cap", "plate", "prism"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One particle, lengths in px.

    Attributes
    ----------
    y, x, radius : float
        Centre and (mean) radius of the outline.
    aspect : float
        Length over width, area-preserving; `angle_rad` is the direction of the long axis from x towards y.
    corners : int
        0 = smooth; otherwise the outline is pulled towards a polygon with this many corners by `faceting` (0–1).
    waves : tuple of (order, amplitude, phase)
        Relative undulation of the radius, Σ a cos(k φ + p).
    profile : {"cap", "plate", "prism"}
        Spherical cap of contact angle `contact_deg` (180 = sphere), flat with rounded rim, or roof-like.
    height : float
        Scale of the thickness relative to a sphere or cap of this radius.
    """

    y: float
    x: float
    radius: float
    aspect: float = 1.0
    angle_rad: float = 0.0
    corners: int = 0
    faceting: float = 0.0
    waves: tuple[tuple[int, float, float], ...] = ()
    profile: Profile = "cap"
    contact_deg: float = 180.0
    height: float = 1.0

    @property
    def reach(self) -> float:
        """Upper bound of the distance from the centre to the outline, px."""
        swing = 1.0 + sum(abs(a) for _, a, _ in self.waves)
        # a polygon of the same area as the disc reaches at most 1.29 r (triangle: 1.56 r)
        stretch = sqrt(max(self.aspect, 1.0 / self.aspect))
        return self.radius * stretch * swing * (1.56 if self.corners else 1.0)


def cap_thickness(distance_sq: NDArray[np.float64], radius: float, contact_deg: float) -> NDArray[np.float64]:
    """Return the thickness of a spherical cap seen from above, in the unit of `radius`.

    Parameters
    ----------
    distance_sq : float array
        Squared distance from the axis; the thickness is 0 from `radius` on.
    radius : float
        Projected radius: of the contact line below 90°, of the sphere above.
    contact_deg : float
        Contact angle through the particle in degrees, 0 < θ ≤ 180; 180 is a full sphere.
    """
    theta = radians(contact_deg)
    sphere = radius / sin(theta) if contact_deg < 90.0 else radius
    half = np.sqrt(np.maximum(sphere * sphere - distance_sq, 0.0))
    thickness = np.minimum(2.0 * half, half - sphere * cos(theta))
    return np.where(distance_sq < radius * radius, np.maximum(thickness, 0.0), 0.0)


def cap_volume(radius: float, contact_deg: float) -> float:
    """Return the volume of the cap of `cap_thickness`: (π R³/3)(2 − 3 cos θ + cos³ θ)."""
    theta = radians(contact_deg)
    sphere = radius / sin(theta) if contact_deg < 90.0 else radius
    return pi * sphere**3 / 3.0 * (2.0 - 3.0 * cos(theta) + cos(theta) ** 3)


def outline(shape: Shape, phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance from the centre to the outline in direction `phi` of the shape's own (unstretched) frame."""
    radius = np.full_like(phi, shape.radius)
    if shape.corners:
        sector = 2.0 * pi / shape.corners
        polygon = np.cos(pi / shape.corners) / np.cos((phi % sector) - sector / 2.0)
        polygon *= np.sqrt(2.0 * pi / (shape.corners * sin(sector)))  # same area as the disc
        radius *= (1.0 - shape.faceting) + shape.faceting * polygon
    swing = np.ones_like(phi)
    for order, amplitude, phase in shape.waves:
        swing += amplitude * np.cos(order * phi + phase)
    return radius * swing


def reduced(shape: Shape, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (distance / outline distance)² at the points (y, x): below 1 inside the particle."""
    dy, dx = y - shape.y, x - shape.x
    if shape.aspect == 1.0 and not shape.corners and not shape.waves:
        return np.asarray((dy * dy + dx * dx) / shape.radius**2)
    c, s, stretch = cos(shape.angle_rad), sin(shape.angle_rad), shape.aspect**0.5
    u, v = (c * dx + s * dy) / stretch, (c * dy - s * dx) * stretch
    if not shape.corners and not shape.waves:
        return np.asarray((u * u + v * v) / shape.radius**2)
    return np.asarray((u * u + v * v) / outline(shape, np.arctan2(v, u)) ** 2)


def profile(shape: Shape, rho_sq: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the thickness in px for the reduced distance² of `reduced`."""
    if shape.profile == "cap":
        return np.asarray(shape.height * shape.radius * cap_thickness(rho_sq, 1.0, shape.contact_deg))
    depth = np.maximum(1.0 - np.sqrt(rho_sq), 0.0)
    rim = 0.15 if shape.profile == "plate" else 1.0
    return np.asarray(shape.height * 2.0 * shape.radius * np.minimum(depth / rim, 1.0))


def window(shape: Shape, size: tuple[int, int], margin: float = 1.0) -> tuple[slice, slice] | None:
    """Return the rows and columns that the particle can cover, None outside the frame."""
    reach = shape.reach + margin
    y0, y1 = max(0, int(np.floor(shape.y - reach))), min(size[0], int(np.ceil(shape.y + reach)) + 1)
    x0, x1 = max(0, int(np.floor(shape.x - reach))), min(size[1], int(np.ceil(shape.x + reach)) + 1)
    return (slice(y0, y1), slice(x0, x1)) if y0 < y1 and x0 < x1 else None


def sub_pixels(radius: float) -> int:
    """Return how finely a pixel is divided: a small particle is mostly rim, a large one hardly any."""
    return 4 if radius < 8.0 else 3 if radius < 16.0 else 2 if radius < 40.0 else 1


def patch(shape: Shape, where: tuple[slice, slice]) -> NDArray[np.float32]:
    """Return the thickness in px, averaged over each pixel of the window `where`."""
    parts = sub_pixels(shape.radius)
    offset = (np.arange(parts) + 0.5) / parts - 0.5
    y = (np.arange(where[0].start, where[0].stop)[:, None] + offset).ravel()
    x = (np.arange(where[1].start, where[1].stop)[:, None] + offset).ravel()
    fine = profile(shape, reduced(shape, y[:, None], x[None, :]))
    blocks = fine.reshape(len(y) // parts, parts, len(x) // parts, parts)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def covers(shape: Shape, where: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Return which pixel centres of the window `where` lie inside the outline."""
    y = np.arange(where[0].start, where[0].stop, dtype=np.float64)
    x = np.arange(where[1].start, where[1].stop, dtype=np.float64)
    return np.asarray(reduced(shape, y[:, None], x[None, :]) < 1.0)
