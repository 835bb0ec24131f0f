"""The batch-normalised UNet of Horwath et al., npj Comput. Mater. 6, 108 (2020), doi:10.1038/s41524-020-00363-x.

One convolution a level (8-16-32-64), leaky ReLU and then batch norm, up-sampling by transposed convolutions; 86 590
parameters with the two-class head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    import torch

_LEVELS = (8, 16, 32, 64)


class UNet(nn.Module):
    """Four levels down to 1/16 and up again, each up-sampling joined with the skip of its size."""

    multiple = 16

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            _Step(nn.Conv2d(a, b, 3, padding=1)) for a, b in zip((1, *_LEVELS), _LEVELS, strict=False)
        )
        # channels that arrive (up-sampled + skip of the level below) and leave
        self.up = nn.ModuleList(
            _Step(nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1))
            for a, b in ((64, 32), (96, 32), (64, 16), (32, 16))
        )
        self.last = _Step(nn.Conv2d(24, 8, 3, padding=1))
        self.head = _Step(nn.Conv2d(8, 2, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → two logits (B, 2, H, W); H and W multiples of 16."""
        import torch

        x, skips = images, []
        for step in self.down:
            skips.append(step(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        for step, skip in zip(self.up, reversed(skips), strict=True):
            x = torch.cat([step(x), skip], dim=1)
        logits: torch.Tensor = self.head(self.last(x))
        return logits


class _Step(nn.Module):
    """Convolution → leaky ReLU → batch norm, in the paper's order (this norm cannot be folded into its convolution)."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(nn.functional.leaky_relu(self.convolution(x), 0.01))
        return normed
