"""The UNets of Horwath et al., npj Comput. Mater. 6, 108 (2020), doi:10.1038/s41524-020-00363-x.

One convolution a level, leaky ReLU and then batch norm, up-sampling by transposed convolutions. As it stands: four
levels 8-16-32-64, 86 590 parameters. The parameters span the grid that the paper studies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from insitu.errors import InputError
from insitu.models.fields import Layer, convolution, pooling, transposed
from insitu.models.heads import checked
from insitu.models.norms import norm as norm_layer
from insitu.models.onednn import activated

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class UNet(nn.Module):
    """Levels down to 1/2ⁿ and up again, each up-sampling joined with the skip of its size.

    Parameters
    ----------
    levels : sequence of int
        Channels of each level on the way down.
    up : sequence of int
        Channels of each transposed convolution on the way up, as many as levels.
    last : int
        Channels of the 3×3 convolution before the 1×1 head; 0: that convolution is the head.
    kernel : int
        Side of the convolutions, odd (the transposed ones stay 3×3).
    norm : {"batch", "instance", "none"}
    slope : float
        Of the leaky ReLU on its negative side; 0 is a plain ReLU.
    second : bool
        A second convolution after each join, and after the last one ("two convolutions" in the paper).
    dilations : sequence of int, optional
        Of each convolution on the way down; 1 by default.
    bare_head : bool
        Give the maps as the last convolution has them; the published code passes them through activation and norm, and
        a plain ReLU there can leave both maps at zero for good.
    classes, head
        See `insitu.models.heads`.
    """

    def __init__(
        self,
        levels: Sequence[int] = (8, 16, 32, 64),
        *,
        up: Sequence[int] = (32, 32, 16, 16),
        last: int = 8,
        kernel: int = 3,
        norm: str = "batch",
        slope: float = 0.01,
        second: bool = False,
        dilations: Sequence[int] | None = None,
        bare_head: bool = False,
        classes: int = 2,
        head: str = "softmax",
    ) -> None:
        super().__init__()
        dilations = tuple(dilations) if dilations is not None else (1,) * len(levels)
        if not levels or not len(levels) == len(up) == len(dilations) or kernel % 2 == 0:
            raise InputError(
                f"a UNet with levels {list(levels)}, up {list(up)}, dilations {list(dilations)}, kernel {kernel}",
                "give one `up` and one dilation a level, and an odd kernel",
            )
        self.activation = checked(head, classes)
        self.multiple = 2 ** len(levels)
        self.kernel, self.dilations, self.second = kernel, dilations, second

        def step(arriving: int, leaving: int, side: int, dilation: int = 1, *, bare: bool = False) -> _Step:
            same = nn.Conv2d(arriving, leaving, side, padding=dilation * (side // 2), dilation=dilation)
            return _Step(same, "none" if bare else norm, 1.0 if bare else slope)

        def rise(arriving: int, leaving: int) -> _Step:
            doubled = nn.ConvTranspose2d(arriving, leaving, 3, stride=2, padding=1, output_padding=1)
            return _Step(doubled, norm, slope)

        before = (1, *levels[:-1])
        self.down = nn.ModuleList(step(a, b, kernel, d) for a, b, d in zip(before, levels, dilations, strict=True))
        joined = [a + b for a, b in zip(up, reversed(levels), strict=True)]  # up-sampled + skip
        self.up = nn.ModuleList(rise(a, b) for a, b in zip((levels[-1], *joined[:-1]), up, strict=True))
        if second:
            self.again = nn.ModuleList(step(n, n, kernel) for n in joined)
        if last:
            self.last = step(joined[-1], last, kernel)
            if second:
                self.last_again = step(last, last, kernel)
        self.head = step(last or joined[-1], classes, 1 if last else kernel, bare=bare_head)

    @property
    def path(self) -> tuple[Layer, ...]:
        """The layers of the deepest way from image to output (`insitu.models.fields`)."""
        down = [layer for d in self.dilations for layer in (convolution(self.kernel, d), pooling(2))]
        again = [convolution(self.kernel)] if self.second else []
        up = [layer for _ in self.up for layer in (transposed(3, 2, 1), *again)]
        last = [convolution(self.kernel), *again] if hasattr(self, "last") else []
        return (*down, *up, *last, convolution(self.head.convolution.kernel_size[0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → maps (B, classes, H, W); H and W multiples of `multiple`."""
        maps: torch.Tensor = self.head(self.features(images))
        return maps

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → what the last layer turns into maps."""
        import torch

        x, skips = images, []
        for step in self.down:
            skips.append(step(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        for k, (step, skip) in enumerate(zip(self.up, reversed(skips), strict=True)):
            x = torch.cat([step(x), skip], dim=1)
            if self.second:
                x = self.again[k](x)
        if hasattr(self, "last"):
            x = self.last(x)
            if self.second:
                x = self.last_again(x)
        return x


class _Step(nn.Module):
    """Convolution → leaky ReLU (slope 1: none) → norm, the paper's order: the norm cannot be folded into it."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d, norm: str, slope: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = norm_layer(norm, convolution.out_channels)
        self.slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        exact = self.convolution.in_channels == 1
        normed: torch.Tensor = self.norm(activated(self.convolution, x, self.slope, exact=exact))
        return normed
