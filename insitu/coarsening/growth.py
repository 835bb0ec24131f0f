"""How fast single particles grow, and the radius at which growth turns into shrinking.

A particle's speed dr/dt is the slope of a straight line through its sizes in one time window. In mean-field ripening,
dr/dt = k r^−(n−1) (r/r* − 1), all particles share one critical radius r*; in experiments the neighbours matter too
(Simonsen et al., J. Catal. 281, 147, 2011; Horwath et al., Nano Lett. 21, 5324, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening.resampling import resampled_sums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FEWEST_SIZES = 4
"""Sizes that a particle must have in a window for a speed with an error."""
FEWEST_PARTICLES = 12
"""Speeds that a window must have for a critical radius."""
SEARCHED = 1000
"""Particles up to which the whole search is repeated in every draw."""
NEAR = (0.6, 1.6)
"""Sizes, over the critical radius, whose speeds tell where the sign changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Speeds of particles, one entry a particle and window.

    Attributes
    ----------
    particle, window : int64 arrays of shape (N,)
    radius : float64 array
        Mean size in the window.
    rate, rate_se : float64 arrays
        dr/dt and its standard error.
    n : int64 array
        Sizes it was taken from.
    """

    particle: NDArray[np.int64]
    window: NDArray[np.int64]
    radius: NDArray[np.float64]
    rate: NDArray[np.float64]
    rate_se: NDArray[np.float64]
    n: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.particle)

    def take(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Rates:
        """Return the chosen entries."""
        return Rates(*(getattr(self, name)[keep] for name in self.__slots__))


def rates(sums: Mapping[str, NDArray[Any]], per_px: float = 1.0) -> Rates:
    """Return the speed of every particle in every window in which it has at least four sizes.

    Least squares of r against t. Sizes of one particle in successive frames err alike; with the lag-1 autocorrelation
    r1 of the residuals e (negative ones count as 0) n sizes weigh as much as

        n_eff = n (1 − r1) / (1 + r1), at least 3,   se² = (Σ e² / (n_eff − 2) + q²) / Σ (t − ⟨t⟩)²

    independent ones (Santer et al. 2000, doi:10.1029/1999JD901105, eqs. 3–6). q = 1/(√12 2πr) px is the scatter that
    areas of whole pixels leave in r, so that an area that is the same in all frames is not taken as known for sure.
    With few sizes the error is itself uncertain: Student's t with n − 2 degrees of freedom tells how far the truth may
    be.

    Parameters
    ----------
    sums : mapping
        Columns of `windows.TrackSums`.
    per_px : float
        Length units per px.
    """
    enough = (sums["n"] >= FEWEST_SIZES) & (sums["n"] * sums["tt"] > sums["t"] ** 2)
    of = {name: values[enough] for name, values in sums.items()}
    n = of["n"]
    spread = of["tt"] - of["t"] ** 2 / n
    slope = (of["tr"] - of["t"] * of["r"] / n) / spread
    start = (of["r"] - slope * of["t"]) / n
    squares, products = _residuals(of, slope, start)
    r1 = np.clip(np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0), 0.0, 1.0)
    free = np.maximum(n * (1.0 - r1) / (1.0 + r1), 3.0) - 2.0
    return Rates(
        of["particle"].astype(np.int64),
        of["window"].astype(np.int64),
        of["r"] / n * per_px,
        slope * per_px,
        np.sqrt((squares / free + _whole_pixels(of["r"] / n)) / spread) * per_px,
        n.astype(np.int64),
    )


def _whole_pixels(r_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of r = √(A/π) in px² that comes from areas being whole numbers: that of A is 1/12."""
    return np.asarray(1.0 / 12.0 / (2.0 * np.pi * r_px) ** 2)


