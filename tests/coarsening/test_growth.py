from __future__ import annotations

import numpy as np
import pytest

from insitu.coarsening.growth import Rates, critical_radius, rates
from insitu.coarsening.windows import TrackSums, Windows


def summed(frame, particle, r, windows=1, s_per_frame=1.0):
    """Sums of rows given in order of frame."""
    used = np.unique(frame)
    cut = Windows.of(used, used * s_per_frame, windows)
    sums = TrackSums(cut)
    sums.add(cut.place(frame), np.asarray(particle), np.asarray(r, float), np.ones(len(frame)))
    return sums.columns()


def noise(rng, shape, rho):
    """Unit-variance noise with lag-1 correlation rho along the last axis."""
    e = rng.standard_normal(shape)
    for k in range(1, shape[-1]):
        e[..., k] = rho * e[..., k - 1] + np.sqrt(1 - rho**2) * e[..., k]
    return e


def tracks(r):
    """Rows, in order of frame, of sizes (particles, frames)."""
    p, f = r.shape
    return np.repeat(np.arange(f), p), np.tile(np.arange(p), f), r.T.ravel()


def population(n, *, k=1.0, r_star=1.0, number=400, seed=0, scatter=0.02):
    """Speeds by the mean-field law, with errors."""
    rng = np.random.default_rng(seed)
    r = r_star * rng.uniform(0.4, n / (n - 1), number)
    exact = k * r ** (1.0 - n) * (r / r_star - 1.0)
    se = scatter * k / r**2
    return Rates(
        np.arange(number), np.zeros(number, int), r, exact + se * rng.standard_normal(number), se, np.full(number, 9)
    )


def test_a_straight_line_has_its_slope_in_units_of_time_and_the_error_of_whole_pixels():
    r = np.array([[10.0], [20.0]]) + np.array([[0.5], [-0.25]]) * np.arange(10)
    found = rates(summed(*tracks(r), s_per_frame=0.1), per_px=0.2)
    assert found.particle.tolist() == [0, 1]
    assert found.rate == pytest.approx([0.5 * 0.2 / 0.1, -0.25 * 0.2 / 0.1])
    whole_pixels = 1 / np.sqrt(12) / (2 * np.pi * r.mean(axis=1)) / np.sqrt(((np.arange(10) - 4.5) ** 2).sum())
    assert found.rate_se == pytest.approx(whole_pixels * 0.2 / 0.1)
    assert found.radius == pytest.approx([0.2 * r[0].mean(), 0.2 * r[1].mean()])
    assert found.n.tolist() == [10, 10]


def test_slope_and_error_are_those_of_scipy_for_white_noise():
    from scipy import stats

    rng = np.random.default_rng(0)
    r = 10 + 0.1 * rng.standard_normal((50, 12)) + 0.01 * np.arange(12)
    found = rates(summed(*tracks(r)))
    for k in range(50):
        line = stats.linregress(np.arange(12), r[k])
        e = r[k] - line.intercept - line.slope * np.arange(12)
        r1 = max(0.0, (e[1:] * e[:-1]).sum() / (e * e).sum())
        n_eff = max(12 * (1 - r1) / (1 + r1), 3)
        assert found.rate[k] == pytest.approx(line.slope)
        assert found.rate_se[k] == pytest.approx(line.stderr * np.sqrt(10 / (n_eff - 2)), rel=0.01)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_errors_cover_the_truth_also_when_frames_err_alike(rho):
    rng = np.random.default_rng(1)
    r = 10 + 0.02 * np.arange(60) + 0.2 * noise(rng, (2000, 60), rho)
    found = rates(summed(*tracks(r)))
    covered = np.mean(np.abs(found.rate - 0.02) < 1.96 * found.rate_se)
    assert 0.88 < covered < 0.97
    if rho:  # where independent errors would have been far too small
        blind = found.rate_se.mean() / np.sqrt((1 + rho) / (1 - rho))
        assert np.mean(np.abs(found.rate - 0.02) < 1.96 * blind) < 0.75


def test_an_area_that_never_changes_is_not_known_for_sure():
    rng = np.random.default_rng(0)
    true = rng.uniform(-0.003, 0.003, 3000)[:, None]
    r = rng.uniform(10, 11, 3000)[:, None] + true * np.arange(10)
    area = np.rint(np.pi * r**2)
    found = rates(summed(*tracks(np.sqrt(area / np.pi))))
    still = np.ptp(area, axis=1) == 0
    assert still.sum() > 20
    assert (found.rate_se > 0).all()
    z = (found.rate - true[:, 0]) / found.rate_se
    assert np.mean(np.abs(z) < 1.96) > 0.85
    assert np.mean(np.abs(z[still]) < 1.96) > 0.7


def test_windows_have_their_own_speeds_and_rows_with_gaps_are_used():
    t = np.arange(40)
    r = np.where(t < 20, 10 + 0.1 * t, 12 - 0.2 * (t - 20))[None]
    frame, particle, size = tracks(r)
    keep = frame % 7 != 3
    found = rates(summed(frame[keep], particle[keep], size[keep], windows=2))
    assert found.window.tolist() == [0, 1]
    assert found.rate == pytest.approx([0.1, -0.2])


def test_too_few_sizes_have_no_speed():
    assert len(rates(summed(*tracks(np.array([[1.0, 2.0, 3.0]]))))) == 0
    assert len(rates(summed(np.zeros(0, int), np.zeros(0, int), np.zeros(0)))) == 0


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_critical_radius_is_that_of_the_law_whatever_n(n):
    found = critical_radius(population(n, r_star=3.0, number=4000), draws=50)
    assert found.radius == pytest.approx(3.0, rel=0.015)
    assert found.low < found.radius < found.high


def test_intervals_of_the_critical_radius_cover_it():
    inside, width = [], []
    for seed in range(50):
        found = critical_radius(population(3, number=120, seed=seed, scatter=0.3), draws=60, seed=seed)
        inside.append(found.low <= 1.0 <= found.high)
        width.append(found.high - found.low)
    assert np.mean(inside) >= 0.84
    assert np.mean(width) < 0.3


def test_without_a_sign_change_there_is_a_reason():
    r = np.linspace(1, 2, 30)
    made = lambda rate: Rates(np.arange(30), np.zeros(30, int), r, rate, np.full(30, 0.1), np.full(30, 5))  # noqa: E731 - named once
    assert critical_radius(made(np.full(30, -1.0))).why == "no particle grows"
    assert critical_radius(made(np.full(30, 1.0))).why == "no particle shrinks"
    assert "sign" in critical_radius(made(np.linspace(1, -1, 30))).why
    assert "only 5" in critical_radius(made(np.full(30, 1.0)).take(np.arange(5))).why
    same = Rates(np.arange(30), np.zeros(30, int), np.ones(30), r - 1.5, np.full(30, 0.1), np.full(30, 5))
    assert "same size" in critical_radius(same).why
    assert critical_radius(same).radius is None


def test_many_particles_have_the_same_interval_at_less_cost(monkeypatch):
    found = population(3, number=900, scatter=0.3)
    one = critical_radius(found, draws=200)
    monkeypatch.setattr("insitu.coarsening.growth.SEARCHED", 100)
    other = critical_radius(found, draws=200)
    assert other.radius == one.radius
    assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.25)
