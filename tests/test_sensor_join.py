"""Readings stand in a run at their own times, whether the log was there before, grew, or came after the run."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from store_cases import CALIBRATED, UNKNOWN, World, analyse, info

from insitu.environment import Following, Sensors, sensors_of, utc_seconds
from insitu.errors import CalibrationError, InputError, ResourceError
from insitu.results import open_run

FRAMES = 24


def run_in(folder, calibration=CALIBRATED):
    analyse(info(folder, calibration=calibration, frames=FRAMES), frames=FRAMES, world=World(empty=True), fsync=False)
    return folder


@pytest.fixture
def out(tmp_path):
    return run_in(tmp_path / "run")


def log_of(tmp_path, content, name="log.csv"):
    path = tmp_path / name
    path.write_text(content)
    return path


def lines(times, head="time_s", value=lambda t: 20 + t):
    return f"{head},temperature_C\n" + "".join(f"{t},{value(t)}\n" for t in times)


def test_readings_lie_at_their_own_times(out, tmp_path):
    step = CALIBRATED.s_per_frame
    irregular = np.array([-3.0, -0.5, 0.1, 0.4, 2.5, 3.0, 30.0, 90.0]) * step
    path = log_of(tmp_path, lines(100 + irregular))
    assert Sensors(path, 100.0).join(out) == []
    table = open_run(out).environment
    # from the last one before the movie to the first one after it
    assert table["time_s"].to_numpy() == pytest.approx(irregular[1:7])
    assert table["frame"].fillna(-1).tolist() == [-1, 0, 0, 2, 3, -1]
    assert table["temperature_C"].to_numpy() == pytest.approx(120 + irregular[1:7])
    schema = pq.read_schema(out / "environment.parquet")
    assert schema.field("temperature_C").metadata[b"unit"].decode() == "°C"
    assert schema.metadata[b"insitu.log.joined_by"] == b"offset of 100 s"
    assert str(tmp_path) not in str(schema.metadata)


def test_universal_times_meet_those_of_the_frames(out, tmp_path, monkeypatch):
    frames = {"frame": [4, 5, 6], "time_s": [0.4, None, 0.6], "timestamp_utc": [None, None, "2024-03-05T10:00:00.600"]}
    monkeypatch.setattr("insitu.environment._frames", lambda _: frames)
    path = log_of(tmp_path, "timestamp,T_C\n2024-03-05T11:00:00.500+01:00,20\n2024-03-05T11:00:00.601+01:00,21\n")
    Sensors(path).join(out)
    table = open_run(out).environment
    assert table["time_s"].to_numpy() == pytest.approx([0.5, 0.601])
    assert table["frame"].tolist() == [4, 6]
    assert table["timestamp_utc"].tolist() == ["2024-03-05T10:00:00.500+00:00", "2024-03-05T10:00:00.601+00:00"]


def test_the_log_of_a_universal_clock_may_be_given_an_offset(out, tmp_path):
    path = log_of(tmp_path, "timestamp_utc,T_C\n2024-03-05T10:00:00Z,20\n2024-03-05T10:00:01Z,21\n")
    Sensors(path, 0.5).join(out)
    table = open_run(out).environment
    assert table["time_s"].tolist() == [-0.5, 0.5]
    assert table["timestamp_utc"].tolist()[1] == "2024-03-05T10:00:01.000+00:00"


@pytest.mark.parametrize(
    ("offset", "timed", "first", "says"),
    [
        (None, True, None, "does not tell when its frames were taken"),
        (None, True, "2024-03-05T10:00:00", "are not UTC"),
        (0.0, False, None, "frame time of 'm.tif' is unknown"),
    ],
)
def test_without_a_common_clock_nothing_begins(tmp_path, offset, timed, first, says):
    sensors = Sensors(log_of(tmp_path, lines([0, 1])), offset)
    with pytest.raises(CalibrationError, match=says) as refused:
        sensors.check(timed=timed, first_utc=first, source="m.tif")
    assert refused.value.exit_code == 4
    assert "--log-offset" in refused.value.hint or "--fps" in refused.value.hint


def test_a_run_without_times_cannot_be_joined(tmp_path):
    out = run_in(tmp_path / "run", UNKNOWN)
    with pytest.raises(CalibrationError, match="unknown"):
        Sensors(log_of(tmp_path, lines([0, 1])), 0.0).join(out)


def test_a_log_that_grew_gives_the_bytes_of_the_finished_one(out, tmp_path):
    content = lines([0.0, 0.013, 0.04, 0.011, 0.08], value=lambda t: "" if t == 0.04 else 5 * t)
    finished = log_of(tmp_path, content, "gas.csv")
    Sensors(finished, 0.0).join(out)
    whole = (out / "environment.parquet").read_bytes()
    finished.unlink()
    growing = sensors_of(finished, 0.0, growing=True)
    assert growing is not None
    for k in range(0, len(content), 7):
        with finished.open("a") as file:
            file.write(content[k : k + 7])
        growing.log.look()
    assert growing.join(out) == ["gas.csv: its time runs backwards 1 times: sorted by time"]
    assert (out / "environment.parquet").read_bytes() == whole


def test_remarks_stand_once_in_the_problems(out, tmp_path):
    path = log_of(tmp_path, lines([500, 501]))
    for _ in range(2):
        (told,) = Sensors(path, 0.0).join(out)
    assert "none of its readings lies within the movie" in told
    kept = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert [line["what"] in told for line in kept if line["where"] == "log.csv"] == [True]


def test_a_log_that_never_came_is_a_remark_where_it_was_to_grow(out, tmp_path):
    assert "there is no" in Sensors(tmp_path / "none.csv", 0.0, growing=True).join(out)[0]
    assert not (out / "environment.parquet").exists()
    with pytest.raises(InputError, match="there is no"):
        Sensors(tmp_path / "none.csv", 0.0)
    with pytest.raises(InputError, match="no readings of sensors"):
        _ = open_run(out).environment


def test_a_full_disk_leaves_the_run_and_says_what_to_do(out, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ResourceError, match="No space left") as refused:
        Sensors(log_of(tmp_path, lines([0, 1])), 0.0).join(out)
    assert "--resume" in refused.value.hint
    monkeypatch.undo()
    assert open_run(out).finished


def test_the_page_sees_readings_as_they_come(tmp_path):
    path = log_of(tmp_path, "time_s,temperature_C,chamber_pressure_mbar\n")
    with Following(Sensors(path, 10.0, growing=True)) as following:
        with path.open("a") as file:
            file.write("9,20,1\n10,21,\n12.5,22,3\n")
        _until(lambda: following.traces)
        temperature, pressure = following.traces
        assert temperature == {"name": "temperature", "unit": "°C", "now": 22.0, "x": [0.0, 2.5], "y": [21.0, 22.0]}
        assert (pressure["name"], pressure["x"], pressure["now"]) == ("chamber pressure", [2.5], 3.0)
        seen = following.version
        path.unlink()
        path.mkdir()
        _until(lambda: following.says)
        assert following.version > seen
        assert following.traces


def test_the_page_needs_no_clock_for_the_newest_value(tmp_path):
    path = log_of(tmp_path, lines(["2024-03-05T10:00:00Z", "2024-03-05T10:00:01Z"], "timestamp", lambda _: 7))
    with Following(Sensors(path, growing=True)) as following:
        _until(lambda: following.traces)
        assert (following.traces[0]["now"], following.traces[0]["x"]) == (7.0, [])
        following.begin("2024-03-05T10:00:00.5+00:00")
        _until(lambda: following.traces[0]["x"] == [0.5])


def test_utc_without_a_zone_is_utc():
    assert utc_seconds("2024-03-05T10:00:00") == utc_seconds("2024-03-05T11:00:00+01:00") == 1709632800


def _until(look, timeout_s=30.0):
    import time

    end = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < end
        time.sleep(0.02)
