"""What the compiled (`insitu.pixels.pieces`) and the plain form of the tree of pieces share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns of `sums`: pixels, y, x, y², y·x, x², map, image, image², largest of the map, on the border, sides of the
# outline; then of the places `REACH` px outside of it that lie in no piece: their number, image, image², map.
COLUMNS = 16
REACH = 4


def chosen(score: NDArray[np.float64], parent: NDArray[np.int64], least: float) -> NDArray[np.bool_]:
    """Return the disjoint pieces of a tree (parents come first) with the largest sum of score − `least`."""
    n = len(score)
    inside, own = np.zeros(n), np.zeros(n, np.bool_)
    for i in range(n - 1, -1, -1):
        value = score[i] - least
        own[i] = value > 0 and value >= inside[i]
        if parent[i] >= 0:
            inside[parent[i]] += max(value, inside[i])  # inside is never below 0
    out, within = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for i in range(n):
        within[i] = parent[i] >= 0 and within[parent[i]]
        if own[i] and not within[i]:
            out[i] = within[i] = True
    return out
