"""The tables of a run as a workbook: a sheet a table, and two that explain.

`about` says where the numbers come from, `columns` what each column means. In a table's sheet the first row has the
units, the second the names, and both stay in sight. Numbers are numbers whatever the decimal sign of the reader's
language; what is unknown is an empty cell. Statistics that lie in the run (``coarsening/``) get sheets too, and one,
`findings`, of what they say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.export.csv import table_named
from insitu.export.place import new_file
from insitu.export.rows import record_batches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from insitu.export import ExportOptions
    from insitu.results import Run

MOST_ROWS = 1_048_576  # of a sheet in Excel and in LibreOffice
MOST_SHEETS = 8  # of one table: about what such a program still opens
_MOST_CHARACTERS = 32_767  # of a cell
_HEAD = 2
_ORDER = ("frames", "tracks", "events", "particles")
_NAME_CHARACTERS = 31  # of a sheet's name


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table: its name, arrow schema, number of rows, and where they come from."""

    name: str
    schema: pa.Schema
    rows: int
    batches: Iterator[pa.RecordBatch]

    @property
    def names(self) -> list[str]:
        """Names of the sheets it takes: ``particles``, ``particles 2`` and so on."""
        n = max(1, -(-self.rows // (MOST_ROWS - _HEAD)))
        return [self.name if k == 0 else f"{self.name} {k + 1}" for k in range(n)]


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write all tables of a run, or ``options.table`` alone, to the workbook `out`.

    A table with more rows than a sheet can hold goes on in a further one, and `about` says so.

    Raises
    ------
    CommandError
        There is no such table, or one needs more than `MOST_SHEETS` sheets.
    """
    sheets = list(_sheets(run, options.table))
    for sheet in sheets:
        if len(sheet.names) > MOST_SHEETS:
            raise CommandError(
                f"the table {sheet.name} has {sheet.rows} rows, more than {MOST_SHEETS} sheets of {MOST_ROWS} hold",
                f"take another table (--table tracks), csv, or open '{run.path / sheet.name}.parquet' itself",
            )
    # Rows wait in files until the workbook is closed: in a folder that goes whatever happens.
    with (
        new_file(out, overwrite=options.overwrite) as path,
        TemporaryDirectory(dir=path.parent, prefix=f".{out.stem}.") as scratch,
    ):
        _Book(path, scratch, sheets).write(run, options)


def _sheets(run: Run, table: str) -> Iterator[Sheet]:
    for name in (table_named(table),) if table else _ORDER:
        stored = getattr(run, name)
        batches = record_batches(run) if name == "particles" else stored.batches()
        yield Sheet(name, stored.schema, len(stored), batches)
    if not table:
        yield from _statistics(run.path / "coarsening")


def _statistics(folder: Path) -> Iterator[Sheet]:
    """Yield the tables that `insitu coarsening` left in the run."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        yield Sheet(path.stem[:_NAME_CHARACTERS], file.schema_arrow, file.metadata.num_rows, file.iter_batches())


class _Book:
    """A workbook that is written row by row, in constant memory."""

    def __init__(self, path: Path, scratch: str, sheets: list[Sheet]) -> None:
        import xlsxwriter

        self._sheets = sheets
        self._book = xlsxwriter.Workbook(
            path,
            {
                "constant_memory": True,
                "tmpdir": scratch,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        if sum(sheet.rows for sheet in sheets) > 2 * MOST_ROWS:
            self._book.use_zip64()
        self._bold = self._book.add_format({"bold": True, "bottom": 1})
        self._unit = self._book.add_format({"italic": True, "font_color": "#595959"})
        self._wrap = self._book.add_format({"text_wrap": True, "valign": "top"})
        self._done = 0

    def write(self, run: Run, options: ExportOptions) -> None:
        """Write all sheets and close the file."""
        self._about(run)
        self._columns()
        if not options.table:
            self._findings(run.path / "coarsening" / "summary.json")
        for sheet in self._sheets:
            self._table(sheet, options)
        self._book.close()

    def _about(self, run: Run) -> None:
        sheet = self._book.add_worksheet("about")
        sheet.set_column(0, 0, 24)
        sheet.set_column(1, 1, 90)
        for r, (name, value) in enumerate([*_facts(run), *_parts(self._sheets)]):
            sheet.write_string(r, 0, name, self._unit)
            _put(sheet, r, 1, value)

    def _columns(self) -> None:
        sheet = self._book.add_worksheet("columns")
        for column, (title, width) in enumerate((("sheet", 16), ("column", 34), ("unit", 12), ("meaning", 100))):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, title, self._bold)
        sheet.freeze_panes(1, 0)
        row = 1
        for table in self._sheets:
            for field in table.schema:
                for column, text in enumerate(
                    (table.name, field.name, _said(field, b"unit"), _said(field, b"meaning"))
                ):
                    sheet.write_string(row, column, text)
                row += 1

    def _findings(self, path: Path) -> None:
        """Write what the statistics say in numbers and in words, where they were made."""
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return
        sheet = self._book.add_worksheet("findings")
        for column, (title, width) in enumerate((("", 30), ("value", 14), ("low", 14), ("high", 14), ("unit", 14))):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, title, self._bold)
        sheet.freeze_panes(1, 0)
        numbers = [
            (name, *map(n.get, ("value", "low", "high", "unit"))) for name, n in found.get("headline", {}).items()
        ]
        words = [("verdict", (found.get("verdict") or {}).get("sentence"))]
        words += [("caveat", text) for text in found.get("caveats", ())]
        words += [("not computed", f"{item['what']}: {item['why']}") for item in found.get("not_computed", ())]
        for row, values in enumerate([*numbers, *words], 1):
            for column, value in enumerate(values):
                _put(sheet, row, column, value)

    def _table(self, table: Sheet, options: ExportOptions) -> None:
        rows = _rows(table.batches)
        for name in table.names:
            sheet = self._book.add_worksheet(name)
            sheet.freeze_panes(_HEAD, 0)
            sheet.set_column(0, len(table.schema) - 1, 14)
            for column, field in enumerate(table.schema):
                sheet.write_string(0, column, _said(field, b"unit"), self._unit)
            for column, field in enumerate(table.schema):
                sheet.write_string(1, column, field.name, self._bold)
            last = _HEAD - 1
            for last, values in enumerate(islice(rows, MOST_ROWS - _HEAD), _HEAD):
                for column, value in enumerate(values):
                    _put(sheet, last, column, value)
                self._done += 1
                if options.progress:
                    options.progress(self._done)
            sheet.autofilter(1, 0, last, len(table.schema) - 1)


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        for start in range(0, batch.num_rows, 4096):
            piece = batch.slice(start, 4096)
            yield from zip(*(column.to_pylist() for column in piece.columns), strict=True)


def _put(sheet: Any, row: int, column: int, value: Any) -> None:  # noqa: ANN401 - xlsxwriter has no types
    """Write one value; nothing where it is unknown, spaces between those of a list."""
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float):
        if np.isfinite(value):
            sheet.write_number(row, column, value)
    else:
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if text:
            cut = text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 2]} …"
            sheet.write_string(row, column, cut)


