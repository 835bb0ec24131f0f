"""Normalisation, polarity, binning and the camera's range."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from insitu.errors import CommandError
from insitu.options import PrepareOptions
from insitu.prepare import prepare, reference

PLAIN = PrepareOptions()


def field(rng, dtype=np.uint8, *, level=120.0, noise=12.0, sign=-1, shape=(256, 240)):
    """A support with 12 discs, 50 noise-free counts off it in the direction of `sign`; scaled to fit the dtype."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = np.zeros(shape, bool)
    for cy, cx in rng.uniform(20, min(shape) - 20, (12, 2)):
        disc |= (y - cy) ** 2 + (x - cx) ** 2 < 100
    image = level + sign * 4.0 * noise * disc + noise * rng.standard_normal(shape)
    return (np.rint(image) if np.dtype(dtype).kind in "iu" else image).astype(dtype), disc


def ready(image, options=PLAIN, polarity="auto"):
    taken = reference([(0, image)], options, polarity)
    return prepare(image[None], options, taken)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "u4", "i1", "i2", "i4", ">i4", "f4", "f8"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_support_is_zero_with_unit_noise_and_particles_are_positive_for_every_camera(dtype, sign):
    level = 0.0 if dtype == "i1" else 120.0
    image, disc = field(np.random.default_rng(3), dtype, level=level, sign=sign, noise=10.0)
    out = ready(image)
    x = out.input[0].numpy()
    assert out.input.dtype == torch.float32
    assert abs(x[~disc].mean()) < 0.05
    assert x[~disc].std() == pytest.approx(1.0, abs=0.05)
    assert x[disc].mean() == pytest.approx(4.0, abs=0.2)


def test_particles_on_a_third_of_the_field_do_not_move_the_level():
    rng = np.random.default_rng(0)
    image = 100 + 10 * rng.standard_normal((300, 300))
    image[:100] -= 60
    x = ready(image.astype(np.float32)).input[0].numpy()
    assert abs(x[100:].mean()) < 0.08
    assert x[100:].std() == pytest.approx(1.0, abs=0.06)


def test_sixteen_bits_are_kept_exactly_up_to_the_camera_s_end():
    image = np.full((64, 64), 30_000, np.uint16)
    image[10, 10:14] = [65_535, 65_534, 30_001, 256]
    rng = np.random.default_rng(1)
    image = image + rng.integers(0, 4, image.shape, dtype=np.uint16) * (image == 30_000)
    out = ready(image, polarity="bright")
    x = out.input[0].double().numpy()
    scale = (x[10, 10] - x[10, 11]) ** -1  # counts per unit
    assert (x[10, 10] - x[10, 13]) * scale == pytest.approx(65_535 - 256, rel=3e-3)
    assert len(np.unique(x[10, 10:14])) == 4
    np.testing.assert_array_equal(out.counts[0], image)


def test_counts_of_32_bits_on_a_high_offset_keep_their_contrast():
    image, disc = field(np.random.default_rng(2), np.uint32, level=4_000_000_000, noise=20.0)
    x = ready(image).input[0].numpy()
    assert x[disc].mean() == pytest.approx(4.0, abs=0.2)
    assert x[~disc].std() == pytest.approx(1.0, abs=0.05)


def test_a_noise_of_one_count_is_measured_between_the_counts():
    rng = np.random.default_rng(5)
    for level in (40.0, 40.3, 40.5, 40.8):
        image = np.rint(level + 0.9 * rng.standard_normal((512, 512))).astype(np.uint8)
        x = ready(image, polarity="dark").input[0].numpy()
        assert abs(x.mean()) < 0.06
        assert x.std() == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i2", "u4", "i4", "f4"])
