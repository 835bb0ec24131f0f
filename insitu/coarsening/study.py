"""All statistics of one run, put together: tables, headline numbers, what may be said, what could not be computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening import columns
from insitu.coarsening.absent import Absent
from insitu.coarsening.caveats import caveats
from insitu.coarsening.distribution import distributions
from insitu.coarsening.families import FamilyBootstrap
from insitu.coarsening.fits import fits
from insitu.coarsening.gather import gather
from insitu.coarsening.individuals import individuals
from insitu.coarsening.kinetics import kinetics
from insitu.coarsening.verdict import MIN_GROWTH, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from insitu.coarsening.absent import Columns
    from insitu.coarsening.gather import Gathered
    from insitu.coarsening.source import StudyInfo, Tables
    from insitu.options import CoarseningOptions
    from insitu.schema import Column

SUMMARY_SCHEMA = 1


@dataclass(slots=True, eq=False)
class Study:
    """What is known of one run's coarsening.

    Attributes
    ----------
    info : StudyInfo
    options : CoarseningOptions
    columns : dict
        Table → columns as arrays, under their full names (``mean_radius_nm``); NaN where a value is not known.
    headline : dict
        Name → ``{"value", "low", "high", "unit"}``; ends only where there is an interval.
    verdict : Verdict
    caveats : list of str
    absent : list of Absent
    counts : dict
        Frames, rows, sizes, particles, merge families.
    """

    info: StudyInfo
    options: CoarseningOptions
    columns: dict[str, Columns] = field(default_factory=dict)
    headline: dict[str, dict[str, Any]] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=lambda: Verdict(None, "No growth law is fitted."))
    caveats: list[str] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {len(next(iter(c.values())))}" for name, c in self.columns.items())
        return f"<coarsening of '{self.info.name}': {rows or 'no tables'}. {self.verdict.sentence}>"

    def __getitem__(self, table: str) -> pd.DataFrame:
        """Return a table as a DataFrame; KeyError where it could not be computed (see `absent`)."""
        import pandas as pd

        return pd.DataFrame(self.columns[table])

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that could be computed."""
        return tuple(self.columns)

    def described(self, table: str) -> tuple[Column, ...]:
        """Return the description of a table's columns: unit and meaning."""
        return columns.columns(table, self.info.units)

    def put(self, table: str, values: Columns) -> None:
        """Take a table under its full column names; one without rows is left out."""
        if values and len(next(iter(values.values()))):
            units = self.info.units
            self.columns[table] = {units.name(c.name): values[c.name] for c in columns.TABLES[table]}

    def state(self, name: str, value: float, unit: str, low: float = np.nan, high: float = np.nan) -> None:
        """Take a headline number; one that is not finite is left out."""
        if np.isfinite(value):
            ends = {"low": float(low), "high": float(high)} if np.isfinite(low) and np.isfinite(high) else {}
            self.headline[name] = {"value": float(value), **ends, "unit": self.info.units.spelled(unit)}

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the tables, as JSON values."""
        units, known = self.info.units, self.info.calibration
        return {
            "schema": SUMMARY_SCHEMA,
            "run": self.info.name,
            "finished": self.info.finished,
            "units": {"length": units.length, "time": units.time, "area": units.spelled("{area}")},
            "calibration": {
                "nm_per_px": known.nm_per_px,
                "nm_source": known.nm_source,
                "s_per_frame": known.s_per_frame,
                "s_source": known.s_source,
            },
            "settings": asdict(self.options),
            "counts": self.counts,
            "headline": self.headline,
            "verdict": asdict(self.verdict),
            "caveats": self.caveats,
            "not_computed": [asdict(a) for a in self.absent],
            "live": {t: [units.name(n) for n in names] for t, names in columns.LIVE.items() if t in self.columns},
            "tables": {name: len(next(iter(c.values()))) for name, c in self.columns.items()},
        }


def study(tables: Tables, options: CoarseningOptions) -> Study:
    """Compute all statistics of a run; what cannot be computed is said in `Study.absent`, never an error.

    Parameters
    ----------
    tables : Tables
        The run.
    options : CoarseningOptions
    """
    gathered = gather(tables, options)
    result = Study(gathered.info, options)
    result.counts = _counts(gathered)
    if nothing := _nothing(gathered):
        result.absent.append(Absent("all statistics", nothing))
        return result
    bootstrap = FamilyBootstrap(
        gathered.records, gathered.family, len(gathered.windows), options.bootstrap, options.seed
    )
    result.counts["merge_families"] = bootstrap.n_families
    if bootstrap.why_none:
        result.absent.append(Absent("bootstrap intervals of ⟨r⟩ and K", bootstrap.why_none))
    table = kinetics(gathered, bootstrap)
    result.put("kinetics", table)
    fitted, result.verdict, absent = fits(gathered, table, bootstrap)
    result.put("fits", fitted)
    result.absent += absent
    bins, shapes, absent = distributions(gathered)
    result.put("distributions", bins)
    result.put("distribution_fits", shapes)
    result.absent += absent
    _headline(result, table, fitted)
    single = individuals(tables, gathered)
    for name, found in single.columns.items():
        result.put(name, found)
    for number in single.headline:
        result.state(*number)
    result.absent += single.absent
    result.caveats = single.caveats + caveats(gathered, table, has_shapes=bool(shapes))
    return result


def _counts(gathered: Gathered) -> dict[str, int]:
    frames = gathered.frames
    return {
        "used_frames": len(gathered.windows.frame),
        "frames": len(gathered.frame_table),
        "rows": int(frames["n_all"].sum()),
        "sizes": int(frames["n"].sum()),
        "particles": len(np.unique(gathered.records["particle"])),
        "windows": len(gathered.windows),
    }


def _nothing(gathered: Gathered) -> str:
    """Return why there is nothing at all to compute; empty where there is something."""
    frames = gathered.frames
    if not len(gathered.windows):
        return "no frame of the run could be used"
    if not frames["n_all"].sum():
        return "no particle was found in any used frame"
    if not frames["n"].sum():
        edge, composite = int(frames["n_edge"].sum()), int(frames["n_composite"].sum())
        return f"no row tells a size: {edge} touch the edge, {composite} are composites"
    return ""


def _headline(result: Study, table: Columns, fitted: Columns) -> None:
    """State radius and density at the first and last window that hold sizes, growth, and K where the data decide."""
    held = np.flatnonzero(np.isfinite(table["mean_radius_{length}"]))
    for when, window in (("first", held[0]), ("last", held[-1])):
        for name, unit in (("mean_radius_{length}", "{length}"), ("number_density_per_{area}", "1/{area}")):
            ends = (table[f"{name}_low"][window], table[f"{name}_high"][window])
            short = name.partition("_{")[0].removesuffix("_per")
            result.state(f"{short}_{when}", table[name][window], unit, *ends)
    radius = table["mean_radius_{length}"][held]
    if len(held) > 1:
        result.state("growth", radius[-1] / radius[0], "")
    if result.verdict.n is not None:
        row = int(np.flatnonzero(fitted["decided"])[0])
        unit = f"{{length}}^{result.verdict.n}/{{time}}"
        result.state("K", fitted["K"][row], unit, fitted["K_low"][row], fitted["K_high"][row])
    free = np.flatnonzero(fitted["model"] == "free") if fitted else np.zeros(0, np.int64)
    if len(free) and fitted["growth"][free[0]] >= MIN_GROWTH:  # below, any exponent fits
        row = int(free[0])
        result.state("n_free", fitted["n"][row], "", fitted["n_low"][row], fitted["n_high"][row])
