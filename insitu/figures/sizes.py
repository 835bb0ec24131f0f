"""Figures of sizes: distributions with the shapes that theory has for them, and who grows and who shrinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures.style import (
    BLUE,
    DOUBLE_MM,
    GREEN,
    INK,
    MUTED,
    PURPLE,
    SKY,
    VERMILION,
    Drawn,
    Units,
    band,
    canvas,
    finite,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from insitu.figures.style import Columns

_MOST_PANELS = 5
_SHAPES = {
    "lognormal": (PURPLE, "-", "log-normal"),
    "n2": (BLUE, (0, (4, 1.5)), "n = 2"),
    "n3": (VERMILION, (0, (1.2, 1.2)), "n = 3"),
    "n4": (GREEN, (0, (6, 1.5, 1.2, 1.5)), "n = 4"),
}
_MANY_POINTS = 1500
_SPREAD = (1.5, 98.5)  # % of the speeds that the axis shows


def windows(numbers: ArrayLike, most: int = _MOST_PANELS) -> list[int]:
    """Return at most `most` of the windows in a column, evenly spread, first and last among them."""
    there = np.unique(np.asarray(numbers, np.int64))
    chosen = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int))
    return [int(w) for w in there[chosen]]


def distributions(bins: Columns, fits: Columns, units: Units) -> Drawn:
    """Draw the size distribution at up to five times, with the fitted log-normal and LSW-family shapes.

    Parameters
    ----------
    bins : columns
        ``window, time_*, radius_low_*, radius_high_*, density_per_*`` and a column a shape.
    fits : columns
        ``window, model, p_value, n_particles``; may be empty.
    units : Units
    """
    shown = windows(bins["window"])
    window = np.asarray(bins["window"])
    low, high = (finite(bins[units.name(f"radius_{end}_{{length}}")]) for end in ("low", "high"))
    density = units.name("density_per_{length}")
    with styled("distributions"):
        figure = canvas(DOUBLE_MM, 58)
        panels = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
        for axes, number in zip(panels, shown, strict=True):
            here = np.flatnonzero(window == number)
            edges = np.append(low[here], high[here[-1]])
            axes.stairs(finite(bins[density])[here], edges, fill=True, color=SKY, alpha=0.5)
            middle = np.sqrt(low[here] * high[here])
            for model, (shade, dash, label) in _SHAPES.items():
                values = finite(bins[units.name(f"{model}_per_{{length}}")])[here]
                if np.isfinite(values).any():
                    axes.plot(middle, values, color=shade, linestyle=dash, linewidth=1.0, label=label)
            _title(axes, bins, fits, window=number, row=here[0], units=units)
            axes.set(xlabel=f"radius ({units.length})")
        panels[0].set(ylabel=f"density (1/{units.length})")
        panels[0].set_ylim(bottom=0)
        panels[0].set_xlim(_filled(low, high, finite(bins["weight"]) if "weight" in bins else finite(bins[density])))
        handles, labels = panels[0].get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return Drawn(
        "distributions",
        figure,
        bins,
        "Size distributions at up to five times, with the fitted log-normal and the shapes that belong to n = 2, 3, 4; "
        "p: how often the log-normal would look worse by chance. A shape alone proves no mechanism.",
        f"Histograms of the radius at {len(shown)} times with fitted curves.",
        "Size distributions",
    )


def growth(rows: Columns, critical: Columns, units: Units) -> Drawn:
    """Draw dr/dt of every particle against r/r*, and r* over time beside it.

    Where r* is not known (`radius_over_critical` empty) the mean radius stands in for it.

    Parameters
    ----------
    rows : columns
        ``radius_over_critical, radius_over_mean, rate_*``: one row a particle and window.
    critical : columns
        ``time_*, critical_radius_*`` with ``_low`` and ``_high``; may be empty.
    units : Units
    """
    speed = units.name("rate_{length}_per_{time}")
    rate, over = finite(rows[speed]), finite(rows["radius_over_critical"])
    label = "r / r*"
    if np.isfinite(over).sum() < 0.3 * len(over):
        over, label = finite(rows["radius_over_mean"]), "r / ⟨r⟩"
    known = np.isfinite(rate) & np.isfinite(over)
    rate, over = rate[known], over[known]
    radius = units.name("critical_radius_{length}")
    beside = radius in critical and len(critical[radius]) > 1
    with styled("growth"):
        figure = canvas(DOUBLE_MM, 58)
        panels = figure.subplots(1, 2 if beside else 1, squeeze=False)[0]
        axes = panels[0]
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.axvline(1, color=MUTED, linewidth=0.6, linestyle=":")
        small: dict[str, Any] = {"color": SKY, "markersize": 1.6, "markeredgewidth": 0, "alpha": 0.55}
        axes.plot(over, rate, "o", rasterized=len(over) > _MANY_POINTS, **small)
        middle, mean, error = _binned(over, rate)
        axes.errorbar(middle, mean, 1.96 * error, fmt="o-", color=INK, markersize=3, linewidth=0.9, elinewidth=0.7)
        if len(rate) > 10:
            axes.set_ylim(*_padded(*np.percentile(rate, _SPREAD)))
        axes.set(xlabel=label, ylabel=f"dr/dt ({units.length}/{units.time})")
        if beside:
            time = finite(critical[units.name("time_{time}")])
            band(panels[1], time, critical[f"{radius}_low"], critical[f"{radius}_high"], BLUE)
            panels[1].plot(time, finite(critical[radius]), "o-", color=INK, markersize=2.4, linewidth=0.7)
            panels[1].set(xlabel=units.time_axis, ylabel=f"critical radius ({units.length})")
            panels[1].set_ylim(bottom=0)
    names = (units.name("time_{time}"), "particle", "window", "radius_over_critical", "radius_over_mean", speed)
    return Drawn(
        "growth",
        figure,
        {name: rows[name] for name in names if name in rows},
        f"Growth rate of single particles against {label}: each point is a particle in a time window; joined: means "
        "with 95 % intervals."
        + (" Right: the radius at which growth changes its sign, with its interval." if beside else ""),
        f"Scatter of {len(rate)} growth rates against relative radius.",
        "Who grows, who shrinks",
    )


def _title(axes: Axes, bins: Columns, fits: Columns, *, window: int, row: int, units: Units) -> None:
    """Write time, number of particles and the log-normal's p value over a panel."""
    time = float(finite(bins[units.name("time_{time}")])[row])
    title = f"{time:.3g} s" if units.time == "s" else f"frame {time:.0f}"
    for k, (number, model) in enumerate(zip(fits.get("window", ()), fits.get("model", ()), strict=True)):
        if number == window and model == "lognormal":
            title += f", N = {int(fits['n_particles'][k])}"
            p = finite(fits["p_value"])[k]
            title += f"\np = {p:.2g}" if np.isfinite(p) else ""
    axes.set_title(title, fontsize=7, color=MUTED)


def _filled(low: NDArray[np.float64], high: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Return the radii between which all but a two-hundredth of the sizes lie, with some room."""
    order = np.argsort(high, kind="stable")
    so_far = np.cumsum(np.nan_to_num(weight[order]))
    last = order[min(int(np.searchsorted(so_far, 0.995 * so_far[-1])), len(order) - 1)]
    first = float(low[weight > 0].min()) if (weight > 0).any() else float(low.min())
    room = 0.08 * (float(high[last]) - first) or 1.0
    return max(0.0, first - room), float(high[last]) + 2 * room


def _binned(
    over: NDArray[np.float64], rate: NDArray[np.float64], most: int = 12
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return middle, mean and standard error of equally filled bins."""
    order = np.argsort(over, kind="stable")
    pieces = [p for p in np.array_split(order, max(1, min(most, len(order) // 8))) if len(p) > 1]
    middle, mean = (np.array([values[p].mean() for p in pieces]) for values in (over, rate))
    return middle, mean, np.array([rate[p].std(ddof=1) / np.sqrt(len(p)) for p in pieces])


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room
