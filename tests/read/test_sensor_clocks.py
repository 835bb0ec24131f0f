"""Which column of a sensor log is its clock, whatever its unit and its form."""

from __future__ import annotations

import pytest

from insitu.read.sensor_times import find_clock
from insitu.read.sensors import SensorLog


def clock(head, cell, delimiter=","):
    return find_clock(["T_C", head], ["20", cell], delimiter)


@pytest.mark.parametrize(
    ("head", "cell", "kind", "factor"),
    [
        ("time_s", "1.5", "elapsed", 1.0),
        ("Time (ms)", "1500", "elapsed", 1e-3),
        ("time", "1.5", "elapsed", 1.0),
        ("seconds", "1.5", "elapsed", 1.0),
        ("timestamp", "1700000000", "epoch", 1.0),
        ("timestamp", "1700000000000", "epoch", 1e-3),
        ("time", "23:59:59.5", "clock", 1.0),
        ("timestamp_utc", "2026-03-05 10:00:00", "utc", 1.0),
        ("timestamp", "2026-03-05T10:00:00+01:00", "utc", 1.0),
        ("timestamp", "2026-03-05 10:00:00", "local", 1.0),
    ],
)
def test_kinds(head, cell, kind, factor):
    found = clock(head, cell)
    assert (found.kind, found.factor) == (kind, factor)


@pytest.mark.parametrize(
    ("head", "cell"),
    [("timestamp", "soon"), ("timestamp", "2026-03-05"), ("timestamp_utc", "12"), ("pressure", "12")],
)
def test_no_clock(head, cell):
    assert clock(head, cell) is None


def test_a_time_of_day_that_cannot_be_read_is_left_out(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("time,T_C\n23:59:58,20\n23:59:59,21\nlater,22\n00:00:01,23\n")
    log = SensorLog(path)
    log.look()
    assert [t - log.times_s[0] for t in log.times_s] == [0, 1, 3]
    assert log.remarks() == ["1 lines without a time that can be read: not used"]


def test_a_line_with_an_open_quote_is_split_all_the_same(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text('time_s,T_C\n0,20\n1,"21\n2,22\n')
    log = SensorLog(path)
    log.look()
    assert log.times_s.tolist() == [0, 1, 2]
