"""Particles against scikit-image's regionprops; units, half pixels, edges, limits."""

from __future__ import annotations

from dataclasses import fields, replace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import skimage.measure
from cases_masks import CAMERA_DTYPES, MASKS, SHAPES, assert_same, camera_image, without_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu import schema
from insitu.measure import FLAG_TOO_MANY, measure
from insitu.options import MeasureOptions
from insitu.runs import MAX_LABELS, components, find_runs, paint, runs_of_labels
from insitu.types import Particles

ALL = MeasureOptions(min_area_px=1)
EXACT = {
    "area": "area_px",
    "centroid-0": "y",
    "centroid-1": "x",
    "bbox-0": "bbox_y0",
    "bbox-1": "bbox_x0",
    "bbox-2": "bbox_y1",
    "bbox-3": "bbox_x1",
}
OTHERS = (
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "orientation",
    "perimeter",
    "equivalent_diameter_area",
)


def assert_equals_scikit_image(runs, counts=None):
    """Compare every column with `regionprops_table` of the painted labels (runs on bin 1, origin 0)."""
    labels = paint(runs, out=np.zeros(runs.shape, np.int32))
    found = measure(runs, ALL).particles
    wanted = ("area", "centroid", "bbox", *OTHERS, *(() if counts is None else ("intensity_mean",)))
    table = skimage.measure.regionprops_table(labels, counts, properties=wanted)
    for theirs, ours in EXACT.items():
        np.testing.assert_array_equal(getattr(found, ours), table[theirs], err_msg=ours)
    if counts is not None:
        compare = np.testing.assert_array_equal if counts.dtype.kind != "f" else np.testing.assert_allclose
        compare(found.mean_intensity, table["intensity_mean"])
    major, minor = table["axis_major_length"], table["axis_minor_length"]
    # a vanishing eigenvalue comes out of eigvalsh as noise of 1e-16 of the large one, and its root is the axis
    np.testing.assert_allclose(found.major_axis_px, major, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.minor_axis_px, minor, rtol=1e-6, atol=1e-7 * max(1.0, major.max(initial=0)))
    np.testing.assert_allclose(found.eccentricity, table["eccentricity"], atol=1e-4)
    np.testing.assert_allclose(found.equivalent_diameter_px, table["equivalent_diameter_area"], rtol=1e-12)
    np.testing.assert_allclose(found.perimeter_px, table["perimeter"], rtol=1e-9)
    turned = found.orientation_rad - table["orientation"]
    directed = found.eccentricity > 1e-3  # a round particle has no direction
    np.testing.assert_allclose(np.sin(turned[directed]), 0, atol=1e-6)
    assert (np.abs(found.orientation_rad) <= np.pi / 2).all()
    round_again = np.where(
        table["perimeter"] > 0, 4 * np.pi * table["area"] / np.maximum(table["perimeter"], 1) ** 2, np.nan
    )
    np.testing.assert_allclose(found.circularity, round_again, rtol=1e-9)
    height, width = runs.shape
    y0, x0, y1, x1 = (table[f"bbox-{i}"] for i in range(4))
    np.testing.assert_array_equal(found.touches_edge, (y0 == 0) | (x0 == 0) | (y1 == height) | (x1 == width))
    assert found.label.tolist() == list(range(1, runs.n_labels + 1))


def discs(shape, centres_and_radii):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 <= r * r for cy, cx, r in centres_and_radii], axis=0)


def random_discs(seed, n, shape=(211, 307)):
    rng = np.random.default_rng(seed)
    return discs(
        shape, np.column_stack([rng.uniform(0, shape[0], n), rng.uniform(0, shape[1], n), rng.uniform(1, 18, n)])
    )


@settings(deadline=None, max_examples=120)
@given(mask=MASKS, dtype=st.sampled_from([d for d in CAMERA_DTYPES if d[-2] in "ui"]))
def test_random_small_masks(mask, dtype):
    counts = camera_image(mask.shape, dtype)
    assert_equals_scikit_image(components(find_runs(mask, counts)), counts)


