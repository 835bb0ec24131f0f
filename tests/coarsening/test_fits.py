import numpy as np
import pytest
from cases_coarsening import CALIBRATED, growing, particle_rows, world
from scipy.optimize import curve_fit

from insitu.coarsening import powerlaw
from insitu.coarsening.families import FamilyBootstrap
from insitu.coarsening.fits import fits
from insitu.coarsening.gather import gather
from insitu.coarsening.kinetics import kinetics
from insitu.coarsening.verdict import chosen
from insitu.options import CoarseningOptions

T = np.linspace(3.0, 11.0, 30)
AT = powerlaw.Times.at(T)


def law(n, growth=2.0, r0=7.0):
    return r0 * (1 + (growth**n - 1) * (T - T[0]) / (T[-1] - T[0])) ** (1 / n)


def fitted(tables, **options):
    options = CoarseningOptions(window_frames=1, **options)
    gathered = gather(tables, options)
    bootstrap = FamilyBootstrap(gathered.records, gathered.family, len(gathered.windows), options.bootstrap)
    return fits(gathered, kinetics(gathered, bootstrap), bootstrap)


def row(table, model, quantity="mean_radius"):
    found = np.flatnonzero((table["model"] == model) & (table["quantity"] == quantity))
    assert len(found) == 1
    return {k: v[found[0]] for k, v in table.items()}


@pytest.mark.parametrize("n", [1.0, 2.0, 3.0, 4.0, 7.5])
@pytest.mark.parametrize("growth", [0.5, 1.01, 2.0, 6.0])
def test_an_exact_curve_gives_its_parameters_back(n, growth):
    found = powerlaw.fit(AT, law(n, growth)[None], np.ones(30), n)
    assert found.start == pytest.approx([7.0])
    assert pytest.approx([(growth**n - 1) * 7.0**n / 8.0], rel=1e-7) == found.K
    assert np.abs(found.residuals).max() < 1e-9


def test_the_fit_is_the_weighted_least_squares_in_r_of_scipy():
    rng = np.random.default_rng(1)
    r = law(3) * (1 + 0.02 * rng.normal(size=30))
    weight = rng.uniform(0.5, 2, 30)
    ours = powerlaw.fit(AT, r[None], weight, 3)
    (r0, K), cov = curve_fit(
        lambda t, r0, K: (r0**3 + K * (t - T[0])) ** (1 / 3), T, r, (7, 300), sigma=weight**-0.5, absolute_sigma=False
    )
    assert ours.start == pytest.approx([r0], rel=1e-6)
    assert pytest.approx([K], rel=1e-5) == ours.K
    assert powerlaw.rate_error(ours, AT, weight) == pytest.approx(np.sqrt(cov[1, 1]), rel=1e-3)


@pytest.mark.parametrize("n", [2, 4])
def test_means_over_windows_are_compared_with_means_of_the_curve(n):
    """Ten windows of four frames in which half of the particles vanish, and the curve bends."""
    t = np.arange(40.0)
    r = (1 + (3.0**n - 1) * t / 39) ** (1 / n)
    count = r**-3.0
    windows = np.repeat(np.arange(10), 4)

    def mean(values):
        return np.bincount(windows, count * values) / np.bincount(windows, count)

    middle = mean(t)
    apart = t - middle[windows]
    times = powerlaw.Times.over(middle, mean(apart**2), mean(apart**3))
    assert times.share.sum(axis=0) == pytest.approx(1)
    assert (times.share * times.nodes).sum(axis=0) == pytest.approx(middle)
    found = powerlaw.fit(times, mean(r)[None], np.ones(10), n)
    assert (3.0**n - 1) / 39 == pytest.approx(found.K[0], rel=3e-3)
    naive = powerlaw.fit(powerlaw.Times.at(t.reshape(10, 4).mean(axis=1)), mean(r)[None], np.ones(10), n)
    assert abs(naive.K[0] * 39 / (3.0**n - 1) - 1) > 0.008


def test_many_curves_at_once_are_fitted_as_one_by_one():
    rng = np.random.default_rng(2)
    r = law(2) * (1 + 0.05 * rng.normal(size=(6, 30)))
    together = powerlaw.fit_free(AT, r, np.ones(30))
    alone = [powerlaw.fit_free(AT, one[None], np.ones(30)).n[0] for one in r]
    assert together.n == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("n", [1.3, 2.0, 3.4, 6.0])
def test_the_free_exponent_of_an_exact_curve(n):
    assert powerlaw.fit_free(AT, law(n)[None], np.ones(30)).n == pytest.approx([n], rel=1e-3)


def test_effective_number_of_white_and_of_correlated_residuals():
    rng = np.random.default_rng(4)
    white = rng.normal(size=4000)
    walk = np.zeros(4000)
    for i in range(1, 4000):
        walk[i] = 0.8 * walk[i - 1] + white[i]
    assert powerlaw.effective_number(white, np.ones(4000)) == pytest.approx(4000, rel=0.06)
    assert powerlaw.effective_number(walk, np.ones(4000)) == pytest.approx(4000 * 0.2 / 1.8, rel=0.15)
    assert powerlaw.effective_number(np.zeros(9), np.ones(9)) == 9


