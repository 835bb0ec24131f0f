"""Touching particles told apart by shape: the rule against a slow form of it, the cut against scikit-image."""

from __future__ import annotations

import cases_events as cases
import numpy as np
import pytest
import scipy.ndimage
import skimage.segmentation
from cases_basins import split_slowly
from cases_masks import MASKS, assert_same, without_numba
from hypothesis import given, settings
from hypothesis import strategies as st

import insitu
from insitu.measure import measure
from insitu.options import MeasureOptions
from insitu.runs import basins, components, distances, find_runs, paint, pieces, runs_of_labels
from insitu.runs.split import DEPTH_PX, NECK, split
from insitu.settings import Settings

EIGHT = np.ones((3, 3))


def labels_of(mask, **options):
    return paint(split(components(find_runs(mask)), **options)).astype(int)


def crowd(seed: int, n: int = 12, side: int = 90, radii: tuple[float, float] = (4, 12)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    mask = np.zeros((side, side), np.bool_)
    for cy, cx, r in zip(*rng.uniform(0, side, (2, n)), rng.uniform(*radii, n), strict=True):
        mask |= (y - cy) ** 2 + (x - cx) ** 2 <= r * r
    return mask


def parts_slowly(outline) -> int:
    """Count the parts of one outline: lower a level through the distances and let peaks that meet go on or end."""
    distance = scipy.ndimage.distance_transform_edt(outline)
    alive: list[tuple[float, tuple[int, int]]] = []  # height and place of peaks
    for level in np.unique(distance[outline])[::-1]:
        label, n = scipy.ndimage.label(distance >= level, EIGHT)
        peaks: list[tuple[float, tuple[int, int]]] = []
        for k in range(1, n + 1):
            met = sorted((p for p in alive if label[p[1]] == k), reverse=True)
            if not met:
                peaks.append((level, tuple(np.argwhere(label == k)[0])))
                continue
            peaks += met[:1] + [p for p in met[1:] if level <= NECK * p[0] and p[0] - level >= DEPTH_PX]
        alive = peaks
    return len(alive)


@given(st.integers(0, 100_000), st.sampled_from([1, 1, 12]), st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_it_is_bit_for_bit_the_slow_form(seed, least, bin_side):
    rng = np.random.default_rng(seed)
    noise = scipy.ndimage.gaussian_filter(rng.normal(size=(44, 60)), rng.uniform(0.5, 3))
    mask = noise > np.quantile(noise, rng.uniform(0.3, 0.8))  # ragged, with holes, cut by the border
    counts = rng.integers(0, 60_000, mask.shape, dtype=np.uint16)
    runs = components(find_runs(mask, counts, rng.integers(0, 65_536, mask.shape), bin=bin_side))
    assert_same(split(runs, min_area_px=least), split_slowly(runs, least))
    several = runs_of_labels(mask * rng.integers(1, 4), counts, bin=bin_side)  # one label in many places
    assert_same(split(several, min_area_px=least), split_slowly(several, least))


@pytest.mark.parametrize("narrow", [0, 1000], ids=["column by column", "row by row"])
@pytest.mark.parametrize("bits", [32, 64])
def test_however_distances_are_computed_the_cut_is_the_same(narrow, bits, monkeypatch):
    runs = components(find_runs(crowd(7, side=80)))
    expected = split_slowly(runs)
    assert expected.n_labels > runs.n_labels
    monkeypatch.setattr(pieces, "LARGEST_IN_32_BITS", 0 if bits == 64 else 8190)
    monkeypatch.setattr(distances, "NARROW_PX", narrow)
    monkeypatch.setattr(basins, "distances", distances.distances.py_func)  # compiled code has constants of its own
    for module, names in ((basins, ("parts_of",)), (pieces, ("_divide",))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).py_func)
    monkeypatch.setattr(pieces, "parts_of", basins.parts_of)
    assert_same(split(runs), expected)


@pytest.mark.parametrize("side", [40, 300])
def test_distances_are_those_of_scipy(side):
    mask = crowd(2, side=side, n=3, radii=(side / 8, side / 4))
    mask[[0, -1]] = mask[:, [0, -1]] = False
    mask &= paint(components(find_runs(mask))) == 1
    y0, x0 = (int(v.min()) for v in mask.nonzero())
    y1, x1 = (int(v.max()) + 1 for v in mask.nonzero())
    runs = find_runs(mask)
    outline = ((runs.row, runs.start, runs.stop), np.arange(len(runs)), (y0, x0, y1, x1))
    out = np.empty((2, (y1 - y0 + 2) * (x1 - x0 + 2)), np.int32)
    distances.distances(outline, mask.shape, out[0], out[1])
    expected = scipy.ndimage.distance_transform_edt(mask)[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1]
    np.testing.assert_array_equal(out[1].reshape(expected.shape), np.rint(expected**2))


def test_an_outline_of_more_than_eight_thousand_pixels_is_cut_too():
    mask = np.zeros((24, 9000), np.bool_)
    mask[2:22, 10:8900] = True
    mask[2:8, 4000:4003] = mask[16:22, 4000:4003] = False
    runs = components(find_runs(mask))
    assert split(runs).n_labels == 2
    assert_same(split(runs), split_slowly(runs))


def test_two_discs_are_cut_at_the_neck_and_a_lone_one_is_not():
    discs = [(20.0, 20.0, 5.0), (60.0, 50.0, 12.0), (60.0, 69.0, 9.0)]
    image = labels_of(cases.mask_of(discs))
    assert image.max() == 3
    # Discs of radius 12 and 9, 19 px apart, cross at x = 50 + (19² + 12² - 9²) / (2 · 19) = 61.2.
    left, right = image[60, 50], image[60, 69]
    assert abs((image == left).nonzero()[1].max() - 61) <= 1
    assert abs((image == right).nonzero()[1].min() - 62) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_the_rule_is_that_of_a_level_lowered_through_the_distances(seed):
    mask = crowd(seed, side=70)
    whole, n = scipy.ndimage.label(mask, EIGHT)
    image = labels_of(mask)
    for k in range(1, n + 1):
        assert len(np.unique(image[whole == k])) == parts_slowly(whole == k)


def test_the_cut_is_that_of_scikit_image():
    differs = total = 0
    for seed in range(20):
        mask = crowd(seed)
        image = labels_of(mask)
        squared = np.rint(scipy.ndimage.distance_transform_edt(mask) ** 2)
        markers = np.zeros(image.shape, int)
        for k in range(1, image.max() + 1):
            markers[np.unravel_index(np.argmax(np.where(image == k, squared, -1)), image.shape)] = k
        other = skimage.segmentation.watershed(-squared, markers, connectivity=2, mask=mask)
        differs += np.count_nonzero(image != other)
        total += np.count_nonzero(mask)
        assert image.max() > 1
    assert differs < 0.02 * total  # where several neighbours are equally far from the outside


@pytest.mark.parametrize("bin_side", [1, 2])
def test_round_solid_particles_are_not_cut(bin_side):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:64, :64]
    cut = 0
    for _ in range(300):
        long = rng.uniform(2, 28)
        short, angle = long * rng.uniform(0.55, 1), rng.uniform(0, np.pi)
        v, u = y - 31 - rng.uniform(), x - 31 - rng.uniform()
        along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
        runs = components(find_runs((along / long) ** 2 + (across / short) ** 2 <= 1, bin=bin_side))
        cut += split(runs).n_labels > 1
    assert cut == 0


