"""Models on labelled images: what is counted, what is refused, and what is written."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from insitu.errors import CommandError, InputError
from insitu.evaluate import writing
from insitu.evaluate.edges import DISTANCES_PX, Edges, depth
from insitu.evaluate.images import Pairs
from insitu.evaluate.masks import RULES, MaskOptions, Remembering, score_models


def world(seed=0, shape=(96, 128), n=6, radius=(7, 11), apart=True):
    """An image of dark discs, and its labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.uint16)
    while labels.max() < n:
        cy, cx, r = rng.uniform(14, shape[0] - 14), rng.uniform(14, shape[1] - 14), rng.uniform(*radius)
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= r * r
        if not (apart and labels[ndimage.binary_dilation(disc, iterations=3)].any()):
            labels[disc] = labels.max() + 1
    soft = ndimage.gaussian_filter((labels > 0).astype(float), 0.7)
    return rng.normal(1200 - 500 * soft, 30).round().astype(np.uint16), labels


class Oracle:
    """Says what it was told, as a model does."""

    name, threshold, seed, multiple = "oracle", 0.4, 0.0, 1

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def probabilities(self, images):
        self.asked += 1
        return torch.from_numpy(self.answers.pop(0).astype(np.float32))[None]


@pytest.fixture
def pair(tmp_path):
    def written(images, labels):
        for name, planes in (("images", images), ("labels", labels)):
            (tmp_path / name).mkdir()
            for k, plane in enumerate(planes):
                tifffile.imwrite(
                    tmp_path / name / f"{k}.tif", plane, photometric="rgb" if plane.ndim == 3 else "minisblack"
                )
        return Pairs(str(tmp_path / "images"), str(tmp_path / "labels"))

    return written


def smooth(labels, shift=0.0):
    """Probability that falls through 0.5 `shift` px outside the outline."""
    return 1 / (1 + np.exp(2 * (depth(labels > 0) - shift)))


def test_a_perfect_model_has_perfect_scores(pair):
    (a, la), (b, lb) = world(0), world(1)
    scores = score_models(pair([a, b], [la, lb]), [("oracle", Oracle(smooth(la), smooth(lb)))], MaskOptions())
    assert scores.n_images == 2
    assert [r["rule"] for r in scores.rows()] == list(RULES)
    for row in scores.rows():
        assert row["particle_truth"] == row["particle_found"] == row["particle_matched"] == 12
        assert row["particle_panoptic_quality"] > 0.95
        assert row["pixel_f1"] > 0.97
        assert abs(row["edge_offset_px"]) < 0.15
    fixed = scores.rows()[1]
    assert (fixed["threshold"], fixed["pixel_f1"], fixed["pixel_fn"]) == (0.5, 1, 0)
    assert fixed["particle_ap50"] == 1
    assert fixed["pixel_tp"] + fixed["pixel_fp"] + fixed["pixel_fn"] + fixed["pixel_tn"] == 2 * 96 * 128
    assert scores.notes == []


@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.5])
def test_an_edge_drawn_too_far_out_is_measured(pair, shift):
    image, labels = world(2)
    scores = score_models(pair([image], [labels]), [("oracle", Oracle(smooth(labels, shift)))], MaskOptions())
    row = scores.rows()[1]
    assert row["edge_offset_px"] == pytest.approx(shift, abs=0.35)
    assert row["edge_crossing_px"] == pytest.approx(shift, abs=0.2)
    assert np.sign(row["particle_diameter_bias_percent"]) == np.sign(shift) or shift == 0


def test_the_size_filter_removes_false_specks(pair):
    image, labels = world(3)
    p = smooth(labels)
    for y in range(2, 90, 12):
        p[y : y + 2, 1:3] = 0.95
    scores = score_models(pair([image], [labels]), [("oracle", Oracle(p))], MaskOptions(min_area_px=20))
    rows = {r["min_area_px"]: r for r in scores.size_filter()}
    assert rows[0]["particle_precision"] < 0.6
    assert rows[10]["particle_precision"] == 1
    assert rows[640]["particle_recall"] == 0
    assert scores.rows()[0]["particle_found"] == 6
    assert scores.models[0].sweep.at(0.5).fp == 32


def test_touching_particles_are_told_apart_on_request(pair):
    image, labels = world(0, n=1)
    labels[:] = 0
    y, x = np.mgrid[:96, :128]
    both = ((y - 48) ** 2 + (x - 50) ** 2 <= 100) | ((y - 48) ** 2 + (x - 69) ** 2 <= 100)
    labels[both] = 1 + (x > 59)[both]
    found = {}
    pairs = pair([image], [labels])
    for split in (False, True):
        scores = score_models(pairs, [("oracle", Oracle(smooth(labels)))], MaskOptions(split=split))
        found[split] = scores.rows()[0]["particle_matched"]
    assert found == {False: 0, True: 2}


def test_the_model_is_asked_once_an_image():
    model = Oracle(np.zeros((4, 4)))
    once = Remembering(model)
    assert once.probabilities(None) is once.probabilities(None)
    assert (model.asked, once.threshold) == (1, 0.4)


def test_pixels_that_are_not_known_do_not_count(pair):
    image, labels = world(4)
    p = smooth(labels)
    drawn = labels.copy()
    drawn[labels == 1] = 99
    pairs = pair([image], [drawn])
    pairs.unknown = 99
    row = score_models(pairs, [("oracle", Oracle(p))], MaskOptions()).rows()[1]
    assert (row["particle_truth"], row["particle_found"], row["particle_set_aside"]) == (5, 5, 1)
    assert row["pixel_tp"] + row["pixel_fp"] + row["pixel_fn"] + row["pixel_tn"] == labels.size - (labels == 1).sum()


