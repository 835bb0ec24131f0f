"""What the sensors of a run said: ``environment.parquet``, as traces over the time of the movie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import schema
from insitu.figures import Trace, Units
from insitu.store.layout import ENVIRONMENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.results import Run

FILE = ENVIRONMENT
_MOST_POINTS = 2000
_NOT_SENSORS = {column.name for column in schema.ENVIRONMENT}


def units_of(run: Run) -> Units:
    """Return what lengths, times and areas of a run are in."""
    known = run.calibration
    length, area = ("px", "mpx") if known.nm_per_px is None else ("nm", "um2")
    return Units(length, "frame" if known.s_per_frame is None else "s", area)


def sensors(run: Run) -> tuple[tuple[Trace, ...], str]:
    """Return a trace for each sensor with numbers, and why there is none, or which sensors were silent."""
    import pyarrow.parquet as pq

    path, units = run.path / FILE, units_of(run)
    if not path.is_file():
        return (), "no sensors were recorded with the run"
    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        return (), f"{FILE} cannot be read ({error})"
    if units.time_column not in table.column_names:
        return (), f"{FILE} has no column '{units.time_column}' to lay it beside the movie"
    time = _numbers(table[units.time_column])
    traces, silent = [], []
    for column in table.schema:
        if column.name in _NOT_SENSORS:
            continue
        values = _numbers(table[column.name])
        name, unit = _named(column.name, (column.metadata or {}).get(b"unit", b"").decode(errors="replace"))
        if not (np.isfinite(values) & np.isfinite(time)).any():
            silent.append(name)
            continue
        thin = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MOST_POINTS)).astype(int))
        traces.append(Trace(name, unit, time[thin], values[thin]))
    return tuple(traces), f"no numbers from {', '.join(silent)}" if silent else ""


def at(traces: tuple[Trace, ...], time: float) -> list[str]:
    """Return what each sensor said at a time, between its neighbouring values: ``"temperature 612 °C"``.

    A sensor says nothing before its first and after its last value.
    """
    told = []
    for trace in traces:
        known = np.isfinite(trace.value) & np.isfinite(trace.time)
        when = trace.time[known]
        if len(when) and when.min() <= time <= when.max():
            order = np.argsort(when, kind="stable")
            value = float(np.interp(time, when[order], trace.value[known][order]))
            told.append(f"{trace.name} {value:.4g} {trace.unit}".rstrip())
    return told


def _numbers(column: Any) -> NDArray[np.float64]:  # noqa: ANN401 - pyarrow has no types
    """Return a column as float64, NaN where it has no number."""
    import pandas as pd

    numbers = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.asarray(numbers)


def _named(column: str, unit: str) -> tuple[str, str]:
    """Split ``temperature_C`` into name and unit; a unit that the file gives comes first."""
    name, known = schema.sensor(column)
    return name, unit or known
