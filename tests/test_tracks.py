from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu.schema import TRACKS
from insitu.tracks import TrackSummary
from insitu.types import Event


def rows_of(seed: int, n_tracks: int = 12, n_frames: int = 60, first: int = 0) -> dict[str, np.ndarray]:
    """Tracks with gaps, different lengths (one to all frames) and correlated noise, in order of frame."""
    rng = np.random.default_rng(seed)
    rows = []
    for p in range(n_tracks):
        begin, end = sorted(rng.integers(0, n_frames, 2))
        noise = 0.0
        for frame in range(begin, end + 1):
            noise = 0.6 * noise + rng.normal(0, 0.1)
            if rng.random() < 0.9 or frame == begin:
                rows.append((first + frame, p, rng.normal(50, 5), rng.normal(80, 5), 20 + 0.05 * p * frame + noise))
    rows.sort(key=lambda r: r[0])
    frame, particle, y, x, d = (np.array(c) for c in zip(*rows, strict=True))
    return {"frame": frame, "particle": particle, "y": y, "x": x, "equivalent_diameter_px": d}


def cut(columns: dict[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    return {k: v[begin:end] for k, v in columns.items()}


def summary_of(columns: dict[str, np.ndarray], step: int = 10**9) -> dict:
    summary = TrackSummary()
    for begin in range(0, len(columns["frame"]), step):
        summary.add(cut(columns, begin, begin + step))
    return summary.rows()


def slow_growth(frame: np.ndarray, d: np.ndarray) -> tuple[float, float]:
    """Slope and its error, written out: polyfit, residuals, their lag-1 correlation, effective number of frames."""
    n = len(frame)
    slope, start = np.polyfit(frame - frame.mean(), d, 1)
    e = d - start - slope * (frame - frame.mean())
    r1 = max(0.0, (e[1:] * e[:-1]).sum() / (e * e).sum())
    n_eff = n * (1 - r1) / (1 + r1)
    error = np.sqrt((e * e).sum() / (n_eff - 2) / ((frame - frame.mean()) ** 2).sum()) if n_eff > 2 else np.nan
    return slope, error


@pytest.mark.parametrize("first", [0, 1_000_000])
@pytest.mark.parametrize("seed", range(4))
def test_growth_equals_a_fit_of_each_track_by_itself(seed, first):
    columns = rows_of(seed, first=first)
    table = summary_of(columns)
    compared = 0
    for k, p in enumerate(table["particle"]):
        mine = columns["particle"] == p
        frame, d = columns["frame"][mine].astype(float), columns["equivalent_diameter_px"][mine]
        assert table["length"][k] == mine.sum()
        assert (table["first_frame"][k], table["last_frame"][k]) == (frame[0], frame[-1])
        np.testing.assert_allclose(table["equivalent_diameter_px_mean"][k], d.mean(), rtol=1e-12)
        assert table["equivalent_diameter_px_first"][k] == d[0]
        assert table["equivalent_diameter_px_last"][k] == d[-1]
        if mine.sum() >= 4:
            slope, error = slow_growth(frame, d)
            np.testing.assert_allclose(table["growth_px_per_frame"][k], slope, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(table["growth_px_per_frame_se"][k], error, rtol=1e-6)
            compared += 1
    assert compared >= 6


def test_correlated_noise_widens_the_error():
    rng = np.random.default_rng(0)
    n = 400
    white, red = rng.normal(0, 1, n), np.zeros(n)
    for k in range(1, n):
        red[k] = 0.9 * red[k - 1] + white[k]
    base = {"frame": np.arange(n), "particle": np.zeros(n, int), "y": np.zeros(n), "x": np.zeros(n)}
    errors = [summary_of({**base, "equivalent_diameter_px": 30 + v})["growth_px_per_frame_se"][0] for v in (white, red)]
    # AR(1) with 0.9: variance of the noise is 5.3 times larger, and n_eff 19 times smaller.
    assert 5 < errors[1] / errors[0] < 20


def test_error_covers_the_true_slope_as_often_as_it_says():
    rng = np.random.default_rng(1)
    frames, tracks = 200, 400
    noise = np.zeros((frames, tracks))
    for k in range(1, frames):
        noise[k] = 0.5 * noise[k - 1] + rng.normal(0, 0.3, tracks)
    columns = {
        "frame": np.repeat(np.arange(frames), tracks),
        "particle": np.tile(np.arange(tracks), frames),
        "y": np.zeros(frames * tracks),
        "x": np.zeros(frames * tracks),
        "equivalent_diameter_px": (25 + 0.01 * np.arange(frames)[:, None] + noise).ravel(),
    }
    table = summary_of(columns)
    pull = (table["growth_px_per_frame"] - 0.01) / table["growth_px_per_frame_se"]
    assert 0.85 < pull.std() < 1.15
    assert abs(pull.mean()) < 0.15


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_points_have_no_error(n):
    columns = {
        "frame": np.arange(n),
        "particle": np.zeros(n, int),
        "y": np.zeros(n),
        "x": np.zeros(n),
        "equivalent_diameter_px": np.array([10.0, 11.0, 11.5])[:n],
    }
    table = summary_of(columns)
    assert np.isnan(table["growth_px_per_frame"][0]) == (n < 2)
    assert np.isnan(table["growth_px_per_frame_se"][0]) == (n < 3)


def test_a_perfect_line_has_no_scatter():
    n = 50
    columns = {
        "frame": np.arange(n) + 70_000,
        "particle": np.full(n, 3),
        "y": np.zeros(n),
        "x": np.zeros(n),
        "equivalent_diameter_px": 12 + 0.1 * np.arange(n),
    }
    table = summary_of(columns)
    assert table["particle"].tolist() == [3]
    np.testing.assert_allclose(table["growth_px_per_frame"], 0.1, rtol=1e-12)
    np.testing.assert_allclose(table["growth_px_per_frame_se"], 0.0, atol=1e-7)


@given(seed=st.integers(0, 10**6), step=st.integers(1, 40))
def test_however_the_rows_are_cut_the_table_is_the_same_to_the_bit(seed, step):
    columns = rows_of(seed, n_tracks=6, n_frames=25)
    whole, parts = summary_of(columns), summary_of(columns, step)
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)


def test_state_goes_on_as_if_nothing_had_happened():
    columns = rows_of(5)
    whole, first, second = TrackSummary(), TrackSummary(), TrackSummary()
    whole.add(columns)
    first.add(cut(columns, 0, 100))
    second.restore(first.state())
    second.add(cut(columns, 100, 10**6))
    for name, values in whole.rows().items():
        np.testing.assert_array_equal(values, second.rows()[name], err_msg=name)


def test_displacement_leaves_the_drift_of_the_stage_out():
    columns = {
        "frame": np.arange(5),
        "particle": np.zeros(5, int),
        "y": np.array([10.0, 13, 16, 19, 22]),
        "x": np.array([10.0, 14, 18, 22, 26]),
        "equivalent_diameter_px": np.full(5, 9.0),
    }
    assert summary_of(columns)["displacement_px"][0] == pytest.approx(20.0)
    summary = TrackSummary()
    drift = {"frame": np.arange(8), "drift_y_px": 3.0 * np.arange(8), "drift_x_px": np.zeros(8)}
    summary.add_frames(cut(drift, 0, 3))
    summary.add_frames(cut(drift, 3, 8))
    summary.add(cut(columns, 0, 2))
    summary.add(cut(columns, 2, 5))
    assert summary.rows()["displacement_px"][0] == pytest.approx(16.0)


def test_origin_and_fate_come_from_the_events():
    n = 5
    columns = {
        "frame": np.zeros(n, int),
        "particle": np.arange(n),
        "y": np.zeros(n),
        "x": np.zeros(n),
        "equivalent_diameter_px": np.full(n, 9.0),
    }
    summary = TrackSummary()
    summary.add(columns)
    events = [
        Event("coalescence", 3, 6, 0.0, 0.0, parents=(0, 1), children=(0,)),
        Event("coalescence", 4, 7, 0.0, 0.0, parents=(0, 2), children=(3,)),
        Event("nucleation", 5, 9, 0.0, 0.0, children=(4,)),
        Event("mark", 6, 6, 0.0, 0.0, parents=(4,)),
    ]
    table = summary.rows(events)
    assert table["origin"] == ["start", "start", "start", "coalescence", "nucleation"]
    assert table["fate"] == ["coalescence", "coalescence", "coalescence", "end", "end"]
    assert table["parents"] == [[], [], [], [0, 2], []]
    assert table["children"] == [[3], [0], [3], [], []]
    parts = [{n: [getattr(e, n) for e in events[k : k + 2]] for n in ("kind", "parents", "children")} for k in (0, 2)]
    again = summary.rows(parts)
    assert all(again[name] == table[name] for name in ("origin", "fate", "parents", "children"))


def test_the_columns_are_those_of_the_schema():
    table = TrackSummary().rows()
    assert list(table) == [c.name for c in TRACKS]
    filled = summary_of(rows_of(0))
    for column in TRACKS:
        if not column.dtype.startswith(("list", "string")):
            assert filled[column.name].dtype == np.dtype(column.dtype), column.name
