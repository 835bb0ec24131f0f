from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from insitu.export.outlines import enclosed, outline, outlines

EIGHT = np.ones((3, 3))


def filled(corners, shape):
    """Paint a polygon by counting, in each row, the vertical edges to the left of a pixel (winding number)."""
    winding = np.zeros(shape, int)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        assert (x0 == x1) != (y0 == y1), "every edge runs along pixels"
        if x0 == x1:
            winding[min(y0, y1) : max(y0, y1), x0:] += -1 if y1 > y0 else 1
    return winding != 0


def test_one_pixel():
    np.testing.assert_array_equal(outline(np.ones((1, 1), bool)), [(0, 0), (1, 0), (1, 1), (0, 1)])


def test_a_hole_is_not_told_and_a_corner_joins():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    np.testing.assert_array_equal(outline(ring), [(0, 0), (3, 0), (3, 3), (0, 3)])
    pair = np.eye(2, dtype=bool)
    assert filled(outline(pair), (2, 2)).tolist() == pair.tolist()
    assert filled(outline(pair[::-1]), (2, 2)).tolist() == pair[::-1].tolist()


@settings(max_examples=200, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_every_component_comes_back_with_its_holes_filled(mask):
    labels, n = ndimage.label(mask, EIGHT)
    found = dict(outlines(labels.astype(np.uint16)))
    assert set(found) == set(range(1, n + 1))
    for label, corners in found.items():
        own = labels == label
        # a hole of an 8-connected thing is 4-connected: corners do not let the outside in
        whole = ndimage.binary_fill_holes(own, ndimage.generate_binary_structure(2, 1))
        np.testing.assert_array_equal(filled(corners, mask.shape), whole)


@settings(max_examples=200, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_of_a_label_in_pieces_the_largest_is_outlined(mask):
    found = dict(outlines(mask.astype(np.uint16)))
    assert set(found) == ({1} if mask.any() else set())
    pieces, n = ndimage.label(mask, EIGHT)
    wholes = [ndimage.binary_fill_holes(pieces == k, ndimage.generate_binary_structure(2, 1)) for k in range(1, n + 1)]
    if n:
        shown = filled(found[1], mask.shape)
        assert enclosed(found[1]) == shown.sum()
        # a piece inside the hole of another one is covered with it: then nothing seems to be missing
        assert any((shown == whole).all() for whole in wholes)
        assert shown.sum() >= max(np.bincount(pieces.ravel())[1:])


@pytest.mark.parametrize("shift", [(0, 0), (5, 2)])
def test_places_are_those_of_the_image(shift):
    labels = np.zeros((12, 9), np.uint16)
    labels[shift[0] : shift[0] + 2, shift[1] : shift[1] + 3] = 7
    ((label, corners),) = outlines(labels)
    assert label == 7
    assert corners.min(axis=0).tolist() == [shift[1], shift[0]]
    assert corners.max(axis=0).tolist() == [shift[1] + 3, shift[0] + 2]
