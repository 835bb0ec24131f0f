"""A fixed image and what a network makes of it: a loaded network must reproduce the numbers in its card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn


def check_image(height: int = 64, width: int = 64) -> NDArray[np.float32]:
    """Return a fixed image made of integers: a disc of height 4 on a support that ripples by ±1.7."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    ripple = ((x * 7919 + y * 104729 + x * y * 31) % 1009).astype(np.float32) / np.float32(1009.0) - np.float32(0.5)
    disc = ((y - height // 2) ** 2 + (x - width // 3) ** 2 < 144).astype(np.float32)
    return np.asarray(np.float32(3.4) * ripple + np.float32(4.0) * disc, np.float32)


def reference_output(module: nn.Module, card: Mapping[str, Any]) -> list[float]:
    """Return the probabilities of every fifth pixel of row 32 of `check_image`."""
    import torch

    from insitu.models.network import Network

    with torch.inference_mode():
        p = Network(module, "check", card).probabilities(torch.from_numpy(check_image())[None])
    return [round(float(v), 7) for v in p[0, 32, ::5]]
