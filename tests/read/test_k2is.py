"""No real K2-IS file is public: everything here stands on a writer of our own, after the public layout."""

from __future__ import annotations

import importlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fixtures_k2is import frame, pack, sectors, write
from mutations import mutations, outcome

from insitu.errors import BadFrame, InputError
from insitu.read.k2is import K2ISReader
from insitu.types import Reader

FRAMES = [frame(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def rows():
    return sectors(FRAMES)


def read(reader, index):
    out = np.full(reader.info.shape, 9999, np.uint16)
    assert reader.read_into(index, out) == ()
    return out


def reason(reader, index):
    with pytest.raises(BadFrame) as caught:
        reader.read_into(index, np.empty(reader.info.shape, np.uint16))
    assert caught.value.reason == "incomplete"
    return caught.value.detail


def test_packing_of_the_fixture_is_the_published_one():
    # 0xABC, 0x123 → BC 3A 12: low byte, low nibbles shared, high byte
    assert pack(np.array([0xABC, 0x123])) == bytes([0xBC, 0x3A, 0x12])


def test_whole_movie(tmp_path, rows):
    path = write(tmp_path, rows)
    for given in (path, tmp_path / "movie_3.bin", tmp_path):
        assert K2ISReader.claims(given) is True
        reader = K2ISReader(given)
        assert isinstance(reader, Reader)
        assert (reader.info.n_frames, reader.info.shape, reader.info.dtype) == (4, (1860, 2048), np.uint16)
    for index in (0, 3, 1, 2):
        np.testing.assert_array_equal(read(reader, index), FRAMES[index])
        assert reader.header(index).source_number == 10 + index
    assert reader.info.calibration.nm_per_px is None
    assert "--fps 400" in reader.info.calibration.s_source
    with pytest.raises(IndexError):
        reader.header(4)


def test_sectors_that_start_and_stop_at_different_blocks(tmp_path, rows):
    late = [row[s * 3 :][: -(s + 1)] for s, row in enumerate(rows)]
    reader = K2ISReader(write(tmp_path, late))
    assert reader.header(0).source_number == 11
    assert reader.info.n_frames == 3
    np.testing.assert_array_equal(read(reader, 0), FRAMES[1])
    np.testing.assert_array_equal(read(reader, 1), FRAMES[2])
    assert "sector 8 has 24 of 32 blocks" in reason(reader, 2)


def test_one_sector_a_whole_frame_late(tmp_path, rows):
    late = [row if s != 5 else row[32:] for s, row in enumerate(rows)]
    reader = K2ISReader(write(tmp_path, late))
    assert reader.info.n_frames == 3
    np.testing.assert_array_equal(read(reader, 0), FRAMES[1])


def test_lost_blocks_spoil_their_frame_only(tmp_path, rows):
    lossy = [list(row) for row in rows]
    del lossy[2][32 + 5 : 32 + 8]
    reader = K2ISReader(write(tmp_path, lossy))
    assert reader.info.n_frames == 4
    assert reason(reader, 1) == "frame 11: sector 3 has 29 of 32 blocks"
    for index in (0, 2, 3):
        np.testing.assert_array_equal(read(reader, index), FRAMES[index])


def test_a_frame_lost_in_all_sectors_stays_in_the_timeline(tmp_path, rows):
    lossy = [row[:64] + row[96:] for row in rows]
    reader = K2ISReader(write(tmp_path, lossy))
    assert reader.info.n_frames == 4
    assert "sector 1 has 0 of 32" in reason(reader, 2)
    np.testing.assert_array_equal(read(reader, 3), FRAMES[3])


@pytest.mark.parametrize("block", [32, 40, 63])
def test_damaged_block_header_spoils_its_frame_only(tmp_path, rows, block):
    broken = [list(row) for row in rows]
    broken[7][block] = bytes(40) + broken[7][block][40:]
    reader = K2ISReader(write(tmp_path, broken))
    assert reader.info.n_frames == 4
    assert "sector 8" in reason(reader, 1)
    np.testing.assert_array_equal(read(reader, 0), FRAMES[0])
    np.testing.assert_array_equal(read(reader, 2), FRAMES[2])


def test_preallocated_end_is_incomplete_frames(tmp_path, rows):
    zeros = [row[:96] + [bytes(0x5758)] * 32 for row in rows]
    reader = K2ISReader(write(tmp_path, zeros))
    assert reader.info.n_frames == 4
    for index in range(3):
        np.testing.assert_array_equal(read(reader, index), FRAMES[index])
    assert "sector 1 has 0 of 32" in reason(reader, 3)


def test_frames_before_the_shutter_are_left_out(tmp_path, rows):
    before = sectors(FRAMES[:1], first=5000)
    reader = K2ISReader(write(tmp_path, [b[4:] + r for b, r in zip(before, rows, strict=True)]))
    assert reader.info.n_frames == 4
    assert reader.header(0).source_number == 10
    np.testing.assert_array_equal(read(reader, 0), FRAMES[0])


def test_missing_sectors_are_said(tmp_path, rows):
    path = write(tmp_path, rows)
    (tmp_path / "movie_4.bin").unlink()
    with pytest.raises(InputError, match="7 of the 8"):
        K2ISReader(path)
    for number in range(1, 9):
        (tmp_path / f"movie_{number}.bin").unlink(missing_ok=True)
    assert isinstance(K2ISReader.claims(path), str)
    with pytest.raises(InputError, match="0 of the 8"):
        K2ISReader(path)


def test_other_files_are_not_claimed(tmp_path):
    (tmp_path / "a1.bin").write_bytes(bytes(100_000))
    assert K2ISReader.claims(tmp_path / "a1.bin") is False
    assert K2ISReader.claims(tmp_path) is False
    assert K2ISReader.claims(tmp_path / "movie.tif") is False
    for number in range(1, 9):
        (tmp_path / f"b{number}.bin").write_bytes(bytes(100_000))
    with pytest.raises(InputError, match="does not begin"):
        K2ISReader(tmp_path / "b1.bin")


def test_sectors_without_a_common_frame_are_refused(tmp_path, rows):
    apart = [row[:32] if s else sectors(FRAMES[:1], first=99)[0] for s, row in enumerate(rows)]
    movie = K2ISReader(write(tmp_path, apart))
    assert movie.info.n_frames == 1
    assert "sector 2 has 0 of 32" in reason(movie, 0)


def test_threads(tmp_path, rows):
    reader = K2ISReader(write(tmp_path, rows))
    with ThreadPoolExecutor(4) as pool:
        for index, image in zip((3, 0, 2, 1), pool.map(lambda i: read(reader, i), (3, 0, 2, 1)), strict=True):
            np.testing.assert_array_equal(image, FRAMES[index])


def test_damaged_files_raise_only_the_errors_of_the_house(tmp_path, rows):
    path = write(tmp_path, [row[:33] for row in rows])
    sector = tmp_path / "movie_1.bin"
    data = b"".join(rows[0][:33])
    seen = Counter()
    for number, copy in enumerate(mutations(data, 200, head=40)):
        # half of the damage at the first header, half at the last
        sector.write_bytes(copy if number % 2 else data[:-0x5758] + copy[:0x5758])
        seen[outcome(K2ISReader, path)] += 1
    assert sum(seen.values()) == 200
    assert min(seen["refused"], seen["bad frames"]) > 20


def test_an_install_without_a_writable_place_for_compiled_code_reads_all_the_same(monkeypatch):
    import numba.core.caching

    from insitu.read import twelve_bits

    with monkeypatch.context() as patch:
        patch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
        reloaded = importlib.reload(twelve_bits)
        out, raw = np.zeros((1, 2), np.uint16), np.array([[0x21, 0x43, 0x65]], np.uint8)
        reloaded.unpack_blocks(raw, np.zeros(1, np.int64), np.zeros(1, np.int64), (0, 1, 2), out)
        assert out.tolist() == [[0x321, 0x654]]
    importlib.reload(twelve_bits)
