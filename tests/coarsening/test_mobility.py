from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from insitu.coarsening.displacements import displacements, immobile_share, lags_of
from insitu.coarsening.mobility import fit, mobility


def walks(n=40, frames=200, d=0.5, sigma=0.0, seed=0):
    """Random walks with D in px² a frame and errors of position: frame, particle, y, x."""
    rng = np.random.default_rng(seed)
    steps = np.sqrt(2 * np.broadcast_to(d, n))[:, None, None] * rng.standard_normal((n, frames, 2))
    at = steps.cumsum(axis=1) + sigma * rng.standard_normal((n, frames, 2))
    frame, particle = np.tile(np.arange(frames), n), np.repeat(np.arange(n), frames)
    return frame, particle, at[..., 0].ravel(), at[..., 1].ravel()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # trackpy calls pandas in ways that 3.1 deprecates
def test_displacements_are_those_of_trackpy():
    import trackpy

    frame, particle, y, x = walks(12, 60, sigma=0.3)
    rng = np.random.default_rng(1)
    keep = rng.random(len(frame)) > 0.1
    keep |= (frame == 0) | (frame == 59)
    table = pd.DataFrame({"frame": frame, "particle": particle, "y": y, "x": x})
    lag = np.arange(1, 15)
    found = displacements(frame, particle, y, x, lag)
    expected = trackpy.imsd(table, 0.2, 10.0, max_lagtime=14, pos_columns=["y", "x"])
    assert 0.04 * found.squares / found.count == pytest.approx(expected.to_numpy().T)
    pooled = trackpy.emsd(table, 0.2, 10.0, max_lagtime=14, pos_columns=["y", "x"])
    assert 0.04 * found.squares.sum(0) / found.count.sum(0) == pytest.approx(pooled.to_numpy())
    gaps = displacements(frame[keep], particle[keep], y[keep], x[keep], lag)
    one = trackpy.imsd(table[keep], 0.2, 10.0, max_lagtime=14, pos_columns=["y", "x"])
    assert 0.04 * gaps.squares / gaps.count == pytest.approx(one.to_numpy().T)


def test_order_of_rows_does_not_matter_and_tracks_do_not_run_into_each_other():
    frame, particle, y, x = walks(5, 20)
    lag = np.array([1, 3, 30])
    whole = displacements(frame, particle, y, x, lag)
    mixed = np.random.default_rng(0).permutation(len(frame))
    again = displacements(frame[mixed] + 1000, 7 * particle[mixed] + 3, y[mixed], x[mixed], lag)
    assert again.squares == pytest.approx(whole.squares)
    assert whole.count[0].tolist() == [19, 17, 0]
    assert again.particle.tolist() == [3, 10, 17, 24, 31]


def test_lags_are_steps_of_the_movie_up_to_a_quarter():
    assert lags_of(np.arange(0, 401, 4)).tolist()[0] == 4
    assert lags_of(np.arange(0, 401, 4)).max() == 100
    assert (lags_of(np.arange(0, 401, 4)) % 4 == 0).all()
    assert len(lags_of(np.array([5, 5]))) == 0
    assert lags_of(np.array([0, 1])).tolist() == [1]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.6])
def test_the_fit_gives_back_exact_curves(alpha):
    tau = 0.01 * np.arange(1, 30)
    found = fit(tau, 4 * 3.0 * tau**alpha + 4 * 0.2**2, np.ones(29))
    assert found.exponent == pytest.approx(alpha, abs=0.002)
    assert found.coefficient == pytest.approx(3.0, rel=0.01)
    assert found.sigma == pytest.approx(0.2, rel=0.01)
    if alpha == 1.0:
        assert found.free == pytest.approx(3.0)
        assert found.free_sigma == pytest.approx(0.2)


def test_nothing_moves_and_nothing_at_all():
    tau = np.arange(1.0, 9)
    still = fit(tau, np.full(8, 4 * 0.3**2), np.ones(8))
    assert (still.coefficient, still.exponent) == (0.0, None) or still.coefficient < 1e-9
    assert still.sigma == pytest.approx(0.3, rel=1e-3)
    frozen = fit(tau, np.zeros(8), np.ones(8))
    assert frozen == type(frozen)(0.0, None, 0.0, 0.0, 0.0)
    assert fit(tau, np.linspace(8, 1, 8), np.ones(8)).coefficient == 0  # never a negative diffusion


