from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from insitu.read import open_source


def test_labels_lie_beside_their_frames_and_fit_them(call, movie, tmp_path):
    out = tmp_path / "labels"
    done = call("label", movie, "-o", out, "--number", 4, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.lines[-1] == str(out)
    assert f"insitu train MODEL --images {out / 'images'} --labels {out / 'labels'}" in done.out
    images, labels, source = open_source(out / "images"), open_source(out / "labels"), open_source(movie)
    assert images.info.n_frames == labels.info.n_frames == 4
    assert images.info.calibration.nm_per_px == pytest.approx(source.info.calibration.nm_per_px)
    about = json.loads((out / "labels.json").read_text())
    assert about["frames"] == [0, 3, 6, 9]
    for k, frame in enumerate(about["frames"]):
        original = tifffile.imread(movie, key=frame)
        np.testing.assert_array_equal(tifffile.imread(out / "images" / f"frame_{k:06d}.tif"), original)
        drawn = tifffile.imread(out / "labels" / f"frame_{k:06d}.tif")
        assert drawn.dtype == np.uint16
        assert np.unique(drawn).tolist() == list(range(about["particles"][k] + 1))
        assert original[drawn > 0].mean() < original[drawn == 0].mean()


def test_frames_that_cannot_be_used_are_said_and_left_out(call, tmp_path):
    frames = [np.zeros((40, 50), np.uint16), *np.random.default_rng(0).poisson(50, (2, 40, 50)).astype(np.uint16)]
    tifffile.imwrite(tmp_path / "movie.tif", np.stack(frames), photometric="minisblack")
    done = call("label", tmp_path / "movie.tif", "-o", tmp_path / "out", "--polarity", "dark", "--json")
    assert done.code == 0
    lines = [json.loads(line) for line in done.lines]
    assert [line["frame"] for line in lines if line["type"] == "problem"] == [0]
    assert lines[-1]["frames"] == [1, 2]
    assert sorted(p.name for p in (tmp_path / "out" / "labels").iterdir()) == ["frame_000000.tif", "frame_000001.tif"]


def test_what_is_wrong_is_said_in_two_lines(call, movie, tmp_path):
    assert "no frames to label" in call("label", movie, "-o", tmp_path / "a", "--frames", "90:95").refused(2)[0]
    tifffile.imwrite(tmp_path / "small.tif", np.arange(80, dtype=np.uint8).reshape(8, 10))
    message, hint = call("label", tmp_path / "small.tif", "-o", tmp_path / "b").refused(2)
    assert "8×10 px" in message
    assert "11×11" in hint
    tifffile.imwrite(tmp_path / "zero.tif", np.zeros((3, 40, 40), np.uint8), photometric="minisblack")
    assert "all zero" in call("label", tmp_path / "zero.tif", "-o", tmp_path / "c", "--quiet").refused(3)[0]
    assert call("label", tmp_path / "nothing.tif", "-o", tmp_path / "d").refused(3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert "thesis.txt" in call("label", movie, "-o", tmp_path / "mine", "--overwrite").refused(2)[0]


def test_labels_are_replaced_only_when_asked(call, movie, tmp_path):
    out = tmp_path / "labels"
    assert call("label", movie, "-o", out, "--number", 3, "--quiet").code == 0
    assert "--overwrite" in call("label", movie, "-o", out, "--quiet").refused(2)[1]
    assert call("label", movie, "-o", out, "--number", 2, "--overwrite", "--quiet").code == 0
    assert len(list((out / "labels").iterdir())) == 2


def test_the_other_polarity_is_suspected(call, tmp_path):
    y, x = np.mgrid[:120, :120]
    rng = np.random.default_rng(0)
    image = 100 + 80 * (np.hypot(y - 60, x - 60) < 54)
    tifffile.imwrite(tmp_path / "movie.tif", rng.poisson(image, (2, 120, 120)).astype(np.uint16))
    done = call("label", tmp_path / "movie.tif", "-o", tmp_path / "out", "--polarity", "bright")
    assert done.code == 0
    assert "--polarity dark" in done.err
