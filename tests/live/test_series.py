from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from insitu.live.series import Point, Series, sizes


def page_of(series, epoch=-1, known=0, have=None):
    """What a page holds after it put a part in place."""
    part = series.since(epoch, known).plain()
    have = {} if have is None or part["epoch"] != epoch else have
    names = ("x", "number", "diameter_px", "coverage", "events")
    return {n: have.get(n, [])[: part["from"]] + part[n] for n in names}, part["epoch"]


def test_each_frame_is_a_point_until_room_runs_out():
    series = Series(8)
    for k in range(8):
        series.add(Point(k / 10, k, 2.0 * k, 0.5))
    held, _ = page_of(series)
    assert held["x"] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert held["diameter_px"] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]
    series.add(Point(0.8, 8, 16.0, 0.5))
    held, _ = page_of(series)
    assert held["x"] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert held["number"] == [0.5, 2.5, 4.5, 6.5, 8.0]


def test_frames_that_tell_nothing_are_left_out_of_means():
    series = Series(2)
    for point in (Point(0, 4, None, 0.2), Point(1), Point(2, 0, float("nan"), 0.0)):
        series.add(point)
    held, _ = page_of(series)
    assert held == {"x": [0, 2], "number": [4, 0], "diameter_px": [None, None], "coverage": [0.2, 0], "events": [0, 0]}


def test_an_event_counts_where_it_happened_not_where_it_was_decided():
    series = Series(8)
    series.happened(3.0)  # of a run that is resumed, before its first new frame
    for k in range(6):
        series.add(Point(float(k), 1))
    for x in (2.0, 2.4, 5.0, -1.0):
        series.happened(x)
    assert page_of(series)[0]["events"] == [1, 0, 2, 0, 0, 1]


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12))
def test_a_page_that_is_told_in_parts_holds_what_a_new_page_holds(steps):
    series, total = Series(64), 0
    held, epoch = page_of(series)
    for more, event in steps:
        for _ in range(more):
            series.add(Point(float(total), total % 7, float(total % 5), 0.1))
            total += 1
        if event:
            series.happened(float(max(0, total - 10)))
        held, epoch = page_of(series, epoch, len(held["x"]), held)
    assert held == page_of(series)[0]
    assert sum(held["events"]) == sum(event for _, event in steps)
    frames = np.arange(total) // series.width
    means = [float(np.mean((np.arange(total) % 7)[frames == k])) for k in range(frames[-1] + 1)]
    np.testing.assert_allclose(held["number"], means, rtol=1e-5)


def test_merging_keeps_memory_constant():
    series = Series(16)
    for k in range(10_000):
        series.add(Point(float(k), 1))
    assert len(series) <= 16
    assert series.width == 1024


def test_sizes_reach_to_a_round_number_and_lose_nobody():
    rng = np.random.default_rng(1)
    for largest in (0.3, 1.0, 7.9, 10.0, 61.0, 900.0):
        diameters = np.append(rng.uniform(0, largest, 50), largest)
        histogram = sizes(diameters)
        assert histogram["top"] >= largest
        assert histogram["top"] <= 1.6 * largest
        assert sum(histogram["counts"]) == 51
    assert sizes(np.empty(0)) == {"top": 0.0, "counts": []}
