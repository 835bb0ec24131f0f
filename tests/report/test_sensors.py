from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_cases import told
from store_cases import UNKNOWN, World

from insitu.figures import Trace
from insitu.report.sensors import at, sensors
from insitu.results import open_run


@pytest.fixture
def run(tmp_path):
    return open_run(told(tmp_path / "r", frames=64, world=World(empty=True)))


def put(run, **columns):
    pd.DataFrame(columns).to_parquet(run.path / "environment.parquet")


@pytest.mark.parametrize(
    ("column", "name", "unit"),
    [
        ("temperature_C", "temperature", "°C"),
        ("chamber_pressure_mbar", "chamber pressure", "mbar"),
        ("dose_rate_e_nm2_s", "dose rate", "e⁻ nm⁻² s⁻¹"),
        ("mass_flow", "mass flow", ""),
    ],
)
def test_names_and_units_come_from_the_column(run, column, name, unit):
    put(run, time_s=[0.0, 1.0], **{column: [1.0, 2.0]})
    [trace], why = sensors(run)
    assert (trace.name, trace.unit, why) == (name, unit, "")
    assert trace.value.tolist() == [1, 2]


def test_a_unit_that_the_file_gives_comes_first(run):
    field = pa.field("temperature_C", pa.float64(), metadata={"unit": "deg C"})
    table = pa.table({"time_s": [0.0], "temperature_C": [1.0]}, schema=pa.schema([("time_s", pa.float64()), field]))
    pq.write_table(table, run.path / "environment.parquet")
    assert sensors(run)[0][0].unit == "deg C"


def test_sensors_without_numbers_or_time_are_told(run, tmp_path):
    assert sensors(run) == ((), "no sensors were recorded with the run")
    put(run, time_s=[0.0], temperature_C=[np.nan], state=["on"], pressure_Pa=[3.0])
    traces, why = sensors(run)
    assert [t.name for t in traces] == ["pressure"]
    assert why == "no numbers from temperature, state"
    put(run, timestamp_utc=["2026-01-01"], temperature_C=[1.0])
    assert "has no column 'time_s'" in sensors(run)[1]
    put(run, time_s=[None], temperature_C=[1.0])
    assert sensors(run)[1] == "no numbers from temperature"
    untimed = open_run(told(tmp_path / "u", frames=64, calibration=UNKNOWN, world=World(empty=True)))
    put(untimed, time_s=[0.0], temperature_C=[1.0])
    assert "has no column 'frame'" in sensors(untimed)[1]


def test_long_traces_are_thinned_from_end_to_end(run):
    put(run, time_s=np.arange(50_000) / 10, temperature_C=np.arange(50_000.0))
    [trace], _ = sensors(run)
    assert len(trace.value) == 2000
    assert (trace.value[0], trace.value[-1]) == (0, 49_999)


def test_between_two_values_a_sensor_says_what_lies_between_and_outside_nothing():
    gap = Trace("T", "K", np.array([2.0, 0.0, 1.0]), np.array([30.0, 10.0, np.nan]))
    assert at((gap,), 1.0) == ["T 20 K"]
    assert at((gap,), 0.0) == ["T 10 K"]
    assert at((gap,), 2.5) == at((gap,), -0.1) == []
    assert at((Trace("n", "", np.array([1.0]), np.array([5.0])),), 1.0) == ["n 5"]
