"""Fringes have the spacing that was asked for, belong to their particle, and are refused where pixels are too large."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from insitu.errors import CommandError
from insitu.simulate import Simulation, SimulationSettings
from insitu.simulate.lattice import Lattice, modulation_of


def settings(**changes):
    quiet = SimulationSettings(
        shape=(256, 256), frames=2, nm_per_px=0.05, particles=1, mean_diameter_nm=9.0, spread=0.0, gap_nm=0.0, seed=2,
        ripening_rate=0.0, diffusion_nm2_per_s=0.0, optics="amplitude", support_rms=0.0, gradient=0.0, margin_nm=0.0,
        dose_e_per_px=2000.0, mtf_nyquist=1.0, contact_angle_deg=170.0,
    )  # fmt: skip
    return replace(quiet, **changes)


def peak_nm(image, nm_per_px):
    """Spacing of the strongest fringes below 1 nm."""
    spectrum = np.abs(np.fft.rfft2((image - image.mean()) * np.outer(np.hanning(256), np.hanning(256))))
    q = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :]) / nm_per_px
    spectrum[q < 1.0] = 0.0
    return 1.0 / q.ravel()[spectrum.argmax()]


@pytest.mark.parametrize("spacing", [0.2355, 0.35])
@pytest.mark.parametrize("optics", ["amplitude", "wave"])
def test_the_spectrum_peaks_at_the_spacing(spacing, optics):
    wave = {"optics": "wave", "defocus_nm": 60.0, "cs_mm": 0.0, "support_phase_rad": 0.0} if optics == "wave" else {}
    s = settings(lattice_nm=spacing, **wave)
    movie = Simulation(s)
    assert peak_nm(movie.frame(0).astype(float), s.nm_per_px) == pytest.approx(spacing, rel=0.03)


def test_the_mean_contrast_and_the_truth_stay_as_without_fringes():
    plain, fringed = (Simulation(settings(lattice_nm=d)) for d in (None, 0.2355))
    a, b = plain.frame(0).astype(float), fringed.frame(0).astype(float)
    assert b.mean() == pytest.approx(a.mean(), rel=2e-3)
    assert np.abs(a - b).max() > 20 * np.sqrt(a.mean())
    assert np.array_equal(plain.mask(0), fringed.mask(0))


def test_fringes_move_with_the_particle_and_average_to_one():
    planes = Lattice(4.7, 0.4, 1.0, 0.5)
    here = modulation_of(planes, (40.0, 40.0), (slice(0, 80), slice(0, 80)))
    there = modulation_of(planes, (43.0, 45.0), (slice(3, 83), slice(5, 85)))
    np.testing.assert_allclose(here, there, atol=1e-5)
    assert here.mean() == pytest.approx(1.0, abs=0.01)
    assert 0.4 < here.max() - 1.0 <= 0.5


def test_particles_have_directions_of_their_own_that_last():
    imaging = Simulation(settings(lattice_nm=0.2355)).imaging
    angles = [imaging.lattice(k).angle_rad for k in range(20)]
    assert len(set(angles)) == 20
    assert angles == [imaging.lattice(k).angle_rad for k in range(20)]
    assert np.ptp(angles) > 2.0


def test_planes_below_two_pixels_are_refused():
    with pytest.raises(CommandError, match=r"not resolved at 0\.2 nm/px") as caught:
        settings(lattice_nm=0.2355, nm_per_px=0.2)
    assert "0.11775" in caught.value.hint
