"""The fringe around particles out of focus: how deep it is, and where the outline is drawn beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from insitu import models
from insitu.models import fringes
from insitu.options import PrepareOptions, SegmentOptions
from insitu.pixels import fringes as loops
from insitu.prepare import prepare, reference
from insitu.runs import components, paint
from insitu.segment import segment


def frame(radius, fringe, noise=8.0, *, side=320, seed=0):
    """Nine dark discs of contrast 100, each with a bright rim outside, `fringe` of the contrast and 2 px wide."""
    y, x = np.mgrid[:side, :side]
    truth, rim = (np.zeros((side, side)) for _ in range(2))
    for cy in (60.3, 160.7, 259.6):
        for cx in (58.8, 161.2, 261.5):
            depth = radius - np.hypot(y - cy, x - cx)
            truth += np.clip(depth + 0.5, 0, 1)
            rim += np.clip(depth + 2.5, 0, 1) - np.clip(depth + 0.5, 0, 1)
    clean = 300.0 - 100.0 * ndimage.gaussian_filter(truth - fringe * rim, 0.7)
    return (clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)).astype(np.float32)


def found(image):
    options = PrepareOptions()
    ready = prepare(image[None], options, reference([(0, image)], options))
    return paint(components(segment(ready, models.load("classical"), SegmentOptions())[0].runs)) > 0


def mean_radius_px(mask):
    label, n = ndimage.label(mask)
    assert n == 9
    return np.sqrt(np.bincount(label.ravel())[1:] / np.pi).mean()


def without_depth(monkeypatch):
    for where in ("insitu.models.fringes.depth", "insitu.models.classical_loops.fringe_depth"):
        monkeypatch.setattr(where, lambda *_: 0.0)


@pytest.mark.parametrize("radius", [12.0, 25.0])
@pytest.mark.parametrize("noise", [3.0, 20.0])
def test_a_fringe_draws_the_outline_less_far_inwards(radius, noise, monkeypatch):
    image = frame(radius, 1.0, noise)
    mended = mean_radius_px(found(image))
    without_depth(monkeypatch)
    plain = mean_radius_px(found(image))
    assert plain < radius - 0.6
    assert plain + 0.2 < mended < radius


@pytest.mark.parametrize("noise", [2.0, 20.0])
def test_without_a_fringe_nothing_changes(noise, monkeypatch):
    image = frame(20.0, 0.0, noise)
    mask = found(image)
    without_depth(monkeypatch)
    np.testing.assert_array_equal(found(image), mask)
    assert mask.any()


def test_a_deeper_rim_is_a_deeper_fringe():
    none, shallow, deep = (depths(frame(25.0, fringe, 3.0)) for fringe in (0.0, 0.6, 1.0))
    assert none == 0.0
    assert 0.08 < shallow < 0.16 < deep < 0.4


def depths(image):
    """Return the depth of the fringe in a frame of contrast 100 on a support of 300."""
    smoothed = torch.from_numpy(ndimage.gaussian_filter(300.0 - image, 1.4142).astype(np.float32))
    near = torch.from_numpy(ndimage.maximum_filter(np.asarray(smoothed) > 45, 9))
    level, contrast = (torch.where(near, value, 0.0) for value in (45.0, 100.0))
    return fringes.depth(*fringes.outside(smoothed, level, contrast))


def test_few_edges_tell_nothing():
    assert fringes.depth(np.array([-fringes._FIXED_POINT] * 3), 7) == 0.0
    assert fringes.depth(np.array([0, -4 * fringes._FIXED_POINT, 0]), 16) == pytest.approx(0.25)
    assert fringes.depth(np.array([0, -40 * fringes._FIXED_POINT, 0]), 16) == 0.5


@pytest.mark.parametrize("shape", [(320, 320), (1321, 203), (7, 40), (3, 13), (4, 12)])
@pytest.mark.parametrize("seed", range(3))
def test_loops_and_tensors_see_the_same_edges(shape, seed):
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.standard_normal(shape), 2.0).astype(np.float32)
    image /= image.std()
    cells = tuple(-(-n // 4) for n in shape)
    cut = np.where(rng.random(cells) < 0.6, np.float32(0.7), np.float32(0))
    contrast = np.where(cut > 0, rng.uniform(1, 2, cells), 0).astype(np.float32)
    none = np.zeros([-(-n // 8) for n in shape], np.float32)
    total, number = loops.outside(image, none, np.float32(0), cut, contrast)
    full = [
        torch.from_numpy(np.kron(one, np.ones((4, 4), np.float32))[: shape[0], : shape[1]]) for one in (cut, contrast)
    ]
    expected, counted = fringes.outside(torch.from_numpy(image), *full)
    assert number == counted
    np.testing.assert_allclose(total, expected, atol=number)  # a unit is 1/65536
    assert number > 0 or min(shape) < 20
    assert (loops.REACH, loops.CLEAR, loops.ROWS) == (fringes.REACH, fringes.CLEAR, fringes._ROWS)
