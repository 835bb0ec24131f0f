"""Finished run folders made from tables, without a movie: so that a verb can be fed with numbers that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from insitu.options import StoreOptions
from insitu.store import about, layout, tables
from insitu.store.disk import Disk
from insitu.store.log import Unit, finish_line
from insitu.types import Calibration, RunInfo, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Columns = dict[str, Any]


def filled(table: str, columns: Columns, calibration: Calibration) -> Columns:
    """Return the columns with those that are missing: 0, false, empty text or list, unknown."""
    n = len(next(iter(columns.values()))) if columns else 0
    whole = dict(columns)
    for column in tables.run_columns(table, Calibration()):
        if column.name in whole:
            continue
        if column.dtype.startswith("list"):
            whole[column.name] = [[]] * n
        elif column.nullable:
            whole[column.name] = [None] * n
        elif column.dtype == "string":
            whole[column.name] = [""] * n
        else:
            whole[column.name] = np.zeros(n, column.dtype)
    if calibration.s_per_frame is not None and "frame" in whole and "time_s" not in columns:
        whole["time_s"] = np.asarray(whole["frame"], np.float64) * calibration.s_per_frame
    return tables.with_twins(table, whole, calibration)


def write_run(
    out: Path,
    particles: Iterable[Columns],
    others: dict[str, Columns],
    region: tuple[int, int],
    calibration: Calibration,
) -> Path:
    """Write a finished run folder.

    Parameters
    ----------
    particles : iterable of columns
        In order of frame; written as they come.
    others : dict
        Columns of ``frames``, and of ``events`` and ``tracks`` where there are any.
    """
    out.mkdir(parents=True)
    disk, files, rows = Disk(fsync=False), {}, {}
    for name in layout.TABLES:
        wanted = tables.run_columns(name, calibration)
        schema = tables.arrow_schema(name, wanted)
        parts = particles if name == "particles" else [others.get(name, {})]
        rows[name] = 0
        with (
            disk.writing(out / layout.table(name)) as file,
            pq.ParquetWriter(file, schema, **tables.writer_options(schema)) as writer,
        ):
            for part in parts:
                table = tables.arrow_table(name, filled(name, part, calibration), wanted)
                rows[name] += table.num_rows
                writer.write_table(table, row_group_size=tables.ROW_GROUP)
        files[layout.table(name)] = file.stored()
    planes = rows["frames"]
    source = SourceInfo("tables", "tables", *region, np.dtype(np.uint16), planes, calibration)
    counts = {"ok": planes, "bad": 0, "missing": 0, "particles": rows["particles"], "events": rows["events"]}
    content = about.begin(RunInfo(out, source, calibration, region), StoreOptions(), {})
    content |= {"status": "finished", "finished": about.now(), "exit": 0, "counts": counts}
    disk.write(out / layout.RUN, about.encode(content))
    disk.append(out / layout.COMMITS, Unit(0, planes, counts, rows, {}).line() + finish_line(files))
    return out
