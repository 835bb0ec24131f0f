"""Architectures as published, and the weights that are shipped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from insitu import models
from insitu.models.checkpoint import build
from insitu.models.network import CLIP, Network, condition
from insitu.models.resunet import ResUNet

SHIPPED = models.weights()


@pytest.mark.parametrize(
    ("architecture", "parameters", "count"),
    [
        ("shallow", {}, 2_690),
        ("shallow", {"filters": 1}, 86),
        ("unet", {}, 86_590),
        ("resunet", {}, 8_074),
        ("resunet", {"pools": (8, 8)}, 8_074),
        ("resunet", {"pools": (2, 2, 2, 2)}, 130_682),
    ],
)
def test_parameter_counts_are_the_published_ones(architecture, parameters, count):
    assert sum(p.numel() for p in build(architecture, parameters).parameters()) == count


@pytest.mark.parametrize(("pools", "pixels"), [((2, 2), 44), ((4, 4), 120), ((8, 8), 392), ((2, 2, 2, 2), 200)])
def test_the_receptive_field_is_the_published_one_and_no_larger(pools, pixels):
    net = ResUNet(pools).eval()
    assert net.receptive_field == pixels
    image = torch.zeros(1, 1, 512, 512, requires_grad=True)
    centre = 256
    # a network of positive weights sees all it can see
    with torch.no_grad():
        for p in net.parameters():
            p.abs_()
    (net(image + 1.0)[0, :, centre, centre].sum()).backward()
    rows = torch.nonzero(image.grad[0, 0].abs().sum(1)).squeeze(1)
    assert int(rows.max() - rows.min()) + 1 <= pixels


@pytest.mark.parametrize("architecture", ["shallow", "unet", "resunet"])
def test_odd_sizes_go_through_segment(architecture):
    from insitu.options import SegmentOptions
    from insitu.segment import segment
    from insitu.types import Prepared

    model = Network(build(architecture), architecture, {})
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 101, 203)).astype(np.float32))
    found = segment(Prepared(images, np.ones((1, 101, 203), np.uint8)), model, SegmentOptions())
    assert found[0].runs.shape == (101, 203)


def test_conditioning_flattens_and_clips():
    rng = np.random.default_rng(0)
    slope = np.linspace(-3, 3, 128)[:, None]
    image = (slope + 0.5 * rng.standard_normal((128, 140))).astype(np.float32)
    image[60, 60] = 1e6
    out = condition(torch.from_numpy(image))
    assert float(out[60, 60]) == CLIP[1]
    rest = out.numpy().copy()
    rest[60, 60] = 0.0
    assert abs(rest.mean()) < 0.05
    assert rest.std() == pytest.approx(1.0, abs=0.05)
    assert abs(rest[:20].mean() - rest[-20:].mean()) < 0.15


def test_all_three_networks_are_shipped():
    assert {w.split("-")[0] for w in SHIPPED} == {"shallow", "unet", "resunet"}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_reproduce_their_reference_output(name):
    from insitu.train.reference import check_image

    model = models.load(name)
    with torch.inference_mode():
        p = model.probabilities(torch.from_numpy(check_image())[None])[0, 32, ::5].numpy()
    np.testing.assert_allclose(p, model.card["reference"], atol=1e-5)
    assert p.max() > 0.5 > p.min()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_small_and_their_cards_complete(name):
    folder = models.WEIGHTS_FOLDER
    assert (folder / f"{name}.safetensors").stat().st_size < 3_000_000
    card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    for key in ("data", "sha256", "polarity", "threshold", "seed", "parameter_count", "licence"):
        assert card[key]
    if "attribution" in card:  # real images are among what it learned from
        assert all(any(licence in source for licence in ("MIT", "CC-BY-4.0")) for source in card["attribution"])
        assert not any("GPL" in source for source in card["attribution"])
        assert {"network", "level", "point"} <= set(card["held_out"])
        assert "choice" not in card or f"level, {card['choice']}" in card["held_out"]
        assert all("seed" in recipe for recipe in (*card["recipes"], card["further"]))
    else:
        assert card["particles_px"]
        assert card["pixel_iou_at_threshold"]
        assert "seed" in card["recipe"]
        assert "no real image" in card["data"]
    readable = (folder / f"{name}.md").read_text(encoding="utf-8")
    assert card["sha256"] in readable


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_find_discs_of_both_polarities(name):
    from insitu.options import PrepareOptions, SegmentOptions
    from insitu.prepare import prepare, reference
    from insitu.runs import components, paint
    from insitu.segment import segment

    y, x = np.mgrid[:256, :256]
    truth = np.zeros((256, 256), bool)
    for cy, cx, r in ((50, 60, 14), (130, 190, 22), (200, 70, 17)):
        truth |= np.hypot(y - cy, x - cx) < r
    noise = 8.0 * np.random.default_rng(0).standard_normal(truth.shape)
    for sign in (-1, 1):
        image = (120 + sign * 50 * truth + noise).astype(np.uint8)
        taken = reference([(0, image)], PrepareOptions())
        given = prepare(image[None], PrepareOptions(), taken)
        mask = paint(components(segment(given, models.load(name), SegmentOptions())[0].runs)) > 0
        assert (mask & truth).sum() / (mask | truth).sum() > (0.6 if name.startswith("shallow") else 0.85)
