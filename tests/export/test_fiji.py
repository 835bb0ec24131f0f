from __future__ import annotations

import zipfile

import numpy as np
import pytest
import roifile
import tifffile
from export_cases import BAD, PARTICLES, SHAPE, make_run, write_movie
from test_outlines import filled

from insitu.errors import CommandError, InputError, ResourceError
from insitu.export import ExportOptions, export, fiji
from insitu.types import Calibration


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A run with its movie beside it."""
    folder = tmp_path_factory.mktemp("filmed")
    movie = write_movie(folder)
    return make_run(folder / "film.insitu"), movie


@pytest.fixture(scope="module")
def opened(filmed, tmp_path_factory):
    return export(filmed[0], "fiji", tmp_path_factory.mktemp("fiji") / "film.fiji")


def test_images_are_those_of_the_camera_and_calibrated(filmed, opened):
    with tifffile.TiffFile(opened / "images.tif") as file:
        assert file.is_imagej
        assert (file.series[0].axes, file.series[0].shape) == ("TYX", (10, *SHAPE))
        about = file.imagej_metadata
        images = file.asarray()
        x, y = (file.pages[0].tags[tag].value for tag in ("XResolution", "YResolution"))
    assert (about["unit"], about["finterval"], about["frames"]) == ("nm", 0.1, 10)
    assert x[0] / x[1] == y[0] / y[1] == pytest.approx(1 / 0.5)
    expected = filmed[1].copy()
    assert expected[BAD].any()
    expected[BAD] = 0  # the run could not use it
    np.testing.assert_array_equal(images, expected)
    assert images.dtype == np.uint16


def test_labels_are_those_of_the_run(filmed, opened):
    np.testing.assert_array_equal(tifffile.imread(opened / "labels.tif"), filmed[0].labels[:])


def test_every_outline_is_a_roi_in_its_frame(filmed, opened):
    rois = roifile.roiread(opened / "RoiSet.zip")
    assert len(rois) == len(filmed[0].particles)
    painted = filmed[0].labels_by_particle()
    seen = set()
    for roi in rois:
        frame, particle = (int(part[1:]) for part in roi.name.split("-"))
        assert (roi.roitype, roi.position) == (roifile.ROI_TYPE.TRACED, frame + 1)
        assert (roi.c_position, roi.z_position, roi.t_position) == (0, 0, 0)
        corners = roi.integer_coordinates + np.array([roi.left, roi.top])
        np.testing.assert_array_equal(filled(corners, SHAPE), painted[frame] == particle)
        assert (roi.bottom - roi.top, roi.right - roi.left) == tuple(np.ptp(corners, axis=0)[::-1])
        seen.add((particle, frame))
    assert seen == {(p, k) for p, (_, _, frames) in PARTICLES.items() for k in frames}
    assert len({r.stroke_color for r in rois if r.name.endswith("-p0")}) == 1


def test_what_is_not_known_is_not_claimed(tmp_path):
    write_movie(tmp_path)
    out = export(make_run(tmp_path / "bare", calibration=Calibration()), "fiji", tmp_path / "out")
    with tifffile.TiffFile(out / "images.tif") as file:
        assert not {"unit", "finterval", "fps", "tunit"} & set(file.imagej_metadata)
        tags = file.pages[0].tags
        assert tags["XResolution"].value == (1, 1)
    assert "Pixel size unknown; frame time unknown" in (out / "README.txt").read_text(encoding="utf-8")


def test_every_third_frame_of_a_part_has_three_times_the_interval(filmed, tmp_path):
    out = export(filmed[0], "fiji", tmp_path / "out", ExportOptions(frames=(1, 8, 3)))
    with tifffile.TiffFile(out / "images.tif") as file:
        assert file.imagej_metadata["finterval"] == pytest.approx(0.3)
        np.testing.assert_array_equal(file.asarray(), filmed[1][1:8:3])
    names = {r.name.split("-")[0]: r.position for r in roifile.roiread(out / "RoiSet.zip")}
    assert names == {"f1": 1, "f4": 2, "f7": 3}
    with pytest.raises(CommandError, match="no frame of the run lies in 50:60:1"):
        export(filmed[0], "fiji", tmp_path / "none", ExportOptions(frames=(50, 60, 1)))


def test_a_run_of_every_third_frame_from_the_fifth(tmp_path):
    movie = write_movie(tmp_path, frames=35)
    out = export(make_run(tmp_path / "run", first=5, step=3), "fiji", tmp_path / "out")
    with tifffile.TiffFile(out / "images.tif") as file:
        assert file.imagej_metadata["finterval"] == pytest.approx(0.3)
        np.testing.assert_array_equal(file.asarray()[0], movie[5])
        np.testing.assert_array_equal(file.asarray()[9], movie[32])


def test_labels_of_a_binned_region_lie_where_its_camera_pixels_lie(tmp_path):
    run = make_run(tmp_path / "run", origin=(10, 20), side=2)
    write_movie(tmp_path, shape=(2 * SHAPE[0] + 30, 2 * SHAPE[1] + 50))
    out = export(run, "fiji", tmp_path / "out")
    labels = tifffile.imread(out / "labels.tif")
    inside = labels[:, 10 : 10 + 2 * SHAPE[0], 20 : 20 + 2 * SHAPE[1]]
    np.testing.assert_array_equal(inside[:, ::2, ::2], run.labels[:])
    np.testing.assert_array_equal(inside[:, 1::2, 1::2], run.labels[:])
    assert labels.sum() == inside.sum()
    roi = next(r for r in roifile.roiread(out / "RoiSet.zip") if r.name == "f0-p0")
    y, x = np.nonzero(labels[0] == labels[0, 10 + 2 * 30, 20 + 2 * 30])
    assert (roi.left, roi.top, roi.right, roi.bottom) == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_beyond_4_gb_there_is_one_directory_and_all_planes(filmed, tmp_path, monkeypatch):
    monkeypatch.setattr(fiji, "CLASSIC_BYTES", 1000)
    out = export(filmed[0], "fiji", tmp_path / "out")
    with tifffile.TiffFile(out / "images.tif") as file:
        assert (len(file.pages), file.is_bigtiff) == (1, False)
        assert "images=10" in file.pages[0].description
        np.testing.assert_array_equal(file.asarray()[1], filmed[1][1])
        offset = file.pages[0].dataoffsets[0]
        size = file.filehandle.size
    assert size == offset + 10 * SHAPE[0] * SHAPE[1] * 2


@pytest.mark.parametrize(
    ("dtype", "kept"), [("bool", "u1"), ("u1", "u1"), (">u2", "u2"), ("i2", "f4"), ("u4", "f4"), ("f8", "f4")]
)
def test_counts_that_imagej_does_not_know_become_float(dtype, kept):
    assert fiji.imagej_dtype(np.dtype(dtype)) == np.dtype(kept)


def test_negative_counts_survive(tmp_path):
    movie = write_movie(tmp_path, dtype=np.int16, offset=-500)
    out = export(make_run(tmp_path / "run"), "fiji", tmp_path / "out")
    images = tifffile.imread(out / "images.tif")
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[0], movie[0])
    assert movie[0].min() < 0
    assert "int16" in (out / "README.txt").read_text(encoding="utf-8")


def test_very_many_outlines_are_spread_over_several_files(filmed, tmp_path, monkeypatch):
    monkeypatch.setattr(fiji, "MOST_ROIS", 11)
    out = export(filmed[0], "fiji", tmp_path / "out")
    files = sorted(out.glob("RoiSet*.zip"))
    names = [n for f in files for n in zipfile.ZipFile(f).namelist()]
    assert len(names) == len(set(names)) == len(filmed[0].particles)
    assert all(len(zipfile.ZipFile(f).namelist()) <= 11 for f in files)
    assert files[0].name == "RoiSet_from_000000.zip"
    assert all(f.name in (out / "README.txt").read_text(encoding="utf-8") for f in files)


def test_a_movie_that_has_moved_is_asked_for(filmed, tmp_path):
    run = make_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"film & co\.tif") as error:
        export(run, "fiji", tmp_path / "out")
    assert error.value.hint == "say where it is now: --source MOVIE"
    moved = str(filmed[0].path.parent / "film & co.tif")
    assert (export(run, "fiji", tmp_path / "out", ExportOptions(source=moved)) / "images.tif").is_file()


@pytest.mark.parametrize("name", ["fiji", "coco"])
def test_a_run_that_has_hardly_begun_has_nothing_to_export(tmp_path, name):
    write_movie(tmp_path)
    run = make_run(tmp_path / "run", finish=False, frames=3)
    with pytest.raises(InputError, match="has no frame yet"):
        export(run, name, tmp_path / "out")
    half = export(make_run(tmp_path / "half", finish=False, frames=7), name, tmp_path / "out")
    assert len(list(half.iterdir())) in {2, 4}


@pytest.mark.parametrize(
    ("changes", "told"), [({"shape": (64, 64)}, "its frames have 64×64 px"), ({"frames": 7}, "it has 7 frames")]
)
def test_another_movie_is_refused(tmp_path, changes, told):
    write_movie(tmp_path, **changes)
    with pytest.raises(InputError, match=told):
        export(make_run(tmp_path / "run"), "fiji", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["film & co.tif", "run"]


def test_a_movie_replaced_by_one_of_the_same_size_is_refused(tmp_path):
    from insitu.read.fingerprint import fingerprint

    write_movie(tmp_path)
    run = make_run(tmp_path / "run", fingerprint=fingerprint(tmp_path / "film & co.tif"))
    export(run, "fiji", tmp_path / "a")
    write_movie(tmp_path, offset=3)
    with pytest.raises(InputError, match="its content has changed since"):
        export(run, "fiji", tmp_path / "b")


def test_what_does_not_fit_is_not_begun(filmed, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(ResourceError, match=r"needs 0\.0 GB"):
        export(filmed[0], "fiji", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_progress_goes_from_nothing_to_all_frames(filmed, tmp_path):
    seen = []
    export(filmed[0], "fiji", tmp_path / "out", ExportOptions(progress=seen.append))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1], len(seen)) == (0, 10, 30)


def test_it_replaces_only_what_it_wrote(filmed, tmp_path):
    out = export(filmed[0], "fiji", tmp_path / "out")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    export(filmed[0], "fiji", out, ExportOptions(overwrite=True))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    (out / "thesis.tex").write_text("words", encoding="utf-8")
    with pytest.raises(CommandError, match=r"holds 'thesis\.tex'"):
        export(filmed[0], "fiji", out, ExportOptions(overwrite=True))
