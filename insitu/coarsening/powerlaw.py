"""Fits of r(t) = (r₀ⁿ + K t)^(1/n) by weighted least squares in r, for one curve and for many draws of it at once.

The curve is written through its ends, r(t) = (aⁿ(1−τ) + bⁿτ)^(1/n) with τ from 0 to 1: a and b are nearly linear, so
that a few Gauss–Newton steps are enough for any n, and K = (bⁿ − aⁿ)/T. Residuals of rⁿ instead of r would weight late
times with r^(n−1) and prefer the wrong n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FREE_RANGE = (0.5, 12.0)
_STEPS = 12
_GRID = np.geomspace(*FREE_RANGE, 25)
# χ² is level at its minimum: ends this near to it are enough while exponents are compared
_ROUGH, _FINE = 1e-4, 1e-11


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When the radii of windows were seen: moments, or stretches of time that were averaged over.

    A mean over a window in which the curve bends, and in which particles vanish, is not the curve's value in the middle
    of the window. The model is therefore averaged as the data were, over two points in time that have the mean, the
    variance and the skewness of the times of the sizes (Gauss quadrature).

    Attributes
    ----------
    nodes, share : float64 array of shape (k, W)
        Points in time of each window, and their shares, which sum to 1.
    """

    nodes: NDArray[np.float64]
    share: NDArray[np.float64]

    @classmethod
    def at(cls, t: NDArray[np.float64]) -> Times:
        """Return single moments (W,)."""
        return cls(t[None], np.ones((1, len(t))))

    @classmethod
    def over(cls, mean: NDArray[np.float64], variance: NDArray[np.float64], third: NDArray[np.float64]) -> Times:
        """Return stretches (W,) of time with these central moments."""
        if not (variance > 0).any():
            return cls.at(mean)
        width = np.sqrt(np.maximum(variance, 0.0))
        skew = np.divide(third, width**3, out=np.zeros_like(width), where=width > 0)
        root = np.sqrt(skew**2 + 4)
        early, late = (skew - root) / 2, (skew + root) / 2
        nodes = np.stack([mean + width * early, mean + width * late])
        return cls(nodes, np.stack([late / root, -early / root]))

    @property
    def span(self) -> float:
        """Time from the first to the last point."""
        return float(self.nodes.max() - self.nodes.min())

    @property
    def tau(self) -> NDArray[np.float64]:
        """Points in time, from 0 to 1."""
        return np.asarray((self.nodes - self.nodes.min()) / self.span)

    def __len__(self) -> int:
        return int(self.nodes.shape[1])

    def take(self, kept: NDArray[np.bool_]) -> Times:
        """Return some windows."""
        return Times(self.nodes[:, kept], self.share[:, kept])


