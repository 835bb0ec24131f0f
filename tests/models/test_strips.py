"""Networks in few passes on a CPU: the passes against numpy, whole networks against their layers one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from insitu.models import strips as unet_strips
from insitu.models import words
from insitu.models.heads import particle_logit
from insitu.models.last import affine, last_layer
from insitu.models.onednn import in_one, reduced
from insitu.models.pairs import between_pairs, in_pairs, shallow_pairs
from insitu.models.shallow import Shallow
from insitu.models.strips import strips
from insitu.models.unet import UNet


def in_bfloat16():
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.fixture
def operators():
    with torch.inference_mode(), in_bfloat16():
        if not reduced(torch.zeros(1)):
            pytest.skip("this processor or build of PyTorch has no bfloat16 convolutions of oneDNN")
        yield


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def whole_numbers(generator, *shape):
    """Maps whose products with eighths, and sums of these, are exact in float32: contracted or not."""
    values = generator.integers(-255, 256, shape).astype(np.float32)
    return channels_last(torch.from_numpy(values).to(torch.bfloat16))


def eighths(generator, channels):
    return tuple(torch.from_numpy(generator.integers(-20, 21, channels).astype(np.float32) / 8) for _ in range(2))


def normed(maps, factor, shift):
    return (maps.double() * factor[:, None, None] + shift[:, None, None]).to(torch.bfloat16)


def written(*shape):
    return np.zeros(shape, np.uint32)


SIZES = [(4, 2, 2), (8, 6, 200), (12, 4, 46), (16, 2, 130), (32, 4, 34)]


@pytest.mark.parametrize(("channels", "height", "width"), SIZES)
@pytest.mark.parametrize("given", ["bfloat16", "float32"])
def test_norm_and_pooling_in_one_pass(channels, height, width, given):
    generator = np.random.default_rng(channels)
    maps = whole_numbers(generator, 1, channels, height, width)
    factor, shift = eighths(generator, channels)
    out, pooled = written(height, width * channels // 2), written(height // 2, width * channels // 4)
    one_pass, rows = words.norm_and_pool, words.words_of(maps)
    if given == "float32":
        one_pass, rows = words.round_and_pool, maps.float().permute(0, 2, 3, 1).reshape(height, -1).numpy()
    one_pass(rows, words.tiled(factor, shift), words.quads(channels), out, pooled)
    expected = normed(maps, factor, shift)
    assert torch.equal(words.maps_of(out, channels), expected)
    assert torch.equal(words.maps_of(pooled, channels), nn.functional.max_pool2d(expected.float(), 2).bfloat16())


@pytest.mark.parametrize(("channels", "height", "width"), SIZES)
@pytest.mark.parametrize("beside", [4, 16])
def test_norm_and_concatenation_in_one_pass(channels, height, width, beside):
    generator = np.random.default_rng(channels)
    maps, skip = (whole_numbers(generator, 1, c, height, width) for c in (channels, beside))
    factor, shift = eighths(generator, channels)
    out = written(height, width * (channels + beside) // 2)
    kinds = words.quads(channels), words.quads(beside)
    words.norm_and_join(words.words_of(maps), words.tiled(factor, shift), words.words_of(skip), kinds, out)
    expected = torch.cat([normed(maps, factor, shift), skip], dim=1)
    assert torch.equal(words.maps_of(out, channels + beside), expected)


def test_the_difference_of_two_maps():
    maps = channels_last(torch.randn(1, 2, 6, 37).to(torch.bfloat16))
    out = np.empty((6, 37), np.float32)
    words.difference(words.words_of(maps), out)
    assert np.array_equal(out, maps[0, 1].float() - maps[0, 0].float())


@pytest.mark.parametrize("layer", [nn.Conv2d(24, 8, 3, padding=1), nn.Conv2d(1, 8, 5, padding=2, bias=False)], ids=str)
def test_pairs_of_pixels_are_the_convolution(operators, layer):
    torch.manual_seed(0)
    layer = layer.requires_grad_(requires_grad=False)
    x = channels_last(torch.randn(1, layer.in_channels, 12, 30))
    beyond = layer.padding[0]
    above = channels_last(nn.functional.pad(x, (0, 0, beyond, beyond)))
    found = in_one(in_pairs(layer, torch.float32), above, 0.1, torch.float32)
    expected = in_one(layer, x, 0.1, torch.float32)
    found = found.permute(0, 2, 3, 1).reshape(1, 12, 30, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def trained(levels=(8, 16), up=(16, 16), **options):
    """A UNet whose norms have something to do."""
    torch.manual_seed(3)
    net = UNet(levels, up=up, **options)
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out" if isinstance(part, nn.ConvTranspose2d) else "fan_in")
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.3)
            nn.init.normal_(part.bias, 0.0, 0.3)
            part.running_mean.normal_(0.0, 0.3)
            part.running_var.uniform_(0.5, 2.0)
    return net.eval().requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)


OPTIONS = [
    {}, {"norm": "none"}, {"slope": 0.0}, {"bare_head": True}, {"levels": (4, 8, 12), "up": (8, 4, 12)},
    {"levels": (8, 16, 32, 64), "up": (32, 32, 16, 16)},
]  # fmt: skip


def in_float32(net, x):
    with torch.autocast("cpu", enabled=False):
        maps = net(x)
    return maps[:, 1] - maps[:, 0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rows", [16, 32])
def test_strips_are_the_layers_one_by_one(operators, monkeypatch, options, rows):
    monkeypatch.setattr(unet_strips, "ROWS", rows)
    net = trained(**options)
    x = channels_last(torch.randn(2, 1, 80, 48))
    exact, layers = in_float32(net, x), last_layer(net)(net.features(x))
    found = strips(net)(x)
    wrong, usual = ((p - exact).abs() for p in (found, layers))
    assert found.dtype == torch.float32
    assert exact.std() > 0.02
    assert wrong.mean() < 1.05 * usual.mean()
    assert wrong.max() < min(exact.std(), 3.0 * usual.max())
    border = torch.ones_like(exact, dtype=torch.bool)
    border[:, 2:-2, 2:-2] = False
    assert wrong[border].mean() < 1.3 * usual[border].mean()


@pytest.mark.parametrize("size", [(16, 16), (48, 32), (96, 16)])
def test_a_frame_is_the_same_in_any_batch_and_strip(operators, monkeypatch, size):
    net = trained()
    x = torch.randn(3, 1, *size)
    together = strips(net)(channels_last(x))
    alone = torch.cat([strips(net)(channels_last(one[None])) for one in x])
    assert together.shape == (3, *size)
    assert torch.equal(together, alone)
    monkeypatch.setattr(unet_strips, "ROWS", 16)
    torch.testing.assert_close(strips(net)(channels_last(x)), together, atol=0.05, rtol=0.01)


def test_strips_leave_the_network_as_it_was(operators):
    net = trained()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    strips(net)(torch.randn(1, 1, 32, 32))
    assert all(
        value.dtype == before[name].dtype and value.equal(before[name]) for name, value in net.state_dict().items()
    )


OTHERS = [
    {"second": True}, {"kernel": 5}, {"norm": "instance"}, {"levels": (6, 16)}, {"last": 0}, {"last": 16},
    {"classes": 3}, {"head": "sigmoid"}, {"dilations": (2, 1)}, {"levels": (8,), "up": (8,)},
]  # fmt: skip


@pytest.mark.parametrize("options", OTHERS, ids=str)
def test_networks_of_another_form_are_left_alone(options):
    assert strips(trained(**options)) is None
    assert shallow_pairs(trained(**options)) is None


@pytest.mark.parametrize(("filters", "kernel"), [(32, 9), (4, 5), (3, 13)])
@pytest.mark.parametrize("width", [36, 37])
def test_shallow_is_its_layers_one_by_one(operators, filters, kernel, width):
    torch.manual_seed(1)
    net = Shallow(filters, kernel=kernel).eval().requires_grad_(requires_grad=False)
    x = channels_last(torch.randn(2, 1, 50, width))
    found = shallow_pairs(net)(x)
    expected = particle_logit(net(x).float(), "softmax")
    assert found.shape == (2, 50, width)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.01)
    assert torch.equal(found[1], shallow_pairs(net)(x[1:])[0])


@pytest.mark.parametrize("options", [{"kernel": 7}, {"classes": 3}, {"head": "sigmoid"}], ids=str)
def test_shallow_of_another_form_is_left_alone(options):
    assert shallow_pairs(Shallow(**{"filters": 32, **options})) is None


def test_pairs_of_pixels_as_channels_are_the_convolution(operators):
    torch.manual_seed(0)
    layer, x = nn.Conv2d(1, 4, 9, padding=4), torch.randn(1, 1, 20, 30)
    with torch.autocast("cpu", enabled=False):
        pairs = between_pairs(layer, torch.float32)(x.reshape(1, 20, 15, 2).permute(0, 3, 1, 2))
        found = pairs.permute(0, 2, 3, 1).reshape(1, 20, 30, 4).permute(0, 3, 1, 2)
        torch.testing.assert_close(found, layer(x), atol=1e-5, rtol=1e-5)


def test_a_norm_is_a_factor_and_a_shift():
    net = trained()
    norm = net.down[0].norm
    x = torch.randn(1, 8, 5, 5)
    factor, shift = affine(norm, 8)
    torch.testing.assert_close(x * factor[:, None, None] + shift[:, None, None], norm(x))
    assert affine(nn.Identity(), 3)[0].tolist() == [1.0, 1.0, 1.0]
