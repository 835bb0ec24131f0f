"""The loops over runs that everything here and in `measure` is made of: what they compute, and who computes it.

`kernels` compiles them with numba, `arrays` writes them in numpy alone; both give the same bits.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column: TypeAlias = NDArray[np.int32]
    Lines: TypeAlias = tuple[Column, Column, Column]  # row, start, stop of each run, contiguous, in raster order


class Loops(Protocol):
    """What both implementations offer. Labels are int32, 1…n; images are C-contiguous, in native byte order."""

    def extract(self, mask: NDArray[np.uint8]) -> Lines:
        """Return the runs of nonzero pixels of a C-contiguous mask (H, W)."""

    def run_sums(self, lines: Lines, image: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of an image (H, W) over each run: int64, or float64, left to right, for a float image."""

    def unite(self, lines: Lines) -> tuple[Column, int]:
        """Return the 8-connected component of each run, numbered in raster order, and their number."""

    def intersect(self, a: Lines, b: Lines) -> NDArray[np.int64]:
        """Return (3, K): run of `a`, run of `b` and the pixels they share, for every pair that shares any."""

    def fill(self, lines: Lines, value: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the value of each run into its pixels of `out` (H, W)."""

    def moments(self, lines: Lines, label: Column, n: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return per label the sums (n, 6) of 1, y, x, y², xy, x² over its pixels and its box (n, 4) y0 x0 y1 x1."""

    def totals(self, label: Column, values: NDArray[Any], n: int) -> NDArray[Any]:
        """Return the sum per label of a value per run, added in raster order, in the dtype of `values`."""

    def border_steps(self, lines: Lines, label: Column, n: int, shape: tuple[int, int]) -> NDArray[np.int64]:
        """Count per label its border pixels (n, 3) by kind of step, see `step_kinds`."""


@cache
def fastest() -> Loops:
    """Return the compiled loops, or the numpy ones where numba cannot be imported."""
    try:
        from insitu.runs import kernels
    except ImportError:
        from insitu.runs import arrays

        return arrays
    return kernels


@cache
def step_kinds() -> NDArray[np.int32]:
    """Return the kind of step for each neighbourhood of a border pixel: 0, 1, 2 are worth 1, √2, (1 + √2)/2 px, −1 nil.

    A pixel of a label is on its border when one of its four side neighbours is not of that label. The code of its
    neighbourhood is 1 + 2 per side neighbour + 10 per corner neighbour that is on the same border. Benkrid & Crookes,
    Design and FPGA implementation of a perimeter estimator, Queen's University of Belfast (2000), as it stands in
    `skimage.measure.perimeter`.
    """
    kinds = np.full(50, -1, np.int32)
    kinds[[5, 7, 15, 17, 25, 27]] = 0
    kinds[[21, 33]] = 1
    kinds[[13, 23]] = 2
    return kinds


def sums_over(lines: Lines, image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the sum over each run of an image of any layout and byte order: int64, or float64 for a float image."""
    if image.shape != shape:
        raise ValueError(f"an image of shape {image.shape} cannot be summed over a mask of shape {shape}")
    if image.dtype.kind not in "biuf":
        raise ValueError(f"only real numbers can be summed, not {image.dtype}")
    return fastest().run_sums(lines, np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("=")))
