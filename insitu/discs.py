"""Particles known by place and area only, drawn as discs, so that their outlines can be compared between frames."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.runs import MAX_LABELS, runs_of_labels
from insitu.types import Measured, Particles

if TYPE_CHECKING:
    from numpy.typing import NDArray


def discs(
    places: NDArray[np.float64], area: NDArray[np.float64], shape: tuple[int, int], origin: tuple[int, int]
) -> tuple[Measured, NDArray[np.int64]]:
    """Draw the particles of a frame as discs, the smaller ones on top.

    Returns
    -------
    Measured
        With the given positions and areas; what is not known of the particles is NaN.
    int64 array
        The rows that have a pixel in the region, in the order of the particles of the first.
    """
    image = np.zeros(shape, np.int32)
    radius = np.sqrt(area / np.pi)
    order = np.argsort(-area, kind="stable")
    order = order[np.isfinite(places[order]).all(axis=1)][:MAX_LABELS]
    for row in order.tolist():
        # A disc without a pixel centre inside still has the pixel that it lies on.
        y, x, r = places[row, 0] - origin[0], places[row, 1] - origin[1], max(float(radius[row]), 0.71)
        y0, x0 = max(0, ceil(y - r)), max(0, ceil(x - r))
        y1, x1 = min(shape[0], floor(y + r) + 1), min(shape[1], floor(x + r) + 1)
        if y1 > y0 and x1 > x0:
            ys, xs = np.ogrid[y0:y1, x0:x1]
            image[y0:y1, x0:x1][(ys - y) ** 2 + (xs - x) ** 2 <= r * r] = row + 1
    values, first = np.unique(image, return_index=True)
    in_raster_order = values[np.argsort(first, kind="stable")]
    kept = in_raster_order[in_raster_order > 0].astype(np.int64) - 1
    return Measured(runs_of_labels(image, origin=origin), _known(places[kept], area[kept], shape, origin), 0), kept


def _known(
    places: NDArray[np.float64], area: NDArray[np.float64], shape: tuple[int, int], origin: tuple[int, int]
) -> Particles:
    """Return the columns that positions and areas give."""
    n, radius = len(area), np.sqrt(area / np.pi)
    low = np.maximum(np.ceil(places - radius[:, None]), origin).astype(np.int32)
    high = np.minimum(np.floor(places + radius[:, None]) + 1, np.add(origin, shape)).astype(np.int32)
    high = np.maximum(high, low + 1)
    unknown = np.full(n, np.nan)
    names = ("major_axis_px", "minor_axis_px", "eccentricity", "orientation_rad", "perimeter_px", "circularity")
    empty: dict[str, Any] = dict.fromkeys((*names, "mean_intensity", "mean_probability"), unknown)
    return replace(
        Particles.empty(),
        label=np.arange(1, n + 1).astype(np.uint16),
        y=places[:, 0],
        x=places[:, 1],
        area_px=np.maximum(np.rint(area), 1).astype(np.int32),
        equivalent_diameter_px=2 * radius,
        bbox_y0=low[:, 0],
        bbox_x0=low[:, 1],
        bbox_y1=high[:, 0],
        bbox_x1=high[:, 1],
        touches_edge=((low <= origin) | (high >= np.add(origin, shape))).any(axis=1),
        composite=np.zeros(n, np.bool_),
        **empty,
    )