def test_inverted_contrast_is_noticed(pair):
    # bright particles that cover so much, smoothly, that the image alone says dark holes
    y, x = np.mgrid[:96, :128]
    labels = np.zeros((96, 128), np.uint16)
    image = np.full((96, 128), 1000.0)
    for cy, cx in [(20, 20), (20, 100), (75, 30), (70, 95)]:
        image -= 600 * (np.hypot(y - cy, x - cx) < 9)
    labels[44:50, 60:66] = 1
    image[44:50, 60:66] += 30
    noisy = np.random.default_rng(0).normal(image, 5).astype(np.uint16)
    pairs = pair([noisy], [labels])
    scores = score_models(pairs, [("oracle", Oracle(smooth(labels)))], MaskOptions())
    assert "inverted contrast" in scores.notes[0]
    assert "--polarity labels" in scores.notes[0]
    assert scores.images[0]["polarity"] == "dark"
    followed = score_models(pairs, [("oracle", Oracle(smooth(labels)))], MaskOptions(polarity="labels"))
    assert followed.images[0]["polarity"] == "bright"


def test_masks_and_16_bit_images_with_12_bits_are_taken_and_said(pair):
    image, labels = world(5)
    pairs = pair([image // 1], [((labels > 0) * 255).astype(np.uint8)])
    found = list(pairs)
    assert found[0].labels.max() == 6
    assert found[0].labels.dtype == np.int32
    assert any("11 of 16 bits" in note for note in pairs.notes)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([np.zeros((9, 9), np.uint8)], CommandError, "9×9 px"),
        ([np.zeros((96, 128), np.uint8)], CommandError, "no particle"),
        ([np.full((96, 128), 3, np.uint8)], InputError, "no pixel that is 0"),
        ([np.full((96, 128), 0.5, np.float32) * np.eye(96, 128, dtype=np.float32)], InputError, "whole numbers"),
        ([np.random.default_rng(0).integers(0, 255, (96, 128)).astype(np.uint8)], InputError, "looks like a picture"),
        ([np.zeros((96, 128), np.uint8)] * 2, CommandError, "2 label images for the 1 images"),
        ([-np.eye(96, 128, dtype=np.int16)], InputError, "-1"),
        ([np.ones((96, 128, 3), np.uint8) * np.uint8([10, 20, 30])], InputError, "colour"),
    ],
    ids=["size", "empty", "no support", "floats", "picture", "number", "negative", "colour"],
)
def test_labels_that_do_not_fit_are_refused(pair, labels, error, words):
    pairs = pair([world(0)[0]], labels)
    with pytest.raises(error) as caught:
        list(pairs)
    assert words in caught.value.message


def test_images_of_different_sizes_are_paired_in_natural_order(tmp_path):
    for name, index in (("i2", 0), ("i10", 1)):
        image, labels = world(index, (96, 128 + 20 * index))
        tifffile.imwrite(tmp_path / f"{name}_image.tif", image)
        tifffile.imwrite(tmp_path / f"{name}_label.tif", labels)
    pairs = Pairs(str(tmp_path / "*_image.tif"), str(tmp_path / "*_label.tif"))
    assert [p.name for p in pairs] == ["i2_image.tif", "i10_image.tif"]
    assert len(pairs) == 2


def test_distances_are_those_of_the_pixel_centres_from_the_outline():
    inside = np.zeros((20, 20), np.bool_)
    inside[:, 10:] = True
    assert depth(inside)[5, 8:12].tolist() == [1.5, 0.5, -0.5, -1.5]
    edges = Edges.of(depth(inside), np.where(inside, 2.0, 0.0), np.where(inside, 0.9, 0.1))
    profile = edges.profile()
    known = profile["pixels"] > 0
    np.testing.assert_allclose(profile["probability"][known], np.where(DISTANCES_PX < 0, 0.9, 0.1)[known])
    np.testing.assert_allclose(profile["intensity"][known], (DISTANCES_PX < 0)[known])
    assert edges.crossing(0.5) == pytest.approx(0)
    assert np.isnan(Edges.none().crossing(0.5))


def test_everything_is_written_and_says_the_same(pair, tmp_path):
    import json

    import pandas as pd

    image, labels = world(6)
    models = [("oracle", Oracle(smooth(labels))), ("wide", Oracle(smooth(labels, 1.0)))]
    scores = score_models(pair([image], [labels]), models, MaskOptions())
    out = tmp_path / "out"
    writing.make_room(out, overwrite=False)
    writing.write(scores, out, {"images": "i", "labels": "l"})
    assert {p.name for p in out.iterdir()} == set(writing.OURS)
    table = pd.read_csv(out / "scores.csv")
    assert table.equals(pd.read_parquet(out / "scores.parquet")) or len(table) == 6
    assert json.loads((out / "scores.json").read_text())["n_images"] == 1
    names = {p.stem for p in (out / "figures").glob("*.svg")}
    assert names == {"thresholds", "precision_recall", "edges", "sizes", "size_filter"}
    curves = pd.read_csv(out / "figures" / "thresholds.csv")
    assert len(curves) == 2 * 256
    assert "| wide |" in (out / "summary.md").read_text()
    assert "wide" in writing.table_in_words(scores)
    with pytest.raises(CommandError, match="--overwrite"):
        writing.make_room(out, overwrite=False)
    writing.make_room(out, overwrite=True)
