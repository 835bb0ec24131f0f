from itertools import pairwise

import numpy as np
import pytest
from cases_coarsening import REGION, particle_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.coarsening.sums import FrameSums, SizeHistogram, border_weight, measured, radius_px, weights
from insitu.coarsening.windows import TrackSums, Windows


def rows(seed=0, n_frames=12, mean=7):
    rng = np.random.default_rng(seed)
    per_frame = rng.poisson(mean, n_frames)
    frame = np.repeat(np.arange(n_frames), per_frame)
    particle = np.concatenate([rng.permutation(20)[:k] for k in per_frame])
    n = len(frame)
    return particle_rows(
        frame, particle, rng.lognormal(2, 0.5, n), edge=rng.random(n) < 0.2, composite=rng.random(n) < 0.1, seed=seed
    )


def sums_of(columns, cuts=()):
    held = FrameSums(REGION)
    edges = [0, *sorted(cuts), len(columns["frame"])]
    for a, b in pairwise(edges):
        held.add({k: v[a:b] for k, v in columns.items()})
    return held


def test_sums_of_a_frame_are_those_worked_out_by_hand():
    columns = particle_rows(
        [0, 0, 0, 0, 1],
        [0, 1, 2, 3, 0],
        [2.0, 4.0, 50.0, 9.0, 3.0],
        edge=np.array([0, 0, 1, 0, 0], bool),
        composite=np.array([0, 0, 0, 1, 0], bool),
    )
    got = sums_of(columns).at(np.array([0, 1, 2]))
    w = weights(columns, REGION)
    assert got["n_all"].tolist() == [4, 1, 0]
    assert got["n"].tolist() == [2, 1, 0]
    assert got["n_edge"].tolist() == [1, 0, 0]
    assert got["n_composite"].tolist() == [1, 0, 0]
    assert got["n_small"].tolist() == [1, 0, 0]
    assert got["w_present"] == pytest.approx([w[0] + w[1] + w[3], w[4], 0])
    for k in range(-1, 7):
        assert got[f"wr{k}"] == pytest.approx([w[0] * 2.0**k + w[1] * 4.0**k, w[4] * 3.0**k, 0])


@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=40, deadline=None)
def test_no_cut_of_the_rows_changes_a_bit(seed, cuts):
    columns = rows(seed)
    cuts = [c for c in cuts if c <= len(columns["frame"])]
    frames = np.arange(12)
    whole, cut = sums_of(columns).at(frames), sums_of(columns, cuts).at(frames)
    assert all(np.array_equal(whole[k], cut[k]) for k in whole)


def test_parts_of_a_movie_merge_to_the_same_bits_in_any_order():
    columns = rows(3)
    frames = np.arange(12)
    parts = [sums_of({k: v[np.isin(columns["frame"], f)] for k, v in columns.items()}) for f in np.split(frames, 3)]
    whole = sums_of(columns).at(frames)
    merged = parts[2].merged(parts[0]).merged(parts[1]).at(frames)
    assert all(np.array_equal(whole[k], merged[k]) for k in whole)


def test_parts_that_share_a_frame_do_not_merge():
    with pytest.raises(ValueError, match="share a frame"):
        sums_of(rows(1)).merged(sums_of(rows(1)))


def test_frames_that_go_backwards_are_refused():
    held = sums_of(rows(1))
    with pytest.raises(ValueError, match="comes after"):
        held.add({k: v[:1] for k, v in rows(1).items()})


def test_border_weight_counts_the_places_of_a_box():
    # a 3×2 box in a 6×5 region touches no edge in (6−3−1)·(5−2−1) = 4 of its places
    assert border_weight(np.array([3]), np.array([2]), (6, 5)) == pytest.approx([30 / 4])
    places = [(y, x) for y in range(1, 6 - 3) for x in range(1, 5 - 2)]
    assert len(places) == 4


def test_border_weight_under_binning_moves_in_steps_of_the_bin():
    assert border_weight(np.array([30]), np.array([20]), (60, 50), 10) == pytest.approx(
        100 * border_weight(np.array([3]), np.array([2]), (6, 5)) / 100
    )


