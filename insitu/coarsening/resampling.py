"""The bootstrap of sums: particles drawn with replacement, at a cost that does not grow with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 2000


def resampled_sums(parts: NDArray[np.float64], draws: int, seed: int = 0) -> NDArray[np.float64]:
    """Return sums over particles drawn with replacement.

    Beyond 2000 particles, they are first joined at random into 2000 groups of equal number (one more or less), which
    are drawn instead: the sums scatter alike.

    Parameters
    ----------
    parts : float64 array of shape (N, K)
        What each particle adds to each of K sums.

    Returns
    -------
    float64 array of shape (draws, K)
    """
    rng = np.random.default_rng(seed)
    if len(parts) > GROUPS:
        group = rng.permutation(len(parts)) % GROUPS
        parts = np.stack([np.bincount(group, column, GROUPS) for column in parts.T], axis=1)
    n = len(parts)
    if not n:
        return np.zeros((draws, parts.shape[1]))
    times = rng.multinomial(n, np.full(n, 1.0 / n), size=draws)
    return np.asarray(times @ parts, np.float64)
