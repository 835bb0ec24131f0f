"""A file with room for frames that are yet to be written: none is taken while it is being written."""

from __future__ import annotations

import json
import struct
import time

import numpy as np
import pytest
import tifffile
from cases_movies import discs
from watch_cases import QUICK, camera

from insitu.read.watch import Until
from insitu.read.watch.front import Front
from insitu.read.watch.growing import GrowingFile

FRAMES = 24
BYTES = 96 * 128 * 2
PAGE = 4096


class Movie:
    """A file with room for 24 frames, all zero, and the images that belong there."""

    def __init__(self, path, start=0):
        self.path, self.start = path, start
        self.images = [image.astype("<u2") for image in discs()]

    def put(self, frame, start=0, stop=None):
        """Write the bytes `start` to `stop` of a frame."""
        with self.path.open("r+b") as file:
            file.seek(self.start + frame * BYTES + start)
            file.write(self.images[frame].tobytes()[start:stop])

    def torn(self, frame):
        """Write a frame but for a page in its middle."""
        self.put(frame, 0, PAGE)
        self.put(frame, 2 * PAGE)


def raw(folder):
    path = folder / "m.raw"
    path.with_suffix(".json").write_text(json.dumps({"shape": [96, 128], "dtype": "uint16"}))
    path.write_bytes(bytes(FRAMES * BYTES))
    return Movie(path)


def mrc(folder):
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, 128, 96, FRAMES, 6)
    struct.pack_into("<3i", head, 28, 128, 96, FRAMES)
    head[208:216] = b"MAP \x44\x44\0\0"
    (folder / "m.mrc").write_bytes(bytes(head) + bytes(FRAMES * BYTES))
    return Movie(folder / "m.mrc", 1024)


def tiff(folder):
    path = folder / "m.tif"
    tifffile.memmap(path, shape=(FRAMES, 96, 128), dtype="<u2", photometric="minisblack").flush()
    with tifffile.TiffFile(path) as file:
        return Movie(path, file.pages[0].dataoffsets[0])


@pytest.fixture(params=[raw, mrc, tiff])
def movie(request, tmp_path):
    return request.param(tmp_path)


def growing(movie, **kw):
    return GrowingFile(movie.path, kw.pop("until", None) or Until(), patience=QUICK, **kw)


def given(reader, index):
    out = np.empty((96, 128), np.uint16)
    reader.read_into(index, out)
    return out


def after_read(reader, what):
    """Let `what(index)` happen at each moment at which a frame has just been read."""
    inner = reader._reader.read_into

    def read_into(index, out):
        flags = inner(index, out)
        what(index)
        return flags

    reader._reader.read_into = read_into
    reader._open = lambda: None  # the same reader to the end


def test_a_frame_that_lacks_a_page_in_its_middle_is_waited_for(movie):
    reader = growing(movie)
    movie.torn(0)
    assert not reader.ready(0, 0.0)
    movie.put(0)
    assert reader.ready(0, 1.0)
    assert (given(reader, 0) == movie.images[0]).all()


def test_a_frame_that_is_finished_and_followed_while_it_is_read(movie):
    reader = growing(movie)
    movie.torn(0)

    def writer_goes_on(index):
        if index == 0:
            movie.put(0)
            movie.put(1)

    after_read(reader, writer_goes_on)
    assert reader.ready(0, 1.0)
    assert (given(reader, 0) == movie.images[0]).all()


def test_a_frame_whose_successor_has_begun_is_taken_at_once(movie):
    reader = growing(movie)
    movie.put(0)
    movie.put(1, 0, 512)
    assert reader.ready(0, 0.0)
    assert (given(reader, 0) == movie.images[0]).all()
    assert not reader.ready(1, 0.0)


def test_far_behind_the_writer_frames_are_read_once(movie):
    for frame in range(FRAMES - 4):
        movie.put(frame)
    reader, reads = growing(movie), []
    after_read(reader, reads.append)
    for frame in range(FRAMES - 5):
        assert reader.ready(frame, 0.0)
        assert (given(reader, frame) == movie.images[frame]).all()
    assert len(reads) < FRAMES - 5 + 16  # looks ahead: two at the end of the file, then 1, 2, 4, 8 frames on


def test_a_movie_that_is_written_takes_one_look(movie):
    for frame in range(FRAMES):
        movie.put(frame)
    reader, reads = growing(movie), []
    after_read(reader, reads.append)
    assert all(reader.ready(frame, 0.0) for frame in range(FRAMES - 1))
    assert reads == [FRAMES - 1, *range(FRAMES - 1)]


