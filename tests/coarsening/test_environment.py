from __future__ import annotations

import numpy as np
import pytest

from insitu.coarsening.environment import hard_core, nearest, pair_correlation, size_correlation, spacing
from insitu.coarsening.neighbours import neighbours


def scattered(n, region, seed=0, hard=0.0):
    """Points at random, none nearer to another than `hard`."""
    rng = np.random.default_rng(seed)
    kept = np.empty((0, 2))
    while len(kept) < n:
        spot = rng.uniform((0, 0), region)
        if not len(kept) or np.hypot(*(kept - spot).T).min() >= hard:
            kept = np.append(kept, spot[None], axis=0)
    return kept.T


def test_nearest_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    y, x = rng.uniform(0, 100, (2, 60))
    radius = rng.lognormal(0.5, 0.8, 60)
    d = np.hypot(y[:, None] - y, x[:, None] - x)
    np.fill_diagonal(d, np.inf)
    centre, gap = nearest(y, x, radius)
    assert centre == pytest.approx(d.min(axis=1))
    assert gap == pytest.approx((d - radius - radius[:, None]).min(axis=1))


def test_nearest_of_two_at_one_place():
    centre, gap = nearest(np.array([5.0, 5.0, 9.0]), np.zeros(3), np.array([1.0, 2.0, 1.0]))
    assert centre.tolist() == [0, 0, 4]
    assert gap.tolist() == [-3, -3, 1]


def test_points_at_random_have_a_clark_evans_ratio_of_one_also_near_the_border():
    found = [spacing(*scattered(40, (60, 200), s), np.zeros(40), (60, 200)) for s in range(400)]
    ratio, z = np.array([f.clark_evans for f in found]), np.array([f.z for f in found])
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)  # without correction: 1.09
    assert z.std() == pytest.approx(1.0, abs=0.12)
    plain = np.mean([f.mean_centre for f in found]) / (0.5 * np.sqrt(60 * 200 / 40))
    assert plain > 1.05


def test_order_and_clusters_lie_on_opposite_sides_of_one():
    y, x = (v.ravel() * 10.0 + 5 for v in np.mgrid[0:8, 0:8])
    even = spacing(y, x, np.ones(64), (80, 80))
    assert even.clark_evans > 1.7
    assert even.z > 5
    assert (even.mean_centre, even.mean_gap, even.closest) == pytest.approx((10, 8, 10))
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 80, (8, 2)).repeat(8, axis=0) + rng.standard_normal((64, 2))
    assert spacing(*near.T, np.zeros(64), (80, 80)).clark_evans < 0.6


@pytest.mark.parametrize("n", [0, 1])
def test_one_particle_has_no_neighbour(n):
    none = np.zeros(n)
    assert spacing(none, none, none, (10, 10)) is None
    assert pair_correlation(none, none, (10, 10), np.array([0.0, 1.0])) is None
    assert size_correlation(neighbours(none, none, (10, 10)), none) is None


def test_points_at_random_have_g_of_one_up_to_half_the_region():
    edges = np.linspace(0, 45, 10)
    g = np.mean([pair_correlation(*scattered(50, (50, 200), s), (50, 200), edges)["g"] for s in range(300)], 0)
    assert g == pytest.approx(np.ones(9), abs=0.06)
    plain = []  # without the correction g falls far below 1
    for s in range(40):
        y, x = scattered(50, (50, 200), s)
        d = np.hypot(y[:, None] - y, x[:, None] - x)[np.triu_indices(50, 1)]
        plain.append(2 * np.histogram(d, edges)[0] / (np.pi * np.diff(edges**2) * 50 * 49 / 1e4))
    assert np.mean(plain, 0)[-1] < 0.75


def test_g_counts_pairs_one_by_one():
    y, x = np.array([1.0, 1.0, 6.0]), np.array([1.0, 4.0, 1.0])
    table = pair_correlation(y, x, (10, 20), np.array([0.0, 2.0, 4.0, 5.5, 6.0]))
    assert table["pairs"].tolist() == [0, 1, 1, 1]  # 3, 5 and √34
    area = 200.0
    expected = 2 / ((10 - 0) * (20 - 3)) / (np.pi * (16 - 4) * 6 / area**2)
    assert table["g"][1] == pytest.approx(expected)


def test_intervals_of_g_cover_one_for_points_at_random():
    edges = np.array([5.0, 15.0])
    inside = []
    for s in range(120):
        table = pair_correlation(*scattered(120, (100, 100), s), (100, 100), edges)
        inside.append(table["g_low"][0] <= 1 <= table["g_high"][0])
    assert np.mean(inside) > 0.85


def test_the_hole_round_particles_that_keep_a_distance_is_found():
    y, x = scattered(300, (300, 300), hard=8.0)
    table = pair_correlation(y, x, (300, 300), np.linspace(0, 40, 41))
    assert hard_core(table) == pytest.approx(8.0, abs=0.6)
    y, x = scattered(300, (300, 300))
    assert hard_core(pair_correlation(y, x, (300, 300), np.linspace(0, 40, 9))) is None


def test_like_next_to_like_and_its_opposite():
    y, x = scattered(400, (100, 100))
    found = neighbours(y, x, (100, 100))
    rng = np.random.default_rng(0)
    alike = size_correlation(found, 5 + y / 20 + 0.1 * rng.standard_normal(400), draws=99)
    assert alike.correlation > 0.9
    assert alike.p_value == pytest.approx(0.01)
    size = rng.standard_normal(400)
    starved = size_correlation(found, 10 + size - 0.5 * found.total(size) / found.count, draws=99)
    assert starved.correlation < -0.3
    assert starved.p_value == pytest.approx(0.01)


def test_sizes_at_random_are_called_correlated_as_often_as_the_p_value_says():
    y, x = scattered(80, (100, 100))
    found = neighbours(y, x, (100, 100))
    p = [
        size_correlation(found, np.random.default_rng(s).lognormal(size=80), draws=99, seed=s).p_value
        for s in range(200)
    ]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.06)


def test_equal_or_unknown_sizes_have_no_correlation():
    y, x = scattered(80, (100, 100))
    found = neighbours(y, x, (100, 100))
    assert size_correlation(found, np.full(80, 3.0)) is None
    assert size_correlation(found, np.full(80, np.nan)) is None
    size = np.random.default_rng(0).lognormal(size=80)
    size[3] = np.nan
    assert size_correlation(found, size, draws=9).n < size_correlation(found, np.nan_to_num(size, nan=1.0), draws=9).n


def test_intervals_of_g_cover_one_also_in_wide_bins_and_for_few_particles():
    inside = {20: [], 120: []}
    for n, found in inside.items():
        for s in range(150):
            table = pair_correlation(*scattered(n, (100, 100), s), (100, 100), np.array([0.0, 3.0, 30.0]))
            found.append((table["g_low"] <= 1) & (table["g_high"] >= 1))
    assert np.array([np.mean(v, axis=0) for v in inside.values()]).min() > 0.88


def test_a_bin_without_pairs_has_an_upper_end():
    table = pair_correlation(np.array([1.0, 9.0]), np.array([1.0, 9.0]), (10, 10), np.array([0.0, 1.0]))
    assert (table["g"][0], table["g_low"][0]) == (0, 0)
    assert table["g_high"][0] > 10
