"""How much of the image one output pixel sees, from the layers alone.

A network lists the layers of its deepest path; skips see less. What is published as the receptive field is the usual
forward arithmetic: a layer of size k on a grid of step j adds (k - 1) j px (Araujo, Norris, Sim, Distill 2019,
doi:10.23915/distill.00021). Behind up-sampling the true width depends on where the pixel lies on the coarse grid; the
arithmetic gives its mean, `widest` the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on the way from the image to the output.

    Parameters
    ----------
    size : int
        Side of the kernel or window, in px of the grid it works on (`up`: of the finer grid).
    down, up : int
        Factor by which the grid becomes coarser or finer.
    padding : int
        Pixels added in front; of a layer with `up`, what the transposed convolution cuts off.
    dilation : int
    """

    size: int
    down: int = 1
    up: int = 1
    padding: int = 0
    dilation: int = 1


def convolution(size: int, dilation: int = 1) -> Layer:
    """Return a convolution that keeps the grid (an even kernel reaches one pixel farther to the front)."""
    return Layer(size, padding=dilation * (size // 2), dilation=dilation)


def pooling(size: int) -> Layer:
    """Return a pooling over windows of `size` px that do not overlap."""
    return Layer(size, down=size)


def repeated(times: int) -> Layer:
    """Return nearest up-sampling."""
    return Layer(times, up=times)


def transposed(size: int, times: int, padding: int) -> Layer:
    """Return an up-sampling by a transposed convolution of stride `times`."""
    return Layer(size, up=times, padding=padding)


def receptive_field(layers: Sequence[Layer]) -> int:
    """Return the published receptive field in px: the mean width that an output pixel sees."""
    width, step = 1, 1
    for layer in layers:
        if layer.up > 1:
            step //= layer.up
            width += (layer.size - layer.up) * step
        else:
            width += (layer.size - 1) * layer.dilation * step
            step *= layer.down
    return width


def seen_by(layers: Sequence[Layer], position: int) -> tuple[int, int]:
    """Return the first and last image pixel, along one axis, that the output pixel at `position` sees."""
    first = last = position
    for layer in reversed(layers):
        if layer.up > 1:
            # output o takes input i where o = up * i - padding + tap, 0 <= tap < size
            first = -((layer.size - 1 - layer.padding - first) // layer.up)
            last = (last + layer.padding) // layer.up
        else:
            first = first * layer.down - layer.padding
            last = last * layer.down - layer.padding + (layer.size - 1) * layer.dilation
    return first, last


def widest(layers: Sequence[Layer]) -> int:
    """Return the largest width in px that any output pixel sees."""
    period = prod(layer.down for layer in layers)
    spans = (seen_by(layers, position) for position in range(period))
    return max(last - first + 1 for first, last in spans)
