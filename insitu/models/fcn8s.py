"""FCN-8s on a VGG-16 encoder: Long, Shelhamer, Darrell, CVPR 2015, doi:10.1109/CVPR.2015.7298965.

The large network that small UNets for such images stand against. Thirteen 3×3 convolutions (Simonyan and Zisserman
2015, arXiv:1409.1556), scores read at 1/8, 1/16 and 1/32, joined by learned up-sampling that
begins bilinear. `dilated` keeps 1/8 instead: the last two poolings go and what follows is dilated 2 and 4 times (Chen
et al., arXiv:1412.7062). Images are grey: the three channels of the encoder see the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from insitu.errors import InputError
from insitu.models.fields import Layer, convolution, pooling, transposed
from insitu.models.heads import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

# convolutions of each block, and its channels in units of `base`
_BLOCKS = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
_FULLY_SIDE = 7
_VGG_FULLY = 4096


class FCN8s(nn.Module):
    """VGG-16 blocks, two fully connected layers as convolutions, three scores.

    Parameters
    ----------
    base : int
        Channels of the first block; 64 is VGG-16.
    fully : int
        Channels of the two layers that stand for the fully connected ones: 4096 in the paper, 0 leaves them out.
    dilated : bool
        Keep the grid of 1/8 and dilate, in place of the last two poolings and the scores above them.
    dropout : float
        Behind each of the two `fully` layers, in training.
    classes, head
        See `insitu.models.heads`.
    """

    def __init__(
        self,
        base: int = 64,
        *,
        fully: int = 512,
        dilated: bool = False,
        dropout: float = 0.5,
        classes: int = 2,
        head: str = "softmax",
    ) -> None:
        super().__init__()
        if base < 1 or fully < 0 or not 0.0 <= dropout < 1.0:
            raise InputError(f"base = {base}, fully = {fully}, dropout = {dropout}", "positive widths, dropout below 1")
        self.activation = checked(head, classes)
        self.dilated, self.dropout = dilated, dropout
        self.multiple = 8 if dilated else 32
        widths = [factor * base for _, factor in _BLOCKS]
        self.blocks = nn.ModuleList(
            _block(a, b, count, 2 if dilated and k == 4 else 1)
            for k, (a, b, (count, _)) in enumerate(zip((3, *widths[:-1]), widths, _BLOCKS, strict=True))
        )
        reach = 4 if dilated else 1
        self.fully = nn.ModuleList()
        if fully:
            side = nn.Conv2d(widths[-1], fully, _FULLY_SIDE, padding=reach * (_FULLY_SIDE // 2), dilation=reach)
            self.fully = nn.ModuleList([side, nn.Conv2d(fully, fully, 1)])
        self.score = nn.Conv2d(fully or widths[-1], classes, 1)
        if not dilated:
            self.score_16 = nn.Conv2d(widths[3], classes, 1)
            self.score_8 = nn.Conv2d(widths[2], classes, 1)
            self.twice = nn.ModuleList(_bilinear(classes, 2) for _ in range(2))
        self.eightfold = _bilinear(classes, 8)

    @property
    def path(self) -> tuple[Layer, ...]:
        """The layers of the deepest way from image to output (`insitu.models.fields`)."""
        layers: list[Layer] = []
        for k, (count, _) in enumerate(_BLOCKS):
            dilation = 2 if self.dilated and k == 4 else 1
            layers += [convolution(3, dilation)] * count
            if k < 3 or not self.dilated:
                layers.append(pooling(2))
        if len(self.fully):
            layers.append(convolution(_FULLY_SIDE, 4 if self.dilated else 1))
        ups = () if self.dilated else (transposed(4, 2, 1), transposed(4, 2, 1))
        return (*layers, *ups, transposed(16, 8, 4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) → maps (B, classes, H, W); H and W multiples of `multiple`."""
        x, scales = images.expand(-1, 3, -1, -1), []
        for k, block in enumerate(self.blocks):
            x = block(x)
            if k < 3 or not self.dilated:
                x = nn.functional.max_pool2d(x, 2)
            scales.append(x)
        for layer in self.fully:
            x = nn.functional.dropout(nn.functional.relu(layer(x)), self.dropout, self.training)
        maps: torch.Tensor = self.score(x)
        if not self.dilated:
            maps = self.twice[0](maps) + self.score_16(scales[3])
            maps = self.twice[1](maps) + self.score_8(scales[2])
        out: torch.Tensor = self.eightfold(maps)
        return out


def load_encoder(module: FCN8s, tensors: Mapping[str, Any]) -> list[str]:
    """Put the weights of a VGG-16 into the encoder; return the names that were used.

    Parameters
    ----------
    module : FCN8s
        Its `base` is 64.
    tensors : mapping of str to torch.Tensor
        As torchvision names them: ``features.0.weight`` … ``features.28.bias``; ``classifier.0`` and ``classifier.3``
        are taken where ``fully = 4096``.

    Raises
    ------
    InputError
        A tensor is missing or has another shape.
    """
    import torch

    places: dict[str, nn.Module] = {}
    index = 0  # torchvision counts convolutions, activations and poolings alike
    for block in module.blocks:
        for layer in block.children():
            if isinstance(layer, nn.Conv2d):
                places[f"features.{index}"] = layer
            index += 1
        index += 1
    if len(module.fully) and module.fully[0].out_channels == _VGG_FULLY:
        places |= {"classifier.0": module.fully[0], "classifier.3": module.fully[1]}
    used = []
    for name, layer in places.items():
        for part in ("weight", "bias"):
            key, target = f"{name}.{part}", getattr(layer, part)
            if key not in tensors or tensors[key].numel() != target.numel():
                found = f"{tuple(tensors[key].shape)}" if key in tensors else "nothing"
                raise InputError(
                    f"no VGG-16 encoder: '{key}' should hold {tuple(target.shape)}, found {found}",
                    "give the state dict of torchvision's vgg16, and base = 64",
                )
            with torch.no_grad():
                target.copy_(tensors[key].reshape(target.shape))
            used.append(key)
    return used


def _block(arriving: int, leaving: int, count: int, dilation: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(count):
        first = arriving if k == 0 else leaving
        layers += [nn.Conv2d(first, leaving, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    return nn.Sequential(*layers)


def _bilinear(classes: int, times: int) -> nn.ConvTranspose2d:
    """Return an up-sampling that begins as bilinear interpolation, each map by itself."""
    import torch

    size = 2 * times
    layer = nn.ConvTranspose2d(classes, classes, size, stride=times, padding=times // 2, groups=classes, bias=False)
    tent = 1.0 - (torch.arange(size) - (size - 1) / 2).abs() / times
    with torch.no_grad():
        layer.weight.copy_((tent[:, None] * tent[None, :]).expand_as(layer.weight))
    return layer
