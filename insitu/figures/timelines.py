"""Figures over time: mean radius and number of particles, events so far, and what the sensors said meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures.style import (
    BLUE,
    DOUBLE_MM,
    EVENTS,
    FAINT,
    GREEN,
    INK,
    MUTED,
    PURPLE,
    SINGLE_MM,
    SKY,
    VERMILION,
    Drawn,
    Units,
    band,
    canvas,
    finite,
    styled,
    whole_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from insitu.figures.style import Columns

_PANEL_MM, _SENSOR_MM = 46.0, 20.0
_MANY_POINTS = 3000  # more make an SVG heavy: they are drawn as a picture inside it
_EVENT_DASHES = {"entering": "--", "leaving": ":", "lost": "-."}
_MODELS = {"n2": (BLUE, "n = 2"), "n3": (VERMILION, "n = 3"), "n4": (GREEN, "n = 4")}
_DASHES = {"n2": (0, (4, 1.5)), "n3": (0, (1.2, 1.2)), "n4": (0, (6, 1.5, 1.2, 1.5))}


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What one sensor said: values against time in the unit of the time axis; NaN where it said nothing."""

    name: str
    unit: str
    time: NDArray[np.float64]
    value: NDArray[np.float64]

    def within(self, first: float, last: float) -> Trace:
        """Return the trace between two times."""
        inside = (self.time >= first) & (self.time <= last)
        return replace(self, time=self.time[inside], value=self.value[inside])

    @property
    def label(self) -> str:
        """Name and unit for an axis."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def kinetics(kinetics: Columns, fits: Columns, units: Units, sensors: Sequence[Trace] = ()) -> Drawn:
    """Draw mean radius with its interval and the fitted laws, number density, and the sensors below, over one time.

    Parameters
    ----------
    kinetics : columns
        ``time_*``, ``mean_radius_*`` and ``number_density_per_*``, the last two each with ``_low`` and ``_high``.
    fits : columns
        ``quantity, model, n, K, r0_*, decided``; may be empty.
    units : Units
    sensors : sequence of Trace
    """
    time = finite(kinetics[units.name("time_{time}")])
    radius, density = units.name("mean_radius_{length}"), units.name("number_density_per_{area}")
    with styled("kinetics"):
        figure, (left, right), below = _two_over_sensors(sensors)
        _with_band(left, time, kinetics, radius, INK)
        _laws(left, time, fits, units)
        left.set(ylabel=f"mean radius ({units.length})")
        _with_band(right, time, kinetics, density, INK)
        right.set(ylabel=units.per_area)
        right.set_ylim(bottom=0)
        _share_time([left, right], below, sensors, units, time)
    names = [n for n in (radius, density) for n in (n, f"{n}_low", f"{n}_high") if n in kinetics]
    table = {n: kinetics[n] for n in (units.name("time_{time}"), *names)}
    return Drawn(
        "kinetics",
        figure,
        table,
        "Mean radius (left) and number of particles per area (right) in time windows; shaded: 95 % interval. "
        "Broken lines: rⁿ = r₀ⁿ + K t, fitted in r.",
        f"Mean radius from {_at(kinetics[radius], 0)} to {_at(kinetics[radius], -1)} {units.length} and "
        f"{units.per_area} from {_at(kinetics[density], 0)} to {_at(kinetics[density], -1)} over time.",
        "Mean radius and number of particles",
    )


def counts(frames: Columns, units: Units, sensors: Sequence[Trace] = ()) -> Drawn:
    """Draw what is known without statistics: number of particles and mean radius of every frame.

    Parameters
    ----------
    frames : columns
        ``time_*`` (or ``frame``), ``n_particles``, ``mean_radius_*``: one row a used frame.
    units : Units
    sensors : sequence of Trace
    """
    time, number = finite(frames[units.time_column]), finite(frames["n_particles"])
    radius = finite(frames[units.name("mean_radius_{length}")])
    with styled("counts"):
        figure, (left, right), below = _two_over_sensors(sensors)
        for axes, values, shade in ((left, radius, BLUE), (right, number, BLUE)):
            known = np.isfinite(values)
            axes.plot(time, values, color=SKY, linewidth=0.6, alpha=0.7, rasterized=len(time) > _MANY_POINTS)
            middle, mean = window_means(time[known], values[known])
            axes.plot(middle, mean, color=shade, linewidth=1.4)
        left.set(ylabel=f"mean radius ({units.length})")
        right.set(ylabel="particles in the frame")
        right.set_ylim(bottom=0)
        _share_time([left, right], below, sensors, units, time)
    return Drawn(
        "counts",
        figure,
        frames,
        "Mean radius of the particles that touch no edge (left) and number of particles (right) in every frame; "
        "thick: mean over a twentieth of the movie.",
        f"Number of particles from {_at(frames['n_particles'], 0)} in the first frame to "
        f"{_at(frames['n_particles'], -1)} in the last.",
        "Mean radius and number of particles, frame by frame",
    )


def events_so_far(events: Mapping[str, NDArray[np.float64]], end: tuple[float, float], units: Units) -> Drawn:
    """Draw how many events of each kind there have been.

    Parameters
    ----------
    events : mapping
        Kind → times, in the unit of the time axis.
    end : tuple of float
        First and last time of the run.
    units : Units
    """
    kinds = sorted(events, key=lambda kind: -len(events[kind]))
    with styled("events"):
        figure = canvas(SINGLE_MM, 0.84 * SINGLE_MM + 6)
        axes = figure.add_subplot()
        for kind in kinds:
            times = np.sort(events[kind])
            steps = np.concatenate([[end[0]], times, [end[1]]])
            so_far = np.concatenate([np.arange(len(times) + 1), [len(times)]])
            shade, dash = EVENTS.get(kind, MUTED), _EVENT_DASHES.get(kind, "-")
            axes.step(steps, so_far, where="post", color=shade, linestyle=dash, label=f"{kind} ({len(times)})")
        axes.set(xlabel=units.time_axis, ylabel="events so far", xlim=end if end[1] > end[0] else None)
        axes.set_ylim(bottom=0)
        whole_numbers(axes)
        figure.legend(loc="outside lower center", ncols=2)
    rows = sorted((float(t), kind) for kind in kinds for t in events[kind])
    table = {units.name("time_{time}"): [t for t, _ in rows], "kind": [k for _, k in rows]}
    told = ", ".join(f"{len(events[kind])} × {kind}" for kind in kinds)
    return Drawn(
        "events",
        figure,
        table,
        "Number of events of each kind up to each moment.",
        f"Cumulative events: {told}.",
        "Events so far",
    )


def traces(sensors: Sequence[Trace], units: Units) -> Drawn:
    """Draw what the sensors said, one panel each, over one time axis."""
    with styled("sensors"):
        figure = canvas(DOUBLE_MM, 6 + _SENSOR_MM * len(sensors))
        panels = figure.subplots(len(sensors), 1, sharex=True, squeeze=False)[:, 0]
        _draw_sensors(list(panels), sensors)
        panels[-1].set(xlabel=units.time_axis)
    rows = [(float(t), s.name, float(v), s.unit) for s in sensors for t, v in zip(s.time, s.value, strict=True)]
    names = (units.name("time_{time}"), "sensor", "value", "unit")
    return Drawn(
        "sensors",
        figure,
        dict(zip(names, (list(c) for c in zip(*rows, strict=True)), strict=True)),
        "What the sensors recorded, over the time of the movie.",
        f"Sensor traces: {', '.join(s.label for s in sensors)}.",
        "Sensors",
    )


def _two_over_sensors(sensors: Sequence[Trace]) -> tuple[Figure, tuple[Axes, Axes], list[list[Axes]]]:
    """Return a figure with two panels on top and, for every sensor, one below each of them."""
    figure = canvas(DOUBLE_MM, _PANEL_MM + 8 + _SENSOR_MM * len(sensors))
    ratios = [_PANEL_MM] + [_SENSOR_MM * 0.8] * len(sensors)
    grid = figure.subplots(1 + len(sensors), 2, sharex="col", squeeze=False, height_ratios=ratios)
    return figure, (grid[0, 0], grid[0, 1]), [list(grid[1:, 0]), list(grid[1:, 1])]


def _share_time(
    tops: list[Axes], below: list[list[Axes]], sensors: Sequence[Trace], units: Units, time: NDArray[np.float64]
) -> None:
    """Draw the sensors under the panels, over the time of the movie: what came before and after is left out."""
    span = float(np.nanmin(time)), float(np.nanmax(time))
    room = 0.03 * (span[1] - span[0]) or 1.0
    for top, panels in zip(tops, below, strict=True):
        _draw_sensors(panels, [s.within(span[0] - room, span[1] + room) for s in sensors])
        top.set_xlim(span[0] - room, span[1] + room)
        (panels[-1] if panels else top).set(xlabel=units.time_axis)


def _draw_sensors(panels: list[Axes], sensors: Sequence[Trace]) -> None:
    for panel, trace in zip(panels, sensors, strict=True):
        panel.plot(trace.time, trace.value, color=PURPLE, linewidth=1.0)
        panel.set_ylabel(f"{trace.name}\n({trace.unit})" if trace.unit else trace.name)
        panel.locator_params(axis="y", nbins=3)


def _with_band(axes: Axes, time: NDArray[np.float64], columns: Columns, name: str, shade: str) -> None:
    values = finite(columns[name])
    if f"{name}_low" in columns and f"{name}_high" in columns:
        band(axes, time, columns[f"{name}_low"], columns[f"{name}_high"], BLUE)
    axes.plot(time, values, "o-", color=shade, markersize=2.4, linewidth=0.7)


def _laws(axes: Axes, time: NDArray[np.float64], fits: Columns, units: Units) -> None:
    """Draw r(t) = (r₀ⁿ + K (t − t₀))^(1/n) for the three laws; one that is decided for stands out."""
    known = time[np.isfinite(time)]
    if not len(known) or "model" not in fits:
        return
    at = np.linspace(known.min(), known.max(), 120)
    chosen = [k for k, m in enumerate(fits["model"]) if m in _MODELS and fits["quantity"][k] == "mean_radius"]
    decided = any(fits["decided"][k] for k in chosen)
    for k in chosen:
        n, rate, start = (float(fits[c][k]) for c in ("n", "K", units.name("r0_{length}")))
        inside = start**n + rate * (at - known.min())
        if not np.isfinite(inside).all() or (inside <= 0).any():
            continue
        shade, label = _MODELS[str(fits["model"][k])]
        faint = decided and not fits["decided"][k]
        axes.plot(
            at, inside ** (1 / n), color=FAINT if faint else shade, label=label, linewidth=1.0,
            linestyle=_DASHES[str(fits["model"][k])], zorder=1 if faint else 3,
        )  # fmt: skip
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best")


def window_means(
    time: NDArray[np.float64], values: NDArray[np.float64], windows: int = 20
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return middle and mean of equal windows of rows."""
    pieces = np.array_split(np.arange(len(time)), max(1, min(windows, len(time))))
    pieces = [p for p in pieces if len(p)]
    return np.array([time[p].mean() for p in pieces]), np.array([values[p].mean() for p in pieces])


def _at(values: Sequence[Any], k: int) -> str:
    known = finite(values)
    known = known[np.isfinite(known)]
    return f"{known[k]:.3g}" if len(known) else "unknown"
