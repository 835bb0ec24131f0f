"""The figures of a run: which can be drawn from what there is, and why the others cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import figures
from insitu.figures import Places
from insitu.report import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from insitu.figures import Drawn, Units
    from insitu.report.material import Material

_MOST_TRACKS = 3000
_NO_STATISTICS = "no coarsening statistics have been made"
_PLOTTED_EVENTS = ("coalescence", "dissolution", "splitting", "nucleation", "appearance", "lost", "entering", "leaving")


class Absent(Exception):  # noqa: N818 - a fact about the data, not an error of the program
    """A figure that cannot be drawn, and why."""


def draw(material: Material) -> tuple[list[Drawn], list[tuple[str, str]]]:
    """Return the figures of a run in the order of a report, and what could not be drawn, each with its reason."""
    drawn: list[Drawn] = []
    absent: list[tuple[str, str]] = []
    for what, make in _FIGURES:
        try:
            drawn.append(make(material))
        except Absent as why:
            # the statistics as a whole are missing: that is said once, not once a figure
            if str(why) != _NO_STATISTICS:
                absent.append((what, str(why)))
        except KeyError as column:
            absent.append((what, f"the statistics have no column {column}: make them again with insitu coarsening RUN"))
    return drawn, absent


def together(runs: Sequence[tuple[str, Material]]) -> Drawn | str:
    """Return the figure of several runs, from their statistics where all have these, or why there is none."""
    kinetics = [(name, m.statistics.get("kinetics"), m.study_units) for name, m in runs]
    if all(table is not None and len(table) > 1 for _, table, _ in kinetics):
        if len({units for *_, units in kinetics}) > 1:
            return "The runs cannot be drawn together: their statistics are in different units."
        rows = [(name, columns(table)) for name, table, _ in kinetics if table is not None]
        return figures.compared_windows(rows, kinetics[0][2])
    if len({m.units for _, m in runs}) > 1:
        return "The runs cannot be drawn together: some are calibrated and others are not."
    lines = [(name, frame_columns(m)) for name, m in runs if len(m.used) > 1 and len(m.rows)]
    if not lines:
        return "No run has two frames with particles, so there is nothing to draw."
    return figures.compared(lines, runs[0][1].units)


def columns(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as plain columns; missing values become None or NaN."""
    return {str(name): table[name].to_numpy() for name in table}


def frame_columns(material: Material) -> dict[str, Any]:
    """Return the columns that `figures.counts` draws: one row a used frame."""
    names = dict.fromkeys(("frame", material.units.time_column, "n_particles", material.radius))
    return columns(material.used[list(names)])


def _over_time(material: Material) -> Drawn:
    table = material.statistics.get("kinetics")
    if table is not None and len(table) > 1:
        fits = material.statistics.get("fits")
        laws = {} if fits is None else columns(fits)
        units = material.study_units
        return figures.kinetics(
            columns(table), laws, units, material.sensors if units.time == material.units.time else ()
        )
    if len(material.used) < 2:
        raise Absent(f"the run has {_frames(material)}, and a change needs two")
    if not len(material.rows):
        raise Absent("no particle was found")
    return figures.counts(frame_columns(material), material.units, material.sensors)


def _sensors(material: Material) -> Drawn:
    if not material.sensors:
        raise Absent(material.missing.get("sensors", "no sensors were recorded with the run"))
    return figures.traces(material.sensors, material.units)


def _events(material: Material) -> Drawn:
    used = material.used["frame"]
    events = material.events
    told = events[events["kind"].isin(_PLOTTED_EVENTS)]
    if not len(told) or len(used) < 2:
        raise Absent("no event was seen")
    step = material.run.calibration.s_per_frame or 1.0
    by_kind = {str(k): rows["frame"].to_numpy(np.float64) * step for k, rows in told.groupby("kind")}
    return figures.events_so_far(
        by_kind, (material.time_of(used.iloc[0]), material.time_of(used.iloc[-1])), material.units
    )


def _tracks(material: Material) -> Drawn:
    rows = material.rows
    if not len(rows):
        raise Absent("no particle was found")
    if len(material.used) < 2:
        raise Absent(f"the run has {_frames(material)}, and a path needs two")
    longest = rows["particle"].value_counts().head(_MOST_TRACKS).index
    drift = material.frames.set_index("frame")[["drift_y_px", "drift_x_px"]].fillna(0.0)
    kept = rows[rows["particle"].isin(longest)].sort_values(["particle", "frame"]).join(drift, on="frame")
    y0, x0 = material.about["geometry"]["origin"]
    places = Places(
        kept["particle"].to_numpy(np.int64),
        kept["frame"].to_numpy(np.float64) * (material.run.calibration.s_per_frame or 1.0),
        (kept["y"] - kept["drift_y_px"] - y0).to_numpy(np.float64),
        (kept["x"] - kept["drift_x_px"] - x0).to_numpy(np.float64),
    )
    height, width = material.about["geometry"]["region"]
    return figures.track_map(places, (height, width), material.units, material.run.calibration.nm_per_px)


def _kymograph(material: Material) -> Drawn:
    if material.reader is None:
        raise Absent(material.missing.get("source", "the movie cannot be read"))
    found = pictures.line_through(material)
    if found is None or not np.isfinite(found[0]).any():
        raise Absent("it needs two frames that can be read, with particles in them")
    image, times, at = found
    return figures.kymograph(image, times, at, material.units, material.run.calibration.nm_per_px)


def _of_tables(
    make: Callable[[dict[str, Any], dict[str, Any], Units], Drawn], table: str, beside: str
) -> Callable[[Material], Drawn]:
    """Return a maker of a figure from one table of the statistics, and a second one that may be absent."""

    def made(material: Material) -> Drawn:
        rows, extra = material.statistics.get(table), material.statistics.get(beside)
        if rows is None or not len(rows):
            raise Absent(_why_not(material, table))
        return make(columns(rows), {} if extra is None else columns(extra), material.study_units)

    return made


def _why_not(material: Material, table: str) -> str:
    """Return why the statistics have no such table: what they themselves say of it, else that it is not there."""
    if not material.statistics:
        return _NO_STATISTICS
    word = table.replace("_", " ").rstrip("s")
    for said in material.summary.get("not_computed") or []:
        if word in str(said.get("what", "")).lower():
            return str(said.get("why", ""))
    return f"the statistics have no table '{table}'"


def _alone(make: Callable[[dict[str, Any], Units], Drawn]) -> Callable[..., Drawn]:
    return lambda rows, _beside, units: make(rows, units)


def _frames(material: Material) -> str:
    n = len(material.used)
    return "no frame that could be used" if n == 0 else "one frame" if n == 1 else f"{n} frames"


_FIGURES: tuple[tuple[str, Callable[[Material], Drawn]], ...] = (
    ("mean radius and number of particles", _over_time),
    ("size distributions", _of_tables(figures.distributions, "distributions", "distribution_fits")),
    ("growth of single particles", _of_tables(figures.growth, "growth", "critical")),
    ("number balance", _of_tables(_alone(figures.number_balance), "number_balance", "")),
    ("survival", _of_tables(figures.survival, "survival", "incidence")),
    ("pair correlation", _of_tables(_alone(figures.pair_correlation), "pair_correlation", "")),
    ("mean squared displacement", _of_tables(figures.displacements, "mobility", "mobility_fits")),
    ("map of the tracks", _tracks),
    ("events so far", _events),
    ("kymograph", _kymograph),
    ("sensor traces", _sensors),
)
