"""One table of a run as text. Units stand in the column names; with a decimal comma, semicolons part the columns."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from insitu.errors import CommandError
from insitu.export.place import new_file
from insitu.export.rows import record_batches

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from insitu.export import ExportOptions
    from insitu.results import Run

TABLES = ("particles", "tracks", "events", "frames")


def table_named(name: str) -> str:
    """Return `name` where it is a table.

    Raises
    ------
    CommandError
        It is none.
    """
    if name not in TABLES:
        near = difflib.get_close_matches(name, TABLES, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"tables: {', '.join(TABLES)}"
        raise CommandError(f"no table '{name}'", hint)
    return name


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write ``options.table`` to `out`, all columns, rows in the order of the run.

    Lists (`parents`, `flags`) are written with spaces between their values; what is unknown stays empty. Numbers have
    as many digits as it takes to read the same value back. A name that ends with ``.tsv`` gets tabs.

    Raises
    ------
    CommandError
        There is no such table, or the decimal sign is neither point nor comma.
    """
    name = table_named(options.table or "particles")
    decimal = options.decimal or "."
    if decimal not in {".", ","}:
        raise CommandError(f"--decimal {decimal} is neither a point nor a comma", "write --decimal ,")
    between = "\t" if out.suffix.lower() == ".tsv" else ";" if decimal == "," else ","
    table = getattr(run, name)
    lists = [f.name for f in table.schema if str(f.type).startswith("list")]
    with new_file(out, overwrite=options.overwrite) as path, path.open("w", encoding="utf-8", newline="") as file:
        table.schema.empty_table().to_pandas().to_csv(file, sep=between, index=False)
        done = 0
        for batch in record_batches(run) if name == "particles" else table.batches():
            rows: pd.DataFrame = batch.to_pandas(integer_object_nulls=True)
            for column in lists:
                rows[column] = [" ".join(map(str, values)) for values in rows[column]]
            rows.to_csv(file, sep=between, decimal=decimal, index=False, header=False)
            done += len(rows)
            if options.progress:
                options.progress(done)
