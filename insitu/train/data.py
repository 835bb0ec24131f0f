"""Training pairs from simulation: conditioned images and their exact masks, drawn once and kept in memory.

Every image goes through the same `prepare` and `condition` that a frame meets in use, so that a network sees in
training what it will see on real movies. No real image and no hand label is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

# Where particles cover more, the level of the support cannot be told from an image alone.
_MOST_COVERED = 0.55
# Share of images without any particle: what a network must learn to leave alone.
_EMPTY = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Conditioned images float16 (N, S, S) and masks uint8 (N, S, S)."""

    images: NDArray[np.float16]
    masks: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)

    def first(self, n: int) -> Pairs:
        """Return the first `n` pairs: the same as if only those had been drawn."""
        return Pairs(self.images[:n], self.masks[:n])


def simulated_pairs(n: int, side: int, seed: int) -> Pairs:
    """Draw `n` scenes of `side`×`side` px; scene i depends on (seed, i) alone.

    Parameters
    ----------
    n, side : int
    seed : int

    Returns
    -------
    Pairs
    """
    images = np.empty((n, side, side), np.float16)
    masks = np.empty((n, side, side), np.uint8)
    for i in range(n):
        images[i], masks[i] = _pair(np.random.default_rng([seed, i]), side)
    return Pairs(images, masks)


def _pair(rng: np.random.Generator, side: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    from insitu.models.network import condition
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference
    from insitu.simulate import random_scene

    while True:
        bright_field = bool(rng.random() < 0.75)
        image, mask = random_scene(
            rng, (side, side), mode="bright-field" if bright_field else "dark-field", empty=_EMPTY
        )
        if mask.mean() > _MOST_COVERED:
            continue
        options = PrepareOptions()
        taken = reference([(0, image)], options, "dark" if bright_field else "bright")
        ready = condition(prepare(image[np.newaxis], options, taken).input[0])
        return ready.numpy().astype(np.float16), mask.astype(np.uint8)


def batch(pairs: Pairs, rng: np.random.Generator, size: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw `size` crops of `side` px with a random one of the eight symmetries; (size, 1, S, S) and (size, S, S)."""
    import torch

    full = pairs.images.shape[-1]
    images, masks = [], []
    for _ in range(size):
        i, (y, x), turn, flip = (
            rng.integers(len(pairs)),
            rng.integers(0, full - side + 1, 2),
            rng.integers(4),
            rng.integers(2),
        )
        window = (slice(y, y + side), slice(x, x + side))
        image, mask = (np.rot90(a[i][window], int(turn)) for a in (pairs.images, pairs.masks))
        images.append(image[:, ::-1] if flip else image)
        masks.append(mask[:, ::-1] if flip else mask)
    return (
        torch.from_numpy(np.stack(images).astype(np.float32)).unsqueeze(1),
        torch.from_numpy(np.stack(masks).astype(np.float32)),
    )
