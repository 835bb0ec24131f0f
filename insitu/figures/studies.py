"""Figures of a study, as the papers of the field draw them: scores against receptive field, threshold and material."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures.frames import display_range
from insitu.figures.style import DOUBLE_MM, INK, LINES, MUTED, SINGLE_MM, Drawn, band, canvas, finite, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Row = Mapping[str, Any]

_MARKS = ("o", "s", "^", "D", "v", "P")


def against_field(rows: Sequence[Row]) -> Drawn:
    """Draw Dice against receptive field, a line a complexity and a panel a test set (Sytwu et al. 2022, Fig. 2).

    Parameters
    ----------
    rows : sequence of mapping
        ``group``, ``receptive_field_px``, ``tested_on``, ``dice_calibrated`` of every cell.
    """
    tests, groups = _names(rows, "tested_on"), _names(rows, "group")
    with styled("field"):
        figure = canvas(min(DOUBLE_MM, 40 + 62 * len(tests)), 68)
        panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
        for axes, test in zip(panels, tests, strict=True):
            for k, group in enumerate(groups):
                mine = [r for r in rows if r["tested_on"] == test and r["group"] == group and r["receptive_field_px"]]
                fields = sorted({r["receptive_field_px"] for r in mine})
                values = [[r["dice_calibrated"] for r in mine if r["receptive_field_px"] == f] for f in fields]
                moved = 1.0 + 0.03 * (k - (len(groups) - 1) / 2)
                _with_spread(axes, [f * moved for f in fields], values, k, group)
            axes.set(xscale="log", title=test, xlabel="receptive field (px)")
            ticks = sorted({r["receptive_field_px"] for r in rows if r["receptive_field_px"]})
            axes.set_xticks(ticks, [str(t) for t in ticks])
            axes.minorticks_off()
        panels[0].set_ylabel("Dice, threshold calibrated")
        _legend(figure, panels[0], len(groups))
    return Drawn(
        "field", figure,
        _columns(rows, ("model", "group", "tested_on", "seed", "receptive_field_px", "dice", "dice_calibrated")),
        "Dice against receptive field for networks of several complexities: each training (small), their mean, and one "
        "standard deviation.",
        f"Dice against receptive field on {len(tests)} sets.", "Receptive field",
    )  # fmt: skip


def spread(rows: Sequence[Row]) -> Drawn:
    """Draw every training's Dice by model and training set, scored on its own set: how far equal trainings differ."""
    mine = [r for r in rows if r["trained_on"] in {r["tested_on"], "-"}]
    places = list(dict.fromkeys((r["tested_on"], r["model"]) for r in mine))
    with styled("spread"):
        figure = canvas(SINGLE_MM * 1.3, 16 + 4.6 * len(places))
        axes = figure.add_subplot()
        for k, (test, model) in enumerate(places):
            values = [r["dice_calibrated"] for r in mine if (r["tested_on"], r["model"]) == (test, model)]
            shade = LINES[_names(mine, "tested_on").index(test) % len(LINES)]
            axes.plot(values, [k] * len(values), "o", color=shade, markersize=3, alpha=0.6, markeredgewidth=0)
            axes.plot([np.mean(values)], [k], "|", color=INK, markersize=8)
        axes.set_yticks(range(len(places)), [f"{m} · {t}" for t, m in places], fontsize=6)
        axes.set(ylim=(len(places) - 0.5, -0.5), xlabel="Dice, threshold calibrated")
    return Drawn(
        "spread", figure, _columns(mine, ("model", "trained_on", "tested_on", "seed", "dice", "dice_calibrated")),
        "Dice of equal trainings that differ in their seed alone, each scored on held-out images of its own set; the "
        "bar is their mean.",
        f"Dice of {len(mine)} trainings.", "Spread between equal trainings",
    )  # fmt: skip