def test_binned_counts_are_exact_sums(side, dtype):
    rng = np.random.default_rng(side)
    kind = np.dtype(dtype)
    image = (
        rng.normal(0, 100, (67, 71)).astype(kind)
        if kind.kind == "f"
        else rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, (67, 71), endpoint=True).astype(kind)
    )
    options = PrepareOptions(bin=side, crop=(1, 2, 66, 70))
    out = ready(image, options, "dark")
    rows, columns = 65 // side, 68 // side
    wanted = np.zeros((rows, columns), np.float64 if kind.kind == "f" else object)
    for i in range(rows):
        for j in range(columns):
            block = image[1 + i * side : 1 + (i + 1) * side, 2 + j * side : 2 + (j + 1) * side]
            wanted[i, j] = float(block.astype(np.float64).sum()) if kind.kind == "f" else sum(map(int, block.ravel()))
    assert out.counts.shape[1:] == out.input.shape[1:] == (rows, columns)
    if kind.kind == "f":
        np.testing.assert_allclose(out.counts[0], wanted, rtol=1e-12)
    else:
        assert (out.counts[0].astype(object) == wanted).all()
    assert (out.origin, out.bin) == ((1, 2), side)


def test_the_brightest_16_and_32_bit_cameras_do_not_overflow_in_a_sum():
    for dtype, most in ((np.uint16, 65_535), (np.uint32, 2**32 - 1), (np.int32, 2**31 - 1)):
        image = np.full((32, 32), most, dtype)
        out = ready(image, PrepareOptions(bin=16), "dark")
        assert (out.counts == most * 256).all()
        assert torch.isfinite(out.input).all()


def test_the_binned_input_is_the_normalised_mean():
    image, _ = field(np.random.default_rng(7), np.uint16, level=3000.0, noise=300.0)
    x = ready(image, PrepareOptions(bin=2)).input[0].double().numpy()
    mean = image.astype(np.float64).reshape(128, 2, 120, 2).mean((1, 3))
    slope, offset = np.polyfit(mean.ravel(), x.ravel(), 1)
    np.testing.assert_allclose(x, slope * mean + offset, atol=1e-4)
    assert slope < 0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_median_equals_scipy(height, width, seed):
    from insitu.models.inputs import median3

    image = np.random.default_rng(seed).integers(0, 6, (2, height, width)).astype(np.float32)
    wanted = np.stack([ndimage.median_filter(i, 3, mode="nearest") for i in image])
    np.testing.assert_array_equal(median3(torch.from_numpy(image)).numpy(), wanted)


def test_hot_pixels_vanish_from_the_input_but_not_from_the_counts():
    image, _ = field(np.random.default_rng(4), np.uint16, level=1000.0, noise=30.0)
    hot = image.copy()
    hot[5, 5] = hot[100, 17] = 65_535
    options = PrepareOptions(hot_pixels="median")
    clean, dirty = ready(image, options, "dark"), ready(hot, options, "dark")
    assert float((clean.input - dirty.input).abs().max()) < 4.0  # unfiltered they stand 2000 out
    assert dirty.counts[0, 5, 5] == 65_535


def test_a_frame_does_not_depend_on_its_batch_or_on_later_frames():
    rng = np.random.default_rng(8)
    frames = np.stack([field(rng, np.uint16, level=800 + 40 * k)[0] for k in range(5)])
    options = PrepareOptions()
    taken = reference([(0, frames[0])], options)
    together = prepare(frames, options, taken).input
    for k in range(5):
        assert torch.equal(together[k], prepare(frames[k : k + 1], options, taken).input[0])


def test_frames_are_not_written_to_and_may_be_read_only_or_strided():
    image, _ = field(np.random.default_rng(9), np.float32)
    before = image.copy()
    image.flags.writeable = False
    straight = ready(image, polarity="dark").input
    np.testing.assert_array_equal(image, before)
    mirrored = ready(image[::-1, ::-1], polarity="dark").input
    assert straight.shape == mirrored.shape


def test_constant_and_non_finite_frames_give_finite_inputs():
    for image in (np.zeros((40, 40), np.uint8), np.full((40, 40), 7, np.uint16), np.full((40, 40), np.nan, np.float32)):
        x = ready(image).input
        assert torch.isfinite(x).all()
        assert float(x.abs().max()) == 0.0
    holes, _ = field(np.random.default_rng(1), np.float32)
    holes[3, 4], holes[7, 8], holes[9, 9] = np.nan, np.inf, -np.inf
    x = ready(holes).input[0]
    assert torch.isfinite(x).all()
    assert x[3, 4] == x[7, 8] == x[9, 9] == 0.0


