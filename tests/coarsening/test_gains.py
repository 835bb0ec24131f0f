from __future__ import annotations

import numpy as np
import pytest

from insitu.coarsening.gains import Snapshot, excess_share, neighbour_gain
from insitu.coarsening.neighbours import neighbours


def world(share, n=400, dissolved=20, seed=0, noise=0.0):
    """One window before, one after: `share` of each dissolved volume goes to the neighbours, the rest to all."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0, 1000, (2, n))
    found = neighbours(y, x, (1000, 1000))
    r = rng.uniform(2, 4, n)
    gone, taken = [], np.zeros(n, bool)
    for p in np.flatnonzero(found.complete).tolist():
        ids = np.concatenate([found.second[found.first == p], found.first[found.second == p]])
        if len(gone) < dissolved and not taken[ids].any() and not taken[p]:
            gone.append(p)
            taken[ids] = taken[p] = True
    r[gone] = 1.5
    volume = r**3
    volume += 0.1 * r**3 - 0.5  # what happens anyway, by size
    for p in gone:
        ids = np.concatenate([found.second[found.first == p], found.first[found.second == p]])
        volume[ids] += share * r[p] ** 3 / len(ids)
    volume += noise * rng.standard_normal(n)
    stay = np.setdiff1d(np.arange(n), gone)
    sizes = {0: (np.arange(n), r), 2: (stay, volume[stay] ** (1 / 3))}
    return [(100 + k, 1, p) for k, p in enumerate(gone)], {0: Snapshot(np.arange(n), found)}, sizes


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_the_share_that_goes_to_the_neighbours_is_found(share):
    table = neighbour_gain(*world(share))
    assert len(table["event"]) >= 10
    assert table["lost_{length}3"] == pytest.approx(1.5**3)
    found = excess_share(table)
    assert found.value == pytest.approx(share, abs=0.01)
    assert found.events == len(table["event"])


def test_intervals_cover_the_share():
    inside = []
    for seed in range(60):
        found = excess_share(neighbour_gain(*world(0.5, n=800, dissolved=30, seed=seed, noise=0.3)), seed=seed)
        inside.append(found.low <= 0.5 <= found.high)
    assert np.mean(inside) >= 0.85


def test_first_and_last_window_border_and_unknown_particles_are_left_out():
    events, snapshots, sizes = world(1.0)
    assert len(neighbour_gain([(e, 0, p) for e, _, p in events], snapshots, sizes)["event"]) == 0
    assert len(neighbour_gain([(e, 2, p) for e, _, p in events], snapshots, sizes)["event"]) == 0
    border = int(np.flatnonzero(~snapshots[0].neighbours.complete)[0])
    assert len(neighbour_gain([(1, 1, border), (2, 1, 99_999)], snapshots, sizes)["event"]) == 0
    assert len(neighbour_gain([], snapshots, sizes)["event"]) == 0
    few = world(1.0, n=15)
    assert len(neighbour_gain(*few)["event"]) == 0


def test_mergers_that_were_taken_for_dissolutions_do_not_rule():
    table = neighbour_gain(*world(0.0, n=800, dissolved=30, noise=0.3))
    table["gain_{length}3"][:2] += 30.0  # nine times what a dissolved one loses
    found = excess_share(table)
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.15


def test_few_dissolutions_have_no_share():
    table = neighbour_gain(*world(1.0, dissolved=3))
    assert len(table["event"]) == 3
    assert excess_share(table) is None
    assert excess_share({}) is None
