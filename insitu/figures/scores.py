"""Figures of how well models agree with labels, as the papers of the field draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures.style import DOUBLE_MM, INK, LINES, MUTED, SINGLE_MM, Drawn, canvas, finite, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from insitu.figures.style import Columns

_DASHES = ("-", "--", ":", "-.")
_MARKS = {"trained": "o", "fixed": "s", "otsu": "^"}
_SCORES = (("f1", "F1 of pixels"), ("precision", "precision"), ("recall", "recall"))


def threshold_curves(models: Sequence[tuple[str, Columns]], marks: Mapping[str, Mapping[str, float]]) -> Drawn:
    """Draw F1, precision and recall of pixels over the threshold (Horwath et al. 2020, Fig. 7).

    Parameters
    ----------
    models : sequence of (name, columns)
        Columns ``threshold, f1, precision, recall`` of equal length.
    marks : mapping of model to thresholds by rule
        Marked on the curves.
    """
    table: dict[str, list[Any]] = {"model": [], "threshold": [], "f1": [], "precision": [], "recall": []}
    with styled("thresholds"):
        figure = canvas(DOUBLE_MM, 58)
        for axes, (score, label) in zip(figure.subplots(1, 3, sharex=True, sharey=True), _SCORES, strict=True):
            for k, (name, columns) in enumerate(models):
                threshold, value = finite(columns["threshold"]), finite(columns[score])
                axes.plot(threshold, value, label=name, **_line(k))
                for rule, at in marks.get(name, {}).items():
                    height = float(np.interp(at, threshold, value))
                    axes.plot([at], [height], _MARKS.get(rule, "o"), color=LINES[k % len(LINES)], markersize=4)
            axes.set(xlabel="threshold", title=label, xlim=(0, 1), ylim=(0, 1))
            if score == "f1":
                _legend(figure, axes)
        for name, columns in models:
            table["model"] += [name] * len(columns["threshold"])
            for column in ("threshold", "f1", "precision", "recall"):
                table[column] += list(columns[column])
    return Drawn(
        "thresholds",
        figure,
        table,
        "F1, precision and recall of pixels of all images together, over the threshold on the probability. Circle: the "
        "model's own threshold; square: the fixed one; triangle: the mean of Otsu's.",
        f"Pixel scores of {len(models)} models over the threshold.",
        "Scores over the threshold",
    )


def precision_recall(models: Sequence[tuple[str, Columns]]) -> Drawn:
    """Draw precision against recall of pixels for all thresholds; columns as for `threshold_curves`."""
    table: dict[str, list[Any]] = {"model": [], "threshold": [], "recall": [], "precision": []}
    with styled("precision_recall"):
        figure = canvas(SINGLE_MM, 66)
        axes = figure.add_subplot()
        for k, (name, columns) in enumerate(models):
            axes.plot(finite(columns["recall"]), finite(columns["precision"]), label=name, **_line(k))
            table["model"] += [name] * len(columns["threshold"])
            for column in ("threshold", "recall", "precision"):
                table[column] += list(columns[column])
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        _legend(figure, axes)
    return Drawn(
        "precision_recall",
        figure,
        table,
        "Precision against recall of pixels, one point for each threshold.",
        f"Precision and recall of {len(models)} models.",
        "Precision and recall",
    )


def edge_profiles(models: Sequence[tuple[str, Columns]]) -> Drawn:
    """Draw the mean intensity and the mean probability over the distance from the true outline.

    Parameters
    ----------
    models : sequence of (name, columns)
        Columns ``distance_px, intensity, probability, probability_sd`` of equal length; the intensity is that of the
        images and the same for all.
    """
    table: dict[str, list[Any]] = {
        n: [] for n in ("model", "distance_px", "intensity", "probability", "probability_sd")
    }
    with styled("edges"):
        figure = canvas(SINGLE_MM, 66)
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, linewidth=0.6)
        if models:
            first = models[0][1]
            axes.plot(finite(first["distance_px"]), finite(first["intensity"]), color=INK, linestyle=":", label="image")
        for k, (name, columns) in enumerate(models):
            away, mean = finite(columns["distance_px"]), finite(columns["probability"])
            scatter = finite(columns["probability_sd"])
            axes.fill_between(
                away, mean - scatter, mean + scatter, color=LINES[k % len(LINES)], alpha=0.12, linewidth=0
            )
            axes.plot(away, mean, label=name, **_line(k))
            table["model"] += [name] * len(away)
            for column in ("distance_px", "intensity", "probability", "probability_sd"):
                table[column] += list(columns[column])
        axes.set(xlabel="distance outside the true outline (px)", ylabel="probability, contrast", ylim=(-0.2, 1.4))
        _legend(figure, axes)
    return Drawn(
        "edges",
        figure,
        table,
        "Mean probability over the distance from the true outline (shaded: its scatter), and the mean contrast of the "
        "images there, 1 for the inside of particles.",
        f"Edge profiles of {len(models)} models.",
        "Edge profiles",
    )


def size_histograms(truth: NDArray[Any], models: Sequence[tuple[str, NDArray[Any]]]) -> Drawn:
    """Draw the shares of equivalent diameters (px) that lie below each value, of labels and of models."""
    table: dict[str, list[Any]] = {"particles": [], "equivalent_diameter_px": []}
    with styled("sizes"):
        figure = canvas(SINGLE_MM, 62)
        axes = figure.add_subplot()
        for k, (name, values) in enumerate([("labels", truth), *models]):
            ordered = np.sort(np.asarray(values, np.float64))
            style: dict[str, Any] = {"color": INK, "linewidth": 1.8} if k == 0 else _line(k - 1)
            if len(ordered):
                axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", label=name, **style)
            table["particles"] += [name] * len(ordered)
            table["equivalent_diameter_px"] += ordered.tolist()
        axes.set(xlabel="equivalent diameter (px)", ylabel="share of particles below", ylim=(0, 1.02))
        _legend(figure, axes)
    return Drawn(
        "sizes",
        figure,
        table,
        "Cumulative distribution of equivalent diameters: labels, and what each model found at its own threshold.",
        f"Size distributions of {len(models)} models.",
        "Sizes",
    )


def size_filter(rows: Sequence[Mapping[str, Any]]) -> Drawn:
    """Draw F1 and precision of particles over the smallest area that is kept.

    Parameters
    ----------
    rows : sequence of mapping
        With ``model, min_area_px, particle_f1, particle_precision`` and any other columns for the table.
    """
    names = list(dict.fromkeys(row["model"] for row in rows))
    table = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    with styled("size_filter"):
        figure = canvas(DOUBLE_MM, 56)
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, column, label in ((left, "particle_f1", "F1"), (right, "particle_precision", "precision")):
            for k, name in enumerate(names):
                mine = [row for row in rows if row["model"] == name]
                least = np.array([max(row["min_area_px"], 1) for row in mine], np.float64)
                axes.plot(least, finite([row[column] for row in mine]), label=name, marker=".", **_line(k))
            axes.set(xscale="log", xlabel="smallest area kept (px²)", title=f"{label} of particles", ylim=(0, 1))
            axes.xaxis.set_major_formatter("{x:g}")
        _legend(figure, left)
    return Drawn(
        "size_filter",
        figure,
        table,
        "F1 and precision of particles when found ones below an area are left out: what a size filter can mend.",
        f"Effect of a size filter on {len(names)} models.",
        "Size filter",
    )


def _line(k: int) -> dict[str, Any]:
    return {"color": LINES[k % len(LINES)], "linestyle": _DASHES[k // len(LINES) % len(_DASHES)]}


def _legend(figure: Any, axes: Axes) -> None:  # noqa: ANN401 - matplotlib's Figure
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