def test_a_camera_that_pauses_leaves_no_frames_of_zeros(movie):
    """The movie is held open, nothing is written for longer than any patience."""
    for frame in range(3):
        movie.put(frame)
    with movie.path.open("r+b"):
        reader = growing(movie)
        assert all(reader.ready(frame, 1.0) for frame in range(3))
        assert not reader.ready(3, 3 * QUICK.quiet_s)
        for frame in range(3, 6):
            movie.put(frame)
        assert reader.ready(3, 1.0)
        assert (given(reader, 3) == movie.images[3]).all()


def test_a_movie_that_was_given_up_has_frames_of_zeros_as_the_finished_file(movie):
    for frame in range(3):
        movie.put(frame)
    reader = growing(movie)
    assert reader.ready(FRAMES - 1, 5.0)  # nobody has the file open
    assert not given(reader, FRAMES - 1).any()


def test_frames_that_are_left_out_are_waited_for_too(movie):
    for frame in range(3):
        movie.put(frame)
    with movie.path.open("r+b"):
        assert not growing(movie).ready(5, 3 * QUICK.quiet_s)


def test_a_blanked_beam_does_not_hold_up_what_follows(movie):
    movie.images[3][:] = 0
    movie.images[4][:] = 0
    for frame in range(7):
        movie.put(frame)
    with movie.path.open("r+b"):
        reader = growing(movie)
        assert all(reader.ready(frame, 2 * QUICK.quiet_s) for frame in range(6))


def test_a_blanked_beam_in_a_file_that_grows_with_each_frame(tmp_path):
    """The size tells that the frame is there, its zeros that it may not be: the next one decides."""
    movie = raw(tmp_path)
    movie.images[2][:] = 0
    movie.path.write_bytes(movie.images[0].tobytes())
    with movie.path.open("ab") as file:
        reader = growing(movie)
        for frame in (1, 2, 3, 4):
            file.write(movie.images[frame].tobytes())
            file.flush()
            reader.ready(FRAMES, QUICK.poll_s)
            time.sleep(2 * QUICK.poll_s)
        assert reader.ready(2, 0.5)
        assert not given(reader, 2).any()
        assert reader.ready(3, 0.5)
        assert (given(reader, 3) == movie.images[3]).all()


def test_a_camera_whose_last_row_is_always_zero(movie):
    for image in movie.images:
        image[-1] = 0

    def work():
        for frame in range(FRAMES):
            movie.torn(frame)
            time.sleep(0.01)
            movie.put(frame)

    with movie.path.open("r+b"), camera(work):
        reader = growing(movie)
        for frame in range(FRAMES - 1):
            assert reader.ready(frame, 5.0)
            assert (given(reader, frame) == movie.images[frame]).all()


def test_pages_that_are_written_in_any_order(movie):
    def work():
        order = np.random.default_rng(7)
        for frame in range(FRAMES):
            for page in order.permutation(BYTES // PAGE):
                movie.put(frame, page * PAGE, (page + 1) * PAGE)
            time.sleep(0.002)

    with camera(work):
        reader = growing(movie, until=Until(1.0))
        for frame in range(FRAMES):
            assert reader.ready(frame, 5.0)
            assert (given(reader, frame) == movie.images[frame]).all()


def test_two_reads_agree_only_a_while_apart():
    front = Front(1.0)
    front.opened(10)
    assert not front.agrees(0, b"a", 0.0, 0.5)
    assert not front.agrees(0, b"a", 1.0, 1.1)  # the first ended half a second before
    assert front.agrees(0, b"a", 1.5, 1.6)
    assert not front.agrees(0, b"b", 3.0, 3.1)
    assert not front.agrees(1, b"b", 5.0, 5.1)


def test_a_file_that_gets_room_one_frame_ahead():
    """It grows by one frame at a time, and yet the newest is never written."""
    front = Front(1.0)
    for written in range(18):
        front.opened(written + 2)
        assert not front.passed(written, lambda index, w=written: index <= w)
        front.settled(written)


def test_a_file_that_grows_with_each_frame_is_not_looked_into():
    front = Front(1.0)
    front.opened(1)
    for there in range(2, 20):
        front.opened(there)
        looked = []
        assert front.passed(there - 2, lambda index, looked=looked: looked.append(index) or True)
        assert looked == []
        front.settled(there - 2)


def test_an_engine_that_was_busy_is_no_camera_that_is_silent(movie):
    """Ten seconds without a look are no end after a silence of one second."""
    now = [0.0]
    reader = GrowingFile(movie.path, Until(1.0), patience=QUICK, clock=lambda: now[0])
    movie.put(0)
    movie.put(1, 0, 512)
    assert reader.ready(0, 0.0)
    now[0] += 10.0
    movie.put(1)
    movie.torn(2)
    assert reader.ready(1, 0.0)
    now[0] += 0.5
    assert not reader.ready(2, 0.0)
    now[0] += 10.0
    assert reader.ready(2, 0.0)  # that was the camera
