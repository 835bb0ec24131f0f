from __future__ import annotations

import struct
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fixtures_dm import CODES, document, encode, image, thumbnail, write
from mutations import frames, mutations, outcome

from insitu.errors import BadFrame, CalibrationError, InputError
from insitu.read.calibration import calibrated
from insitu.read.dm import DmReader
from insitu.read.dm_tags import read_tags
from insitu.read.files import OpenFile
from insitu.types import Reader

NM = [(0.2, "nm"), (0.2, "nm")]


def stack(n=3, h=4, w=5, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, 100, (n, h, w)).astype(dtype)


def opened(path, tree, **kwargs):
    return DmReader(write(path, tree, **kwargs))


# ---- real files, against independent libraries -------------------------------------------------


def oracle_rsciio(path):
    from rsciio.digitalmicrograph import file_reader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return file_reader(str(path))[0]


def oracle_ncempy(path):
    from ncempy.io import dm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dm.dmReader(str(path))


@pytest.mark.parametrize("name", ["JEOL HAADF Image.dm4", "test-10_2x2x2_uint16.dm4", "dmTest_3D_int16_64,65,66.dm3"])
def test_real_file_agrees_with_rosettasciio_and_ncempy_on_pixels(samples, name):
    path = samples / "readers" / "dm" / name
    assert DmReader.claims(path) is True
    reader = DmReader(path)
    assert isinstance(reader, Reader)
    ours = frames(reader)
    theirs = oracle_rsciio(path)["data"]
    assert reader.info.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))
    np.testing.assert_array_equal(ours, oracle_ncempy(path)["data"].reshape(ours.shape))


def test_real_image_in_micrometres_is_given_in_nm(samples):
    path = samples / "readers" / "dm" / "JEOL HAADF Image.dm4"
    calibration = DmReader(path).info.calibration
    axis = oracle_rsciio(path)["axes"][-1]
    assert axis["units"] == "µm"
    assert calibration.nm_per_px == pytest.approx(float(axis["scale"]) * 1000, rel=1e-12)
    assert calibration.nm_per_px_y is None
    assert calibration.nm_source == "DM4 axis calibration"
    assert calibration.s_per_frame is None


def test_real_stack_with_three_different_axes_has_no_frame_time_and_says_that_pixels_are_not_square(samples):
    path = samples / "readers" / "dm" / "dmTest_3D_int16_64,65,66.dm3"
    info = DmReader(path).info
    z, y, x = oracle_rsciio(path)["axes"]
    assert [(a["scale"], a["units"]) for a in (z, y, x)] == [(4, "um"), (3, "nm"), (2, "pm")]
    assert (info.n_frames, info.height, info.width) == (66, 65, 64)
    assert info.calibration.nm_per_px == pytest.approx(0.002)
    assert info.calibration.nm_per_px_y == pytest.approx(3.0)
    with pytest.raises(CalibrationError, match=r"3 nm along y and 0\.002 nm along x"):
        calibrated(info)
    assert calibrated(info, nm_per_px=0.2).nm_per_px == 0.2
    assert info.calibration.s_per_frame is None
    assert "um, not a time" in info.calibration.s_source
    assert any("4 um a step" in note for note in info.notes)


def test_real_file_without_units_is_not_calibrated(samples):
    info = DmReader(samples / "readers" / "dm" / "test-10_2x2x2_uint16.dm4").info
    assert info.calibration.nm_per_px is None
    assert info.calibration.nm_source.startswith("unknown")


@pytest.mark.parametrize("name", ["JEOL HAADF Image.dm4", "test-10_2x2x2_uint16.dm4"])
def test_jumping_over_branches_loses_nothing_that_is_used(samples, name):
    file = OpenFile(samples / "readers" / "dm" / name)
    everything, some = read_tags(file, jump=False), read_tags(file)
    assert len(some.values) < len(everything.values)
    kept = {k: v for k, v in everything.values.items() if k in some.values}
    assert kept == some.values
    assert {k for k in everything.values if ".ImageData." in k} <= set(some.values)


# ---- our own writer is a DM file to the others, too --------------------------------------------


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "int32", "float64"])
def test_written_stack_is_read_alike_by_rosettasciio(tmp_path, version, dtype):
    movie = stack(dtype=dtype)
    path = write(tmp_path / f"s.dm{version}", document(thumbnail(), image(movie, [*NM, (2.5, "ms")])), version)
    oracle = oracle_rsciio(path)
    np.testing.assert_array_equal(frames(DmReader(path)), oracle["data"])
    assert [a["units"] for a in oracle["axes"]] == ["ms", "nm", "nm"]
    assert DmReader(path).info.calibration.s_per_frame == pytest.approx(oracle["axes"][0]["scale"] / 1000)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", sorted(CODES))
