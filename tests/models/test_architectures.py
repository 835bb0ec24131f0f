"""Architectures: published sizes, what a pixel sees, names and parameters, heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from insitu.errors import InputError
from insitu.models.architectures import anatomy, build, defaults, names
from insitu.models.fields import receptive_field, seen_by, widest
from insitu.models.heads import particle_logit

THREE_LEVELS = {"levels": [8, 16, 32], "up": [16, 8, 8], "last": 0, "norm": "none", "slope": 0.0, "bare_head": True}
SMALL = [
    ("shallow", {}),
    ("shallow", {"filters": 1, "kernel": 7}),
    ("hourglass", {}),
    ("unet", {}),
    ("unet", THREE_LEVELS),
    ("unet", {"norm": "none", "dilations": [6, 3, 2, 1]}),
    ("unet", {"second": True, "kernel": 7}),
    ("light_unet", {}),
    ("resunet", {"pools": [2, 4]}),
    ("resunet", {"pools": [2, 2], "dilations": [1, 1, 2]}),
    ("resunet", {"pools": [2, 2], "stem": 2}),
    ("resunet", {"pools": [2, 2], "stem": 2, "local": [4, 8]}),
    ("fcn8s", {"base": 2, "fully": 4}),
    ("fcn8s", {"base": 2, "fully": 0, "dilated": True}),
]


@pytest.mark.parametrize(
    ("architecture", "parameters", "count", "mac"),
    [
        ("shallow", {}, 2_690, 2_656),
        ("shallow", {"filters": 1}, 86, 83),
        ("unet", {}, 86_590, 4_912),
        ("light_unet", {}, 65_002, 2_492),
        ("resunet", {"pools": [2, 2]}, 8_074, 1_888),
        ("resunet", {"pools": [4, 4]}, 8_074, 1_042),
        ("resunet", {"pools": [8, 8]}, 8_074, 870),
        ("resunet", {"pools": [2, 2, 2, 2]}, 130_682, 3_584),
    ],
)
def test_sizes_and_costs_are_the_published_ones(architecture, parameters, count, mac):
    found = anatomy(architecture, parameters)
    assert (found.parameters, found.mac_per_px) == (count, mac)
    module = build(architecture, parameters)
    assert sum(p.numel() for p in module.parameters()) == count


@pytest.mark.parametrize(("pools", "pixels"), [((2, 2), 44), ((4, 4), 120), ((8, 8), 392), ((2, 2, 2, 2), 200)])
def test_receptive_fields_are_the_published_ones(pools, pixels):
    assert anatomy("resunet", {"pools": pools}).receptive_field_px == pixels
    assert build("resunet", {"pools": pools}).receptive_field == pixels


@pytest.mark.parametrize("pools", [(2, 4), (2, 8), (4, 2), (4, 8), (8, 2), (8, 4), (2, 2, 4), (3, 5)])
def test_receptive_fields_follow_the_formula_of_the_paper(pools):
    strides = np.cumprod([1, *pools])
    assert build("resunet", {"pools": pools}).receptive_field == 8 * strides[:-1].sum() + 5 * strides[-1]


def test_receptive_fields_that_are_known_from_elsewhere():
    assert anatomy("shallow").receptive_field_px == 9
    vgg = build("fcn8s", {"base": 1, "fully": 1}).path[:-3]
    assert receptive_field(vgg) == 404  # of fc6 on VGG-16 (Long et al. 2015)


@pytest.mark.parametrize(("architecture", "parameters"), SMALL)
def test_a_pixel_sees_exactly_what_its_path_says(architecture, parameters):
    """Gradients of a network of positive weights (nothing cancels, no ReLU closes) against the arithmetic."""
    net = build(architecture, parameters).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.rand_like(p) + 0.5 if p.ndim > 1 else p.abs() + 0.01)
    # average pooling instead of max-pooling: a maximum passes its gradient to one pixel of the window only
    path, multiple = net.path, net.multiple
    half = widest(path) // 2 // multiple * multiple + multiple
    side = 2 * half + multiple
    image = torch.full((1, 1, side, side), 1.0, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "max_pool2d", torch.nn.functional.avg_pool2d)
        maps = net(image)
    widths = []
    for position in {0, 1, multiple // 2, multiple - 1}:
        at = half + position
        (gradient,) = torch.autograd.grad(maps[0, -1, at, at], image, retain_graph=True)
        rows = torch.nonzero(gradient[0, 0].abs().sum(1)).squeeze(1)
        assert (int(rows.min()), int(rows.max())) == seen_by(path, at)
        widths.append(int(rows.max() - rows.min()) + 1)
    assert max(widths) <= widest(path)


def test_a_stem_divides_the_cost_and_keeps_every_pixel():
    """Four channels in place of one, on a quarter of the pixels; maps can differ between the pixels of a block."""
    plain, stem = (anatomy("resunet", {"pools": [2, 2], "base": 8, "stem": n}) for n in (1, 2))
    assert 0.25 < stem.mac_per_px / plain.mac_per_px < 0.35
    assert stem.multiple == 2 * plain.multiple
    local = anatomy("resunet", {"pools": [2, 2], "base": 8, "stem": 2, "local": [8, 32]})
    assert (local.multiple, local.mac_per_px > stem.mac_per_px) == (32, True)
    assert local.receptive_field_px > 6 * 32
    assert stem.receptive_field_px > 1.9 * plain.receptive_field_px
    net = build("resunet", {"pools": [2, 2], "stem": 2}).eval()
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 32, 32), np.float32))
    with torch.no_grad():
        maps = net(image)
        net.head.bias[:4] = torch.tensor([0.0, 100.0, 200.0, 300.0])
        moved = net(image) - maps
    assert maps.shape == (1, 2, 32, 32)
    assert [float(moved[0, 0, y, x].round(decimals=-1)) for y in (4, 5) for x in (6, 7)] == [0.0, 100.0, 200.0, 300.0]


def test_local_units_are_the_contrast_around():
    """Against means over 5×5 blocks written down plainly; neither level nor contrast of the image matters."""
    from insitu.models.resunet import _in_local_units

    image = np.random.default_rng(1).normal(3.0, 2.0, (1, 1, 48, 64)).astype(np.float32)
    found = _in_local_units(torch.from_numpy(image), 2)[0, 0].numpy()
    blocks = image[0, 0].reshape(24, 2, 32, 2).astype(np.float64)
    y, x = 11, 20  # a block; half a pixel from its centre the neighbours weigh in
    mean, square = (
        sum(
            wy * wx * (blocks**p).mean((1, 3))[y - 2 + a : y + 3 + a, x - 2 + b : x + 3 + b].mean()
            for a, wy in ((0, 0.75), (1, 0.25))
            for b, wx in ((0, 0.75), (1, 0.25))
        )
        for p in (1, 2)
    )
    wanted = (image[0, 0, 2 * y + 1, 2 * x + 1] - mean) / np.sqrt(square - mean**2 + 0.03**2)
    assert found[2 * y + 1, 2 * x + 1] == pytest.approx(wanted, abs=1e-4)
    other = _in_local_units(torch.from_numpy(5 * image + 7), 2)[0, 0].numpy()
    np.testing.assert_allclose(other, found, atol=2e-3)


@pytest.mark.parametrize("wrong", [{"stem": 0}, {"stem": 9}, {"local": [3]}, {"local": [0]}])
def test_stems_and_sides_that_do_not_exist_are_refused(wrong):
    with pytest.raises(InputError, match="a residual UNet with stem = "):
        build("resunet", wrong)


# where local units lie on a grid of their own, before the first pooling, the arithmetic is no exact mean
@pytest.mark.parametrize(("architecture", "parameters"), [one for one in SMALL if "local" not in one[1]])
def test_the_published_field_is_the_mean_of_what_pixels_see(architecture, parameters):
    path = build(architecture, parameters).path
    period = 2048
    spans = [seen_by(path, k) for k in range(period)]
    assert receptive_field(path) == pytest.approx(np.mean([b - a + 1 for a, b in spans]))


def test_names_and_parameters_that_do_not_exist_are_answered():
    with pytest.raises(InputError, match="no architecture 'resnet'") as caught:
        build("resnet")
    assert "did you mean 'resunet'?" in str(caught.value)
    with pytest.raises(InputError, match="no parameter 'pool'") as caught:
        build("resunet", {"pool": [2]})
    assert "did you mean 'pools'?" in str(caught.value)
    for architecture, wrong in [
        ("resunet", {"pools": []}),
        ("resunet", {"pools": [2, 2], "dilations": [1]}),
        ("resunet", {"pools": "ab"}),
        ("unet", {"levels": [8]}),
        ("unet", {"norm": "layer"}),
        ("unet", {"kernel": 4}),
        ("shallow", {"kernel": 8}),
        ("shallow", {"filters": "many"}),
        ("hourglass", {"kernels": [3]}),
        ("light_unet", {"dropout": 1.5}),
        ("light_unet", {"classes": 4}),
        ("light_unet", {"head": "tanh"}),
        ("light_unet", {"classes": 1}),
        ("fcn8s", {"base": 0}),
    ]:
        with pytest.raises(InputError) as caught:
            build(architecture, wrong)
        assert str(caught.value).count("\n") == 1


def test_every_architecture_takes_classes_and_a_head():
    for name in names():
        known = defaults(name)
        assert (known["classes"], known["head"]) == (2, "softmax")
        small = {"base": 2, "fully": 2} if name == "fcn8s" else {}
        for classes, head in ((1, "sigmoid"), (2, "sigmoid"), (3, "softmax")):
            net = build(name, {**small, "classes": classes, "head": head}).eval()
            assert net(torch.zeros(1, 1, 64, 64)).shape == (1, classes, 64, 64)
            assert net.activation == head


def test_the_particle_s_logit_is_that_of_its_probability():
    maps = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (2, 3, 5, 7)))
    for classes in (2, 3):
        wanted = torch.softmax(maps[:, :classes], dim=1)[:, 1]
        torch.testing.assert_close(torch.sigmoid(particle_logit(maps[:, :classes], "softmax")), wanted)
    torch.testing.assert_close(particle_logit(maps[:, :2], "sigmoid"), maps[:, 1])
    torch.testing.assert_close(particle_logit(maps[:, :1], "sigmoid"), maps[:, 0])


def test_instance_norm_sees_each_image_by_itself():
    torch.manual_seed(0)
    for name in ("unet", "resunet", "light_unet", "hourglass"):
        net = build(name, {"norm": "instance"}).eval()
        images = torch.randn(3, 1, 64, 64)
        torch.testing.assert_close(net(images)[1:2], net(images[1:2]), atol=1e-5, rtol=1e-4)


def test_a_dilated_fcn_stays_at_an_eighth():
    net = build("fcn8s", {"base": 2, "fully": 4, "dilated": True})
    assert net.multiple == 8
    assert net(torch.zeros(1, 1, 40, 48)).shape == (1, 2, 40, 48)


def test_vgg_weights_go_into_the_encoder():
    from insitu.models.fcn8s import load_encoder

    rng = np.random.default_rng(0)
    wanted = {}
    channels, index = 3, 0
    for count, width in ((2, 4), (2, 8), (3, 16), (3, 32), (3, 32)):
        for _ in range(count):
            wanted[f"features.{index}.weight"] = torch.from_numpy(rng.normal(size=(width, channels, 3, 3))).float()
            wanted[f"features.{index}.bias"] = torch.from_numpy(rng.normal(size=width)).float()
            channels, index = width, index + 2
        index += 1
    assert list(wanted)[-1] == "features.28.bias"  # as torchvision counts
    net = build("fcn8s", {"base": 4, "fully": 0})
    assert load_encoder(net, wanted) == list(wanted)
    assert torch.equal(net.blocks[4][4].weight, wanted["features.28.weight"])
    del wanted["features.28.weight"]
    with pytest.raises(InputError, match=r"features\.28\.weight"):
        load_encoder(net, wanted)
    with pytest.raises(InputError, match="no VGG-16 encoder"):
        load_encoder(build("fcn8s", {"base": 2}), wanted)


def test_large_windows_are_pooled_in_steps_with_the_same_bits():
    from insitu.models.resunet import _pooled

    x = torch.randn(2, 3, 96, 96)
    for side in (1, 2, 3, 4, 6, 8, 12, 16, 24):
        assert torch.equal(_pooled(x, side), torch.nn.functional.max_pool2d(x, side))
