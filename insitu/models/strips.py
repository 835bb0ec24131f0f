"""The UNet of `insitu.models.unet` on a CPU with bfloat16: as few passes over memory as its layers allow.

The same layers in the same order as `UNet.features` and the last layer. What lies between the convolutions is done by
the passes of `insitu.models.words`; the level of whole pixels, most of the work and of the memory, goes strip by strip
of rows. Layers of 8 maps compute two pixels at a time (`insitu.models.pairs`).
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from insitu.models.last import CHANNELS, LastLayer, affine, last_layer
from insitu.models.onednn import activated, in_one
from insitu.models.pairs import in_pairs
from insitu.models.unet import UNet
from insitu.models.words import maps_of, norm_and_join, norm_and_pool, quads, round_and_pool, tiled, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.models.words import Words

ROWS = 128  # of a strip, even: what lies between two convolutions is still in the last cache


class Strips:
    """Logits of a UNet; made by `strips`."""

    def __init__(self, module: UNet) -> None:
        self._down: list[Any] = list(module.down)
        self._up: list[Any] = list(module.up)
        self._tables = [[tiled(*affine(s.norm, _leaving(s))) for s in part] for part in (self._down, self._up)]
        self._first = in_pairs(self._down[0].convolution, torch.float32)
        self._last = in_pairs(module.last.convolution, torch.bfloat16)
        self._last_slope = module.last.slope
        self._rise = deepcopy(self._up[-1].convolution).to(torch.bfloat16)
        self._head = LastLayer(module.head, module.last.norm)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) float32 → (B, H, W) float32."""
        height, width = images.shape[-2:]
        out = np.empty((len(images), height + 1, width), np.float32)
        for image, rows in zip(images, out, strict=True):
            x, skips = self._descend(image[None])
            self._finish(self._ascend(x, skips), skips[0], rows)
        return torch.from_numpy(out)[:, 1:]

    def _descend(self, image: torch.Tensor) -> tuple[torch.Tensor, list[Words]]:
        """Return the maps below the last pooling, and the skips."""
        tables, channels = self._tables[0], [_leaving(s) for s in self._down]
        skip, pooled = _places(image, channels[0])
        above = functional.pad(image, (0, 0, 1, 1))
        for top in range(0, len(skip), ROWS):
            rows = min(ROWS, len(skip) - top)
            maps = in_one(self._first, above[:, :, top : top + rows + 2], self._down[0].slope, torch.float32)
            flat = maps.permute(0, 2, 3, 1).reshape(rows, -1).numpy()
            into, small = skip[top : top + rows], pooled[top // 2 : (top + rows) // 2]
            round_and_pool(flat, tables[0], quads(channels[0]), into, small)
        skips = [skip]
        for step, table, before, own in zip(self._down[1:], tables[1:], channels, channels[1:], strict=False):
            maps = activated(step.convolution, maps_of(pooled, before), step.slope)
            skip, pooled = _places(maps, own)
            norm_and_pool(words_of(maps), table, quads(own), skip, pooled)
            skips.append(skip)
        return maps_of(pooled, channels[-1]), skips

    def _ascend(self, x: torch.Tensor, skips: list[Words]) -> torch.Tensor:
        """Return the joined maps of half the image's size, with a row of zeros below."""
        down, full = self._down[:0:-1], x
        for step, table, beside, skip in zip(self._up[:-1], self._tables[1], down, skips[:0:-1], strict=False):
            words = words_of(activated(step.convolution, x, step.slope))
            own, more = _leaving(step), _leaving(beside)
            joined = np.empty((len(words) + 1, words.shape[1] // own * (own + more)), np.uint32)
            joined[-1] = 0
            norm_and_join(words, table, skip, (quads(own), quads(more)), joined[:-1])
            full = maps_of(joined, own + more)
            x = full[:, :, :-1]
        return full

    def _finish(self, x: torch.Tensor, skip: Words, out: NDArray[np.float32]) -> None:
        """Write the logits of row y to ``out[y + 1]``: each strip lags a row behind what it sees."""
        own, more = _leaving(self._up[-1]), _leaving(self._down[0])
        kinds = quads(own), quads(more)
        joined = np.zeros((ROWS + 2, x.shape[3] * (own + more)), np.uint32)
        for top in range(0, len(skip), ROWS):
            rows = min(ROWS, len(skip) - top)
            given = x[:, :, top // 2 : (top + rows) // 2 + 1]  # with the row below, for two rows that are dropped
            maps = in_one(self._rise, given, self._up[-1].slope, torch.bfloat16)
            words, into = words_of(maps)[:rows], joined[2 : rows + 2]
            norm_and_join(words, self._tables[1][-1], skip[top : top + rows], kinds, into)
            self._logits(joined[: rows + 2], own + more, out[top : top + rows])
            joined[:2] = joined[rows : rows + 2]
        joined[2] = 0
        self._logits(joined[:3], own + more, out[-1:])

    def _logits(self, joined: Words, channels: int, out: NDArray[np.float32]) -> None:
        maps = in_one(self._last, maps_of(joined, channels), self._last_slope, torch.bfloat16)
        self._head.write(words_of(maps).reshape(-1), out.reshape(-1))


def strips(module: nn.Module) -> Strips | None:
    """Return a UNet as strips of rows, None if it is of another form."""
    if not isinstance(module, UNet) or module.second or not hasattr(module, "last") or last_layer(module) is None:
        return None
    steps: list[Any] = [*module.down, *module.up, module.last]
    plain = all(isinstance(s.norm, nn.BatchNorm2d | nn.Identity) and _leaving(s) % 4 == 0 for s in steps)
    level = module.kernel == 3 and module.dilations[0] == 1 and len(module.down) > 1
    return Strips(module) if plain and level and _leaving(module.last) == CHANNELS else None


def _leaving(step: Any) -> int:  # noqa: ANN401 - a `_Step` of `insitu.models.unet`
    channels: int = step.convolution.out_channels
    return channels


def _places(maps: torch.Tensor, channels: int) -> tuple[Words, Words]:
    """Return room for so many maps of the same size, and for a quarter of them."""
    height, width = maps.shape[-2:]
    full = np.empty((height, width * channels // 2), np.uint32)
    return full, np.empty((height // 2, width // 2 * channels // 2), np.uint32)
