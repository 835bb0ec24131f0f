"""Figures of the inside of a network: kernels, maps, what an answer rests on, what one pixel sees, and noise."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures.frames import display_range
from insitu.figures.style import (
    BLUE,
    DOUBLE_MM,
    FAINT,
    INK,
    MUTED,
    ORANGE,
    SINGLE_MM,
    VERMILION,
    Drawn,
    canvas,
    power_of_ten,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_PER_ROW = 8
_MOST_MAPS = 32
_SIGNED = "RdBu_r"


def kernel_gallery(
    kernels: NDArray[np.float64], captions: Sequence[str], mean: NDArray[np.float64], *,
    fitted: NDArray[np.float64] | None, mean_caption: str, table: Mapping[str, Sequence[Any]],
) -> Drawn:  # fmt: skip
    """Draw learned kernels on one scale, and above them their mean with the best fit of it.

    Parameters
    ----------
    kernels : float64 array (n, k, k)
    captions : sequence of str
        What stands under each.
    mean, fitted : float64 arrays (k, k)
        The mean of all kernels, and its fit where it was fitted.
    mean_caption : str
    table : mapping of columns
        What the CSV holds.
    """
    rows = ceil(len(kernels) / _PER_ROW)
    cell = DOUBLE_MM / (_PER_ROW + 2.4)
    with styled("kernels"):
        figure = canvas(DOUBLE_MM, max(rows, 2) * (cell + 5) + 4)
        halves: Any = figure.subfigures(1, 2, width_ratios=[_PER_ROW, 2.0])  # typed as if it were one
        left, right = halves
        largest = float(np.abs(kernels).max()) or 1.0
        grid = left.subplots(rows, _PER_ROW, squeeze=False)
        for k, axes in enumerate(grid.ravel()):
            axes.axis("off")
            if k < len(kernels):
                axes.imshow(kernels[k], cmap=_SIGNED, vmin=-largest, vmax=largest, interpolation="nearest")
                axes.set_title(captions[k], fontsize=5.5, loc="center", pad=2)
        shown = [("mean of all", mean), *([("its fit", fitted)] if fitted is not None else [])]
        limit = float(np.abs(mean).max()) or 1.0
        for axes, (title, values) in zip(np.atleast_1d(right.subplots(len(shown), 1)), shown, strict=True):
            picture = axes.imshow(values, cmap=_SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set_title(title, fontsize=7, loc="center")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        bar = right.colorbar(picture, ax=right.axes, fraction=0.06, aspect=22, location="bottom")
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6)
    return Drawn(
        "kernels", figure, dict(table),
        f"Kernels of the first layer on one scale (red positive, blue negative; ±{largest:.3g}), the family that fits "
        "each best and the share of its variance that is explained (the number alone: none explains half). "
        f"Right: {mean_caption}.",
        f"{len(kernels)} learned kernels and their mean.", "Kernels",
    )  # fmt: skip


def layer_maps(
    stem: str, name: str, maps: NDArray[Any], states: Sequence[str], table: Mapping[str, Sequence[Any]]
) -> Drawn:
    """Draw the maps of one layer, each on its own scale; at most 32 of them.

    Parameters
    ----------
    stem : str
        Name of the files.
    name : str
        Of the layer.
    maps : array (channels, h, w)
    states : sequence of str
        ``alive``, ``silent`` or ``constant`` of each channel.
    table : mapping of columns
        What the CSV holds.
    """
    shown = maps[:_MOST_MAPS]
    across = min(_PER_ROW, max(len(shown), 2))
    rows = ceil(len(shown) / across)
    width = DOUBLE_MM * max(across, 4) / _PER_ROW
    cell = width / across * maps.shape[1] / maps.shape[2]
    with styled(stem):
        figure = canvas(width, rows * (cell + 4) + 3)
        for k, axes in enumerate(figure.subplots(rows, across, squeeze=False).ravel()):
            axes.axis("off")
            if k < len(shown):
                low, high = display_range(shown[k])
                axes.imshow(shown[k], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
                axes.set_title(f"{k}" if states[k] == "alive" else f"{k} {states[k]}", fontsize=6, loc="center", pad=2)
    less = "" if len(shown) == len(maps) else f" The first {len(shown)} of {len(maps)}."
    return Drawn(
        stem, figure, dict(table),
        f"Maps of the layer {name}, each from its 0.5 % to its 99.5 % value.{less}",
        f"{len(shown)} activation maps of {name}.", f"Layer {name}",
    )  # fmt: skip


def reasons(
    image: NDArray[Any], probability: NDArray[Any], region: NDArray[np.bool_], maps: Mapping[str, NDArray[Any]],
    about: Mapping[str, str],
) -> Drawn:  # fmt: skip
    """Draw what an answer rests on: the image, the probability, and one panel for each attribution.

    Parameters
    ----------
    image, probability : float arrays (h, w)
    region : bool array (h, w)
        The particle that is explained, outlined in every panel.
    maps : mapping of name to float array (h, w)
    about : mapping of name to what its unit is.
    """
    panels = [("image", image, "gray"), ("probability", probability, "gray")]
    panels += [(name, values, _SIGNED if (values < 0).any() else "inferno") for name, values in maps.items()]
    height = DOUBLE_MM / len(panels) * image.shape[0] / image.shape[1]
    with styled("reasons"):
        figure = canvas(DOUBLE_MM, height + 16)
        for axes, (name, values, colours) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            low, high = _limits(values, colours)
            picture = axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            edge = "white" if colours == "inferno" else ORANGE
            axes.contour(region, [0.5], colors=[edge], linewidths=0.6)
            axes.set_title(name, fontsize=7)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            bar = figure.colorbar(picture, ax=axes, location="bottom", fraction=0.05, pad=0.03, aspect=18)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=5)
            bar.ax.locator_params(nbins=3)
            if name in about:
                bar.set_label(about[name], fontsize=5.5)
    y, x = np.nonzero(region)
    table = {"y_px": y, "x_px": x, **{name: values[y, x] for name, values in maps.items()}}
    return Drawn(
        "reasons", figure, table,
        "What the answer for the outlined particle rests on. Saliency: slope of its logit by each pixel. Grad-CAM: "
        "where the maps of a layer speak for it. Occlusion: fall of its logit per px when a square is covered.",
        "Saliency, Grad-CAM and occlusion of one particle.", "Reasons",
    )  # fmt: skip


def seen_by_a_pixel(
    weight: NDArray[np.float64], width_px: int, effective_px: float, share: float, stated: tuple[int, int] | None
) -> Drawn:
    """Draw what one output pixel sees, with squares: most of the weight, all that was seen, the arithmetic of layers.

    Parameters
    ----------
    weight : float64 array (2r+1, 2r+1)
    width_px : int
    effective_px : float
    share : float
        Share of the weight within `effective_px`.
    stated : tuple of int, optional
        Mean and largest width by the arithmetic of layers.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    radius = weight.shape[0] // 2
    reach = max(radius, stated[1] // 2 if stated else 0) + 2
    with styled("receptive_field"):
        figure = canvas(SINGLE_MM, 0.98 * SINGLE_MM)
        axes = figure.add_subplot()
        top = float(weight.max())
        picture = axes.imshow(
            np.where(weight > 0, weight, np.nan), cmap="viridis", norm=LogNorm(top * 1e-6, top),
            extent=(-radius - 0.5, radius + 0.5, radius + 0.5, -radius - 0.5), interpolation="nearest",
        )  # fmt: skip
        squares = [(effective_px, VERMILION, f"{100 * share:g} % of the weight: {effective_px:g} px", "-")]
        if stated:
            squares.append((stated[0], INK, f"by the layers, mean: {stated[0]} px", "--"))
        squares.append((width_px, BLUE, f"widest of a pixel: {width_px} px", ":"))
        for side, shade, label, dash in squares:
            half = side / 2
            axes.plot([-half, half, half, -half, -half], [-half, -half, half, half, -half], dash, color=shade,
                      linewidth=1, label=label)  # fmt: skip
        axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
        axes.set(xlabel="px from the output pixel", ylabel="px")
        figure.legend(loc="outside lower center", ncols=1, fontsize=6.5)
        bar = figure.colorbar(picture, ax=axes, fraction=0.045, pad=0.02, format=FuncFormatter(power_of_ten))
        bar.ax.minorticks_off()
        bar.set_label("share of the slope", fontsize=7)
        bar.outline.set_visible(False)
    across = weight.sum(axis=0)
    table = {"px": np.arange(-radius, radius + 1), "weight_of_column": across, "weight_of_row": weight.sum(axis=1)}
    return Drawn(
        "receptive_field", figure, table,
        "Mean slope of one output pixel's logit by each input pixel (logarithmic), and how wide that is.",
        f"Receptive field: 95 % within {effective_px:g} px, at most {width_px} px.", "Receptive field",
    )  # fmt: skip


def noise_answers(rows: Sequence[Mapping[str, Any]]) -> Drawn:
    """Draw for every channel of the layers how much noise alone stirs it, against how well it tells particles.

    Parameters
    ----------
    rows : sequence of mapping
        ``layer``, ``channel``, ``state``, ``contrast``, ``stirred_by_noise``.
    """
    layers = list(dict.fromkeys(r["layer"] for r in rows))
    with styled("noise"):
        figure = canvas(DOUBLE_MM, 14 + 4.2 * len(layers))
        left, right = figure.subplots(1, 2, sharey=True)
        for k, layer in enumerate(layers):
            mine = [r for r in rows if r["layer"] == layer and r["state"] == "alive"]
            spread = np.linspace(-0.25, 0.25, max(len(mine), 2))[: len(mine)]
            for axes, column in ((left, "stirred_by_noise"), (right, "contrast")):
                values = np.array([abs(r[column]) for r in mine], np.float64)
                axes.plot(values, k + spread, "o", color=BLUE, markersize=2, markeredgewidth=0, alpha=0.7)
            gone = sum(r["layer"] == layer and r["state"] != "alive" for r in rows)
            if gone:
                right.annotate(f"{gone} dead", (1, k), xycoords=("axes fraction", "data"), fontsize=6, color=MUTED,
                               ha="right", va="center")  # fmt: skip
        _marked(left, 1.0)
        left.set(xlabel="spread on noise alone / spread on the image", ylim=(len(layers) - 0.5, -0.5), xlim=(0, None))
        left.set_yticks(range(len(layers)), layers, fontsize=6)
        right.set(xlabel="|particles − support| / spread on the support", xlim=(0, None))
    names = ("layer", "channel", "state", "contrast", "stirred_by_noise")
    return Drawn(
        "noise", figure, {n: [r[n] for r in rows] for n in names},
        "Every living channel of every layer. Left: a channel right of the line is stirred by noise as much as by the "
        "image. Right: how well it tells particles from support.",
        f"How much noise alone stirs the channels of {len(layers)} layers.", "Noise alone",
    )  # fmt: skip


def _marked(axes: Axes, at: float) -> None:
    axes.axvline(at, color=FAINT, linewidth=1, zorder=0)


def _limits(values: NDArray[Any], colours: str) -> tuple[float, float]:
    if colours == _SIGNED:
        most = float(np.percentile(np.abs(values), 99.8)) or 1.0
        return -most, most
    if colours == "inferno":
        return 0.0, float(np.percentile(values, 99.8)) or 1.0
    return display_range(values)
