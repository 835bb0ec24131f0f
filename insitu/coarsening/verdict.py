"""What the fits of ⟨r⟩(t) allow to be said, in words that claim no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.families import MIN_FAMILIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPONENTS = (2, 3, 4)
MIN_GROWTH = 1.5
MIN_DELTA_AIC = 4.0
MIN_SUPPORT = 0.9
# the free exponent may lie this far from a whole one before that one is refused
NEAR_ENOUGH = 0.3
# the laws hold for a volume that is conserved: beyond this factor, either way, none of them is named
VOLUME_FACTOR = 2.0

# what an exponent is compatible with; the same n never names one mechanism
MEANING = {
    2: "n = 2: compatible with attachment over the whole surface as the slow step (Wagner)",
    3: "n = 3: compatible with volume diffusion (LSW), or with attachment at the perimeter of supported particles",
    4: "n = 4: compatible with surface diffusion on the support (Chakraverty)",
}
CAUTION = "An exponent never names one mechanism: coalescence, loss of material and the size distribution change it too"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the fits of ⟨r⟩(t) allow to be said: the exponent, or None with the reason in `sentence`."""

    n: int | None
    sentence: str


def too_few(n_families: int, effective: float) -> Verdict | None:
    """Return the verdict on a mean over so few that it is no population's; None where there are enough."""
    if effective >= MIN_FAMILIES:
        return None
    return Verdict(
        None,
        f"Not decided: the mean is over {n_families} merge families that count as {effective:.1f} of equal size, and a "
        f"law of growth needs {MIN_FAMILIES:.0f}.",
    )


def chosen(best: int, aic: dict[int, float], support: dict[int, float], growth: float) -> Verdict:
    """Choose among n = 2, 3, 4.

    Parameters
    ----------
    best : int
        Exponent of the least AIC.
    aic : dict
        Exponent → AIC.
    support : dict
        Exponent → share of the bootstrap's draws in which it fits best; empty without a bootstrap.
    growth : float
        Fitted radius at the end over that at the beginning.
    """
    second = min((n for n in aic if n != best), key=lambda n: aic[n])
    if growth < 1 / MIN_GROWTH:
        return Verdict(None, f"No growth law: ⟨r⟩ shrank to {growth:.2f} of what it was.")
    if growth < MIN_GROWTH:
        return Verdict(
            None,
            f"Not decided: ⟨r⟩ changed by a factor of {_down(growth, 2)}, "
            f"and below {MIN_GROWTH} all exponents look alike.",
        )
    if (difference := aic[second] - aic[best]) < MIN_DELTA_AIC:
        return Verdict(
            None,
            f"Not decided: n = {best} and n = {second} fit about equally well "
            f"(ΔAIC = {_down(difference, 1)}, below {MIN_DELTA_AIC:.0f}).",
        )
    if (drawn := support.get(best, 1.0)) < MIN_SUPPORT:
        return Verdict(
            None,
            f"Not decided: n = {best} fits best, but in {_down(100 * drawn, 0)} % of the bootstrap draws only "
            f"(below {100 * MIN_SUPPORT:.0f} %).",
        )
    return Verdict(best, f"⟨r⟩(t) decides for {MEANING[best]}. {CAUTION}.")


def near_enough(verdict: Verdict, n_free: float, low: float, high: float) -> Verdict:
    """Take a verdict back where the free exponent fits better and is another one, beyond its interval."""
    if verdict.n is None or abs(n_free - verdict.n) <= NEAR_ENOUGH or low <= verdict.n <= high:
        return verdict
    return Verdict(
        None,
        f"Not decided: none of n = 2, 3, 4 describes ⟨r⟩(t); the best exponent is {n_free:.1f}, "
        "which no single law of this family has.",
    )


def of_a_closed_system(verdict: Verdict, volume: NDArray[np.float64]) -> Verdict:
    """Name no mechanism where much material came or went."""
    known = volume[np.isfinite(volume)]
    if verdict.n is None or not len(known) or 1 / VOLUME_FACTOR <= known[-1] <= VOLUME_FACTOR:
        return verdict
    return Verdict(
        verdict.n,
        f"⟨r⟩(t) follows n = {verdict.n}, but this is no coarsening of a closed system: the volume proxy changed by "
        f"{100 * (known[-1] - 1):+.0f} %. None of the mechanisms behind the exponent may be read from it.",
    )


def _down(value: float, digits: int) -> str:
    """Round down: what lies below a bound must not be printed as the bound."""
    return f"{np.floor(value * 10**digits + 1e-9) / 10**digits:.{digits}f}"
