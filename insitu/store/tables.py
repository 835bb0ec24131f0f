"""Parquet tables whose columns, units and meanings come from `insitu.schema`.

zstd-1, floats split into byte streams, no dictionary: half the CPU of pyarrow's defaults at about the same size
(`benchmarks/storing.py`). The bytes depend on rows and library version alone: no time stamp, no file name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import __version__, schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from insitu.schema import Column
    from insitu.store.disk import Disk, HashingFile, Stored
    from insitu.types import Calibration

ROW_GROUP = 131_072


def arrow_schema(table: str, columns: Sequence[Column]) -> pa.Schema:
    """Return the arrow schema of columns: unit and meaning with each field, versions with the table."""
    import pyarrow as pa

    fields = [
        pa.field(c.name, _arrow_type(c.dtype), nullable=c.nullable, metadata={"unit": c.unit, "meaning": c.meaning})
        for c in columns
    ]
    about = {"insitu.table": table, "insitu.schema": str(schema.SCHEMA_VERSION), "insitu.version": __version__}
    return pa.schema(fields, metadata=about)


def run_schema(table: str, calibration: Calibration) -> pa.Schema:
    """Return the arrow schema that a table has in a run of this calibration."""
    return arrow_schema(table, run_columns(table, calibration))


def run_columns(table: str, calibration: Calibration) -> tuple[Column, ...]:
    """Return the columns that a table has in a run of this calibration."""
    calibrated = calibration.nm_per_px is not None
    return schema.columns(table, calibrated=calibrated, timed=calibration.s_per_frame is not None)


def _arrow_type(dtype: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa

    if dtype.startswith("list<"):
        return pa.list_(_arrow_type(dtype[5:-1]))
    return {"bool": pa.bool_, "string": pa.string}.get(dtype, lambda: pa.from_numpy_dtype(np.dtype(dtype)))()


def with_twins(table: str, columns: Mapping[str, Any], calibration: Calibration) -> dict[str, Any]:
    """Add the calibrated twins (nm, nm², nm/s) of the pixel columns that are there."""
    known = dict(columns)
    if calibration.nm_per_px is None:
        return known
    nm, s = calibration.nm_per_px, calibration.s_per_frame
    factor = {"length": nm, "area": nm * nm, "speed": None if s is None else nm / s}
    for column in schema.TABLES[table]:
        times = factor.get(column.calibrated)
        if times is not None and column.name in known:
            known[schema.twin(column).name] = np.asarray(known[column.name], np.float64) * times
    return known


def arrow_table(table: str, columns: Mapping[str, Any], wanted: Sequence[Column]) -> pa.Table:
    """Return columns as an arrow table.

    Parameters
    ----------
    table : str
        Name of the table in `schema.TABLES`.
    columns : mapping
        Column name → array or list of equal length. None is null, allowed in nullable columns only; NaN stays NaN.
    wanted : sequence of Column
        The columns of the result, in order; each must be there.
    """
    import pyarrow as pa

    arrow = arrow_schema(table, wanted)
    arrays = [_array(columns[c.name], c, field.type) for c, field in zip(wanted, arrow, strict=True)]
    return pa.Table.from_arrays(arrays, schema=arrow)


def _array(values: Any, column: Column, kind: Any) -> Any:  # noqa: ANN401 - arrays in, pyarrow array out
    import pyarrow as pa

    if column.nullable or column.dtype == "string" or column.dtype.startswith("list<"):
        return pa.array([_plain(v) for v in values], type=kind)
    given, dtype = np.asarray(values), np.dtype(column.dtype)
    with np.errstate(invalid="ignore"):
        kept = np.ascontiguousarray(given, dtype)
    if dtype.kind in "iu" and given.dtype != dtype and not np.array_equal(kept, given):
        raise ValueError(f"column {column.name} holds values that {column.dtype} cannot")
    return pa.array(kept, type=kind)


def _plain(value: Any) -> Any:  # noqa: ANN401 - one cell of any kind
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def writer_options(arrow: pa.Schema) -> dict[str, Any]:
    """Return how every table of a run is encoded."""
    import pyarrow as pa

    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": False,
        "use_byte_stream_split": [f.name for f in arrow if pa.types.is_floating(f.type)],
    }


def table_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROW_GROUP, **writer_options(table.schema))
    return bytes(sink.getvalue())


def write_table(
    path: Path,
    columns: Mapping[str, Any],
    table: str,
    *,
    calibration: Calibration | None = None,
    disk: Disk | None = None,
) -> Stored:
    """Write one table to a file of its own: whole or not at all, and durable.

    Parameters
    ----------
    path : Path
        The parquet file; its folder must exist.
    columns : mapping
        Column name → array or list. A subset of the table's columns will do (a truth table has no `mean_probability`).
    table : str
        One of `schema.TABLES`.
    calibration : Calibration, optional
        Where given, calibrated twins are added.

    Raises
    ------
    ValueError
        A column that the table does not have.
    """
    from insitu.store.disk import Disk

    disk = disk or Disk()
    given = with_twins(table, columns, calibration) if calibration else dict(columns)
    known = schema.columns(table, calibrated=True, timed=True)
    strange = set(given) - {c.name for c in known}
    if strange:
        raise ValueError(f"table {table} has no column {', '.join(sorted(strange))}")
    stored = disk.write(path, table_bytes(arrow_table(table, given, [c for c in known if c.name in given])))
    disk.sync_folder(path.parent)
    return stored


def merge_parts(parts: Iterable[Path], file: HashingFile, arrow: pa.Schema, row_group: int = ROW_GROUP) -> int:
    """Write the rows of parts, in order, as one parquet file with row groups of fixed size; return the number of rows.

    The bytes do not depend on how the rows were spread over the parts. One row group and one part are held at a time.
    """
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(file, arrow, **writer_options(arrow)) as writer:
        for group in _groups(parts, arrow, row_group):
            writer.write_table(group, row_group_size=row_group)
            rows += group.num_rows
    return rows


def _groups(parts: Iterable[Path], arrow: pa.Schema, size: int) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    held: list[pa.Table] = []
    rows = 0
    for part in parts:
        # one thread: waking a pool for a few kB costs more than reading them
        with part.open("rb") as opened:  # pyarrow itself opens no path that is not UTF-8
            held.append(pq.ParquetFile(opened).read(use_threads=False).cast(arrow))
        rows += held[-1].num_rows
        while rows >= size:
            whole = pa.concat_tables(held)
            # copied into one contiguous chunk: page borders must not follow the borders of the parts
            yield pa.concat_tables([whole.slice(0, size)]).combine_chunks()
            held, rows = [whole.slice(size)], rows - size
    if rows:
        yield pa.concat_tables(held).combine_chunks()


def read_columns(path: Path, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return columns of a parquet file as numpy arrays; nulls become NaN or None, lists become object arrays."""
    import pyarrow.parquet as pq

    with path.open("rb") as opened:
        table = pq.ParquetFile(opened).read(None if names is None else list(names), use_threads=False)
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
