"""A polynomial surface through block means, by iteratively reweighted least squares, in passes over the blocks.

The normal equations of Σ c_ij y^i x^j hold nothing but moments Σ w y^p x^q, which are sums over rows of sums over
columns: 11 multiplications a block instead of 65.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]


@kernel
def _residuals(values: Values, found: Values, y: Values, x: Values, out: Values) -> None:
    """Write values less the surface Σ found_ij y^i x^j."""
    size = found.shape[0]
    line = np.empty(size)
    for r in range(values.shape[0]):
        for j in range(size):
            line[j] = 0.0
            for i in range(size - 1, -1, -1):
                line[j] = line[j] * y[r] + found[i, j]
        for c in range(values.shape[1]):
            level = 0.0
            for j in range(size - 1, -1, -1):
                level = level * x[c] + line[j]
            out[r, c] = values[r, c] - level


@kernel
def _scatter(residual: Values, mad_to_sigma: float) -> float:
    """Return the standard deviation that the values below the surface speak of; 0 where none is."""
    below = np.empty(residual.size)
    count = 0
    for value in residual.flat:
        if value < 0.0:
            below[count] = -value
            count += 1
    return mad_to_sigma * np.median(below[:count]) if count else 0.0


@kernel
def _weight(residual: float, reject: float, symmetric: bool) -> float:
    """Tukey's biweight on the particles' side, Huber's weight below the surface (or Tukey's on both)."""
    if symmetric or residual > 0.0:
        ratio = residual / reject
        inside = max(0.0, 1.0 - ratio * ratio)
        return inside * inside
    return 1.0 / max(1.0, -residual / reject)


@kernel
def _moments(  # noqa: PLR0917 - one pass over the blocks
    values: Values,
    residual: Values,
    y: Values,
    x: Values,
    scale: float,
    reject: float,
    symmetric: bool,
    degree: int,
) -> tuple[Values, Values]:
    """Return Σ w y^p x^q (2d + 1, 2d + 1) and Σ w b y^p x^q (d + 1, d + 1) over the blocks b."""
    size = 2 * degree + 1
    moments, right = np.zeros((size, size)), np.zeros((degree + 1, degree + 1))
    line, target = np.empty(size), np.empty(degree + 1)
    for r in range(values.shape[0]):
        line[:] = 0.0
        target[:] = 0.0
        for c in range(values.shape[1]):
            power = _weight(residual[r, c] / scale, reject, symmetric)
            for q in range(size):
                line[q] += power
                if q <= degree:
                    target[q] += power * values[r, c]
                power *= x[c]
        power = 1.0
        for p in range(size):
            for q in range(size):
                moments[p, q] += power * line[q]
            if p <= degree:
                for q in range(degree + 1):
                    right[p, q] += power * target[q]
            power *= y[r]
    return moments, right


@kernel
def _solved(matrix: Values, right: Values) -> Values:
    """Solve a positive definite system by Cholesky's factors, which replace the lower half of `matrix`."""
    size = right.shape[0]
    for j in range(size):
        for k in range(j):
            for i in range(j, size):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
        root = np.sqrt(matrix[j, j])
        for i in range(j, size):
            matrix[i, j] /= root
    found = right.copy()
    for i in range(size):
        for k in range(i):
            found[i] -= matrix[i, k] * found[k]
        found[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            found[i] -= matrix[k, i] * found[k]
        found[i] /= matrix[i, i]
    return found


@kernel
def robust_surface(  # noqa: PLR0917 - the method's constants stand with their reasons where it is called
    values: Values,
    y: Values,
    x: Values,
    degree: int,
    symmetric: bool,
    least: float,
    at_first: float,
    narrowing: float,
    iterations: int,
    mad_to_sigma: float,
) -> Values:
    """Return the coefficients (degree + 1, degree + 1) of the surface, i + j ≤ degree.

    Parameters
    ----------
    values : float64 (R, C)
        Block means.
    y, x : float64 (R,), (C,)
        Places of the blocks, −1…1.
    degree, symmetric
        As in `insitu.models.background`.
    least, at_first, narrowing
        The bound of rejection, in standard deviations, falls from `at_first` by `narrowing` each time down to `least`.
    iterations : int
    mad_to_sigma : float
    """
    terms = np.array([(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)])
    count = len(terms)
    found = np.zeros((degree + 1, degree + 1))
    found[0, 0] = np.median(values)
    residual = np.empty_like(values)
    matrix, right = np.empty((count, count)), np.empty(count)
    for iteration in range(iterations):
        reject = max(least, at_first * narrowing**iteration)
        _residuals(values, found, y, x, residual)
        scatter = _scatter(residual, mad_to_sigma)
        if scatter <= 1e-9 * (1.0 + abs(found[0, 0])):
            break
        moments, targets = _moments(values, residual, y, x, scatter, reject, symmetric, degree)
        for a in range(count):
            right[a] = targets[terms[a, 0], terms[a, 1]]
            for b in range(count):
                matrix[a, b] = moments[terms[a, 0] + terms[b, 0], terms[a, 1] + terms[b, 1]]
            matrix[a, a] += 1e-9 * values.size
        moved = _solved(matrix, right)
        step = 0.0
        for a in range(count):
            step = max(step, abs(moved[a] - found[terms[a, 0], terms[a, 1]]))
            found[terms[a, 0], terms[a, 1]] = moved[a]
        if reject == least and step < 1e-3 * scatter:
            break
    return found
