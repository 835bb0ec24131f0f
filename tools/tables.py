"""Write docs/tables.md from insitu/schema.py, so that the description of a column exists once.

python -m tools.tables            # write
python -m tools.tables --check    # fail when the page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from insitu.schema import ENVIRONMENT, SCHEMA_VERSION, SENSOR_UNITS, TABLES, Column, twin

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tables.md"
ABOUT = {
    "particles": "One row a particle and frame, in order of frame and label.",
    "events": "One row an event, in order of decision. Particles of the first frame make no event.",
    "tracks": "One row a particle.",
    "frames": "One row a frame of the analysed range, bad and missing ones included.",
}
HEAD = f"""# Tables of a run

Generated from `insitu/schema.py` by `python -m tools.tables`; schema version {SCHEMA_VERSION}. Parquet files carry unit
and meaning of every column in their field metadata.

Pixel columns always exist and are camera pixels of the full frame, also under binning or crop: pixel centres at
integers, `y` down, `x` right, boxes half-open. Columns in nm exist only in runs whose pixel size is known, columns in s
only where the time of a frame is known. Positions are not drift-corrected; subtract `drift_y_px`, `drift_x_px` of the
frame.
"""


def row(column: Column) -> str:
    """Return one line of a table."""
    unit = column.unit or "–"
    also = f"`{twin(column).name}`" if column.calibrated else ""
    return f"| `{column.name}` | {column.dtype} | {unit} | {column.meaning} | {also} |"


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for name in ("particles", "events", "tracks", "frames"):
        lines = [f"## {name}", "", ABOUT[name], "", "| column | type | unit | meaning | calibrated twin |"]
        parts.append("\n".join([*lines, "| --- | --- | --- | --- | --- |", *(row(c) for c in TABLES[name])]) + "\n")
    return "\n".join([*parts, environment()])


def environment() -> str:
    """Return the section on what the sensors said."""
    endings = ", ".join(f"`_{suffix}` {unit}" for suffix, unit in SENSOR_UNITS.items())
    rows = [row(column) for column in ENVIRONMENT]
    sensor = "| `holder_temperature_C`, … | float64 | °C, … | a column a sensor; NaN where it said nothing |  |"
    text = (
        "One row a reading, in order of time, from the last one before the movie to the first one after it; written "
        "with `--log` (see [Sensors](howto/sensors.md)). Values are as the log has them, never converted; the unit is "
        f"in the field metadata and ends the name: {endings}."
    )
    head = ["## environment", "", text, "", "| column | type | unit | meaning | calibrated twin |"]
    return "\n".join([*head, "| --- | --- | --- | --- | --- |", *rows, sensor]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    if "--check" in arguments:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        print("docs/tables.md is up to date" if same else "docs/tables.md is out of date: python -m tools.tables")
        return 0 if same else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
