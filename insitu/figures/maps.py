"""Figures in the plane of the picture: tracks, a line through the movie over time, and events frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures.frames import bar_length, display_range
from insitu.figures.style import DOUBLE_MM, FAINT, INK, MUTED, SINGLE_MM, Drawn, Units, canvas, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_MANY_LINES = 400  # more make an SVG heavy: they are drawn as a picture inside it
_MOST_EVENTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where particles were: rows sorted by particle, then frame.

    Attributes
    ----------
    particle : int64 array of shape (n,)
    time : float64 array of shape (n,)
        In the unit of the time axis.
    y, x : float64 arrays of shape (n,)
        In px, drift removed.
    """

    particle: NDArray[np.int64]
    time: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """An event in a few frames: pictures uint8 (h, w, 3) with outlines, all of one size, and what stands under each."""

    kind: str
    title: str
    pictures: tuple[NDArray[np.uint8], ...]
    captions: tuple[str, ...]


def track_map(places: Places, region: tuple[int, int], units: Units, nm_per_px: float | None = None) -> Drawn:
    """Draw the path of every particle, coloured by time, with a dot where it was first seen.

    Parameters
    ----------
    places : Places
    region : tuple of int
        Height and width of the analysed region in px.
    units : Units
    nm_per_px : float, optional
        For the scale bar.
    """
    from matplotlib.collections import LineCollection

    height, width = region
    starts = np.flatnonzero(np.diff(places.particle, prepend=-1) != 0)
    with styled("track_map"):
        figure = canvas(SINGLE_MM, min(150.0, 0.84 * SINGLE_MM * height / width + 6))
        axes = figure.add_subplot()
        points = np.stack([places.x, places.y], axis=1)
        joined = np.flatnonzero(places.particle[1:] == places.particle[:-1])
        lines = LineCollection(
            [points[k : k + 2] for k in joined],
            array=places.time[joined],
            cmap=_time_map(),
            linewidths=0.9,
            rasterized=len(joined) > _MANY_LINES,
        )
        axes.add_collection(lines)
        axes.plot(places.x[starts], places.y[starts], "o", color=MUTED, markersize=1.3, markeredgewidth=0)
        _frame(axes, height, width)
        if nm_per_px is not None:
            _scale_bar(axes, width, height, nm_per_px)
        if len(joined):
            bar = figure.colorbar(lines, ax=axes, fraction=0.04, pad=0.02, aspect=30)
            bar.set_label(units.time_axis)
            bar.outline.set_visible(False)
    table = {
        "particle": places.particle,
        units.name("time_{time}"): places.time,
        "y_px": places.y,
        "x_px": places.x,
    }
    return Drawn(
        "track_map",
        figure,
        table,
        "Path of every particle, drift removed, coloured by time; a dot where it was first seen.",
        f"Map of {len(starts)} tracks in a region of {height} by {width} px.",
        "Tracks",
    )


def kymograph(
    image: NDArray[Any], times: NDArray[np.float64], at: str, units: Units, nm_per_px: float | None = None
) -> Drawn:
    """Draw one line of the movie against time: particles are dark or bright bands, a merger is where two join.

    Parameters
    ----------
    image : ndarray of shape (T, W)
        Counts along the line, NaN where a frame could not be read.
    times : ndarray of shape (T,)
        Increasing, in the unit of the time axis.
    at : str
        Which line, for the reader: ``"rows 209 to 213"``.
    units : Units
    nm_per_px : float, optional
        Pixel size; the axis is in px without it.
    """
    scale = 1.0 if nm_per_px is None else nm_per_px
    low, high = display_range(np.asarray(image, np.float64))
    last = times[-1] if times[-1] > times[0] else times[0] + 1.0
    with styled("kymograph"):
        figure = canvas(DOUBLE_MM, 58)
        axes = figure.add_subplot()
        axes.imshow(
            np.asarray(image, np.float64).T, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="nearest",
            extent=(times[0], last, image.shape[1] * scale, 0.0),
        )  # fmt: skip
        axes.set(xlabel=units.time_axis, ylabel=f"place on the line ({'px' if nm_per_px is None else 'nm'})")
    table: dict[str, Any] = {units.name("time_{time}"): times}
    step = max(1, image.shape[1] // 256)  # the csv shows the numbers, not every pixel of a 4k camera
    table |= {f"counts_at_{k}_px": image[:, k] for k in range(0, image.shape[1], step)}
    return Drawn(
        "kymograph",
        figure,
        table,
        f"Counts along {at}, the line that crosses most particles, against time (camera coordinates).",
        f"Kymograph along {at}.",
        "One line through the movie",
    )


def gallery(strips: Sequence[Strip], name: str = "event_gallery") -> Drawn:
    """Draw events, a row each, frame after frame.

    Parameters
    ----------
    strips : sequence of Strip
        The first eight are drawn.
    name : str
        Stem of the files.
    """
    shown = strips[:_MOST_EVENTS]
    columns = max(len(s.pictures) for s in shown)
    cell = DOUBLE_MM / columns
    with styled(name):
        figure = canvas(DOUBLE_MM, (cell + 9) * len(shown))
        grid = figure.subplots(len(shown), columns, squeeze=False)
        for axes in grid.ravel():
            axes.axis("off")
        for row, strip in zip(grid, shown, strict=True):
            for axes, picture, caption in zip(row, strip.pictures, strip.captions, strict=False):
                axes.imshow(picture, interpolation="nearest")
                axes.text(0.5, -0.03, caption, transform=axes.transAxes, ha="center", va="top", fontsize=7, color=MUTED)
            # no title of the axes: the layout asks for room at its middle, which may lie beyond the panel
            title = row[0].text(0, 1.03, strip.title, transform=row[0].transAxes, va="bottom", fontsize=8, color=INK)
            title.set_in_layout(False)
    table = {
        "event": [k for k, s in enumerate(shown) for _ in s.pictures],
        "kind": [s.kind for s in shown for _ in s.pictures],
        "title": [s.title for s in shown for _ in s.pictures],
        "panel": [c for s in shown for c in s.captions],
    }
    return Drawn(
        name,
        figure,
        table,
        "Events frame by frame; outlines coloured by track.",
        f"{len(shown)} events in {columns} frames each.",
        "Events",
    )


def _time_map() -> Any:  # noqa: ANN401 - matplotlib's own type
    """Return viridis without its ends, which vanish on black and on white."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis"](np.linspace(0.12, 0.92, 128)))


def _frame(axes: Axes, height: int, width: int) -> None:
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)


def _scale_bar(axes: Axes, width: int, height: int, nm_per_px: float) -> None:
    """Draw the bar under the lower left corner, where no track runs."""
    length, text = bar_length(width, nm_per_px)
    y = height * 1.035
    axes.plot([0, length], [y, y], color=INK, linewidth=2, solid_capstyle="butt", clip_on=False)
    axes.text(length + 0.015 * width, y, text, va="center", fontsize=7, clip_on=False)
