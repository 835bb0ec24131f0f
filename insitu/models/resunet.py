"""The small residual UNet of Sytwu et al., Microsc. Microanal. 28 (2022), doi:10.1017/S1431927622012466.

Receptive field and cost follow from the pooling sizes alone: RF = 8 Σ J_i + 5 J_n with J_i = p_1 … p_i. With pools (4,
4) and base 4 it has 8074 parameters; so has every pair of pools, which sets field and complexity apart.

Not of the paper: `stem` and `local`, for images of many kinds. A stem of 2 works on blocks of 2×2 px whose values are
channels, and gives the maps of each pixel of a block by itself: twice the field and a quarter of the cost at the same
width, and no resolution is lost. Of each side in `local` the image is also shown in units of the contrast around.
"""

from __future__ import annotations

from math import lcm, prod
from typing import TYPE_CHECKING

from torch import nn

from insitu.errors import InputError
from insitu.models.fields import Layer, convolution, pooling, receptive_field, repeated, transposed
from insitu.models.heads import checked
from insitu.models.norms import norm as norm_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_BLOCKS = 5  # a side: the neighbourhood whose mean and spread are the local ones
_LEAST_SPREAD = 0.03  # of the frame's: what varies less is flat
_MOST_LOCAL = 6.0


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
    stem : int
        Side of the blocks of pixels whose values are the channels that the first block sees; 1: as published.
    local : sequence of int
        Of each, even, side in px an input more: the image less its mean over 5×5 blocks of this side, over its
        standard deviation there.
    classes, head
        See `insitu.models.heads`.
    """

    def __init__(
        self,
        pools: Sequence[int] = (4, 4),
        *,
        base: int = 4,
        stem: int = 1,
        local: Sequence[int] = (),
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
        self.stem, self.local = int(stem), tuple(int(side) for side in local)
        if not 1 <= self.stem <= 4 or any(side < 2 or side % 2 or side > 256 for side in self.local):
            raise InputError(
                f"a residual UNet with stem = {stem}, local = {list(local)}",
                "give a stem of 1 to 4, and even sides of 2 to 256 px",
            )
        self.activation = checked(head, classes)
        self.multiple = lcm(self.stem * prod(self.pools), *self.local)
        widths = [base * 2**i for i in range(len(self.pools) + 1)]
        *levels, deepest = self.dilations
        inputs = self.stem**2 * (1 + len(self.local))
        self.down = nn.ModuleList(
            _Block(a, b, norm, d) for a, b, d in zip([inputs, *widths[:-2]], widths[:-1], levels, strict=True)
        )
        self.bridge = _Block(widths[-2], widths[-1], norm, deepest)
        self.up = nn.ModuleList(
            _Block(a + b, a, norm, d) for a, b, d in zip(widths[-2::-1], widths[:0:-1], levels[::-1], strict=True)
        )
        self.head = nn.Conv2d(base, classes * self.stem**2, 1)

    @property
    def path(self) -> tuple[Layer, ...]:
        """The layers of the deepest way from image to output (`insitu.models.fields`)."""
        blocks = [(convolution(3, d), convolution(3, d)) for d in self.dilations]
        down = [layer for block, p in zip(blocks[:-1], self.pools, strict=True) for layer in (*block, pooling(p))]
        up = [layer for k in reversed(range(len(self.pools))) for layer in (repeated(self.pools[k]), *blocks[k])]
        widest = max(self.local, default=0)
        # bilinear up-sampling is a transposed convolution of twice the factor
        around = (pooling(widest), convolution(_BLOCKS), transposed(2 * widest, widest, widest // 2)) if widest else ()
        first, last = ((pooling(self.stem),), (repeated(self.stem),)) if self.stem > 1 else ((), ())
        return (*around, *first, *down, *blocks[-1], *up, *last)

    @property
    def receptive_field(self) -> int:
        """Side in px of the square of input that one output pixel sees."""
        return receptive_field(self.path)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → maps (B, classes, H, W); H and W multiples of `multiple`."""
        import torch

        x, skips = torch.cat([images, *(_in_local_units(images, side) for side in self.local)], dim=1), []
        if self.stem > 1:
            x = nn.functional.pixel_unshuffle(x, self.stem)
        for block, pool in zip(self.down, self.pools, strict=True):
            skips.append(block(x))
            x = _pooled(skips[-1], pool)
        x = self.bridge(x)
        for block, pool, skip in zip(self.up, reversed(self.pools), reversed(skips), strict=True):
            x = block(torch.cat([skip, nn.functional.interpolate(x, scale_factor=pool, mode="nearest")], dim=1))
        maps: torch.Tensor = self.head(x)
        return nn.functional.pixel_shuffle(maps, self.stem) if self.stem > 1 else maps


def _in_local_units(images: torch.Tensor, side: int) -> torch.Tensor:
    """Return (B, 1, H, W) less the mean around, over the standard deviation there; H and W multiples of `side`."""
    import torch

    def around(x: torch.Tensor) -> torch.Tensor:
        blocks = nn.functional.avg_pool2d(x, side)
        mean = nn.functional.avg_pool2d(blocks, _BLOCKS, 1, _BLOCKS // 2, count_include_pad=False)
        return nn.functional.interpolate(mean, scale_factor=side, mode="bilinear", align_corners=False)

    device = "cpu" if images.is_meta else images.device.type  # shapes alone have no arithmetic
    with torch.autocast(device, enabled=False):  # differences of squares need all digits
        x = images.float()
        mean = around(x)
        spread = (around(x * x) - mean * mean).clamp(min=0.0).add(_LEAST_SPREAD**2).sqrt()
        return ((x - mean) / spread).clamp(-_MOST_LOCAL, _MOST_LOCAL)


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
