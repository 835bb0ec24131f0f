"""Layers of a network done in one pass on a CPU in bfloat16: the same function, closer to float32 than one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from insitu import models
from insitu.models.heads import particle_logit
from insitu.models.last import last_layer
from insitu.models.onednn import activated, reduced
from insitu.models.unet import UNet

NEAREST = 2.0**-8  # largest relative error of rounding to bfloat16


def in_bfloat16():
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.fixture
def operators():
    with torch.no_grad(), in_bfloat16():
        if not reduced(torch.zeros(1)):
            pytest.skip("this processor or build of PyTorch has no bfloat16 convolutions of oneDNN")


def trained(**options):
    """A UNet whose norms have something to do."""
    torch.manual_seed(3)
    net = UNet((8, 16), up=(16, 16), **options)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.3)
            nn.init.normal_(part.bias, 0.0, 0.3)
            part.running_mean.normal_(0.0, 0.3)
            part.running_var.uniform_(0.5, 2.0)
    return net.eval().requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)


LAYERS = [
    nn.Conv2d(1, 32, 9, padding=4),
    nn.Conv2d(8, 16, 3, padding=2, dilation=2),
    nn.Conv2d(16, 8, 3, padding=1, bias=False),
    nn.ConvTranspose2d(8, 16, 3, stride=2, padding=1, output_padding=1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0])
def test_one_pass_is_the_layer_and_its_activation(operators, layer, slope):
    torch.manual_seed(0)
    x = torch.randn(1, layer.in_channels, 20, 28).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    layer = layer.to(memory_format=torch.channels_last)
    layer.weight.data = layer.weight.data.to(torch.bfloat16).float()  # what is left is the rounding of sums
    with torch.no_grad():
        expected = nn.functional.leaky_relu(layer(x.float()), slope)
        with in_bfloat16():
            found = activated(layer, x, slope)
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    near = expected.abs().max() * NEAREST  # the bias is rounded, too
    assert (found.float() - expected).abs().max() < near


def test_the_first_layer_keeps_the_digits_of_the_image(operators):
    torch.manual_seed(0)
    layer, x = LAYERS[0], 20.0 + torch.rand(1, 1, 40, 40)
    with torch.no_grad():
        expected = layer(x)
        with in_bfloat16():
            exact, rounded = (activated(layer, x, 1.0, exact=e).float() for e in (True, False))
    assert ((exact - expected).abs() <= NEAREST * expected.abs() + 1e-6).all()
    assert (exact - expected).abs().mean() < 0.7 * (rounded - expected).abs().mean()


def test_in_float32_and_while_learning_nothing_changes():
    layer, x = LAYERS[1], torch.randn(1, 8, 20, 20)
    plain = nn.functional.leaky_relu(layer(x), 0.01)
    assert activated(layer, x, 0.01).grad_fn is not None
    with in_bfloat16():
        assert not reduced(x)
    with torch.no_grad():
        assert not reduced(x)
        assert torch.equal(activated(layer, x, 0.01), plain)


@pytest.mark.parametrize("options", [{}, {"norm": "none"}, {"bare_head": True}, {"slope": 0.3}], ids=str)
def test_the_last_layer_is_that_of_the_network(options):
    net = trained(**options)
    last = last_layer(net)
    x = torch.randn(2, 1, 36, 44)
    with torch.no_grad():
        maps = net.features(x).to(torch.bfloat16)
        expected = particle_logit(net.head.double()(maps.double()), "softmax")
        found = last(maps.contiguous(memory_format=torch.channels_last))
    assert found.shape == (2, 36, 44)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.01


@pytest.mark.parametrize("options", [{"classes": 3}, {"head": "sigmoid"}, {"last": 0}, {"last": 16}], ids=str)
def test_a_last_layer_of_another_form_is_left_alone(options):
    assert last_layer(trained(**options)) is None


def test_without_numba_or_operators_a_network_gives_the_same_but_for_rounding(operators, monkeypatch):
    net = models.load("unet")
    x = torch.randn(1, 1, 64, 96).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        exact = net.from_inputs(x)
        with in_bfloat16():
            fast = net.from_inputs(x)
            monkeypatch.setattr(net, "_logits", None)
            without_numba = net.from_inputs(x)
            monkeypatch.setattr("insitu.models.onednn._operators", lambda: False)
            one_by_one = net.from_inputs(x)
    wrong = [float((p - exact).abs().mean()) for p in (fast, without_numba, one_by_one)]
    assert wrong[0] < wrong[1] < 1.3 * wrong[2]
    assert wrong[2] < 0.01
