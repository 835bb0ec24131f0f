"""Every column of every table once: name, dtype, unit, meaning.

The parquet metadata, `docs/tables.md` and the readers of a run are generated from here. A column with a `calibrated`
kind gets a twin in physical units (`_px` → `_nm`, `_nm2`) that exists only in runs whose pixel size is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `dtype` is a numpy name, ``"string"``, ``"list<int64>"`` or ``"list<string>"``.

    `calibrated` says how a twin follows from the pixel value: times nm/px, times its square, or nm/px per s/frame.
    `timed` columns exist only when the time of a frame is known.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    calibrated: Literal["", "length", "area", "speed"] = ""
    timed: bool = False
    nullable: bool = False


_TIME = Column("time_s", "float64", "s", "start of exposure since frame 0", timed=True)
_FRAME = Column("frame", "int32", "", "0-based position in the source's timeline, missing frames included")

PARTICLES: tuple[Column, ...] = (
    _FRAME,
    _TIME,
    Column("particle", "int64", "", "identity over time (track id)"),
    Column("label", "uint16", "", "value in the label image: 1…n within the frame in raster order"),
    Column("y", "float64", "px", "centroid, downwards, pixel centres at integers, not drift-corrected", "length"),
    Column("x", "float64", "px", "centroid, to the right", "length"),
    Column("area_px", "int32", "px²", "projected area, number of camera pixels", "area"),
    Column("equivalent_diameter_px", "float64", "px", "diameter of the disc of equal area, sqrt(4 A / π)", "length"),
    Column(
        "major_axis_px", "float64", "px", "major axis of the ellipse of equal second moments (scikit-image)", "length"
    ),
    Column(
        "minor_axis_px", "float64", "px", "minor axis of the ellipse of equal second moments (scikit-image)", "length"
    ),
    Column("eccentricity", "float64", "", "eccentricity of that ellipse, 0 = circle"),
    Column(
        "orientation_rad", "float64", "rad", "angle between the y axis and the major axis, −π/2…π/2, counter-clockwise"
    ),
    Column("perimeter_px", "float64", "px", "perimeter as scikit-image's `perimeter` (4-neighbourhood)", "length"),
    Column("circularity", "float64", "", "4π A / perimeter²; NaN where the perimeter is 0"),
    Column("bbox_y0", "int32", "px", "box, half-open"),
    Column("bbox_x0", "int32", "px", "box, half-open"),
    Column("bbox_y1", "int32", "px", "box, half-open"),
    Column("bbox_x1", "int32", "px", "box, half-open"),
    Column("mean_intensity", "float64", "counts", "mean raw count inside the particle"),
    Column("mean_probability", "float64", "", "mean model probability inside the particle; NaN for models without one"),
    Column("touches_edge", "bool", "", "the particle touches the border of the analysed region"),
    Column("composite", "bool", "", "several particles in contact measured as one; left out of size statistics"),
)

EVENTS: tuple[Column, ...] = (
    Column("event", "int64", "", "number of the event in order of decision"),
    Column("frame", "int32", "", "frame in which it happened"),
    Column("decided_frame", "int32", "", "frame in which enough had been seen to say so"),
    _TIME,
    Column(
        "kind",
        "string",
        "",
        "appearance, nucleation, coalescence, splitting, dissolution, entering, leaving, lost or mark",
    ),
    Column("y", "float64", "px", "place", "length"),
    Column("x", "float64", "px", "place", "length"),
    Column("parents", "list<int64>", "", "particles before"),
    Column("children", "list<int64>", "", "particles after"),
    Column("parent_areas_px", "list<int64>", "px²", "last area of each parent"),
    Column("child_areas_px", "list<int64>", "px²", "first area of each child"),
    Column("contact_frame", "int32", "", "first frame of contact", nullable=True),
    Column("gap_px", "float64", "px", "gap between the outlines before", "length"),
    Column("approach_px_per_frame", "float64", "px/frame", "closing speed before contact", "speed"),
    Column("volume_balance", "float64", "", "(Σ after A^1.5 − Σ before A^1.5) / Σ before A^1.5"),
    Column("touches_edge", "bool", "", "a particle of the event touches the border"),
    Column("confidence", "float64", "", "0–1"),
    Column("note", "string", "", "remark"),
)

TRACKS: tuple[Column, ...] = (
    Column("particle", "int64", "", "identity over time (track id)"),
    Column("first_frame", "int32", "", "first frame in which it was seen"),
    Column("last_frame", "int32", "", "last frame in which it was seen"),
    Column("length", "int32", "", "number of rows in `particles`"),
    Column("origin", "string", "", "start, or the kind of the event that began it"),
    Column("fate", "string", "", "end, or the kind of the event that ended it"),
    Column("parents", "list<int64>", "", "particles it came from"),
    Column("children", "list<int64>", "", "particles it became"),
    Column("equivalent_diameter_px_first", "float64", "px", "diameter when first seen", "length"),
    Column("equivalent_diameter_px_last", "float64", "px", "diameter when last seen", "length"),
    Column("equivalent_diameter_px_mean", "float64", "px", "mean diameter", "length"),
    Column("growth_px_per_frame", "float64", "px/frame", "slope of diameter against frame, least squares", "speed"),
    Column(
        "growth_px_per_frame_se",
        "float64",
        "px/frame",
        "its standard error, with the effective number of frames from the lag-1 autocorrelation of the residuals",
        "speed",
    ),
    Column("displacement_px", "float64", "px", "distance between first and last position, drift removed", "length"),
)

FRAMES: tuple[Column, ...] = (
    _FRAME,
    replace(_TIME, nullable=True),
    Column("timestamp_utc", "string", "", "ISO 8601 time of the exposure, where the source records it", nullable=True),
    Column("exposure_s", "float64", "s", "exposure time", nullable=True),
    Column("source", "string", "", "file the frame came from, relative to the source"),
    Column("source_number", "int64", "", "number in the file name, or page"),
    Column("status", "string", "", "ok, bad or missing"),
    Column("flags", "list<string>", "", "reasons and remarks"),
    Column("n_particles", "int32", "", "rows in `particles`"),
    Column("n_small", "int32", "", "components below `measure.min_area_px`, left out"),
    Column("area_fraction", "float64", "", "share of the analysed region covered by particles"),
    Column(
        "mean_equivalent_diameter_px",
        "float64",
        "px",
        "mean over particles that neither touch the edge nor are composite",
        "length",
    ),
    Column("drift_y_px", "float64", "px", "cumulative stage shift to subtract", "length"),
    Column("drift_x_px", "float64", "px", "cumulative stage shift to subtract", "length"),
    Column("threshold", "float64", "", "threshold used", nullable=True),
)

ENVIRONMENT: tuple[Column, ...] = (
    Column("frame", "int32", "", "last analysed frame that had begun; null outside the movie", nullable=True),
    Column("time_s", "float64", "s", "time of the reading since the start of frame 0"),
    Column("timestamp_utc", "string", "", "ISO 8601 time of the reading, where movie and log tell it", nullable=True),
    Column("note", "string", "", "what the log notes at this moment, where it has notes", nullable=True),
)

# how the name of a sensor's column ends → its unit: ``temperature_C``
SENSOR_UNITS: dict[str, str] = {
    "C": "°C",
    "degC": "°C",
    "K": "K",
    "mbar": "mbar",
    "bar": "bar",
    "Torr": "Torr",
    "Pa": "Pa",
    "hPa": "hPa",
    "kPa": "kPa",
    "e_nm2_s": "e⁻ nm⁻² s⁻¹",
    "e_A2_s": "e⁻ Å⁻² s⁻¹",
    "V": "V",
    "mV": "mV",
    "A": "A",
    "mA": "mA",
    "uA": "µA",
    "W": "W",
    "mW": "mW",
    "Ohm": "Ω",
    "percent": "%",
    "sccm": "sccm",
    "ml_min": "ml/min",
}

TABLES: dict[str, tuple[Column, ...]] = {
    "particles": PARTICLES,
    "events": EVENTS,
    "tracks": TRACKS,
    "frames": FRAMES,
}


def sensor(column: str) -> tuple[str, str]:
    """Split the column of a sensor into its name in words and its unit: ``holder_temperature_C``."""
    for suffix in sorted(SENSOR_UNITS, key=len, reverse=True):
        if column.endswith(f"_{suffix}"):
            return column.removesuffix(f"_{suffix}").replace("_", " "), SENSOR_UNITS[suffix]
    return column.replace("_", " "), ""


def twin(column: Column) -> Column:
    """Return the calibrated twin of a pixel column: ``area_px`` → ``area_nm2``, ``y`` → ``y_nm``."""
    if column.calibrated == "area":
        return replace(column, name=column.name.replace("_px", "_nm2"), dtype="float64", unit="nm²", calibrated="")
    if column.calibrated == "speed":
        name = column.name.replace("_px_per_frame", "_nm_per_s")
        return replace(column, name=name, unit="nm/s", calibrated="", timed=True)
    name = column.name.replace("_px", "_nm") if "_px" in column.name else f"{column.name}_nm"
    return replace(column, name=name, unit="nm", calibrated="")


def columns(table: str, *, calibrated: bool, timed: bool) -> tuple[Column, ...]:
    """Return the columns a table of a run has: pixel columns always, twins and times only where they are known."""
    kept = [c for c in TABLES[table] if timed or not c.timed or c.nullable]
    twins = [twin(c) for c in TABLES[table] if calibrated and c.calibrated and (timed or c.calibrated != "speed")]
    return tuple(kept + twins)
