"""No weights: flatten, smooth as little as the noise allows, cut at half of each particle's own contrast.

1. A cubic illumination surface that particles cannot bend is taken away (`background`).
2. The frame is smoothed by Gaussians of rising width; the noise at each width is measured on the support.
3. What stands more than `_DETECT_SIGMA` above the noise at any width is a particle: an empty support yields nothing.
4. Each particle's contrast is measured; its outline is where the frame crosses half of it (the edge of a blurred disc
lies at
   half its height), at the smallest width at which half the contrast is `_EDGE_SIGMA` times the noise.

The probability is that of a Gaussian error around this crossing, so 0.5 is the decision. Everything is per frame.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from insitu.models.background import background, smooth

if TYPE_CHECKING:
    import torch

# Widths in px rise by √2; beyond 5.7 px the outline would be softer than the particles this method is for.
_WIDTHS_PX = (1.0, 1.4142, 2.0, 2.8284, 4.0, 5.6569)
_DETECT_SIGMA = 5.0
_EDGE_SIGMA = 4.0
_CELL_PX = 4
_MAD_TO_SIGMA = 1.482602218505602
# Logistic curve closest to the normal distribution function (largest difference 0.0095).
_LOGISTIC_PER_SIGMA = 1.702
_SAMPLE_PX = 65_536
# Contrasts are summed as integers of this size, so that the order of summation (threads, CUDA atomics) changes nothing.
_FIXED_POINT = 1 << 16


class Classical:
    """Background-flattened, smoothed, thresholded; no weights (`Model`)."""

    name = "classical"
    threshold = 0.5
    multiple = 1

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Particle probability of every pixel.

        Parameters
        ----------
        images : torch.Tensor of shape (B, H, W), float32
            Normalised frames, particles positive.

        Returns
        -------
        torch.Tensor of shape (B, H, W), float32, 0…1
            Each frame by itself: the batch changes nothing.
        """
        import torch

        return torch.stack([_probability(image) for image in images])


def _probability(image: torch.Tensor) -> torch.Tensor:
    import torch

    flat = image - background(image)
    scales, noises = _ladder(flat)
    detected = torch.zeros_like(flat, dtype=torch.bool)
    for scale, noise in zip(scales, noises, strict=True):
        detected |= scale > _DETECT_SIGMA * noise
    if not bool(detected.any()):
        return torch.zeros_like(flat)
    half = 0.5 * _contrast(scales[len(scales) // 2], detected)
    score = (scales[-1] - half) / noises[-1]
    for scale, noise in reversed(list(zip(scales[:-1], noises[:-1], strict=True))):
        score = torch.where(half >= _EDGE_SIGMA * noise, (scale - half) / noise, score)
    return torch.where(half > 0, torch.sigmoid(_LOGISTIC_PER_SIGMA * score), 0.0)


def _ladder(flat: torch.Tensor) -> tuple[list[torch.Tensor], list[float]]:
    """Return the frame smoothed at every width, its support at 0, and the support's noise at that width."""
    scales, noises, image = [], [], flat
    for before, width in pairwise((0.0, *_WIDTHS_PX)):
        image = smooth(image, (width**2 - before**2) ** 0.5)
        level, noise = _support(image)
        scales.append(image - level)
        noises.append(noise)
    return scales, noises


def _support(image: torch.Tensor) -> tuple[float, float]:
    """Level and noise of the support: from the side without particles, these cut away step by step."""
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


def _contrast(image: torch.Tensor, detected: torch.Tensor) -> torch.Tensor:
    """Return at every pixel the contrast of the particle it belongs to or borders on, 0 elsewhere; (H, W).

    Particles are told apart on a grid of 4 px cells. The contrast is the mean over the particle, weighted with the
    contrast itself, so that its slopes count less than its plateau.
    """
    import torch
    from torch.nn import functional

    cells = functional.max_pool2d(detected[None, None].float(), _CELL_PX, ceil_mode=True)[0, 0] > 0
    weight = torch.where(detected, image.clamp(min=0.0), 0.0)
    sums = [
        functional.avg_pool2d(a[None, None], _CELL_PX, ceil_mode=True, count_include_pad=False)[0, 0]
        for a in (weight, weight * weight)
    ]
    label = _cell_components(cells).flatten()
    first, second = (
        torch.zeros(label.numel(), dtype=torch.int64, device=image.device).index_add_(
            0, label, (a.flatten() * _FIXED_POINT).round().long()
        )
        for a in sums
    )
    mean = (second.double() / first.clamp(min=1).double()).float()
    contrast = torch.where(cells, mean[label].reshape(cells.shape), 0.0)
    around = functional.max_pool2d(contrast[None, None], 3, stride=1, padding=1)
    full = functional.interpolate(around, scale_factor=_CELL_PX, mode="nearest")[0, 0]
    return full[: image.shape[0], : image.shape[1]]


def _cell_components(cells: torch.Tensor) -> torch.Tensor:
    """Mark 4-connected components of a small mask (h, w) by the largest cell index in each, 0 outside.

    The largest index spreads along whole rows and whole columns in turn; convex shapes settle in two or three rounds.
    """
    import torch

    height, width = cells.shape
    label = torch.where(cells, torch.arange(1, height * width + 1, device=cells.device).reshape(height, width), 0)
    while True:
        spread = _spread_along_rows(label, cells)
        spread = _spread_along_rows(spread.T.contiguous(), cells.T).T.contiguous()
        if torch.equal(spread, label):
            return torch.where(cells, label - 1, 0)
        label = spread


def _spread_along_rows(label: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Give every unbroken run of a row the largest label in it."""
    import torch
    from torch.nn import functional

    begins = cells & ~functional.pad(cells, (1, 0))[:, :-1]
    run = torch.cumsum(begins.flatten(), 0).reshape(cells.shape) * cells
    most = torch.zeros(int(run.max()) + 1, dtype=label.dtype, device=label.device)
    most.scatter_reduce_(0, run.flatten(), label.flatten(), "amax")
    return most[run]
