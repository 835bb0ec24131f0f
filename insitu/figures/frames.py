"""A frame with what was found in it: outlines coloured by track, tails, events, and a scale bar where it is calibrated.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/) without black and dark blue, which vanish on a
micrograph: safe for colour-blind readers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 200, 140),  # bluish green, lightened for dark particles
    (240, 228, 66),  # yellow
    (255, 120, 40),  # vermilion, lightened
    (230, 140, 190),  # reddish purple, lightened
)
EVENT_COLOURS: dict[str, tuple[int, int, int]] = {
    "coalescence": (255, 90, 60),
    "splitting": (255, 90, 60),
    "dissolution": (86, 180, 233),
    "nucleation": (0, 200, 140),
    "appearance": (0, 200, 140),
}
_OTHER_EVENT = (255, 255, 255)
_INCHES = 7.0
_STRIP_INCHES = 0.42


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to point at: an event's kind and place in px of the image."""

    kind: str
    y: float
    x: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A frame and what was found in it: all that a picture shows.

    Attributes
    ----------
    image : ndarray of shape (H, W)
        Counts.
    labels : ndarray of shape (H, W), integers
        0 = support, k = particle k of this frame.
    ids : int64 array of shape (n,)
        Track id of label k at position k − 1; it decides the colour.
    tails : mapping
        Track id → positions (m, 2) as (y, x) px, oldest first.
    marks : sequence of Mark
    nm_per_px : float or None
    caption : str
        Frame and time.
    notes : sequence of str
        What the sensors said.
    """

    image: NDArray[Any]
    labels: NDArray[Any]
    ids: NDArray[np.int64]
    tails: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    nm_per_px: float | None = None
    caption: str = ""
    notes: Sequence[str] = ()


def colour(particle: int) -> tuple[int, int, int]:
    """Return the colour of a track, 0…255."""
    return PALETTE[particle % len(PALETTE)]


def event_colour(kind: str) -> tuple[int, int, int]:
    """Return the colour of a kind of event, 0…255."""
    return EVENT_COLOURS.get(kind, _OTHER_EVENT)


def display_range(image: NDArray[Any]) -> tuple[float, float]:
    """Return the counts that become black and white: 0.5 % and 99.5 % of the finite pixels."""
    values = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values[:: max(1, values.shape[0] // 512)], (0.5, 99.5)))
    return (low, high) if high > low else (low, low + 1.0)


def bar_length(width_px: int, nm_per_px: float) -> tuple[float, str]:
    """Return a scale bar of about a fifth of the width: its length in px and its text.

    Lengths are 1, 2 or 5 times a power of ten, in nm below 1 µm and in µm above.
    """
    goal = 0.2 * width_px * nm_per_px
    power = 10.0 ** np.floor(np.log10(goal))
    length = float(max(m * power for m in (1, 2, 5) if m * power <= goal))
    text = f"{length:g} nm" if length < 1000 else f"{length / 1000:g} µm"
    return length / nm_per_px, text


def count_of(scene: Scene) -> str:
    """Return ``1 particle`` or ``2 particles``."""
    return f"{len(scene.ids)} particle{'' if len(scene.ids) == 1 else 's'}"


def overlay(path: Path, scene: Scene, *, numbers: bool = False) -> None:
    """Write a PNG of a frame with outlines coloured by track, tails, events, and a scale bar where it is calibrated.

    Parameters
    ----------
    path : Path
        Where to write.
    scene : Scene
    numbers : bool
        Write the track id beside every particle.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = scene.image.shape
    wide = _INCHES * min(1.0, max(0.4, width / height))
    tall = wide * height / width
    # the figure is made without pyplot: no window system, no state that outlives the call
    figure = Figure(figsize=(wide, tall + _STRIP_INCHES), facecolor="black")
    canvas = FigureCanvasAgg(figure)
    share = _STRIP_INCHES / (tall + _STRIP_INCHES)
    axes = figure.add_axes((0, share, 1, 1 - share))
    low, high = display_range(scene.image)
    axes.imshow(scene.image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    _draw_particles(axes, scene, numbers=numbers)
    _draw_marks(axes, scene.marks, apart=(0.03 * height, 0.13 * width))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")
    for k, note in enumerate(scene.notes):
        axes.text(0.02, 0.98 - 0.035 * k, note, transform=axes.transAxes, color="white", fontsize=9, va="top",
                  path_effects=_text_halo())  # fmt: skip
    strip = figure.add_axes((0, 0, 1, share))
    strip.set(xlim=(0, width), ylim=(0, 1))
    strip.axis("off")
    _draw_strip(strip, scene, width)
    canvas.print_figure(path, dpi=160, facecolor="black", metadata={"Software": "insitu"})


def outline(labels: NDArray[Any], label: int) -> list[NDArray[np.float64]]:
    """Return the closed outlines of one label, arrays (m, 2) of (y, x) px, half way between its pixels and others."""
    from skimage.measure import find_contours

    rows, columns = np.nonzero(labels == label)
    if not len(rows):
        return []
    y0, x0 = rows.min() - 1, columns.min() - 1
    inside = np.zeros((rows.max() - y0 + 2, columns.max() - x0 + 2), bool)
    inside[rows - y0, columns - x0] = True
    contours: list[NDArray[np.float64]] = find_contours(inside, 0.5)  # type: ignore[no-untyped-call]  # ships no types
    return [contour + np.array([y0, x0]) for contour in contours]


def _draw_particles(axes: Axes, scene: Scene, *, numbers: bool) -> None:
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=2.4, foreground=(0, 0, 0, 0.55))]
    for label, particle in enumerate(scene.ids.tolist(), 1):
        shade = _unit(colour(particle))
        tail = scene.tails.get(particle)
        if tail is not None and len(tail) > 1:
            axes.plot(tail[:, 1], tail[:, 0], color=shade, linewidth=0.9, alpha=0.9, path_effects=halo)
        contours = outline(scene.labels, label)
        for contour in contours:
            axes.plot(contour[:, 1], contour[:, 0], color=shade, linewidth=1.1, path_effects=halo)
        if numbers and contours:
            top = min(contours, key=lambda c: float(c[:, 0].min()))
            y, x = top[top[:, 0].argmin()]
            place: dict[str, Any] = {"ha": "center", "va": "bottom", "fontweight": "bold", "path_effects": _text_halo()}
            axes.text(x, y - 2, str(particle), color=shade, fontsize=5.5, **place)


