from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from export_cases import BAD, SHAPE, make_run, write_movie
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from insitu.errors import CommandError, InputError
from insitu.export import ExportOptions, coco, export
from insitu.types import Calibration


def unpacked(text):
    """Decode COCO's text of run lengths, one character at a time."""
    counts, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    return counts


def mask_of(segmentation):
    """Paint a mask from its run lengths, down the columns, beginning with what is outside."""
    flat, inside = [], False
    for n in unpacked(segmentation["counts"]):
        flat += [inside] * n
        inside = not inside
    height, width = segmentation["size"]
    flat += [False] * (height * width - len(flat))
    return np.array(flat).reshape(width, height).T


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filmed")
    movie = write_movie(folder)
    return make_run(folder / "film.insitu"), movie


@pytest.fixture(scope="module")
def opened(filmed, tmp_path_factory):
    folder = export(filmed[0], "coco", tmp_path_factory.mktemp("coco") / "film.coco")
    return folder, json.loads((folder / "annotations.json").read_text(encoding="utf-8"))


@settings(max_examples=200, deadline=None)
@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 3)))
def test_every_mask_comes_back(labels):
    found = dict(coco.masks(labels))
    assert set(found) == set(np.unique(labels).tolist()) - {0}
    for label, told in found.items():
        own = labels == label
        np.testing.assert_array_equal(mask_of(told["segmentation"]), own)
        y, x = np.nonzero(own)
        assert told["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert told["area"] == own.sum()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=12))
def test_run_lengths_are_packed_as_the_format_says(counts):
    text = coco.packed(np.array(counts, np.int64))
    assert unpacked(text) == counts


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_pycocotools_reads_every_mask(filmed, opened):
    api = pytest.importorskip("pycocotools.coco", reason="PYCOCOTOOLS ABSENT: pip install pycocotools")
    read = api.COCO(str(opened[0] / "annotations.json"))
    painted = filmed[0].labels_by_particle()
    assert len(read.anns) == len(filmed[0].particles)
    for annotation in read.anns.values():
        frame = read.imgs[annotation["image_id"]]["frame"]
        own = painted[frame] == annotation["track_id"]
        np.testing.assert_array_equal(read.annToMask(annotation).astype(bool), own)
        assert annotation["area"] == own.sum()


def test_images_are_the_frames_that_are_ok_with_all_their_bits(filmed, opened):
    folder, content = opened
    assert [i["frame"] for i in content["images"]] == [k for k in range(10) if k != BAD]
    for image in content["images"]:
        pixels = np.asarray(Image.open(folder / image["file_name"]))
        np.testing.assert_array_equal(pixels, filmed[1][image["frame"]])
        assert (image["height"], image["width"]) == SHAPE
        assert image["time_s"] == pytest.approx(image["frame"] * 0.1)
    assert len(list((folder / "images").iterdir())) == 9
    assert content["info"]["nm_per_px"] == 0.5


def test_ids_are_unique_and_begin_with_1(opened):
    content = opened[1]
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    assert {a["image_id"] for a in content["annotations"]} <= {i["id"] for i in content["images"]}
    assert min(i["id"] for i in content["images"]) == 1


def test_annotations_alone_need_no_movie(tmp_path):
    run = make_run(tmp_path / "run", calibration=Calibration())
    content = json.loads(export(run, "coco", tmp_path / "a.json").read_text(encoding="utf-8"))
    assert {i["file_name"] for i in content["images"]} == {"film.tif"}
    assert [i["page"] for i in content["images"]] == [k for k in range(10) if k != BAD]
    assert "nm_per_px" not in content["info"]
    assert "time_s" not in content["images"][0]
    with pytest.raises(InputError, match="cannot be read"):
        export(run, "coco", tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "run"]


def test_counts_that_png_does_not_hold_are_tiff(tmp_path):
    movie = write_movie(tmp_path, dtype=np.float32, offset=-3)
    folder = export(make_run(tmp_path / "run"), "coco", tmp_path / "out", ExportOptions(frames=(2, 4, 1)))
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    assert [i["file_name"] for i in content["images"]] == ["images/000002.tif", "images/000003.tif"]
    np.testing.assert_array_equal(tifffile.imread(folder / "images/000002.tif"), movie[2])


def test_it_replaces_only_what_it_wrote(filmed, opened, tmp_path):
    out = export(filmed[0], "coco", tmp_path / "out")
    assert (out / "annotations.json").read_bytes() == (opened[0] / "annotations.json").read_bytes()
    with pytest.raises(CommandError, match="exists"):
        export(filmed[0], "coco", out)
    export(filmed[0], "coco", out, ExportOptions(overwrite=True))
    (out / "mine.txt").write_text("words", encoding="utf-8")
    with pytest.raises(CommandError, match=r"holds 'mine\.txt'"):
        export(filmed[0], "coco", out, ExportOptions(overwrite=True))


def test_a_run_without_a_single_particle_is_all_background(tmp_path, monkeypatch):
    import export_cases

    monkeypatch.setattr(export_cases, "PARTICLES", {0: ((30.0, 30.0), 9.0, set())})
    monkeypatch.setattr(export_cases, "EVENTS", ())
    content = json.loads(export(make_run(tmp_path / "none"), "coco", tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["annotations"] == []
    assert len(content["images"]) == 9