def confusion_matrices(rows: Sequence[Row], model: str) -> Drawn:
    """Draw what a model trained on each set makes of each set (Groschner et al. 2021, Figs. 2-4), seeds together.

    Parameters
    ----------
    rows : sequence of mapping
        ``trained_on``, ``tested_on`` and the four counts of px at 0.5.
    model : str
        Whose rows these are.
    """
    trained, tested = _names(rows, "trained_on"), _names(rows, "tested_on")
    side = min(30.0, (DOUBLE_MM - 22) / len(tested))
    table: dict[str, list[Any]] = {n: [] for n in ("trained_on", "tested_on", "truth", "found", "share_of_truth")}
    with styled("confusion"):
        figure = canvas(22 + side * len(tested), 14 + side * len(trained))
        grid = figure.subplots(len(trained), len(tested), squeeze=False)
        for i, one in enumerate(trained):
            for j, other in enumerate(tested):
                mine = [r for r in rows if (r["trained_on"], r["tested_on"]) == (one, other)]
                shares = _shares(mine)
                _matrix(grid[i][j], shares, small=side < 22)
                for t, truth in enumerate(("support", "particle")):
                    for f, found in enumerate(("support", "particle")):
                        for name, value in zip(table, (one, other, truth, found, shares[t, f]), strict=True):
                            table[name].append(value)
                if i == 0:
                    grid[i][j].set_title(other, fontsize=6, loc="center")
                if j == 0:
                    grid[i][j].set_ylabel(one, fontsize=6)
        figure.supxlabel("tested on (above) · found: support, particle", fontsize=7)
        figure.supylabel("trained on · truth: support, particle", fontsize=7)
    return Drawn(
        f"confusion_{model}", figure, table,
        "Share of true support (upper row of each square) and of true particle px (lower row) that was called support "
        "(left) or particle (right), threshold 0.5, all seeds together.",
        f"Confusion matrices of {len(trained)} training sets on {len(tested)} test sets.", f"Confusion of {model}",
    )  # fmt: skip


def against_threshold(curves: Mapping[str, Sequence[Mapping[str, NDArray[np.float64]]]], test: str) -> Drawn:
    """Draw F1, precision and recall ± 1 SD over the seeds against the threshold (Horwath et al. 2020, Figs. 7 and S5).

    Parameters
    ----------
    curves : mapping of model to a sequence of columns
        For every training ``threshold``, ``f1``, ``precision``, ``recall``.
    test : str
        The set.
    """
    table: dict[str, list[Any]] = {n: [] for n in ("model", "threshold", "score", "mean", "sd", "trainings")}
    with styled("threshold"):
        figure = canvas(DOUBLE_MM, 66)
        panels = figure.subplots(1, 3, sharex=True)
        for axes, (score, label) in zip(
            panels, (("f1", "F1"), ("precision", "precision"), ("recall", "recall")), strict=True
        ):
            for k, (model, runs) in enumerate(curves.items()):
                values = np.stack([finite(list(r[score])) for r in runs])
                at = finite(list(runs[0]["threshold"]))
                mean = values.mean(axis=0)
                sd = values.std(axis=0, ddof=1) if len(runs) > 1 else np.full_like(mean, np.nan)
                shade = LINES[k % len(LINES)]
                band(axes, at, list(mean - sd), list(mean + sd), shade)
                axes.plot(at, mean, color=shade, label=model)
                for row in zip(at, mean, sd, strict=True):
                    for name, value in zip(table, (model, row[0], score, row[1], row[2], len(runs)), strict=True):
                        table[name].append(value)
            axes.set(xlabel="threshold", ylabel=label, ylim=(0, 1.02), xlim=(0, 1))
        _legend(figure, panels[0], 4)
    return Drawn(
        f"threshold_{test}", figure, table,
        f"F1, precision and recall of pixels on {test} against the threshold: mean of equal trainings, shaded ± 1 "
        "standard deviation.",
        f"Scores of {len(curves)} models against the threshold.", f"Threshold, {test}",
    )  # fmt: skip


