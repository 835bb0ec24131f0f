"""The particles with the column names of trackpy, as text or parquet: ``trackpy.emsd`` and the like run on it.

======== ==========================================================================================
y, x     centroid in px
mass     sum of the raw counts inside the outline (the background is not subtracted)
size     radius of gyration of the outline in px, from the axes of its ellipse: √(major² + minor²) / 4
ecc      eccentricity of that ellipse, 0 = circle (trackpy's own `ecc` is made from the brightness)
frame    0-based, missing frames counted; particle: identity over time
======== ==========================================================================================

`area_px` and `touches_edge` follow, which trackpy does not know and leaves alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.export.place import new_file
from insitu.export.rows import batches

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from insitu.export import ExportOptions
    from insitu.export.rows import Columns
    from insitu.results import Run

_NEEDED = (
    "y",
    "x",
    "area_px",
    "mean_intensity",
    "major_axis_px",
    "minor_axis_px",
    "eccentricity",
    "frame",
    "particle",
    "touches_edge",
)


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write the particles table with trackpy's names; parquet where `out` ends with ``.parquet``."""
    with new_file(out, overwrite=options.overwrite) as path:
        if path.suffix.lower() == ".parquet":
            _parquet(run, path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                tables = (table_of(rows) for rows in batches(run, _NEEDED))
                table_of(_none()).to_csv(file, index=False)
                for table in tables:
                    table.to_csv(file, index=False, header=False)


def table_of(rows: Columns) -> pd.DataFrame:
    """Return rows of the particles table with trackpy's names."""
    import pandas as pd

    return pd.DataFrame(
        {
            "y": rows["y"],
            "x": rows["x"],
            "mass": rows["mean_intensity"] * rows["area_px"],
            "size": np.hypot(rows["major_axis_px"], rows["minor_axis_px"]) / 4,
            "ecc": rows["eccentricity"],
            "frame": rows["frame"].astype(np.int64),
            "particle": rows["particle"].astype(np.int64),
            "area_px": rows["area_px"],
            "touches_edge": rows["touches_edge"].astype(np.bool_),
        }
    )


def _none() -> Columns:
    return {name: np.empty(0) for name in _NEEDED}


def _parquet(run: Run, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.Table.from_pandas(table_of(_none()), preserve_index=False).schema
    schema = schema.set(schema.get_field_index("area_px"), pa.field("area_px", pa.int32()))
    with pq.ParquetWriter(path, schema) as writer:
        for rows in batches(run, _NEEDED):
            writer.write_table(pa.Table.from_pandas(table_of(rows), schema=schema, preserve_index=False))