@settings(deadline=None, max_examples=80)
@given(labels=SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 3))))
def test_touching_labels_are_measured_one_by_one(labels):
    assert_equals_scikit_image(runs_of_labels(labels))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["discs", "touching", "noisy", "speckle"])
def test_random_frames(seed, kind):
    rng = np.random.default_rng(seed)
    mask = random_discs(seed, 60 if kind == "touching" else 12)
    if kind == "noisy":
        mask ^= rng.random(mask.shape) < 0.05
    if kind == "speckle":
        mask = rng.random(mask.shape) < 0.3
    counts = camera_image(mask.shape, np.uint16, seed)
    assert_equals_scikit_image(components(find_runs(mask, counts)), counts)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (40, 61)])
@pytest.mark.parametrize("kind", ["empty", "full", "first pixel", "last pixel", "ring", "diagonal"])
def test_special_masks(shape, kind):
    mask = np.zeros(shape, np.bool_)
    if kind == "full":
        mask[...] = True
    elif kind == "first pixel":
        mask[0, 0] = True
    elif kind == "last pixel":
        mask[-1, -1] = True
    elif kind == "ring":
        mask[0] = mask[-1] = mask[:, 0] = mask[:, -1] = True
    elif kind == "diagonal":
        mask[np.arange(min(shape)), np.arange(min(shape))] = True
    counts = camera_image(shape, np.int16)
    assert_equals_scikit_image(components(find_runs(mask, counts)), counts)


