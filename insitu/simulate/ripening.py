"""Mean-field ripening: dr/dt = k r^-(n-1) (r/r* − 1), with deposition or evaporation beside it.

n = 2: attachment over the whole surface; n = 3: volume diffusion, or attachment at the perimeter of a supported
particle; n = 4: diffusion over the support (Lifshitz & Slyozov, doi:10.1016/0022-3697(61)90054-3; Wagner,
doi:10.1002/bbpc.19610650704; Chakraverty, doi:10.1016/0022-3697(67)90026-1). Lengths in nm, times in s, k in nmⁿ/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-7
"""Error allowed in one step, relative to the particle's r^n plus 3 % of the mean one."""


@dataclass(frozen=True, slots=True)
class Ripening:
    """The law of growth.

    Attributes
    ----------
    exponent : int
        n: 2, 3 or 4.
    rate : float
        k in nmⁿ/s; 0 switches ripening off.
    flux_nm_per_s : float
        Growth of every radius besides ripening: positive for deposition, negative for evaporation.
    minimum_nm : float
        Radius at which a particle dissolves; what is left of it goes to the others.
    """

    exponent: int = 3
    rate: float = 0.0
    flux_nm_per_s: float = 0.0
    minimum_nm: float = 0.25


def critical_radius(radii: NDArray[np.float64], exponent: int) -> float:
    """Return r*, the radius that neither grows nor shrinks, Σ r^(4−n) / Σ r^(3−n): it conserves Σ r³."""
    return float(np.sum(radii ** (4.0 - exponent)) / np.sum(radii ** (3.0 - exponent)))


def ripen(radii: NDArray[np.float64], duration_s: float, law: Ripening) -> NDArray[np.float64]:
    """Return the radii after `duration_s`; a particle that dissolved has radius 0.

    Integrated in r^n, in which even the end of a particle is smooth, by an embedded Runge–Kutta pair with step control
    (Bogacki & Shampine, doi:10.1016/0893-9659(89)90079-7). Steps end where a particle dissolves; in populations of more
    than a few hundred, dissolutions within a thousandth of the coarsening time are taken together. Without flux
    the total volume is kept to rounding.

    Parameters
    ----------
    radii : float64 array of shape (N,)
        Radii in nm, all above ``law.minimum_nm``.
    """
    result = np.zeros_like(radii)
    alive = np.arange(len(radii))
    power, left, step = radii**law.exponent, duration_s, duration_s
    while left > 0.0 and len(alive):
        step = min(step, left, _until_dissolution(power, law))
        after, error = _attempt(power, step, law)
        if error > 1.0:
            step *= max(0.2, 0.9 * error ** (-1.0 / 3.0))
            continue
        left = 0.0 if step >= left else left - step
        gone = after <= law.minimum_nm**law.exponent * (1.0 + 1e-9)
        power, alive = _release(power, after, gone, law), alive[~gone]
        step *= min(5.0, 0.9 * max(error, 1e-3) ** (-1.0 / 3.0))
    result[alive] = power ** (1.0 / law.exponent)
    return result


def _rate(power: NDArray[np.float64], law: Ripening) -> NDArray[np.float64]:
    """Return d(r^n)/dt = n k (r/r* − 1) + n r^(n−1) flux."""
    # inside a step a particle may pass its end by rounding: it then has the smallest size, not a complex one
    radii = np.maximum(power, (0.5 * law.minimum_nm) ** law.exponent) ** (1.0 / law.exponent)
    slope = np.zeros_like(radii)
    if law.rate:
        slope += law.rate * (radii / critical_radius(radii, law.exponent) - 1.0)
    if law.flux_nm_per_s:
        slope += law.flux_nm_per_s * radii ** (law.exponent - 1)
    return law.exponent * slope


def _attempt(power: NDArray[np.float64], step: float, law: Ripening) -> tuple[NDArray[np.float64], float]:
    """Take one step; return the new r^n and the largest error over what is allowed."""
    first = _rate(power, law)
    second = _rate(power + 0.5 * step * first, law)
    third = _rate(power + 0.75 * step * second, law)
    after = power + step * (2.0 * first + 3.0 * second + 4.0 * third) / 9.0
    fourth = _rate(after, law)
    error = step * (-5.0 * first / 72.0 + second / 12.0 + third / 9.0 - fourth / 8.0)
    allowed = TOLERANCE * (power + 0.03 * float(power.mean()))
    # particles about to dissolve are not followed below their end, nor finer than dissolutions are told apart
    soon = law.minimum_nm**law.exponent + 5.0 * _resolution(power, law) * _speed(power, law)
    followed = (after > law.minimum_nm**law.exponent) & (power > soon)
    return after, float(np.max(np.abs(error) / allowed, where=followed, initial=0.0))


def _speed(power: NDArray[np.float64], law: Ripening) -> NDArray[np.float64]:
    """Return a bound of how fast r^n falls until the end: ripening is fastest at r = 0, evaporation now."""
    evaporation = max(-law.flux_nm_per_s, 0.0) * power ** (1.0 - 1.0 / law.exponent)
    return np.asarray(law.exponent * (law.rate + evaporation))


def _resolution(power: NDArray[np.float64], law: Ripening) -> float:
    """Return the time to which dissolutions are told apart: none for few particles, 1e-3 of r*ⁿ/(nk) for a thousand."""
    fastest = float(np.max(_speed(power, law)))
    return 1e-3 * min(1.0, len(power) / 1000.0) ** 2 * float(power.max()) / fastest if fastest else 0.0


def _until_dissolution(power: NDArray[np.float64], law: Ripening) -> float:
    """Return a time in which no particle dissolves, but at least what separates two dissolutions."""
    shrinking = _rate(power, law) < 0.0
    if not shrinking.any():
        return float("inf")
    left = (power - law.minimum_nm**law.exponent) / _speed(power, law)
    return max(float(np.min(left[shrinking])), _resolution(power, law))


def _release(
    before: NDArray[np.float64], after: NDArray[np.float64], gone: NDArray[np.bool_], law: Ripening
) -> NDArray[np.float64]:
    """Remove dissolved particles; give what is left of them to the others in the shares of the law, r^(4−n)."""
    to_volume = 3.0 / law.exponent
    power = after[~gone]
    if not law.rate or not len(power):
        return power
    volume = power**to_volume
    if law.flux_nm_per_s:
        released = float(np.sum(np.maximum(after[gone], 0.0) ** to_volume))
    else:
        released = float(np.sum(before**to_volume) - np.sum(volume))
    share = power ** ((4.0 - law.exponent) / law.exponent)
    return np.asarray((volume + released * share / np.sum(share)) ** (1.0 / to_volume))


def self_similar_radii(rng: np.random.Generator, count: int, exponent: int) -> NDArray[np.float64]:
    """Draw radii, in units of r*, from the distribution that ripening with `exponent` tends to.

    With u = r/r*: p(u) = exp(∫ 3ν/W du) / −W, W(u) = u^(1−n)(u − 1) − νu, ν = ((n−1)/n)ⁿ/(n−1), u < n/(n−1).
    """
    nu = ((exponent - 1) / exponent) ** exponent / (exponent - 1)
    # denser towards the upper end, where the distribution falls to zero steeply
    u = exponent / (exponent - 1) * (1.0 - np.linspace(1.0, 1e-3, 20_001) ** 2) + 1e-9
    w = u ** (1.0 - exponent) * (u - 1.0) - nu * u
    slope = 3.0 * nu / w
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(u))])
    density = np.exp(np.maximum(integral, -700.0)) / -w
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(u))])
    return np.asarray(np.interp(rng.random(count), cumulative / cumulative[-1], u))
