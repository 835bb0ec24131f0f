"""Smooth parts of an image: Gaussians from shifted sums, and an illumination surface that particles cannot bend.

Element-wise additions only, so that a pixel's value depends neither on the batch nor on the number of threads. On a CPU
the loops of `insitu.pixels` do it row by row (a Gaussian of 2 px costs 5 ms a 1792×1920 frame and core, the same sums
of shifted tensors 27 ms); tensors elsewhere, and where numba is absent. The two differ in the last bits of a float32.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from insitu.pixels import ascending, compiled

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from numpy.typing import NDArray

_MOST_BLOCKS = 4096
SAMPLE_PX = 32_768
_DEGREE = 3
_ITERATIONS = 40
# Blocks farther than this many standard deviations on the particles' side carry no weight (Tukey's biweight).
# The fit begins wide, or the corners of an uneven beam would be taken for particles and bend the surface away from
# them.
_REJECT_SIGMA = 3.0
_REJECT_SYMMETRIC = 6.0
_REJECT_AT_FIRST = 12.0
_NARROWING = 0.75
_MAD_TO_SIGMA = 1.482602218505602


def gaussian_weights(sigma: float) -> list[float]:
    """Return the half kernel [w0, w1, … wr], r = 3σ, with w0 + 2 Σ wi = 1."""
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(max(1, round(3 * sigma)) + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    return [w / total for w in weights]


def smooth(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian of width `sigma` (px) of an image (H, W); at the border the mean of what is there, suitably weighted."""
    from torch.nn import functional

    weights = gaussian_weights(sigma)
    reach, (height, width) = len(weights) - 1, image.shape
    if _loops(image) is not None:
        smoothed = np.empty(image.shape, np.float32)
        smooth_into(_array(image), sigma, smoothed)
        return _tensor(smoothed)
    wide = functional.pad(image, (reach, reach, reach, reach))
    rows = wide[:, reach : reach + width] * weights[0]
    for i in range(1, reach + 1):
        rows.add_(wide[:, reach + i : reach + i + width] + wide[:, reach - i : reach - i + width], alpha=weights[i])
    out = rows[reach : reach + height] * weights[0]
    for i in range(1, reach + 1):
        out.add_(rows[reach + i : reach + i + height] + rows[reach - i : reach - i + height], alpha=weights[i])
    return out.mul_(_row(1.0 / _inside(height, weights), out)[:, None]).mul_(_row(1.0 / _inside(width, weights), out))


def smooth_into(
    image: NDArray[np.float32], sigma: float, out: NDArray[np.float32], most: NDArray[np.float32] | None = None
) -> None:
    """Do what `smooth` does with the compiled loops.

    Parameters
    ----------
    image, out : float32 (H, W)
        `out` is written and must not be `image`.
    sigma : float
        Width in px.
    most : float32 (⌈H/4⌉, ⌈W/4⌉), optional
        The largest value in each cell of 4×4 px is written here.
    """
    from insitu.pixels.smoothing import smooth_into as write

    weights, gains = _kernel(sigma, *image.shape)
    highest = np.empty((0, 0), np.float32) if most is None else most
    write(image, tuple(weights), weights, gains[0], gains[1], out, highest)


@cache
def _kernel(sigma: float, height: int, width: int) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Return the half kernel of a Gaussian and what makes up for the weight outside the frame, per row and column."""
    weights = gaussian_weights(sigma)
    gains = [np.asarray(1.0 / _inside(n, weights), np.float32) for n in (height, width)]
    return np.asarray(weights, np.float32), gains


def border_noise(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return by how much white noise smoothed by `smooth` exceeds its interior value, (H, W) ≥ 1.

    Along a border half of the Gaussian's weight is missing, so fewer pixels are averaged: 1.41 at an edge, 2 in a
    corner.
    """
    rows, columns = border_factors(sigma, *image.shape)
    return _row(rows, image)[:, None] * _row(columns, image)


