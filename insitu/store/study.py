"""A folder of tidy tables beside a run: each as parquet with units in its metadata and as csv, and a ``summary.json``.

The folder is written beside its place and then takes its name, so that a reader finds the old one or the new one whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.store.about import encode
from insitu.store.disk import TEMPORARY, Disk
from insitu.store.tables import arrow_schema, table_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from insitu.schema import Column

SUMMARY = "summary.json"
Tables = dict[str, tuple["Mapping[str, Any]", "Sequence[Column]"]]


def write_study(folder: Path, tables: Tables, summary: Mapping[str, Any], disk: Disk | None = None) -> None:
    """Write tables and summary as `folder`, replacing what it held.

    Parameters
    ----------
    folder : Path
        Its parent must exist.
    tables : dict
        Name → columns (arrays of equal length) and their description. NaN becomes an empty cell.
    summary : mapping
        JSON values.

    Raises
    ------
    ValueError
        NaN in a column that always has a value.
    """
    disk = disk or Disk()
    partial = folder.with_name(folder.name + TEMPORARY)
    disk.remove(partial)
    disk.make_folder(partial)
    try:
        for name, (columns, described) in tables.items():
            table = study_table(name, columns, described)
            disk.write(partial / f"{name}.parquet", table_bytes(table))
            disk.write(partial / f"{name}.csv", _csv(table))
        disk.write(partial / SUMMARY, encode(summary))
        disk.sync_folder(partial)
    except BaseException:
        disk.remove(partial)
        raise
    # only once all is written does the old folder go
    disk.remove(folder)
    disk.rename(partial, folder)
    disk.sync_folder(folder.parent)


def study_table(name: str, columns: Mapping[str, Any], described: Sequence[Column]) -> pa.Table:
    """Return columns as an arrow table, NaN as null; see `write_study`."""
    import pyarrow as pa

    schema = arrow_schema(name, described)
    arrays = [_array(np.asarray(columns[c.name]), c, field.type) for c, field in zip(described, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Any, column: Column, kind: pa.DataType) -> pa.Array:  # noqa: ANN401 - numpy arrays of any dtype
    import pyarrow as pa

    unknown = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    if values.dtype.kind == "O":
        unknown = np.array([v is None for v in values], bool)
    if unknown.any() and not column.nullable:
        raise ValueError(f"column {column.name} has {int(unknown.sum())} values that are not known")
    if values.dtype.kind == "f" and column.dtype.startswith(("int", "uint")):
        values = np.where(unknown, 0, values).astype(column.dtype)
    return pa.array(values, mask=unknown).cast(kind) if len(values) else pa.array([], kind)


def _csv(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.csv

    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return bytes(sink.getvalue())