def test_every_pixel_type_version_and_byte_order(tmp_path, version, order, dtype):
    movie = stack(dtype=dtype) if dtype != "bool" else stack() > 50
    tree = document(thumbnail(), image(movie, [*NM, (0.5, "s")]))
    reader = opened(tmp_path / f"s.dm{version}", tree, version=version, order=order)
    assert reader.info.dtype == np.dtype("uint8" if dtype == "bool" else dtype)
    assert reader.info.dtype.isnative
    np.testing.assert_array_equal(frames(reader), movie)
    assert reader.info.calibration.s_per_frame == 0.5
    assert reader.info.calibration.nm_per_px == pytest.approx(0.2)
    assert reader.info.notes == (("boolean pixels read as 0 and 1",) if dtype == "bool" else ())


# ---- which image, which axes -------------------------------------------------------------------


def test_thumbnail_larger_than_the_image_is_not_the_image(tmp_path):
    one = stack(1)[0]
    reader = opened(tmp_path / "a.dm4", document(thumbnail(64), image(one, NM)))
    np.testing.assert_array_equal(frames(reader)[0], one)
    assert reader.info.notes == ()


def test_grey_image_behind_an_unlisted_colour_thumbnail(tmp_path):
    one = stack(1)[0]
    reader = opened(tmp_path / "a.dm4", document(thumbnail(64), image(one), thumbnails=()))
    np.testing.assert_array_equal(frames(reader)[0], one)
    assert "1 further image in the file not read" in reader.info.notes


def test_largest_of_several_images(tmp_path):
    movie = stack(3)
    reader = opened(tmp_path / "a.dm4", document(thumbnail(), image(movie[0]), image(movie), image(movie[1])))
    np.testing.assert_array_equal(frames(reader), movie)
    assert "2 further images in the file not read" in reader.info.notes


def test_zero_tag_lengths_are_walked_in_full(tmp_path):
    movie = stack()
    np.testing.assert_array_equal(frames(opened(tmp_path / "a.dm4", document(image(movie)), lengths=False)), movie)


def test_colour_is_averaged_and_says_so(tmp_path):
    colour = np.random.default_rng(1).integers(0, 256, (1, 6, 7, 4)).astype(np.uint8)
    reader = opened(tmp_path / "a.dm4", document(image(colour), thumbnails=()))
    assert reader.info.notes == ("RGB averaged to grey",)
    expected = np.rint(colour[0, ..., :3].astype(float).mean(-1))
    np.testing.assert_array_equal(frames(reader)[0], expected)


def test_exposure_and_in_situ_frame_time(tmp_path):
    tags = {"DataBar": {"Exposure Time (s)": 0.0025}, "In-situ": {"Recorded": {"Frame time (s)": 0.004}}}
    reader = opened(tmp_path / "a.dm4", document(image(stack(), NM, tags)))
    assert reader.info.calibration.exposure_s == 0.0025
    assert reader.header(1).exposure_s == 0.0025
    assert reader.info.calibration.s_per_frame == 0.004
    assert reader.info.calibration.s_source == "DM4 In-situ tags"


def test_axis_of_time_outranks_tags(tmp_path):
    tags = {"In-situ": {"Recorded": {"Frame time (s)": 0.004}}}
    reader = opened(tmp_path / "a.dm4", document(image(stack(), [*NM, (3, "min")], tags)))
    assert reader.info.calibration.s_per_frame == 180


def test_frames_recorded_elsewhere_are_said(tmp_path):
    tags = {"In-situ": {"Recorded": {"# Frames": np.uint32(4000)}}}
    notes = opened(tmp_path / "a.dm4", document(image(stack(1)[0], NM, tags))).info.notes
    assert notes == ("the camera recorded 4000 frames, this file holds 1",)


@pytest.mark.parametrize("unit", ["1/nm", "mrad", "nm^-1"])
def test_diffraction_patterns_have_no_pixel_size(tmp_path, unit):
    calibration = opened(tmp_path / "a.dm4", document(image(stack(), [(0.1, unit), (0.1, unit)]))).info.calibration
    assert calibration.nm_per_px is None
    assert "diffraction" in calibration.nm_source


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_impossible_scales_are_unknown(tmp_path, scale):
    axes = [(scale, "nm"), (0.2, "nm"), (scale, "s")]
    calibration = opened(tmp_path / "a.dm4", document(image(stack(), axes))).info.calibration
    assert calibration.nm_per_px is None
    assert calibration.s_per_frame is None


# ---- refusals and damage -----------------------------------------------------------------------


def test_complex_pixels_are_refused(tmp_path):
    with pytest.raises(InputError, match="complex64"):
        opened(tmp_path / "a.dm4", document(image(np.ones((4, 4), np.complex64))))


def test_spectra_are_refused(tmp_path):
    with pytest.raises(InputError, match="eV"):
        opened(tmp_path / "a.dm4", document(image(stack(), [*NM, (0.5, "eV")])))
    with pytest.raises(InputError, match="neither an image nor a stack"):
        opened(tmp_path / "b.dm4", document(image(np.arange(5, dtype=np.uint16))))