def test_radius_is_that_of_the_disc_of_equal_area():
    assert radius_px(np.array([np.pi * 25], float)) == pytest.approx([5.0])


def test_histogram_is_exact_in_any_order_and_counts_every_size():
    rng = np.random.default_rng(0)
    window, r, w = rng.integers(0, 3, 500), rng.lognormal(2, 1, 500), rng.uniform(1, 2, 500)
    whole, parts = SizeHistogram(3), [SizeHistogram(3) for _ in range(2)]
    whole.add(window, r, w)
    order = rng.permutation(500)
    for part, which in zip(parts, np.split(order, 2), strict=True):
        part.add(window[which], r[which], w[which])
    parts[1] += parts[0]
    assert np.array_equal(whole.count, parts[1].count)
    assert np.array_equal(whole.weight, parts[1].weight)
    assert whole.count.sum() == 500
    assert whole.weight.sum() == pytest.approx(w.sum(), rel=1e-5)
    expected, _ = np.histogram(r[window == 1], whole.edges_px)
    assert np.array_equal(whole.count[1], expected)


def windows(n_frames=12, number=4):
    return Windows.of(np.arange(n_frames), np.arange(n_frames) * 0.5, number)


def test_windows_of_a_regular_movie_hold_equal_numbers_of_frames():
    held = windows(12, 4)
    assert held.n_frames.tolist() == [3, 3, 3, 3]
    assert held.middle == pytest.approx([0.5, 2.0, 3.5, 5.0])
    assert held.bounds()[0].tolist() == [0, 3, 6, 9]
    assert held.bounds()[1].tolist() == [2, 5, 8, 11]


@pytest.mark.parametrize("n_frames", [0, 1, 2, 3])
def test_there_are_never_more_windows_than_frames(n_frames):
    held = windows(n_frames, 40)
    assert len(held) == n_frames
    assert held.n_frames.tolist() == [1] * n_frames


def test_a_gap_in_time_makes_no_empty_window():
    held = Windows.of(np.arange(10), np.array([0, 1, 2, 3, 4, 100, 101, 102, 103, 104.0]), 10)
    assert (held.n_frames > 0).all()
    assert (np.diff(held.window) >= 0).all()


def track_sums(columns, held, cuts=()):
    kept = measured(columns)
    w = weights(columns, REGION)
    sums = TrackSums(held)
    edges = [0, *sorted(cuts), len(columns["frame"])]
    for a, b in pairwise(edges):
        k = np.flatnonzero(kept[a:b]) + a
        sums.add(held.place(columns["frame"][k]), columns["particle"][k], radius_px(columns["area_px"][k]), w[k])
    return sums.columns()


def test_sums_of_tracks_are_those_of_a_plain_loop():
    columns, held = rows(4), windows()
    got = track_sums(columns, held)
    r, kept, w = radius_px(columns["area_px"]), measured(columns), weights(columns, REGION)
    for i in range(len(got["n"])):
        window = held.window[columns["frame"]]
        mine = kept & (columns["particle"] == got["particle"][i]) & (window == got["window"][i])
        t = held.time[columns["frame"][mine]] - held.start[got["window"][i]]
        expected = {
            "n": mine.sum(), "w": w[mine].sum(), "wr": (w * r)[mine].sum(), "w_r": (w / r)[mine].sum(),
            "t": t.sum(), "tr": (t * r[mine]).sum(), "tt": (t * t).sum(), "rr": (r[mine] ** 2).sum(),
            "lag_rr": (r[mine][1:] * r[mine][:-1]).sum(),
            "lag_tr": (t[:-1] * r[mine][1:] + r[mine][:-1] * t[1:]).sum(),
            "first_r": r[mine][0], "last_t": t[-1],
        }  # fmt: skip
        for name, value in expected.items():
            assert got[name][i] == pytest.approx(value), name
    assert got["n"].sum() == kept.sum()


@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=30, deadline=None)
def test_no_cut_changes_a_bit_of_the_sums_of_tracks(seed, cuts):
    columns, held = rows(seed), windows()
    cuts = [c for c in cuts if c <= len(columns["frame"])]
    whole, cut = track_sums(columns, held), track_sums(columns, held, cuts)
    assert all(np.array_equal(whole[k], cut[k]) for k in whole)
