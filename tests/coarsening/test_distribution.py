import numpy as np
import pytest
from cases_coarsening import UNKNOWN, growing, particle_rows, world
from scipy import stats
from scipy.integrate import trapezoid

from insitu.coarsening import shapes
from insitu.coarsening.distribution import distributions, moments, smooth
from insitu.coarsening.gather import gather
from insitu.options import CoarseningOptions


def found(tables, **options):
    return distributions(gather(tables, CoarseningOptions(**options)))


def one_frame(r, calibration=UNKNOWN):
    return world(particle_rows(np.zeros(len(r)), np.arange(len(r)), r), 1, calibration=calibration)


def lsw_classic(u):
    """The formula of Lifshitz, Slyozov and Wagner for n = 3 as textbooks print it."""
    return 4 / 9 * u**2 * (3 / (3 + u)) ** (7 / 3) * (1.5 / (1.5 - u)) ** (11 / 3) * np.exp(-u / (1.5 - u))


@pytest.mark.parametrize(
    ("n", "mean", "std", "rate"), [(2, 8 / 9, 0.3536, 1 / 2), (3, 1, 0.2151, 4 / 9), (4, 1.0338, 0.1520, 27 / 64)]
)
def test_shapes_have_the_golden_moments(n, mean, std, rate):
    law = shapes.ripened(n)
    assert law.mean == pytest.approx(mean, rel=1e-4)
    assert law.relative_std == pytest.approx(std, rel=3e-4)
    assert law.rate == pytest.approx(rate)
    assert law.cdf[[0, -1]].tolist() == [0, 1]
    assert trapezoid(law.pdf, law.u) == pytest.approx(1, rel=1e-6)


def test_the_shape_of_n_3_is_that_of_the_textbooks():
    law = shapes.ripened(3)
    inside = law.u < 1.49
    assert law.pdf[inside] == pytest.approx(lsw_classic(law.u[inside]), abs=1e-9)


def test_cdf_and_pdf_of_a_fit_belong_together():
    r = np.linspace(1, 40, 4000)
    for fit in (shapes.Fitted("lognormal", 12.0, 0.3), shapes.Fitted("n2", 12.0, np.nan)):
        assert np.gradient(fit.cdf(r), r)[5:-5] == pytest.approx(fit.pdf(r)[5:-5], abs=1e-5)


def test_moments_of_weighted_sizes():
    r, w = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 1.0])
    got = moments(r, w)
    assert got["mean_radius_{length}"] == pytest.approx(2)
    assert got["d32_{length}"] == pytest.approx(2 * (2 + 8 + 64) / (2 + 4 + 16))
    assert got["relative_std"] == pytest.approx(np.sqrt(1.5) / 2)
    rng = np.random.default_rng(0)
    many = rng.lognormal(1, 0.4, 20_000)
    assert moments(many, np.ones(20_000))["median_radius_{length}"] == pytest.approx(np.median(many), rel=1e-3)
    assert moments(many, np.ones(20_000))["skewness"] == pytest.approx(stats.skew(many))


@pytest.mark.parametrize("model", shapes.MODELS)
def test_sizes_drawn_from_a_model_are_not_refused_by_it_but_by_the_others(model):
    rng = np.random.default_rng(7)
    if model == "lognormal":
        r = np.exp(rng.normal(3, 0.3, 800))
    else:
        law = shapes.ripened(int(model[1:]))
        r = 20 * np.interp(rng.random(800), law.cdf, law.u)
    _, fits, absent = found(one_frame(np.maximum(r, 1.0)))
    p = dict(zip(fits["model"], fits["p_value"], strict=True))
    assert p[model] > 0.05
    assert all(p[other] < 0.05 for other in shapes.MODELS if other != model)
    assert not absent


def test_p_values_are_uniform_where_the_model_is_true():
    rng = np.random.default_rng(3)
    null = shapes.null_distances("n3", 100, 999, 0)
    law = shapes.ripened(3)
    p = []
    for _ in range(300):
        r = 5 * np.interp(rng.random(100), law.cdf, law.u)
        fit = shapes.fitted("n3", r, np.ones(100))
        p.append(1 - np.searchsorted(null, 10 * shapes.distance(fit, r, np.ones(100))) / len(null))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_distance_is_that_of_scipy():
    r = np.random.default_rng(0).lognormal(2, 0.4, 50)
    fit = shapes.fitted("lognormal", r, np.ones(50))
    assert shapes.distance(fit, r, np.ones(50)) == pytest.approx(stats.kstest(r, fit.cdf).statistic)
    doubled = np.concatenate([r, r])
    assert shapes.distance(fit, r, np.full(50, 2.0)) == pytest.approx(stats.kstest(doubled, fit.cdf).statistic)


def test_densities_integrate_to_one_and_are_per_nm():
    rows, _ = growing(n_frames=20, n=300)
    bins, fits, _ = found(world(rows, 20))
    for window in np.unique(bins["window"]):
        mine = bins["window"] == window
        width = bins["radius_high_{length}"][mine] - bins["radius_low_{length}"][mine]
        for name in ("density", "kde", "lognormal"):
            assert (bins[name + "_per_{length}"][mine] * width).sum() == pytest.approx(1, rel=0.03), name
        middle = np.sqrt(bins["radius_high_{length}"][mine] * bins["radius_low_{length}"][mine])
        mean = fits["mean_radius_{length}"][fits["window"] == window][0]
        assert (bins["density_per_{length}"][mine] * width * middle).sum() == pytest.approx(mean, rel=0.01)


def test_windows_are_spread_from_the_first_to_the_last():
    rows, _ = growing(n_frames=20, n=30)
    bins, *_ = found(world(rows, 20), windows=10, distribution_windows=3)
    assert np.unique(bins["window"]).tolist() == [0, 4, 9]


def test_constant_size_has_a_histogram_and_says_why_there_is_no_more():
    bins, fits, absent = found(one_frame(np.full(40, 12.0)))
    assert bins["count"].sum() == 40
    assert np.isnan(bins["kde_per_{length}"]).all()
    assert fits == {}
    assert "all particles have one size" in absent[0].why


def test_few_particles_have_a_histogram_and_say_why_there_is_no_more():
    bins, fits, absent = found(one_frame(np.array([10.0, 12.0])))
    assert bins["count"].sum() == 2
    assert fits == {}
    assert absent[0].why == "fewer than 10 particles"


def test_smooth_is_the_kernel_density_of_scipy():
    rng = np.random.default_rng(2)
    r, w, at = rng.normal(20, 3, 200), rng.uniform(1, 2, 200), np.linspace(10, 30, 7)
    assert smooth(r, w, at) == pytest.approx(stats.gaussian_kde(r, "silverman", weights=w)(at))


def test_smooth_thins_many_particles_without_moving_the_curve():
    r = np.random.default_rng(1).normal(20, 3, 60_000)
    at = np.linspace(12, 28, 9)
    assert smooth(r, np.ones(60_000), at) == pytest.approx(stats.norm(20, 3).pdf(at), abs=0.003)
