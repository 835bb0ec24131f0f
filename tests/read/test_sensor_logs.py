"""Logs of sensors: every layout, every bad input, and a log that grows gives what the finished one gives."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.errors import InputError
from insitu.read.sensors import SensorLog

PROTOCHIPS = """\
Time, Notes,Holder Temperature,Holder Pressure
0,Date (yyyy.mm.dd) = 2016.10.17,25,744.1
0,Time (hh:mm:ss.ms) = 16:59:20.391,25,744.1
0,Time units = Milliseconds,25,744.1
0,Temperature units = Degrees C,25,744.1
0,Pressure units = Torr,25,744.1
210,,25,744.6
470,Chip type = EAT-33AA,26,744.2
721,,NaN,744.3
"""
DIGIHEATER = (
    "01/12/'16 10:05\tDigiheater 3.1\nR0=100.1\ta=1\tb=2\tc=3\ndelta_t: 2.0 s\n"
    "sample\ttime\tTset[C]\tTmeas[C]\tRheat[ohm]\tIheat[mA]\tPheat [mW]\tc\n"
    "1\t23:59:58.500\t20.0\t20.5\t100.2\t1.5\t0.2\t0\n2\t23:59:59.900\t20.0\t20.6\t100.3\t1.5\t0.2\t0\n"
    "3\t00:00:01.100\t21.0\t20.9\t100.4\t1.6\t0.3\t0\n"
)
IMPULSE = (
    "TimeStamp,Experiment time,Temperature Setpoint (°C),Pressure (mBar),MixValve\n"
    "2024/03/05 10:00:00.000,0.00,300,1000,0;1;2\n2024/03/05 10:00:00.260,0.26,301,1001,0;1;2\n"
)


def read(tmp_path, content, name="log.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    log = SensorLog(path)
    log.look()
    return log.checked()


def table(log):
    return log.times_s.tolist(), {
        name: values.tolist() for (name, _), values in zip(log.columns, log.values, strict=True)
    }


def test_protochips_tells_its_units_in_notes(tmp_path):
    log = read(tmp_path, PROTOCHIPS)
    assert (log.format, log.universal) == ("Protochips", False)
    assert log.columns == [("holder_temperature_C", "°C"), ("holder_pressure_Torr", "Torr")]
    assert log.times_s.tolist() == pytest.approx([0, 0.210, 0.470, 0.721])  # an irregular step stays irregular
    np.testing.assert_array_equal(log.values[0], [25, 25, 26, np.nan])
    assert log.notes[0].startswith("Date (yyyy.mm.dd) = 2016.10.17; Time")
    assert log.notes[1:] == [None, "Chip type = EAT-33AA", None]
    assert log.remarks() == []


def test_protochips_without_the_unit_of_its_times_is_not_guessed(tmp_path):
    with pytest.raises(InputError, match="no readings"):
        read(tmp_path, "\n".join(line for line in PROTOCHIPS.splitlines() if "Time units" not in line) + "\n")


def test_a_real_protochips_log(samples):
    log = SensorLog(samples / "readers" / "protochips" / "protochips_gas_cell.csv")
    log.look()
    steps = np.diff(log.checked().times_s)
    assert len(log.columns) == 5
    assert log.times_s[-1] == pytest.approx(856.052)
    assert (steps.min(), steps.max()) == pytest.approx((0.047, 0.362))


def test_digiheater_goes_on_past_midnight(tmp_path):
    log = read(tmp_path, DIGIHEATER, "heater.dens")
    assert (log.format, log.universal) == ("DENS DigiHeater", False)
    assert log.times_s.tolist() == pytest.approx([0, 1.4, 2.6])
    assert [name for name, _ in log.columns] == ["tset_C", "tmeas_C", "rheat_Ohm", "iheat_mA", "pheat_mW", "c"]
    assert log.values[1].tolist() == [20.5, 20.6, 20.9]


def test_impulse_counts_from_its_beginning(tmp_path):
    log = read(tmp_path, IMPULSE.encode("latin-1"))
    assert (log.format, log.universal) == ("DENS Impulse", False)
    times, sensors = table(log)
    assert times == [0, 0.26]
    assert sensors["temperature_setpoint_C"] == [300, 301]
    assert sensors["pressure_mbar"] == [1000, 1001]
    assert log.remarks() == ["2 cells that are no numbers"]


@pytest.mark.parametrize(
    ("content", "times"),
    [
        ("time_s,T_C\n1.5,20\n2.5,21\n", [1.5, 2.5]),
        ("Time (ms),T (°C)\n1500,20\n2500,21\n", [1.5, 2.5]),
        ("time [min];T [degC]\n0,5;20,0\n1,0;21,0\n", [30, 60]),
        ("# a remark\n\n time_h\tT / K\n0,5\t20\n1.0\t21\n", [1800, 3600]),
        ("\ufeffelapsed,T K\n1.5,20\n2.5,21\n", [1.5, 2.5]),
        ("date time;T\n05.03.2024 10:00:00;20\n05.03.2024 10:00:02,5;21\n", [0, 2.5]),
        ("T,time\r\n20,10:00:00\r\n21,10:00:02.5\r\n", [0, 2.5]),
        ('"time_s","T, at the tip (°C)"\n"1.5","20"\n"2.5","21"\n', [1.5, 2.5]),
    ],
)
def test_plain_csv_in_the_ways_it_is_written(tmp_path, content, times):
    log = read(tmp_path, content)
    assert log.format == "CSV"
    assert not log.universal
    assert log.times_s.tolist() == pytest.approx(times)
    assert log.values[0].tolist() == [20, 21]


@pytest.mark.parametrize(
    ("head", "first"),
    [
        ("timestamp_utc", "2024-03-05T10:00:00"),
        ("timestamp", "2024-03-05T11:00:00+01:00"),
        ("time", "2024-03-05 10:00:00.000Z"),
        ("unix_time", "1709632800"),
        ("timestamp", "1709632800000"),
        ("epoch (ms)", "1709632800000"),
    ],
)
def test_universal_times(tmp_path, head, first):
    log = read(tmp_path, f"time_s,{head},T_C\n3,{first},20\n")
    assert log.universal
    assert log.times_s.tolist() == [1709632800.0]
    assert [name for name, _ in log.columns] == ["t_C"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path, encoding):
    log = read(tmp_path, "time_s;T (°C)\n0;20,5\n".encode(encoding))
    assert table(log) == ([0], {"t_C": [20.5]})


def test_what_is_wrong_is_told_and_harms_nothing_else(tmp_path):
    log = read(
        tmp_path,
        "time,T_C,p_mbar\n0,20,1000\n5,oops,\n4,inf,1001\nlater,1,2\n6,nan\n,,\n7,23,1002,9\n8,24",
    )
    times, sensors = table(log)
    assert times == [0, 5, 4, 6, 7]
    np.testing.assert_array_equal(sensors["t_C"], [20, np.nan, np.nan, np.nan, 23])
    np.testing.assert_array_equal(sensors["p_mbar"], [1000, np.nan, 1001, np.nan, 1002])
    assert set(log.remarks()) == {
        "2 cells that are no numbers",
        "2 lines without a time that can be read: not used",
        "2 lines with more or fewer cells than columns",
        "its times have no unit: taken as s",
        "its time runs backwards 1 times: sorted by time",
        "its last line has no end: not used",
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"temperature,pressure\n1,2\n", "no column of times"),
        (b"time,T\n", "no column of times"),
        (b"time (furlongs),T\n1,2\n", "no column of times"),
        (b"date,T\n2024-03-05,2\n", "no column of times"),
        (b"1,2\n3,4\n" * 100, "no column of times"),
        (b"\x89PNG\0\0\0\0" * 10, "is no text"),
        (b"time_s," + b"x" * 100_000, "has a line of more than"),
    ],
)
def test_no_log(tmp_path, content, says):
    with pytest.raises(InputError, match=says):
        read(tmp_path, content)


def test_no_file_a_folder_a_pipe(tmp_path):
    missing = SensorLog(tmp_path / "none.csv")
    assert not missing.look()
    with pytest.raises(InputError, match="there is no"):
        missing.checked()
    with pytest.raises(InputError, match="not a regular file"):
        SensorLog(tmp_path).look()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        SensorLog(tmp_path / "pipe").look()


def test_columns_never_share_a_name(tmp_path):
    log = read(tmp_path, "time_s,T (C),T (°C),frame,,T_2 (C)\n0,1,2,3,4,5\n")
    assert [name for name, _ in log.columns] == ["t_C", "t_2_C", "frame_2", "t_2_2_C"]


@settings(deadline=None, max_examples=50)  # files are written
@given(st.sampled_from([PROTOCHIPS, DIGIHEATER, IMPULSE]), st.lists(st.integers(0, 600), max_size=12), st.booleans())
def test_a_log_that_grows_gives_what_the_finished_one_gives(tmp_path_factory, content, cuts, wide):
    folder = tmp_path_factory.mktemp("grows")
    data = content.encode("utf-16" if wide else "utf-8")
    whole = read(folder, data, "whole.csv")
    growing = SensorLog(folder / "grows.csv")
    growing.look()
    places = sorted({min(c, len(data)) for c in cuts} | {len(data)})
    for begin, end in zip([0, *places], places, strict=False):
        with growing.path.open("ab") as file:
            file.write(data[begin:end])
        growing.look()
        assert len(growing.times_s) == len(growing.notes) == len(growing.values[0] if growing.values else ())
    assert str(table(growing)) == str(table(whole))
    assert (growing.notes, growing.columns, growing.format) == (whole.notes, whole.columns, whole.format)
    assert growing.remarks() == whole.remarks()


def test_a_log_that_is_replaced_is_read_anew(tmp_path):
    log = read(tmp_path, "time_s,T_C\n0,20\n1,21\n")
    new = tmp_path / "new.csv"
    new.write_text("time_s,p_Pa\n5,3\n")
    new.replace(log.path)
    assert log.look()
    assert table(log) == ([5], {"p_Pa": [3]})
    log.path.write_text("time_s,p_Pa\n")  # cut
    log.look()
    with pytest.raises(InputError):
        log.checked()
