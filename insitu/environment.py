"""What the sensors said during a movie: readings of a log, laid on the time axis of a run by their own time stamps.

The run folder is joined with the log once its tables are there, so that it makes no difference whether the log was
finished before, or grew while the movie did; a log can also be added to a run that is finished.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from insitu.errors import CalibrationError, InputError, ResourceError
from insitu.read.files import shown
from insitu.read.sensors import SensorLog
from insitu.results import open_run
from insitu.schema import sensor
from insitu.store import layout
from insitu.store.disk import Disk
from insitu.store.environment import write_environment
from insitu.store.problems import Problems

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.results import Run

_LOOK_S = 0.5
_MOST_POINTS = 400
_DIGITS = 6


class Sensors:
    """A log beside a run, and how the two clocks are related.

    Parameters
    ----------
    path : Path
        The log; with `growing` it need not exist yet.
    offset_s : float, optional
        Where frame 0 began on the clock of the log, in s: after its zero, or after its first reading if its times are
        dates. Without it both must know UTC.
    growing : bool
        The log may still be written.

    Raises
    ------
    InputError
        The log is not there, or cannot be read.
    """

    def __init__(self, path: Path, offset_s: float | None = None, *, growing: bool = False) -> None:
        self.path, self.offset_s, self._growing = path, offset_s, growing
        self.log = SensorLog(path)
        self.log.look()
        if not growing:
            self.log.checked()

    def check(self, *, timed: bool, first_utc: str | None, source: str) -> None:
        """Refuse what cannot be laid beside a movie, before any time is spent on it.

        Parameters
        ----------
        timed : bool
            Whether the time of a frame is known.
        first_utc : str or None
            When frame 0 was taken, ISO 8601, where the source tells it.
        source : str
            The movie.

        Raises
        ------
        CalibrationError
            There is no common clock.
        """
        if not timed:
            raise CalibrationError(
                f"the frame time of '{source}' is unknown: readings of '{shown(self.path)}' cannot be laid beside it",
                "give the frames per second: --fps 400",
            )
        if self.offset_s is not None:
            return
        if first_utc is None:
            raise self._no_clock(f"'{source}' does not tell when its frames were taken")
        if self.log.universal is False:
            raise self._no_clock(f"the times of '{shown(self.path)}' are not UTC")

    def _no_clock(self, why: str) -> CalibrationError:
        return CalibrationError(
            f"{why}: the log and the movie have no common clock",
            "tell how many s after the zero of the log frame 0 began: --log-offset 12.5",
        )

    def join(self, out: Path) -> list[str]:
        """Write ``environment.parquet`` of a run; return what a user should know, which also goes to the problems.

        Raises
        ------
        CalibrationError
            There is no common clock.
        InputError
            The log has no readings (unless it was to grow: then that is a remark).
        ResourceError
            The disk is full or fails.
        """
        run = open_run(out)
        try:
            self.log.look()
            self.log.checked()
        except InputError as error:
            if not self._growing:
                raise
            return self._told(out, [f"{error.message}: no {layout.ENVIRONMENT} was written"])
        frames = _frames(run)
        stamp = next((s for s in frames["timestamp_utc"] if s is not None), None)
        self.check(timed=run.calibration.s_per_frame is not None, first_utc=stamp, source=_source(run))
        times, zero = self._times(frames)
        columns, remarks = _clipped(self.log, times, frames, float(run.calibration.s_per_frame or 0.0))
        if zero is not None:
            columns["timestamp_utc"] = [_iso(zero + t) for t in columns["time_s"].tolist()]
        sensors = self.log.columns
        how = "UTC" if self.offset_s is None else f"offset of {self.offset_s:g} s"
        origin = {"file": shown(self.path.name), "format": self.log.format, "joined_by": how}
        try:
            write_environment(out, columns, sensors, origin)
            return self._told(out, [*self.log.remarks(), *remarks])
        except OSError as error:
            raise ResourceError(
                f"cannot write '{out / layout.ENVIRONMENT}': {error.strerror or error}",
                "free space, then give the same command with --resume: the run itself is safe",
            ) from error

    def _times(self, frames: dict[str, Any]) -> tuple[NDArray[np.float64], float | None]:
        """Return the time of each reading in s since frame 0, and when that was (s since 1970) if it is known."""
        times = self.log.times_s
        if self.offset_s is not None:
            zero = times[0] if self.log.universal and len(times) else 0.0
            return times - zero - self.offset_s, float(zero + self.offset_s) if self.log.universal else None
        first = next(k for k, stamp in enumerate(frames["timestamp_utc"]) if stamp is not None)
        begun = utc_seconds(frames["timestamp_utc"][first]) - float(frames["time_s"][first])
        return times - begun, begun

    def _told(self, out: Path, remarks: list[str]) -> list[str]:
        """Put remarks into ``problems.jsonl``, each once."""
        path = out / layout.PROBLEMS
        problems = Problems(path, path.stat().st_size if path.exists() else 0, Disk())
        for remark in remarks:
            problems.note(None, shown(self.path.name), remark)
        problems.write(None)
        return [f"{shown(self.path.name)}: {remark}" for remark in remarks]


class Following:
    """Reads a log in a thread of its own while a run goes on, so that the live page can show its newest readings.

    Parameters
    ----------
    sensors : Sensors
    """

    def __init__(self, sensors: Sensors) -> None:
        self._log = SensorLog(sensors.path)  # another reader than that of the join: no lock, and no shared state
        self._offset_s = sensors.offset_s
        self._began_utc: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="insitu-sensors", daemon=True)
        self.traces: tuple[dict[str, Any], ...] = ()
        self.version = 0
        self.says = ""

    def begin(self, first_utc: str | None) -> None:
        """Note when frame 0 was taken, where that is known."""
        self._began_utc = None if first_utc is None else utc_seconds(first_utc)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join(5.0)

    def _follow(self) -> None:
        shown_from: float | None = None
        while not self._over.is_set():
            zero = self._zero()
            try:
                if self._log.look() or zero != shown_from:
                    self.traces, shown_from = self._traces(zero), zero
                    self.version += 1
            except (InputError, OSError) as error:
                self.says = getattr(error, "message", str(error))
                self.version += 1
                return
            self._over.wait(_LOOK_S)

    def _zero(self) -> float | None:
        """Return the start of frame 0 on the clock of the log; None where that is unknown."""
        if self._offset_s is None:
            return self._began_utc
        times = self._log.times_s
        return self._offset_s + (float(times[0]) if self._log.universal and len(times) else 0.0)

    def _traces(self, zero: float | None) -> tuple[dict[str, Any], ...]:
        """Return name, unit, newest value and a thinned curve of each sensor, as plain values."""
        times = self._log.times_s - (zero or 0.0)
        inside = np.flatnonzero(times >= 0.0) if zero is not None else np.empty(0, np.intp)
        traces = []
        for (name, unit), values in zip(self._log.columns, self._log.values, strict=True):
            known = np.flatnonzero(np.isfinite(values))
            if not len(known):
                continue
            kept = np.intersect1d(inside, known)
            thin = kept[np.unique(np.linspace(0, len(kept) - 1, min(len(kept), _MOST_POINTS)).astype(int))]
            traces.append(
                {
                    "name": sensor(name)[0],
                    "unit": unit,
                    "now": float(f"{values[known[-1]]:.6g}"),
                    "x": [round(float(t), 3) for t in times[thin]],
                    "y": [float(f"{v:.6g}") for v in values[thin]],
                }
            )
        return tuple(traces)


def utc_seconds(stamp: str) -> float:
    """Return an ISO 8601 time in s since 1970; without a zone it is UTC."""
    moment = datetime.fromisoformat(stamp)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _source(run: Run) -> str:
    return str(run.info.get("source", {}).get("path", run.path))


def _frames(run: Run) -> dict[str, Any]:
    rows = run.frames.to_arrow(("frame", "time_s", "timestamp_utc"))
    return {name: rows[name].to_pylist() for name in rows.column_names}


def _clipped(
    log: SensorLog, times: NDArray[np.float64], frames: dict[str, Any], step_s: float
) -> tuple[dict[str, Any], list[str]]:
    """Return the columns of the readings from the last one before the movie to the first one after it, by time."""
    known = [k for k, t in enumerate(frames["time_s"]) if t is not None]
    # to 1 µs: 0.9 − 0.6 s is the beginning of frame 3 at 10 frames/s, whatever its last bits
    begins = np.array([frames["time_s"][k] for k in known], np.float64).round(_DIGITS)
    times = times.round(_DIGITS)
    order = np.argsort(times, kind="stable")
    by_time = times[order]
    first, end = (float(begins[0]), round(float(begins[-1]) + step_s, _DIGITS)) if len(begins) else (0.0, 0.0)
    low = max(0, int(np.searchsorted(by_time, first, "right")) - 1)
    high = int(np.searchsorted(by_time, end, "left"))
    order = order[low : high + 1]
    at = times[order]
    place = np.searchsorted(begins, at, "right") - 1
    during = (place >= 0) & (at < end)
    indices = [frames["frame"][k] for k in known]
    columns: dict[str, Any] = {
        "frame": [indices[p] if d else None for p, d in zip(place.tolist(), during.tolist(), strict=True)],
        "time_s": at,
    }
    if log.has_notes:
        notes = log.notes
        columns["note"] = [notes[k] for k in order.tolist()]
    for (name, _), values in zip(log.columns, log.values, strict=True):
        columns[name] = values[order]
    if during.any():
        return columns, []
    span = f"from {by_time[0]:.6g} to {by_time[-1]:.6g} s after the start of frame 0"
    return columns, [f"none of its readings lies within the movie: they are {span}, the movie ends at {end:.6g} s"]


def sensors_of(path: str | Path | None, offset_s: float | None, *, growing: bool = False) -> Sensors | None:
    """Return the sensors that options ask for; None without a log."""
    return None if path is None else Sensors(Path(path), offset_s, growing=growing)
