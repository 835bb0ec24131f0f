"""What a network is shown: each kind against plain numpy, and counts that reach it unspoilt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from insitu.errors import InputError
from insitu.models.architectures import build
from insitu.models.inputs import CLIP, KINDS, Conditioning, condition, conditioning, local_noise, median3, of_kind
from insitu.models.network import Network
from insitu.options import PrepareOptions, SegmentOptions
from insitu.prepare import prepare, reference
from insitu.segment import segment


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    return rng.integers(20_000, 65_000, (50, 61)).astype(np.uint16)


def shown(image, how):
    return condition(torch.from_numpy(image.astype(np.float32)), how).numpy()


def test_each_kind_is_the_formula_it_says(counts):
    x = counts.astype(np.float64)
    np.testing.assert_allclose(shown(counts, of_kind("standard")), (x - x.mean()) / x.std(), atol=2e-6)
    np.testing.assert_allclose(shown(counts, of_kind("minmax")), (x - x.min()) / (x.max() - x.min()), atol=1e-6)
    smoothed = ndimage.median_filter(x, 3, mode="nearest")
    np.testing.assert_allclose(shown(counts, of_kind("maximum")), smoothed / smoothed.max(), rtol=1e-6)
    without = Conditioning("maximum", "counts", median=False)
    np.testing.assert_allclose(shown(counts, without), x / x.max(), rtol=1e-6)
    support = shown(counts, of_kind("support"))
    assert abs(np.median(support)) < 0.2
    assert CLIP[0] <= support.min() < support.max() <= CLIP[1]


def test_contrast_is_measured_without_what_lies_far_out(counts):
    image = counts.astype(np.float32)
    plain = shown(image, of_kind("contrast"))
    x = counts.astype(np.float64)
    np.testing.assert_allclose(plain, (x - x.mean()) / x.std(), atol=1e-3)  # nothing lies far out of an even range
    image[::20, ::20] *= 50  # 12 hot pixels of 3050
    hot = shown(image, of_kind("contrast"))
    cold = np.ones(image.shape, np.bool_)
    cold[::20, ::20] = False
    assert np.corrcoef(plain[cold], hot[cold])[0, 1] > 0.9999
    assert hot[cold].std() > 0.4
    assert shown(image, of_kind("standard"))[cold].std() < 0.1
    assert not shown(np.full((20, 20), 7, np.uint16), of_kind("contrast")).any()


def test_contrast_does_not_depend_on_gain_and_offset(counts):
    first = shown(counts, of_kind("contrast"))
    np.testing.assert_allclose(shown(counts * np.float32(0.01) - 300, of_kind("contrast")), first, atol=2e-3)


def test_sixteen_bits_are_kept():
    ramp = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    for kind in ("maximum", "minmax", "standard"):
        assert len(np.unique(shown(ramp, Conditioning(kind)))) == 65_536


def test_a_blur_is_a_gaussian(counts):
    blurred = ndimage.gaussian_filter(counts.astype(np.float64), 2.0, truncate=3.0)
    wanted = (blurred - blurred.mean()) / blurred.std()
    inside = (slice(8, -8),) * 2
    found = shown(counts, Conditioning("standard", blur_px=2.0))
    np.testing.assert_allclose(np.corrcoef(found[inside].ravel(), wanted[inside].ravel())[0, 1], 1.0, atol=1e-4)


def test_median_of_a_batch_is_that_of_each(counts):
    batch = torch.from_numpy(np.stack([counts, counts[::-1]]).astype(np.float32))
    for one, both in zip(batch, median3(batch), strict=True):
        assert torch.equal(median3(one), both)


@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_frame_is_finite(kind, value):
    image = np.full((40, 40), value, np.uint16)
    assert np.isfinite(shown(image, of_kind(kind))).all()


def test_cards_name_a_kind_or_give_a_table():
    assert conditioning(None) == conditioning("support") == Conditioning()
    assert conditioning("flattened, support 0, its noise 1, clipped to -8…24 (…)") == Conditioning()
    assert conditioning("maximum") == Conditioning("maximum", "counts", median=True)
    table = conditioning({"kind": "standard", "frames": "counts", "blur_px": 1})
    assert table == Conditioning("standard", "counts", blur_px=1.0)
    for kind in KINDS:
        assert of_kind(kind).as_card() == kind
        assert conditioning(of_kind(kind).as_card()) == of_kind(kind)
    assert conditioning(table.as_card()) == table


@pytest.mark.parametrize(
    "wrong",
    ["maximal", {"kind": "x"}, {"blur": 1}, {"frames": "raw"}, {"blur_px": "wide"}, {"blur_px": -1}],
)
def test_a_wrong_input_is_answered_in_two_lines(wrong):
    with pytest.raises(InputError, match="input") as caught:
        conditioning(wrong)
    assert str(caught.value).count("\n") == 1


class Recorder(torch.nn.Module):
    """Two maps, of which the particle's is the input; keeps what it was given."""

    multiple = 16

    def forward(self, images):
        self.given = images.clone()
        return torch.cat([torch.zeros_like(images), images], dim=1)


