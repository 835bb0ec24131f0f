"""Known shapes are recognised with their parameters; noise is not, and noise is made as asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from insitu.explain import noise
from insitu.explain.kernels import EXPLAINED, family_of, fit
from insitu.models.architectures import build

Y, X = np.mgrid[:9, :9] - 4.0


def gabor(wavelength=5.0, angle=30.0, sigma=2.2, phase=0.7):
    along = X * np.cos(np.radians(angle)) + Y * np.sin(np.radians(angle))
    return np.exp(-0.5 * (X**2 + Y**2) / sigma**2) * np.cos(2 * np.pi * along / wavelength + phase)


def gaussian(sigma=1.8, y=0.6, x=-0.9):
    return np.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / sigma**2)


def log(sigma=1.9, y=0.3, x=0.2):
    r2 = ((X - x) ** 2 + (Y - y) ** 2) / sigma**2
    return (1 - 0.5 * r2) * np.exp(-0.5 * r2)


@pytest.mark.parametrize(("family", "values"), [("gabor", gabor()), ("gaussian", gaussian()), ("log", log())])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_shape_is_recognised_through_noise_sign_and_offset(family, values, sign):
    rng = np.random.default_rng(4)
    kernel = sign * 0.3 * values + 0.05 + 0.01 * rng.standard_normal((9, 9))
    fits = fit(kernel)
    assert family_of(fits) == family
    assert fits[0].explained > 0.95
    np.testing.assert_allclose(fits[0].values, kernel, atol=0.05)


def test_parameters_come_back():
    best = fit(gabor(wavelength=5.0, angle=30.0))[0]
    assert best.shape["wavelength_px"] == pytest.approx(5.0, abs=0.2)
    assert best.shape["angle_deg"] == pytest.approx(30.0, abs=3.0)
    best = fit(gaussian())[0]
    assert (best.shape["y_px"], best.shape["x_px"]) == pytest.approx((0.6, -0.9), abs=0.02)
    assert fit(log())[0].shape["sigma_px"] == pytest.approx(1.9, abs=0.02)


def test_noise_is_unexplained():
    rng = np.random.default_rng(0)
    fits = [fit(rng.standard_normal((9, 9))) for _ in range(4)]
    assert [family_of(f) for f in fits] == ["unexplained"] * 4
    assert all(f[0].explained < EXPLAINED for f in fits)
    assert family_of(fit(np.zeros((9, 9)))) in {"unexplained", "gaussian", "log", "gabor"}


@pytest.mark.parametrize("wanted", [0.0, 0.3, 0.7])
def test_noise_has_the_correlation_asked_for(wanted):
    made = noise.images(4, 128, wanted, seed=3)
    assert made.mean() == pytest.approx(0.0, abs=1e-5)
    assert made.std() == pytest.approx(1.0, abs=1e-3)
    measured = noise.correlation(made[0], np.ones((128, 128), bool))
    assert measured == pytest.approx(wanted, abs=0.04)


def test_correlation_is_that_of_the_support_alone():
    image = noise.images(1, 96, 0.6, seed=1)[0].copy()
    support = np.ones((96, 96), bool)
    support[30:60, 30:60] = False
    image[~support] += 40.0
    assert noise.correlation(image, support) == pytest.approx(0.6, abs=0.05)
    assert noise.correlation(image, np.zeros((96, 96), bool)) == 0.0


def test_false_alarms_are_counted():
    net = build("shallow", {"filters": 2}).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.head.bias[0] = 5.0
    quiet = [torch.zeros(32, 32)]
    assert noise.false_alarms(net, quiet, 0.5)["share_called_particle"] == 0.0
    with torch.no_grad():
        net.head.bias[1] = 10.0
    loud = noise.false_alarms(net, quiet, 0.5)
    assert (loud["share_called_particle"], loud["pieces_per_image"]) == (1.0, 1.0)
    assert "100 % of px" in noise.verdict([], loud)
