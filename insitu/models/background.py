"""Smooth parts of an image: Gaussians from shifted sums, and an illumination surface that particles cannot bend.

Element-wise additions only, so that a pixel's value depends neither on the batch nor on the number of threads; one
shifted addition costs about 1 ms per 1792×1920 frame and core where a one-channel convolution costs tens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_MOST_BLOCKS = 4096
_SAMPLE_PX = 32_768
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
    wide = functional.pad(image, (reach, reach, reach, reach))
    rows = wide[:, reach : reach + width] * weights[0]
    for i in range(1, reach + 1):
        rows.add_(wide[:, reach + i : reach + i + width] + wide[:, reach - i : reach - i + width], alpha=weights[i])
    out = rows[reach : reach + height] * weights[0]
    for i in range(1, reach + 1):
        out.add_(rows[reach + i : reach + i + height] + rows[reach - i : reach - i + height], alpha=weights[i])
    return out.mul_(_row(1.0 / _inside(height, weights), out)[:, None]).mul_(_row(1.0 / _inside(width, weights), out))


def border_noise(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return by how much white noise smoothed by `smooth` exceeds its interior value, (H, W) ≥ 1.

    Along a border half of the Gaussian's weight is missing, so fewer pixels are averaged: 1.41 at an edge, 2 in a
    corner.
    """
    weights = gaussian_weights(sigma)
    squares = [w * w for w in weights]
    total = squares[0] + 2 * sum(squares[1:])
    factors = [np.sqrt(_inside(n, squares) / total) / _inside(n, weights) for n in image.shape]
    return _row(factors[0], image)[:, None] * _row(factors[1], image)


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


def _surface(image: torch.Tensor, degree: int, *, symmetric: bool) -> torch.Tensor:
    import torch
    from torch.nn import functional

    height, width = image.shape
    side = 16
    while height * width > _MOST_BLOCKS * side**2:
        side *= 2
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


def _robust_fit(values: NDArray[np.float64], degree: int, *, symmetric: bool) -> NDArray[np.float64]:
    """Return the coefficients (degree + 1, degree + 1) of Σ c_ij y^i x^j, i + j ≤ degree."""
    rows, columns = values.shape
    y = _powers(np.linspace(-1, 1, rows) if rows > 1 else np.zeros(1), degree)
    x = _powers(np.linspace(-1, 1, columns) if columns > 1 else np.zeros(1), degree)
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design = np.stack([np.outer(y[:, i], x[:, j]).ravel() for i, j in terms], axis=1)
    target = values.ravel()
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
        ridge = 1e-9 * len(target) * np.eye(len(terms))
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


def support(image: torch.Tensor) -> tuple[float, float]:
    """Return level and noise of the support of an image (H, W), particles positive.

    The noise is measured below the level, where no particle lies, and what stands more than two of it above is cut
    away until the level stands still.
    """
    stride = max(1, int((image.numel() / _SAMPLE_PX) ** 0.5))
    values = image[::stride, ::stride].cpu().numpy().astype(np.float64).ravel()
    level, noise = float(np.median(values)), 0.0
    for _ in range(12):
        noise = _MAD_TO_SIGMA * float(np.median(level - values[values <= level]))
        # -0.0285: median of a normal distribution cut off at +2 standard deviations
        moved = float(np.median(values[values <= level + 2.0 * noise])) + 0.0285 * noise
        if abs(moved - level) <= 1e-3 * noise:
            break
        level = moved
    return level, max(noise, 1e-6)