def _said(field: pa.Field, key: bytes) -> str:
    said: bytes = (field.metadata or {}).get(key, b"")
    return said.decode()


def _facts(run: Run) -> Iterator[tuple[str, Any]]:
    info, known = run.info, run.calibration
    yield "run", run.path.name
    yield "movie", info["source"]["path"]
    yield "written by", f"insitu {info['insitu']}"
    yield "finished", info["finished"] or "not finished: what is safe so far"
    yield "pixel size in nm", known.nm_per_px if known.nm_per_px is not None else "unknown"
    yield "pixel size from", known.nm_source
    yield "frame time in s", known.s_per_frame if known.s_per_frame is not None else "unknown"
    yield "frame time from", known.s_source
    for status in ("ok", "bad", "missing"):
        yield f"frames {status}", run.counts[status]
    yield "in a table's sheet", "row 1: units, row 2: names; pandas.read_excel(FILE, sheet_name=…, header=1)"
    yield "pixels", "camera pixels of the full frame, centres at integers, y down; positions are not drift-corrected"


def _parts(sheets: list[Sheet]) -> Iterator[tuple[str, Any]]:
    for sheet in sheets:
        if len(sheet.names) > 1:
            yield f"sheets of {sheet.name}", f"{', '.join(sheet.names)}: a sheet holds {MOST_ROWS} rows at most"
