"""Read a run folder back: tables and label images, lazily, also while the run is still being written.

While an engine writes, the commit log says which rows and planes are safe; only those are shown. Every call looks anew,
so a run opened early grows under its reader, and may be finished and compacted between two calls.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.store import layout
from insitu.store.about import read_about
from insitu.store.lazy import Table
from insitu.store.lock import held
from insitu.store.log import damaged, read_log
from insitu.store.tables import run_schema
from insitu.types import Calibration

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import zarr
    from numpy.typing import NDArray

    from insitu.coarsening.study import Study
    from insitu.options import CoarseningOptions

NO_PARTICLE = -1


class Run:
    """A run folder, opened for reading.

    Attributes
    ----------
    path : Path
        The run folder.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self._calibration = _calibration(path, about)

    def __repr__(self) -> str:
        log, state = read_log(self.path), self.state
        return f"Run('{self.path}', {state}, {log.planes} frames, {log.counts['particles']} particle rows)"

    def _repr_html_(self) -> str:
        """Return the card that a notebook shows."""
        from insitu.card import card, facts_of

        return card(facts_of(self))

    @property
    def info(self) -> dict[str, Any]:
        """What ``run.json`` says: versions, source, calibration, geometry, counts, exit code."""
        return _about(self.path)

    @property
    def calibration(self) -> Calibration:
        """Pixel size and frame time, each with where it came from."""
        return self._calibration

    @property
    def finished(self) -> bool:
        """Whether the run has its final tables."""
        return read_log(self.path).finished is not None

    @property
    def state(self) -> str:
        """How far the run is: finished, interrupted, being written, or stopped without an end.

        The last one is a run whose engine was killed, or whose machine lost its power: what ``run.json`` says of its
        status is the last that the engine wrote. ``--resume`` goes on with it.
        """
        if self.finished:
            return "finished"
        if self.info.get("status") == "interrupted":
            return "interrupted"
        return "being written" if held(self.path) else "stopped without an end"

    @property
    def counts(self) -> dict[str, int]:
        """Safe frames by status (`ok`, `bad`, `missing`) and rows of `particles` and `events`."""
        return read_log(self.path).counts

    @property
    def particles(self) -> Table:
        """One row a particle a frame."""
        return self._table("particles")

    @property
    def tracks(self) -> Table:
        """One row a particle; empty until the run is finished."""
        return self._table("tracks")

    @property
    def events(self) -> Table:
        """One row an event, in order of decision."""
        return self._table("events")

    @property
    def frames(self) -> Table:
        """One row a frame of the analysed range, bad and missing ones included."""
        return self._table("frames")

    @property
    def environment(self) -> pd.DataFrame:
        """What the sensors said (``--log``), one row a reading.

        Raises
        ------
        InputError
            No log was given.
        """
        import pyarrow.parquet as pq

        path = self.path / layout.ENVIRONMENT
        if not path.is_file():
            raise InputError(
                f"the run '{self.path}' has no readings of sensors",
                "give the command of the run again, with --resume --log sensors.csv",
            )
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
        return frame

    def _table(self, name: str) -> Table:
        return Table(self.path, name, run_schema(name, self._calibration))

    @property
    def labels(self) -> zarr.Array[Any]:
        """Label images (plane, y, x), uint16, not read until indexed.

        Plane k is frame ``first_frame + k·step``. While the run is being written the array ends with the last complete
        shard, some planes behind the tables.

        Raises
        ------
        InputError
            The run was made without label images.
        """
        import zarr

        path = self.path / layout.LABEL_ARRAY
        if not path.is_dir():
            raise InputError(
                f"the run '{self.path}' has no label images", "run the movie again with --set store.labels=true"
            )
        return zarr.open_array(path, mode="r")

    def coarsening(self, options: CoarseningOptions | None = None) -> Study:
        """Compute the coarsening statistics of what is safe so far; nothing is written.

        Returns
        -------
        Study
            ``study["kinetics"]`` is a DataFrame; ``.tables`` names them, ``.summary`` holds the headline numbers, what
            may be said, and what could not be computed and why.
        """
        from insitu.statistics import study_of

        return study_of(self, options)

    def labels_by_particle(self) -> ParticleLabels:
        """Label images repainted with track ids, plane by plane when asked for."""
        return ParticleLabels(self)


class ParticleLabels:
    """Planes in which each particle has its track id over time, and the background is −1 (track ids begin at 0)."""

    dtype = np.dtype(np.int64)

    def __init__(self, run: Run) -> None:
        self._labels = run.labels
        self._particles = run.particles
        geometry = run.info["geometry"]
        self._first, self._step = int(geometry["first_frame"]), int(geometry["step"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, height and width."""
        planes, height, width = self._labels.shape
        return planes, height, width

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int | slice) -> NDArray[np.int64]:
        """Return plane k, (H, W) int64, or the planes of a slice, (n, H, W)."""
        if isinstance(k, slice):
            planes = range(len(self))[k]
            painted = np.empty((len(planes), *self.shape[1:]), self.dtype)
            for i, plane in enumerate(planes):
                painted[i] = self._painted(plane)
            return painted
        return self._painted(range(len(self))[k])

    def _painted(self, plane: int) -> NDArray[np.int64]:
        frame = self._first + plane * self._step
        labels = np.asarray(self._labels[plane])
        rows = self._particles.to_arrow(("label", "particle"), frames=frame)
        values = np.full(np.iinfo(labels.dtype).max + 1, NO_PARTICLE, np.int64)
        values[rows["label"].to_numpy()] = rows["particle"].to_numpy()
        painted: NDArray[np.int64] = values[labels]
        return painted


def open_run(path: str | Path) -> Run:
    """Open a run folder, finished or still being written.

    Raises
    ------
    InputError
        There is no such folder, it is not a run, or a newer insitu wrote it.
    """
    folder = Path(path).expanduser().absolute()
    return Run(folder, _about(folder))


def _calibration(folder: Path, about: dict[str, Any]) -> Calibration:
    try:
        known = about["calibration"]
        values = known["nm_per_px"], known["nm_source"], known["s_per_frame"], known["s_source"]
        if all(n is None or (type(n) in {int, float} and n > 0) for n in values[::2]):
            return Calibration(*values)
    except (KeyError, TypeError):
        pass
    raise damaged(folder, f"{layout.RUN} says no calibration that can be understood")


def _about(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"there is no folder '{folder}'", "name the folder that `insitu run` printed last")
    about = read_about(folder)
    if about is None:
        raise InputError(
            f"'{folder}' is not an insitu run: it has no {layout.RUN}", "name the folder that `insitu run` printed last"
        )
    return about
