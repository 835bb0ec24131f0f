"""What an answer rests on: saliency, Grad-CAM and occlusion, for a region of the output.

The answer that is explained is the sum of the particle's logit over the region (Seg-Grad-CAM, Vinogradova et al. 2020,
doi:10.1609/aaai.v34i10.7244). The probability itself would do badly: where it is near 0 or 1 it has no slope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import CommandError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn


def logit(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the particle's logit of conditioned images (B, 1, H, W) as (B, H, W)."""
    from insitu.models.heads import particle_logit

    return particle_logit(module(images), str(getattr(module, "activation", "softmax")))


def saliency(module: nn.Module, image: torch.Tensor, region: torch.Tensor) -> NDArray[np.float32]:
    """Return |∂ answer / ∂ pixel| (Simonyan et al. 2013, arXiv:1312.6034).

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    image : torch.Tensor of shape (H, W)
        Conditioned.
    region : bool torch.Tensor of shape (H, W)

    Returns
    -------
    float32 array (H, W)
    """
    import torch

    with torch.enable_grad():
        x = image.detach().clone()[None, None].requires_grad_()
        logit(module, x)[0][region].sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return np.asarray(x.grad[0, 0].abs().numpy(), np.float32)


def grad_cam(module: nn.Module, image: torch.Tensor, region: torch.Tensor, layer: str) -> NDArray[np.float32]:
    """Return where the maps of a layer speak for the answer (Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74).

    Each map is weighted with the mean of its gradient; what speaks against the answer is cut off. Bilinear to (H, W).

    Raises
    ------
    CommandError
        The network has no module of this name.
    """
    import torch
    from torch.nn import functional

    modules = dict(module.named_modules())
    if layer not in modules or not layer:
        raise CommandError(f"the network has no module '{layer}'", f"modules: {', '.join(n for n in modules if n)}")
    held: list[torch.Tensor] = []
    hook = modules[layer].register_forward_hook(lambda _m, _i, output: held.append(output))
    try:
        with torch.enable_grad():
            # the weights are frozen: without this nothing would carry a gradient
            x = image.detach().clone()[None, None].requires_grad_()
            answer = logit(module, x)[0][region].sum()
            (slope,) = torch.autograd.grad(answer, held[0])
    finally:
        hook.remove()
    weighted = (held[0] * slope.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).relu().detach()
    full = functional.interpolate(weighted, size=image.shape, mode="bilinear", align_corners=False)
    return np.asarray(full[0, 0].numpy(), np.float32)


def occlusion(
    module: nn.Module,
    image: torch.Tensor,
    region: torch.Tensor,
    *,
    side: int,
    step: int,
    reach: int,
    value: float = 0.0,
) -> NDArray[np.float32]:
    """Return how much the answer falls, per px of the region, when a square is set to `value` (the support's level).

    A pixel gets the mean over the squares that cover it (Zeiler & Fergus 2014, doi:10.1007/978-3-319-10590-1_53).

    Parameters
    ----------
    module, image, region
        As `saliency`.
    side, step : int
        Side of the square and distance between squares in px; `step` ≤ `side`.
    reach : int
        Squares farther than this from the region's box are not tried: 0 there.
    """
    import torch

    height, width = image.shape
    total, times = np.zeros((height, width)), np.zeros((height, width))
    pixels = max(int(region.sum()), 1)
    with torch.inference_mode():
        whole = float(logit(module, image[None, None])[0][region].sum())
        rows, columns = (_near(region.any(dim=a), side, step, reach) for a in (1, 0))
        for y in rows:
            hidden = []
            for x in columns:
                one = image.clone()
                one[y : y + side, x : x + side] = value
                hidden.append(one)
            # a row at a time: fast, and small in memory
            answers = logit(module, torch.stack(hidden)[:, None])[:, region].sum(dim=1)
            for x, answer in zip(columns, answers.tolist(), strict=True):
                total[y : y + side, x : x + side] += (whole - answer) / pixels
                times[y : y + side, x : x + side] += 1
    return np.asarray(total / np.maximum(times, 1), np.float32)


def _near(inside: torch.Tensor, side: int, step: int, reach: int) -> list[int]:
    """Return where squares begin along one axis so that they lie within `reach` of what is `inside`."""
    length, at = len(inside), inside.nonzero().flatten()
    last = max(length - side, 0)
    first = max(0, int(at[0]) - reach - side + 1) if len(at) else 0
    end = min(last, int(at[-1]) + reach) if len(at) else last
    return sorted({*range(min(first, last), end, step), end})
