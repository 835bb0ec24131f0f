from __future__ import annotations

import warnings
from collections import Counter

import h5py
import numpy as np
import pytest
from fixtures_emd import MOVIE, metadata, write_berkeley, write_velox
from mutations import frames, mutations, outcome

from insitu.errors import BadFrame, InputError
from insitu.read import open_source
from insitu.read.emd import EmdReader
from insitu.types import Reader

NM = {"um": 1e3, "µm": 1e3, "nm": 1.0, "pm": 1e-3}
T, Y, X = np.arange(4) * 0.25, np.arange(5) * 0.2, np.arange(6) * 0.2


def rsciio(path):
    from rsciio.emd import file_reader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return file_reader(str(path))


# ---- Velox ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fei_emd_image.emd", "fei_example_tem_stack.emd"])
def test_real_velox_file_agrees_with_rosettasciio(samples, name):
    path = samples / "readers" / "emd_velox" / name
    assert EmdReader.claims(path) is True
    reader = EmdReader(path)
    assert isinstance(reader, Reader)
    (theirs,) = rsciio(path)
    ours = frames(reader)
    assert ours.dtype == theirs["data"].dtype
    np.testing.assert_array_equal(ours, theirs["data"].reshape(ours.shape))
    x = theirs["axes"][-1]
    assert reader.info.calibration.nm_per_px == pytest.approx(x["scale"] * NM[x["units"]], rel=1e-12)


def test_real_velox_image_agrees_with_ncempy(samples):
    path = samples / "readers" / "emd_velox" / "fei_emd_image.emd"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ncempy.io import emdVelox

        theirs = emdVelox.emdVeloxReader(str(path), dsetNum=0)
    reader = EmdReader(path)
    np.testing.assert_array_equal(frames(reader)[0], theirs["data"])
    assert reader.info.calibration.nm_per_px == pytest.approx(float(theirs["pixelSize"][0]), rel=1e-9)


def test_real_velox_stack_has_the_frame_time_that_rosettasciio_gives(samples):
    path = samples / "readers" / "emd_velox" / "fei_example_tem_stack.emd"
    reader = EmdReader(path)
    (theirs,) = rsciio(path)
    assert theirs["axes"][0]["units"] == "s"
    assert reader.info.calibration.s_per_frame == pytest.approx(theirs["axes"][0]["scale"]) == 0.8
    assert reader.info.calibration.exposure_s == 0.8
    assert "exposure" in reader.info.calibration.s_source
    assert reader.info.notes == ("detector BM-Ceta",)


def test_written_velox_stack_and_its_scan_time(tmp_path):
    path = write_velox(tmp_path / "a.emd", {"s": MOVIE}, {"s": metadata(frame_time="2.5")})
    reader = EmdReader(path)
    np.testing.assert_array_equal(frames(reader), MOVIE)
    assert reader.info.calibration.s_per_frame == 2.5
    assert reader.info.calibration.nm_per_px == pytest.approx(0.2)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "float32", "uint32"])
def test_velox_pixel_types_and_filters(tmp_path, dtype, options):
    reader = EmdReader(write_velox(tmp_path / "a.emd", {"s": MOVIE.astype(dtype)}, **options))
    assert reader.info.dtype.isnative
    np.testing.assert_array_equal(frames(reader), MOVIE.astype(dtype))


def test_stream_with_most_frames_is_read_and_the_rest_is_said(tmp_path):
    reader = EmdReader(write_velox(tmp_path / "a.emd", {"a": MOVIE[:1], "b": MOVIE, "c": MOVIE[:2]}))
    np.testing.assert_array_equal(frames(reader), MOVIE)
    assert "2 further image streams in the file not read" in reader.info.notes


def test_spectra_are_never_read(tmp_path):
    path = write_velox(tmp_path / "a.emd", {})
    with h5py.File(path, "a") as file:
        file.create_group("Data/Image")
    with pytest.raises(InputError, match="no image stream"):
        EmdReader(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"BinaryResult": 3}', '{"BinaryResult": {"PixelSize": {"width": "x"}}}']
)
def test_velox_metadata_that_says_nothing_is_unknown(tmp_path, text):
    calibration = EmdReader(write_velox(tmp_path / "a.emd", {"s": MOVIE}, {"s": text})).info.calibration
    assert (calibration.nm_per_px, calibration.s_per_frame) == (None, None)
    assert calibration.nm_source.startswith("unknown")


