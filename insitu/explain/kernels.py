"""What learned kernels look like: each fitted by a Gaussian, a Laplacian of Gaussian and a Gabor function.

The first layer of a network of one layer learns such shapes (Horwath et al. 2020, doi:10.1038/s41524-020-00363-x, Fig.
6). Families differ in their number of parameters, so the best one is that of the smallest Bayesian information
criterion; a kernel that none explains to half of its variance is called unexplained.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    # the functions that a shape spans, where a search begins, its bounds, and the names of what is searched
    Family = tuple[
        Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], list[NDArray[np.float64]]],
        list[NDArray[np.float64]],
        list[float],
        list[float],
        tuple[str, ...],
    ]

LEAST_SIDE = 5
"""Smaller kernels have fewer values than a fit needs: they are shown, not fitted."""
EXPLAINED = 0.5
_FREE = {"gaussian": 5, "log": 5, "gabor": 9}  # shape, amplitudes, offset
FAMILIES = tuple(_FREE)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A kernel and one family.

    Attributes
    ----------
    family : {"gaussian", "log", "gabor"}
    explained : float
        R²: share of the kernel's variance that the fit explains.
    criterion : float
        Bayesian information criterion; smaller is better.
    values : float64 array (k, k)
        The fitted kernel.
    shape : dict
        `y_px`, `x_px` from the middle, `sigma_px`; of Gabor `aspect` (σ across over σ along the wave), `angle_deg` of
        the wave (from x towards y) and `wavelength_px`.
    """

    family: str
    explained: float
    criterion: float
    values: NDArray[np.float64]
    shape: dict[str, float]


def fit(kernel: NDArray[Any]) -> list[Fit]:
    """Fit every family to a kernel of at least `LEAST_SIDE` px; best first."""
    target = np.asarray(kernel, np.float64)
    found = [_fit(target, family) for family in FAMILIES]
    return sorted(found, key=lambda f: f.criterion)


def family_of(fits: Sequence[Fit]) -> str:
    """Return the family that explains a kernel, or ``"unexplained"``."""
    return fits[0].family if fits and fits[0].explained >= EXPLAINED else "unexplained"


def _fit(target: NDArray[np.float64], family: str) -> Fit:
    from scipy.optimize import least_squares

    side = target.shape[0]
    grid = np.mgrid[:side, :side].astype(np.float64) - (side - 1) / 2
    basis, starts, low, high, names = (
        _gabor(side, _waves(target)) if family == "gabor" else _log(side) if family == "log" else _gaussian(side)
    )

    def solved(p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the best kernel of this shape: amplitudes and offset are linear, so they need no search."""
        columns = [b.ravel() for b in basis(p, *grid)] + [np.ones(side * side)]
        design = np.stack(columns, axis=1)
        amplitudes, *_ = np.linalg.lstsq(design, target.ravel(), rcond=None)
        return np.asarray(design @ amplitudes)

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return solved(p) - target.ravel()

    best = None
    for start in starts:
        result = least_squares(residual, start, bounds=(low, high), max_nfev=60)
        if best is None or result.cost < best.cost:
            best = result
    assert best is not None
    values = solved(best.x)
    rest = float(((values - target.ravel()) ** 2).sum())
    variance = float(((target - target.mean()) ** 2).sum())
    n = target.size
    criterion = n * log(max(rest, 1e-12 * max(variance, 1e-12)) / n) + _FREE[family] * log(n)
    shape = dict(zip(names, (float(v) for v in best.x), strict=True))
    if "angle_deg" in shape:
        shape["angle_deg"] = float(np.degrees(shape["angle_deg"]) % 180.0)
    return Fit(family, 1.0 - rest / variance if variance else 1.0, criterion, values.reshape(side, side), shape)


def _turned(
    angle: float, y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _gaussian(side: int) -> Family:
    def basis(p: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return [np.exp(-0.5 * ((y - p[0]) ** 2 + (x - p[1]) ** 2) / p[2] ** 2)]

    starts = [np.array([0.0, 0.0, s]) for s in (side / 8, side / 5, side / 3)]
    half = side / 2
    return basis, starts, [-half, -half, 0.4], [half, half, 1.5 * side], ("y_px", "x_px", "sigma_px")


def _log(side: int) -> Family:
    def basis(p: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        r2 = ((y - p[0]) ** 2 + (x - p[1]) ** 2) / p[2] ** 2
        return [(1.0 - 0.5 * r2) * np.exp(-0.5 * r2)]

    starts = [np.array([0.0, 0.0, s]) for s in (side / 8, side / 5, side / 3)]
    half = side / 2
    return basis, starts, [-half, -half, 0.4], [half, half, 1.5 * side], ("y_px", "x_px", "sigma_px")


def _gabor(side: int, waves: Sequence[tuple[float, float]]) -> Family:
    def basis(p: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        along, across = _turned(p[4], y - p[0], x - p[1])
        envelope = np.exp(-0.5 * ((along / p[2]) ** 2 + (across / (p[2] * p[3])) ** 2))
        phase = 2 * pi * along / p[5]
        # both quadratures: their amplitudes are the amplitude and the phase of the wave
        return [envelope * np.cos(phase), envelope * np.sin(phase)]

    starts = [np.array([0.0, 0.0, s, 1.0, a, w]) for a, w in waves for s in (side / 5, side / 3)]
    half = side / 2
    low, high = [-half, -half, 0.4, 0.2, -2 * pi, 2.0], [half, half, 1.5 * side, 5.0, 2 * pi, 4.0 * side]
    return basis, starts, low, high, ("y_px", "x_px", "sigma_px", "aspect", "angle_deg", "wavelength_px")


def _waves(kernel: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return direction and wavelength of the strongest wave in a kernel, where a search may begin."""
    size = 4 * kernel.shape[0]
    power = np.abs(np.fft.rfft2(kernel - kernel.mean(), (size, size)))
    y, x = np.unravel_index(int(power.argmax()), power.shape)
    qy, qx = float(np.fft.fftfreq(size)[y]), float(np.fft.rfftfreq(size)[x])
    return [(float(np.arctan2(qy, qx)), float(np.clip(1.0 / max(np.hypot(qy, qx), 1e-9), 2.5, 3.0 * kernel.shape[0])))]
