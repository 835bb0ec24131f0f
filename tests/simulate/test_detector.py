from __future__ import annotations

import numpy as np
import pytest

from insitu.simulate.detector import Detector, digitise, electrons, expose, hot_pixels, illumination, modulation


def flat(dose, detector, seed=0, shape=(512, 512)):
    frame = expose(np.random.default_rng(seed), np.full(shape, dose, np.float32), detector)
    return frame.astype(float) - detector.offset


@pytest.mark.parametrize("dose", [3.0, 25.0, 59.0, 61.0, 180.0])
def test_variance_over_mean_gives_back_the_gain_and_the_dose(dose):
    counts = flat(dose, Detector(gain=30.0, offset=50.0, readout_counts=0.0, mtf_nyquist=1.0))
    gain = counts.var() / counts.mean()
    assert gain == pytest.approx(30.0, rel=0.02)
    assert counts.mean() / gain == pytest.approx(dose, rel=0.02)


def test_behind_the_mtf_the_dose_is_in_sums_over_blocks():
    dose, gain = 20.0, 30.0
    counts = flat(dose, Detector(gain=gain, readout_counts=0.0, mtf_nyquist=0.3), shape=(1024, 1024))
    assert counts.var() < 0.5 * gain**2 * dose
    blocks = counts.reshape(32, 32, 32, 32).sum(axis=(1, 3))
    assert blocks.var() / blocks.mean() == pytest.approx(gain, rel=0.12)


def test_the_noise_spectrum_follows_the_mtf():
    power = np.zeros((256, 129))
    for seed in range(24):
        counts = flat(40.0, Detector(gain=20.0, readout_counts=0.0, mtf_nyquist=0.35), seed, (256, 256))
        power += np.abs(np.fft.rfft2(counts - counts.mean())) ** 2
    q = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :])
    white = 24 * 256 * 256 * 20.0**2 * 40.0
    for low in (0.05, 0.2, 0.35, 0.45):
        ring = (q >= low) & (q < low + 0.04)
        mtf = 0.35 ** ((low + 0.02) ** 2 / 0.25)
        assert np.sqrt(power[ring].mean() / white) == pytest.approx(mtf, rel=0.03)


def test_modulation_at_the_nyquist_frequency_is_as_stated():
    assert modulation(0.3, (64, 64))[0, 32] == pytest.approx(0.3)
    assert modulation(0.3, (64, 64))[0, 0] == 1.0


def test_poisson_below_and_above_the_switch_has_the_same_moments():
    for dose in (55.0, 65.0):
        drawn = electrons(np.random.default_rng(1), np.full((700, 700), dose, np.float32))
        assert drawn.mean() == pytest.approx(dose, rel=2e-3)
        assert drawn.var() == pytest.approx(dose, rel=0.02)
        assert np.array_equal(drawn, np.rint(drawn))


def test_digitising_clips_and_never_wraps():
    assert digitise(np.array([-5.0, 1.5, 2.5, 255.4, 300.0]), "uint8").tolist() == [0, 2, 2, 255, 255]
    assert digitise(np.array([7e4]), "uint16").tolist() == [65535]


def test_hot_pixels_stay_where_they_are():
    detector = Detector(hot_fraction=1e-3, readout_counts=0.0)
    hot = hot_pixels(np.random.default_rng(0), (256, 256), detector)
    where = hot > 0
    assert 30 < where.sum() < 110
    frames = [
        expose(np.random.default_rng(i), np.full((256, 256), 20, np.float32), detector, hot=hot) for i in range(2)
    ]
    assert all((frame[where] > np.percentile(frame, 99.5)).all() for frame in frames)
    assert hot_pixels(np.random.default_rng(0), (8, 8), Detector()) is None


def test_illumination_has_mean_one_and_the_stated_slope():
    field = illumination((200, 300), 0.4, angle_rad=0.0)
    assert field.mean() == pytest.approx(1.0, abs=1e-6)
    assert field[:, -1].mean() - field[:, 0].mean() == pytest.approx(0.4, rel=1e-3)
    assert np.ptp(field[:, 0]) < 1e-6
    down = illumination((200, 300), 0.4, angle_rad=np.pi / 2)
    assert down[-1].mean() > down[0].mean()
