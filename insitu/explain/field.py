"""How much of the image an output pixel really sees: the gradient of one pixel's logit.

The arithmetic of layers says how far it could see. How far it does see, and with what weight, depends on the weights:
trained networks look mostly at the middle of their field (Luo et al. 2016, arXiv:1701.04128).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.explain.attribution import logit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray
    from torch import nn

_FIRST_PX = 64
_MOST_PX = 2048
SHARE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """What one output pixel sees.

    Attributes
    ----------
    weight : float64 array (2r+1, 2r+1)
        Mean |∂ logit / ∂ pixel| about the output pixel, sum 1.
    width_px : int
        Largest width of pixels with any gradient, over the output pixels that were asked.
    effective_px : float
        Side of the smallest square about the output pixel that holds `SHARE` of the weight.
    complete : bool
        False where the field is wider than the largest image that was tried.
    """

    weight: NDArray[np.float64]
    width_px: int
    effective_px: float
    complete: bool


def empirical(
    module: nn.Module, images: Sequence[torch.Tensor] | None = None, *, seed: int = 0, samples: int = 8
) -> Field:
    """Measure the field of a network.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    images : sequence of torch.Tensor (H, W), optional
        Conditioned images; noise of unit variance when absent.
    seed : int
        Of noise and of the output pixels asked.
    samples : int
        Output pixels; they lie differently on the network's coarse grids, which changes what they see.
    """
    rng = np.random.default_rng(seed)
    multiple = int(getattr(module, "multiple", 1))
    side = -(-_FIRST_PX // multiple) * multiple
    while True:
        slopes = [_slope(module, _image(images, rng, k, side), rng, multiple) for k in range(samples)]
        reaches = [_reach(s, centre) for s, centre in slopes]
        if any(touches for *_, touches in reaches) and 2 * side <= _MOST_PX:
            side *= 2
            continue
        break
    radius = max(r for _, r, _ in reaches)
    weight = np.zeros((2 * radius + 1, 2 * radius + 1))
    for slope, (y, x) in slopes:
        wide = np.pad(slope, radius)
        weight += wide[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
    weight /= max(float(weight.sum()), 1e-300)
    return Field(weight, max(w for w, *_ in reaches), effective(weight), not any(t for *_, t in reaches))


def effective(weight: NDArray[np.float64], share: float = SHARE) -> float:
    """Return the side of the smallest centred square that holds `share` of the weight, in px (odd)."""
    radius = weight.shape[0] // 2
    for r in range(radius + 1):
        inner = weight[radius - r : radius + r + 1, radius - r : radius + r + 1]
        if inner.sum() >= share * weight.sum():
            return float(2 * r + 1)
    return float(weight.shape[0])


def _image(images: Sequence[torch.Tensor] | None, rng: np.random.Generator, k: int, side: int) -> torch.Tensor:
    import torch

    noise = torch.from_numpy(rng.standard_normal((side, side)).astype(np.float32))
    if not images:
        return noise
    image = images[k % len(images)]
    height, width = (min(side, n) for n in image.shape)
    noise[:height, :width] = image[:height, :width]
    return noise


def _slope(
    module: nn.Module, image: torch.Tensor, rng: np.random.Generator, multiple: int
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return |gradient| of one output pixel near the middle, and the pixel."""
    import torch

    middle = image.shape[0] // 2
    y, x = (middle - multiple // 2 + int(rng.integers(multiple)) for _ in range(2))
    with torch.enable_grad():
        given = image.clone()[None, None].requires_grad_()
        logit(module, given)[0, y, x].backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    return np.asarray(given.grad[0, 0].abs().double().numpy()), (y, x)


def _reach(slope: NDArray[np.float64], centre: tuple[int, int]) -> tuple[int, int, bool]:
    """Return the width of what has a gradient, its largest distance from the centre, whether it touches the border."""
    rows, columns = (np.flatnonzero(slope.any(axis=a)) for a in (1, 0))
    if not rows.size:
        return 0, 0, False
    side = slope.shape[0]
    width = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    far = max(
        abs(int(edge) - c) for span, c in zip((rows, columns), centre, strict=True) for edge in (span[0], span[-1])
    )
    touches = rows[0] == 0 or columns[0] == 0 or rows[-1] == side - 1 or columns[-1] == side - 1
    return int(width), far, bool(touches)
