"""The graph exchange file format (geff): nodes and directed edges in a zarr group, with axes and units.

A node is a row of the particles table and has its number. Written by the package of the format, which takes whole
arrays: memory grows with the rows, by some 150 bytes each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.export.graph import graph_of
from insitu.export.place import new_folder

if TYPE_CHECKING:
    from pathlib import Path

    from insitu.export import ExportOptions
    from insitu.results import Run

_NODES = {"t": "frame", "y": "y", "x": "x", "track_id": "particle", "area": "area_px", "label": "label"}
_OURS = {"nodes", "edges", "zarr.json", ".zgroup", ".zattrs", ".zmetadata"}


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write the graph of a run to the folder `out`; axes t (frame), y, x (px) with scale where calibrated."""
    from geff.core_io import write_arrays
    from geff_spec import GeffMetadata

    with (
        new_folder(out, lambda p: p.name in _OURS, overwrite=options.overwrite) as folder,
        graph_of(run, folder.parent) as graph,
    ):
        rows = run.particles.to_arrow(tuple(_NODES.values()))
        columns: Any = {name: {"values": rows[c].to_numpy(), "missing": None} for name, c in _NODES.items()}
        write_arrays(
            folder,
            np.arange(rows.num_rows, dtype=np.uint64),
            columns,
            np.asarray(graph.links).astype(np.uint64),
            {},
            GeffMetadata(directed=True, axes=_axes(run), node_props_metadata={}, edge_props_metadata={}),
            overwrite=True,  # the empty folder counts as one
        )


def _axes(run: Run) -> list[Any]:
    from geff_spec import Axis

    known = run.calibration
    time: dict[str, Any] = {"unit": "frame"}
    length: dict[str, Any] = {"unit": "pixel"}
    if known.s_per_frame is not None:
        time |= {"scale": known.s_per_frame, "scaled_unit": "second"}
    if known.nm_per_px is not None:
        length |= {"scale": known.nm_per_px, "scaled_unit": "nanometer"}
    return [Axis(name="t", type="time", **time), *(Axis(name=n, type="space", **length) for n in "yx")]
