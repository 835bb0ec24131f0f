"""Parquet tables: columns, units, nulls, twins; bytes that depend on the rows alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from insitu import schema
from insitu.store import tables
from insitu.store.disk import Disk, failpoint, hash_file
from insitu.types import Calibration

KNOWN = Calibration(0.5, "test", 0.25, "test")


def some(column, n, rng):
    if column.dtype.startswith("list<string"):
        return [["a", "b"][: i % 3] for i in range(n)]
    if column.dtype.startswith("list<"):
        return [list(range(i % 4)) for i in range(n)]
    if column.dtype == "string":
        return [f"s{i % 5}" for i in range(n)]
    return rng.integers(0, 2 if column.dtype == "bool" else 100, n).astype(column.dtype)


def rows(table, n, seed=0):
    rng = np.random.default_rng(seed)
    return {c.name: some(c, n, rng) for c in schema.columns(table, calibrated=False, timed=True)}


@pytest.mark.parametrize("table", schema.TABLES)
def test_every_column_round_trips_with_unit_and_meaning(tmp_path, table):
    given = rows(table, 20)
    path = tmp_path / f"{table}.parquet"
    tables.write_table(path, given, table)
    read = pq.read_table(path)
    columns = schema.columns(table, calibrated=False, timed=True)
    assert read.column_names == [c.name for c in columns]
    for column in columns:
        field = read.schema.field(column.name)
        assert field.metadata == {b"unit": column.unit.encode(), b"meaning": column.meaning.encode()}
        assert field.nullable == column.nullable
        assert read[column.name].to_pylist() == list(np.array(given[column.name], object)) or column.dtype == "bool"
    assert read.schema.metadata[b"insitu.schema"] == b"1"
    assert read.schema.metadata[b"insitu.table"] == table.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_encoding_is_the_measured_one(tmp_path):
    path = tmp_path / "particles.parquet"
    tables.write_table(path, rows("particles", 1000), "particles")
    group = pq.ParquetFile(path).metadata.row_group(0)
    for i in range(group.num_columns):
        column = group.column(i)
        assert column.compression == "ZSTD"
        assert not any("DICTIONARY" in e for e in column.encodings)
        assert ("BYTE_STREAM_SPLIT" in column.encodings) == (column.physical_type == "DOUBLE")


def test_twins_carry_the_factor_of_their_dimension(tmp_path):
    path = tmp_path / "tracks.parquet"
    given = rows("tracks", 7)
    tables.write_table(path, given, "tracks", calibration=KNOWN)
    read = pd.read_parquet(path)
    assert np.array_equal(read.displacement_nm, given["displacement_px"] * 0.5)
    assert np.array_equal(read.growth_nm_per_s, given["growth_px_per_frame"] * 0.5 / 0.25)
    assert np.array_equal(read.equivalent_diameter_nm_first, given["equivalent_diameter_px_first"] * 0.5)
    areas = tables.with_twins("particles", {"area_px": np.array([8], np.int32)}, KNOWN)
    assert areas["area_nm2"].tolist() == [2.0]
    # 2**31 px² or so, squared factors: no int32 arithmetic on the way
    large = tables.with_twins("particles", {"area_px": np.array([2**31 - 1], np.int32)}, Calibration(100.0))
    assert large["area_nm2"].tolist() == [(2**31 - 1) * 1e4]


def test_run_columns_follow_what_is_known():
    def names(calibration):
        return {c.name for c in tables.run_columns("particles", calibration)}

    assert {"y_nm", "area_nm2", "time_s"} <= names(KNOWN)
    assert not {"y_nm", "area_nm2"} & names(Calibration(s_per_frame=1.0))
    assert "time_s" not in names(Calibration(nm_per_px=1.0))


def test_null_and_nan_are_kept_apart(tmp_path):
    given = rows("frames", 3) | {
        "threshold": [None, 0.5, None],
        "time_s": [None, 1.0, 2.0],
        "area_fraction": [np.nan] * 3,
    }
    tables.write_table(tmp_path / "f.parquet", given, "frames")
    read = pq.read_table(tmp_path / "f.parquet")
    assert read["threshold"].null_count == 2
    assert read["area_fraction"].null_count == 0
    assert np.isnan(read["area_fraction"].to_numpy()).all()


def test_null_where_none_is_allowed_is_refused(tmp_path):
    given = rows("frames", 2) | {"source": ["a", None]}
    with pytest.raises(ValueError, match="source"):
        tables.write_table(tmp_path / "f.parquet", given, "frames")


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.5, np.nan])
def test_values_that_do_not_fit_are_refused_not_wrapped(tmp_path, value):
    with pytest.raises(ValueError, match="frame holds values that int32 cannot"):
        tables.write_table(tmp_path / "t.parquet", {"frame": np.array([value])}, "particles")


def test_a_truth_table_may_have_fewer_columns_but_no_strange_ones(tmp_path):
    path = tmp_path / "truth.parquet"
    tables.write_table(path, {"y": [1.5], "frame": [0], "particle": [7]}, "particles")
    assert pq.read_table(path).to_pylist() == [{"frame": 0, "particle": 7, "y": 1.5}]
    with pytest.raises(ValueError, match="no column radius"):
        tables.write_table(path, {"radius": [1.0]}, "particles")


def test_columns_of_unequal_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match="length"):
        tables.write_table(tmp_path / "t.parquet", {"y": [1.5], "frame": [0, 1]}, "particles")


def merged(tmp_path, given, cuts, row_group):
    wanted = schema.columns("particles", calibrated=False, timed=True)
    arrow = tables.arrow_schema("particles", wanted)
    whole = tables.arrow_table("particles", given, wanted)
    parts = []
    for i, (a, b) in enumerate(zip([0, *cuts], [*cuts, whole.num_rows], strict=True)):
        parts.append(tmp_path / f"part-{len(cuts)}-{i}.parquet")
        parts[-1].write_bytes(tables.table_bytes(whole.slice(a, b - a)))
    path = tmp_path / f"merged-{len(cuts)}.parquet"
    with Disk(fsync=False).writing(path) as file:
        assert tables.merge_parts(parts, file, arrow, row_group) == whole.num_rows
    assert file.stored() == hash_file(path)
    return path, whole


@pytest.mark.parametrize(("count", "row_group"), [(1000, 128), (1024, 128), (5, 128), (0, 128), (30_000, 20_000)])
def test_merged_bytes_do_not_depend_on_the_parts(tmp_path, count, row_group):
    given = rows("particles", count)
    ways = [[], [count // 2], [count // 7, count // 3, count // 3], list(range(0, count, max(1, count // 50)))]
    paths = [merged(tmp_path, given, cuts, row_group) for cuts in ways]
    assert len({path.read_bytes() for path, _ in paths}) == 1
    path, whole = paths[0]
    file = pq.ParquetFile(path)
    assert file.read().equals(whole)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert all(size == row_group for size in sizes[:-1])
    assert sum(sizes) == count


def test_one_table_at_a_time_is_held(tmp_path, monkeypatch):
    # merging holds a row group and a part, not the table: count rows alive in the reader
    alive = []
    real = pa.concat_tables
    monkeypatch.setattr(pa, "concat_tables", lambda held: (alive.append(sum(t.num_rows for t in held)), real(held))[1])
    merged(tmp_path, rows("particles", 10_000), list(range(100, 10_000, 100)), 500)
    assert max(alive) <= 600


def test_failpoint_counts_passages(monkeypatch):
    died = []
    monkeypatch.setattr("insitu.store.disk.os._exit", died.append)
    monkeypatch.setattr("insitu.store.disk._passed", {})
    monkeypatch.setenv("INSITU_FAILPOINT", "after-line:2")
    for name in ("after-line", "before-line", "before-line", "after-line", "after-line"):
        failpoint(name)
    assert died == [137]