def test_diffusion_is_found_in_the_unit_of_the_movie():
    # 2 nm²/s at 0.2 nm/px and 400 frames/s
    d = 2.0 / 400 / 0.2**2
    frame, particle, y, x = walks(150, 300, d, sigma=0.4)
    found = displacements(frame, particle, 0.2 * y, 0.2 * x, lags_of(frame))
    _, fits, absent = mobility(found, np.full(150, -1), 1 / 400)
    assert absent == ()
    free = fits["D_free_{length}2_per_{time}"]
    assert free[0] == pytest.approx(2.0, rel=0.1)
    assert fits["alpha"][0] == pytest.approx(1.0, abs=0.1)
    assert fits["sigma_{length}"][0] == pytest.approx(0.08, rel=0.15)
    for name in ("D_alpha", "alpha", "sigma_{length}", "D_free_{length}2_per_{time}"):
        assert fits[f"{name}_low"][0] <= fits[name][0] <= fits[f"{name}_high"][0]


def test_intervals_of_diffusion_cover_it():
    inside, alpha = [], []
    for seed in range(40):
        frame, particle, y, x = walks(30, 80, sigma=0.5, seed=seed)
        found = displacements(frame, particle, y, x, lags_of(frame, 10))
        _, fits, _ = mobility(found, np.full(30, -1), 1.0, draws=100, seed=seed)
        inside.append(fits["D_free_{length}2_per_{time}_low"][0] <= 0.5 <= fits["D_free_{length}2_per_{time}_high"][0])
        alpha.append(fits["alpha_low"][0] <= 1 <= fits["alpha_high"][0])
    assert np.mean(inside) >= 0.85
    assert np.mean(alpha) >= 0.8


def test_classes_of_size_have_their_own_diffusion():
    d = np.repeat([2.0, 0.2], 40)
    found = displacements(*walks(80, 100, d), lags_of(np.arange(100)))
    msd, fits, _ = mobility(found, np.repeat([0, 1], 40), 1.0)
    value = dict(zip(fits["size_class"].tolist(), fits["D_free_{length}2_per_{time}"], strict=True))
    assert value[0] == pytest.approx(2.0, rel=0.15)
    assert value[1] == pytest.approx(0.2, rel=0.15)
    assert value[1] < value[-1] < value[0]
    first = msd["lag_frames"] == 1
    assert msd["msd_{length}2"][first & (msd["size_class"] == 0)][0] == pytest.approx(8.0, rel=0.05)


def test_the_share_that_does_not_move():
    for share in (0.0, 0.5, 1.0):
        still = int(60 * share)
        d = np.concatenate([np.zeros(still), np.full(60 - still, 0.5)])
        found = displacements(*walks(60, 200, d, sigma=0.5, seed=3), lags_of(np.arange(200)))
        got = immobile_share(found, 0.5)
        assert got.value == pytest.approx(share, abs=0.08)
        assert got.low <= share + 0.02
        assert got.high >= share - 1e-9


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_tracks_or_frames_give_a_reason(n):
    frame, particle, y, x = walks(n, 30)
    found = displacements(frame, particle, y, x, lags_of(frame) if n else np.array([1]))
    msd, fits, absent = mobility(found, np.full(n, -1), 1.0)
    assert (msd, fits) == ({}, {})
    assert f"{n} tracks" in absent[0].why
    assert immobile_share(found, 0.0) is None
    two = displacements(*walks(10, 2), np.array([1]))
    msd, fits, absent = mobility(two, np.full(10, -1), 1.0)
    assert len(msd["n"]) == 1
    assert fits == {}
    assert "1 lags" in absent[0].why
    one = displacements(*walks(10, 1), np.zeros(0, np.int64))
    assert mobility(one, np.full(10, -1), 1.0)[2]
    assert immobile_share(one, 1.0) is None
