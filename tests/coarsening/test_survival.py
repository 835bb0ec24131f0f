from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from insitu.coarsening.survival import aalen_johansen, kaplan_meier, size_classes, survival

# Six particles: dissolved at 1, 3 and 3, merged at 2, out of sight at 2 and 4.
DURATION = np.array([1.0, 2.0, 2.0, 3.0, 3.0, 4.0])
CAUSE = np.array([1, 2, 0, 1, 1, 0])


def random_lives(seed, n=60):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 12, n).astype(float), rng.integers(0, 3, n)


def test_survival_of_six_particles_worked_by_hand():
    table = kaplan_meier(DURATION, CAUSE > 0)
    assert table["time_{time}"].tolist() == [0, 1, 2, 3, 4]
    assert table["at_risk"].tolist() == [6, 6, 5, 3, 1]
    assert table["ended"].tolist() == [0, 1, 1, 2, 0]
    assert table["censored"].tolist() == [0, 0, 1, 0, 1]
    # the particle lost at 2 was still at risk when another merged at 2
    assert table["survival"] == pytest.approx([1, 5 / 6, 5 / 6 * 4 / 5, 2 / 3 / 3, 2 / 9])


def test_survival_and_its_interval_are_those_of_scipy():
    for seed in range(20):
        duration, cause = random_lives(seed)
        table = kaplan_meier(duration, cause > 0)
        data = stats.CensoredData(duration[cause > 0], right=duration[cause == 0])
        sf = stats.ecdf(data).sf
        assert table["survival"] == pytest.approx(sf.evaluate(table["time_{time}"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # scipy warns where S is 0 or 1
            interval = sf.confidence_interval(method="log-log")
        seen = np.isfinite(table["survival_low"])
        at = table["time_{time}"][seen]
        assert table["survival_low"][seen] == pytest.approx(interval.low.evaluate(at))
        assert table["survival_high"][seen] == pytest.approx(interval.high.evaluate(at))
        assert seen.tolist() == [0 < s < 1 for s in table["survival"]]


def test_incidence_of_six_particles_worked_by_hand():
    table = aalen_johansen(DURATION, CAUSE)
    rows = {k: {n: v[table["cause"] == k] for n, v in table.items()} for k in (1, 2)}
    assert rows[1]["time_{time}"].tolist() == [0, 1, 2, 3, 4]
    assert rows[1]["incidence"] == pytest.approx([0, 1 / 6, 1 / 6, 1 / 6 + 2 / 3 * 2 / 3, 1 / 6 + 4 / 9])
    assert rows[2]["incidence"] == pytest.approx([0, 0, 5 / 6 / 5, 1 / 6, 1 / 6])


def test_censoring_mergers_would_overstate_dissolution():
    # With many mergers early, one minus Kaplan-Meier of dissolution alone exceeds what really dissolved.
    rng = np.random.default_rng(0)
    dissolves, merges = rng.exponential(10, 4000), rng.exponential(5, 4000)
    cause = np.where(dissolves < merges, 1, 2)
    first = aalen_johansen(np.minimum(dissolves, merges), cause)
    last = first["incidence"][first["cause"] == 1][-1]
    assert last == pytest.approx((cause == 1).mean())
    naive = 1 - kaplan_meier(np.minimum(dissolves, merges), cause == 1)["survival"][-1]
    assert naive > 2 * last


def test_without_censoring_the_variance_of_incidence_is_binomial():
    rng = np.random.default_rng(1)
    duration, cause = rng.permutation(400).astype(float) + 1, rng.integers(1, 3, 400)
    table = aalen_johansen(duration, cause, confidence=0.95)
    rows = (table["cause"] == 1) & (table["incidence"] > 0.1)
    p = table["incidence"][rows]
    half = stats.norm.ppf(0.975) * np.sqrt(p * (1 - p) / 400) / (p * -np.log(p))
    assert table["incidence_low"][rows] == pytest.approx(p ** np.exp(half), rel=0.01)
    assert table["incidence_high"][rows] == pytest.approx(p ** np.exp(-half), rel=0.01)


def test_intervals_of_incidence_cover_the_truth_under_censoring():
    rng = np.random.default_rng(2)
    inside = []
    true = 1 / 3 * (1 - np.exp(-3.0 / 10 * 4))  # hazards 0.1 and 0.2, at time 4
    for _ in range(400):
        a, b, c = rng.exponential(10, 80), rng.exponential(5, 80), rng.exponential(8, 80)
        duration = np.minimum(np.minimum(a, b), c)
        cause = np.where(duration == c, 0, np.where(a < b, 1, 2))
        table = aalen_johansen(duration, cause)
        k = np.flatnonzero((table["cause"] == 1) & (table["time_{time}"] <= 4))[-1]
        inside.append(table["incidence_low"][k] <= true <= table["incidence_high"][k])
    assert 0.92 <= np.mean(inside) <= 0.98


def test_many_particles_that_all_end_give_no_overflow():
    rng = np.random.default_rng(0)
    n = 3001
    table = aalen_johansen(rng.exponential(size=n), np.ones(n, int))
    first = table["cause"] == 1
    assert table["incidence"][first][-1] == pytest.approx(1.0)
    assert np.isnan(table["incidence_low"][first][-1])
    assert np.isfinite(table["incidence_low"][first][1:-1]).all()


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_incidences_and_survival_add_up_to_one(seed, n):
    duration, cause = random_lives(seed, n)
    alive = kaplan_meier(duration, cause > 0)
    ends = aalen_johansen(duration, cause)
    total = sum(ends["incidence"][ends["cause"] == k] for k in (1, 2))
    assert total == pytest.approx(1 - alive["survival"])
    known = np.isfinite(ends["incidence_low"])
    assert (ends["incidence_low"][known] <= ends["incidence"][known] + 1e-12).all()
    assert (ends["incidence_high"][known] >= ends["incidence"][known] - 1e-12).all()


def test_classes_hold_equal_numbers_and_equal_sizes_stay_together():
    of, edges = size_classes(np.arange(9.0), 3)
    assert np.bincount(of).tolist() == [3, 3, 3]
    assert edges.tolist() == [0, 3, 6, 8]
    of, edges = size_classes(np.array([1.0, 1.0, 1.0, 1.0, 2.0]), 3)
    assert len(set(of[:4].tolist())) == 1
    of, _ = size_classes(np.array([1.0, np.nan]), 2)
    assert of.tolist() == [0, -1]


def test_survival_by_class_of_initial_size():
    radius = np.concatenate([np.full(20, 1.0), np.full(20, 2.0)])
    duration = np.concatenate([np.full(20, 1.0), np.full(20, 9.0)])
    cause = np.concatenate([np.ones(20, int), np.zeros(20, int)])
    alive, ends, absent = survival(duration, cause, radius, classes=2)
    assert absent == ()
    assert set(alive["size_class"]) == {-1, 0, 1}
    small = alive["size_class"] == 0
    assert alive["survival"][small].tolist() == [1, 0]
    assert alive["survival"][alive["size_class"] == 1][-1] == 1
    assert alive["survival"][alive["size_class"] == -1][-1] == 0.5
    assert set(ends["cause"]) == {"dissolution", "coalescence"}
    spans = alive["radius_low_{length}"][small][0], alive["radius_high_{length}"][small][0]
    assert spans == (1.0, 2.0)


@pytest.mark.parametrize(
    ("duration", "cause", "radius"),
    [
        ([], [], []),
        ([1.0], [0], [2.0]),
        ([1.0, 2.0], [1, 2], [2.0, 2.0]),
        ([1.0, np.nan], [1, 0], [np.nan, 2.0]),
        ([0.0, 0.0], [1, 1], [1.0, 2.0]),
    ],
)
def test_few_or_odd_particles_give_a_reason_and_no_warning(duration, cause, radius):
    alive, ends, absent = survival(np.array(duration), np.array(cause, int), np.array(radius))
    if not alive:
        assert "no particle" in absent[0].why
        return
    assert np.isfinite(alive["survival"]).all()
    assert np.isfinite(ends["incidence"]).all()
    assert ("the same initial size" in absent[0].why) if absent else len(set(radius)) > 1
