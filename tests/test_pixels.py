"""The compiled passes over a frame give what the slow obvious ones give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from insitu import pixels, prepare, segment
from insitu.models import background, classical, inputs
from insitu.models.classical import Classical
from insitu.options import PrepareOptions, SegmentOptions
from insitu.pixels import ascending, detecting, masks, median, outlines, smoothing
from insitu.runs import components, paint
from insitu.simulate import Simulation

pytestmark = pytest.mark.skipif(not pixels.compiled(), reason="numba is absent")


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 7, 5000])
def test_ascending_is_sort(size):
    values = noise(size) * np.float32(10.0) ** np.random.default_rng(1).integers(-20, 20, size).astype(np.float32)
    values[:: max(1, size // 3)] = [0.0, -np.inf, np.inf, -0.0][size % 4]
    np.testing.assert_array_equal(ascending(values), np.sort(values))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_the_median_is_that_of_the_tensors(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 9, (height, width)).astype(np.float32)
    out = np.empty_like(image)
    median.median3(image, out)
    np.testing.assert_array_equal(out, inputs.median3(torch.from_numpy(image[None]))[0].numpy())


@pytest.mark.parametrize("shape", [(3, 5), (64, 64), (61, 203), (17, 130)])
@pytest.mark.parametrize("sigma", [1.0, 1.4142, 4.0, 6.0])
def test_the_gaussian_and_its_largest_values(shape, sigma, monkeypatch):
    image = torch.from_numpy(noise(shape))
    most = np.full([-(-n // 4) for n in shape], np.nan, np.float32)
    out = np.empty(shape, np.float32)
    background.smooth_into(image.numpy(), sigma, out, most)
    np.testing.assert_array_equal(out, background.smooth(image, sigma).numpy())
    wide = np.full([4 * n for n in most.shape], -np.inf, np.float32)
    wide[: shape[0], : shape[1]] = out
    np.testing.assert_array_equal(most, wide.reshape(most.shape[0], 4, most.shape[1], 4).max(axis=(1, 3)))
    monkeypatch.setattr(background, "compiled", lambda: False)
    np.testing.assert_allclose(out, background.smooth(image, sigma).numpy(), atol=2e-6)


@pytest.mark.parametrize("shape", [(2, 2), (40, 33), (300, 257), (2050, 70)])
def test_surfaces_and_flattened_frames_are_those_of_the_tensors(shape, monkeypatch):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = torch.from_numpy(noise(shape) * (1 + x.astype(np.float32) / shape[1]) + 1e-2 * y.astype(np.float32))
    fast = [background.background(image), background.background(image, symmetric=True), background.flattened(image)]
    monkeypatch.setattr(background, "compiled", lambda: False)
    slow = [background.background(image), background.background(image, symmetric=True), background.flattened(image)]
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (5, 4), (40, 33)])
@pytest.mark.parametrize(("degree", "symmetric"), [(3, False), (3, True), (2, True)])
def test_the_compiled_fit_is_that_of_numpy(shape, degree, symmetric):
    rng = np.random.default_rng(sum(shape))
    values = rng.normal(size=shape) + np.linspace(0, 3, shape[1]) ** 2 + 40.0 * (rng.random(shape) < 0.1)
    expected = background._robust_fit(values, min(degree, *(n - 1 for n in shape)), symmetric=symmetric)
    np.testing.assert_allclose(background._fit(values, degree, symmetric=symmetric), expected, atol=1e-6)
    flat = np.full(shape, 7.0)
    np.testing.assert_allclose(background._fit(flat, degree, symmetric=symmetric).ravel()[0], 7.0)


@pytest.mark.parametrize("size", [1, 3, 16])
def test_block_means(size):
    image = noise((21, 35))
    means = smoothing.block_means(image, size)
    for i, j in np.ndindex(means.shape):
        block = image[i * size : (i + 1) * size, j * size : (j + 1) * size]
        np.testing.assert_allclose(means[i, j], block.mean(dtype=np.float64), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_cells_are_numbered_in_the_order_of_their_last_cells(height, width, seed):
    cells = (np.random.default_rng(seed).random((height, width)) < 0.5).astype(np.int32)
    label, n = outlines.label_cells(cells)
    expected, count = ndimage.label(cells)
    assert n == count
    pairs = set(zip(label.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    last = [np.flatnonzero(label.ravel() == k).max() for k in range(1, n + 1)]
    assert last == sorted(last)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 21), st.integers(1, 29), st.integers(0, 2**31))
def test_what_stands_out_is_what_every_pixel_says(height, width, seed):
    rng = np.random.default_rng(seed)
    ladder = (rng.standard_normal((3, height, width)) + 2.0 * (rng.random((height, width)) < 0.2)).astype(np.float32)
    slow = rng.normal(0, 0.3, [-(-n // 8) for n in (height, width)]).astype(np.float32)
    shift, bar = rng.normal(0, 0.2, 3).astype(np.float32), rng.uniform(1, 2, 3).astype(np.float32)
    rows, columns = (1 + rng.integers(0, 2, (3, n)).astype(np.float32) / 4 for n in (height, width))
    most = np.stack([np.array([[c.max() for c in np.split(b, range(4, width, 4), 1)]
                               for b in np.split(one, range(4, height, 4))]) for one in ladder])  # fmt: skip
    bars = bar[:, None, None] * rows[:, :, None] * columns[:, None, :]

    plain = (ladder - shift[:, None, None] > bars).any(0)
    np.testing.assert_array_equal(
        detecting.cells_that_stand_out(ladder, most, shift, bar, rows, columns), cells_of(plain).max((1, 3)) > 0
    )
    moved = ladder - outlines.slow_samples(slow, (height, width), (1, 1)) - shift[:, None, None]
    found = (moved > bars).any(0)
    weight = np.where(found, moved[1].clip(0), 0.0)
    count, first, second = detecting.stands_out(ladder, most, slow, shift, bar, rows, columns, 1)
    np.testing.assert_array_equal(count, cells_of(found).sum((1, 3)))
    inside = cells_of(np.ones((height, width))).sum((1, 3))
    np.testing.assert_allclose(first, cells_of(weight).sum((1, 3)) / inside, atol=1e-6)
    np.testing.assert_allclose(second, cells_of(weight**2).sum((1, 3)) / inside, atol=1e-5)


def cells_of(image):
    """Cut an image, zeros behind its far borders, into cells (h, 4, w, 4)."""
    padded = np.pad(image, [(0, -n % 4) for n in image.shape]).astype(np.float64)
    return padded.reshape(padded.shape[0] // 4, 4, padded.shape[1] // 4, 4)


@pytest.mark.parametrize(
    ("shape", "particles", "dose"), [((301, 203), 20, 60.0), ((260, 516), 40, 10.0), ((256, 256), 0, 25.0)]
)
def test_masks_of_the_classical_method_are_those_of_the_tensors(shape, particles, dose, monkeypatch):
    frame = Simulation(shape=shape, frames=1, particles=particles, seed=3, dose_e_per_px=dose).frame(0)
    options = PrepareOptions()
    ready = prepare.prepare(frame[None], options, prepare.reference([(0, frame)], options))
    fast = segment.segment(ready, Classical(), SegmentOptions())[0].runs
    for module in (background, classical, segment):
        monkeypatch.setattr(module, "compiled", lambda: False)
    slow = segment.segment(ready, Classical(), SegmentOptions())[0].runs
    assert (len(slow) > 0) == (particles > 0)
    one, other = (paint(components(runs)) > 0 for runs in (fast, slow))
    # a rounding that moves a median by one of its 8192 values moves levels by some 1e-4 of the noise
    assert (one ^ other).sum() <= 1e-3 * other.sum()
    assert fast.probability_sum.sum() == pytest.approx(slow.probability_sum.sum(), rel=1e-3)


@pytest.mark.parametrize("seed", [0.0, 0.9])
def test_runs_of_a_probability_are_those_of_the_tensors(seed, monkeypatch):
    image = np.random.default_rng(0).random((2, 37, 83)).astype(np.float32)
    image[0, 3, 4] = np.nan
    ready = prepare.Prepared(input=torch.from_numpy(image), counts=np.arange(image.size).reshape(image.shape))

    class Given:
        name, threshold, multiple = "given", 0.6, 1
        probabilities = staticmethod(lambda images: images)

    Given.seed = seed
    fast = segment.segment(ready, Given(), SegmentOptions())
    monkeypatch.setattr(segment, "compiled", lambda: False)
    for one, other in zip(fast, segment.segment(ready, Given(), SegmentOptions()), strict=True):
        for name in ("row", "start", "stop", "intensity_sum", "probability_sum"):
            np.testing.assert_array_equal(getattr(one.runs, name), getattr(other.runs, name))


def test_nan_is_not_above():
    np.testing.assert_array_equal(masks.above(np.array([[np.nan, 0.6, 0.5]], np.float32), np.float32(0.5)), [[0, 1, 0]])
