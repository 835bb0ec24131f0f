"""Loops over the pixels of one frame, compiled by numba: what `prepare` and `models` do on a CPU.

Each pass reads a frame once, row by row, so that what it needs stays in the cache; no kernel holds the GIL and none
reorders a sum, so a pixel's value depends neither on the batch nor on the number of threads. Where numba is absent, and
on a GPU, the callers have tensor operations that do the same.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@cache
def compiled() -> bool:
    """Return whether numba can be imported, and the loops used."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def ascending(sample: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values of an array of any shape as float32 in ascending order: medians then stand in the middle."""
    values = np.asarray(sample, np.float32)
    if not compiled():
        return np.sort(values, axis=None)
    from insitu.pixels import ordering

    return ordering.ascending(values)