def contours(image: NDArray[Any], truth: NDArray[Any], probabilities: Mapping[str, NDArray[Any]],
             cuts: Mapping[str, float], test: str) -> Drawn:  # fmt: skip
    """Draw the outlines of several models, each at its Otsu threshold, on one image (Horwath et al. 2020, Fig. 4).

    Parameters
    ----------
    image : array (H, W)
    truth : array (H, W)
        Nonzero inside particles.
    probabilities : mapping of model to float array (H, W)
    cuts : mapping of model to threshold
    test : str
        The set.
    """
    count = len(probabilities)
    across = min(count + 1, 4)
    down = -(-(count + 1) // across)
    with styled("contours"):
        height = DOUBLE_MM / across * image.shape[0] / image.shape[1]
        figure = canvas(DOUBLE_MM, down * (height + 6))
        grid = figure.subplots(down, across, squeeze=False).ravel()
        low, high = display_range(image)
        shown = [("truth", truth > 0, 0.5, MUTED)]
        shown += [(m, p, cuts[m], LINES[k % len(LINES)]) for k, (m, p) in enumerate(probabilities.items())]
        for axes in grid:
            axes.axis("off")
        for axes, (name, values, cut, shade) in zip(grid, shown, strict=False):
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            if values.max() > cut >= values.min():
                axes.contour(values, [cut], colors=["#e69f00" if name == "truth" else shade], linewidths=0.8)
            axes.set_title(name if name == "truth" else f"{name}, {cut:.2f}", fontsize=7)
    table = {"model": list(cuts), "otsu_threshold": list(cuts.values())}
    return Drawn(
        f"contours_{test}", figure, table,
        "One held-out image with the outlines of every model at the threshold that Otsu's method finds on its "
        "probabilities.",
        f"Outlines of {count} models on one image of {test}.", f"Outlines, {test}",
    )  # fmt: skip


def size_histograms(sizes: Mapping[str, NDArray[np.float64]], true: NDArray[np.float64], test: str) -> Drawn:
    """Draw the sizes that each model finds over those that are there.

    Parameters
    ----------
    sizes : mapping of model to float64 array
        Equivalent diameters in px of all trainings together, weighted to one training.
    true : float64 array
    test : str
        The set.
    """
    everything = np.concatenate([true, *sizes.values()]) if sizes else true
    edges = np.histogram_bin_edges(everything, bins=min(24, max(6, len(true) // 4)))
    table: dict[str, list[Any]] = {"from_px": list(edges[:-1]), "to_px": list(edges[1:])}
    with styled("sizes"):
        down = -(-len(sizes) // 3)
        figure = canvas(DOUBLE_MM, 10 + 46 * down)
        grid = figure.subplots(down, min(3, len(sizes)), sharex=True, sharey=True, squeeze=False).ravel()
        expected = np.histogram(true, edges)[0] / max(len(true), 1)
        table["true"] = list(expected)
        for k, (axes, (model, found)) in enumerate(zip(grid, sizes.items(), strict=False)):
            share = np.histogram(found, edges)[0] / max(len(found), 1)
            table[model] = list(share)
            axes.stairs(expected, edges, fill=True, color="#c9ced4", label="truth")
            axes.stairs(share, edges, color=LINES[k % len(LINES)], linewidth=1.2, label=model)
            axes.set_title(model, fontsize=7)
            axes.set(xlabel="diameter (px)", ylabel="share" if k % 3 == 0 else "")
        for axes in grid[len(sizes) :]:
            axes.axis("off")
    return Drawn(
        f"sizes_{test}", figure, table,
        f"Equivalent diameters of the particles that each model finds on {test} (lines, all trainings) and of the true "
        "ones (grey).",
        f"Size histograms of {len(sizes)} models.", f"Sizes, {test}",
    )  # fmt: skip


def _with_spread(axes: Axes, x: list[float], values: list[list[float]], k: int, label: str) -> None:
    shade, mark = LINES[k % len(LINES)], _MARKS[k % len(_MARKS)]
    means = [float(np.mean(v)) for v in values]
    sd = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values]
    axes.errorbar(x, means, sd, color=shade, marker=mark, markersize=4, capsize=2, linewidth=1, label=label)
    for at, several in zip(x, values, strict=True):
        axes.plot([at] * len(several), several, ".", color=shade, markersize=2.5, alpha=0.5)


def _shares(rows: Sequence[Row]) -> NDArray[np.float64]:
    names = (("true_negative", "false_positive"), ("false_negative", "true_positive"))
    counts = np.array([[sum(r[n] for r in rows) for n in pair] for pair in names], np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _matrix(axes: Axes, shares: NDArray[np.float64], *, small: bool) -> None:
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for t in range(2):
        for f in range(2):
            if np.isfinite(shares[t, f]):
                axes.text(f, t, f"{100 * shares[t, f]:.0f}", ha="center", va="center", fontsize=5 if small else 7,
                          color="white" if shares[t, f] > 0.6 else INK)  # fmt: skip
    axes.set(xticks=[], yticks=[])


def _names(rows: Sequence[Row], column: str) -> list[Any]:
    return list(dict.fromkeys(r[column] for r in rows))


def _columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Any]]:
    return {n: [r[n] for r in rows] for n in names}


def _legend(figure: Any, axes: Axes, across: int) -> None:  # noqa: ANN401 - a figure
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(across, len(labels)))