@pytest.mark.parametrize("side", [1, 2])
def test_a_network_of_counts_sees_them_as_the_camera_gave_them(side):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 65_535, (2, 50, 62)).astype(np.uint16)
    frames[:, 20:30, 20:40] //= 4  # dark particles: prepared frames would turn them over
    options = PrepareOptions(bin=side)
    taken = reference([(0, frames[0])], options, "dark")
    module = Recorder()
    model = Network(module, "m", {"input": {"kind": "maximum", "median": False}})
    segment(prepare(frames, options, taken), model, SegmentOptions())
    binned = frames[1].reshape(50 // side, side, 62 // side, side).mean(axis=(1, 3))
    seen = module.given[0, 0, : 50 // side, : 62 // side].numpy()
    np.testing.assert_allclose(seen, binned / binned.max(), rtol=1e-6)
    assert module.given.shape[-2] % 16 == 0


def test_the_statistics_of_a_frame_are_its_own_without_its_padding():
    rng = np.random.default_rng(2)
    image = torch.from_numpy(rng.normal(size=(1, 33, 47)).astype(np.float32))
    image[0, -1] = 50.0  # the row that padding repeats
    module = Recorder()
    Network(module, "m", {"input": "standard"}).probabilities(image)
    seen = module.given[0, 0, :33, :47]
    assert float(seen.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(seen.std(correction=0)) == pytest.approx(1.0, abs=1e-5)


def test_probabilities_follow_the_head():
    image = torch.zeros(1, 16, 16)
    for classes, head in ((1, "sigmoid"), (2, "sigmoid"), (3, "softmax")):
        torch.manual_seed(0)
        net = build("shallow", {"classes": classes, "head": head})
        maps = net(image[:, None])[0, :, 8, 8].detach()
        wanted = torch.softmax(maps, 0)[1] if head == "softmax" else torch.sigmoid(maps[-1])
        assert float(Network(net, "m", {}).probabilities(image)[0, 8, 8]) == pytest.approx(float(wanted), abs=1e-6)


def test_noise_over_short_distances_is_that_of_the_noise_alone():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:200, :240]
    rough = 40.0 * np.sin(x / 40.0) + 25.0 * np.cos(y / 31.0)
    discs = 60.0 * (np.hypot(y - 90, x - 120) < 30)
    noise = rng.normal(0.0, 2.0, y.shape)
    plain, all_of_it = (local_noise(torch.from_numpy(a.astype(np.float32))) for a in (noise, noise + rough + discs))
    assert plain == pytest.approx(2.0 * 0.93, rel=0.05)  # a Gaussian of 4 px leaves 1 - 2 w₀ + Σ w² of the variance
    assert all_of_it == pytest.approx(plain, rel=0.1)


def test_asinh_is_linear_near_the_support_and_keeps_order_far_from_it():
    rng = np.random.default_rng(4)
    image = rng.normal(0.0, 1.0, (96, 128)).astype(np.float32)
    image[40:60, 30:60] += 60.0
    image[40:60, 80:110] += 400.0
    seen = condition(torch.from_numpy(image), of_kind("asinh")).numpy()
    support = seen[:30, :20]
    assert abs(np.median(support)) < 0.4
    assert 0.7 < support.std() < 1.3
    near, far = np.median(seen[45:55, 35:55]), np.median(seen[45:55, 85:105])
    assert 8 < near < far < 24
    assert np.isfinite(condition(torch.zeros(40, 40), of_kind("asinh")).numpy()).all()
