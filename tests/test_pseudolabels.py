"""Pseudo-labels: the published pipeline in scikit-image, step by step, against the fast one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage import filters
from skimage.morphology import disk, opening, reconstruction

from insitu.pseudolabels import pseudo_mask
from insitu.pseudolabels.morphology import hollows, lowered, opened, otsu, raised

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 50))


def as_published(image, blur_px=2.0):
    """The steps of Horwath et al. 2020 with scikit-image, in double precision."""

    def scaled(x):
        return (x - x.min()) / x.max()

    blurred = scaled(filters.gaussian(scaled(image.astype(float)), sigma=blur_px))
    seed = blurred.copy()
    seed[1:-1, 1:-1] = blurred.min()
    surface = reconstruction(seed, blurred, method="dilation")
    seed = surface.copy()
    seed[1:-1, 1:-1] = surface.max()
    depth = np.abs(surface - reconstruction(seed, surface, method="erosion"))
    smooth = scaled(opening(scaled(depth + filters.sobel(depth)), disk(5)))
    return smooth > filters.threshold_otsu(smooth)


def scene(seed, shape=(120, 150), dose=60.0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    thin = np.zeros(shape)
    for _ in range(8):
        cy, cx, r = rng.uniform(15, shape[0] - 15), rng.uniform(15, shape[1] - 15), rng.uniform(5, 12)
        thin = np.maximum(thin, np.sqrt(np.maximum(0, 1 - ((y - cy) ** 2 + (x - cx) ** 2) / r**2)))
    return rng.poisson(dose * (1 + 0.2 * x / shape[1]) * np.exp(-0.8 * thin)).astype(np.uint16), thin > 0


def rough(seed, shape):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.random(shape), rng.uniform(0.3, 3))
    return np.round(image, 2) if rng.random() < 0.5 else image  # plateaus too


@given(st.integers(0, 100_000), SHAPES)
@settings(max_examples=80, deadline=None)
def test_reconstructions_are_those_of_scikit_image(seed, shape):
    image = rough(seed, shape)
    low, high = image.copy(), image.copy()
    low[1:-1, 1:-1], high[1:-1, 1:-1] = image.min(), image.max()
    np.testing.assert_array_equal(lowered(image), reconstruction(low, image, method="dilation"))
    np.testing.assert_array_equal(raised(image), reconstruction(high, image, method="erosion"))


@given(st.integers(0, 100_000), SHAPES)
@settings(max_examples=40, deadline=None)
def test_opening_and_rims_are_those_of_scikit_image(seed, shape):
    image, other = rough(seed, shape), rough(seed + 1, shape)
    np.testing.assert_array_equal(opened(image), opening(image, disk(5)))
    depth = np.abs(image - other)
    np.testing.assert_array_equal(hollows(image, other), depth + filters.sobel(depth))
    assert otsu(image) == filters.threshold_otsu(image)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blur_px", [1.0, 2.0])
def test_the_mask_is_identical_to_the_published_one(seed, blur_px):
    image, _ = scene(seed)
    np.testing.assert_array_equal(pseudo_mask(image, blur_px=blur_px), as_published(image, blur_px))


def test_the_mask_finds_the_particles():
    found = true = both = 0
    for seed in range(5):
        image, inside = scene(seed)
        mask = pseudo_mask(image)
        found, true, both = found + mask.sum(), true + inside.sum(), both + (mask & inside).sum()
    assert 2 * both / (found + true) > 0.8


def test_bright_particles_are_found_as_dark_ones_are():
    image, _ = scene(0)
    np.testing.assert_array_equal(pseudo_mask(image.max() - image, polarity="bright"), pseudo_mask(image))
    assert pseudo_mask(image, polarity="bright").mean() != pseudo_mask(image).mean()


def test_counts_of_any_kind_do():
    image, _ = scene(1)
    mask = pseudo_mask(image)
    np.testing.assert_array_equal(pseudo_mask(image.astype(np.float32)), mask)
    np.testing.assert_array_equal(pseudo_mask(image[::-1, ::-1]), mask[::-1, ::-1])
    shifted = pseudo_mask(image.astype(np.float64) - 1000.0)
    assert (shifted != pseudo_mask(image - image.min())).mean() < 1e-3
    assert not pseudo_mask(np.full((30, 30), 7)).any()
    assert not pseudo_mask(np.tile(np.arange(40.0), (30, 1))).any()
    with pytest.raises(ValueError, match="shape"):
        pseudo_mask(np.zeros((2, 3, 4)))
