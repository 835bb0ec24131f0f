"""The tables of a run as other programs read them, without any export."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

TABLES = ["particles", "tracks", "events", "frames"]


def columns_of(frame):
    """Numbers as float with NaN, everything else as text."""
    found = {}
    for name in frame.columns:
        values = frame[name]
        numeric = pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
        found[name] = values.to_numpy(float, na_value=np.nan) if numeric else None
    return found


def plain(value):
    """Return a list as a list, and what is unknown as None."""
    if isinstance(value, np.ndarray | list):
        return list(value)
    return None if pd.isna(value) else value


def same(found, expected):
    assert list(found.columns) == list(expected.columns)
    for name, values in columns_of(expected).items():
        if values is None:
            assert [plain(v) for v in found[name]] == [plain(v) for v in expected[name]], name
        else:
            np.testing.assert_array_equal(found[name].to_numpy(float, na_value=np.nan), values, name)


@pytest.mark.parametrize("table", TABLES)
def test_pandas(run, table):
    same(pd.read_parquet(run.path / f"{table}.parquet"), getattr(run, table).to_pandas())


@pytest.mark.parametrize("table", TABLES)
def test_polars(run, table):
    polars = pytest.importorskip("polars", reason="POLARS ABSENT: pip install polars to run this test")
    read = polars.read_parquet(run.path / f"{table}.parquet")
    expected = getattr(run, table).to_pandas()
    assert read.columns == list(expected.columns)
    same(pd.DataFrame({name: read[name].to_list() for name in read.columns}), expected)


@pytest.mark.parametrize("table", TABLES)
def test_duckdb(run, table):
    duckdb = pytest.importorskip("duckdb", reason="DUCKDB ABSENT: pip install duckdb to run this test")
    same(duckdb.sql(f"SELECT * FROM '{run.path / table}.parquet'").df(), getattr(run, table).to_pandas())
