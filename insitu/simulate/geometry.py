"""Exact geometry of two overlapping spheres and of their outlines: a pair of particles on its way to one.

The pair is seen along the normal of the plane that holds both centres; lengths in any one unit.
"""

from __future__ import annotations

from math import acos, cos, pi, sin


def sphere_overlap(a: float, b: float, distance: float) -> float:
    """Return the volume that spheres of radii `a` and `b` share."""
    if distance >= a + b:
        return 0.0
    if distance <= abs(a - b):
        return float(4.0 / 3.0 * pi * min(a, b) ** 3)
    gap = a + b - distance
    return float(pi * gap**2 * (distance**2 + 2.0 * distance * (a + b) - 3.0 * (a - b) ** 2) / (12.0 * distance))


def pair_scale(a: float, b: float, distance: float) -> float:
    """Return the factor on both radii that gives overlapping spheres the volume they had apart, (4π/3)(a³ + b³)."""
    target = 4.0 / 3.0 * pi * (a**3 + b**3)
    low, high = 1.0, (a**3 + b**3) ** (1.0 / 3.0) / max(a, b)
    for _ in range(60):
        middle = 0.5 * (low + high)
        volume = middle**3 * target - sphere_overlap(middle * a, middle * b, distance)
        low, high = (middle, high) if volume < target else (low, middle)
    return float(0.5 * (low + high))


def _segment(radius: float, offset: float) -> tuple[float, float]:
    """Return area and centroid (from the disc's centre) of the part of a disc beyond a chord at `offset`."""
    half = acos(max(-1.0, min(1.0, offset / radius)))
    area = radius**2 * (half - sin(half) * cos(half))
    return area, (2.0 * (radius * sin(half)) ** 3 / 3.0 / area if area > 0.0 else offset)


def pair_outline(a: float, b: float, distance: float) -> tuple[float, float]:
    """Return area and centroid of the union of two discs, disc `a` at 0 and disc `b` at `distance` on the axis."""
    area_a, area_b = pi * a**2, pi * b**2
    if distance >= a + b:
        return area_a + area_b, area_b * distance / (area_a + area_b)
    if distance <= abs(a - b):
        return (area_a, 0.0) if a >= b else (area_b, distance)
    chord = (distance**2 + a**2 - b**2) / (2.0 * distance)
    (part_a, at_a), (part_b, at_b) = _segment(a, chord), _segment(b, distance - chord)
    area = area_a + area_b - part_a - part_b
    return area, (area_b * distance - part_a * at_a - part_b * (distance - at_b)) / area
