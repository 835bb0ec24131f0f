import dataclasses

import numpy as np
import pytest
from cases_coarsening import CALIBRATED, REGION, UNKNOWN, event_rows, growing, particle_rows, world
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.coarsening.columns import LIVE
from insitu.coarsening.families import MIN_FAMILIES, FamilyBootstrap, families, interval
from insitu.coarsening.gather import gather
from insitu.coarsening.kinetics import cap_volume, frame_scatter, kinetics
from insitu.coarsening.sums import FrameSums, weights
from insitu.options import CoarseningOptions


def table_of(tables, **options):
    gathered = gather(tables, CoarseningOptions(window_frames=1, **options))
    bootstrap = FamilyBootstrap(
        gathered.records, gathered.family, len(gathered.windows), gathered.options.bootstrap, gathered.options.seed
    )
    return kinetics(gathered, bootstrap), gathered, bootstrap


def test_radii_are_border_weighted_and_in_nm():
    r = np.array([10.0, 100.0, 30.0, 12.0])
    edge, composite = np.array([0, 0, 1, 0], bool), np.array([0, 0, 0, 1], bool)
    rows = particle_rows([0] * 4, range(4), r, y=[500.0] * 4, x=[600.0] * 4, edge=edge, composite=composite)
    w = weights(rows, REGION)
    table, *_ = table_of(world(rows, 1))
    assert table["mean_radius_{length}"] == pytest.approx([0.2 * (w[0] * 10 + w[1] * 100) / (w[0] + w[1])])
    assert table["unweighted_mean_radius_{length}"] == pytest.approx([0.2 * 55])
    assert w[1] > 1.2 * w[0]
    # the composite is there, though it has no size; 1000×1200 px at 0.2 nm are 0.048 µm²
    assert table["number_density_per_{area}"] == pytest.approx([(w[0] + w[1] + w[3]) / 0.048])
    assert table["coverage"] == pytest.approx([np.pi * (r**2).sum() / (1000 * 1200)], rel=1e-3)
    assert table["share_edge"] == pytest.approx([0.25])
    assert table["share_composite"] == pytest.approx([0.25])


def test_moments_of_a_known_population():
    rows = particle_rows([0] * 3, range(3), [10.0, 20.0, 30.0], y=[500.0] * 3, x=[600.0] * 3)
    table, *_ = table_of(world(rows, 1, calibration=UNKNOWN))
    w, r = weights(rows, REGION), np.array([10.0, 20.0, 30.0])
    mean = np.average(r, weights=w)
    std = np.sqrt(np.average((r - mean) ** 2, weights=w))
    assert table["relative_std"] == pytest.approx([std / mean])
    assert table["skewness"] == pytest.approx([np.average((r - mean) ** 3, weights=w) / std**3])
    assert table["d32_{length}"] == pytest.approx([2 * (w * r**3).sum() / (w * r**2).sum()])
    assert table["d43_{length}"] == pytest.approx([2 * (w * r**4).sum() / (w * r**3).sum()])
    assert table["critical_radius_n2_{length}"] == pytest.approx([(w * r**2).sum() / (w * r).sum()])
    assert table["critical_radius_n4_{length}"] == pytest.approx([w.sum() / (w / r).sum()])


def test_without_calibration_the_same_numbers_are_in_px_and_frames():
    rows, _ = growing()
    nm, *_ = table_of(world(rows, 40))
    px, *_ = table_of(world(rows, 40, calibration=UNKNOWN))
    assert nm["mean_radius_{length}"] == pytest.approx(0.2 * px["mean_radius_{length}"])
    assert nm["time_{time}"] == pytest.approx(0.1 * px["time_{time}"])
    assert nm["number_density_per_{area}"] == pytest.approx(px["number_density_per_{area}"] / 0.2**2)


@pytest.mark.parametrize(
    ("angle", "share"), [(60, 0.2406 * 4), (90, 2), (120, 0.8437 * 4), (150, 0.9871 * 4), (180, 4)]
)
def test_cap_volume_of_known_angles(angle, share):
    # shares of the sphere of the same projected radius, in thirds of π r³
    assert cap_volume(3.0, angle) == pytest.approx(share * np.pi / 3 * 27, rel=2e-4)


def test_bad_frames_do_not_count_and_no_window_is_empty():
    rows, _ = growing(n_frames=10, n=20)
    table, *_ = table_of(world(rows, 10, bad=(3, 4)), windows=4)
    assert table["n_frames"].sum() == 8
    assert table["n_rows"].sum() == 160
    assert np.isfinite(table["mean_radius_{length}"]).all()


def test_windows_hold_several_frames_as_long_as_there_are_ten():
    held = []
    for n_frames in (7, 12, 60, 400):
        rows, _ = growing(n_frames=n_frames, n=2)
        windows = gather(world(rows, n_frames), CoarseningOptions()).windows
        held.append((len(windows), int(windows.n_frames.min())))
    assert held == [(7, 1), (10, 1), (15, 4), (40, 10)]


@given(batch=st.integers(1, 500))
@settings(max_examples=15, deadline=None)
def test_batches_change_no_bit_of_the_table(batch):
    rows, _ = growing(n_frames=12, n=30, noise=0.02)
    whole, *_ = table_of(world(rows, 12, batch=10**6), bootstrap=20)
    cut, *_ = table_of(world(rows, 12, batch=batch), bootstrap=20)
    assert all(np.array_equal(whole[k], cut[k], equal_nan=True) for k in whole)


