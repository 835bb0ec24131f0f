"""Encoder and decoder without skips, the first network of Horwath et al., npj Comput. Mater. 6, 108 (2020).

doi:10.1038/s41524-020-00363-x; layers as in the code the authors published. Large kernels first (20×20, 10×10, 3×3),
nearest up-sampling, 3×3 convolutions; what is lost on the way down is not seen again, so edges come out soft.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from insitu.errors import InputError
from insitu.models.fields import Layer, convolution, pooling, repeated
from insitu.models.heads import checked
from insitu.models.norms import norm as norm_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class Hourglass(nn.Module):
    """Down by 2 at each level and up again.

    Parameters
    ----------
    levels : sequence of int
        Channels of each level on the way down.
    kernels : sequence of int
        Side of each level's convolution; an even one reaches one pixel farther to the front.
    norm : {"batch", "instance", "none"}
        None in the paper.
    classes, head
        See `insitu.models.heads`.
    """

    def __init__(
        self,
        levels: Sequence[int] = (8, 16, 32),
        *,
        kernels: Sequence[int] = (20, 10, 3),
        norm: str = "none",
        classes: int = 2,
        head: str = "softmax",
    ) -> None:
        super().__init__()
        if not levels or len(levels) != len(kernels):
            raise InputError(
                f"levels = {list(levels)} and kernels = {list(kernels)} do not match", "one kernel a level"
            )
        self.activation = checked(head, classes)
        self.multiple = 2 ** len(levels)
        self.kernels = tuple(int(k) for k in kernels)
        before, after = (1, *levels[:-1]), (*levels[::-1][:1], *levels[::-1][:-1])
        # an even kernel with this padding gives one row too many, which the pooling leaves out
        self.down = nn.ModuleList(
            _Step(nn.Conv2d(a, b, k, padding=k // 2), norm) for a, b, k in zip(before, levels, kernels, strict=True)
        )
        self.up = nn.ModuleList(
            _Step(nn.Conv2d(a, b, 3, padding=1), norm) for a, b in zip(after, levels[::-1], strict=True)
        )
        self.last = nn.Conv2d(levels[0], classes, 3, padding=1)
        self.head = nn.Conv2d(classes, classes, 1)

    @property
    def path(self) -> tuple[Layer, ...]:
        """The layers from image to output (`insitu.models.fields`)."""
        down = [layer for k in self.kernels for layer in (convolution(k), pooling(2))]
        up = [layer for _ in self.kernels for layer in (convolution(3), repeated(2))]
        return (*down, *up, convolution(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → maps (B, classes, H, W); H and W multiples of `multiple`."""
        x = images
        for step in self.down:
            x = nn.functional.relu(nn.functional.max_pool2d(step(x), 2))
        for step in self.up:
            x = nn.functional.relu(nn.functional.interpolate(step(x), scale_factor=2, mode="nearest"))
        maps: torch.Tensor = self.head(self.last(x))
        return maps


class _Step(nn.Module):
    """Convolution → norm; the activation follows the change of size."""

    def __init__(self, convolution: nn.Conv2d, norm: str) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = norm_layer(norm, convolution.out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.convolution(x))
        return out
