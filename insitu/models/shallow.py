"""One layer of 9×9 filters: the interpretable network of Horwath et al., npj Comput. Mater. 6, 108 (2020).

doi:10.1038/s41524-020-00363-x. 2690 parameters, receptive field 9 px.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    import torch


class Shallow(nn.Module):
    """9×9 convolution → ReLU → 1×1 convolution to (background, particle).

    Parameters
    ----------
    filters : int
        Number of 9×9 filters.
    """

    multiple = 1

    def __init__(self, filters: int = 32) -> None:
        super().__init__()
        self.kernels = nn.Conv2d(1, filters, 9, padding=4)
        self.head = nn.Conv2d(filters, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → two logits (B, 2, H, W)."""
        logits: torch.Tensor = self.head(nn.functional.relu(self.kernels(images)))
        return logits
