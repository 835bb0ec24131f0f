"""Scores against scikit-learn-like brute force, pycocotools and scipy, on random images."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import skimage.filters
import skimage.measure
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.scores import Confusion, Objects, Sweep, confusion, distribution_distance, objects


def labels(seed: int, shape=(40, 50), n=9):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.uint16)
    for k in range(n):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(2, 7)
        image[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = 3 * k + 1
    return image


def moved(image, seed):
    return np.roll(image, np.random.default_rng(seed).integers(-2, 3, 2), (0, 1))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_every_threshold_of_a_sweep_is_that_of_its_mask(seed):
    rng = np.random.default_rng(seed)
    p = np.where(rng.random((9, 11)) < 0.3, rng.integers(0, 257, (9, 11)) / 256, rng.random((9, 11))).astype(np.float32)
    truth, counted = rng.random((9, 11)) < rng.random(), rng.random((9, 11)) < 0.8
    sweep = Sweep.of(p, truth, counted)
    curves = sweep.curves()
    for k in range(0, 256, 5):
        direct = confusion(truth, p > k / 256, counted)
        assert sweep.at(k / 256) == direct
        assert (curves["tp"][k], curves["fp"][k]) == (direct.tp, direct.fp)
    assert sweep.at(1.0).tp == sweep.at(1.0).fp == 0


def test_scores_of_a_mask_are_those_of_the_book():
    rng = np.random.default_rng(0)
    truth, found = rng.random((30, 30)) < 0.4, rng.random((30, 30)) < 0.3
    score = confusion(truth, found)
    assert score.accuracy == (truth == found).mean()
    assert score.precision == truth[found].mean()
    assert score.recall == found[truth].mean()
    assert score.iou == (truth & found).sum() / (truth | found).sum()
    assert score.f1 == pytest.approx(2 / (1 / score.precision + 1 / score.recall))
    nothing = confusion(truth & False, found & False)
    assert np.isnan([nothing.f1, nothing.precision, nothing.recall, nothing.iou]).all()
    assert nothing.accuracy == 1
    assert Confusion(1, 2, 3, 4) + Confusion(1, 1, 1, 1) == Confusion(2, 3, 4, 5)


def test_sweeps_of_images_add_up():
    rng = np.random.default_rng(1)
    p, truth = rng.random((2, 20, 20)), rng.random((2, 20, 20)) < 0.5
    both = Sweep.of(p, truth)
    sum_ = Sweep.none() + Sweep.of(p[0], truth[0]) + Sweep.of(p[1], truth[1])
    assert (both.inside == sum_.inside).all()
    assert (both.outside == sum_.outside).all()
    assert np.isnan(Sweep.none().best())


def test_otsu_is_that_of_scikit_image():
    rng = np.random.default_rng(2)
    p = np.concatenate([rng.beta(2, 8, 5000), rng.beta(9, 2, 1500)])
    assert Sweep.of(p, p > 2).otsu() == pytest.approx(skimage.filters.threshold_otsu(p, nbins=256), abs=2 / 256)
    assert np.isnan(Sweep.of(np.zeros(9), np.zeros(9)).otsu())


def test_the_best_threshold_is_the_middle_of_the_best():
    p = np.array([0.1, 0.1, 0.9, 0.9])
    assert Sweep.of(p, p > 0.5).best() == pytest.approx(0.5, abs=0.01)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_pairs_are_those_of_brute_force(seed):
    truth, found = labels(seed), moved(labels(seed), seed) * np.uint16(2)
    score = objects(truth, found)
    ious = []
    for a in np.unique(truth[truth > 0]):
        for b in np.unique(found[found > 0]):
            iou = ((truth == a) & (found == b)).sum() / ((truth == a) | (found == b)).sum()
            ious += [iou] if iou > 0.5 else []
    assert score.counts.tp == len(ious)
    assert sorted(score.iou[score.partner >= 0]) == pytest.approx(sorted(ious))
    assert score.true_area.tolist() == [int((truth == a).sum()) for a in np.unique(truth[truth > 0])]
    pixels, direct = score.pixels, confusion(truth, found)
    assert (pixels.tp, pixels.fp, pixels.fn) == (direct.tp, direct.fp, direct.fn)
    n, m = len(score.true_area), len(score.found_area)
    assert score.panoptic_quality == pytest.approx(sum(ious) / (len(ious) + (n + m - 2 * len(ious)) / 2))


def test_ap50_is_that_of_coco():
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools import mask as rle
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(4)
    truths, results, total = [], [], Objects.none()
    for image in range(6):
        truth = labels(image)
        found = np.where(rng.random(truth.shape) < 0.93, moved(labels(image, n=12), image), 0)
        values = np.unique(found[found > 0])
        sure = rng.permutation(1000)[: len(values)] / 1000 + image * 1e-5
        total = total + objects(truth, found, confidence=sure)
        for kept, out in ((truth, truths), (found, results)):
            for k, value in enumerate(np.unique(kept[kept > 0])):
                code = rle.encode(np.asfortranarray((kept == value).astype(np.uint8)))
                row = {"image_id": image, "category_id": 1, "segmentation": code, "area": int((kept == value).sum())}
                out.append(
                    row
                    | {"id": len(out) + 1, "iscrowd": 0, "bbox": list(rle.toBbox(code))}
                    | {"score": float(sure[k]) if kept is found else 1.0}
                )
    api = coco.COCO()
    api.dataset = {
        "info": {},
        "images": [{"id": k, "height": 40, "width": 50} for k in range(6)],
        "annotations": truths,
        "categories": [{"id": 1}],
    }
    api.createIndex()
    judge = COCOeval(api, api.loadRes(results), "segm")
    judge.params.iouThrs = np.array([np.nextafter(0.5, 1)])
    judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e9]], ["all"]
    judge.evaluate()
    judge.accumulate()
    expected = judge.eval["precision"][0, :, 0, 0, -1].mean()
    assert 0.05 < expected < 0.95
    assert total.ap50 == pytest.approx(expected, abs=1e-9)


def test_where_nothing_is_known_nothing_is_judged():
    truth, found = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    truth[2:8, 2:8] = 5
    found[2:8, 2:8], found[12:18, 20:26], found[12:18, 2:8] = 1, 2, 3
    counted = np.ones(truth.shape, np.bool_)
    counted[10:, 15:] = False
    score = objects(truth, found, counted=counted)
    assert (score.counts, score.aside) == (Confusion(1, 1, 0), 1)


def test_small_particles_can_be_left_out_afterwards():
    truth, found = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    truth[2:8, 2:8], truth[2:4, 20:22] = 1, 2
    found[2:8, 2:8], found[2:4, 20:22], found[15:17, 3:5] = 1, 2, 3
    score = objects(truth, found)
    assert score.counts == Confusion(2, 1, 0)
    assert score.without_small(5).counts == Confusion(1, 0, 1)
    assert score.without_small(5).pixels == Confusion(36, 0, 4)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (30, 30), (7, 50)])
def test_the_distance_of_distributions_is_scipys(n, m):
    rng = np.random.default_rng(n)
    a, b = rng.normal(10, 2, n), rng.normal(11, 3, m)
    assert distribution_distance(a, b) == pytest.approx(scipy.stats.wasserstein_distance(a, b))
    assert np.isnan(distribution_distance(a, b[:0]))


def test_diameters_twice_as_large_are_found_to_be():
    truth, found = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    truth[10:20, 10:20] = 1
    found[9:20, 9:20] = 1
    score = objects(truth, found)
    assert score.diameter_bias_percent == pytest.approx(10)
    assert score.diameter_rms_percent == pytest.approx(10)
    assert score.size_distance_px == pytest.approx(np.sqrt(4 / np.pi))


def test_any_numbers_name_particles():
    truth = labels(3).astype(np.int64)
    few, many = objects(truth, truth), objects(truth, truth * 10**12)
    assert few.counts == many.counts == Confusion(len(np.unique(truth)) - 1, 0, 0)
    assert objects(truth > 0, truth > 0).counts.tp == 1
    with pytest.raises(ValueError, match="≥ 0"):
        objects(truth, -truth)


def test_nothing_gives_nan_and_wrong_input_is_refused():
    none = Objects.none()
    assert np.isnan(none.as_dict()["f1"])
    assert np.isnan([none.ap50, none.panoptic_quality, none.size_distance_px]).all()
    with pytest.raises(ValueError, match="shape"):
        confusion(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="integers"):
        objects(np.zeros((2, 2)), np.zeros((2, 2)))
