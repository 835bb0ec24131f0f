"""Figures of what becomes of particles: where they stand to each other, how they move, how long they last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.figures.sizes import windows
from insitu.figures.style import (
    BLUE,
    DOUBLE_MM,
    EVENTS,
    INK,
    LINES,
    MUTED,
    SINGLE_MM,
    TIMES,
    Drawn,
    Units,
    band,
    canvas,
    finite,
    powers_of_ten,
    styled,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from insitu.figures.style import Columns

ALL = -1
_TERMS = ("coalescence", "dissolution", "appearance", "splitting", "border", "lost", "unexplained", "total")
_TERM_DASHES = {"border": "--", "lost": "-.", "unexplained": ":"}


def pair_correlation(rows: Columns, units: Units) -> Drawn:
    """Draw g(r) at up to five times with the interval of the last.

    Parameters
    ----------
    rows : columns
        ``window, time_*, distance_low_*, distance_high_*, g, g_low, g_high``.
    units : Units
    """
    window = np.asarray(rows["window"])
    low, high = (finite(rows[units.name(f"distance_{end}_{{length}}")]) for end in ("low", "high"))
    time, g = finite(rows[units.name("time_{time}")]), finite(rows["g"])
    shown = windows(window)
    with styled("pair_correlation"):
        figure = canvas(SINGLE_MM, 62)
        axes = figure.add_subplot()
        axes.axhline(1, color=MUTED, linewidth=0.6, linestyle=":")
        for number, shade in zip(shown, _shades(len(shown)), strict=True):
            here = window == number
            middle = (low[here] + high[here]) / 2
            if number == shown[-1]:
                band(axes, middle, finite(rows["g_low"])[here], finite(rows["g_high"])[here], shade)
            axes.plot(middle, g[here], color=shade, label=_when(time[here][0], units))
        axes.set(xlabel=f"distance ({units.length})", ylabel="g")
        axes.set_ylim(0, 1.25 * max(1.5, float(np.nanmax(g[high > np.nanmax(high) / 4], initial=1.0))))
        axes.legend(loc="best")
    return Drawn(
        "pair_correlation",
        figure,
        rows,
        "How often two particles lie at a distance, relative to particles at random (g = 1); shaded: 95 % interval at "
        "the last of these times.",
        f"Pair correlation at {len(shown)} times.",
        "Distances between particles",
    )


def survival(rows: Columns, incidence: Columns, units: Units) -> Drawn:
    """Draw the share of particles that last, by size class, and how those end that do not.

    Parameters
    ----------
    rows : columns
        ``size_class, radius_low_*, radius_high_*, time_*, survival`` with ``_low`` and ``_high``.
    incidence : columns
        ``size_class, cause, time_*, incidence`` with ends; may be empty.
    units : Units
    """
    classes = _classes(rows)
    with styled("survival"):
        figure = canvas(DOUBLE_MM, 58)
        panels = figure.subplots(1, 2 if len(incidence) else 1, squeeze=False)[0]
        for number, shade in classes.items():
            here = np.asarray(rows["size_class"]) == number
            label = _class_name(rows, here, number, units)
            _steps(panels[0], rows, here, name="survival", shade=shade, label=label, units=units)
        panels[0].set(xlabel=units.time_axis, ylabel="share that is left", ylim=(0, 1.02))
        panels[0].legend(loc="best")
        if len(incidence):
            cause = np.asarray(incidence["cause"])
            for name in dict.fromkeys(cause.tolist()):
                here = (cause == name) & (np.asarray(incidence["size_class"]) == ALL)
                if here.any():
                    shade = EVENTS.get(name, MUTED)
                    _steps(panels[1], incidence, here, name="incidence", shade=shade, label=name, units=units)
            panels[1].set(xlabel=units.time_axis, ylabel="share that ended so")
            panels[1].set_ylim(bottom=0)
            panels[1].legend(loc="best")
    return Drawn(
        "survival",
        figure,
        rows,
        "Left: share of the particles of the first frame that have neither dissolved nor merged, by initial size "
        "(Kaplan–Meier). Right: share that ended in each way, all sizes (Aalen–Johansen). Shaded: 95 % intervals.",
        "Survival curves by size class and incidence of the two ways to end.",
        "How long particles last",
    )


def displacements(rows: Columns, fits: Columns, units: Units) -> Drawn:
    """Draw the mean squared displacement against lag by size class, with MSD = 4 D τᵅ + 4σ².

    Parameters
    ----------
    rows : columns
        ``size_class, lag_*, msd_*2`` with ends.
    fits : columns
        ``size_class, D_alpha, alpha, sigma_*``; may be empty.
    units : Units
    """
    lag, msd = units.name("lag_{time}") if units.time == "s" else "lag_frames", units.name("msd_{length}2")
    with styled("msd"):
        figure = canvas(SINGLE_MM, 62)
        axes = figure.add_subplot()
        for number, shade in _classes(rows).items():
            here = np.asarray(rows["size_class"]) == number
            at, values = finite(rows[lag])[here], finite(rows[msd])[here]
            positive = (at > 0) & (values > 0)
            if not positive.any():
                continue
            band(axes, at, finite(rows[f"{msd}_low"])[here], finite(rows[f"{msd}_high"])[here], shade)
            name = "all sizes" if number == ALL else f"size class {number + 1}"
            axes.plot(at[positive], values[positive], "o", color=shade, markersize=2.4, label=name)
            _law(axes, fits, number, at=at[positive], shade=shade, units=units)
        axes.set(ylabel=f"mean squared displacement ({units.length}²)")
        powers_of_ten(axes)
        axes.set(xlabel="lag (s)" if units.time == "s" else "lag (frames)")
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="upper left")
    return Drawn(
        "msd",
        figure,
        rows,
        "Mean squared displacement, drift removed, by size class (1: the smallest); lines: 4 D τᵅ + 4σ². Shaded: "
        "95 % intervals.",
        "Mean squared displacement against lag, both logarithmic.",
        "How particles move",
    )


def number_balance(rows: Columns, units: Units) -> Drawn:
    """Draw what the number of particles changed by, summed from the beginning, term by term.

    Parameters
    ----------
    rows : columns
        ``window, time_*, term, change``.
    units : Units
    """
    term, change = np.asarray(rows["term"]), finite(rows["change"])
    time = finite(rows[units.name("time_{time}")])
    with styled("number_balance"):
        figure = canvas(DOUBLE_MM, 52)
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, linewidth=0.6)
        for name in _TERMS:
            here = term == name
            total = np.cumsum(np.nan_to_num(change[here]))
            if not here.any() or (name != "total" and not total.any()):
                continue
            shade = INK if name == "total" else EVENTS.get(name, MUTED)
            width, dash = (1.6 if name == "total" else 1.1), _TERM_DASHES.get(name, "-")
            label = f"{name} ({total[-1]:+.0f})".replace("-", "−")
            axes.plot(time[here], total, color=shade, linestyle=dash, linewidth=width, label=label)
        axes.set(xlabel=units.time_axis, ylabel="particles gained or lost")
        whole_numbers(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return Drawn(
        "number_balance",
        figure,
        rows,
        "What the number of particles changed by since the beginning. Border: entered less left; unexplained: what no "
        "event accounts for.",
        "Cumulative change of the number of particles by cause.",
        "Where the particles went",
    )


def _steps(
    axes: Axes, rows: Columns, here: NDArray[np.bool_], *, name: str, shade: str, label: str, units: Units
) -> None:
    time, values = finite(rows[units.name("time_{time}")])[here], finite(rows[name])[here]
    low, high = (finite(rows[f"{name}_{end}"])[here] for end in ("low", "high"))
    order = np.argsort(time, kind="stable")
    known = np.isfinite(low[order]) & np.isfinite(high[order])
    axes.fill_between(
        time[order], low[order], high[order], where=known, step="post", color=shade, alpha=0.14, linewidth=0
    )
    axes.step(time[order], values[order], where="post", color=shade, label=label)


def _law(axes: Axes, fits: Columns, number: int, *, at: NDArray[np.float64], shade: str, units: Units) -> None:
    for k, size_class in enumerate(fits.get("size_class", ())):
        if size_class != number:
            continue
        speed, power, error = (finite(fits[c])[k] for c in ("D_alpha", "alpha", units.name("sigma_{length}")))
        if np.isfinite([speed, power, error]).all():
            lag = np.geomspace(at.min(), at.max(), 60)
            axes.plot(lag, 4 * speed * lag**power + 4 * error**2, color=shade, linewidth=0.9)


def _classes(rows: Columns) -> dict[int, str]:
    """Return the size classes with their colours: all together in ink, then from small to large."""
    found = [int(c) for c in np.unique(np.asarray(rows["size_class"], np.int64))]
    single = [c for c in found if c != ALL]
    return ({ALL: INK} if ALL in found else {}) | {c: LINES[k % len(LINES)] for k, c in enumerate(single)}


def _class_name(rows: Columns, here: NDArray[np.bool_], number: int, units: Units) -> str:
    if number == ALL:
        return "all sizes"
    low, high = (finite(rows[units.name(f"radius_{end}_{{length}}")])[here][0] for end in ("low", "high"))
    return f"{low:.2g} to {high:.2g} {units.length}"


def _shades(n: int) -> list[str]:
    """Return `n` colours from early to late."""
    if n == 1:
        return [BLUE]
    return [TIMES[round(k)] for k in np.linspace(0, len(TIMES) - 1, n)]


def _when(time: float, units: Units) -> str:
    return f"{time:.3g} s" if units.time == "s" else f"frame {time:.0f}"
