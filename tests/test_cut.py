"""Particles in contact kept apart: every pixel and every count goes to exactly one of them."""

from __future__ import annotations

import cases_events as cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.runs import components, find_runs, paint, runs_of_labels
from insitu.runs.cut import cut

DISCS = [(60.0, 50.0, 12.0), (60.0, 69.0, 9.0)]


def runs_of(*discs: cases.Disc, seed: int = 0):
    mask = cases.mask_of(discs)
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 60_000, mask.shape, dtype=np.uint16)
    return components(find_runs(mask, counts, rng.integers(0, 65_536, mask.shape))), counts


def places(*discs: cases.Disc) -> tuple[np.ndarray, np.ndarray]:
    return np.array([d[:2] for d in discs]), np.array([np.pi * d[2] ** 2 for d in discs])


def test_the_cut_runs_through_the_neck():
    runs, _ = runs_of((20.0, 20.0, 5.0), *DISCS, (100.0, 100.0, 8.0))
    divided, number, parts = cut(runs, 2, *places(*DISCS))
    image = paint(divided)
    assert divided.n_labels == 4
    assert number.tolist() == [1, 0, 4]
    # Discs of radius 12 and 9, 19 px apart, cross at x = 50 + (19² + 12² - 9²) / (2 · 19) = 61.2.
    assert (image == parts[0]).nonzero()[1].max() == 61
    assert (image == parts[1]).nonzero()[1].min() == 62
    assert (paint(runs) > 0).tolist() == (image > 0).tolist()


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.6])
def test_the_pair_may_have_moved_and_turned_since_it_met(angle):
    (y, x, a), b = DISCS[0], 9.0
    there = (y + 19 * np.sin(angle) + 3, x + 19 * np.cos(angle) - 2)
    runs, _ = runs_of((y + 3, x - 2, a), (*there, b))
    before = (y + 19 * np.sin(angle - 0.6), x + 19 * np.cos(angle - 0.6), b)
    divided, _, parts = cut(runs, 1, *places(DISCS[0], before))
    image = paint(divided)
    for part, centre, r in zip(parts, ((y + 3, x - 2), there), (a, b), strict=True):
        where = np.argwhere(image == part)
        assert np.abs(where.mean(axis=0) - centre).max() < 0.8
        assert len(where) == pytest.approx(np.pi * r * r, rel=0.05)


def test_one_place_may_be_unknown():
    runs, _ = runs_of(*DISCS)
    centres, areas = places(*DISCS)
    known = cut(runs, 1, centres, areas)
    centres[0] = np.nan
    unknown = cut(runs, 1, centres, areas)
    assert paint(known[0]).tolist() == paint(unknown[0]).tolist()


def test_a_particle_that_would_get_nothing_is_not_cut_off():
    runs, _ = runs_of(DISCS[0])
    assert cut(runs, 1, *places(DISCS[0], (60.0, 50.0, 1.0))) is None


@given(st.integers(0, 10_000), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_whatever_is_cut(seed, k):
    rng = np.random.default_rng(seed)
    discs = [(*rng.uniform(30, 70, 2), rng.uniform(4, 12)) for _ in range(6)]
    runs, _ = runs_of(*discs, seed=seed)
    label = int(rng.integers(1, runs.n_labels + 1))
    found = cut(runs, label, rng.uniform(30, 70, (k, 2)), rng.uniform(50, 400, k))
    if found is None:
        return
    divided, number, parts = found
    assert divided.n_labels == runs.n_labels - 1 + k
    before, after = paint(runs), paint(divided)
    assert set(np.unique(after[before == label]).tolist()) == set(parts.tolist())
    for old, new in enumerate(number, start=1):
        assert new == 0 if old == label else ((before == old) == (after == new)).all()
    # Numbered in raster order, in runs that raster order would give.
    again = runs_of_labels(after)
    for name in ("row", "start", "stop", "label"):
        assert getattr(again, name).tolist() == getattr(divided, name).tolist()
    for name in ("intensity_sum", "probability_sum"):
        whole, shared = getattr(runs, name), getattr(divided, name)
        assert shared[np.isin(divided.label, parts)].sum() == whole[runs.label == label].sum()
        assert shared.sum() == whole.sum()
        assert (shared >= 0).all()


def test_counts_of_float_cameras_are_shared_too():
    runs, counts = runs_of(*DISCS)
    mask = cases.mask_of(DISCS)
    runs = components(find_runs(mask, np.where(mask, 0.5, counts).astype(np.float32)))
    divided, *_ = cut(runs, 1, *places(*DISCS))
    assert divided.intensity_sum == pytest.approx(0.5 * (divided.stop - divided.start))
