"""What a report is made from, read once: tables of the run, a sample of its particles, statistics, sensors, source.

Whatever is not there is empty, and why is kept beside it: a report says what cannot be shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError, InsituError
from insitu.figures import Units
from insitu.report.overlay import source_of
from insitu.report.sensors import sensors, units_of
from insitu.results import open_run

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from insitu.figures import Trace
    from insitu.results import Run
    from insitu.types import Reader

SAMPLED_FRAMES = 400


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A run, as a report sees it.

    Attributes
    ----------
    run : Run
    about : dict
        ``run.json``.
    units : Units
    frames : DataFrame
        All rows of ``frames``, with `mean_radius_nm` or ``_px`` beside; sorted.
    events, tracks : DataFrame
    rows : DataFrame
        The particles of at most 400 used frames, evenly spaced: `frame, particle, label, y, x, touches_edge, composite`
        and `radius` in the unit of length.
    sensors : tuple of Trace
    statistics : dict of str to DataFrame
        Tables of ``coarsening/``.
    summary : dict
        ``coarsening/summary.json``.
    reader : Reader or None
        The source, opened.
    missing : dict of str to str
        What is not there (``"source"``, ``"labels"``, ``"coarsening"``, ``"sensors"``) and why.
    """

    run: Run
    about: dict[str, Any]
    units: Units
    frames: pd.DataFrame
    events: pd.DataFrame
    tracks: pd.DataFrame
    rows: pd.DataFrame
    sensors: tuple[Trace, ...] = ()
    statistics: dict[str, pd.DataFrame] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    reader: Reader | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def used(self) -> pd.DataFrame:
        """Rows of the frames that could be used."""
        return self.frames[self.frames["status"] == "ok"]

    @property
    def study_units(self) -> Units:
        """What the statistics are in: they may have been made with another calibration than the run."""
        told = self.summary.get("units") or {}
        length, time = str(told.get("length", self.units.length)), str(told.get("time", self.units.time))
        return Units(length, time, "um2" if length == "nm" else "mpx")

    @property
    def recalibrated(self) -> bool:
        """Whether the statistics were made with another pixel size or frame time than the run has."""
        told, own = self.summary.get("calibration") or {}, self.run.calibration
        now = {"nm_per_px": own.nm_per_px, "s_per_frame": own.s_per_frame}
        return any(key in told and told[key] != value for key, value in now.items())

    @property
    def radius(self) -> str:
        """Name of the column of the mean radius in `frames`."""
        return self.units.name("mean_radius_{length}")

    @property
    def per_px(self) -> float:
        """Units of length per px."""
        return self.run.calibration.nm_per_px or 1.0

    def time_of(self, frame: float) -> float:
        """Return the time of a frame in the unit of the time axis."""
        step = self.run.calibration.s_per_frame
        return float(frame) if step is None else float(frame) * step


def gather(path: str | Path, source: str | Path | None = None) -> Material:
    """Read all that a report needs.

    Parameters
    ----------
    path : path
        A run folder.
    source : path, optional
        Where its movie is now, if it was moved.

    Raises
    ------
    InputError
        `path` is no run, or `source` cannot be read.
    """
    run = open_run(path)
    units = units_of(run)
    missing: dict[str, str] = {}
    frames = _frames(run, units)
    traces, why = sensors(run)
    if why:
        missing["sensors"] = why
    statistics, summary, why = _statistics(run.path)
    if why:
        missing["coarsening"] = why
    reader, why = _source(run, source)
    if why:
        missing["source"] = why
    try:
        _ = run.labels
    except InsituError as error:
        missing["labels"] = error.message
    tracks = run.tracks.to_pandas()
    if not run.finished:
        missing["tracks"] = "the run is still being written: tracks are known only when it is finished"
    return Material(
        run, run.info, units, frames, run.events.to_pandas(), tracks, _sample(run, frames, run.calibration.nm_per_px),
        traces, statistics, summary, reader, missing,
    )  # fmt: skip


def _frames(run: Run, units: Units) -> pd.DataFrame:
    frames = run.frames.to_pandas().sort_values("frame", ignore_index=True)
    diameter = f"mean_equivalent_diameter_{units.length}"
    frames[units.name("mean_radius_{length}")] = frames[diameter] / 2
    step = run.calibration.s_per_frame
    if step is not None:
        known = frames["time_s"].to_numpy(np.float64) if "time_s" in frames else np.full(len(frames), np.nan)
        frames["time_s"] = np.where(np.isfinite(known), known, frames["frame"] * step)
    return frames


def _sample(run: Run, frames: pd.DataFrame, nm_per_px: float | None) -> pd.DataFrame:
    used = frames.loc[frames["status"] == "ok", "frame"].to_numpy()
    chosen = used[np.unique(np.linspace(0, len(used) - 1, min(SAMPLED_FRAMES, len(used))).round().astype(int))]
    columns = ("frame", "particle", "label", "y", "x", "equivalent_diameter_px", "touches_edge", "composite")
    rows = run.particles.to_pandas(columns, frames=chosen.astype(np.int64))
    rows["radius"] = rows["equivalent_diameter_px"] / 2 * (nm_per_px or 1.0)
    return rows


def _source(run: Run, given: str | Path | None) -> tuple[Reader | None, str]:
    """Open the movie of a run; one that is gone or not the same is no error unless it was given."""
    # a page may be sent to others: it names the movie, not the disk it lay on
    name = str(run.info["source"]["path"]).replace("\\", "/").rpartition("/")[2]
    try:
        reader = source_of(run, given)
    except InsituError:
        if given is not None:
            raise
        return None, f"'{name}' is not where the run found it, or cannot be read; give --source MOVIE"
    if not (why := _another(run, reader)):
        return reader, ""
    reader.close()
    if given is not None:
        raise InputError(
            f"'{given}' is not the movie of '{run.path}': it {why}", "give the movie the run was made from"
        )
    return None, f"'{name}' is not the movie of the run any more: it {why}; give --source MOVIE"


def _another(run: Run, reader: Reader) -> str:
    """Return how a movie differs from the one of the run; empty where nothing shows that it does."""
    source, geometry = run.info["source"], run.info["geometry"]
    if reader.info.shape != (source["height"], source["width"]):
        return "has frames of another size"
    planes = sum(run.counts[status] for status in ("ok", "bad", "missing"))
    last = geometry["first_frame"] + (planes - 1) * geometry["step"]
    if reader.info.n_frames is not None and last >= reader.info.n_frames:
        return f"has {reader.info.n_frames} frames, and the run goes to frame {last}"
    return ""


def _statistics(out: Path) -> tuple[dict[str, pd.DataFrame], dict[str, Any], str]:
    import pandas as pd

    folder = out / "coarsening"
    if not folder.is_dir():
        return {}, {}, "no coarsening statistics have been made: insitu coarsening RUN makes them"
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        tables = {p.stem: pd.read_parquet(p) for p in sorted(folder.glob("*.parquet"))}
    except (OSError, ValueError) as error:
        return {}, {}, f"the coarsening statistics cannot be read ({error}): make them again with insitu coarsening RUN"
    return tables, dict(summary), ""