def test_orientation_follows_scikit_image_on_bars():
    for dy, dx in [(0, 1), (1, 0), (1, 1), (1, -1), (1, 3), (3, 1), (1, -3), (3, -1)]:
        mask = np.zeros((80, 80), np.bool_)
        for t in np.linspace(-1, 1, 400):
            y, x = 40 + 10 * t * dy, 40 + 10 * t * dx
            mask[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = True
        ours = measure(components(find_runs(mask)), ALL).particles.orientation_rad[0]
        theirs = skimage.measure.regionprops(mask.astype(int))[0].orientation
        assert np.sin(ours - theirs) == pytest.approx(0, abs=1e-9), (dy, dx)
        assert np.tan(ours) == pytest.approx(dx / dy if dy else np.tan(np.pi / 2), rel=0.1) or dy == 0


@settings(deadline=None, max_examples=60)
@given(mask=MASKS, dtype=st.sampled_from(CAMERA_DTYPES), bin_side=st.integers(1, 3))
def test_without_numba_every_bit_is_the_same(mask, dtype, bin_side):
    arguments = (mask, camera_image(mask.shape, dtype), camera_image(mask.shape, np.uint16))
    options = MeasureOptions(min_area_px=3)
    fast = measure(components(find_runs(*arguments, bin=bin_side)), options)
    with without_numba():
        slow = measure(components(find_runs(*arguments, bin=bin_side)), options)
    assert_same(fast.particles, slow.particles)
    assert_same(fast.runs, slow.runs)
    assert (fast.n_small, fast.flags) == (slow.n_small, slow.flags)


def test_touching_labels_without_numba():
    labels = np.random.default_rng(5).integers(0, 4, (30, 50))
    fast = measure(runs_of_labels(labels), ALL).particles
    with without_numba():
        assert_same(fast, measure(runs_of_labels(labels), ALL).particles)


def test_columns_are_those_of_the_schema():
    particles = measure(components(find_runs(random_discs(1, 8))), ALL).particles
    columns = {c.name: c.dtype for c in schema.PARTICLES if c.name not in {"frame", "time_s", "particle"}}
    assert [f.name for f in fields(Particles)] == list(columns)
    for name, dtype in columns.items():
        column = getattr(particles, name)
        assert (column.dtype, column.shape) == (np.dtype(dtype), (len(particles),)), name
        assert column.flags.c_contiguous, name


@pytest.mark.parametrize("side", [2, 3])
def test_binned_and_cropped_regions_are_measured_in_camera_pixels(side):
    mask = random_discs(2, 10, (60, 70))
    counts = camera_image((60 * side, 70 * side), np.uint16).astype(np.int64)
    summed = counts.reshape(60, side, 70, side).sum((1, 3))
    probability = camera_image(mask.shape, np.uint16)
    binned = measure(components(find_runs(mask, summed, probability, origin=(7, 11), bin=side)), ALL).particles
    camera = np.kron(mask, np.ones((side, side), np.bool_))
    fine = measure(components(find_runs(camera, counts)), ALL).particles
    coarse = measure(components(find_runs(mask, None, probability)), ALL).particles
    for name in ("label", "area_px", "equivalent_diameter_px", "mean_intensity", "touches_edge"):
        np.testing.assert_array_equal(getattr(binned, name), getattr(fine, name), err_msg=name)
    np.testing.assert_allclose(binned.y, fine.y + 7, rtol=1e-12)
    np.testing.assert_allclose(binned.x, fine.x + 11, rtol=1e-12)
    for name, shift in (("bbox_y0", 7), ("bbox_x0", 11), ("bbox_y1", 7), ("bbox_x1", 11)):
        np.testing.assert_array_equal(getattr(binned, name), getattr(fine, name) + shift, err_msg=name)
    for name in ("major_axis_px", "minor_axis_px", "perimeter_px"):
        np.testing.assert_array_equal(getattr(binned, name), getattr(coarse, name) * side, err_msg=name)
    for name in ("eccentricity", "orientation_rad", "circularity", "mean_probability"):
        np.testing.assert_array_equal(getattr(binned, name), getattr(coarse, name), err_msg=name)


def test_the_centre_of_a_binned_pixel_lies_between_camera_pixels():
    mask = np.zeros((5, 5), np.bool_)
    mask[0, 3] = True
    for side, origin, y, x in [(1, (0, 0), 0, 3), (2, (0, 0), 0.5, 6.5), (3, (10, 20), 11, 30), (4, (1, 0), 2.5, 13.5)]:
        found = measure(components(find_runs(mask, origin=origin, bin=side)), ALL).particles
        assert (found.y[0], found.x[0], found.area_px[0]) == (y, x, side**2)


def test_touching_the_edge_means_the_edge_of_the_region():
    mask = np.zeros((9, 9), np.bool_)
    mask[0, 4] = mask[4, 0] = mask[8, 4] = mask[4, 8] = mask[4, 4] = True
    for origin in [(0, 0), (50, 60)]:
        touches = measure(components(find_runs(mask, origin=origin)), ALL).particles.touches_edge
        assert touches.tolist() == [True, True, False, True, True]


def test_small_components_are_counted_left_out_and_the_rest_renumbered():
    mask = np.zeros((20, 40), np.bool_)
    mask[1, 1:4] = mask[1, 10:14] = mask[1, 20:25] = mask[10, 5:7] = mask[12, 20:24] = True  # 3, 4, 5, 2, 4 px
    counts = camera_image(mask.shape, np.uint16)
    runs = components(find_runs(mask, counts))
    found = measure(runs, MeasureOptions(min_area_px=4))
    assert found.particles.area_px.tolist() == [4, 5, 4]
    assert (found.n_small, found.flags) == (2, ())
    assert found.particles.label.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found.runs.intensity_sum, runs.intensity_sum[[1, 2, 4]])
    np.testing.assert_array_equal(
        found.particles.mean_intensity, [counts[1, 10:14].mean(), counts[1, 20:25].mean(), counts[12, 20:24].mean()]
    )
    assert paint(found.runs).max() == 3
    # the limit counts camera pixels: 2×2 of them in a binned one
    assert measure(replace(runs, bin=2), MeasureOptions(min_area_px=12)).n_small == 1
    assert measure(runs, MeasureOptions(min_area_px=6)).n_small == 5
    assert len(measure(runs, MeasureOptions(min_area_px=6)).particles) == 0


