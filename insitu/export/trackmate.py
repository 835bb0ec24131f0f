"""TrackMate's XML, version 7: spots, and links across frames and across mergers and splittings.

A track of TrackMate is a tree: all particles that mergers and splittings connect. The name of each spot is that of its
particle. Lengths are nm and times s where the run is calibrated, otherwise px and frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np

from insitu.export.graph import graph_of
from insitu.export.place import new_file
from insitu.export.rows import by_frame, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import TextIO

    from insitu.export import ExportOptions
    from insitu.export.graph import Graph
    from insitu.export.rows import Columns
    from insitu.results import Run

VERSION = "7.11.1"
_NEEDED = ("frame", "particle", "y", "x", "area_px", "equivalent_diameter_px", "mean_intensity", "mean_probability")
# feature, name, dimension, whole number
_SPOT = (
    ("QUALITY", "Quality", "QUALITY", False),
    ("POSITION_X", "X", "POSITION", False),
    ("POSITION_Y", "Y", "POSITION", False),
    ("POSITION_Z", "Z", "POSITION", False),
    ("POSITION_T", "T", "TIME", False),
    ("FRAME", "Frame", "NONE", True),
    ("RADIUS", "Radius", "LENGTH", False),
    ("VISIBILITY", "Visibility", "NONE", True),
    ("AREA", "Area", "AREA", False),
    ("MEAN_INTENSITY_CH1", "Mean intensity ch1", "INTENSITY", False),
    ("PARTICLE", "Particle of insitu", "NONE", True),
)
_EDGE = (
    ("SPOT_SOURCE_ID", "Source spot ID", "NONE", True),
    ("SPOT_TARGET_ID", "Target spot ID", "NONE", True),
    ("LINK_COST", "Edge cost", "COST", False),
)
_TRACK = (
    ("TRACK_INDEX", "Track index", "NONE", True),
    ("TRACK_ID", "Track ID", "NONE", True),
    ("NUMBER_SPOTS", "Number of spots in track", "NONE", True),
)


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write spots and links of a run to `out`.

    Spots have the number of their row in the particles table. A particle seen once and never linked is a spot without
    a track. `QUALITY` is the mean probability (1 where the model has none), `LINK_COST` −1 as for links made by hand.
    """
    with (
        new_file(out, overwrite=options.overwrite) as path,
        graph_of(run, path.parent) as graph,
        path.open("w", encoding="utf-8") as file,
    ):
        _head(file, run)
        _spots(file, run, options)
        _tracks(file, graph)
        _foot(file, run)


def _tag(name: str, values: Mapping[str, object], *, end: str = "/>") -> str:
    return f"<{name} {' '.join(f'{k}={quoteattr(str(v))}' for k, v in values.items())}{end}"


def _head(file: TextIO, run: Run) -> None:
    from insitu import __version__

    known = run.calibration
    units = {
        "spatialunits": "pixel" if known.nm_per_px is None else "nm",
        "timeunits": "frame" if known.s_per_frame is None else "sec",
    }
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    file.write(f'<TrackMate version="{VERSION}">\n<Log>Written by insitu {__version__}</Log>\n')
    file.write(_tag("Model", units, end=">\n<FeatureDeclarations>\n"))
    for group, features in (("SpotFeatures", _SPOT), ("EdgeFeatures", _EDGE), ("TrackFeatures", _TRACK)):
        file.write(f"<{group}>\n")
        for feature, name, dimension, whole in features:
            values = {"feature": feature, "name": name, "shortname": name, "dimension": dimension}
            file.write(_tag("Feature", {**values, "isint": str(whole).lower()}) + "\n")
        file.write(f"</{group}>\n")
    file.write("</FeatureDeclarations>\n")


def _spots(file: TextIO, run: Run, options: ExportOptions) -> None:
    timed = "time_s" in run.particles.columns
    file.write(f'<AllSpots nspots="{len(run.particles)}">\n')
    spot = 0
    for done, (frame, rows) in enumerate(by_frame(run, (*_NEEDED, "time_s") if timed else _NEEDED), 1):
        file.write(f'<SpotsInFrame frame="{frame}">\n')
        file.writelines(_spots_of(frame, rows, spot, run.calibration.nm_per_px or 1.0))
        file.write("</SpotsInFrame>\n")
        spot += len(rows["frame"])
        if options.progress:
            options.progress(done)
    file.write("</AllSpots>\n")


def _spots_of(frame: int, rows: Columns, first: int, side: float) -> list[str]:
    """Return the spots of a frame, one line each; `side` is that of a pixel in the unit of the file."""
    quality = np.where(np.isfinite(rows["mean_probability"]), rows["mean_probability"], 1.0)
    columns = (
        rows["particle"],
        quality,
        rows["x"] * side,
        rows["y"] * side,
        rows.get("time_s", rows["frame"].astype(np.float64)),
        rows["equivalent_diameter_px"] / 2 * side,
        rows["area_px"] * side**2,
        rows["mean_intensity"],
    )
    return [
        f'<Spot ID="{first + k}" name="{p}" QUALITY="{q!r}" POSITION_X="{x!r}" POSITION_Y="{y!r}" POSITION_Z="0.0" '
        f'POSITION_T="{t!r}" FRAME="{frame}" RADIUS="{r!r}" VISIBILITY="1" AREA="{a!r}" MEAN_INTENSITY_CH1="{i!r}" '
        f'PARTICLE="{p}"/>\n'
        for k, (p, q, x, y, t, r, a, i) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
    ]


def _tracks(file: TextIO, graph: Graph) -> None:
    names = graph.trees.tolist()
    file.write("<AllTracks>\n")
    for k, tree in enumerate(names):
        links = np.asarray(graph.links[graph.bounds[k] : graph.bounds[k + 1]])
        values = {"name": f"Track_{tree}", "TRACK_INDEX": k, "TRACK_ID": tree, "NUMBER_SPOTS": len(np.unique(links))}
        file.write(_tag("Track", values, end=">\n"))
        file.writelines(
            f'<Edge SPOT_SOURCE_ID="{a}" SPOT_TARGET_ID="{b}" LINK_COST="-1.0"/>\n' for a, b in links.tolist()
        )
        file.write("</Track>\n")
    file.write("</AllTracks>\n<FilteredTracks>\n")
    file.writelines(f'<TrackID TRACK_ID="{tree}"/>\n' for tree in names)
    file.write("</FilteredTracks>\n</Model>\n")


def _foot(file: TextIO, run: Run) -> None:
    known, (height, width) = run.calibration, shape_of(run)
    about = run.info["source"]
    name = str(about["path"]).rsplit("/", 1)[-1]
    image = {
        "filename": name,
        "folder": "",
        "width": width,
        "height": height,
        "nslices": 1,
        "nframes": about["n_frames"] or sum(run.counts[k] for k in ("ok", "bad", "missing")),
        "pixelwidth": known.nm_per_px or 1.0,
        "pixelheight": known.nm_per_px or 1.0,
        "voxeldepth": 1.0,
        "timeinterval": known.s_per_frame or 1.0,
    }
    file.write(f"<Settings>\n{_tag('ImageData', image)}\n")
    file.write('<InitialSpotFilter feature="QUALITY" value="0.0" isabove="true"/>\n')
    file.write("<SpotFilterCollection/>\n<TrackFilterCollection/>\n</Settings>\n")
    file.write('<GUIState state="ConfigureViews"/>\n</TrackMate>\n')
