"""A file that grows gives the frames of the finished file, none before it is written."""

from __future__ import annotations

import json
import struct
import time

import numpy as np
import pytest
import tifffile
from cases_movies import discs
from test_watched_folder import outcomes
from watch_cases import QUICK, SETTINGS, camera, digest

from insitu.errors import InputError
from insitu.pipeline import process
from insitu.read.watch import Live, Until
from insitu.read.watch.growing import GrowingFile


def growing(path, idle=0.8, **kw):
    return GrowingFile(path, Until(idle), patience=QUICK, **kw)


def tiff(path, pause, frames=24):
    """A page after the other, flushed, as tifffile and most cameras write them."""
    with tifffile.TiffWriter(path) as writer:
        for image in discs()[:frames]:
            writer.write(image, contiguous=False, metadata=None)
            writer._fh.flush()
            time.sleep(pause)


def mrc_header(frames):
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, 128, 96, frames, 6)
    struct.pack_into("<3i", head, 28, 128, 96, max(frames, 1))
    head[208:216] = b"MAP \x44\x44\0\0"
    return bytes(head)


def in_halves(file, images, pause):
    for image in images:
        data = image.astype("<u2").tobytes()
        for part in (data[:7000], data[7000:]):
            file.write(part)
            file.flush()
            time.sleep(pause)


def mrc(path, pause, declared=0):
    """The header counts the frames at the end only, or as many as are planned from the beginning."""
    with path.open("wb") as file:
        file.write(mrc_header(declared))
        in_halves(file, discs(), pause)
        file.seek(0)
        file.write(mrc_header(24))


def planned_mrc(path, pause):
    mrc(path, pause, declared=24)


def raw(path, pause):
    path.with_suffix(".json").write_text(json.dumps({"shape": [96, 128], "dtype": "uint16"}))
    with path.open("wb") as file:
        in_halves(file, discs(), pause)


def allocated_raw(path, pause):
    """All the space is taken before the first frame is written."""
    path.with_suffix(".json").write_text(json.dumps({"shape": [96, 128], "dtype": "uint16"}))
    with path.open("wb") as file:
        file.truncate(24 * 96 * 128 * 2)
        in_halves(file, discs(), pause)


WRITERS = [(tiff, "m.tif"), (mrc, "m.mrc"), (planned_mrc, "m.mrc"), (raw, "m.raw"), (allocated_raw, "m.raw")]


@pytest.mark.parametrize(("writer", "name"), WRITERS)
def test_no_frame_is_read_before_it_is_whole(writer, name, tmp_path):
    path = tmp_path / name
    with camera(lambda: writer(path, 0.02)):
        reader = growing(path)
        assert isinstance(reader, Live)
        assert outcomes(reader) == list(range(24))
    assert not reader.remarks()
    assert reader.account() == {"late": [], "differs_from_frame": None}


@pytest.mark.parametrize(("writer", "name"), WRITERS[:4])
def test_the_run_is_that_of_the_finished_file(writer, name, tmp_path):
    path = tmp_path / name
    with camera(lambda: writer(path, 0.03)):
        summary = process(growing(path), tmp_path / "out", SETTINGS)
    assert (summary.exit_code, summary.total) == (0, 24)
    process(path, tmp_path / "batch", SETTINGS)
    assert digest(tmp_path / "out") == digest(tmp_path / "batch")


@pytest.mark.parametrize("writer", [mrc, raw])
def test_a_movie_cut_short_ends_as_the_finished_file_does(writer, tmp_path):
    path = tmp_path / ("m.mrc" if writer is mrc else "m.raw")
    writer(path, 0.0)
    path.write_bytes(path.read_bytes()[:-5000])
    summary = process(growing(path, idle=0.3), tmp_path / "out", SETTINGS)
    batch = process(path, tmp_path / "batch", SETTINGS)
    assert (summary.exit_code, summary.total, summary.bad) == (batch.exit_code, batch.total, batch.bad)
    assert digest(tmp_path / "out") == digest(tmp_path / "batch")


def test_a_file_that_is_closed_ends_the_movie(tmp_path):
    tiff(tmp_path / "m.tif", 0.0)
    began = time.monotonic()
    reader = GrowingFile(tmp_path / "m.tif", Until(), patience=QUICK, until_released=True)
    assert outcomes(reader) == list(range(24))
    assert time.monotonic() - began < 10


def test_a_file_that_never_comes(tmp_path):
    until = Until()
    until.finish.set()
    with pytest.raises(InputError, match="no frame came"):
        GrowingFile(tmp_path / "m.tif", until, patience=QUICK)
    (tmp_path / "m.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match="no frame came"):
        GrowingFile(tmp_path / "m.tif", until, patience=QUICK)


def test_a_file_that_becomes_shorter_is_told(tmp_path):
    raw(tmp_path / "m.raw", 0.0)
    reader = growing(tmp_path / "m.raw", idle=1.0)
    slot = np.empty((96, 128), np.uint16)
    reader.read_into(3, slot)
    (tmp_path / "m.raw").write_bytes((tmp_path / "m.raw").read_bytes()[: 10 * 96 * 128 * 2])
    got = outcomes(reader)
    assert got[:10] == list(range(10))
    assert reader.remarks() == [(None, "m.raw", "became shorter while it was watched")]
