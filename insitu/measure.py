"""Labelled runs → the particles of a frame: closed sums over runs, never a pass over pixels.

Every quantity equals `skimage.measure.regionprops` (0.26). Second moments are summed as integers about the frame's
corner and shifted, still as integers, to the pixel nearest the centroid: nothing cancels, and no order of summation
changes a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.runs import MAX_LABELS, lines_of, require_labels, select
from insitu.runs.loops import fastest
from insitu.types import Measured, Particles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.options import MeasureOptions
    from insitu.types import Runs

FLAG_TOO_MANY = "too many particles"


STEP_LENGTHS = np.array([1.0, np.sqrt(2.0), (1.0 + np.sqrt(2.0)) / 2.0])  # px, of the kinds in `step_kinds`


def measure(runs: Runs, options: MeasureOptions) -> Measured:
    """Measure every particle of a frame.

    Parameters
    ----------
    runs : Runs
        Labelled, with the sums of counts and probabilities where these columns are wanted (NaN otherwise).
    options : MeasureOptions
        `min_area_px` in camera pixels; `perimeter` False gives NaN for perimeter and circularity; `split` cuts outlines
        of particles that touch before they are measured.

    Returns
    -------
    Measured
        Particles in full-frame camera pixels and the runs they were measured from, numbered alike. Components below
        `min_area_px` are left out and counted. Of more than 65 535 particles the smallest are left out (among equals,
        the later in raster order) and the frame is flagged ``"too many particles"``.

    Raises
    ------
    ValueError
        The runs are not labelled.
    """
    require_labels(runs)
    if options.split == "watershed":
        from insitu.runs.split import split

        runs = split(runs, min_area_px=options.min_area_px)
    sums, box = fastest().moments(lines_of(runs), runs.label, runs.n_labels)
    keep = sums[:, 0] * runs.bin**2 >= options.min_area_px
    n_small = int(len(keep) - np.count_nonzero(keep))
    flags: tuple[str, ...] = ()
    if len(keep) - n_small > MAX_LABELS:
        largest = np.argsort(-sums[:, 0], kind="stable")[:MAX_LABELS]  # all of them pass `min_area_px`
        keep = np.zeros_like(keep)
        keep[largest] = True
        flags = (FLAG_TOO_MANY,)
    kept = select(runs, keep)
    return Measured(kept, _particles(kept, sums[keep], box[keep], perimeter=options.perimeter), n_small, flags)


def _particles(runs: Runs, sums: NDArray[np.int64], box: NDArray[np.int32], *, perimeter: bool) -> Particles:
    """Turn the sums of the kept components into columns, in camera pixels."""
    n, side = runs.n_labels, runs.bin
    pixels = sums[:, 0]
    area = pixels * side**2
    centre = sums[:, 1:3] / pixels[:, None]
    major, minor, eccentricity, orientation = _ellipse(sums)
    outline = _perimeter(runs) if perimeter else np.full(n, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        circularity = np.where(outline > 0, 4 * np.pi * pixels / outline**2, np.nan)
    corners = box * np.int32(side) + np.array([*runs.origin, *runs.origin], np.int32)
    height, width = runs.shape
    edge = (box[:, 0] == 0) | (box[:, 1] == 0) | (box[:, 2] == height) | (box[:, 3] == width)
    return Particles(
        label=np.arange(1, n + 1, dtype=np.uint16),
        y=centre[:, 0] * side + (side - 1) / 2 + runs.origin[0],
        x=centre[:, 1] * side + (side - 1) / 2 + runs.origin[1],
        area_px=area.astype(np.int32),
        equivalent_diameter_px=np.sqrt(4 * area / np.pi),
        major_axis_px=major * side,
        minor_axis_px=minor * side,
        eccentricity=eccentricity,
        orientation_rad=orientation,
        perimeter_px=outline * side,
        circularity=circularity,
        bbox_y0=corners[:, 0].copy(),
        bbox_x0=corners[:, 1].copy(),
        bbox_y1=corners[:, 2].copy(),
        bbox_x1=corners[:, 3].copy(),
        mean_intensity=_mean(runs, runs.intensity_sum, area),
        mean_probability=_mean(runs, runs.probability_sum, pixels) / 65535,
        touches_edge=edge,
        composite=np.zeros(n, np.bool_),
    )


def _mean(runs: Runs, per_run: NDArray[np.int64] | None, area: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sum per label over its area; NaN where there are no sums."""
    if per_run is None:
        return np.full(runs.n_labels, np.nan)
    return np.asarray(fastest().totals(runs.label, per_run, runs.n_labels) / area, np.float64)


def _ellipse(sums: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Return major and minor axis (mask px), eccentricity and orientation of the ellipse of equal second moments.

    The axes are 4 √λ of the eigenvalues λ of the covariance of the pixel centres; the orientation is the angle from the
    y axis to the major axis, counter-clockwise, ±π/4 where both variances are equal (scikit-image's convention).
    """
    n, y, x, yy, xy, xx = sums.T
    near_y, near_x = (2 * y + n) // (2 * n), (2 * x + n) // (2 * n)
    rest_y, rest_x = (y - near_y * n) / n, (x - near_x * n) / n  # centroid from the nearest pixel: at most half a pixel
    var_y = (yy - 2 * near_y * y + near_y**2 * n) / n - rest_y**2
    var_x = (xx - 2 * near_x * x + near_x**2 * n) / n - rest_x**2
    covariance = (xy - near_y * x - near_x * y + near_y * near_x * n) / n - rest_y * rest_x
    half = (var_y + var_x) / 2
    spread = np.sqrt(((var_y - var_x) / 2) ** 2 + covariance**2)
    large, small = half + spread, np.maximum(half - spread, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        eccentricity = np.where(large > 0, np.sqrt(np.minimum(2 * spread / large, 1.0)), 0.0)
    tilted = np.where(covariance > 0, np.pi / 4, -np.pi / 4)
    orientation = np.where(var_y == var_x, tilted, 0.5 * np.arctan2(2 * covariance, var_y - var_x))
    return 4 * np.sqrt(large), 4 * np.sqrt(small), eccentricity, orientation


def _perimeter(runs: Runs) -> NDArray[np.float64]:
    """Return the perimeter of each label in mask px, as `skimage.measure.perimeter` gives it for the label alone."""
    steps = fastest().border_steps(lines_of(runs), runs.label, runs.n_labels, runs.shape)
    return np.asarray(steps @ STEP_LENGTHS, np.float64)
