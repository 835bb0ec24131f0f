"""Runs of a batch of masks with tensor operations: the same code on an accelerator and on the CPU.

The batch is treated as one tall mask of B·H rows; a handful of device operations and transfers serve all its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from insitu.runs.loops import sums_over
from insitu.types import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from insitu.runs.loops import Lines

# torch has few operations for unsigned integers wider than a byte: their bits are read as signed, then masked.
SIGNED = {torch.uint16: (torch.int16, 0xFFFF), torch.uint32: (torch.int32, 0xFFFFFFFF), torch.uint64: (torch.int64, -1)}


def on_host(image: Any) -> Any:  # noqa: ANN401 - tensor, array or None
    """Return a tensor as the numpy array it is on the host; arrays and None as they are."""
    return image.cpu().numpy() if isinstance(image, torch.Tensor) else image


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The runs of a whole batch: on the device as flat pixels and lengths, on the host as lines of the tall mask."""

    inside: torch.Tensor  # bool (B·H, W)
    length: torch.Tensor  # int64 (R,)
    lines: Lines
    frame_edge: tuple[int, ...]  # run index at which each frame begins, and the end
    shape: tuple[int, int, int]

    def frames(self) -> Iterator[Lines]:
        """Yield the lines of each frame, rows counted from its top."""
        for frame, (a, b) in enumerate(pairwise(self.frame_edge)):
            row, start, stop = (column[a:b] for column in self.lines)
            yield row - np.int32(frame * self.shape[1]), start.copy(), stop.copy()


def find(masks: torch.Tensor, counts: Any, probability: Any, origin: tuple[int, int], bin: int) -> list[Runs]:  # noqa: A002, ANN401 - names and types of `find_runs_torch`
    """Do what `insitu.runs.find_runs_torch` says with tensor operations alone, on whatever device the masks lie."""
    if masks.ndim != 3 or masks.dtype not in (torch.bool, torch.uint8):
        raise ValueError(f"masks are a bool or uint8 tensor (B, H, W), not {masks.dtype} {tuple(masks.shape)}")
    found = _search(masks)
    intensity, confidence = _sums(counts, found), _sums(probability, found)
    return [
        Runs(
            found.shape[1:],
            *lines,
            label=np.zeros(b - a, np.int32),
            intensity_sum=None if intensity is None else intensity[a:b].copy(),
            probability_sum=None if confidence is None else confidence[a:b].copy(),
            origin=origin,
            bin=bin,
        )
        for lines, (a, b) in zip(found.frames(), pairwise(found.frame_edge), strict=True)
    ]


def _search(masks: torch.Tensor) -> Found:
    """Find where rows change between outside and inside."""
    frames, height, width = masks.shape
    inside = (masks != 0).reshape(frames * height, width)
    framed = torch.nn.functional.pad(inside, (1, 1))
    line, column = (framed[:, 1:] != framed[:, :-1]).nonzero(as_tuple=True)
    bounds = torch.stack((line[0::2], column[0::2], column[1::2]))
    row, start, stop = bounds.to(torch.int32).cpu().numpy()
    edge = np.searchsorted(row, np.arange(frames + 1) * height)
    return Found(inside, bounds[2] - bounds[1], (row, start, stop), tuple(edge.tolist()), (frames, height, width))


def _sums(image: Any, found: Found) -> NDArray[Any] | None:  # noqa: ANN401 - tensor, array or None
    """Return the sum of an image batch over all runs: on the device if the images lie where the masks do, else here."""
    if image is None:
        return None
    if tuple(image.shape) != found.shape:
        raise ValueError(f"images of shape {tuple(image.shape)} cannot be summed over masks of shape {found.shape}")
    if isinstance(image, torch.Tensor) and image.device == found.inside.device:
        return _device_sums(image.reshape(found.inside.shape), found)
    host = on_host(image)
    parts = [sums_over(lines, frame, found.shape[1:]) for lines, frame in zip(found.frames(), host, strict=True)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _device_sums(image: torch.Tensor, found: Found) -> NDArray[Any]:
    """Return the sum over each run of images on the device, from the pixels inside in raster order."""
    signed, bits = SIGNED.get(image.dtype, (image.dtype, -1))
    pixels = image.view(signed)[found.inside]
    end = found.length.cumsum(0)
    first = end - found.length
    if pixels.is_floating_point():
        return _float_sums(pixels.double(), first, found.length)
    total = torch.nn.functional.pad((pixels.long() & bits).cumsum(0), (1, 0))
    sums: NDArray[Any] = (total[end] - total[first]).cpu().numpy()
    return sums


def _float_sums(pixels: torch.Tensor, first: torch.Tensor, length: torch.Tensor) -> NDArray[Any]:
    """Add each run from left to right, all runs abreast: floats give the same bits only in the same order."""
    order = torch.argsort(length, descending=True, stable=True)
    begin = first[order]
    steps = torch.arange(int(length.max()) if len(length) else 0, device=length.device)
    active = torch.searchsorted(-length[order], -steps).tolist()
    sums = torch.zeros(len(length), dtype=torch.float64, device=length.device)
    for step, count in enumerate(active):
        sums[:count] += pixels[begin[:count] + step]
    out = torch.empty_like(sums)
    out[order] = sums
    result: NDArray[Any] = out.cpu().numpy()
    return result