def test_a_file_of_spectra_is_not_read_as_a_movie_by_any_reader(tmp_path):
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        file.create_group("Data/Image")
        file.create_dataset("Data/SpectrumImage/s/Data", data=np.zeros((6, 7, 128), np.uint16))
    with pytest.raises(InputError, match="no image stream"):
        open_source(path)
    named = open_source(f"{path}::/Data/SpectrumImage/s/Data")
    assert named.info.n_frames == 6


def test_velox_diffraction_has_no_pixel_size(tmp_path):
    path = write_velox(tmp_path / "a.emd", {"s": MOVIE}, {"s": metadata(unit="1/m")})
    assert "diffraction" in EmdReader(path).info.calibration.nm_source


# ---- Berkeley ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", ["ours", "ncempy"])
def test_berkeley_stack_agrees_with_ncempy_and_rosettasciio(tmp_path, writer):
    path = tmp_path / "a.emd"
    dims = ((T, "t", "[s]"), (Y, "y", "[n_m]"), (X, "x", "[n_m]"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ncempy.io import emd

        if writer == "ours":
            write_berkeley(path, MOVIE, dims)
        else:
            with emd.fileEMD(str(path), readonly=False) as file:
                file.put_emdgroup("movie", MOVIE, dims)
        with emd.fileEMD(str(path), readonly=True) as file:
            data, axes = file.get_emdgroup(file.list_emds[0])
    reader = EmdReader(path)
    np.testing.assert_array_equal(frames(reader), data)
    # rosettasciio takes every Berkeley file as (x, y, t); the names in this one say (t, y, x)
    np.testing.assert_array_equal(frames(reader), rsciio(path)[0]["data"].T)
    assert reader.info.calibration.s_per_frame == pytest.approx(axes[0][0][1] - axes[0][0][0]) == 0.25
    assert reader.info.calibration.nm_per_px == pytest.approx(axes[1][0][1] - axes[1][0][0]) == 0.2
    assert [reader.header(i).time_s for i in range(4)] == [0.0, 0.25, 0.5, 0.75]


def test_berkeley_stack_written_by_rosettasciio_is_turned_upright(tmp_path):
    from rsciio.emd import file_writer

    axes = [
        {"name": n, "units": u, "scale": s, "offset": 0.0, "size": k, "navigate": n == "t", "index_in_array": i}
        for i, (n, u, s, k) in enumerate([("t", "s", 0.25, 4), ("y", "nm", 0.2, 5), ("x", "nm", 0.2, 6)])
    ]
    signal = {
        "data": MOVIE,
        "axes": axes,
        "metadata": {"General": {"title": "m"}, "Signal": {}},
        "original_metadata": {},
    }
    path = tmp_path / "a.emd"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file_writer(str(path), signal)
    reader = EmdReader(path)
    np.testing.assert_array_equal(frames(reader), MOVIE)
    np.testing.assert_array_equal(frames(reader), rsciio(path)[0]["data"])
    assert reader.info.calibration.s_per_frame == pytest.approx(0.25)
    assert reader.info.calibration.nm_per_px == pytest.approx(0.2)


def test_berkeley_time_may_be_the_last_axis(tmp_path):
    dims = ((Y, "y", "nm"), (X, "x", "nm"), (T, "time", "ms"))
    reader = EmdReader(write_berkeley(tmp_path / "a.emd", np.moveaxis(MOVIE, 0, -1), dims))
    np.testing.assert_array_equal(frames(reader), MOVIE)
    assert reader.info.calibration.s_per_frame == pytest.approx(0.00025)


def test_berkeley_single_image_in_angstrom(tmp_path):
    reader = EmdReader(write_berkeley(tmp_path / "a.emd", MOVIE[0], ((Y, "y", "Å".encode()), (X, "x", "Å".encode()))))
    assert reader.info.n_frames == 1
    assert reader.info.calibration.nm_per_px == pytest.approx(0.02)


def test_berkeley_irregular_times_are_kept_frame_by_frame(tmp_path):
    times = np.array([0.0, 1.0, 5.0, 6.0])
    dims = ((times, "t", "s"), (Y, "y", "nm"), (X, "x", "nm"))
    reader = EmdReader(write_berkeley(tmp_path / "a.emd", MOVIE, dims))
    assert [reader.header(i).time_s for i in range(4)] == [0, 1, 5, 6]
    assert reader.info.calibration.s_per_frame == 2.0


@pytest.mark.parametrize(("unit", "said"), [("nm", "in nm, not a time"), ("", "unknown")])
def test_berkeley_stack_axis_without_time(tmp_path, unit, said):
    dims = ((T, "z", unit), (Y, "y", "nm"), (X, "x", "nm"))
    calibration = EmdReader(write_berkeley(tmp_path / "a.emd", MOVIE, dims)).info.calibration
    assert calibration.s_per_frame is None
    assert said in calibration.s_source


def test_berkeley_times_that_fall_are_unknown(tmp_path):
    dims = ((T[::-1], "t", "s"), (Y, "y", "nm"), (X, "x", "nm"))
    reader = EmdReader(write_berkeley(tmp_path / "a.emd", MOVIE, dims))
    assert reader.info.calibration.s_per_frame is None
    assert reader.header(1).time_s is None


def test_berkeley_spectra_and_scans_are_refused(tmp_path):
    dims = ((Y, "y", "nm"), (X, "x", "nm"), (T, "E", "[eV]"))
    with pytest.raises(InputError, match="none is an image"):
        EmdReader(write_berkeley(tmp_path / "a.emd", np.moveaxis(MOVIE, 0, -1), dims))
    with pytest.raises(InputError, match="none is an image"):
        EmdReader(write_berkeley(tmp_path / "b.emd", MOVIE[None], ((T[:1], "s", ""), *dims)))


# ---- refusals and damage -------------------------------------------------------------------------------------------


def test_other_hdf5_and_no_hdf5(tmp_path):
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros((3, 4, 5))
    with pytest.raises(InputError, match="no Velox or Berkeley"):
        EmdReader(path)
    path.write_bytes(bytes(3000))
    assert isinstance(EmdReader.claims(path), str)
    with pytest.raises(InputError):
        EmdReader(path)
    assert EmdReader.claims(tmp_path / "a.h5") is False


def test_frames_that_cannot_be_stored_are_refused(tmp_path):
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        file.create_dataset("Data/Image/s/Data", (16_000, 16_000, 8), np.uint16, chunks=(1000, 1000, 1))
    with pytest.raises(InputError, match="stores 0 bytes"):
        EmdReader(path)
    with h5py.File(path, "a") as file:
        file["Data/Image/s/Data"][:10, :10, 0] = 1
    with pytest.raises(InputError, match="claims 16000"):
        EmdReader(path)


def test_images_in_other_files_are_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(60))
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        group = file.create_group("Data/Image/s")
        group.create_dataset("Data", (3, 4, 5), np.uint8, external=[(str(tmp_path / "secret.bin"), 0, 60)])
    with pytest.raises(InputError, match="other files"):
        EmdReader(path)


def test_damaged_chunk_is_one_bad_frame(tmp_path):
    path = write_velox(tmp_path / "a.emd", {"s": MOVIE}, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["Data/Image/s/Data"].id.get_chunk_info_by_coord((0, 0, 2))
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    reader = EmdReader(path)
    out = np.empty(reader.info.shape, np.uint16)
    with pytest.raises(BadFrame, match="unreadable"):
        reader.read_into(2, out)
    assert reader.read_into(3, out) == ()
    np.testing.assert_array_equal(out, MOVIE[3])


@pytest.mark.parametrize("kind", ["velox", "berkeley"])
def test_damaged_files_raise_only_the_errors_of_the_house(tmp_path, kind):
    path = tmp_path / "a.emd"
    if kind == "velox":
        write_velox(path, {"s": MOVIE}, spectrum=False)
    else:
        write_berkeley(path, MOVIE, ((T, "t", "s"), (Y, "y", "nm"), (X, "x", "nm")))
    seen = Counter()
    for copy in mutations(path.read_bytes(), 250, seed=7):
        path.write_bytes(copy)
        seen[outcome(EmdReader, path)] += 1
    assert min(seen["refused"], seen["frames"]) > 20


def test_strided_slot(tmp_path):
    reader = EmdReader(write_velox(tmp_path / "a.emd", {"s": MOVIE}))
    out = np.zeros((5, 12), np.uint16)[:, ::2]
    reader.read_into(1, out)
    np.testing.assert_array_equal(out, MOVIE[1])
