from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from fixtures_tvips import encode, write, write_parts
from mutations import frames, mutations, outcome

from insitu.errors import BadFrame, InputError
from insitu.read.tvips import TvipsReader
from insitu.types import Reader

REAL = "readers/tvips/test_tvips_2233_000.tvips"


def stack(n=7, h=4, w=5, dtype="uint16"):
    return np.random.default_rng(0).integers(0, 200, (n, h, w)).astype(dtype)


def oracle(path):
    from rsciio.tvips import file_reader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return file_reader(str(path))[0]


def test_sample_agrees_with_rosettasciio(samples):
    path = samples / REAL
    assert TvipsReader.claims(path) is True
    reader = TvipsReader(path)
    assert isinstance(reader, Reader)
    theirs = oracle(path)
    ours = frames(reader)
    assert ours.dtype == theirs["data"].dtype
    np.testing.assert_array_equal(ours, theirs["data"])
    time, _, x = theirs["axes"]
    assert time["units"] == "s"
    # their stamps pass through a narrower float; ours count milliseconds
    assert reader.info.calibration.s_per_frame == pytest.approx(float(time["scale"]), rel=1e-4)
    assert reader.info.calibration.s_per_frame == pytest.approx(0.001, rel=1e-12)
    assert [reader.header(i).time_s for i in range(4)] == [0, 0.001, 0.002, 0.003]
    # the header's frames say diffraction: no pixel size for an image
    assert x["units"] == "1/nm"
    assert reader.info.calibration.nm_per_px is None
    assert "diffraction" in reader.info.calibration.nm_source


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_written_movie_is_read_alike_by_rosettasciio(tmp_path, dtype):
    path = write(tmp_path / "m_000.tvips", stack(dtype=dtype), pixel=3)
    reader = TvipsReader(path)
    theirs = oracle(path)
    np.testing.assert_array_equal(frames(reader), theirs["data"])
    assert reader.info.dtype == np.dtype(dtype)
    assert theirs["axes"][-1]["units"] == "nm"
    assert reader.info.calibration.nm_per_px == float(theirs["axes"][-1]["scale"]) == 3.0
    assert reader.info.calibration.s_per_frame == pytest.approx(0.025, rel=1e-12)


@pytest.mark.parametrize("cuts", [[3], [1, 2], [6], [2, 4, 6]])
def test_parts_are_one_movie(tmp_path, cuts):
    path = write_parts(tmp_path, stack(), cuts)
    reader = TvipsReader(path)
    np.testing.assert_array_equal(frames(reader), stack())
    np.testing.assert_array_equal(frames(reader), oracle(path)["data"])
    assert [reader.header(i).source for i in range(7)] == [f"m_{sum(i >= c for c in cuts):03d}.tvips" for i in range(7)]
    assert reader.header(6).time_s == pytest.approx(0.150, abs=1e-6)
    assert reader.info.notes == (f"7 frames in {len(cuts) + 1} files",)


def test_version_1_has_short_frame_headers(tmp_path):
    reader = TvipsReader(write(tmp_path / "old.tvips", stack(), version=1, frame_header=0))
    np.testing.assert_array_equal(frames(reader), stack())
    assert reader.info.calibration.s_per_frame == pytest.approx(0.025, rel=1e-4)


def test_longer_frame_headers(tmp_path):
    reader = TvipsReader(write(tmp_path / "new.tvips", stack(), frame_header=100))
    np.testing.assert_array_equal(frames(reader), stack())


def test_equal_stamps_and_no_pixel_size_are_unknown(tmp_path):
    reader = TvipsReader(write(tmp_path / "m_000.tvips", stack(), step_ms=0, pixel=0))
    calibration = reader.info.calibration
    assert (calibration.nm_per_px, calibration.s_per_frame) == (None, None)
    assert reader.header(3).time_s is None


def test_later_and_missing_parts_are_said(tmp_path):
    write_parts(tmp_path, stack(), [2, 4])
    assert TvipsReader.claims(tmp_path / "m_001.tvips") is True
    with pytest.raises(InputError) as caught:
        TvipsReader(tmp_path / "m_001.tvips")
    assert "m_000.tvips" in caught.value.hint
    (tmp_path / "m_001.tvips").unlink()
    with pytest.raises(InputError, match=r"m_001\.tvips"):
        TvipsReader(tmp_path / "m_000.tvips")


def test_cut_file_ends_with_a_bad_frame(tmp_path):
    path = write(tmp_path / "m_000.tvips", stack())
    path.write_bytes(path.read_bytes()[:-7])
    reader = TvipsReader(path)
    assert reader.info.n_frames == 7
    out = np.empty(reader.info.shape, np.uint16)
    reader.read_into(5, out)
    np.testing.assert_array_equal(out, stack()[5])
    with pytest.raises(BadFrame, match="truncated"):
        reader.read_into(6, out)


def test_refusals(tmp_path):
    zeros = tmp_path / "z_000.tvips"
    zeros.write_bytes(bytes(5000))
    assert isinstance(TvipsReader.claims(zeros), str)
    with pytest.raises(InputError, match="no TVIPS header"):
        TvipsReader(zeros)
    head, _ = encode(stack())
    (tmp_path / "h_000.tvips").write_bytes(head)
    with pytest.raises(InputError, match="no complete frame"):
        TvipsReader(tmp_path / "h_000.tvips")
    assert TvipsReader.claims(tmp_path / "a.tif") is False


def test_damaged_files_raise_only_the_errors_of_the_house(tmp_path):
    head, records = encode(stack())
    path = tmp_path / "m_000.tvips"
    seen = Counter()
    for copy in mutations(head + b"".join(records), 500, head=52):
        path.write_bytes(copy)
        seen[outcome(TvipsReader, path)] += 1
    assert min(seen["refused"], seen["frames"]) > 20
