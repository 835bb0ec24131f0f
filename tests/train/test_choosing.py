"""What the choice of pieces learns from, and that it learns it: `insitu.train.choosing`."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from insitu.models.choice import Choice, grow
from insitu.pixels.pieces import chosen
from insitu.train import choosing
from insitu.train.labelled import Labelled

SIDE = 128


def world(seed):
    """Clear and faint discs, and as many streaks; a map that is sure of neither."""
    rng = np.random.default_rng(seed)
    labels, values = np.zeros((SIDE, SIDE), np.int32), np.full((SIDE, SIDE), -5.0)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    for k, (y, x) in enumerate([(24, 24), (24, 64), (24, 104), (64, 24)], start=1):
        inside = (rows - y) ** 2 + (columns - x) ** 2 <= rng.uniform(6, 10) ** 2
        labels[inside], values[inside] = k, rng.uniform(-2.0, 3.0)
    for y in (60, 84, 100, 116):
        values[y : y + 3, 50:120] = rng.uniform(-2.0, 3.0)
    image = (values + rng.normal(0, 0.3, values.shape)).astype(np.float32)
    smooth = ndimage.gaussian_filter(values, 0.7).astype(np.float32)
    one = Labelled(image, labels, np.zeros(labels.shape, np.bool_), "worlds", str(seed))
    return grow(smooth, image, 0.3), one


def test_overlaps_are_those_of_the_pixels():
    tree, one = world(0)
    found = choosing.example(tree, one)
    assert found.particles == 4
    for labels, first in tree.levels:
        for k in range(1, labels.max() + 1):
            piece = labels == k
            iou = [(piece & (one.labels == j)).sum() / (piece | (one.labels == j)).sum() for j in range(1, 5)]
            assert found.overlap[first + k - 1] == pytest.approx(max(iou))
            if max(iou) > 0:
                assert found.particle[first + k - 1] == 1 + np.argmax(iou)


def test_particles_that_touch_count_together():
    labels = np.zeros((60, 60), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    values = np.where(labels > 0, 3.0, -5.0).astype(np.float32)
    one = Labelled(values, labels, np.zeros(labels.shape, np.bool_), "pairs", "0")
    found = choosing.example(grow(values, values, 0.1), one)
    assert (found.overlap == 0.5).all()
    assert (found.together == 1.0).all()
    assert (found.target == choosing.GROUP).all()


def test_what_is_not_known_teaches_nothing_unless_it_matches():
    tree, one = world(1)
    everywhere = np.ones(one.labels.shape, np.bool_)
    found = choosing.example(tree, Labelled(one.image, one.labels, everywhere, one.group, one.name))
    assert found.teaches.any()
    assert (found.overlap[found.teaches] >= 0.5).all()


def test_discs_are_told_from_streaks_and_twice_alike(monkeypatch):
    monkeypatch.setattr(choosing, "STEPS", 150)
    learned = [replace(choosing.example(*world(k)), kind="ab"[k % 3 == 0]) for k in range(12)]
    tensors, again = choosing.learn(learned), choosing.learn(learned)
    assert tensors.keys() == again.keys()
    assert all((tensors[k] == again[k]).all() for k in tensors)
    assert min(abs(float(tensors["least"][0]) - one) for one in choosing.LEAST) < 1e-6
    choice = Choice(tensors)
    hits = reported = 0
    for seed in range(50, 56):
        new = choosing.example(*world(seed))
        taken = chosen(choice.scores(new.tree), new.tree.parent, choice.least)
        hits += np.unique(new.particle[taken & (new.overlap >= 0.5)]).size
        reported += taken.sum()
    assert hits >= 22  # of 24
    assert hits / reported > 0.85