def test_four_axes_are_refused(tmp_path):
    four = image(np.zeros((2, 3, 4), np.uint8))
    four["ImageData"]["Dimensions"] = {str(i): np.uint32(n) for i, n in enumerate((4, 3, 2, 1))}
    assert opened(tmp_path / "a.dm4", document(four)).info.n_frames == 2  # a last axis of one is no axis
    four["ImageData"]["Dimensions"] = {str(i): np.uint32(n) for i, n in enumerate((2, 2, 3, 2))}
    with pytest.raises(InputError, match="neither an image nor a stack"):
        opened(tmp_path / "b.dm4", document(four))


def test_sizes_that_disagree_with_the_pixels_are_refused(tmp_path):
    tree = image(stack())
    tree["ImageData"]["Dimensions"]["0"] = np.uint32(60_000)
    with pytest.raises(InputError, match="claims 3 × 4 × 60000"):
        opened(tmp_path / "a.dm4", document(tree))


def test_claims_by_content(tmp_path):
    assert DmReader.claims(write(tmp_path / "a.dm4", document(image(stack())))) is True
    empty = tmp_path / "b.dm4"
    empty.write_bytes(bytes(4096))
    assert isinstance(DmReader.claims(empty), str)
    with pytest.raises(InputError):
        DmReader(empty)
    assert DmReader.claims(tmp_path / "a.tif") is False
    assert isinstance(DmReader.claims(tmp_path / "missing.dm3"), str)
    with pytest.raises(InputError):
        DmReader(tmp_path / "missing.dm3")


def test_a_file_cut_while_it_is_open_gives_bad_frames_not_a_crash(tmp_path):
    movie = stack(4)
    path = write(tmp_path / "a.dm4", document(image(movie)))
    reader = DmReader(path)
    with path.open("r+b") as file:
        file.truncate(reader._offset + 2 * movie[0].nbytes + 3)
    out = np.empty(reader.info.shape, reader.info.dtype)
    reader.read_into(1, out)
    np.testing.assert_array_equal(out, movie[1])
    with pytest.raises(BadFrame, match="truncated"):
        reader.read_into(2, out)


def test_deep_and_endless_trees_are_refused(tmp_path):
    nested: dict = {}
    for _ in range(60):
        nested = {"x": nested}
    with pytest.raises(InputError, match="inside one another"):
        opened(tmp_path / "deep.dm4", {"ImageList": nested})
    data = bytearray(encode(document(image(stack()))))
    data[18:26] = struct.pack(">Q", 2**62)
    (tmp_path / "many.dm4").write_bytes(data)
    with pytest.raises(InputError, match="a group of"):
        DmReader(tmp_path / "many.dm4")


def test_array_larger_than_the_file_is_refused_unallocated(tmp_path):
    data = encode(document(image(stack())))
    at = data.index(struct.pack(">QQQQ", 3, 20, 4, 60))
    broken = data[: at + 24] + struct.pack(">Q", 2**61) + data[at + 32 :]
    (tmp_path / "a.dm4").write_bytes(broken)
    with pytest.raises(InputError, match="more"):
        DmReader(tmp_path / "a.dm4")


@pytest.mark.parametrize("version", [3, 4])
def test_damaged_files_raise_only_the_errors_of_the_house(tmp_path, version):
    tags = {"DataBar": {"Exposure Time (s)": 0.1}, "Private": {"a": "text", "b": {"c": np.uint32(4)}}}
    data = encode(document(thumbnail(4), image(stack(), [*NM, (1, "s")], tags)), version)
    path = tmp_path / f"a.dm{version}"
    seen = Counter()
    for copy in mutations(data, 400, seed=version):
        path.write_bytes(copy)
        seen[outcome(DmReader, path)] += 1
    assert seen["refused"] > 50
    assert seen["frames"] > 20


def test_frames_may_be_read_from_many_threads_in_any_order(tmp_path):
    movie = stack(40, 32, 32)
    reader = opened(tmp_path / "a.dm4", document(image(movie)))
    out = np.empty_like(movie)
    order = np.random.default_rng(0).permutation(40)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: reader.read_into(int(i), out[i]), order))
    np.testing.assert_array_equal(out, movie)


def test_slot_and_index_are_checked(tmp_path):
    reader = opened(tmp_path / "a.dm4", document(image(stack())))
    with pytest.raises(ValueError, match="slot"):
        reader.read_into(0, np.empty((4, 5), np.uint8))
    with pytest.raises(IndexError):
        reader.read_into(3, np.empty((4, 5), np.uint16))
    strided = np.zeros((4, 10), np.uint16)[:, ::2]
    reader.read_into(2, strided)
    np.testing.assert_array_equal(strided, stack()[2])


def test_pixels_are_not_read_to_open_a_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dm4", document(thumbnail(256), image(stack(8, 256, 256))))
    total = 0
    original = OpenFile.read

    def counted(self, offset, count):
        nonlocal total
        total += count
        return original(self, offset, count)

    monkeypatch.setattr(OpenFile, "read", counted)
    DmReader(path)
    assert total < path.stat().st_size / 4
