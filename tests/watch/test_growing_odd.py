"""A growing file that is replaced, vanishes, or cannot be read for a while."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from cases_movies import discs
from watch_cases import QUICK

from insitu.errors import EndOfSource, SourceStopped
from insitu.read.watch import Past, Until
from insitu.read.watch.growing import GrowingFile


def write(path, frames, shape=(96, 128)):
    path.with_suffix(".json").write_text(json.dumps({"shape": list(shape), "dtype": "uint16"}))
    with path.open("ab") as file:
        for k in frames:
            file.write(discs()[k].astype("<u2").tobytes())


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "m.raw", range(4))
    return tmp_path / "m.raw"


def growing(path, until=None, **kw):
    return GrowingFile(path, until or Until(), patience=QUICK, **kw)


def given(reader, index):
    out = np.empty((96, 128), np.uint16)
    reader.read_into(index, out)
    return out


def test_a_movie_of_another_shape_in_its_place_is_not_taken_up(path):
    reader = growing(path)
    assert reader.ready(2, 0.5)
    write(path, [4], shape=(128, 96))
    assert not reader.ready(5, 3 * QUICK.quiet_s)
    write(path, [5])  # and as it was
    assert reader.ready(5, 5.0)
    assert (given(reader, 5) == discs()[5]).all()


def test_a_file_that_cannot_be_opened_for_a_while(path):
    reader = growing(path)
    assert reader.ready(2, 0.5)
    path.with_suffix(".json").write_text("{")
    with path.open("ab") as file:
        file.write(discs()[4].astype("<u2").tobytes())
    assert not reader.ready(4, 3 * QUICK.poll_s)
    write(path, [5])
    assert reader.ready(4, 5.0)  # a look that cost much is not soon repeated
    assert (given(reader, 4) == discs()[4]).all()


def test_a_file_that_is_gone_ends_with_what_is_known(path):
    reader = growing(path, Until(0.2))
    assert (given(reader, 1) == discs()[1]).all()
    path.unlink()
    with pytest.raises(EndOfSource):
        reader.header(4)
    assert reader.account() == {"late": [], "differs_from_frame": None}
    reader.close()


def test_stopped_while_it_waits(path):
    until = Until()
    reader = growing(path, until)
    timer = threading.Timer(0.05, until.stop.set)
    timer.start()
    with pytest.raises(SourceStopped):
        reader.header(9)
    timer.join()
    with pytest.raises(SourceStopped):
        growing(path, until)


def test_a_resumed_run_that_was_further_than_the_file_is_long(path):
    """The file is copied anew: what was settled is not asked for again, and the end is told to differ."""
    reader = growing(path, Until(0.2), past=Past(sources=("m.raw",) * 6, numbers=tuple(range(6))))
    assert reader.ready(5, 0.0)
    with pytest.raises(EndOfSource):
        reader.header(5)
    assert reader.account()["differs_from_frame"] == 6


def test_memory_of_its_own_where_no_slot_is_given(path):
    reader = growing(path)
    assert reader.ready(0, 0.5)
    slot, out = np.empty((96, 128), np.uint16), np.empty((96, 128), np.uint16)
    assert reader.ready(1, 0.5, slot)
    assert (slot == discs()[1]).all()
    reader.read_into(1, slot)
    assert reader.ready(2, 0.5, slot)
    reader.read_into(2, out)  # another than was promised: copied
    assert (out == discs()[2]).all()


def test_the_fingerprint_of_a_movie_whose_first_frame_cannot_be_read(path, tmp_path):
    whole = growing(path).fingerprint()
    (tmp_path / "short").mkdir()
    short = tmp_path / "short" / "m.raw"
    write(short, range(2))
    reader = growing(short)
    assert reader.fingerprint() == whole  # the same pixels in a file of the same name
    short.write_bytes(b"")
    assert reader.fingerprint()["sha256"] != whole["sha256"]
