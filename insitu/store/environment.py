"""``environment.parquet``: what the sensors said, one row a reading, on the time axis of the movie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from insitu.schema import ENVIRONMENT, Column
from insitu.store import layout
from insitu.store.disk import Disk
from insitu.store.tables import arrow_table, table_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def write_environment(
    out: Path, columns: Mapping[str, Any], sensors: Sequence[tuple[str, str]], origin: Mapping[str, str]
) -> None:
    """Write the table of a run: whole or not at all, and durable.

    Parameters
    ----------
    out : Path
        The run folder.
    columns : mapping
        Column name → values of equal length: those of `schema.ENVIRONMENT` that are known, and the sensors.
    sensors : sequence of (str, str)
        Column name and unit of each sensor.
    origin : mapping
        Where the readings come from and how they were laid beside the movie, for the metadata of the file.

    Raises
    ------
    OSError
        The disk is full or fails.
    """
    wanted = [column for column in ENVIRONMENT if column.name in columns]
    wanted += [Column(name, "float64", unit, "reading; NaN where there is none") for name, unit in sensors]
    table = arrow_table("environment", columns, wanted)
    told = {f"insitu.log.{key}": value for key, value in origin.items()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **told})
    disk = Disk()
    disk.write(out / layout.ENVIRONMENT, table_bytes(table))
    disk.sync_folder(out)
