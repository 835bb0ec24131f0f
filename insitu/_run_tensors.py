"""Runs of a batch of masks with tensor operations: the same code on an accelerator and on the CPU.

The batch is treated as one tall mask of B·H rows; a handful of device operations and transfers serve all its frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from insitu.runs import sums_over
from insitu.types import Runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Run = NDArray[np.int32]

# torch has few operations for unsigned integers wider than a byte: their bits are read as signed, then masked.
SIGNED = {torch.uint16: (torch.int16, 0xFFFF), torch.uint32: (torch.int32, 0xFFFFFFFF), torch.uint64: (torch.int64, -1)}


def on_host(image: Any) -> Any:  # noqa: ANN401 - tensor, array or None
    """Return a tensor as the numpy array it is on the host; arrays and None as they are."""
    return image.cpu().numpy() if isinstance(image, torch.Tensor) else image


def find(masks: torch.Tensor, counts: Any, probability: Any, origin: tuple[int, int], bin: int) -> list[Runs]:  # noqa: A002, ANN401
    """Do what `insitu.runs.find_runs_torch` says with tensor operations alone, on whatever device the masks lie."""
    if masks.ndim != 3 or masks.dtype not in (torch.bool, torch.uint8):
        raise ValueError(f"masks are a bool or uint8 tensor (B, H, W), not {masks.dtype} {tuple(masks.shape)}")
    frames, height, width = masks.shape
    inside = (masks != 0).reshape(frames * height, width)
    framed = torch.nn.functional.pad(inside, (1, 1))
    line, column = (framed[:, 1:] != framed[:, :-1]).nonzero(as_tuple=True)
    bounds = torch.stack((line[0::2], column[0::2], column[1::2]))
    rows, start, stop = bounds.to(torch.int32).cpu().numpy()
    edge = np.searchsorted(rows, np.arange(frames + 1) * height)
    length = bounds[2] - bounds[1]
    sums = [_sums(image, masks.shape, inside, length, (rows, start, stop), edge) for image in (counts, probability)]
    return [
        Runs(
            shape=(height, width),
            row=rows[a:b] - np.int32(frame * height),
            start=start[a:b].copy(),
            stop=stop[a:b].copy(),
            label=np.zeros(b - a, np.int32),
            intensity_sum=None if sums[0] is None else sums[0][a:b].copy(),
            probability_sum=None if sums[1] is None else sums[1][a:b].copy(),
            origin=origin,
            bin=bin,
        )
        for frame, (a, b) in enumerate(zip(edge[:-1].tolist(), edge[1:].tolist(), strict=True))
    ]


def _sums(
    image: Any,  # noqa: ANN401 - tensor, array or None
    shape: torch.Size,
    inside: torch.Tensor,
    length: torch.Tensor,
    runs: tuple[Run, Run, Run],
    edge: NDArray[np.int64],
) -> NDArray[Any] | None:
    """Return the sum of an image batch over all runs of the batch, on the device where the image lies there, else here."""
    if image is None:
        return None
    if tuple(image.shape) != tuple(shape):
        raise ValueError(f"images of shape {tuple(image.shape)} cannot be summed over masks of shape {tuple(shape)}")
    if isinstance(image, torch.Tensor) and image.device == inside.device:
        return _device_sums(image.reshape(inside.shape), inside, length)
    host = on_host(image)
    rows, start, stop = runs
    parts = [
        sums_over(rows[a:b] - np.int32(k * shape[1]), start[a:b].copy(), stop[a:b].copy(), host[k], tuple(shape[1:]))
        for k, (a, b) in enumerate(zip(edge[:-1], edge[1:], strict=True))
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _device_sums(image: torch.Tensor, inside: torch.Tensor, length: torch.Tensor) -> NDArray[Any]:
    """Return the sum over each run of an image on the device, from the pixels inside in raster order."""
    signed, bits = SIGNED.get(image.dtype, (image.dtype, -1))
    pixels = image.view(signed)[inside]
    end = length.cumsum(0)
    first = end - length
    if pixels.is_floating_point():
        return _float_sums(pixels.double(), first, length)
    total = torch.nn.functional.pad((pixels.long() & bits).cumsum(0), (1, 0))
    return (total[end] - total[first]).cpu().numpy()


def _float_sums(pixels: torch.Tensor, first: torch.Tensor, length: torch.Tensor) -> NDArray[Any]:
    """Add each run from left to right, all runs abreast: floats give the same bits only in the same order."""
    order = torch.argsort(length, descending=True, stable=True)
    sorted_first = first[order]
    longest = int(length.max()) if len(length) else 0
    steps = torch.arange(longest, device=length.device)
    active = torch.searchsorted(-length[order], -steps).tolist()
    sums = torch.zeros(len(length), dtype=torch.float64, device=length.device)
    for step, count in enumerate(active):
        sums[:count] += pixels[sorted_first[:count] + step]
    out = torch.empty_like(sums)
    out[order] = sums
    return out.cpu().numpy()
