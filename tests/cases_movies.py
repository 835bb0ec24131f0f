"""Tiny movies with known content, for every room that needs frames rather than physics."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def discs(frames: int = 24, height: int = 96, width: int = 128, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Dark discs (radius 7–11 px) that wander over a noisy support: uint8 frames (height, width)."""
    rng = np.random.default_rng(seed)
    centre = np.array([[24.0, 30.0], [30.0, 92.0], [70.0, 30.0], [68.0, 95.0], [48.0, 60.0]])
    radius = np.array([7.0, 8.0, 9.0, 10.0, 11.0])
    yy, xx = np.mgrid[:height, :width]
    images = []
    for _ in range(frames):
        centre = centre + rng.normal(0, 0.3, centre.shape)
        image = np.full((height, width), 150.0)
        for (y, x), r in zip(centre, radius, strict=True):
            image -= 60 * np.clip(r - np.hypot(yy - y, xx - x) + 0.5, 0, 1)
        noisy = rng.normal(image, 6).clip(1, 255).astype(np.uint8)
        noisy.flags.writeable = False
        images.append(noisy)
    return tuple(images)
