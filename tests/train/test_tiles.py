"""Codes of contacts, variations of images, scenes on rough supports, and the scores on held-out sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from insitu.train.agglomerates import CLEAR, FAINT, FEW_ELECTRONS, agglomerate_scene
from insitu.train.augment import Augmentation, varied
from insitu.train.data import CONTACT, PARTICLE, SUPPORT, UNKNOWN
from insitu.train.held_out import Instances, edge_offset, instances, matched_boxes, operating_point
from insitu.train.labelled import Labelled, looks_alike
from insitu.train.tiles import codes, real_tiles


def blobs(shape=(64, 64)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    labels[(y - 20) ** 2 + (x - 20) ** 2 < 100] = 1
    labels[((y - 20) ** 2 + (x - 40) ** 2 < 121) & (labels == 0)] = 2
    labels[(y - 50) ** 2 + (x - 20) ** 2 < 49] = 3
    return labels


def test_particles_that_touch_are_parted_by_contact_pixels():
    labels = blobs()
    coded = codes(labels)
    from scipy import ndimage

    assert ndimage.label(labels > 0, np.ones((3, 3)))[1] == 2
    assert ndimage.label(coded == PARTICLE, np.ones((3, 3)))[1] == 3
    alone = np.where(labels == 3, 1, 0).astype(np.int32)
    assert not (codes(alone) == CONTACT).any()
    # only pixels near both particles are contact
    far = np.ones((7, 7), np.bool_)
    near = ndimage.binary_dilation(labels == 1, far) & ndimage.binary_dilation(labels == 2, far)
    assert (near[coded == CONTACT]).all()
    assert (coded[labels == 0] != PARTICLE).all()


def test_unknown_pixels_are_neither_support_nor_hide_particles():
    labels = blobs()
    unknown = np.zeros(labels.shape, np.bool_)
    unknown[40:] = True
    coded = codes(labels, unknown)
    assert (coded[40:][labels[40:] == 0] == UNKNOWN).all()
    assert (coded[labels == 3] == PARTICLE).all()
    assert (coded[:10] == SUPPORT).all()


def test_a_variation_keeps_image_labels_and_unknown_together():
    labels = blobs((96, 80))
    unknown = labels == 3
    image = (100 + 40 * (labels > 0)).astype(np.uint8)
    plain = Augmentation(invert=0, noise=0, blur=0, gamma=(1, 1), native=0.5)
    for seed in range(12):
        moved, drawn, blank = varied(np.random.default_rng(seed), image, np.where(unknown, 0, labels), unknown, plain)
        assert moved.shape == drawn.shape == blank.shape
        particle = (drawn > 0) | blank
        bright = moved > (int(moved.min()) + int(moved.max())) / 2
        if particle.sum() > 50:
            assert (particle & bright).sum() / (particle | bright).sum() > 0.7
        assert not (blank & (drawn > 0)).any()


def test_variations_follow_from_name_number_and_seed():
    image = np.random.default_rng(0).normal(100, 9, (70, 70)).astype(np.uint8)
    one = Labelled(image, blobs((70, 70)), np.zeros((70, 70), np.bool_), "g", "a")
    first, again = (real_tiles([one], 2, 48, 7, Augmentation()) for _ in range(2))
    np.testing.assert_array_equal(first.images, again.images)
    assert first.images.shape[1:] == (48, 48)
    fewer = real_tiles([one], 1, 48, 7, Augmentation())
    np.testing.assert_array_equal(fewer.images, first.images[: len(fewer)])


def test_unlabelled_pixels_that_look_like_labelled_ones_are_found():
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:80, :80]
    labelled, other = (y - 20) ** 2 + (x - 20) ** 2 < 150, (y - 60) ** 2 + (x - 55) ** 2 < 100
    image = (rng.normal(150, 8, (80, 80)) - 60 * (labelled | other)).astype(np.uint8)
    found = looks_alike(image, labelled.astype(np.int32))
    assert found[other].mean() > 0.8
    assert found[~labelled & ~other].mean() < 0.05
    assert not found[labelled].any()


@pytest.mark.parametrize("look", [CLEAR, FAINT, FEW_ELECTRONS])
def test_particles_on_rough_supports_stand_out_of_them(look):
    seen = 0
    for seed in range(16):
        image, labels = agglomerate_scene(np.random.default_rng([5, seed]), 128, replace(look, radius_px=(3.0, 7.0)))
        assert image.shape == labels.shape == (128, 128)
        if labels.max() >= 3:
            seen += 1
            from scipy import ndimage

            inside = labels > 0
            ring = ndimage.binary_dilation(inside, iterations=6) & ~ndimage.binary_dilation(inside, iterations=2)
            grey = image.astype(float)
            spread = np.median(np.abs(grey[ring] - np.median(grey[ring]))) + 1e-9
            stands_out = abs(grey[inside].mean() - np.median(grey[ring])) / spread
            assert stands_out * np.sqrt(inside.sum()) > 5
    assert seen >= 3


def test_instances_are_matched_at_half_their_union():
    truth = blobs()
    assert instances(truth, truth).recall == 1.0
    shifted = np.roll(truth, 13, axis=0)
    assert instances(truth, shifted).found == 0
    merged = (truth > 0).astype(np.int32)
    result = instances(truth, merged)
    assert (result.true, result.reported) == (3, 1)
    assert result.precision in (0.0, 1.0)
    assert instances(truth, np.zeros_like(truth)).precision == 0.0


def test_boxes_are_matched_one_to_one():
    labels = np.zeros((40, 40), np.int32)
    labels[4:8, 4:8], labels[9:12, 4:8], labels[30:34, 30:34] = 1, 2, 3
    boxes = np.array([[2.0, 2.0, 13.0, 10.0], [20.0, 20.0, 25.0, 25.0]])
    precision, recall, f1 = matched_boxes(labels, boxes)
    assert (precision, recall) == (1 / 3, 1 / 2)
    assert f1 == 2 / 5
    assert matched_boxes(np.zeros_like(labels), boxes) == (0.0, 0.0, 0.0)


def test_the_offset_of_an_edge_is_that_of_discs():
    y, x = np.mgrid[:200, :200]
    disc = lambda r: (y - 99.5) ** 2 + (x - 100.2) ** 2 < r * r  # noqa: E731
    for more in (-3.0, 0.0, 2.0):
        expected = ((60 + more) ** 2 - 60**2) / 120
        assert abs(edge_offset(disc(60), disc(60 + more)) - expected) < 0.06


def test_f2_weighs_recall_twice():
    half = Instances(found=5, true=10, reported=10)
    assert half.f2 == half.recall == half.precision == 0.5
    recall, precision = Instances(9, 10, 18), Instances(9, 18, 10)
    assert (recall.recall, precision.precision) == (0.9, 0.9)
    assert recall.f2 == 5 * 0.5 * 0.9 / (4 * 0.5 + 0.9)
    assert recall.f2 > precision.f2
    assert Instances(0, 0, 0).f2 == 0.0


def test_the_operating_point_is_where_particles_are_found_whole():
    """A model whose probability is 0.8 in particles, 0.45 around them and in specks: between the two it is right."""
    import torch

    class Known:
        name, threshold, seed = "known", 0.1, 0.0
        reduced, sees = False, "prepared"

        def probabilities(self, images):
            bright = images > images.amax() / 2
            around = torch.nn.functional.max_pool2d(bright.float(), 15, 1, 7) > 0
            p = torch.where(around, 0.45, 0.05)
            p[:, 56:62, 50:60] = 0.45
            return torch.where(bright, 0.8, p)

    labels = blobs()
    labels[labels == 2] = 0
    image = (100 + 100 * (labels > 0) + np.random.default_rng(0).normal(0, 3, labels.shape)).astype(np.uint8)
    one = Labelled(image, labels, np.zeros(labels.shape, np.bool_), "a", "a")
    model = Known()
    threshold, seed, scores = operating_point(model, [one])
    assert (threshold, seed) == (model.threshold, model.seed)
    assert 0.45 <= threshold < 0.8
    assert scores[f"{threshold}/{seed}"] == max(scores.values()) == 1.0
    assert scores["0.3/0.3"] < 0.5
    assert scores["0.3/0.6"] < 0.9  # the specks are gone, what is around is not
