from __future__ import annotations

import numpy as np
import pytest

from insitu.coarsening.resampling import GROUPS, resampled_sums


@pytest.mark.parametrize("n", [50, GROUPS + 1, 5 * GROUPS])
def test_sums_scatter_as_those_of_particles_drawn_one_by_one(n):
    rng = np.random.default_rng(0)
    parts = np.column_stack([rng.lognormal(size=n), np.ones(n)])
    drawn = resampled_sums(parts, 2000)
    assert drawn.mean(axis=0) == pytest.approx(parts.sum(axis=0), rel=0.03)
    assert drawn[:, 0].std() == pytest.approx(np.sqrt(n) * parts[:, 0].std(), rel=0.1)
    if n % GROUPS == 0 or n <= GROUPS:
        assert drawn[:, 1] == pytest.approx(n)


def test_nothing_to_draw():
    assert resampled_sums(np.zeros((0, 3)), 5).shape == (5, 3)
    assert resampled_sums(np.ones((4, 2)), 0).shape == (0, 2)
