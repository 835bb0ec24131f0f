"""Pixel size and frame time: units, where a value came from, and whether it can be true.

An unknown calibration stays unknown. A value is never guessed, and never taken from a resolution that names no unit or
only says how large to print.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from insitu.errors import CalibrationError
from insitu.types import Calibration

if TYPE_CHECKING:
    from insitu.types import SourceInfo

GIVEN_NM = "given: --nm-per-px"
GIVEN_FPS = "given: --fps"

# nm/px. Outside POSSIBLE no electron micrograph is calibrated truthfully; outside USUAL one should look twice.
POSSIBLE = (0.001, 1000.0)
USUAL = (0.005, 5.0)

_NM = {
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e7),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e6),
    **dict.fromkeys(("um", "micron", "micrometer", "micrometre"), 1e3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(("a", "å", "ang", "angstrom", "ångström"), 0.1),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-3),
}
_SECONDS = {
    **dict.fromkeys(("d", "day"), 86400.0),
    **dict.fromkeys(("h", "hour"), 3600.0),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond"), 1e-3),
    **dict.fromkeys(("us", "usec", "microsecond"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanosecond"), 1e-9),
}
_MICRO = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u212b": "å", "\u00c5": "å"})


def _plain(unit: str) -> str:
    """Return a unit in the spelling of the tables: ``"[n_m]"``, ``" Nanometers "`` and ``"nm"`` mean the same."""
    name = unit.replace("\\u00B5", "u").replace("\\u00b5", "u").translate(_MICRO)
    name = name.strip().strip("\x00\"'[]").replace("_", "").strip().lower()
    return name.removesuffix("s") if len(name) > 3 else name


def nanometres(value: float, unit: str) -> float | None:
    """Return a length in nm, or None where the unit is not a length or the value is not a positive number."""
    return _scaled(value, _NM.get(_plain(unit)))


def seconds(value: float, unit: str = "s") -> float | None:
    """Return a time in s, or None where the unit is not a time or the value is not a positive number."""
    return _scaled(value, _SECONDS.get(_plain(unit)))


def _scaled(value: float, factor: float | None) -> float | None:
    if factor is None or not math.isfinite(value) or value <= 0:
        return None
    scaled = value * factor
    return scaled if math.isfinite(scaled) and scaled > 0 else None


def found(
    x_nm: float | None = None,
    y_nm: float | None = None,
    *,
    nm_source: str = "unknown",
    s_per_frame: float | None = None,
    s_source: str = "unknown",
    exposure_s: float | None = None,
) -> Calibration:
    """Return the calibration that a header states; the source of what it does not state becomes ``"unknown"``.

    Parameters
    ----------
    x_nm, y_nm : float or None
        Pixel size along x and y in nm; `y_nm` is kept only where it differs from `x_nm`.
    nm_source, s_source : str
        Where the values came from; an ``"unknown: reason"`` is kept.
    """
    size = x_nm if x_nm is not None else y_nm
    return Calibration(
        nm_per_px=size,
        nm_source=nm_source if size is not None or nm_source.startswith("unknown") else "unknown",
        s_per_frame=s_per_frame,
        s_source=s_source if s_per_frame is not None or s_source.startswith("unknown") else "unknown",
        exposure_s=exposure_s,
        nm_per_px_y=y_nm if y_nm != size else None,
    )


def possible(nm_per_px: float) -> bool:
    """Whether a pixel size can be that of an electron micrograph at all (0.001–1000 nm/px)."""
    return POSSIBLE[0] <= nm_per_px <= POSSIBLE[1]


def unusual(nm_per_px: float | None) -> str:
    """Return a note on a pixel size that is possible but rare (outside 0.005–5 nm/px), else an empty string."""
    if nm_per_px is None or USUAL[0] <= nm_per_px <= USUAL[1]:
        return ""
    return f"{nm_per_px:.6g} nm/px is unusual for electron microscopy: check it, or give --nm-per-px"


def calibrated(info: SourceInfo, nm_per_px: float | None = None, fps: float | None = None) -> Calibration:
    """Return the calibration a run uses: what the user gives outranks what the file says.

    Parameters
    ----------
    info : SourceInfo
    nm_per_px : float or None
        Pixel size in nm given by the user.
    fps : float or None
        Frames per second given by the user.

    Raises
    ------
    CalibrationError
        A pixel size outside 0.001–1000 nm/px (0.005–5 for MRC headers), different along y and x by more than 1 %, or a
        given value that is not a positive number.
    """
    result = info.calibration
    if nm_per_px is not None:
        _positive("--nm-per-px", nm_per_px)
        _within(nm_per_px, POSSIBLE, "--nm-per-px")
        result = replace(result, nm_per_px=float(nm_per_px), nm_source=GIVEN_NM, nm_per_px_y=None)
    elif result.nm_per_px is not None:
        _square(result, info.path)
        # MRC headers are so often off by ten (Å for nm) that the narrow range is the law for them
        bounds = USUAL if "MRC" in info.format else POSSIBLE
        _within(result.nm_per_px, bounds, f"{result.nm_source} of '{info.path}'")
    if fps is not None:
        _positive("--fps", fps)
        result = replace(result, s_per_frame=1.0 / fps, s_source=GIVEN_FPS)
    return result


def _positive(option: str, value: float) -> None:
    if not math.isfinite(value) or value <= 0:
        raise CalibrationError(f"{option} {value} is not a positive number", f"give it as {option} 0.2, for example")


def _square(calibration: Calibration, path: str) -> None:
    x, y = calibration.nm_per_px, calibration.nm_per_px_y
    if x is not None and y is not None and abs(y - x) > 0.01 * max(x, y):
        raise CalibrationError(
            f"'{path}' has pixels of {y:.6g} nm along y and {x:.6g} nm along x ({calibration.nm_source})",
            "resample the movie to square pixels, or give the size to use with --nm-per-px",
        )


def _within(nm_per_px: float, bounds: tuple[float, float], where: str) -> None:
    low, high = bounds
    if not low <= nm_per_px <= high:
        raise CalibrationError(
            f"{where}: {nm_per_px:.6g} nm/px lies outside {low:g}–{high:g} nm/px",
            "give the true pixel size in nm with --nm-per-px",
        )
