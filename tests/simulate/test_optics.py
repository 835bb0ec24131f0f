from __future__ import annotations

import numpy as np
import pytest

from insitu.simulate.optics import (
    Lens,
    amplitude_image,
    dark_field_image,
    grain,
    interaction_rad_per_v_nm,
    padded_shape,
    shifted,
    transfer,
    wave_image,
    wavelength_nm,
)

COHERENT = {"cs_mm": 0.0, "focal_spread_nm": 0.0, "convergence_mrad": 0.0}


def test_wavelength_and_interaction_constant_are_the_tabulated_ones():
    for kv, pm in ((80, 4.1757), (100, 3.7014), (200, 2.5079), (300, 1.9687)):
        assert 1e3 * wavelength_nm(kv) == pytest.approx(pm, rel=1e-4)
    # Kirkland's table: 0.00924, 0.00729, 0.00653 rad/(V nm)
    for kv, sigma in ((100, 0.009244), (200, 0.007288), (300, 0.006526)):
        assert interaction_rad_per_v_nm(kv) == pytest.approx(sigma, rel=1e-3)


def edge(defocus_nm, nm_per_px=0.1, size=2048):
    """Profile of a half-plane that shifts the phase, seen out of focus; the edge is at the centre."""
    phase = np.zeros((4, size), np.float32)
    phase[:, size // 4 : 3 * size // 4] = 0.2
    nothing = np.zeros_like(phase)
    return wave_image(nothing, phase, transfer(Lens(300.0, defocus_nm, **COHERENT), (4, size), nm_per_px))[0]


def test_fresnel_fringes_scale_with_the_root_of_wavelength_times_defocus():
    places = []
    for defocus in (500.0, 1000.0, 2000.0):
        profile = edge(defocus)
        start = 2048 // 4
        window = profile[start - 200 : start]
        # the first extremum outside the edge, in units of sqrt(λ Δf)
        offset = (200 - int(np.argmax(np.abs(window - 1.0)))) * 0.1
        places.append(offset / np.sqrt(wavelength_nm(300.0) * defocus))
    assert np.ptp(places) < 0.12 * np.mean(places)
    assert 0.3 < np.mean(places) < 1.2


def test_thon_rings_lie_where_the_transfer_is_zero():
    defocus, nm_per_px, size = 800.0, 0.1, 512
    phase = 0.05 * shifted(grain(np.random.default_rng(0), (size, size), 0.3), (size, size), (0.0, 0.0))
    lens = transfer(Lens(300.0, defocus, **COHERENT), (size, size), nm_per_px)
    spectrum = np.abs(np.fft.fft2(wave_image(np.zeros_like(phase), phase, lens) - 1.0)) ** 2
    q = np.hypot(*np.meshgrid(np.fft.fftfreq(size, nm_per_px), np.fft.fftfreq(size, nm_per_px)))
    # |sin(π λ Δf q²)| is zero at q² = m/(λ Δf), one at q² = (m − 1/2)/(λ Δf)
    for m in (1, 2, 3):
        zero, full = (np.sqrt(v / (wavelength_nm(300.0) * defocus)) for v in (m, m - 0.5))
        at_zero, at_full = (spectrum[np.abs(q - v) < 0.012].mean() for v in (zero, full))
        assert at_zero < 0.05 * at_full


def test_underfocus_gives_a_bright_fringe_outside_a_dark_particle():
    y, x = np.ogrid[-64:64, -64:64]
    thickness = np.sqrt(np.maximum(30.0**2 - (y * y + x * x), 0.0)).astype(np.float32) / 30.0
    images = [
        wave_image(0.8 * thickness, 2.0 * thickness, transfer(Lens(300.0, df, **COHERENT), (128, 128), 0.2))
        for df in (300.0, -300.0)
    ]
    ring = (np.hypot(y, x) > 30.5) & (np.hypot(y, x) < 34)
    assert images[0][ring].mean() > 1.05
    assert images[1][ring].mean() < 0.99


def test_in_focus_the_wave_model_is_pure_absorption():
    rng = np.random.default_rng(0)
    absorption, phase = rng.random((2, 64, 64), np.float32)
    focused = wave_image(absorption, phase, transfer(Lens(300.0, 0.0, **COHERENT), (64, 64), 0.2))
    np.testing.assert_allclose(focused, amplitude_image(absorption, 0.0), rtol=2e-5)


def test_the_lens_conserves_electrons():
    rng = np.random.default_rng(0)
    phase = rng.normal(0, 0.3, (128, 128)).astype(np.float32)
    image = wave_image(np.zeros_like(phase), phase, transfer(Lens(300.0, 700.0, **COHERENT), (128, 128), 0.2))
    assert image.mean() == pytest.approx(1.0, rel=1e-5)


def test_dark_field_is_proportional_to_thin_thickness():
    thin = np.array([0.0, 0.001, 0.002], np.float32)
    np.testing.assert_allclose(dark_field_image(thin, 0.0), thin, rtol=2e-3)
    assert dark_field_image(np.float32(100.0), 0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("width", [120, 121])
def test_grain_has_unit_variance_and_moves_with_the_stage(width):
    shape = (96, width)
    spectrum = grain(np.random.default_rng(3), shape, 2.0)
    still = shifted(spectrum, shape, (0.0, 0.0))
    assert still.std() == pytest.approx(1.0, rel=1e-5)
    assert abs(still.mean()) < 1e-5
    np.testing.assert_allclose(shifted(spectrum, shape, (3.0, -5.0)), np.roll(still, (3, -5), (0, 1)), atol=1e-5)


def test_the_padded_frame_has_room_on_every_side():
    shape = padded_shape((509, 512), 20)
    assert shape[0] >= 549
    assert shape[1] >= 552
