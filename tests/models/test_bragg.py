"""Bragg-peak filtering: fringes are found, their absence too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from insitu import models
from insitu.models import bragg
from insitu.models.bragg import Bragg, fringe_energy


def crystals(seed, n, radius, *, contrast=0.6, mass=0.5):
    """Discs with two sets of fringes each on an amorphous, noisy support; image and truth."""
    rng, side = np.random.default_rng(seed), 512
    y, x = np.mgrid[:side, :side].astype(float)
    support = gaussian_filter(rng.standard_normal((side, side)), 1.5)
    image = 0.5 * support / support.std() + rng.standard_normal((side, side))
    truth = np.zeros((side, side), bool)
    for _ in range(n):
        (cy, cx), r = rng.uniform(0.1 * side, 0.9 * side, 2), rng.uniform(*radius)
        disc = np.hypot(y - cy, x - cx) < r
        truth |= disc
        for _ in range(2):
            turn, spacing = rng.uniform(0, np.pi), rng.uniform(4, 8)
            wave = np.cos(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / spacing + rng.uniform(0, 6))
            image += disc * contrast * wave
        image += mass * disc
    return image.astype(np.float32), truth


def mask(image):
    return Bragg().probabilities(torch.from_numpy(image)[None])[0].numpy() > 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_crystals_are_found_by_their_fringes(seed):
    image, truth = crystals(seed, 3, (50, 90), mass=0.0)
    found = mask(image)
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    assert found.sum() == pytest.approx(truth.sum(), rel=0.15)


def test_a_support_without_a_lattice_gives_nothing():
    assert not any(mask(crystals(100 + s, 0, (1, 2))[0]).any() for s in range(6))


def test_mass_contrast_is_no_lattice():
    image, truth = crystals(1, 6, (20, 45), contrast=0.0, mass=3.0)
    assert truth.any()
    assert not mask(image).any()


def test_rings_of_the_transfer_function_are_no_peaks():
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft2(rng.standard_normal((512, 512)))
    radius = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None, :])
    image = np.fft.irfft2(spectrum * (0.3 + np.abs(np.sin(400 * radius**2))))
    assert not mask((image / image.std()).astype(np.float32)).any()


@pytest.mark.parametrize("shape", [(300, 301), (256, 400), (40, 33)])
def test_windows_add_up_to_the_frame(shape):
    image = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    windows, side, hop = bragg._windows(image)
    whole = bragg._added(windows * bragg._hann(side, image).double(), image.shape, hop)
    torch.testing.assert_close(whole, image, atol=1e-6, rtol=1e-6)


def test_the_noise_that_passes_is_predicted(monkeypatch):
    """White noise through a fixed mask: the energy that comes out is what the spectrum promises."""

    def fixed(log, background):
        peaks = torch.zeros_like(log)
        peaks[:, 150:170, 20:60] = 1.0
        return peaks

    monkeypatch.setattr(bragg, "_peaks", fixed)
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((600, 700)).astype(np.float32))
    energy, noise = fringe_energy(image)
    inside = (slice(64, -64),) * 2
    assert float(energy[inside].mean() / noise[inside].mean()) == pytest.approx(1.0, abs=0.15)


def test_a_pure_fringe_has_the_energy_of_its_amplitude(monkeypatch):
    y, x = np.mgrid[:512, :512]
    image = (3.0 * np.cos(2 * np.pi * (0.12 * x + 0.09 * y))).astype(np.float32)
    image += 0.01 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    energy, _ = fringe_energy(torch.from_numpy(image))
    assert float(energy[64:-64, 64:-64].mean()) == pytest.approx(9.0, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (16, 16), (130, 90)])
@pytest.mark.parametrize("value", [0.0, 5.0])
def test_small_and_constant_frames_give_nothing(shape, value):
    p = Bragg().probabilities(torch.full((2, *shape), value))
    assert p.shape == (2, *shape)
    assert torch.isfinite(p).all()
    assert float(p.max()) < 0.5


def test_it_is_a_model_by_name():
    model = models.load("bragg")
    assert (model.name, model.threshold) == ("bragg", 0.5)
    assert 0.5 < model.seed < 1.0
