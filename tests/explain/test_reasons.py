"""Saliency, Grad-CAM and occlusion against slow forms and captum; the receptive field against the layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from insitu.errors import CommandError
from insitu.explain import attribution
from insitu.explain.field import effective, empirical
from insitu.models.architectures import anatomy, build
from insitu.train.loop import seeded


@pytest.fixture(scope="module")
def case():
    net = seeded(lambda: build("resunet", {"pools": [2, 2]}), 3).eval()
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((32, 40)).astype(np.float32))
    region = torch.zeros(32, 40, dtype=torch.bool)
    region[12:18, 20:27] = True
    return net, image, region


def test_saliency_is_the_slope(case):
    net, image, region = case
    found = attribution.saliency(net, image, region)
    # in float64, where a difference quotient is exact enough
    wide = seeded(lambda: build("resunet", {"pools": [2, 2]}), 3).eval().double()
    for y, x in ((14, 22), (10, 20), (2, 3)):
        moved = []
        for step in (-1e-6, 1e-6):
            other = image.double()
            other[y, x] += step
            with torch.inference_mode():
                moved.append(float(attribution.logit(wide, other[None, None])[0][region].sum()))
        assert found[y, x] == pytest.approx(abs(moved[1] - moved[0]) / 2e-6, rel=1e-3, abs=1e-6)


def test_saliency_and_grad_cam_are_those_of_captum(case):
    captum = pytest.importorskip("captum.attr")
    _, image, region = case
    largest = []
    for seed in range(6):
        net = seeded(lambda: build("resunet", {"pools": [2, 2]}), seed).eval()

        def answer(x, net=net):
            return attribution.logit(net, x)[:, region].sum(dim=1)

        x = image[None, None].clone().requires_grad_()
        theirs = captum.Saliency(answer).attribute(x, abs=True)[0, 0].detach().numpy()
        np.testing.assert_allclose(attribution.saliency(net, image, region), theirs, atol=1e-6)
        for layer in ("down.0", "bridge", "up.1"):
            cam = captum.LayerGradCam(answer, net.get_submodule(layer)).attribute(x, relu_attributions=True)
            full = captum.LayerAttribution.interpolate(cam, image.shape, "bilinear")[0, 0].detach().numpy()
            np.testing.assert_allclose(attribution.grad_cam(net, image, region, layer), full, atol=1e-5)
            largest.append(full.max())
    # what speaks against a particle is cut off: some of the pictures are black, not all
    assert max(largest) > 0


def test_occlusion_is_the_fall_of_the_answer(case):
    net, image, region = case
    side, step = 8, 4
    found = attribution.occlusion(net, image, region, side=side, step=step, reach=100)
    total, times = np.zeros(image.shape), np.zeros(image.shape)
    with torch.inference_mode():
        whole = attribution.logit(net, image[None, None])[0][region].mean()
        for y in range(0, 32 - side + 1, step):
            for x in range(0, 40 - side + 1, step):
                hidden = image.clone()
                hidden[y : y + side, x : x + side] = 0.0
                fall = whole - attribution.logit(net, hidden[None, None])[0][region].mean()
                total[y : y + side, x : x + side] += float(fall)
                times[y : y + side, x : x + side] += 1
    np.testing.assert_allclose(found, total / times, atol=1e-4)


def test_squares_out_of_reach_are_not_tried(case):
    net, image, region = case
    found = attribution.occlusion(net, image, region, side=4, step=4, reach=3)
    assert found[14, 22] != 0.0
    assert not found[:4].any()
    assert not found[:, :8].any()


def test_grad_cam_names_the_modules(case):
    with pytest.raises(CommandError, match="no module 'nowhere'"):
        attribution.grad_cam(*case, "nowhere")


def test_the_gradient_leaves_the_network_as_it_was(case):
    net, image, region = case
    before = {k: v.clone() for k, v in net.state_dict().items()}
    attribution.saliency(net, image, region)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [("shallow", {}), ("shallow", {"kernel": 7}), ("resunet", {"pools": [2, 2]}), ("resunet", {"pools": [2]})],
)
def test_networks_see_no_farther_than_their_layers_allow_and_almost_as_far(architecture, parameters):
    module = seeded(lambda: build(architecture, parameters), 1).eval()
    found, stated = empirical(module, seed=1), anatomy(architecture, parameters)
    assert found.complete
    assert 0.75 * stated.receptive_field_px <= found.width_px <= stated.widest_field_px
    assert found.effective_px <= found.width_px + 2
    assert found.weight.sum() == pytest.approx(1.0)


def test_positive_weights_see_exactly_as_far_as_their_layers_allow():
    module = build("resunet", {"pools": [2, 2]}).eval()
    with torch.no_grad():
        for p in module.parameters():
            p.abs_().add_(0.01)
        module.head.weight[0] = 0.0
    stated = anatomy("resunet", {"pools": [2, 2]})
    found = empirical(module, [torch.full((128, 128), 1.0)], seed=0, samples=16)
    # all values are equal, so max-pooling takes the first of each window: one px less at the far side
    assert stated.widest_field_px - 4 <= found.width_px <= stated.widest_field_px


def test_the_effective_side_of_a_known_weight():
    weight = np.zeros((11, 11))
    weight[5, 5] = 90.0
    weight[3:8, 3:8] += 6.0 / 25
    weight += 4.0 / 121
    assert effective(weight, 0.9) == 1.0
    assert effective(weight, 0.95) == 5.0
    assert effective(weight, 1.0) == 11.0
