"""Axis calibrations (scale, unit) as vendors write them → a pixel size, or unknown with the reason."""

from __future__ import annotations

import re

from insitu.read.calibration import nanometres
from insitu.read.files import shown

Axis = tuple[float, str]


def named(unit: str) -> str:
    """Return a unit that came from a file so that it can be printed and is no novel."""
    return shown(unit.strip()[:20])


def is_energy(unit: str) -> bool:
    """Whether `unit` is an energy: the axis of a spectrum."""
    return unit.strip().lower() in {"ev", "kev", "mev"}


def is_reciprocal(unit: str) -> bool:
    """Whether `unit` is an inverse length or an angle: the axis of a diffraction pattern."""
    return bool(re.fullmatch(r"1\s*/\s*\w+|\w+\s*(\^?-1|⁻¹)|[mµμu]?rad|deg", unit.strip().lower()))


def pixel_size(y: Axis, x: Axis, where: str) -> tuple[float | None, float | None, str]:
    """Pixel sizes (y, x) in nm and their source: `where`, or ``"unknown: …"`` with the reason and both sizes None.

    Sizes that differ are both given; whether they may is decided by `insitu.read.calibration.calibrated`.
    """
    y_nm, x_nm = nanometres(*y), nanometres(*x)
    if y_nm is not None and x_nm is not None:
        return y_nm, x_nm, where
    for _, unit in (y, x):
        if is_reciprocal(unit):
            return None, None, f"unknown: {where} is in {named(unit)}, a diffraction pattern"
    stated = ", ".join(f"{name} {scale:g} {named(unit)}".strip() for name, (scale, unit) in (("y", y), ("x", x)))
    return None, None, f"unknown: {where} has no length unit ({stated})"
