from __future__ import annotations

import struct

import mrcfile
import numpy as np
import pytest
from mutations import mutations, outcome

from insitu.errors import BadFrame, CalibrationError, InputError
from insitu.read import calibrated, open_source
from insitu.read.mrc import MrcReader
from insitu.testing import check_reader

FRAMES = np.random.default_rng(0).integers(0, 127, (5, 6, 7), dtype=np.uint16)


def write(path, frames=FRAMES, voxel=2.0):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(frames)
        file.voxel_size = voxel
    return path


def patch(path, offset, pattern, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into(pattern, data, offset, *values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "f2"])
def test_every_mode_agrees_with_mrcfile(tmp_path, dtype):
    path = write(tmp_path / "m.mrc", FRAMES.astype(dtype))
    got = np.array(check_reader(path))
    assert got.dtype == np.dtype(dtype)
    with mrcfile.open(path) as theirs:
        assert (got == theirs.data).all()
    calibration = open_source(path).info.calibration
    assert calibration.nm_per_px == pytest.approx(0.2)
    assert calibration.nm_source == "MRC header"


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_big_endian_with_and_without_a_stamp(tmp_path, stamped, dtype):
    path = write(tmp_path / "m.mrc", FRAMES.astype(dtype))
    data = bytearray(path.read_bytes())
    for at in (*range(0, 96, 4), 216, 220):
        data[at : at + 4] = data[at : at + 4][::-1]
    data[212:216] = b"\x11\x11\0\0" if stamped else bytes(4)
    data[1024:] = FRAMES.astype(f">{dtype}").tobytes()
    path.write_bytes(data)
    assert (np.array(check_reader(path)) == FRAMES).all()
    assert open_source(path).info.calibration.nm_per_px == pytest.approx(0.2)


def test_the_extended_header_is_passed_over(tmp_path):
    path = write(tmp_path / "m.mrc")
    data = path.read_bytes()
    path.write_bytes(data[:1024] + b"\xaa" * 5120 + data[1024:])
    patch(path, 92, "<i", 5120)
    assert (np.array(check_reader(path)) == FRAMES).all()


@pytest.mark.parametrize("extended", [-1, 10**9, 2**31 - 1])
def test_an_extended_header_that_cannot_be(tmp_path, extended):
    with pytest.raises(InputError, match="extended header"):
        open_source(patch(write(tmp_path / "m.mrc"), 92, "<i", extended))


@pytest.mark.parametrize("declared", [0, 1, 3, -5])
def test_a_header_that_counts_too_few_frames(tmp_path, declared):
    path = patch(write(tmp_path / "m.mrc"), 8, "<i", declared)
    assert (np.array(check_reader(path)) == FRAMES).all()
    assert any(f"counts {declared} frames, the file holds 5" in note for note in open_source(path).info.notes)


def test_a_file_that_is_cut_short(tmp_path):
    path = write(tmp_path / "m.mrc")
    path.write_bytes(path.read_bytes()[:-100])
    reader = open_source(path)
    assert any("5 frames declared, 3 complete" in note for note in reader.info.notes)
    out = np.empty(reader.info.shape, reader.info.dtype)
    for k in range(3):
        reader.read_into(k, out)
        assert (out == FRAMES[k]).all()
    for k in (3, 4):
        with pytest.raises(BadFrame, match="truncated"):
            reader.read_into(k, out)


def test_a_count_that_no_file_can_hold(tmp_path):
    assert open_source(patch(write(tmp_path / "m.mrc"), 8, "<i", 2_000_000_000)).info.n_frames == 5


@pytest.mark.parametrize(
    ("mode", "what"), [(4, "complex"), (3, "complex"), (16, "RGB"), (101, "4-bit"), (77, "unknown")]
)
def test_modes_without_counts_are_named(tmp_path, mode, what):
    with pytest.raises(InputError, match=f"mode {mode}.*{what}|mode {mode}"):
        open_source(patch(write(tmp_path / "m.mrc"), 12, "<i", mode))


@pytest.mark.parametrize("side", [0, -3, 2_000_000_000])
def test_absurd_frames(tmp_path, side):
    with pytest.raises(InputError):
        open_source(patch(write(tmp_path / "m.mrc"), 0, "<i", side))


@pytest.mark.parametrize("voxel", [20_000.0, 0.02])
def test_a_pixel_size_off_by_powers_of_ten_ends_the_run(tmp_path, voxel):
    info = open_source(write(tmp_path / "m.mrc", voxel=voxel)).info
    with pytest.raises(CalibrationError) as caught:
        calibrated(info)
    assert caught.value.exit_code == 4
    assert calibrated(info, nm_per_px=0.2).nm_per_px == 0.2


def test_no_voxel_size_is_unknown(tmp_path):
    assert open_source(write(tmp_path / "m.mrc", voxel=0.0)).info.calibration.nm_source == "unknown"


def test_pixels_that_are_not_square(tmp_path):
    with pytest.raises(CalibrationError, match="along y"):
        calibrated(open_source(write(tmp_path / "m.mrc", voxel=(2.0, 3.0, 1.0))).info)


def test_bytes_are_signed_unless_imod_says_otherwise(tmp_path):
    path = write(tmp_path / "m.mrc", np.full((2, 4, 4), -3, np.int8))
    assert open_source(path).info.dtype == np.int8
    patch(path, 152, "<ii", 1146047817, 0)
    assert open_source(path).info.dtype == np.uint8
    assert check_reader(path)[0][0, 0] == 253
    patch(path, 152, "<ii", 1146047817, 1)
    assert open_source(path).info.dtype == np.int8


def test_the_real_direct_electron_movie_agrees_with_two_libraries(samples):
    from rsciio.mrc import file_reader

    path = samples / "readers" / "mrc_de" / "Custom_movie.mrc"
    ours = np.array(check_reader(path, max_frames=30))
    with mrcfile.open(path, permissive=True) as theirs:
        assert (ours == theirs.data).all()
    assert (ours == file_reader(str(path))[0]["data"]).all()
    info = open_source(path).info
    assert info.format == "MRC (Direct Electron)"
    # the header says −1 nm, the info file −1 too: the camera did not know
    assert info.calibration.nm_per_px is None
    assert info.calibration.s_per_frame == pytest.approx(1.0)
    assert info.calibration.exposure_s == pytest.approx(1.0)
    assert info.calibration.s_source == "Direct Electron info file"


def test_the_direct_electron_info_file(tmp_path):
    path = write(tmp_path / "20250429_06699_0_movie.mrc", FRAMES.astype("i1"), voxel=0.0)
    (tmp_path / "20250429_06699_info.txt").write_text(
        "Camera Model = DE16\nFrames Per Second = 40\nAutosave Movie Sum Count = 2\n"
        "Specimen Pixel Size X (nanometers) = 0.11\nSpecimen Pixel Size Y (nanometers) = 0.11\n"
    )
    info = open_source(path).info
    assert info.calibration.s_per_frame == pytest.approx(0.05)
    assert info.calibration.nm_per_px == pytest.approx(0.11)
    assert info.dtype == np.uint8
    assert any("unsigned" in note for note in info.notes)


def test_random_damage(tmp_path):
    path = write(tmp_path / "m.mrc")
    seen = set()
    for damaged in mutations(path.read_bytes(), 300, head=300):
        path.write_bytes(damaged)
        seen.add(outcome(MrcReader, path))
    assert seen <= {"frames", "bad frames", "refused"}
    assert {"frames", "refused"} <= seen
