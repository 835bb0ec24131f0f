"""Size distributions of theory: log-normal, and the self-similar shapes of mean-field ripening for n = 2, 3, 4.

Ripening: dr/dt = k r^(1−n) (r/r* − 1), with r* such that Σr³ is conserved. Whatever the start, r/r* = u comes to have a
distribution of its own (Lifshitz & Slyozov 1961, doi:10.1016/0022-3697(61)90054-3; Wagner 1961,
doi:10.1002/bbpc.19610650704; Chakraverty 1967, doi:10.1016/0022-3697(67)90026-1). With r*ⁿ growing as n ν k t,
ν = ((n−1)/n)ⁿ/(n−1), and the number falling as r*⁻³, the share of particles above u is

    S(u) = exp(−3 ν ∫₀ᵘ v^(n−1) / (ν vⁿ − v + 1) dv),  0 ≤ u < n/(n−1)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POINTS = 20_001


@dataclass(frozen=True, slots=True, eq=False)
class Ripened:
    """The shape of one n, tabulated over u = r/r*.

    Attributes
    ----------
    u, cdf, pdf : float64 array
        Grid from 0 to n/(n−1), share of particles below, and density.
    mean : float
        ⟨r⟩/r*: 8/9, 1 and 1.0338 for n = 2, 3, 4.
    relative_std : float
        Standard deviation over mean: .354, .215, .152.
    rate : float
        d(r*ⁿ)/dt over k: 1/2, 4/9, 27/64.
    """

    u: NDArray[np.float64]
    cdf: NDArray[np.float64]
    pdf: NDArray[np.float64]
    mean: float
    relative_std: float
    rate: float


@cache
def ripened(n: int) -> Ripened:
    """Return the shape of exponent n ≥ 2."""
    from scipy.integrate import cumulative_simpson, simpson

    nu = ((n - 1) / n) ** n / (n - 1)
    top = n / (n - 1)
    # equal steps of s, u = top (1 − (1 − s)²): close to the top, where the integrand grows without bound
    s = np.linspace(0.0, 1.0, _POINTS)[:-1]
    short = top * (1 - s) ** 2
    u = top - short
    # ν uⁿ − u + 1 has a double root at the top: written around it, no digits are lost there
    below = sum(comb(n, k) * nu * top ** (n - k) * (-short) ** k for k in range(2, n + 1))
    rate_down = 3 * nu * u ** (n - 1) / below
    steps = 2 * top * (1 - s)
    survival = np.exp(-cumulative_simpson(rate_down * steps, x=s, initial=0.0))
    pdf = rate_down * survival
    mean = float(simpson(u * pdf * steps, x=s))
    second = float(simpson(u * u * pdf * steps, x=s))
    u, cdf, pdf = np.append(u, top), np.append(1 - survival, 1.0), np.append(pdf, 0.0)
    return Ripened(u, cdf, pdf, mean, float(np.sqrt(second - mean**2)) / mean, n * nu)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model with its parameters: `scale` is the geometric mean or r*, `shape` the log-normal's σ (NaN for others)."""

    model: str
    scale: float
    shape: float

    def cdf(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of particles smaller than `r`."""
        if self.model == "lognormal":
            from scipy.special import ndtr

            return np.asarray(ndtr(np.log(r / self.scale) / self.shape))
        law = ripened(_exponent(self.model))
        return np.interp(r / self.scale, law.u, law.cdf)

    def pdf(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density, per unit of `r`."""
        if self.model == "lognormal":
            z = np.log(r / self.scale) / self.shape
            return np.asarray(np.exp(-z * z / 2) / (np.sqrt(2 * np.pi) * self.shape * r))
        law = ripened(_exponent(self.model))
        return np.interp(r / self.scale, law.u, law.pdf, right=0.0) / self.scale


MODELS = ("lognormal", "n2", "n3", "n4")


def _exponent(model: str) -> int:
    return int(model[1:])


def fitted(model: str, r: NDArray[np.float64], weight: NDArray[np.float64]) -> Fitted | None:
    """Fit a model: maximum likelihood for the log-normal, the mean for the others; None where sizes do not scatter."""
    log = np.log(r)
    centre = float(np.average(log, weights=weight))
    spread = float(np.sqrt(np.average((log - centre) ** 2, weights=weight)))
    if spread < 1e-9:
        return None
    if model == "lognormal":
        return Fitted(model, float(np.exp(centre)), spread)
    return Fitted(model, float(np.average(r, weights=weight)) / ripened(_exponent(model)).mean, np.nan)


def distance(model: Fitted, r: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the Kolmogorov–Smirnov distance between weighted sizes and a model."""
    order = np.argsort(r)
    below = np.concatenate([[0.0], np.cumsum(weight[order])]) / weight.sum()
    expected = model.cdf(r[order])
    return float(max(np.abs(below[1:] - expected).max(), np.abs(below[:-1] - expected).max()))


@cache
def null_distances(model: str, n: int, draws: int, seed: int) -> NDArray[np.float64]:
    """Return √n times the distances of samples that do come from the model, each fitted as data are.

    Neither the scale nor the log-normal's σ changes them, since each sample is fitted anew (Lilliefors 1967,
    doi:10.1080/01621459.1967.10482916; Stute et al. 1993, doi:10.1007/BF02613687).

    Returns
    -------
    float64 array of shape (draws,)
        Sorted.
    """
    rng = np.random.default_rng(seed)
    if model == "lognormal":
        r = np.exp(rng.normal(size=(draws, n)))
    else:
        law = ripened(_exponent(model))
        r = np.interp(rng.random((draws, n)), law.cdf, law.u)
    r.sort(axis=1)
    r = np.maximum(r, 1e-12)
    below = np.arange(n + 1) / n
    if model == "lognormal":
        from scipy.special import ndtr

        log = np.log(r)
        expected = ndtr((log - log.mean(axis=1, keepdims=True)) / log.std(axis=1, keepdims=True))
    else:
        law = ripened(_exponent(model))
        expected = np.interp(r / r.mean(axis=1, keepdims=True) * law.mean, law.u, law.cdf)
    found: Any = np.maximum(np.abs(below[1:] - expected).max(axis=1), np.abs(below[:-1] - expected).max(axis=1))
    return np.asarray(np.sort(found) * np.sqrt(n))
