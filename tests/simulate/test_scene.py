from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from insitu.errors import CommandError
from insitu.simulate import random_scene


def seen(seed: int, **options):
    return random_scene(np.random.default_rng(seed), (192, 224), **options)


def test_the_same_seed_gives_the_same_scene_and_another_one_does_not():
    first, again, other = seen(3), seen(3), seen(4)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def step(image, mask):
    """Mean inside minus mean of a ring outside: a ring, because the illumination may be uneven."""
    near, far = ndimage.binary_dilation(mask, iterations=3), ndimage.binary_dilation(mask, iterations=9)
    return float(image[mask].mean() - image[far & ~near].mean())


@pytest.mark.parametrize(("mode", "sign"), [("bright-field", -1.0), ("dark-field", 1.0)])
def test_the_mask_lies_where_the_image_is_darker_or_brighter(mode, sign):
    steps = []
    for seed in range(24):
        image, mask = seen(seed, mode=mode, empty=0.0, dose_e_per_px=(50, 200), radius_px=(6, 30))
        if mask.any() and not mask.all():
            steps.append(sign * step(image, mask) / max(image.std(), 1.0))
    assert len(steps) > 15
    assert min(steps) > 0.0


def test_conditions_vary_widely():
    scenes = [seen(seed) for seed in range(60)]
    coverage = np.array([mask.mean() for _, mask in scenes])
    assert {image.dtype.name for image, _ in scenes} == {"uint8", "uint16"}
    assert (coverage == 0).any()
    assert (coverage > 0.15).any()
    assert ((coverage > 0) & (coverage < 0.03)).any()
    assert all(image.shape == (192, 224) and image.std() > 0 for image, _ in scenes)


def test_empty_scenes_are_empty():
    assert not any(seen(seed, empty=1.0)[1].any() for seed in range(5))


def test_impossible_ranges_are_refused():
    with pytest.raises(CommandError, match="radius"):
        seen(0, radius_px=(30, 3))
