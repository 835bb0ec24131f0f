"""The statistics of run folders: their tables handed to `insitu.coarsening`, the result written beside them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from insitu import __version__
from insitu.coarsening import columns
from insitu.coarsening.source import StudyInfo
from insitu.errors import CommandError
from insitu.options import CoarseningOptions
from insitu.store.study import SUMMARY, write_study
from insitu.types import Calibration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from insitu.coarsening.comparison import Comparison
    from insitu.coarsening.source import Rows
    from insitu.coarsening.study import Study
    from insitu.results import Run

FOLDER = "coarsening"
STRETCH_ROWS = 131_072


@dataclass(frozen=True, slots=True, eq=False)
class RunTables:
    """A run as `insitu.coarsening.source.Tables`; what is known of `calibration` outranks the run's own."""

    run: Run
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def info(self) -> StudyInfo:
        """Region, calibration, name."""
        geometry = self.run.info["geometry"]
        height, width = geometry["region"]
        name = self.run.path.name.removesuffix(".insitu")
        known, given = self.run.calibration, self.calibration
        if given.nm_per_px is not None:
            known = replace(known, nm_per_px=given.nm_per_px, nm_source=given.nm_source)
        if given.s_per_frame is not None:
            known = replace(known, s_per_frame=given.s_per_frame, s_source=given.s_source)
        y0, x0 = geometry["origin"]
        origin = int(y0), int(x0)
        return StudyInfo((int(height), int(width)), known, int(geometry["bin"]), name, self.run.finished, origin)

    def particle_batches(self, columns: Sequence[str], frames: Sequence[int] | None = None) -> Iterator[Rows]:
        """Yield rows in order of frame; a stretch of frames at a time, since arrow reads far ahead within one scan."""
        if frames is not None:
            yield from self._read(columns, frames)
            return
        geometry = self.run.info["geometry"]
        first, step = int(geometry["first_frame"]), int(geometry["step"])
        planes = sum(self.run.counts[status] for status in ("ok", "bad", "missing"))
        stretch = max(1, STRETCH_ROWS * planes // max(1, len(self.run.particles))) * step
        for start in range(first, first + planes * step, stretch):
            yield from self._read(columns, range(start, start + stretch))

    def _read(self, columns: Sequence[str], frames: Sequence[int]) -> Iterator[Rows]:
        for batch in self.run.particles.batches(columns, frames=frames):
            yield {name: batch[name].to_numpy(zero_copy_only=False) for name in columns}

    @property
    def tracks(self) -> pd.DataFrame:
        """One row a particle."""
        return self.run.tracks.to_pandas()

    @property
    def events(self) -> pd.DataFrame:
        """One row an event."""
        return self.run.events.to_pandas()

    @property
    def frames(self) -> pd.DataFrame:
        """One row a frame; recorded times give way to a frame time that outranks them."""
        table = self.run.frames.to_pandas()
        return table.assign(time_s=float("nan")) if self.calibration.s_per_frame is not None else table


def study_of(run: Run, options: CoarseningOptions | None = None, calibration: Calibration | None = None) -> Study:
    """Compute the coarsening statistics of a run, finished or not.

    Parameters
    ----------
    run : Run
    options : CoarseningOptions, optional
    calibration : Calibration, optional
        Pixel size and frame time that outrank those of the run.
    """
    from insitu.coarsening.study import study

    return study(RunTables(run, calibration or Calibration()), options or CoarseningOptions())


def write(study: Study, folder: Path, *, command: str = "", overwrite: bool = True) -> None:
    """Write the tables of a study (parquet and csv) and its ``summary.json`` as `folder`, whole or not at all.

    Raises
    ------
    CommandError
        `folder` is there and no such folder, or `overwrite` is false.
    """
    refuse(folder, overwrite=overwrite)
    tables = {name: (values, study.described(name)) for name, values in study.columns.items()}
    write_study(folder, dict(tables), {"insitu": __version__, "command": command, **study.summary})


def write_comparison(
    comparison: Comparison, studies: Mapping[str, Study], folder: Path, *, command: str = "", overwrite: bool = False
) -> None:
    """Write the comparison of runs as `folder`; see `write`."""
    refuse(folder, overwrite=overwrite)
    units = next(iter(studies.values())).info.units
    tables: dict[str, Any] = {}
    for name, values in comparison.columns.items():
        described = columns.columns(name, units)
        tables[name] = ({units.name(key): column for key, column in values.items()}, described)
    write_study(folder, tables, {"insitu": __version__, "command": command, **compared(comparison, studies)})


def compared(comparison: Comparison, studies: Mapping[str, Study]) -> dict[str, Any]:
    """Return what a comparison says, as JSON values."""
    first = next(iter(studies.values())).summary
    return {
        "schema": first["schema"],
        "runs": list(studies),
        "units": first["units"],
        "n": comparison.n,
        "sentences": comparison.sentences,
        "not_computed": [asdict(a) for a in comparison.absent],
        "verdicts": {name: study.verdict.sentence for name, study in studies.items()},
    }


def check_alike(studies: Mapping[str, Study]) -> None:
    """Raise CommandError where runs cannot be compared since their lengths or times are in different units."""
    (first, one), *others = studies.items()
    for path, other in others:
        mine, theirs = (s.info.units for s in (one, other))
        if (mine.length, mine.time) != (theirs.length, theirs.time):
            raise CommandError(
                f"'{first}' is in {mine.length} and {mine.time}, '{path}' in {theirs.length} and {theirs.time}: "
                "they cannot be compared",
                "give --nm-per-px and --fps, which then hold for all runs, or run the movie again with them",
            )


def refuse(folder: Path, *, overwrite: bool) -> None:
    """Raise CommandError where no study may be written: only a study is ever replaced."""
    if not folder.parent.is_dir():
        raise CommandError(f"there is no folder '{folder.parent}'", f"make it first: mkdir -p '{folder.parent}'")
    if not (folder.exists() or folder.is_symlink()):
        return
    if folder.is_symlink() or not folder.is_dir() or (any(folder.iterdir()) and not _is_study(folder)):
        raise CommandError(f"'{folder}' exists and is no folder of statistics", "choose another name with -o OTHER")
    if not overwrite:
        raise CommandError(f"'{folder}' exists", "--overwrite to replace it, or -o OTHER")


def _is_study(folder: Path) -> bool:
    try:
        return "not_computed" in json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError, TypeError):
        return False
