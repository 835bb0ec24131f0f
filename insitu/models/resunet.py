"""The small residual UNet of Sytwu et al., Microsc. Microanal. 28 (2022), doi:10.1017/S1431927622012466.

Receptive field and cost follow from the pooling sizes alone: RF = 8 Σ J_i + 5 J_n with J_i = p_1 … p_i. With pools (4,
4) and base 4 it has 8074 parameters; so has every pair of pools, which sets field and complexity apart.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from torch import nn

from insitu.errors import InputError
from insitu.models.fields import Layer, convolution, pooling, receptive_field, repeated
from insitu.models.heads import checked
from insitu.models.norms import norm as norm_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class ResUNet(nn.Module):
    """Residual blocks down and up, nearest up-sampling, skips.

    Parameters
    ----------
    pools : sequence of int
        Side of each max-pooling; their number is the number of levels.
    base : int
        Channels of the first block; they double at each level.
    dilations : sequence of int, optional
        Of the convolutions of each level and of the bridge (one more than pools); 1 by default.
    norm : {"batch", "instance", "none"}
    classes, head
        See `insitu.models.heads`.
    """

    def __init__(
        self,
        pools: Sequence[int] = (4, 4),
        *,
        base: int = 4,
        dilations: Sequence[int] | None = None,
        norm: str = "batch",
        classes: int = 2,
        head: str = "softmax",
    ) -> None:
        super().__init__()
        self.pools = tuple(int(p) for p in pools)
        self.dilations = tuple(int(d) for d in dilations) if dilations is not None else (1,) * (len(self.pools) + 1)
        if not self.pools or min(self.pools) < 2 or base < 1 or len(self.dilations) != len(self.pools) + 1:
            raise InputError(
                f"a residual UNet with pools = {list(self.pools)}, base = {base}, dilations = {list(self.dilations)}",
                "give at least one pool of 2 or more, a base of 1 or more, and one dilation more than pools",
            )
        self.activation = checked(head, classes)
        self.multiple = prod(self.pools)
        widths = [base * 2**i for i in range(len(self.pools) + 1)]
        *levels, deepest = self.dilations
        self.down = nn.ModuleList(
            _Block(a, b, norm, d) for a, b, d in zip([1, *widths[:-2]], widths[:-1], levels, strict=True)
        )
        self.bridge = _Block(widths[-2], widths[-1], norm, deepest)
        self.up = nn.ModuleList(
            _Block(a + b, a, norm, d) for a, b, d in zip(widths[-2::-1], widths[:0:-1], levels[::-1], strict=True)
        )
        self.head = nn.Conv2d(base, classes, 1)

    @property
    def path(self) -> tuple[Layer, ...]:
        """The layers of the deepest way from image to output (`insitu.models.fields`)."""
        blocks = [(convolution(3, d), convolution(3, d)) for d in self.dilations]
        down = [layer for block, p in zip(blocks[:-1], self.pools, strict=True) for layer in (*block, pooling(p))]
        up = [layer for k in reversed(range(len(self.pools))) for layer in (repeated(self.pools[k]), *blocks[k])]
        return (*down, *blocks[-1], *up)

    @property
    def receptive_field(self) -> int:
        """Side in px of the square of input that one output pixel sees."""
        return receptive_field(self.path)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → maps (B, classes, H, W); H and W multiples of `multiple`."""
        import torch

        x, skips = images, []
        for block, pool in zip(self.down, self.pools, strict=True):
            skips.append(block(x))
            x = _pooled(skips[-1], pool)
        x = self.bridge(x)
        for block, pool, skip in zip(self.up, reversed(self.pools), reversed(skips), strict=True):
            x = block(torch.cat([skip, nn.functional.interpolate(x, scale_factor=pool, mode="nearest")], dim=1))
        maps: torch.Tensor = self.head(x)
        return maps


def _pooled(x: torch.Tensor, side: int) -> torch.Tensor:
    """Max-pool by `side`; 8 as 4 and then 2, the same bits, because compilers are slow at large windows."""
    while side > 4 and side % 2 == 0:
        x, side = nn.functional.max_pool2d(x, 4 if side % 4 == 0 else 2), side // (4 if side % 4 == 0 else 2)
    return nn.functional.max_pool2d(x, side) if side > 1 else x


class _Block(nn.Module):
    """Two 3×3 convolutions with a norm, a 1×1 convolution around them, ReLU."""

    def __init__(self, channels: int, width: int, norm: str, dilation: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation),
            norm_layer(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
            norm_layer(norm, width),
        )
        self.around = nn.Conv2d(channels, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = nn.functional.relu(self.path(x) + self.around(x))
        return out
