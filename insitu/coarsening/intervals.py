"""Intervals of counts and shares that are exact or nearly so, also when the count is 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def poisson_interval(
    count: NDArray[np.float64], confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the exact interval of the mean of a Poisson count (Garwood 1936, doi:10.1093/biomet/28.3-4.437).

    Counts may be fractions: an effective number of independent events.
    """
    from scipy.special import gammaincinv

    count = np.asarray(count, np.float64)
    tail = 0.5 * (1.0 - confidence)
    low = np.where(count > 0, gammaincinv(np.where(count > 0, count, 1.0), tail), 0.0)
    return low, np.asarray(gammaincinv(count + 1.0, 1.0 - tail))


def clustered_interval(
    count: NDArray[np.float64], variance: NDArray[np.float64], confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the interval of a mean whose count varies more than a Poisson count, because events come in groups.

    The count is scaled by variance over count, to what would be as certain if events were single; never to more than
    the count itself.
    """
    count = np.asarray(count, np.float64)
    scale = np.maximum(np.divide(variance, count, out=np.ones_like(count), where=count > 0), 1.0)
    low, high = poisson_interval(count / scale, confidence)
    return low * scale, high * scale


def share_interval(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404).

    Numbers may be fractions: effective numbers of independent trials. Without a trial it is 0…1.
    """
    from scipy.special import betaincinv

    tail, failures = 0.5 * (1.0 - confidence), trials - successes
    low = float(betaincinv(successes, failures + 1.0, tail)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1.0, failures, 1.0 - tail)) if failures > 0 else 1.0
    return low, high
