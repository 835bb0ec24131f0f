from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from insitu.coarsening.intervals import clustered_interval, poisson_interval, share_interval


def test_poisson_intervals_are_the_exact_ones():
    low, high = poisson_interval(np.array([0.0, 1.0, 10.0]))
    assert low == pytest.approx([0, 0.0253, 4.795], rel=1e-3)
    assert high == pytest.approx([3.689, 5.572, 18.39], rel=1e-3)


def test_groups_make_the_interval_wider_and_single_events_do_not():
    count = np.array([10.0, 0.0])
    low, high = clustered_interval(count, np.array([10.0, 0.0]))
    assert (low, high) == tuple(pytest.approx(v) for v in poisson_interval(count))
    wide_low, wide_high = clustered_interval(count, np.array([30.0, 0.0]))
    assert wide_low[0] < low[0]
    assert wide_high[0] > high[0]
    less = clustered_interval(count, np.array([1.0, 0.0]))  # never narrower than single events
    assert less[0] == pytest.approx(low)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 10), (10, 10), (50, 200)])
def test_share_intervals_are_scipys(k, n):
    exact = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    assert share_interval(k, n) == pytest.approx((exact.low, exact.high))


def test_no_trial_says_nothing():
    assert share_interval(0, 0) == (0, 1)
