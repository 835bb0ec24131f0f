"""The last 1×1 layer of a UNet on a CPU, from bfloat16 maps to a probability's logit in float32, in one pass.

Near the threshold the difference of two rounded maps is what decides a pixel; here nothing is rounded between the maps
and the logit, and five passes over the frame are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint32]

CHANNELS = 8
PIXELS = 256  # at a time: what is unpacked stays in the first cache


@kernel
def _logit(words: Words, weight: NDArray[np.float32], after: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write the logit of each pixel, whose 8 channels are the bfloat16 halves of 4 words.

    `weight` (2, 9) has the weights and the bias of both maps; `after` (4) the slope of the leaky ReLU, the factors of
    both maps behind it, and what is added to their difference. Sums are written out, so that their order is fixed.
    """
    low, high = np.empty(4 * PIXELS, np.uint32), np.empty(4 * PIXELS, np.uint32)
    even, odd = low.view(np.float32), high.view(np.float32)
    half, mask = np.uint32(16), np.uint32(0xFFFF0000)
    u0, u1, u2, u3, u4, u5, u6, u7, u = weight[0]
    v0, v1, v2, v3, v4, v5, v6, v7, v = weight[1]
    slope, by_u, by_v, more = after
    for begin in range(0, len(out), PIXELS):
        part = out[begin : begin + PIXELS]
        given = words[4 * begin : 4 * (begin + len(part))]
        for i in range(len(given)):
            low[i] = given[i] << half
            high[i] = given[i] & mask
        for p in range(len(part)):
            a, c, e, g = even[4 * p], even[4 * p + 1], even[4 * p + 2], even[4 * p + 3]
            b, d, f, h = odd[4 * p], odd[4 * p + 1], odd[4 * p + 2], odd[4 * p + 3]
            first = u + ((u0 * a + u1 * b) + (u2 * c + u3 * d)) + ((u4 * e + u5 * f) + (u6 * g + u7 * h))
            second = v + ((v0 * a + v1 * b) + (v2 * c + v3 * d)) + ((v4 * e + v5 * f) + (v6 * g + v7 * h))
            first = first if first > 0 else slope * first
            second = second if second > 0 else slope * second
            part[p] = by_v * second - by_u * first + more


class LastLayer:
    """The logit from the maps before the last layer; made by `last_layer`."""

    def __init__(self, step: Any, before: nn.Module | None = None) -> None:  # noqa: ANN401 - `_Step` of the UNet
        convolution: Any = step.convolution
        factor, shift = affine(step.norm, 2)
        kernel, bias = convolution.weight[:, :, 0, 0], convolution.bias
        if before is not None:  # the norm of the layer before: behind it, a 1×1 layer has no border to mind
            scale, add = affine(before, CHANNELS)
            kernel, bias = kernel * scale, bias + (kernel * add).sum(1)
        weight = torch.cat([kernel, bias[:, None]], dim=1)
        after = torch.stack([torch.tensor(step.slope), factor[0], factor[1], shift[1] - shift[0]])
        self._weight, self._after = (t.detach().cpu().float().contiguous().numpy() for t in (weight, after))

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """(B, 8, H, W) bfloat16 → (B, H, W) float32."""
        out = torch.empty((maps.shape[0], *maps.shape[2:]))
        rows = maps.permute(0, 2, 3, 1).contiguous().view(torch.int16).numpy().view(np.uint32)
        self.write(rows.reshape(-1), out.numpy().reshape(-1))
        return out

    def write(self, words: Words, out: NDArray[np.float32]) -> None:
        """Write the logits of pixels of 4 words each."""
        _logit(words, self._weight, self._after, out)


def affine(norm: nn.Module, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a batch norm multiplies each of its maps with, and what it adds; 1 and 0 where there is none."""
    if isinstance(norm, nn.Identity):
        return torch.ones(channels), torch.zeros(channels)
    batch: Any = norm
    factor = batch.weight / torch.sqrt(batch.running_var + batch.eps)
    return factor, batch.bias - batch.running_mean * factor


def last_layer(module: nn.Module) -> LastLayer | None:
    """Return the last layer of a network as one pass, None if it is of another form."""
    step = getattr(module, "head", None) if hasattr(module, "features") else None
    convolution = getattr(step, "convolution", None)
    if not isinstance(convolution, nn.Conv2d) or getattr(module, "activation", "") != "softmax":
        return None
    fits = (convolution.kernel_size, convolution.in_channels, convolution.out_channels) == ((1, 1), CHANNELS, 2)
    plain = isinstance(getattr(step, "norm", None), nn.BatchNorm2d | nn.Identity)
    return LastLayer(step) if fits and plain and convolution.bias is not None else None
