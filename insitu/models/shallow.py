"""One layer of filters: the interpretable network of Horwath et al., npj Comput. Mater. 6, 108 (2020).

doi:10.1038/s41524-020-00363-x. 32 filters of 9×9: 2690 parameters, receptive field 9 px; one filter: 86 parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from insitu.errors import InputError
from insitu.models.fields import Layer, convolution
from insitu.models.heads import checked
from insitu.models.onednn import activated

if TYPE_CHECKING:
    import torch


class Shallow(nn.Module):
    """k×k convolution → ReLU → 1×1 convolution to (background, particle).

    Parameters
    ----------
    filters : int
        Number of k×k filters.
    kernel : int
        Their side k, odd: 9 or 7 in the paper.
    classes, head
        See `insitu.models.heads`.
    """

    multiple = 1

    def __init__(self, filters: int = 32, *, kernel: int = 9, classes: int = 2, head: str = "softmax") -> None:
        super().__init__()
        if filters < 1 or kernel < 1 or kernel % 2 == 0:
            raise InputError(
                f"filters = {filters}, kernel = {kernel}: not a layer", "use an odd kernel, 1 or more filters"
            )
        self.activation = checked(head, classes)
        self.kernels = nn.Conv2d(1, filters, kernel, padding=kernel // 2)
        self.head = nn.Conv2d(filters, classes, 1)

    @property
    def path(self) -> tuple[Layer, ...]:
        """The layers from image to output (`insitu.models.fields`)."""
        return (convolution(self.kernels.kernel_size[0]),)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → maps (B, classes, H, W)."""
        maps: torch.Tensor = self.head(activated(self.kernels, images, 0.0))
        return maps
