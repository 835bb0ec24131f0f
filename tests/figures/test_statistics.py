"""Figures of the statistics, each from small columns of which one knows what must be seen."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest

from insitu import figures
from insitu.coarsening.columns import TABLES
from insitu.figures import Units
from insitu.figures.sizes import windows

NM = Units("nm", "s", "um2")


def svg(drawn):
    held = io.StringIO()
    with figures.style.styled("t"):
        drawn.figure.savefig(held, format="svg")
    return held.getvalue()


def bins(n_windows=7):
    edges = np.linspace(1, 5, 9)
    rows = {name: [] for name in ("window", "time_s", "radius_low_nm", "radius_high_nm", "density_per_nm", "n4_per_nm")}
    rows |= {f"{m}_per_nm": [] for m in ("lognormal", "n2", "n3")}
    for w in range(n_windows):
        for low, high in pairwise(edges):
            values = (w, w / 10, low, high, 0.25, np.nan, 0.2, 0.1, None)
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
    fits = {
        "window": [0, 0, 6],
        "model": ["lognormal", "n2", "lognormal"],
        "p_value": [0.4, 0.1, None],
        "n_particles": [9] * 3,
    }
    return rows, fits


def test_windows_are_spread_from_first_to_last():
    assert windows([3] * 4) == [3]
    assert windows(np.repeat(np.arange(0, 40), 3)) == [0, 10, 20, 29, 39]


def test_distributions_show_five_times_with_what_was_fitted():
    drawn = figures.distributions(*bins(), NM)
    axes = drawn.figure.axes
    assert len(axes) == 5
    assert axes[0].get_title(loc="left") == "0 s, N = 9\np = 0.4"
    assert axes[4].get_title(loc="left") == "0.6 s, N = 9"
    stairs = axes[0].patches[0].get_data()
    assert stairs.values.sum() * 0.5 == pytest.approx(1.0)
    assert stairs.edges.tolist() == np.linspace(1, 5, 9).tolist()
    assert {line.get_label() for line in axes[0].lines} == {"log-normal", "n = 2"}
    assert "nan" not in svg(drawn)
    assert len(figures.distributions(bins(1)[0], {}, NM).figure.axes) == 1


def growth_rows(n=400, *, known=True):
    rng = np.random.default_rng(0)
    over = rng.uniform(0.3, 2.5, n)
    return {
        "time_s": np.zeros(n),
        "particle": np.arange(n),
        "window": np.zeros(n, int),
        "radius_over_critical": over if known else [None] * n,
        "radius_over_mean": over * 0.9,
        "rate_nm_per_s": over - 1 + rng.normal(0, 0.1, n),
    }


def test_growth_changes_its_sign_where_the_radius_is_critical():
    critical = {"time_s": [0.0, 1.0], "critical_radius_nm": [2.0, 3.0]}
    critical |= {"critical_radius_nm_low": [1.5, None], "critical_radius_nm_high": [2.5, None]}
    drawn = figures.growth(growth_rows(), critical, NM)
    left, right = drawn.figure.axes
    assert left.get_xlabel() == "r / r*"
    assert left.get_ylabel() == "dr/dt (nm/s)"
    [means] = [c for c in left.containers if hasattr(c, "has_yerr")]
    x, y = means.lines[0].get_data()
    assert np.interp(0, y, x) == pytest.approx(1.0, abs=0.05)
    assert right.get_ylabel() == "critical radius (nm)"
    assert "nan" not in svg(drawn)


def test_growth_without_a_critical_radius_goes_by_the_mean():
    drawn = figures.growth(growth_rows(known=False), {}, NM)
    assert len(drawn.figure.axes) == 1
    assert drawn.figure.axes[0].get_xlabel() == "r / ⟨r⟩"


@pytest.mark.parametrize("n", [1, 5])
def test_growth_of_few_particles(n):
    assert "nan" not in svg(figures.growth(growth_rows(n), {}, NM))


def test_pair_correlation_has_a_line_a_time_and_one_at_random():
    window = np.repeat([0, 4, 9], 5)
    low = np.tile(np.arange(5.0), 3)
    g = np.tile([0, 0.5, 1.4, 1, 1], 3)
    rows = {"window": window, "time_s": window / 10, "distance_low_nm": low, "distance_high_nm": low + 1, "g": g}
    drawn = figures.pair_correlation(rows | {"g_low": g - 0.1, "g_high": g + 0.1}, NM)
    axes = drawn.figure.axes[0]
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in named] == ["0 s", "0.4 s", "0.9 s"]
    assert named[0].get_xdata().tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert axes.get_xlabel() == "distance (nm)"


def survival_rows():
    rows = {"size_class": [-1, -1, -1, 0, 0], "time_s": [0.0, 1.0, 2.0, 0.0, 1.0]}
    rows |= {"radius_low_nm": [1.0] * 5, "radius_high_nm": [4.0] * 3 + [2.0] * 2}
    rows |= {"survival": [1, 0.8, 0.5, 1, 0.2], "survival_low": [None, 0.7, 0.4, None, 0.1]}
    rows |= {"survival_high": [None, 0.9, 0.6, None, 0.4]}
    ends = {"size_class": [-1, -1], "cause": ["dissolution", "coalescence"], "time_s": [1.0, 1.0]}
    return rows, ends | {"incidence": [0.2, 0.1], "incidence_low": [0.1, 0.0], "incidence_high": [0.3, 0.2]}


def test_survival_falls_in_steps_by_class():
    drawn = figures.survival(*survival_rows(), NM)
    left, right = drawn.figure.axes
    assert [line.get_label() for line in left.lines] == ["all sizes", "1 to 2 nm"]
    assert left.lines[0].get_drawstyle() == "steps-post"
    assert left.lines[0].get_ydata().tolist() == [1, 0.8, 0.5]
    assert [line.get_label() for line in right.lines] == ["dissolution", "coalescence"]
    assert "nan" not in svg(drawn)
    assert len(figures.survival(survival_rows()[0], {}, NM).figure.axes) == 1


def test_displacements_are_logarithmic_with_the_fitted_law():
    lag = np.array([0.1, 0.2, 0.4, 0.8])
    rows = {"size_class": [-1] * 4 + [0], "lag_s": [*lag, 0.1], "msd_nm2": [*(4 * 2 * lag + 4 * 0.01), 0.0]}
    rows |= {"msd_nm2_low": [None] * 5, "msd_nm2_high": [None] * 5}
    fits = {"size_class": [-1, 0], "D_alpha": [2.0, None], "alpha": [1.0, None], "sigma_nm": [0.1, None]}
    drawn = figures.displacements(rows, fits, NM)
    axes = drawn.figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    points, law = axes.lines
    assert np.allclose(np.interp(lag, law.get_xdata(), law.get_ydata()), points.get_ydata(), rtol=0.01)
    text = svg(drawn)
    assert "10⁻¹" in text
    assert "mathdefault" not in text
    assert axes.get_ylabel() == "mean squared displacement (nm²)"


def test_the_number_balance_adds_up_from_the_beginning():
    rows = {"window": [0, 0, 0, 1, 1, 1], "time_s": [0.0] * 3 + [1.0] * 3}
    rows |= {"term": ["coalescence", "splitting", "total"] * 2, "change": [-2, 0, -2, -1, 0, None]}
    axes = figures.number_balance(rows, NM).figure.axes[0]
    named = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert set(named) == {"coalescence (−3)", "total (−2)"}
    assert named["coalescence (−3)"].get_ydata().tolist() == [-2, -3]


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("distributions", ("window", "time_{time}", "radius_low_{length}", "density_per_{length}", "n3_per_{length}")),
        ("distribution_fits", ("window", "model", "p_value", "n_particles")),
        ("growth", ("radius_over_critical", "radius_over_mean", "rate_{length}_per_{time}")),
        ("critical", ("time_{time}", "critical_radius_{length}", "critical_radius_{length}_low")),
        ("pair_correlation", ("distance_low_{length}", "g", "g_low", "g_high")),
        ("survival", ("size_class", "radius_low_{length}", "survival", "survival_low", "time_{time}")),
        ("incidence", ("cause", "incidence", "incidence_high")),
        ("mobility", ("size_class", "lag_{time}", "lag_frames", "msd_{length}2", "msd_{length}2_low")),
        ("mobility_fits", ("size_class", "D_alpha", "alpha", "sigma_{length}")),
        ("number_balance", ("window", "time_{time}", "term", "change")),
        ("kinetics", ("time_{time}", "mean_radius_{length}_low", "number_density_per_{area}")),
        ("fits", ("quantity", "model", "n", "K", "r0_{length}", "decided")),
    ],
)
def test_the_columns_that_figures_ask_for_are_those_that_the_statistics_declare(table, names):
    assert set(names) <= {column.name for column in TABLES[table]}
