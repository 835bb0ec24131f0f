from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from insitu.coarsening.neighbours import Surroundings, growth_correlation, local_critical_radius, neighbours


def grid(n=5, step=10.0, jitter=0.0, seed=0):
    y, x = (v.ravel().astype(float) for v in np.mgrid[0:n, 0:n] * step + step / 2)
    rng = np.random.default_rng(seed)
    return y + jitter * rng.standard_normal(n * n), x + jitter * rng.standard_normal(n * n)


def test_a_hexagon_round_a_particle_are_its_neighbours():
    angle = np.arange(6) * np.pi / 3
    y, x = 50 + np.append(0, 10 * np.sin(angle)), 50 + np.append(0, 10 * np.cos(angle))
    found = neighbours(y, x, (100, 100))
    assert found.count.tolist() == [6, 3, 3, 3, 3, 3, 3]
    assert found.complete.tolist() == [True] + [False] * 6
    # the circles through the triangles reach 11.5 from the middle: a narrower region leaves the outside unknown
    assert not neighbours(y - 40, x - 40, (20, 20)).complete.any()
    radius = np.array([9.0, 1, 2, 3, 4, 5, 6])
    for n, expected in ((2, 91 / 21), (3, 3.5), (4, 6 / (1 / radius[1:]).sum())):
        local, known = local_critical_radius(found, radius, n)
        assert known.tolist() == found.complete.tolist()
        assert local[0] == pytest.approx(expected)
    radius[3] = np.nan
    assert not local_critical_radius(found, radius)[1].any()


def test_complete_means_that_nothing_outside_changes_it():
    rng = np.random.default_rng(3)
    y, x = rng.uniform(-50, 150, (2, 400))
    inside = (y > 0) & (y < 100) & (x > 0) & (x < 100)
    cut = neighbours(y[inside], x[inside], (100, 100))
    whole = neighbours(y, x, (1e9, 1e9))
    assert cut.complete.sum() > 20
    assert cut.count[cut.complete].tolist() == whole.count[inside][cut.complete].tolist()
    assert (cut.count[~cut.complete] != whole.count[inside][~cut.complete]).any()


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_particles_or_a_line_of_them(n):
    found = neighbours(np.arange(n) * 2.0, np.full(n, 5.0), (20, 20))
    assert len(found.complete) == n
    assert not found.complete.any()
    local, known = local_critical_radius(found, np.ones(n))
    assert not known.any()
    assert np.isfinite(local).all()


def test_particles_at_one_place_do_not_fail():
    y, x = grid(4)
    found = neighbours(np.append(y, y[5]), np.append(x, x[5]), (40, 40))
    assert len(found.complete) == 17


def growing(influence, seed=0, windows=3):
    """Particles at random places; `influence` is how far neighbours, rather than all, set r*."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0, 1000, (2, 500))
    made = []
    for _ in range(windows):
        r = rng.lognormal(1.0, 0.3, 500)
        found = neighbours(y, x, (1000, 1000))
        local, known = local_critical_radius(found, r)
        star = influence * local + (1 - influence) * r.mean()
        rate = r**-2 * (r / np.where(known, star, 1.0) - 1) + 0.005 * rng.standard_normal(500)
        made.append(Surroundings(np.flatnonzero(known), r[known], rate[known], local[known]))
    return made


def test_local_surroundings_explain_growth_where_they_set_it():
    table = growth_correlation(growing(1.0), draws=60)
    value = dict(zip(table["quantity"], table["correlation"], strict=True))
    assert value["local"] > value["global"] + 0.02
    assert table["correlation_high"][2] < -0.5
    assert (table["correlation_low"] < table["correlation"]).all()
    assert (table["correlation"] < table["correlation_high"]).all()


def test_no_influence_of_neighbours_is_found_in_a_mean_field():
    inside = []
    for seed in range(25):
        table = growth_correlation(growing(0.0, seed, 1), draws=150, seed=seed)
        inside.append(table["correlation_low"][2] <= 0 <= table["correlation_high"][2])
        assert table["correlation"][0] > table["correlation"][1]
    assert np.mean(inside) >= 0.84


def test_correlation_is_spearmans():
    one = growing(0.5)[:1]
    table = growth_correlation(one, draws=0)
    w = one[0]
    assert table["correlation"][0] == pytest.approx(stats.spearmanr(w.radius, w.rate).statistic)
    assert table["correlation"][1] == pytest.approx(stats.spearmanr(w.radius / w.local, w.rate).statistic)
    assert "correlation_low" not in table


def test_too_few_or_equal_particles_have_no_correlation():
    few = Surroundings(np.arange(5), np.arange(5.0), np.arange(5.0), np.arange(5.0))
    equal = Surroundings(np.arange(50), np.ones(50), np.arange(50.0), np.arange(50.0))
    assert growth_correlation([], draws=10) is None
    assert growth_correlation([few, equal], draws=10) is None
