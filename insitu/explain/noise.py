"""Images of noise alone, like the support of a given image: what a network sees in them is not there.

A network that has learned its training noise by heart answers other noise: its channels are stirred by noise as by
particles, and it calls parts of it particle. (Horwath et al. 2020, doi:10.1038/s41524-020-00363-x, look at activations
for the same reason.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray
    from torch import nn

_LEAST_PX = 400


def correlation(image: NDArray[np.float32], support: NDArray[np.bool_]) -> float:
    """Return the correlation of neighbouring support pixels (rows and columns), 0 where there are too few."""
    total, weight = 0.0, 0
    for axis in (0, 1):
        a, b = np.moveaxis(image, axis, 0)[:-1], np.moveaxis(image, axis, 0)[1:]
        both = np.moveaxis(support, axis, 0)
        both = both[:-1] & both[1:]
        if both.sum() < _LEAST_PX or image[support].std() == 0.0:
            continue
        total += float(np.corrcoef(a[both], b[both])[0, 1]) * int(both.sum())
        weight += int(both.sum())
    return max(0.0, total / weight) if weight else 0.0


def images(count: int, side: int, neighbours: float, seed: int) -> NDArray[np.float32]:
    """Return noise of mean 0 and variance 1, (count, side, side), whose neighbours correlate as given.

    White noise behind a Gaussian, as wide as it takes.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    made = rng.standard_normal((count, side, side))
    if neighbours > 0.01:
        sigma = _width(min(neighbours, 0.98))
        made = np.stack([gaussian_filter(m, sigma, mode="wrap", radius=_reach(sigma)) for m in made])
    made -= made.mean(axis=(1, 2), keepdims=True)
    return np.asarray(made / made.std(axis=(1, 2), keepdims=True), np.float32)


def _width(neighbours: float) -> float:
    """Return the σ in px of the sampled Gaussian that gives white noise this correlation of neighbours.

    A continuous Gaussian would give exp(−1/4σ²), which is wrong below one px.
    """
    from scipy.optimize import brentq

    def excess(sigma: float) -> float:
        w = np.exp(-0.5 * (np.arange(-_reach(sigma), _reach(sigma) + 1) / sigma) ** 2)
        return float((w[1:] * w[:-1]).sum() / (w * w).sum() - neighbours)

    return float(brentq(excess, 0.1, 8.0))


def _reach(sigma: float) -> int:
    return int(4.0 * sigma) + 2


def false_alarms(module: nn.Module, noise: Sequence[torch.Tensor], threshold: float) -> dict[str, float]:
    """Return what a network sees in noise: share of px above the threshold, pieces, largest probability."""
    import torch
    from scipy import ndimage

    from insitu.explain.attribution import logit

    share, pieces, largest = [], [], 0.0
    with torch.inference_mode():
        for image in noise:
            p = torch.sigmoid(logit(module, image[None, None]))[0].numpy()
            mask = p > threshold
            share.append(float(mask.mean()))
            pieces.append(int(ndimage.label(mask, np.ones((3, 3)))[1]))
            largest = max(largest, float(p.max()))
    return {
        "share_called_particle": float(np.mean(share)),
        "pieces_per_image": float(np.mean(pieces)),
        "largest_probability": largest,
    }


def verdict(rows: Sequence[dict[str, Any]], alarms: dict[str, float]) -> str:
    """Say in one sentence what the noise did."""
    stirred = [r["stirred_by_noise"] for r in rows if r["state"] == "alive" and np.isfinite(r["stirred_by_noise"])]
    share = float(np.mean([v >= 1.0 for v in stirred])) if stirred else 0.0
    seen = alarms["share_called_particle"]
    what = (
        "noise alone gives no particle"
        if seen == 0.0
        else f"noise alone gives {alarms['pieces_per_image']:.3g} false particles an image ({100 * seen:.3g} % of px)"
    )
    return f"{what}; {100 * share:.0f} % of living channels are stirred by noise as much as by this image"
