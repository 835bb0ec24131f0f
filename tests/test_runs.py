"""Runs against scikit-image and against dense arrays; numba, numpy and torch against one another, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import skimage.measure
import torch
from cases_masks import CAMERA_DTYPES, MASKS, SHAPES, assert_same, camera_image, without_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.runs import components, find_runs, find_runs_torch, loops, overlaps, paint, runs_of_labels, select, tensors


def plain_sums(mask, image):
    """Sum over runs, pixel by pixel in Python, and the runs themselves."""
    wide = float if image.dtype.kind == "f" else int
    found = []
    for y in range(mask.shape[0]):
        x = 0
        while x < mask.shape[1]:
            if mask[y, x]:
                start, total = x, wide(0)
                while x < mask.shape[1] and mask[y, x]:
                    total += wide(image[y, x])
                    x += 1
                found.append((y, start, x, total))
            x += 1
    return found


@pytest.fixture(scope="module", autouse=True)
def numba_is_here():
    assert loops.fastest().__name__ == "insitu.runs.kernels"


@settings(deadline=None, max_examples=150)
@given(mask=MASKS, dtype=st.sampled_from(CAMERA_DTYPES))
def test_numba_numpy_and_torch_give_the_same_runs_and_the_plain_sums(mask, dtype):
    counts = camera_image(mask.shape, dtype)
    probability = camera_image(mask.shape, np.uint16, seed=1)
    fast = find_runs(mask, counts, probability, origin=(3, 5), bin=2)
    slow = plain_sums(mask, counts)
    assert list(zip(fast.row, fast.start, fast.stop, fast.intensity_sum, strict=True)) == slow
    assert fast.intensity_sum.dtype == (np.float64 if counts.dtype.kind == "f" else np.int64)
    np.testing.assert_array_equal(fast.probability_sum, [s[3] for s in plain_sums(mask, probability)])
    with without_numba():
        assert_same(fast, find_runs(mask, counts, probability, origin=(3, 5), bin=2))
        labelled = components(fast)
    assert_same(labelled, components(fast))
    native = counts.astype(counts.dtype.newbyteorder("="))
    given_tensors = [torch.from_numpy(a[None]) for a in (mask, native, probability)]
    assert_same(fast, find_runs_torch(*given_tensors, origin=(3, 5), bin=2)[0])
    assert_same(fast, tensors.find(*given_tensors, (3, 5), 2)[0])


@settings(deadline=None, max_examples=150)
@given(mask=MASKS)
def test_components_painted_equal_scikit_image_labels(mask):
    labels = skimage.measure.label(mask, connectivity=2)
    runs = components(find_runs(mask))
    image = paint(runs)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, labels)
    assert runs.n_labels == labels.max()
    assert_same(runs, runs_of_labels(image))


@pytest.mark.parametrize("shape", [(97, 128), (64, 131), (201, 7), (1, 4000), (4000, 1), (33, 1000)])
@pytest.mark.parametrize("density", [0.02, 0.3, 0.41, 0.6, 0.97])
def test_larger_random_masks_near_percolation(shape, density):
    rng = np.random.default_rng(7)
    masks = rng.random((3, *shape)) < density
    counts = camera_image(masks.shape, np.uint16)
    found = [components(find_runs(m, c)) for m, c in zip(masks, counts, strict=True)]
    for mask, runs in zip(masks, found, strict=True):
        np.testing.assert_array_equal(paint(runs), skimage.measure.label(mask, connectivity=2))
    batch = tensors.find(torch.from_numpy(masks), torch.from_numpy(counts), None, (0, 0), 1)
    with without_numba():
        for runs, mask, count, batched in zip(found, masks, counts, batch, strict=True):
            assert_same(runs, components(find_runs(mask, count)))
            assert_same(runs, components(batched))


def test_a_spiral_is_one_component():
    size = 65
    mask = np.zeros((size, size), np.bool_)
    y, x, dy, dx, low, high = 0, 0, 0, 1, 0, size - 1
    for turn in range(2 * size):
        length = high - low - 2 * (turn // 2) if turn else high
        if length <= 0:
            break
        for _ in range(length):
            mask[y, x] = True
            y, x = y + dy, x + dx
        mask[y, x] = True
        dy, dx = dx, -dy
    expected = skimage.measure.label(mask, connectivity=2)
    np.testing.assert_array_equal(paint(components(find_runs(mask))), expected)
    with without_numba():
        np.testing.assert_array_equal(paint(components(find_runs(mask))), expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 9), (9, 0), (1, 1), (5, 8)])
def test_masks_without_particles(shape):
    mask = np.zeros(shape, np.bool_)
    runs = find_runs(mask, np.zeros(shape, np.uint16), np.zeros(shape, np.uint16))
    assert len(runs) == 0
    assert runs.shape == shape
    assert runs.intensity_sum.dtype == runs.probability_sum.dtype == np.int64
    labelled = components(runs)
    assert labelled.n_labels == 0
    assert not paint(labelled).any()
    assert paint(labelled).shape == shape
    assert [len(column) for column in overlaps(labelled, labelled)] == [0, 0, 0]
    with without_numba():
        assert_same(labelled, components(find_runs(mask, np.zeros(shape, np.uint16), np.zeros(shape, np.uint16))))
    batch = torch.zeros((2, *shape), dtype=torch.bool)
    for image in (torch.zeros((2, *shape)), torch.zeros((2, *shape), dtype=torch.uint16)):
        for found in tensors.find(batch, image, None, (0, 0), 1):
            assert len(found) == len(found.intensity_sum) == 0
    assert find_runs_torch(batch[:0]) == tensors.find(batch[:0], batch[:0], None, (0, 0), 1) == []


def test_sums_do_not_overflow_or_wrap():
    mask = np.ones((2, 3000), np.bool_)
    for dtype in ("u4", "i4", "u2", "i2"):
        for value in (np.iinfo(dtype).max, np.iinfo(dtype).min):
            counts = np.full(mask.shape, value, dtype)
            assert find_runs(mask, counts).intensity_sum.tolist() == [3000 * int(value)] * 2
            found = tensors.find(torch.from_numpy(mask[None]), torch.from_numpy(counts[None]), None, (0, 0), 1)
            assert found[0].intensity_sum.tolist() == [3000 * int(value)] * 2


def test_memory_layout_of_mask_and_counts_does_not_matter():
    rng = np.random.default_rng(3)
    big, image = rng.random((90, 170)) < 0.4, camera_image((90, 170), np.uint16)
    views = [
        (slice(3, 70), slice(5, 160)),
        (slice(None, None, 2), slice(None, None, 3)),
        (slice(None, None, -1), slice(1, None)),
    ]
    for view in views:
        copied = find_runs(big[view].copy(), image[view].copy())
        assert_same(copied, find_runs(big[view], image[view]))
        assert_same(copied, find_runs(np.asfortranarray(big[view]), np.asfortranarray(image[view])))
    flat = np.zeros(91 * 171, np.bool_)
    for shift in range(9):  # contiguous, but beginning inside a word
        unaligned = flat[shift : shift + 90 * 170].reshape(90, 170)
        unaligned[...] = big
        assert_same(find_runs(big), find_runs(unaligned))
        unaligned[...] = False
    locked = big.copy()
    locked.flags.writeable = False
    assert_same(find_runs(big), find_runs(locked))


def test_uint8_masks_of_any_nonzero_value():
    rng = np.random.default_rng(4)
    mask = rng.integers(0, 4, (40, 77)).astype(np.uint8)
    for values in (np.array([0, 1, 1, 1]), np.array([0, 255, 255, 255]), np.array([0, 1, 128, 127])):
        painted = values.astype(np.uint8)[mask]
        assert_same(find_runs(mask != 0), find_runs(painted))
        assert_same(find_runs(mask != 0), tensors.find(torch.from_numpy(painted[None]), None, None, (0, 0), 1)[0])


def test_torch_takes_counts_from_numpy_and_frames_stay_apart():
    masks = np.zeros((3, 4, 6), np.bool_)
    masks[0, -1] = masks[1, 0] = masks[2, 1:3, 2:4] = True  # the last row of a frame does not touch the next frame
    counts = camera_image(masks.shape, np.uint16)
    expected = [components(find_runs(m, c)) for m, c in zip(masks, counts, strict=True)]
    for given_counts in (counts, torch.from_numpy(counts)):
        for found in (
            find_runs_torch(torch.from_numpy(masks), given_counts),
            tensors.find(torch.from_numpy(masks), given_counts, None, (0, 0), 1),
        ):
            for a, b in zip(expected, found, strict=True):
                assert_same(a, components(b))
    on_host = tensors._sums(counts, tensors._search(torch.from_numpy(masks)))
    np.testing.assert_array_equal(on_host, np.concatenate([r.intensity_sum for r in expected]))


@settings(deadline=None, max_examples=100)
@given(shape=SHAPES, data=st.data())
def test_overlaps_equal_the_dense_contingency_table(shape, data):
    a, b = (components(find_runs(data.draw(hnp.arrays(np.bool_, shape)))) for _ in range(2))
    table = np.zeros((a.n_labels + 1, b.n_labels + 1), np.int64)
    np.add.at(table, (paint(a).ravel().astype(int), paint(b).ravel().astype(int)), 1)
    expected = [(i + 1, j + 1, table[i + 1, j + 1]) for i, j in np.argwhere(table[1:, 1:]).tolist()]
    found = overlaps(a, b)
    assert [column.dtype for column in found] == [np.int32, np.int32, np.int64]
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected
    with without_numba():
        for left, right in zip(found, overlaps(a, b), strict=True):
            np.testing.assert_array_equal(left, right)


def test_overlaps_refuses_different_regions_and_unlabelled_runs():
    mask = np.ones((4, 4), np.bool_)
    labelled = components(find_runs(mask))
    with pytest.raises(ValueError, match="different regions"):
        overlaps(labelled, components(find_runs(mask, origin=(0, 1))))
    with pytest.raises(ValueError, match="no labels"):
        overlaps(labelled, find_runs(mask))


@settings(deadline=None, max_examples=60)
@given(mask=MASKS, data=st.data())
def test_select_drops_components_and_numbers_the_rest_in_raster_order(mask, data):
    runs = components(find_runs(mask, camera_image(mask.shape, np.uint16), camera_image(mask.shape, np.uint16)))
    keep = data.draw(hnp.arrays(np.bool_, runs.n_labels))
    dense = np.concatenate(([False], keep))[paint(runs)]
    counts = camera_image(mask.shape, np.uint16)
    assert_same(select(runs, keep), components(find_runs(dense, counts, counts)))


def test_select_refuses_a_mask_of_another_length():
    runs = components(find_runs(np.eye(5, dtype=np.bool_)))
    with pytest.raises(ValueError, match=r"shape \(1,\)"):
        select(runs, np.ones(2, np.bool_))
    with pytest.raises(ValueError, match="bool"):
        select(runs, np.ones(1))


def test_paint_values_and_out():
    labels = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [3, 0, 0, 0]])
    runs = runs_of_labels(labels)
    ids = np.array([70_000, 5, 9])
    image = paint(runs, ids)
    assert image.dtype == ids.dtype
    np.testing.assert_array_equal(image, np.concatenate(([0], ids))[labels])
    out = np.full((3, 4), 77, np.int32)
    assert paint(runs, ids, out) is out
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(paint(runs, [0.5, np.nan, 2.0]), np.array([0, 0.5, np.nan, 2.0])[labels])
    with pytest.raises(ValueError, match="do not fit an image of uint16"):
        paint(runs, ids, np.zeros((3, 4), np.uint16))
    with pytest.raises(ValueError, match="do not fit"):
        paint(runs, [0.5, np.nan, 2.0], np.zeros((3, 4), np.uint16))
    with pytest.raises(ValueError, match="3 labels"):
        paint(runs, ids[:2])
    with pytest.raises(ValueError, match="out has shape"):
        paint(runs, out=np.zeros((4, 3), np.uint16))
    with pytest.raises(ValueError, match="no labels"):
        paint(find_runs(labels > 0))
    with without_numba():
        np.testing.assert_array_equal(paint(runs, ids), image)


def test_more_labels_than_uint16_holds_are_not_wrapped():
    mask = np.zeros((600, 600), np.bool_)
    mask[::2, ::2] = True
    runs = components(find_runs(mask))
    assert runs.n_labels == 90_000
    with pytest.raises(ValueError, match="up to 90000 do not fit an image of uint16"):
        paint(runs)
    assert paint(runs, out=np.empty((600, 600), np.int32)).max() == 90_000


def test_runs_of_labels_keeps_touching_labels_apart_and_good_numbers():
    labels = np.array([[1, 1, 2, 2], [1, 3, 3, 2], [0, 3, 0, 1]])  # all touch; 1 is in two pieces
    runs = runs_of_labels(labels, np.full((3, 4), 10, np.uint16), origin=(1, 2), bin=3)
    np.testing.assert_array_equal(paint(runs), labels)
    assert (runs.n_labels, runs.origin, runs.bin) == (3, (1, 2), 3)
    assert runs.intensity_sum.tolist() == (10 * (runs.stop - runs.start)).tolist()
    np.testing.assert_array_equal(paint(runs_of_labels(labels.astype(np.uint8))), labels)


def test_runs_of_labels_renumbers_in_raster_order_of_the_first_pixel():
    labels = np.array([[0, 7, 7, 900_000], [4, 4, 7, 900_000]])
    np.testing.assert_array_equal(paint(runs_of_labels(labels)), [[0, 1, 1, 2], [3, 3, 1, 2]])
    np.testing.assert_array_equal(paint(runs_of_labels(labels > 0)), labels > 0)
    for bad in (labels - 1, labels.astype(float), labels[0]):
        with pytest.raises(ValueError, match="a label image"):
            runs_of_labels(bad)


def test_wrong_shapes_and_dtypes_are_named():
    mask = np.ones((3, 4), np.bool_)
    with pytest.raises(ValueError, match="int64"):
        find_runs(mask.astype(np.int64))
    with pytest.raises(ValueError, match=r"\(4,\)"):
        find_runs(mask[0])
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        find_runs(mask, np.ones((4, 3)))
    with pytest.raises(ValueError, match="complex"):
        find_runs(mask, np.ones((3, 4), complex))
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        tensors.find(torch.from_numpy(mask), None, None, (0, 0), 1)
    with pytest.raises(ValueError, match=r"\(1, 3, 3\)"):
        tensors.find(torch.from_numpy(mask[None]), torch.zeros((1, 3, 3)), None, (0, 0), 1)


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_importing_runs_imports_neither_numba_nor_torch():
    loaded = run_python(
        "import sys, insitu.runs, insitu.measure; print([m for m in ('numba', 'torch') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_an_install_where_nothing_can_be_cached_still_compiles():
    code = """
import numpy as np
from insitu.runs import find_runs, kernels
print(type(kernels._scan._cache).__name__, len(find_runs(np.ones((3, 3), bool))))
"""
    assert run_python(code).split() == ["FunctionCache", "3"]
    # numba then knows only a place that nobody has provided, as in a read-only install of a user without a home
    bare = run_python(code, NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator", NUMBA_CACHE_DIR="")
    assert bare.split() == ["NullCache", "3"]