@given(st.integers(0, 100_000), st.integers(1, 40), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_and_nothing_too_small_is_cut_off(seed, least, bin_side):
    mask = crowd(seed, side=64, radii=(1, 14))
    rng = np.random.default_rng(seed)
    counts, sure = rng.integers(0, 60_000, mask.shape, dtype=np.uint16), rng.integers(0, 65_536, mask.shape)
    whole = components(find_runs(mask, counts, sure, bin=bin_side))
    runs = split(whole, min_area_px=least)
    before, image = paint(whole), paint(runs)
    assert ((image > 0) == mask).all()
    again = runs_of_labels(image)
    for name in ("row", "start", "stop", "label"):
        assert getattr(again, name).tolist() == getattr(runs, name).tolist()
    assert runs.intensity_sum.sum() == counts[mask].sum()
    assert runs.probability_sum.sum() == sure[mask].sum()
    for k in range(1, runs.n_labels + 1):
        part = image == k
        outline = before == before[part][0]
        assert scipy.ndimage.label(part, EIGHT)[1] == 1
        assert outline[part].all()
        assert part.sum() * bin_side**2 >= least or part.sum() == outline.sum()


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_any_mask_can_be_split(mask):
    image = labels_of(mask)
    assert ((image > 0) == mask).all()
    assert image.max() >= scipy.ndimage.label(mask, EIGHT)[1]


def test_every_outline_is_cut_as_if_it_were_alone():
    mask = crowd(3)
    whole, n = scipy.ndimage.label(mask, EIGHT)
    image = labels_of(mask)
    for k in range(1, n + 1):
        alone = labels_of(whole == k)
        assert len(set(zip(alone[whole == k].tolist(), image[whole == k].tolist(), strict=True))) == alone.max()


@pytest.mark.parametrize("mask", [np.ones((20, 30), np.bool_), np.zeros((20, 30), np.bool_)], ids=["full", "empty"])
def test_a_frame_without_outside_or_inside_is_left_alone(mask):
    runs = components(find_runs(mask))
    assert split(runs) is runs


def test_at_the_border_the_part_that_is_seen_has_no_neck():
    y, x = np.mgrid[:40, :40]
    assert labels_of((y - 0) ** 2 + (x - 20) ** 2 <= 15**2).max() == 1
    assert labels_of(((y - 3) ** 2 + (x - 12) ** 2 <= 8**2) | ((y - 3) ** 2 + (x - 27) ** 2 <= 8**2)).max() == 2


def test_without_numba_every_bit_is_the_same():
    runs = components(find_runs(crowd(1, side=50), np.arange(2500, dtype=np.uint16).reshape(50, 50)))
    with without_numba():
        from insitu.runs.split import split as plain

        slow = plain(runs, min_area_px=20)
    assert slow.n_labels > runs.n_labels
    assert_same(split(runs, min_area_px=20), slow)


def test_it_is_a_setting_of_measure():
    runs = components(find_runs(cases.mask_of([(60.0, 50.0, 12.0), (60.0, 69.0, 9.0)])))
    assert len(measure(runs, MeasureOptions()).particles) == 1
    found = measure(runs, MeasureOptions(split="watershed"))
    assert found.particles.label.tolist() == [1, 2]
    assert sorted(found.particles.equivalent_diameter_px / 2) == pytest.approx([9, 12], rel=0.03)
    assert found.runs.n_labels == 2


def pairs(frames=6):
    """Dark discs on a noisy support: two that touch all the time, one alone; they wander together."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :110]
    for k in range(frames):
        image = np.full((80, 110), 150.0)
        for cy, cx, r in ((30, 30 + k, 11), (30, 50 + k, 11), (60, 80 - k, 9)):
            image = np.minimum(image, 150 - 60 * np.clip(r - np.hypot(y - cy, x - cx) + 0.5, 0, 1))
        yield rng.normal(image, 3).clip(1, 255).astype(np.uint8)


def test_tables_and_label_images_of_a_run_agree_whatever_the_batch(tmp_path):
    base = Settings().replace(
        {"segment.model": "classical", "store.fsync": False, "measure.split": "watershed"}, "test"
    )
    tables = []
    for batch, unit in ((1, 64), (4, 2)):
        own = base.replace({"segment.batch": batch, "store.unit_frames": unit}, "test")
        insitu.analyze(list(pairs()), tmp_path / f"{batch}", settings=own)
        run = insitu.open(tmp_path / f"{batch}")
        particles = run.particles.to_pandas()
        assert particles.groupby("particle").size().tolist() == [6, 6, 6]
        assert not particles["composite"].any()
        assert len(run.events) == 0
        for frame, rows in particles.groupby("frame"):
            plane = np.asarray(run.labels[frame])
            np.testing.assert_array_equal(np.bincount(plane.ravel())[1:], rows.sort_values("label")["area_px"])
        tables.append((particles, np.asarray(run.labels)))
    assert tables[0][0].equals(tables[1][0])
    np.testing.assert_array_equal(tables[0][1], tables[1][1])
    whole = insitu.analyze(list(pairs()), tmp_path / "whole", settings=base.replace({"measure.split": "none"}, "test"))
    assert whole.particles.to_pandas()["particle"].nunique() == 2