def _residuals(
    of: Mapping[str, NDArray[Any]], slope: NDArray[np.float64], start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Σ e² and Σ e₋ e over neighbouring sizes, e = r − start − slope t."""
    n = of["n"]
    squares = of["rr"] - of["r"] ** 2 / n - slope * (of["tr"] - of["t"] * of["r"] / n)
    # what rounding leaves of a perfect fit is no scatter
    squares = np.where(squares > 1e-12 * of["rr"], squares, 0.0)
    inner_t = 2.0 * of["t"] - of["first_t"] - of["last_t"]
    inner_r = 2.0 * of["r"] - of["first_r"] - of["last_r"]
    products = (
        of["lag_rr"]
        - slope * of["lag_tr"]
        + slope**2 * of["lag_tt"]
        - start * inner_r
        + slope * start * inner_t
        + start**2 * (n - 1.0)
    )
    return squares, products


@dataclass(frozen=True, slots=True)
class Critical:
    """The size at which growth changes its sign in one window; `why` says why there is none."""

    radius: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    why: str = ""


def critical_radius(found: Rates, *, draws: int = 200, confidence: float = 0.95, seed: int = 0) -> Critical:
    """Return the size at which the particles of one window neither grow nor shrink.

    The size is taken where the running sum of speeds, from the smallest particle on, has its minimum: that is where a
    curve that never falls and lies nearest to the speeds crosses zero, whatever its shape. It is then made sharper by a
    parabola through r² dr/dt, which under the ripening laws of n = 2 and 3 is exactly one, between 0.6 and 1.6 of that
    size. Its interval comes from drawing particles with replacement; it is left out when the sign change gets lost in
    more than a tenth of the draws.

    Parameters
    ----------
    found : Rates
        Speeds of one window.
    """
    if len(found) < FEWEST_PARTICLES:
        return Critical(n=len(found), why=f"only {len(found)} particles with a speed")
    order = np.argsort(found.radius, kind="stable")
    r, rate = found.radius[order], found.rate[order]
    if r[0] == r[-1]:
        return Critical(n=len(found), why="all particles have the same size")
    error = (found.rate_se[order] * r**2) ** 2
    noise = 1.0 / (error + np.median(error) + 1e-300) if np.median(error) > 0 else np.ones(len(r))
    radius = _crossing(r, rate, noise, np.ones(len(r), np.int64))
    if radius is None:
        return Critical(n=len(found), why=_no_crossing(rate))
    rng = np.random.default_rng(seed)
    if len(r) <= SEARCHED:
        times = rng.multinomial(len(r), np.full(len(r), 1 / len(r)), size=draws)
        found_in = np.array([_crossing(r, rate, noise, t) or np.nan for t in times])
    else:  # many particles: the range stays where it is
        near = _near(r, radius)
        found_in = radius * (
            1.0 + _roots(resampled_sums(_parabola(r[near], rate[near], noise[near], radius), draws, seed))
        )
    kept = found_in[np.isfinite(found_in)]
    if draws < 20 or len(kept) < 0.9 * draws:
        return Critical(radius, n=len(found))
    low, high = np.quantile(kept, [0.5 - 0.5 * confidence, 0.5 + 0.5 * confidence])
    return Critical(radius, float(low), float(high), len(found))


def _no_crossing(rate: NDArray[np.float64]) -> str:
    if not (rate < 0).any():
        return "no particle shrinks"
    return "no particle grows" if not (rate > 0).any() else "growth does not change its sign with size"


def _crossing(
    r: NDArray[np.float64], rate: NDArray[np.float64], noise: NDArray[np.float64], times: NDArray[np.int64]
) -> float | None:
    """Return where growth changes from negative to positive; arrays in order of `r`, each row counting `times`."""
    total = np.cumsum(times * rate)
    k = int(np.argmin(total))
    if total[k] >= 0.0 or k == len(r) - 1 or total[-1] <= total[k]:
        return None
    guess = float(0.5 * (r[k] + r[k + 1]))
    for _ in range(3):
        near = _near(r, guess) & (times > 0)
        if len(np.unique(r[near])) < 4:
            return guess
        root = float(_roots(times[None, near] @ _parabola(r[near], rate[near], noise[near], guess))[0])
        if not np.isfinite(root):
            return guess
        guess *= 1.0 + root
        if abs(root) < 1e-3:
            break
    return guess


def _near(r: NDArray[np.float64], guess: float) -> NDArray[np.bool_]:
    return (r > NEAR[0] * guess) & (r < NEAR[1] * guess)


def _parabola(
    r: NDArray[np.float64], rate: NDArray[np.float64], noise: NDArray[np.float64], guess: float
) -> NDArray[np.float64]:
    """Return what each particle adds to the sums of a weighted parabola through r² dr/dt, (n, 8).

    Σ w u⁰…⁴ and Σ w y u⁰…², u = r/guess − 1.
    """
    u, y = r / guess - 1.0, r**2 * rate
    return np.stack([*(noise * u**k for k in range(5)), *(noise * y * u**k for k in range(3))], axis=1)


def _roots(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rising zero nearest to u = 0 of each parabola (D, 8); NaN where none is within reach."""
    place = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    matrix, right = sums[:, place], sums[:, 5:]
    # a trace of the diagonal keeps draws of few sizes solvable
    matrix = matrix + 1e-12 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    c, b, a = np.linalg.solve(matrix, right[:, :, None])[:, :, 0].T
    # of both zeros, −2c / (b + √(b² − 4ac)) is the one where the parabola rises, also where a is 0
    inner = b * b - 4.0 * a * c
    below = b + np.sqrt(np.maximum(inner, 0.0))
    known = (inner >= 0.0) & (below > 0.0)
    root = np.where(known, -2.0 * c / np.where(known, below, 1.0), np.nan)
    return np.where((root > NEAR[0] - 1.0) & (root < NEAR[1] - 1.0), root, np.nan)