@dataclass(frozen=True, slots=True, eq=False)
class PowerLaw:
    """Fitted curves, one a row of the data.

    Attributes
    ----------
    n : float64 array of shape (B,)
        Exponent.
    start, end : float64 array of shape (B,)
        Fitted radius at the first and at the last point in time.
    K : float64 array of shape (B,)
        (endⁿ − startⁿ) over the duration.
    residuals : float64 array of shape (B, W)
        Radius minus fit.
    chi2 : float64 array of shape (B,)
        Σ weight · residual².
    """

    n: NDArray[np.float64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    K: NDArray[np.float64]
    residuals: NDArray[np.float64]
    chi2: NDArray[np.float64]


def fit(
    times: Times,
    r: NDArray[np.float64],
    weight: NDArray[np.float64],
    n: float | NDArray[np.float64],
    *,
    tolerance: float = _FINE,
) -> PowerLaw:
    """Fit r₀ and K for a given exponent.

    Parameters
    ----------
    times : Times
        Of W ≥ 2 windows.
    r : float64 array of shape (B, W)
        Radii, above 0; one curve a row.
    weight : float64 array of shape (W,)
        1/variance of each radius, up to a factor.
    n : float or array of shape (B,)
        Exponent, above 0.
    tolerance : float
        Relative step of the ends below which the search stops.
    """
    n = np.broadcast_to(np.asarray(n, np.float64), (len(r),))
    start, end = _line(times, r, weight)
    for _ in range(_STEPS):
        curve, slope_start, slope_end = _curve(start, end, n, times)
        step_start, step_end = _solve(slope_start, slope_end, r - curve, weight)
        # never more than halfway to zero: the curve exists for positive ends only
        start = np.maximum(start + step_start, start / 2)
        end = np.maximum(end + step_end, end / 2)
        if max(np.abs(step_start / start).max(), np.abs(step_end / end).max()) < tolerance:
            break
    curve, _, _ = _curve(start, end, n, times)
    residuals = r - curve
    rate = (end**n - start**n) / times.span
    return PowerLaw(n, start, end, rate, residuals, (weight * residuals**2).sum(axis=1))


def fit_free(times: Times, r: NDArray[np.float64], weight: NDArray[np.float64]) -> PowerLaw:
    """Fit n, r₀ and K: the least χ² over n in 0.5…12, by a grid and golden section; see `fit`."""
    chi2 = np.stack([fit(times, r, weight, n, tolerance=_ROUGH).chi2 for n in _GRID], axis=1)
    log_n = np.log(_GRID)
    best = np.clip(chi2.argmin(axis=1), 1, len(_GRID) - 2)
    low, high = log_n[best - 1], log_n[best + 1]
    # golden section between the neighbours of the best grid point
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(14):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        sides = (fit(times, r, weight, np.exp(side), tolerance=_ROUGH).chi2 for side in (left, right))
        better = next(sides) < next(sides)
        low, high = np.where(better, low, left), np.where(better, right, high)
    return fit(times, r, weight, np.exp((low + high) / 2))


def rate_error(law: PowerLaw, times: Times, weight: NDArray[np.float64]) -> float:
    """Return the standard error of K of the first curve, from the scatter of its residuals taken as independent."""
    n, a, b = law.n[:1], law.start[:1], law.end[:1]
    _, slope_a, slope_b = _curve(a, b, n, times)
    jacobian = np.stack([slope_a[0], slope_b[0]], axis=1)
    information = jacobian.T @ (weight[:, None] * jacobian)
    gradient = np.array([-(n * a ** (n - 1))[0], (n * b ** (n - 1))[0]]) / times.span
    variance = law.chi2[0] / max(1, len(times) - 2)
    return float(np.sqrt(variance * gradient @ np.linalg.solve(information, gradient)))


def effective_number(residuals: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return how many independent residuals would tell as much: W (1 − ρ)/(1 + ρ), ρ their lag-1 autocorrelation.

    Parameters
    ----------
    residuals, weight : float64 array of shape (W,)
        Of the most flexible model, so that a misfit is not taken for correlated noise.
    """
    e = residuals * np.sqrt(weight)
    e = e - e.mean()
    power = float(e @ e)
    rho = float(e[1:] @ e[:-1]) / power if power > 0 else 0.0
    return len(e) * (1 - max(rho, 0.0)) / (1 + max(rho, 0.0))


def _line(
    times: Times, r: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the straight line, kept positive: where Gauss–Newton begins."""
    tau = (times.tau * times.share).sum(axis=0)
    start, end = _solve(np.broadcast_to(1 - tau, r.shape), np.broadcast_to(tau, r.shape), r, weight)
    floor = 0.1 * r.min(axis=1)
    return np.maximum(start, floor), np.maximum(end, floor)


def _curve(
    a: NDArray[np.float64], b: NDArray[np.float64], n: NDArray[np.float64], times: Times
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the curve, averaged over each window, and its derivatives by a and b (B,), each (B, W)."""
    # relative to a: powers of large numbers stay small
    a, q, n = a[:, None], (b / a)[:, None], n[:, None]
    high, low = q**n, q ** (n - 1)
    curve = by_a = by_b = np.zeros(1)
    for tau, share in zip(times.tau, times.share, strict=True):
        inner = (1 - tau) + high * tau
        shape = share * inner ** (1 / n)
        steep = shape / inner
        curve, by_a, by_b = curve + shape, by_a + steep * (1 - tau), by_b + steep * tau
    return a * curve, by_a, by_b * low


def _solve(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve z ≈ p x + q y by weighted least squares, row by row."""
    wx, wy = weight * x, weight * y
    xx, xy, yy = (wx * x).sum(axis=1), (wx * y).sum(axis=1), (wy * y).sum(axis=1)
    xz, yz = (wx * z).sum(axis=1), (wy * z).sum(axis=1)
    determinant = xx * yy - xy * xy
    return (xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant
