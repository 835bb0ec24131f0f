"""The method without weights: outlines, empty supports, real images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import insitu
from insitu import models
from insitu.models import background as surfaces
from insitu.models.classical import Classical, cell_components
from insitu.models.memory import keep_large_blocks
from insitu.options import PrepareOptions, SegmentOptions
from insitu.prepare import prepare, reference
from insitu.runs import components, paint
from insitu.segment import segment


@pytest.fixture(scope="module", autouse=True)
def _fast():
    keep_large_blocks()


def mask_of(frames, name="classical"):
    """Masks (B, H, W) of raw frames with default settings."""
    options = PrepareOptions()
    taken = reference(list(enumerate(frames[:8])), options)
    model = models.load(name)
    return [
        paint(components(segment(prepare(f[None], options, taken), model, SegmentOptions())[0].runs)) > 0
        for f in frames
    ]


def areas(mask):
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    found = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    return sorted((int(a) for a in found if a >= 20), reverse=True)


def disc_image(radius, noise=0.0, *, shape=(256, 300), seed=0, centre=(120.3, 149.6), blur=1.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    fine = np.clip(radius - np.hypot(y - centre[0], x - centre[1]) + 0.5, 0, 1)
    clean = 200.0 - 100.0 * ndimage.gaussian_filter(fine, blur)
    return (clean + noise * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("radius", [8.0, 20.0, 60.0])
@pytest.mark.parametrize("noise", [5.0, 25.0])
def test_a_disc_keeps_its_diameter(radius, noise):
    (mask,) = mask_of([disc_image(radius, noise)])
    found = areas(mask)
    assert len(found) == 1
    assert np.sqrt(found[0] / np.pi) == pytest.approx(radius, abs=0.6 + 0.01 * noise)


def test_a_particle_on_a_third_of_the_field_keeps_its_diameter():
    (mask,) = mask_of([disc_image(85.0, 20.0)])  # 30 % of 256×300
    assert np.sqrt(areas(mask)[0] / np.pi) == pytest.approx(85.0, abs=1.0)


def test_a_disc_cut_by_the_border_is_found_where_it_is():
    (mask,) = mask_of([disc_image(30.0, 15.0, centre=(10.0, 290.0))])
    truth = np.hypot(*np.mgrid[-10:246, -290:10]) < 30
    assert (mask & truth).sum() / (mask | truth).sum() > 0.93


def test_probability_is_monotone_in_the_image_and_its_decision_is_one_half():
    image = torch.from_numpy(-disc_image(20.0, 10.0))
    p = Classical().probabilities(((image - image.median()) / 10.0)[None])[0]
    assert 0.0 <= float(p.min()) <= float(p.max()) <= 1.0
    profile = p[120, 149:].numpy()
    crossing = int(np.argmax(profile < 0.5))
    assert 19 <= crossing <= 22
    assert (profile[: crossing - 3] > 0.99).all()
    assert (profile[crossing + 4 :] < 0.01).all()
    assert float(p[20, 20]) == 0.0


@pytest.mark.parametrize("background_counts", [4, 40, 400])
def test_an_empty_support_yields_nothing(background_counts):
    rng = np.random.default_rng(background_counts)
    false = 0
    for _ in range(4):
        slope = np.linspace(0.7, 1.3, 512)[:, None] * np.linspace(0.9, 1.1, 512)
        false += len(areas(mask_of([rng.poisson(background_counts * slope).astype(np.uint16)])[0]))
    assert false == 0


def test_ten_empty_simulated_supports_have_at_most_one_false_particle():
    from insitu.simulate import random_scene

    false = 0
    for i in range(10):
        image, truth = random_scene(np.random.default_rng([7, i]), (512, 512), mode="bright-field", empty=1.0)
        assert not truth.any()
        false += len(areas(mask_of([image], "default")[0]))
    assert false <= 1


def test_constant_frames_and_small_frames_do_not_fail():
    for shape in ((1, 1), (1, 40), (3, 5), (16, 16), (17, 33)):
        p = Classical().probabilities(torch.zeros(2, *shape))
        assert p.shape == (2, *shape)
        assert not p.any()
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 50)).astype(np.float32))
    assert torch.isfinite(Classical().probabilities(noise)).all()


def test_smoothing_equals_scipy_inside_and_is_a_mean_at_the_border():
    image = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    ours = surfaces.smooth(torch.from_numpy(image), 2.0).numpy()
    wanted = ndimage.gaussian_filter(image, 2.0, truncate=3.0)
    np.testing.assert_allclose(ours[6:-6, 6:-6], wanted[6:-6, 6:-6], atol=1e-6)
    np.testing.assert_allclose(surfaces.smooth(torch.full((9, 5), 3.0), 2.0).numpy(), 3.0, rtol=1e-6)


def test_border_noise_is_what_white_noise_shows():
    rng = np.random.default_rng(0)
    stack = np.stack(
        [surfaces.smooth(torch.from_numpy(rng.standard_normal((30, 30)).astype(np.float32)), 2.0) for _ in range(3000)]
    )
    measured = stack.std(0)
    factor = surfaces.border_noise(torch.zeros(30, 30), 2.0).numpy()
    np.testing.assert_allclose(measured, factor * measured[12:18, 12:18].mean(), rtol=0.08)
    assert factor[0, 15] == pytest.approx(1.41, abs=0.1)


def test_the_surface_is_found_under_noise_and_particles():
    y, x = np.mgrid[-1:1:200j, -1:1:240j]
    truth = 3 + y - 2 * x + 0.5 * x * y - 0.7 * y**2
    image = truth + 0.2 * np.random.default_rng(0).standard_normal(truth.shape)
    image[60:150, 60:160] += 4.0  # 19 % of the field
    found = surfaces.background(torch.from_numpy(image.astype(np.float32))).numpy()
    assert np.abs(found - truth).max() < 0.15


def test_cells_are_labelled_as_scipy_does():
    rng = np.random.default_rng(0)
    for density in (0.2, 0.5, 0.6, 0.7):
        mask = rng.random((37, 53)) < density
        ours = cell_components(torch.from_numpy(mask)).numpy()
        theirs, n = ndimage.label(mask)
        pairs = set(zip(ours[mask].tolist(), theirs[mask].tolist(), strict=True))
        assert len(pairs) == n


def test_real_gold_crops(samples):
    """Au on a thin support at 800 °C with hand labels: mean IoU of the default model with default settings."""
    found = []
    for file in sorted((samples / "segmentation/au_bf_tem_800C_penn").glob("train_image_*.png")):
        truth = np.asarray(Image.open(str(file).replace("image", "label"))) == 255
        (mask,) = mask_of([np.asarray(Image.open(file))], "default")
        found.append((mask & truth).sum() / (mask | truth).sum())
    assert len(found) == 14
    assert np.mean(found) >= 0.95
    assert np.min(found) >= 0.93


def test_the_growing_gold_particle(samples):
    """One particle in every frame, 54.3 → 84.7 nm ± 3 % at 0.1635 nm/px, larger in each frame than before."""
    import tifffile

    frames = tifffile.imread(samples / "movies/au_growth_liquid_tem_13frames.tif")
    found = [areas(m) for m in mask_of(list(frames), "default")]
    assert [len(a) for a in found] == [1] * 13
    diameters = [0.1635 * np.sqrt(4 * a[0] / np.pi) for a in found]
    assert all(a < b for a, b in pairwise(diameters))
    assert diameters[0] == pytest.approx(54.3, rel=0.03)
    assert diameters[-1] == pytest.approx(84.7, rel=0.03)


def test_the_rods_in_liquid(samples):
    """Five or six rods in every frame at very low signal to noise (a seventh object is the field's dark corner)."""
    files = sorted((samples / "movies/lptem_rods_jpeg").glob("*.jpeg"))
    frames = [np.asarray(Image.open(f).convert("L")) for f in files]
    counts = [len(areas(m)) for m in mask_of(frames, "default")]
    assert all(4 <= n <= 8 for n in counts)
    assert 5 <= np.median(counts) <= 7


@pytest.mark.parametrize("correlation_px", [0.0, 1.2])
def test_small_faint_particles_do_not_vanish_all_at_once(correlation_px):
    """As contrast rises particles come in one by one; nowhere does a frame lose what a fainter one showed."""
    from scipy import ndimage

    rng = np.random.default_rng(3)
    side, places = 240, [(y, x) for y in range(20, 230, 25) for x in range(20, 230, 25)]
    noise = rng.normal(0, 1, (side, side))
    noise = ndimage.gaussian_filter(noise, correlation_px) if correlation_px else noise
    noise /= noise.std()
    yy, xx = np.mgrid[:side, :side]
    dots = sum(np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * 2.5**2)) for y, x in places)
    found = []
    for contrast in np.linspace(3, 14, 12):
        image = (1000 - 20 * noise - 20 * contrast * dots).astype(np.uint16)
        (result,) = insitu.stream([image], model="classical", settings={"segment.polarity": "dark"})
        found.append(len(result.particles))
    assert found[-1] == len(places)
    assert all(later >= earlier - 3 for earlier, later in pairwise(found)), found


def test_a_real_movie_of_small_dots_keeps_them(samples):
    movie = samples / "movies" / "bulk_water_optical.mov"
    pytest.importorskip("av")
    counts = [len(r.particles) for r in insitu.stream(movie, model="classical", frames=(0, 60, 12))]
    assert min(counts) > 0.85 * max(counts) > 300
