from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from fixtures_ser import CODES, encode, write, write_emi
from mutations import frames, mutations, outcome

from insitu.errors import BadFrame, CalibrationError, InputError
from insitu.read.calibration import calibrated
from insitu.read.ser import SerReader
from insitu.types import Reader

REAL = ["64x64x5_TEM_preview_1", "16x16x5_STEM_BF_DF_preview_1", "16x16x5_STEM_BF_DF_preview_2"]


def stack(n=4, h=5, w=6, dtype="uint16"):
    return np.random.default_rng(0).integers(0, 100, (n, h, w)).astype(dtype)


# ---- real files, against independent libraries -------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_real_series_agrees_with_rosettasciio_and_ncempy(samples, name):
    path = samples / "readers" / "tia_ser" / f"{name}.ser"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ncempy.io import ser
        from rsciio.tia import file_reader

        rsciio = file_reader(str(path))[0]
        ncem = ser.serReader(str(path))
    assert SerReader.claims(path) is True
    reader = SerReader(path)
    assert isinstance(reader, Reader)
    ours = frames(reader)
    assert ours.dtype == rsciio["data"].dtype
    np.testing.assert_array_equal(ours, rsciio["data"])
    np.testing.assert_array_equal(ours, ncem["data"])
    calibration = reader.info.calibration
    assert rsciio["axes"][-1]["units"] == "nm"
    assert calibration.nm_per_px == pytest.approx(float(rsciio["axes"][-1]["scale"]), rel=1e-12)
    assert calibration.nm_per_px == pytest.approx(ncem["pixelSize"][0] * 1e9, rel=1e-12)
    # all five stamps are the same second: no frame time can be had from them
    assert calibration.s_per_frame is None
    assert "whole seconds" in calibration.s_source


def test_real_emi_gives_exposure_and_stands_for_its_first_series(samples):
    folder = samples / "readers" / "tia_ser"
    assert SerReader(folder / "64x64x5_TEM_preview_1.ser").info.calibration.exposure_s == 0.0625
    assert SerReader(folder / "16x16x5_STEM_BF_DF_preview_2.ser").info.calibration.exposure_s == 0.004915
    emi = folder / "16x16x5_STEM_BF_DF_preview.emi"
    assert SerReader.claims(emi) is True
    reader = SerReader(emi)
    assert reader.info.path.endswith("preview_1.ser")
    assert any("2 series" in note for note in reader.info.notes)
    np.testing.assert_array_equal(frames(reader), frames(SerReader(folder / "16x16x5_STEM_BF_DF_preview_1.ser")))


# ---- what the real files do not show -----------------------------------------------------------


@pytest.mark.parametrize("version", [0x0210, 0x0220])
@pytest.mark.parametrize("dtype", sorted(set(CODES) - {"complex64"}))
def test_every_pixel_type_and_offset_width(tmp_path, version, dtype):
    movie = stack(dtype=dtype)
    reader = SerReader(write(tmp_path / "a_1.ser", movie, version=version))
    assert reader.info.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(frames(reader), movie)
    assert reader.info.calibration.nm_per_px == pytest.approx(0.2)


@pytest.mark.parametrize("height", [1, 2, 5, 8])
def test_written_series_is_read_alike_by_ncempy(tmp_path, height):
    movie = stack(h=height)
    path = write(tmp_path / "a_1.ser", movie)
    np.testing.assert_array_equal(frames(SerReader(path)), movie)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ncempy.io import ser

        np.testing.assert_array_equal(ser.serReader(str(path))["data"].reshape(movie.shape), movie)


def test_only_recorded_elements_are_frames(tmp_path):
    reader = SerReader(write(tmp_path / "a_1.ser", stack(3), planned=10))
    assert reader.info.n_frames == 3
    assert "3 of 10 planned frames were recorded" in reader.info.notes
    np.testing.assert_array_equal(frames(reader), stack(3))
    with pytest.raises(IndexError):
        reader.header(3)


