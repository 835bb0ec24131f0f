"""The small residual UNet of Sytwu et al., Microsc. Microanal. 28 (2022), doi:10.1017/S1431927622012466.

Receptive field and cost follow from the pooling sizes alone: RF = 8 Σ J_i + 5 J_n with J_i = p_1 … p_i. With pools (4,
4) and base 4 it has 8074 parameters.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from torch import nn

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
    """

    def __init__(self, pools: Sequence[int] = (4, 4), base: int = 4) -> None:
        super().__init__()
        self.pools = tuple(int(p) for p in pools)
        self.multiple = prod(self.pools)
        widths = [base * 2**i for i in range(len(self.pools) + 1)]
        self.down = nn.ModuleList(_Block(a, b) for a, b in zip([1, *widths[:-2]], widths[:-1], strict=True))
        self.bridge = _Block(widths[-2], widths[-1])
        self.up = nn.ModuleList(_Block(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.head = nn.Conv2d(base, 2, 1)

    @property
    def receptive_field(self) -> int:
        """Side in px of the square of input that one output pixel sees."""
        strides = [prod(self.pools[:i]) for i in range(len(self.pools) + 1)]
        return 8 * sum(strides[:-1]) + 5 * strides[-1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → two logits (B, 2, H, W); H and W multiples of `multiple`."""
        import torch

        x, skips = images, []
        for block, pool in zip(self.down, self.pools, strict=True):
            skips.append(block(x))
            x = nn.functional.max_pool2d(skips[-1], pool)
        x = self.bridge(x)
        for block, pool, skip in zip(self.up, reversed(self.pools), reversed(skips), strict=True):
            x = block(torch.cat([skip, nn.functional.interpolate(x, scale_factor=pool, mode="nearest")], dim=1))
        logits: torch.Tensor = self.head(x)
        return logits


class _Block(nn.Module):
    """Two 3×3 convolutions with batch norm, a 1×1 convolution around them, ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
        )
        self.around = nn.Conv2d(channels, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = nn.functional.relu(self.path(x) + self.around(x))
        return out
