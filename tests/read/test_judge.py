from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from insitu.errors import InputError
from insitu.read import judge
from insitu.read.frames import MAX_FRAME_PX, camera_dtype, check_frame, credible, grey

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"]


def slow(image):
    flags = []
    if (image == 0).all():
        flags.append("all zero")
    elif (image == image[0, 0]).all():
        flags.append("constant" if np.isfinite(image[0, 0]) else "not finite")
    elif not np.isfinite(image.astype(float)).all():
        flags.append("not finite")
    return tuple(flags)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_three_reasons(dtype):
    image = np.zeros((5, 7), dtype)
    assert judge(image) == ("all zero",)
    assert judge(image + np.array(3, dtype)) == ("constant",)
    image[4, 6] = 1
    assert judge(image) == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("place", [(0, 0), (3, 2), (4, 6)])
def test_one_pixel_that_is_not_finite(value, dtype, place):
    image = np.arange(35, dtype=dtype).reshape(5, 7)
    image[place] = value
    assert judge(image) == ("not finite",)


def test_a_frame_of_nothing_but_nan_or_infinity():
    assert judge(np.full((4, 4), np.nan, "f4")) == ("not finite",)
    assert judge(np.full((4, 4), np.inf, "f4")) == ("not finite",)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_sum_that_overflows_is_no_proof(dtype):
    image = np.full((50, 50), np.finfo(dtype).max, dtype)
    image[0, 0] = 1
    assert judge(image) == ()


def test_a_frame_without_structure_in_its_first_row_only():
    image = np.zeros((5, 7), np.uint8)
    image[3, 3] = 1
    assert judge(image) == ()


@given(arrays(np.float32, (4, 5), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_judge_equals_the_obvious(image):
    assert judge(image) == slow(image)


def test_grey_is_the_rounded_mean():
    rng = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16):
        colour = rng.integers(0, np.iinfo(dtype).max, (20, 30, 4), dtype=dtype, endpoint=True)
        out = np.empty((20, 30), dtype)
        grey(colour, out)
        assert (out == np.rint(colour[..., :3].astype(float).mean(-1))).all()
    colour = rng.random((4, 5, 3), dtype=np.float32)
    out = np.empty((4, 5), np.float32)
    grey(colour, out)
    np.testing.assert_allclose(out, colour.mean(-1), rtol=1e-6)


@pytest.mark.parametrize(("h", "w"), [(0, 5), (5, 0), (-1, 5), (4_000_000_000, 4_000_000_000), (2**14, 2**14 + 1)])
def test_absurd_frames(h, w):
    with pytest.raises(InputError, match="claims frames"):
        check_frame(h, w, "x.tif")


def test_the_largest_camera_fits():
    check_frame(8184, 11520, "k3.tif")
    assert MAX_FRAME_PX > 2 * 8184 * 11520


@pytest.mark.parametrize("dtype", ["c8", "O", "M8[s]", "U3", "V4", "f16"])
def test_what_is_no_count(dtype):
    with pytest.raises(InputError, match="not camera counts"):
        camera_dtype(np.dtype(dtype), "x")


def test_counts_are_native():
    assert camera_dtype(np.dtype(">u2"), "x") == np.dtype("=u2")
    assert camera_dtype(np.dtype("?"), "x") == np.uint8


def test_declared_frames_that_are_not_there():
    assert credible(10, 1000, 100, "m.mrc") == (10, ())
    assert credible(10, 5000, 100, "m.mrc") == (10, ())
    assert credible(10, 450, 100, "m.mrc") == (10, ("cut short: 10 frames declared, 4 complete",))
    assert credible(4_000_000_000, 450, 100, "m.mrc")[0] == 5
    for available in (99, 0, -5):
        with pytest.raises(InputError, match="not one complete frame"):
            credible(1, available, 100, "m.mrc")