def test_frame_time_only_from_a_series_long_enough(tmp_path):
    long = SerReader(write(tmp_path / "a_1.ser", stack(5), stamps=[1000, 1030, 1060, 1091, 1120]))
    assert long.info.calibration.s_per_frame == 30.0
    assert [long.header(i).time_s for i in range(5)] == [0, 30, 60, 91, 120]
    fast = SerReader(write(tmp_path / "b_1.ser", stack(4), stamps=[1000, 1001, 1002, 1003]))
    assert fast.info.calibration.s_per_frame is None
    assert fast.header(2).time_s is None
    backwards = SerReader(write(tmp_path / "c_1.ser", stack(2), stamps=[5000, 1000]))
    assert backwards.info.calibration.s_per_frame is None


def test_diffraction_is_no_pixel_size_but_a_scan_is(tmp_path):
    path = write(tmp_path / "a_1.ser", stack(1))
    write_emi(tmp_path / "a.emi", mode="TEM uP SA Diffraction", DwellTimePath="0.5")
    calibration = SerReader(path).info.calibration
    assert calibration.nm_per_px is None
    assert "diffraction" in calibration.nm_source
    assert calibration.exposure_s == 0.5
    write_emi(tmp_path / "a.emi", mode="STEM nP SA Zoom Diffraction", DwellTimePath="1e-6", FrameTime="2.5")
    calibration = SerReader(path).info.calibration
    assert calibration.nm_per_px == pytest.approx(0.2)
    assert calibration.exposure_s == 2.5
    assert SerReader(write(tmp_path / "b_1.ser", stack(1), delta=(2e8, 2e8))).info.calibration.nm_per_px is None


def test_pixels_that_are_not_square_end_with_a_calibration_error(tmp_path):
    info = SerReader(write(tmp_path / "a_1.ser", stack(1), delta=(2e-10, 2.1e-10))).info
    with pytest.raises(CalibrationError, match=r"0\.2 nm along y and 0\.21 nm along x"):
        calibrated(info)


def test_element_unlike_the_first_is_a_bad_frame(tmp_path):
    odd = [stack(1)[0], np.zeros((3, 3), np.uint16), stack(1)[0].astype(np.int16), stack(1)[0]]
    reader = SerReader(write(tmp_path / "a_1.ser", odd))
    out = np.empty(reader.info.shape, np.uint16)
    for index, why in ((1, "shape changed"), (2, "dtype changed")):
        with pytest.raises(BadFrame, match=why):
            reader.read_into(index, out)
    assert reader.read_into(3, out) == ()
    np.testing.assert_array_equal(out, stack(1)[0])


def test_last_frames_of_a_cut_series_are_bad_the_others_good(tmp_path):
    data = encode(stack())
    (tmp_path / "a_1.ser").write_bytes(data[:-70])
    reader = SerReader(tmp_path / "a_1.ser")
    out = np.empty(reader.info.shape, np.uint16)
    reader.read_into(2, out)
    np.testing.assert_array_equal(out, stack()[2])
    with pytest.raises(BadFrame, match="truncated"):
        reader.read_into(3, out)


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="spectra"):
        SerReader(write(tmp_path / "a_1.ser", stack(), kind=0x4120))
    with pytest.raises(InputError, match="complex"):
        SerReader(write(tmp_path / "b_1.ser", stack(dtype="complex64")))
    with pytest.raises(InputError, match="0 of 5"):
        SerReader(write(tmp_path / "c_1.ser", [], planned=5))
    (tmp_path / "d_1.ser").write_bytes(bytes(2000))
    assert isinstance(SerReader.claims(tmp_path / "d_1.ser"), str)
    with pytest.raises(InputError):
        SerReader(tmp_path / "d_1.ser")
    write_emi(tmp_path / "lonely.emi")
    assert isinstance(SerReader.claims(tmp_path / "lonely.emi"), str)
    with pytest.raises(InputError, match="has no"):
        SerReader(tmp_path / "lonely.emi")
    assert SerReader.claims(tmp_path / "a.tif") is False


@pytest.mark.parametrize("version", [0x0210, 0x0220])
def test_damaged_files_raise_only_the_errors_of_the_house(tmp_path, version):
    data = encode(stack(), version=version)
    write_emi(tmp_path / "a.emi", DwellTimePath="0.5")
    path = tmp_path / "a_1.ser"
    seen = Counter()
    for copy in mutations(data, 400, seed=version, head=120):
        path.write_bytes(copy)
        seen[outcome(SerReader, path)] += 1
    assert min(seen["refused"], seen["frames"], seen["bad frames"]) > 20
