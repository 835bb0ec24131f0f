"""Training pairs in memory: conditioned images with a code for every pixel, and batches drawn from them.

Every image went through the same `prepare` and `condition` that a frame meets in use, so that a network sees in
training what it will see on real movies.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

SUPPORT, PARTICLE, CONTACT, UNKNOWN = 0, 1, 2, 255
"""Codes of pixels: `CONTACT` is support between particles that touch or nearly touch, `UNKNOWN` counts for nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Conditioned images float16 (N, S, S) and codes uint8 (N, S, S)."""

    images: NDArray[np.float16]
    masks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)

    def first(self, n: int) -> Pairs:
        """Return the first `n` pairs: the same as if only those had been drawn."""
        return Pairs(self.images[:n], self.masks[:n])


@dataclass(frozen=True, slots=True)
class Mixture:
    """Several sets of pairs and how often each is drawn from; shares are relative."""

    parts: tuple[Pairs, ...]
    shares: tuple[float, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def part(self, rng: np.random.Generator) -> Pairs:
        """Draw the set that the next pair comes from."""
        if len(self.parts) == 1:
            return self.parts[0]
        edges = np.cumsum(self.shares) / sum(self.shares)
        return self.parts[min(int(np.searchsorted(edges, rng.random(), "right")), len(self.parts) - 1)]


def batch(
    pairs: Pairs | Mixture, rng: np.random.Generator, size: int, side: int, jitter: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw `size` crops of `side` px with a random one of the eight symmetries.

    Parameters
    ----------
    pairs : Pairs or Mixture
    rng : numpy Generator
    size, side : int
    jitter : float
        Contrast is multiplied by e to a power of up to ±`jitter` and the level moved by up to ±`jitter`: the support's
        level and noise are never known exactly.

    Returns
    -------
    images : torch.Tensor of shape (size, 1, side, side), float32
    codes : torch.Tensor of shape (size, side, side), uint8
    """
    import torch

    mixture = pairs if isinstance(pairs, Mixture) else Mixture((pairs,), (1.0,))
    images = np.empty((size, side, side), np.float32)
    masks = np.empty((size, side, side), np.uint8)
    for k in range(size):
        part = mixture.part(rng)
        height, width = part.images.shape[1:]
        i, turn, flip = rng.integers(len(part)), int(rng.integers(4)), rng.integers(2)
        y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        window = (slice(y, y + side), slice(x, x + side))
        image, mask = (np.rot90(a[i][window], turn) for a in (part.images, part.masks))
        images[k], masks[k] = (image[:, ::-1], mask[:, ::-1]) if flip else (image, mask)
        if jitter:
            gain, shift = rng.uniform(-jitter, jitter, 2)
            images[k] = images[k] * np.float32(exp(gain)) + np.float32(shift)
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(masks)
