"""Numbers for people: as many digits as are known, with their interval and unit; what is not known is said in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN = "unknown"
_RESAMPLES = 2000
_THIN = "\u202f"


@dataclass(frozen=True, slots=True)
class Number:
    """One of the numbers at the head of a report.

    Attributes
    ----------
    label : str
        What it is.
    value : str
        With its unit.
    interval : str
        The 95 % interval, ``"2.71 to 2.89"``; empty where there is none.
    note : str
        What it is compared with, or why it has no interval.
    """

    label: str
    value: str
    interval: str = ""
    note: str = ""


def known(value: Any) -> bool:  # noqa: ANN401 - a cell of any table
    """Return whether a value is a finite number."""
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def said(value: Any, unit: str = "", digits: int = 3) -> str:  # noqa: ANN401 - a cell of any table
    """Return a number in at least `digits` digits with its unit, or ``"unknown"``."""
    if not known(value):
        return UNKNOWN
    number = float(value)
    if number == 0:
        text = "0"
    elif abs(number) >= 10 ** (digits - 1) or isinstance(value, (int, np.integer)):
        text = f"{number:,.0f}".replace(",", _THIN) if abs(number) < 1e6 else _scientific(number, digits)
    elif abs(number) >= 1e-3:
        text = f"{number:.{max(0, digits - 1 - math.floor(math.log10(abs(number))))}f}"
    else:
        text = _scientific(number, digits)
    return joined(text.replace("-", "−"), unit)


def within(value: Any, low: Any, high: Any, unit: str = "") -> tuple[str, str]:  # noqa: ANN401 - cells of any table
    """Return a number and its interval with the digits that the interval allows."""
    if not (known(value) and known(low) and known(high)):
        return said(value, unit), ""
    width = abs(float(high) - float(low)) / 2
    largest = max(abs(float(v)) for v in (value, low, high))
    if width == 0 or largest == 0 or largest >= 1e5 or largest < 1e-3:
        return said(value, unit), f"{said(low)} to {said(high)}"
    # two digits of the half-width; a wide interval rounds to tens or hundreds
    places = min(6, 1 - math.floor(math.log10(width)))
    if places > 0:
        places = min(places, max(0, 3 - math.floor(math.log10(largest))))
    texts = [_placed(round(float(v), places), max(0, places)) for v in (value, low, high)]
    return joined(texts[0], unit), f"{texts[1]} to {texts[2]}"


def joined(number: str, unit: str) -> str:
    """Put a unit behind a number."""
    return f"{number}\u00a0{unit}" if unit else number


def percent(share: Any, digits: int = 2) -> str:  # noqa: ANN401 - a cell of any table
    """Return a share as ``12 %``; small ones keep a digit, and none is none."""
    if not known(share):
        return UNKNOWN
    hundred = 100 * float(share)
    if 0 < hundred < 0.1:
        return "under 0.1\u00a0%"
    return f"{hundred:.{0 if hundred == 0 or hundred >= 10 ** (digits - 1) else 1}f}\u00a0%"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 merger`` or ``2 mergers``."""
    return f"{said(number)} {noun if number == 1 else plural or noun + 's'}"


def poisson_interval(count: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a Poisson mean (Garwood 1936, doi:10.1093/biomet/28.3-4.437)."""
    from scipy.special import gammaincinv

    low = 0.0 if count == 0 else float(gammaincinv(count, 0.025))
    return low, float(gammaincinv(count + 1, 0.975))


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of a mean over independent values; None for fewer than three.

    The same values give the same interval (the seed is fixed).
    """
    if len(values) < 3:
        return None
    rng = np.random.default_rng(0)
    means = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(_RESAMPLES)])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _placed(number: float, places: int) -> str:
    return f"{number:,.{places}f}".replace(",", _THIN).replace("-", "−")


def _scientific(number: float, digits: int) -> str:
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}·10{raised}"