@cache
def border_factors(sigma: float, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factors of `border_noise` per row and per column."""
    weights = gaussian_weights(sigma)
    squares = [w * w for w in weights]
    total = squares[0] + 2 * sum(squares[1:])
    rows, columns = (np.sqrt(_inside(n, squares) / total) / _inside(n, weights) for n in (height, width))
    return rows, columns


def _inside(pixels: int, weights: list[float]) -> NDArray[np.float64]:
    """Return the kernel's weight that falls on an axis of `pixels`, for each pixel."""
    full = np.array([*weights[:0:-1], *weights])
    return np.convolve(np.ones(pixels), full)[len(weights) - 1 :][:pixels]


def _row(values: NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.from_numpy(values.astype(np.float32)).to(like.device)


def flattened(image: torch.Tensor) -> torch.Tensor:
    """Take the illumination away and make the noise even over the frame; (H, W) → (H, W), particles positive.

    Where the beam is brighter, shot noise is larger. Its course over the frame is fitted to the mean difference of
    neighbours (particles hardly count there, and are rejected), kept between half and twice its mean.
    """
    from torch.nn import functional

    if (loops := _loops(image)) is not None and image.shape[1] > 1:
        return _tensor(_flattened(_array(image), loops))
    flat = image - background(image)
    if flat.shape[1] < 2:
        return flat
    steps = functional.pad((flat[:, 1:] - flat[:, :-1]).abs_()[None, None], (0, 1, 0, 0), mode="replicate")[0, 0]
    course = _surface(steps, 2, symmetric=True)
    mean = float(course.mean())
    return flat if mean <= 0.0 else flat / (course / mean).clamp(0.5, 2.0)


def background(image: torch.Tensor, *, symmetric: bool = False) -> torch.Tensor:
    """Fit a cubic surface to the support of an image (H, W) and return it at every pixel.

    Block means are fitted by iteratively reweighted least squares. Their scatter is measured below the surface, where
    no particle lies; blocks above it lose their weight, so that a particle may cover a large part of the field. With
    `symmetric` both sides are rejected alike (the polarity is not known yet).

    Parameters
    ----------
    image : torch.Tensor of shape (H, W), float32
        Particles positive unless `symmetric`.

    Returns
    -------
    torch.Tensor of shape (H, W), float32, same unit and device.
    """
    return _surface(image, _DEGREE, symmetric=symmetric)


def _loops(image: torch.Tensor) -> ModuleType | None:
    """Return the compiled loops where they can work on `image`."""
    if image.device.type != "cpu" or not compiled():
        return None
    from insitu.pixels import smoothing

    return smoothing


def _array(image: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = image.detach().contiguous().numpy()
    return array


def _tensor(image: NDArray[np.float32]) -> torch.Tensor:
    import torch

    return torch.from_numpy(image)


def _flattened(image: NDArray[np.float32], loops: ModuleType) -> NDArray[np.float32]:
    """Do what `flattened` does in three passes over the frame; the surface is never written down."""
    side = _block_side(image.shape)
    values = loops.block_means(image, side)
    surface = _fit(values, _DEGREE, symmetric=False)
    axes = _axes(image.shape, values.shape, side)
    values = loops.step_means(image, surface, *axes, side)
    course = _fit(values, 2, symmetric=True)
    means = [_powers(axis.astype(np.float64), len(course) - 1).mean(axis=0) for axis in axes]
    mean = float(means[0] @ course @ means[1])
    if mean <= 0.0:
        course, mean = np.ones((1, 1)), 1.0
    flat: NDArray[np.float32] = loops.levelled(image, surface, course / mean, axes, axes, (0.5, 2.0))
    return flat


def _block_side(shape: tuple[int, ...]) -> int:
    side = 16
    while shape[0] * shape[1] > _MOST_BLOCKS * side**2:
        side *= 2
    return side


def _axes(
    shape: tuple[int, ...], blocks: tuple[int, ...], side: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return where the pixels of both axes lie on those of the blocks."""
    y, x = (_positions(pixels, n, side) for pixels, n in zip(shape, blocks, strict=True))
    return y, x.astype(np.float32)


def _surface(image: torch.Tensor, degree: int, *, symmetric: bool) -> torch.Tensor:
    import torch
    from torch.nn import functional

    height, width = image.shape
    side = _block_side(image.shape)
    if (loops := _loops(image)) is not None:
        values = loops.block_means(_array(image), side)
        fitted = _fit(values, degree, symmetric=symmetric)
        return _tensor(loops.surface(fitted, *_axes(image.shape, values.shape, side)))
    blocks = functional.avg_pool2d(image[None, None], side, ceil_mode=True, count_include_pad=False)[0, 0]
    values = blocks.cpu().numpy().astype(np.float64)
    degree = min(degree, *(n - 1 for n in values.shape))
    coefficients = _robust_fit(values, degree, symmetric=symmetric)
    y = _powers(_positions(height, values.shape[0], side), degree)
    x = _powers(_positions(width, values.shape[1], side), degree)
    with torch.autocast(image.device.type, enabled=False):  # 8 bits of mantissa would draw steps into the surface
        return _row(y @ coefficients, image) @ _row(x.T, image)


def _positions(pixels: int, blocks: int, side: int) -> NDArray[np.float64]:
    """Return where pixels lie on the block axis that runs from -1 (first block centre) to 1 (last)."""
    return ((np.arange(pixels) + 0.5) / side - 0.5) / max(blocks - 1, 1) * 2 - 1


def _powers(position: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    return np.stack([position**i for i in range(degree + 1)], axis=1)


def _fit(values: NDArray[np.float64], degree: int, *, symmetric: bool) -> NDArray[np.float64]:
    """Do what `_robust_fit` does with the compiled loops, to 1e-13; the degree is at most what the blocks can tell."""
    from insitu.pixels.fitting import robust_surface

    y, x = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in values.shape)
    least = _REJECT_SYMMETRIC if symmetric else _REJECT_SIGMA
    degree = min(degree, *(n - 1 for n in values.shape))
    how = (least, _REJECT_AT_FIRST, _NARROWING, _ITERATIONS, _MAD_TO_SIGMA)
    found: NDArray[np.float64] = robust_surface(values, y, x, degree, symmetric, *how)
    return found


@cache
def _design(rows: int, columns: int, degree: int) -> tuple[list[tuple[int, int]], NDArray[np.float64]]:
    """Return the exponents (i, j) of y and x of each term, and the terms at every block (rows · columns, terms)."""
    y = _powers(np.linspace(-1, 1, rows) if rows > 1 else np.zeros(1), degree)
    x = _powers(np.linspace(-1, 1, columns) if columns > 1 else np.zeros(1), degree)
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return terms, np.stack([np.outer(y[:, i], x[:, j]).ravel() for i, j in terms], axis=1)


def _robust_fit(values: NDArray[np.float64], degree: int, *, symmetric: bool) -> NDArray[np.float64]:
    """Return the coefficients (degree + 1, degree + 1) of Σ c_ij y^i x^j, i + j ≤ degree."""
    rows, columns = values.shape
    terms, design = _design(rows, columns, degree)
    target = values.ravel()
    ridge = 1e-9 * len(target) * np.eye(len(terms))
    found: NDArray[np.floating] = np.zeros(len(terms))
    found[0] = np.median(target)
    least = _REJECT_SYMMETRIC if symmetric else _REJECT_SIGMA
    for iteration in range(_ITERATIONS):
        reject = max(least, _REJECT_AT_FIRST * _NARROWING**iteration)
        residual = target - design @ found
        below = -residual[residual < 0]
        scatter = _MAD_TO_SIGMA * float(np.median(below)) if below.size else 0.0
        if scatter <= 1e-9 * (1.0 + abs(found[0])):
            break
        weighted = design * _weights(residual / scatter, reject, symmetric=symmetric)[:, np.newaxis]
        moved = np.linalg.solve(design.T @ weighted + ridge, weighted.T @ target)
        done = reject == least and np.abs(moved - found).max() < 1e-3 * scatter
        found = moved
        if done:
            break
    surface: NDArray[np.float64] = np.zeros((degree + 1, degree + 1))
    for (i, j), value in zip(terms, found, strict=True):
        surface[i, j] = value
    return surface


def _weights(residual: NDArray[np.floating], reject: float, *, symmetric: bool) -> NDArray[np.float64]:
    """Tukey's biweight on the particles' side, Huber's weight below the surface (or Tukey's on both)."""
    biweight: NDArray[np.float64] = np.clip(1 - (residual / reject) ** 2, 0, None) ** 2
    if symmetric:
        return biweight
    huber = 1.0 / np.maximum(1.0, np.abs(residual) / reject)
    return np.asarray(np.where(residual > 0, biweight, huber))


def support(image: torch.Tensor, *, sample_px: int = SAMPLE_PX) -> tuple[float, float]:
    """Return level and noise of the support of an image (H, W), particles positive.

    The noise is measured below the level, where no particle lies, and what stands more than two of it above is cut
    away until the level stands still. Few more pixels than `sample_px`, evenly spaced, are looked at.
    """
    down, across = sample_strides(image.shape, sample_px)
    return support_of(image[::down, ::across].cpu().numpy())


def sample_strides(shape: tuple[int, ...], sample_px: int = SAMPLE_PX) -> tuple[int, int]:
    """Return the distances, down and across, of the pixels that `support` looks at."""
    share = shape[0] * shape[1] / sample_px
    down = max(1, int(share**0.5))
    return down, max(1, int(share / down))


def support_of(sample: NDArray[np.floating]) -> tuple[float, float]:
    """Return level and noise of a sample of pixels, see `support`; sorted once, every median is then in the middle."""
    values = ascending(sample).astype(np.float64)
    level, noise = _middle(values, len(values)), 0.0
    for _ in range(12):
        below = int(np.searchsorted(values, level, side="right"))
        noise = _MAD_TO_SIGMA * (level - _middle(values, below))
        # -0.0285: median of a normal distribution cut off at +2 standard deviations
        moved = _middle(values, int(np.searchsorted(values, level + 2.0 * noise, side="right"))) + 0.0285 * noise
        if abs(moved - level) <= 1e-3 * noise:
            break
        level = moved
    return level, max(noise, 1e-6)


def _middle(values: NDArray[np.float64], count: int) -> float:
    """Return the median of the first `count` of sorted values."""
    return 0.5 * float(values[(count - 1) // 2] + values[count // 2])
