"""The longest tracks of a run, as rows of a table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.report.numbers import UNKNOWN, known, said
from insitu.report.pictures import sparkline

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from insitu.report.material import Material

LONGEST = 20


@dataclass(frozen=True, slots=True)
class Track:
    """One row: every value as it is shown."""

    particle: str
    length: str
    span: str
    radius: str
    growth: str
    origin: str
    fate: str
    spark: str


def longest(material: Material, most: int = LONGEST) -> list[Track]:
    """Return the longest tracks; among equally long ones those with the larger particle first."""
    tracks = material.tracks
    if not len(tracks):
        return []
    size = "equivalent_diameter_px_mean"
    chosen = tracks.sort_values(["length", size], ascending=False, kind="stable").head(most)
    rows = material.rows[material.rows["particle"].isin(chosen["particle"])]
    particle, radius = rows["particle"].to_numpy(), rows["radius"].to_numpy(np.float64)
    return [_row(material, t, radius[particle == t["particle"]]) for _, t in chosen.iterrows()]


def _row(material: Material, track: pd.Series[Any], radii: NDArray[np.float64]) -> Track:
    unit = material.units.length
    first, last = (track[f"equivalent_diameter_{unit}_{end}"] / 2 for end in ("first", "last"))
    return Track(
        particle=str(track["particle"]),
        length=said(track["length"]),
        span=f"{int(track['first_frame'])} to {int(track['last_frame'])}",
        radius=f"{said(first)} → {said(last, unit)}",
        growth=_growth(material, track),
        origin=str(track["origin"]),
        fate=str(track["fate"]),
        spark=sparkline(radii),
    )


def _growth(material: Material, track: pd.Series[Any]) -> str:
    """Return slope of the radius ± its standard error, in nm/s where both are calibrated, else in px/frame."""
    calibrated = material.units.length == "nm" and material.units.time == "s"
    name, unit = ("growth_nm_per_s", "nm/s") if calibrated else ("growth_px_per_frame", "px/frame")
    slope, error = track[name] / 2, track[f"{name}_se"] / 2
    if not known(slope):
        return UNKNOWN
    if not known(error) or error == 0:
        return said(slope, unit)
    places = int(np.clip(1 - np.floor(np.log10(error)), 0, 6))
    return f"{slope:.{places}f} ± {error:.{places}f}\u00a0{unit}".replace("-", "−")
