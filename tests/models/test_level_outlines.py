"""Edges at the grey level for particles that a network and the level agree on, and nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from insitu.errors import InputError
from insitu.models.architectures import build
from insitu.models.network import Network
from insitu.models.outlines import at_the_level
from insitu.options import PrepareOptions
from insitu.prepare import prepare, reference


def discs(*places, shape=(160, 160)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    found = np.zeros(shape, np.bool_)
    for cy, cx, r in places:
        found |= (y - cy) ** 2 + (x - cx) ** 2 <= r * r
    return found


def prepared(mask, seed=0):
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(1000.0 + 300.0 * mask, 1.0) + rng.normal(0.0, 20.0, mask.shape)
    frame = image.astype(np.uint16)
    options = PrepareOptions()
    return prepare(frame[None], options, reference([(0, frame)], options, "bright")).input


def said(mask, inside=0.9):
    return torch.from_numpy(np.where(mask, inside, 0.05).astype(np.float32))[None]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("threshold", [0.4, 0.7])
def test_a_ragged_outline_comes_to_lie_at_the_level(threshold):
    truth = discs((50, 50, 20), (110, 100, 16))
    field = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(truth.shape), 3.0)
    ragged = truth | (ndimage.binary_dilation(truth, iterations=7) & (field > 0))
    p = said(ragged)
    found = (at_the_level(prepared(truth), p, threshold)[0] > threshold).numpy()
    assert iou(ragged, truth) < 0.8
    assert iou(found, truth) > 0.93


def test_what_only_one_of_them_finds_stays_as_the_network_says():
    truth = discs((50, 50, 20), (110, 110, 16))
    network = discs((50, 50, 22), (120, 40, 12))  # misses the second disc, and finds one where nothing stands out
    p = said(network)
    found = at_the_level(prepared(truth), p, 0.5)[0]
    apart = discs((120, 40, 20))
    assert torch.equal(found[torch.from_numpy(apart)], p[0][torch.from_numpy(apart)])
    missed = discs((110, 110, 24))
    assert torch.equal(found[torch.from_numpy(missed)], p[0][torch.from_numpy(missed)])
    assert iou((found > 0.5).numpy() & discs((50, 50, 30)), discs((50, 50, 20))) > 0.95


def test_an_outline_of_quite_another_size_is_not_exchanged():
    p = said(discs((80, 80, 40)))
    assert torch.equal(at_the_level(prepared(discs((80, 80, 20))), p, 0.5), p)


def test_the_line_between_two_particles_is_kept():
    truth = discs((80, 60, 20), (80, 101, 20))
    network = truth.copy()
    network[:, 79:82] = False
    touching = ndimage.binary_closing(truth, iterations=2) | truth
    found = (at_the_level(prepared(touching), said(network), 0.5)[0] > 0.5).numpy()
    assert ndimage.label(touching)[1] == 1
    assert ndimage.label(found)[1] == 2


def test_each_frame_is_judged_by_itself():
    first, second = (prepared(discs((60, 60, r)), seed=r)[0] for r in (15, 25))
    p = torch.cat([said(discs((60, 60, 17))), said(discs((60, 60, 24)))])
    both = at_the_level(torch.stack([first, second]), p, 0.5)
    assert torch.equal(both[1:], at_the_level(second[None], p[1:], 0.5))
    assert torch.equal(both[:1], at_the_level(first[None], p[:1], 0.5))


def test_sides_that_are_no_multiple_of_a_cell():
    truth = discs((149, 30, 20), shape=(161, 150))
    found = at_the_level(prepared(truth), said(ndimage.binary_dilation(truth, iterations=3)), 0.5)
    assert found.shape == (1, 161, 150)
    assert iou((found[0] > 0.5).numpy(), truth) > 0.93


def test_a_card_chooses():
    module = build("shallow")
    plain = Network(module, "a", {})
    level = Network(module, "a", {"outline": "level"})
    assert (plain.outline, level.outline) == ("network", "level")
    image = prepared(discs((60, 60, 20)))
    expected = at_the_level(image, plain.probabilities(image), plain.threshold)
    torch.testing.assert_close(level.probabilities(image), expected)
    with pytest.raises(InputError, match="no outline 'sharp'"):
        Network(module, "a", {"outline": "sharp"})
    with pytest.raises(InputError, match="frames = counts"):
        Network(module, "a", {"outline": "level", "input": "maximum"})