def _draw_marks(axes: Axes, marks: Sequence[Mark], apart: tuple[float, float]) -> None:
    """Ring every mark, and name it where no earlier one of `marks` lies nearer than `apart` (y, x) px."""
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=3.0, foreground=(0, 0, 0, 0.8))]
    for k, mark in enumerate(marks):
        shade = _unit(event_colour(mark.kind))
        axes.plot(
            mark.x, mark.y, "o", markersize=26, fillstyle="none", color=shade, markeredgewidth=1.4, path_effects=halo
        )
        if any(abs(mark.y - m.y) < apart[0] and abs(mark.x - m.x) < apart[1] for m in marks[:k]):
            continue
        axes.annotate(
            mark.kind,
            (mark.x, mark.y),
            xytext=(14, 12),
            textcoords="offset points",
            color=shade,
            fontsize=8,
            fontweight="bold",
            path_effects=_text_halo(),
            annotation_clip=True,
        )


def _draw_strip(axes: Axes, scene: Scene, width: int) -> None:
    """Draw the strip under the image: scale bar, caption, number of particles."""
    left = 0.02 * width
    if scene.nm_per_px is not None:
        length, text = bar_length(width, scene.nm_per_px)
        axes.plot([left, left + length], [0.5, 0.5], color="white", linewidth=3, solid_capstyle="butt")
        axes.text(left + length + 0.012 * width, 0.48, text, color="white", fontsize=9, va="center")
    axes.text(0.5 * width, 0.48, scene.caption, color="white", fontsize=9, ha="center", va="center")
    axes.text(0.98 * width, 0.48, count_of(scene), color="white", fontsize=9, ha="right", va="center")


def _text_halo() -> list[Any]:
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=1.6, foreground="black")]


def _unit(shade: tuple[int, int, int]) -> tuple[float, float, float]:
    return shade[0] / 255, shade[1] / 255, shade[2] / 255