@pytest.mark.parametrize("crop", [(0, 0, 65, 10), (5, 5, 5, 9), (-1, 0, 9, 9), (9, 0, 3, 9)])
def test_a_crop_outside_the_frame_is_a_two_line_error(crop):
    with pytest.raises(CommandError, match=r"prepare\.crop") as caught:
        ready(np.zeros((64, 64), np.uint8), PrepareOptions(crop=crop))
    assert str(caught.value).count("\n") == 1


def test_a_bin_larger_than_the_crop_is_an_error():
    with pytest.raises(CommandError, match=r"prepare\.bin"):
        ready(np.zeros((64, 64), np.uint8), PrepareOptions(crop=(0, 0, 3, 9), bin=4))


def test_reference_takes_medians_and_the_camera_s_end():
    rng = np.random.default_rng(6)
    frames = [(k, field(rng, np.uint16, level=lv, noise=25.0)[0]) for k, lv in ((0, 900), (2, 1000), (5, 1400))]
    taken = reference(frames, PrepareOptions())
    assert taken.polarity == "dark"
    assert taken.level == pytest.approx(1000, abs=2)
    assert taken.scale == pytest.approx(25, rel=0.05)
    assert taken.saturation == 65_535
    assert taken.frames == (0, 2, 5)


def test_a_movie_without_usable_frames_has_a_neutral_reference():
    taken = reference([], PrepareOptions())
    assert (taken.polarity, taken.level, taken.scale, taken.frames) == ("dark", 0.0, 1.0, ())
    assert reference([], PrepareOptions(), "bright").polarity == "bright"


@pytest.mark.parametrize("polarity", ["dark", "bright"])
def test_a_given_polarity_is_obeyed(polarity):
    image, _ = field(np.random.default_rng(0))
    assert reference([(0, image)], PrepareOptions(), polarity).polarity == polarity


def test_polarity_of_simulated_scenes():
    from insitu.simulate import random_scene

    right = seen = 0
    for i in range(24):
        mode = ("bright-field", "dark-field")[i % 2]
        image, mask = random_scene(np.random.default_rng([11, i]), (256, 256), mode=mode, empty=0.0)
        if mask.mean() > 0.01:
            seen += 1
            right += reference([(0, image)], PrepareOptions()).polarity == ("dark", "bright")[i % 2]
    assert seen > 15
    assert right >= 0.9 * seen  # one or two scenes in twenty hardly show their particles


def test_polarity_of_an_empty_support_is_the_same_every_time():
    image = np.random.default_rng(0).poisson(40, (256, 256)).astype(np.uint8)
    assert len({reference([(0, image)], PrepareOptions()).polarity for _ in range(3)}) == 1


def test_polarity_of_a_strong_gradient_is_that_of_the_particles():
    image, _ = field(np.random.default_rng(2), np.float32, level=200.0, noise=5.0)
    slope = np.linspace(0.5, 1.5, image.shape[0])[:, None] * np.linspace(0.8, 1.2, image.shape[1])
    for sign, wanted in ((1, "dark"), (-1, "bright")):
        shown = slope * (200 + sign * (image - 200))
        assert reference([(0, shown.astype(np.float32))], PrepareOptions()).polarity == wanted


def test_polarity_of_real_images(samples):
    import tifffile

    crops = sorted((samples / "segmentation/au_bf_tem_800C_penn").glob("train_image_*.png"))
    rods = sorted((samples / "movies/lptem_rods_jpeg").glob("*.jpeg"))
    images = [np.asarray(Image.open(f).convert("L")) for f in (*crops, *rods[::5])]
    images += list(tifffile.imread(samples / "movies/au_growth_liquid_tem_13frames.tif", key=[0, 12]))
    assert len(images) == 20
    for image in images:
        assert reference([(0, image)], PrepareOptions()).polarity == "dark"
        upside_down = (255 - image.astype(np.int16)).astype(np.uint8)
        assert reference([(0, upside_down)], PrepareOptions()).polarity == "bright"
