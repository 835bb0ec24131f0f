"""The light UNet of Groschner, Choi, Scott, Microsc. Microanal. 27, 549 (2021), doi:10.1017/S1431927621000386.

As in the code the authors published (4-8-16-32, 65 002 trained values). Two traits are easily missed: a level is
pooled *before* its ReLU while its skip passes the ReLU, and the batch norm adds 1e-4 to the variance.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from torch import nn

from insitu.errors import InputError
from insitu.models.fields import Layer, convolution, pooling, repeated
from insitu.models.heads import checked
from insitu.models.norms import norm as norm_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_EPSILON = 1e-4


class LightUNet(nn.Module):
    """One convolution a level down, two in the centre, two with dropout between them a level up.

    Parameters
    ----------
    levels : sequence of int
        Channels of each level; the centre has as many as the last one.
    dropout : float
        Share of values dropped in training between the two convolutions of a level on the way up.
    norm : {"batch", "instance", "none"}
    classes, head
        See `insitu.models.heads`; the paper's figure shows two maps with a sigmoid each, the published code a softmax.
    """

    def __init__(
        self,
        levels: Sequence[int] = (4, 8, 16, 32),
        *,
        dropout: float = 0.2,
        norm: str = "batch",
        classes: int = 2,
        head: str = "softmax",
    ) -> None:
        super().__init__()
        if not levels or not 0.0 <= dropout < 1.0:
            raise InputError(
                f"levels = {list(levels)}, dropout = {dropout}", "at least one level, dropout 0 to below 1"
            )
        self.activation = checked(head, classes)
        self.multiple = 2 ** len(levels)
        self.dropout = dropout
        deepest = levels[-1]
        self.down = nn.ModuleList(_step(a, b, norm) for a, b in zip((1, *levels[:-1]), levels, strict=True))
        self.centre = nn.ModuleList(_step(deepest, deepest, norm) for _ in range(2))
        below = (deepest, *levels[:0:-1])  # channels that are up-sampled into each level
        self.up = nn.ModuleList(
            nn.ModuleList([_step(skip + b, skip, norm), _step(skip, skip, norm)])
            for skip, b in zip(levels[::-1], below, strict=True)
        )
        self.head = nn.Conv2d(levels[0], classes, 1)

    @property
    def path(self) -> tuple[Layer, ...]:
        """The layers of the deepest way from image to output (`insitu.models.fields`)."""
        three = convolution(3)
        down = [layer for _ in self.down for layer in (three, pooling(2))]
        up = [layer for _ in self.up for layer in (repeated(2), three, three)]
        return (*down, three, three, *up)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → maps (B, classes, H, W); H and W multiples of `multiple`."""
        import torch

        relu, x, skips = nn.functional.relu, images, []
        for step in self.down:
            x = step(x)
            skips.append(relu(x))
            x = nn.functional.max_pool2d(x, 2)
        for step in self.centre:
            x = relu(step(x))
        for pair, skip in zip(self.up, reversed(skips), strict=True):
            first, second = pair.children()
            x = torch.cat([skip, nn.functional.interpolate(x, scale_factor=2, mode="nearest")], dim=1)
            x = nn.functional.dropout(relu(first(x)), self.dropout, self.training)
            x = relu(second(x))
        maps: torch.Tensor = self.head(x)
        return maps


def _step(arriving: int, leaving: int, norm: str) -> nn.Sequential:
    """3×3 convolution → norm; the ReLU follows outside, or not."""
    layers = {"convolution": nn.Conv2d(arriving, leaving, 3, padding=1), "norm": norm_layer(norm, leaving, _EPSILON)}
    return nn.Sequential(OrderedDict(layers))
