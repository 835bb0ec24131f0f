from __future__ import annotations

import numpy as np
import pytest

from insitu.errors import BadFrame, EndOfSource, InputError
from insitu.read import open_source
from insitu.testing import check_reader

FRAMES = np.random.default_rng(0).integers(0, 60000, (6, 5, 7), dtype=np.uint16)


@pytest.mark.parametrize(
    "source",
    [
        FRAMES,
        list(FRAMES),
        tuple(FRAMES),
        FRAMES.astype(">u2"),
        np.asfortranarray(FRAMES),
        [f.tolist() for f in FRAMES],
    ],
    ids=["array", "list", "tuple", "big-endian", "fortran", "nested lists"],
)
def test_what_can_be_indexed_is_read_in_any_order(source):
    assert (np.array(check_reader(source)) == FRAMES).all()


def test_one_image_is_a_movie_of_one_frame():
    assert open_source(FRAMES[0]).info.n_frames == 1


@pytest.mark.parametrize("make", [lambda: iter(FRAMES), lambda: (f for f in FRAMES)])
def test_an_iterator_is_read_once_and_forwards(make):
    assert (np.array(check_reader(lambda: open_source(make()))) == FRAMES).all()
    reader = open_source(make())
    assert reader.info.n_frames is None
    out = np.empty((5, 7), np.uint16)
    reader.read_into(0, out)
    reader.read_into(3, out)
    assert (out == FRAMES[3]).all()
    with pytest.raises(InputError, match="frame 2 was asked for after frame 3"):
        reader.read_into(2, out)
    reader.read_into(5, out)
    for index in (6, 7, 6):
        with pytest.raises((EndOfSource, InputError)):
            reader.read_into(index, out)


def test_the_end_stays_the_end():
    reader = open_source(iter(FRAMES))
    out = np.empty((5, 7), np.uint16)
    for k in range(6):
        reader.read_into(k, out)
    for _ in range(3):
        with pytest.raises(EndOfSource):
            reader.read_into(6, out)


def test_an_iterator_is_not_drawn_ahead():
    drawn = []

    def camera():
        for k, image in enumerate(FRAMES):
            drawn.append(k)
            yield image

    reader = open_source(camera())
    assert drawn == [0]
    out = np.empty((5, 7), np.uint16)
    reader.read_into(0, out)
    assert drawn == [0]
    reader.read_into(1, out)
    assert drawn == [0, 1]


def test_items_that_change_are_bad_frames():
    items = [FRAMES[0], FRAMES[1][:-1], FRAMES[2].astype("f4"), None, "text", FRAMES[5]]
    for source in (items, iter(items)):
        reader = open_source(source)
        out = np.empty((5, 7), np.uint16)
        got = []
        for k in range(6):
            try:
                reader.read_into(k, out)
                got.append("ok")
            except BadFrame as bad:
                got.append(bad.reason)
        assert got == ["ok", "shape changed", "dtype changed", "not an image", "shape changed", "ok"]


def test_colour_items_become_grey():
    colour = np.random.default_rng(0).integers(0, 255, (3, 5, 7, 3), dtype=np.uint8)
    got = np.array(check_reader(list(colour)))
    assert (got == np.rint(colour.astype(float).mean(-1))).all()
    assert open_source(list(colour)).info.notes == ("RGB averaged to grey",)


def test_booleans_become_counts():
    got = check_reader(FRAMES > 30000)
    assert got[0].dtype == np.uint8
    assert (np.array(got) == (FRAMES > 30000)).all()


@pytest.mark.parametrize(
    "source",
    [
        [],
        iter([]),
        np.empty((0, 4, 4)),
        5,
        np.zeros((2, 2, 2, 2)),
        np.zeros(5),
        [None],
        FRAMES.astype(complex),
        np.zeros((3, 0, 4)),
    ],
)
def test_what_is_no_movie(source):
    with pytest.raises(InputError) as caught:
        open_source(source)
    assert len(str(caught.value).splitlines()) == 2


def test_dask_and_zarr_arrays_are_sequences(tmp_path):
    import dask.array
    import zarr

    assert (np.array(check_reader(dask.array.from_array(FRAMES, chunks=(1, 5, 7)))) == FRAMES).all()
    assert (np.array(check_reader(zarr.array(FRAMES))) == FRAMES).all()
