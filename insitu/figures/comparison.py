"""The figure of several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures.style import DOUBLE_MM, LINES, Drawn, Units, band, canvas, finite, styled
from insitu.figures.timelines import window_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from insitu.figures.style import Columns


def compared(runs: Sequence[tuple[str, Columns]], units: Units) -> Drawn:
    """Draw several runs together: mean radius, and number of particles relative to the beginning.

    Parameters
    ----------
    runs : sequence of (name, columns)
        Columns as for `counts`.
    units : Units
        Those that all runs share.
    """
    axis = units.time_column
    table: dict[str, list[Any]] = {"run": [], axis: [], units.name("mean_radius_{length}"): [], "n_particles": []}
    with styled("comparison"):
        figure = canvas(DOUBLE_MM, 56)
        left, right = figure.subplots(1, 2)
        for k, (name, frames) in enumerate(runs):
            shade, dash = LINES[k % len(LINES)], ("-", "--", ":", "-.")[k // len(LINES) % 4]
            time = finite(frames[axis])
            for axes, column, relative in (
                (left, units.name("mean_radius_{length}"), False),
                (right, "n_particles", True),
            ):
                values = finite(frames[column])
                known = np.isfinite(values)
                if not known.any():
                    continue
                middle, mean = window_means(time[known], values[known])
                if relative and mean[0] <= 0:
                    continue
                axes.plot(middle, mean / mean[0] if relative else mean, color=shade, linestyle=dash, label=_shown(name))
            for column in (axis, units.name("mean_radius_{length}"), "n_particles"):
                table[column] += list(frames[column])
            table["run"] += [name] * len(time)
        left.set(ylabel=f"mean radius ({units.length})", xlabel=units.time_axis)
        right.set(ylabel="particles / first particles", xlabel=units.time_axis)
        handles, labels = left.get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return Drawn(
        "comparison",
        figure,
        table,
        "Mean radius (left) and number of particles relative to the beginning (right), means over a twentieth of "
        "each movie.",
        f"Mean radius and number of particles of {len(runs)} runs over time.",
        "The runs together",
    )


def compared_windows(runs: Sequence[tuple[str, Columns]], units: Units) -> Drawn:
    """Draw several runs together from their statistics: mean radius and particles per area, with intervals.

    Parameters
    ----------
    runs : sequence of (name, columns)
        Columns as for `kinetics`.
    units : Units
        Those that all statistics share.
    """
    axis = units.name("time_{time}")
    radius, density = units.name("mean_radius_{length}"), units.name("number_density_per_{area}")
    names = [axis, *(f"{n}{end}" for n in (radius, density) for end in ("", "_low", "_high"))]
    table: dict[str, list[Any]] = {"run": [], **{n: [] for n in names}}
    with styled("comparison"):
        figure = canvas(DOUBLE_MM, 56)
        left, right = figure.subplots(1, 2)
        for k, (name, rows) in enumerate(runs):
            shade, dash = LINES[k % len(LINES)], ("-", "--", ":", "-.")[k // len(LINES) % 4]
            time = finite(rows[axis])
            for axes, column in ((left, radius), (right, density)):
                band(axes, time, rows[f"{column}_low"], rows[f"{column}_high"], shade)
                axes.plot(time, finite(rows[column]), color=shade, linestyle=dash, label=_shown(name))
            for column in names:
                table[column] += list(rows[column])
            table["run"] += [name] * len(time)
        left.set(ylabel=f"mean radius ({units.length})", xlabel=units.time_axis)
        right.set(ylabel=units.per_area, xlabel=units.time_axis)
        right.set_ylim(bottom=0)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return Drawn(
        "comparison",
        figure,
        table,
        "Mean radius (left) and number of particles per area (right) in time windows; shaded: 95 % intervals of each "
        "run, which say nothing about how another run would come out.",
        f"Mean radius and number of particles per area of {len(runs)} runs over time.",
        "The runs together",
    )


def _shown(name: str) -> str:
    """Return a name as a legend shows it: one that begins with an underscore would be left out."""
    return f"\u200b{name}" if name.startswith("_") else name
