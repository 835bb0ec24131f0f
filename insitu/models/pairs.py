"""Convolutions that compute two pixels beside each other at a time, where a layer is too narrow for the processor.

The same functions: the kernel is one column wider and has a copy for either pixel, each with zeros in the column that
the other needs. Channels last, the maps of both pixels lie in memory as those of one pixel after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from insitu.models.onednn import in_one
from insitu.models.shallow import Shallow
from insitu.models.words import difference, words_of

if TYPE_CHECKING:
    from collections.abc import Callable


def in_pairs(convolution: Any, kind: torch.dtype) -> nn.Conv2d:  # noqa: ANN401 - an `nn.Conv2d`
    """Return a convolution that gives a pixel of twice the channels for each two; for layers that give 8 maps.

    Parameters
    ----------
    convolution : torch.nn.Conv2d
        Of stride and dilation 1, padded to its size; rows of its input have an even number of pixels.
    kind : torch.dtype

    Returns
    -------
    torch.nn.Conv2d
        Padded at the sides alone: the input has the rows above and below.
    """
    (rows, columns), leaving = convolution.kernel_size, convolution.out_channels
    beside = (0, columns // 2)
    both = nn.Conv2d(convolution.in_channels, 2 * leaving, (rows, columns + 1), stride=(1, 2), padding=beside)
    return _filled(both, convolution, both.weight.permute(0, 2, 3, 1), kind)


def between_pairs(convolution: Any, kind: torch.dtype) -> nn.Conv2d:  # noqa: ANN401
    """Return a convolution from pairs of pixels, as two channels, to pairs; for layers that see one map.

    Parameters
    ----------
    convolution : torch.nn.Conv2d
        As in `in_pairs`, with one channel and a kernel of 5, 9, 13 … columns.
    kind : torch.dtype
    """
    (rows, columns), leaving = convolution.kernel_size, convolution.out_channels
    both = nn.Conv2d(2, 2 * leaving, (rows, (columns + 1) // 2), padding=(rows // 2, columns // 4))
    return _filled(both, convolution, both.weight.permute(0, 2, 3, 1).reshape(2 * leaving, rows, -1, 1), kind)


def _filled(both: nn.Conv2d, single: Any, taps: torch.Tensor, kind: torch.dtype) -> nn.Conv2d:  # noqa: ANN401
    """Write the kernel into `taps` (2·leaving, rows, columns + 1, arriving), which is how `both` weighs columns."""
    leaving, columns = single.out_channels, single.kernel_size[1]
    own = torch.zeros(taps.shape)
    for k in (0, 1):
        own[k * leaving : (k + 1) * leaving, :, k : k + columns] = single.weight.detach().permute(0, 2, 3, 1)
    shape = both.weight.permute(0, 2, 3, 1).shape
    bias = torch.zeros(leaving) if single.bias is None else single.bias.detach()
    both.weight = nn.Parameter(own.reshape(shape).permute(0, 3, 1, 2), requires_grad=False)
    both.bias = nn.Parameter(bias.repeat(2), requires_grad=False)
    of_kind: nn.Conv2d = both.to(dtype=kind, memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub
    return of_kind


class ShallowPairs:
    """Logits of `shallow`; made by `shallow_pairs`."""

    def __init__(self, module: Shallow) -> None:
        self._module = module
        self._kernels = between_pairs(module.kernels, torch.bfloat16)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) float32 → (B, H, W) float32."""
        return torch.stack([self._one(image[None]) for image in images])

    def _one(self, image: torch.Tensor) -> torch.Tensor:
        _, _, height, width = image.shape
        if width % 2:
            maps = in_one(self._module.kernels, image, 0.0, torch.bfloat16)
        else:
            pairs = image.reshape(1, height, width // 2, 2).permute(0, 3, 1, 2)
            both = in_one(self._kernels, pairs, 0.0, torch.bfloat16)
            maps = both.permute(0, 2, 3, 1).reshape(1, height, width, -1).permute(0, 3, 1, 2)
        out = torch.empty(height, width)
        difference(words_of(in_one(self._module.head, maps, 1.0, torch.bfloat16)), out.numpy())
        return out


def shallow_pairs(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return `shallow` with pixels in pairs, None for another network, other classes or kernels."""
    if not isinstance(module, Shallow) or module.activation != "softmax" or module.head.out_channels != 2:
        return None
    return ShallowPairs(module) if module.kernels.kernel_size[1] % 4 == 1 else None
