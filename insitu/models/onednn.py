"""A convolution and its activation in one pass, where a CPU computes a network in bfloat16.

PyTorch's own `conv → leaky_relu` writes the maps of a frame, reads and writes them again, and rounds twice; oneDNN does
both on its sums in float32. These operators are what `torch.compile` calls; where a build of PyTorch has none, or in
any other arithmetic, the layers are called one after the other.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def activated(convolution: nn.Module, x: torch.Tensor, slope: float, *, exact: bool = False) -> torch.Tensor:
    """Return ``leaky_relu(convolution(x), slope)``.

    Parameters
    ----------
    convolution : torch.nn.Conv2d or ConvTranspose2d
        Padded with zeros.
    x : torch.Tensor of shape (B, C, H, W)
    slope : float
        0 is a plain ReLU, 1 none.
    exact : bool
        Multiply in float32 and round the result alone: for the first layer, whose image has more digits than bfloat16.
    """
    layer: Any = convolution
    if not reduced(x):
        plain: torch.Tensor = layer(x)
        if slope == 1.0:
            return plain
        return functional.leaky_relu(plain, slope) if slope else functional.relu(plain)
    return in_one(layer, x, slope, torch.float32 if exact else torch.bfloat16).to(torch.bfloat16)


def in_one(layer: Any, x: torch.Tensor, slope: float, kind: torch.dtype) -> torch.Tensor:  # noqa: ANN401
    """Return ``leaky_relu(layer(x), slope)`` as one operator that multiplies, and gives its result, in `kind`."""
    weight = layer.weight.to(kind).contiguous(memory_format=torch.channels_last)
    bias = None if layer.bias is None else layer.bias.to(kind)
    operator: Any = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001 - see the head of this file
    shape = [layer.padding, layer.stride, layer.dilation]
    if isinstance(layer, nn.ConvTranspose2d):
        operator = torch.ops.mkldnn._convolution_transpose_pointwise  # noqa: SLF001
        shape.insert(1, layer.output_padding)
    after = ("none", [], "") if slope == 1.0 else ("leaky_relu", [slope], "") if slope else ("relu", [], "")
    out: torch.Tensor = operator(x.to(kind), weight, bias, *map(list, shape), layer.groups, *after)
    return out


def reduced(x: torch.Tensor) -> bool:
    """Return whether `x` is computed in bfloat16 on a CPU, without gradients, and the operators are there."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
        and _operators()
    )


@cache
def _operators() -> bool:
    names = ("_convolution_pointwise", "_convolution_transpose_pointwise", "_is_mkldnn_bf16_supported")
    there = torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.mkldnn, name) for name in names
    )
    return there and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