@pytest.mark.parametrize("n", [2, 3, 4])
def test_noisy_growth_decides_for_its_exponent(n):
    rows, _ = growing(n_frames=40, n=60, exponent=n, growth=2.2, noise=0.01)
    table, verdict, absent = fitted(world(rows, 40), bootstrap=100)
    assert verdict.n == n
    assert not absent
    assert row(table, f"n{n}")["decided"]
    assert row(table, f"n{n}")["wording"] == verdict.sentence
    assert row(table, "free")["n"] == pytest.approx(n, abs=0.4)
    assert np.flatnonzero(table["decided"]).tolist() == [[2, 3, 4].index(n)]


def test_the_rate_is_in_nm_and_s_and_lies_in_its_interval():
    rows, mean_px = growing(n_frames=40, n=400, exponent=3, growth=2.2, noise=0.005)
    table, *_ = fitted(world(rows, 40), bootstrap=200)
    truth = 0.2**3 * (mean_px[-1] ** 3 - mean_px[0] ** 3) / (39 * CALIBRATED.s_per_frame)
    found = row(table, "n3")
    assert found["K"] == pytest.approx(truth, rel=0.05)
    assert found["K_low"] < truth < found["K_high"]
    assert found["K_high"] - found["K_low"] < 0.3 * truth


def test_little_growth_decides_nothing():
    rows, _ = growing(growth=1.3)
    table, verdict, _ = fitted(world(rows, 40), bootstrap=50)
    assert verdict.n is None
    assert "factor of 1.30" in verdict.sentence
    assert not table["decided"].any()


def test_much_noise_decides_nothing():
    rows, _ = growing(growth=1.7, noise=0.08)
    _, verdict, _ = fitted(world(rows, 40), bootstrap=0)
    assert verdict.n is None
    assert "equally well" in verdict.sentence


def test_a_law_of_another_family_is_not_given_a_name():
    rows, _ = growing(exponent=8, growth=3.0, noise=0.002)
    _, verdict, _ = fitted(world(rows, 40), bootstrap=0)
    assert verdict.n is None
    assert "none of n = 2, 3, 4" in verdict.sentence


def test_constant_size_gives_a_rate_of_zero_and_no_verdict():
    rows, _ = growing(growth=1.0)
    table, verdict, _ = fitted(world(rows, 40), bootstrap=50)
    assert verdict.n is None
    assert row(table, "n3")["K"] == pytest.approx(0, abs=1e-3)
    assert all(np.isfinite(table[k]).all() for k in ("K", "growth", "n_effective"))


def test_shrinking_particles_give_a_negative_rate():
    rows, _ = growing(growth=0.5)
    table, verdict, _ = fitted(world(rows, 40), bootstrap=50)
    assert verdict.n is None
    assert "shrank to 0.5" in verdict.sentence
    assert row(table, "n3")["K"] < 0


def test_one_growing_particle_is_no_population():
    rows, _ = growing(n=1, exponent=2, growth=2.0, noise=0.003)
    table, verdict, _ = fitted(world(rows, 40))
    assert verdict.n is None
    assert "1 merge families" in verdict.sentence
    assert not table["decided"].any()


def test_no_mechanism_is_named_where_material_comes_from_outside():
    rows, _ = growing(exponent=2, growth=2.0, noise=0.003)
    table, verdict, _ = fitted(world(rows, 40), bootstrap=50)
    assert verdict.n == 2
    assert "no coarsening of a closed system" in verdict.sentence
    assert "+7" in verdict.sentence
    assert "Wagner" not in row(table, "n2")["wording"]


def test_a_law_is_named_where_volume_is_conserved():
    rows, mean = growing(n=800, exponent=3, growth=2.0, noise=0.003, spread=0.05)
    share = (mean / mean[0]) ** -3.0
    kept = rows["particle"] < 800 * share[rows["frame"]]
    table, verdict, _ = fitted(world({k: v[kept] for k, v in rows.items()}, 40), bootstrap=50)
    assert verdict.n == 3
    assert "never names one mechanism" in verdict.sentence
    assert row(table, "n3")["wording"] == verdict.sentence


def test_critical_radius_rows_follow_their_own_moment():
    rows, mean = growing(exponent=2, growth=2.0, n=300)
    table, *_ = fitted(world(rows, 40), bootstrap=0)
    factor = rows["area_px"][:300] ** 0.5
    second = (factor**2).mean() / factor.mean() / factor.mean()
    expected = (0.2 * second) ** 2 * (mean[-1] ** 2 - mean[0] ** 2) / 3.9
    assert row(table, "n2", "critical_radius")["K"] == pytest.approx(expected, rel=0.02)


def test_too_few_windows_say_so():
    rows = particle_rows([0, 1, 2], [0, 0, 0], [5.0, 6.0, 7.0])
    table, verdict, absent = fitted(world(rows, 3))
    assert table == {}
    assert "3 time windows" in absent[0].why
    assert "3 time windows" in verdict.sentence


def test_what_lies_below_a_bound_is_not_printed_as_the_bound():
    equal = {2: 0.0, 3: 3.97, 4: 9.0}
    assert "factor of 1.49, and below 1.5" in chosen(2, equal, {}, 1.4999).sentence
    assert "ΔAIC = 3.9, below 4" in chosen(2, equal, {}, 2.0).sentence
    assert "in 89 % of the bootstrap" in chosen(2, {2: 0.0, 3: 5.0, 4: 9.0}, {2: 0.899}, 2.0).sentence