def test_of_too_many_particles_the_smallest_and_last_are_dropped():
    mask = np.zeros((514, 1040), np.bool_)
    mask[::2, ::4] = True  # 257 × 260 = 66 820 single pixels
    mask[-1, -2:] = mask[0, :2] = True
    counts = camera_image(mask.shape, np.uint8)
    runs = components(find_runs(mask, counts))
    areas = measure(runs, replace(ALL, perimeter=False))
    assert runs.n_labels == 66_821
    assert areas.flags == (FLAG_TOO_MANY,)
    assert (len(areas.particles), areas.runs.n_labels, areas.n_small) == (MAX_LABELS, MAX_LABELS, 0)
    assert areas.particles.area_px[0] == areas.particles.area_px[-1] == 2
    kept = paint(areas.runs)
    assert kept.max() == kept[-1, -1] == MAX_LABELS
    dropped = np.argwhere(mask & (kept == 0))
    singles = np.argwhere(mask & (paint(runs, out=np.zeros(mask.shape, np.int32)) < runs.n_labels))
    np.testing.assert_array_equal(dropped, singles[-len(dropped) :])
    mask[-1, :] = False  # the small ones go first, and are not too many then
    fewer = measure(components(find_runs(mask)), MeasureOptions(min_area_px=2))
    assert (fewer.flags, len(fewer.particles), fewer.n_small) == ((), 1, 66_819)


def test_nothing_cancels_far_from_the_corner():
    runs = components(find_runs(random_discs(3, 15)))
    near = measure(runs, ALL).particles
    far = measure(
        replace(
            runs,
            row=runs.row + np.int32(29_000),
            start=runs.start + np.int32(31_000),
            stop=runs.stop + np.int32(31_000),
            shape=(32_000, 32_000),
        ),
        ALL,
    ).particles
    for name in ("major_axis_px", "minor_axis_px", "eccentricity", "orientation_rad", "perimeter_px", "area_px"):
        np.testing.assert_array_equal(getattr(far, name), getattr(near, name), err_msg=name)
    np.testing.assert_allclose(far.y - 29_000, near.y, atol=1e-11)


def test_a_particle_as_large_as_the_largest_camera():
    runs = replace(
        find_runs(np.zeros((1, 1), np.bool_)),
        shape=(16_384, 16_384),
        row=np.arange(16_384, dtype=np.int32),
        start=np.zeros(16_384, np.int32),
        stop=np.full(16_384, 16_384, np.int32),
        label=np.ones(16_384, np.int32),
        n_labels=1,
    )
    found = measure(runs, ALL).particles
    side = 4 * np.sqrt((16_384**2 - 1) / 12)
    np.testing.assert_allclose([found.major_axis_px[0], found.minor_axis_px[0]], side, rtol=1e-14)
    assert (found.area_px[0], found.y[0], found.perimeter_px[0]) == (16_384**2, 8191.5, 4 * 16_384 - 4)


def test_what_was_not_measured_is_not_a_number():
    mask = random_discs(4, 6)
    bare = measure(components(find_runs(mask)), replace(ALL, perimeter=False)).particles
    for name in ("mean_intensity", "mean_probability", "perimeter_px", "circularity"):
        assert np.isnan(getattr(bare, name)).all(), name
    single = np.zeros((3, 3), np.bool_)
    single[1, 1] = True
    point = measure(components(find_runs(single)), ALL).particles
    assert point.perimeter_px[0] == 0
    assert np.isnan(point.circularity[0])
    assert (point.major_axis_px[0], point.eccentricity[0]) == (0, 0)
    assert not point.composite.any()


def test_mean_probability_is_a_probability():
    mask = np.ones((2, 3), np.bool_)
    probability = np.array([[0, 65535, 65535], [0, 0, 65535]], np.uint16)
    found = measure(components(find_runs(mask, None, probability, bin=2)), ALL).particles
    assert found.mean_probability.tolist() == [0.5]


def test_float_counts_are_averaged_in_double_precision():
    mask = random_discs(5, 10)
    for dtype in ("f4", "f8"):
        counts = camera_image(mask.shape, dtype)
        runs = components(find_runs(mask, counts))
        labels = paint(runs)
        expected = [counts[labels == k].astype(np.float64).mean() for k in range(1, runs.n_labels + 1)]
        np.testing.assert_allclose(measure(runs, ALL).particles.mean_intensity, expected, rtol=1e-12, atol=1e-10)


def test_unlabelled_runs_are_refused():
    with pytest.raises(ValueError, match="components"):
        measure(find_runs(np.ones((2, 2), np.bool_)), ALL)