def test_live_equals_batch_bit_for_bit():
    """What a live page adds up frame by frame, in parts that are merged in any order, against the study afterwards."""
    rows, _ = growing(n_frames=12, n=30, noise=0.02)
    table, gathered, _ = table_of(world(rows, 12), bootstrap=0)
    live = [FrameSums(REGION), FrameSums(REGION)]
    for frame in range(12):
        mine = rows["frame"] == frame
        live[frame >= 7].add({k: v[mine] for k, v in rows.items()})
    sums = live[1].merged(live[0]).at(np.arange(12))
    again = dataclasses.replace(gathered, frames=sums)
    none = FamilyBootstrap(gathered.records, gathered.family, 12, 0)
    from_live = kinetics(again, none)
    for name in LIVE["kinetics"]:
        assert np.array_equal(from_live[name], table[name], equal_nan=True), name


def test_families_are_the_connected_components_of_the_parent_graph():
    events = event_rows([(3, "coalescence", [0, 1], [4]), (5, "splitting", [4], [5, 6]), (6, "dissolution", [2], [])])
    family = families(events, 9)
    groups = {frozenset(np.flatnonzero(family == f).tolist()) for f in np.unique(family)}
    assert groups == {frozenset({0, 1, 4, 5, 6}), *(frozenset({k}) for k in (2, 3, 7, 8))}


def test_one_large_family_gives_no_interval_and_says_why():
    rows, _ = growing(n_frames=10, n=20)
    events = [(5, "coalescence", list(range(20)), [])]
    table, _, bootstrap = table_of(world(rows, 10, events=events))
    assert np.isnan(table["mean_radius_{length}_low"]).all()
    assert bootstrap.effective == pytest.approx(1)
    assert "1 merge families" in bootstrap.why_none
    assert bootstrap.effective < MIN_FAMILIES


def test_the_interval_of_the_mean_is_that_of_independent_particles():
    rng = np.random.default_rng(0)
    r = rng.lognormal(2, 0.3, 400)
    rows = particle_rows(np.repeat([0, 1], 400), np.tile(np.arange(400), 2), np.tile(r, 2))
    table, *_ = table_of(world(rows, 2, calibration=UNKNOWN), windows=1, bootstrap=2000)
    reach = (table["mean_radius_{length}_high"] - table["mean_radius_{length}_low"])[0] / 2
    # both rows of a particle are one measurement: 400 sizes, not 800
    assert reach == pytest.approx(1.96 * r.std() / 20, rel=0.06)


def test_what_befalls_whole_frames_is_in_the_interval_of_the_mean():
    rng = np.random.default_rng(5)
    reach = []
    for noise in (0.0, 0.03):
        factor = 1 + noise * rng.normal(size=(200, 1))
        r = 20 * factor * rng.lognormal(0, 0.1, 100)[None]
        frame, particle = np.indices(r.shape)
        tables = world(particle_rows(frame.ravel(), particle.ravel(), r.ravel()), 200, calibration=UNKNOWN)
        table, gathered, _ = table_of(tables, windows=20, bootstrap=400)
        assert frame_scatter(gathered.frames) == pytest.approx(noise, abs=0.2 * noise + 0.002)
        reach.append((table["mean_radius_{length}_high"] - table["mean_radius_{length}_low"]).mean() / 2)
    # ten frames in each window
    assert reach[1] == pytest.approx(np.hypot(reach[0], 1.96 * 20 * 0.03 / np.sqrt(10)), rel=0.15)


def test_an_interval_is_shifted_back_by_what_the_draws_are_off():
    draws = np.random.default_rng(0).normal(10.3, 0.5, (200_000, 1))
    low, high = interval(draws, np.array([10.0]), np.array([1e9]), 0.95)
    assert low == pytest.approx([9.7 - 1.96 * 0.5], abs=0.02)
    assert high == pytest.approx([9.7 + 1.96 * 0.5], abs=0.02)


def test_an_interval_of_a_small_sample_is_that_of_student():
    draws = np.random.default_rng(0).normal(10, 0.5, (200_000, 1))
    low, high = interval(draws, np.array([10.0]), np.array([9.0]), 0.95)
    assert high - low == pytest.approx([2 * 2.306 * 0.5 * np.sqrt(9 / 8)], rel=0.01)


def test_an_interval_without_scatter_is_a_point_and_one_without_draws_is_unknown():
    draws = np.array([[3.0, np.nan, 1.0]] * 40)
    draws[:30, 2] = np.nan
    low, high = interval(draws, np.array([3.0, 3.0, 1.0]), np.full(3, 50.0), 0.95)
    assert low.tolist()[:1] == high.tolist()[:1] == [3.0]
    assert np.isnan(low[1:]).all()


def test_grouping_many_families_keeps_the_interval(monkeypatch):
    rng = np.random.default_rng(3)
    rows = particle_rows(np.zeros(1500), np.arange(1500), rng.lognormal(2, 0.3, 1500))
    reach = []
    for groups in (2000, 500):
        monkeypatch.setattr("insitu.coarsening.families._GROUPS", groups)
        table, *_ = table_of(world(rows, 1), bootstrap=3000)
        reach.append((table["mean_radius_{length}_high"] - table["mean_radius_{length}_low"])[0])
    assert reach[1] == pytest.approx(reach[0], rel=0.1)


def test_frames_of_one_particle_are_one_count():
    rows, _ = growing(n_frames=10, n=25)
    table, *_ = table_of(world(rows, 10, calibration=CALIBRATED), windows=1)
    low, high = (table[f"number_density_per_{{area}}_{end}"][0] for end in ("low", "high"))
    assert (high - low) / table["number_density_per_{area}"][0] == pytest.approx((36.9 - 16.2) / 25, rel=0.05)
