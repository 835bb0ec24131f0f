"""Were the particles found, and are they measured right: one-to-one matching of truth and found, frame by frame.

Two kinds of particle say nothing about the method and are set aside, and counted as such: true particles below a stated
visible size, and particles at the border of the image, whose part outside is unknown. A found particle that matches one
of these is neither right nor wrong.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_FAR = 1e9  # cost of a pair beyond the gate: dearer than any sum of distances, so as many pairs as possible are made


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Which row of the truth is which row of the found table.

    Attributes
    ----------
    truth, found : int64 arrays of shape (m,)
        Row numbers (positions, not index labels) of the m pairs, in frame order.
    distance_px : float64 array of shape (m,)
        Distance of the two centroids.
    counted : bool array of shape (m,)
        Pairs whose true particle is not set aside.
    missed, false : int64 arrays
        Rows of the truth and of the found table that stayed alone and count as errors.
    truth_aside, found_aside : int
        Rows of either table that are neither right nor wrong.
    settings : dict
        How the matching was made.
    """

    truth: NDArray[np.int64]
    found: NDArray[np.int64]
    distance_px: NDArray[np.float64]
    counted: NDArray[np.bool_]
    missed: NDArray[np.int64]
    false: NDArray[np.int64]
    truth_aside: int
    found_aside: int
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectScores:
    """Detection and measuring, over all frames; NaN where there is nothing to judge.

    `radius_bias` is the mean of found − true radius and `radius_rms` the root of its mean square (bias included), over
    matched particles that do not touch the border in either table; `centroid_rms_px` is that of the centroid distance.
    """

    truth: int
    found: int
    matched: int
    missed: int
    false: int
    truth_aside: int
    found_aside: int
    precision: float
    recall: float
    f1: float
    radius_bias_px: float
    radius_bias_percent: float
    radius_rms_px: float
    radius_rms_percent: float
    centroid_rms_px: float
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return asdict(self)


def match(truth: pd.DataFrame, found: pd.DataFrame, *, gate_px: float = 3.0, min_diameter_px: float = 0.0) -> Matching:
    """Pair true and found particles one to one in every frame: as many as possible, at the least sum of distances.

    Parameters
    ----------
    truth, found : DataFrame
        Columns ``frame, y, x, equivalent_diameter_px, touches_edge`` (px, as in the run's particles table). Frames that
        occur in neither are of no consequence; a frame in one table only is all missed or all false.
    gate_px : float
        A pair lies within the larger of this and the true radius, in px.
    min_diameter_px : float
        True particles smaller than this are set aside.

    Returns
    -------
    Matching
    """
    aside = truth["touches_edge"].to_numpy(bool) | (truth["equivalent_diameter_px"].to_numpy(float) < min_diameter_px)
    gates = np.maximum(gate_px, truth["equivalent_diameter_px"].to_numpy(float) / 2)
    rows_truth, rows_found = _rows_by_frame(truth), _rows_by_frame(found)
    places_truth, places_found = _places(truth), _places(found)
    pairs: list[NDArray[np.int64]] = []
    for frame in sorted(rows_truth.keys() & rows_found.keys()):
        t, f = rows_truth[frame], rows_found[frame]
        i, j = _assigned(places_truth[t], places_found[f], gates[t])
        pairs.append(np.stack([t[i], f[j]]))
    joined = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), np.int64)
    distance = np.hypot(*(places_truth[joined[0]] - places_found[joined[1]]).T)
    alone_truth = np.setdiff1d(np.arange(len(truth)), joined[0])
    alone_found = np.setdiff1d(np.arange(len(found)), joined[1])
    at_edge = found["touches_edge"].to_numpy(bool)
    return Matching(
        truth=joined[0],
        found=joined[1],
        distance_px=distance,
        counted=~aside[joined[0]],
        missed=alone_truth[~aside[alone_truth]],
        false=alone_found[~at_edge[alone_found]],
        truth_aside=int(aside.sum()),
        found_aside=int(aside[joined[0]].sum() + at_edge[alone_found].sum()),
        settings={"gate_px": gate_px, "min_diameter_px": min_diameter_px, "edge": "set aside"},
    )


def score(truth: pd.DataFrame, found: pd.DataFrame, matching: Matching) -> ObjectScores:
    """Turn a matching of the two tables into scores."""
    pairs = matching.counted
    matched = int(pairs.sum())
    precision, recall, f1 = ratios(matched, len(matching.false), len(matching.missed))
    sized = pairs & ~found["touches_edge"].to_numpy(bool)[matching.found]
    true_radius = truth["equivalent_diameter_px"].to_numpy(float)[matching.truth[sized]] / 2
    error = found["equivalent_diameter_px"].to_numpy(float)[matching.found[sized]] / 2 - true_radius
    return ObjectScores(
        truth=matched + len(matching.missed),
        found=matched + len(matching.false),
        matched=matched,
        missed=len(matching.missed),
        false=len(matching.false),
        truth_aside=matching.truth_aside,
        found_aside=matching.found_aside,
        precision=precision,
        recall=recall,
        f1=f1,
        radius_bias_px=_mean(error),
        radius_bias_percent=_mean(100 * error / true_radius),
        radius_rms_px=_mean(error**2) ** 0.5,
        radius_rms_percent=_mean((100 * error / true_radius) ** 2) ** 0.5,
        centroid_rms_px=_mean(matching.distance_px[pairs] ** 2) ** 0.5,
        settings=matching.settings,
    )


def ratios(right: int, false: int, missed: int) -> tuple[float, float, float]:
    """Return precision, recall and F1 = 2 TP / (2 TP + FP + FN); NaN where nothing was claimed or nothing was there."""

    def share(part: float, whole: float) -> float:
        return part / whole if whole else float("nan")

    return share(right, right + false), share(right, right + missed), share(2 * right, 2 * right + false + missed)


def _assigned(
    truth: NDArray[np.float64], found: NDArray[np.float64], gates: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs (rows of `truth` (n, 2), rows of `found` (m, 2)) of the optimal assignment within the gates."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(truth, found)
    cost[cost > gates[:, None]] = _FAR
    i, j = linear_sum_assignment(cost)
    near = cost[i, j] < _FAR
    return i[near], j[near]


def _rows_by_frame(table: pd.DataFrame) -> dict[int, NDArray[np.int64]]:
    """Return the row numbers of every frame."""
    frames = table["frame"].to_numpy()
    order = np.argsort(frames, kind="stable")
    values, starts = np.unique(frames[order], return_index=True)
    return {int(v): rows for v, rows in zip(values, np.split(order, starts[1:]), strict=True)} if len(values) else {}


def _places(table: pd.DataFrame) -> NDArray[np.float64]:
    return table[["y", "x"]].to_numpy(float)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
