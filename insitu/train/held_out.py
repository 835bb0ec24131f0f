"""Score a model on the labelled real sets, as a run with default settings would see them.

Gold: pixel IoU and the distance of the edge. Catalysts: F1 of centroids in boxes, one to one. EMPS: recall and
precision of instances at IoU ≥ 0.5 (then one to one by itself).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from insitu.models.network import Network
    from insitu.train.labelled import Labelled
    from insitu.types import Model, Prepared

    Labels = NDArray[np.int32]

LEAST_AREA_PX = 20  # measure.min_area_px
_IOU = 0.5
# What the operating point is chosen among: thresholds, and how much higher a piece must reach somewhere.
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
RISES = (0.0, 0.15, 0.3)
_BETA = 2.0


@dataclass(frozen=True, slots=True)
class Instances:
    """Instances found, true and reported."""

    found: int
    true: int
    reported: int

    @property
    def recall(self) -> float:
        """Share of the true instances that were found."""
        return self.found / max(self.true, 1)

    @property
    def precision(self) -> float:
        """Share of the reported instances that are true; unlabelled particles count against it."""
        return self.found / max(self.reported, 1)

    def and_more(self, other: Instances) -> Instances:
        """Return the counts of both together."""
        return Instances(self.found + other.found, self.true + other.true, self.reported + other.reported)

    @property
    def f2(self) -> float:
        """F measure in which recall weighs twice as much as precision: what is unlabelled counts as false."""
        weight = _BETA**2
        return (1.0 + weight) * self.found / max(weight * self.true + self.reported, 1.0)


def labels_of(image: NDArray[Any], model: Model, *, split: bool = False, threshold: float | None = None) -> Labels:
    """Return the label image (H, W) of one raw image as a run makes it; touching particles cut apart where `split`."""
    return _found(prepared(image), model, split=split, threshold=threshold)


def prepared(image: NDArray[Any]) -> Prepared:
    """Return one raw image as a run with default settings prepares it."""
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference

    options = PrepareOptions()
    return prepare(image[None], options, reference([(0, image)], options))


def _found(ready: Prepared, model: Model, *, split: bool, threshold: float | None = None) -> Labels:
    from insitu.options import SegmentOptions
    from insitu.runs import components, paint
    from insitu.runs.split import split as cut
    from insitu.segment import segment

    runs = components(segment(ready, model, SegmentOptions(threshold=threshold))[0].runs)
    return large(paint(cut(runs, min_area_px=LEAST_AREA_PX) if split else runs).astype(np.int32))


def large(labels: Labels) -> Labels:
    """Return a label image without the pieces below `LEAST_AREA_PX`, numbered anew."""
    area = np.bincount(labels.ravel())
    area[0] = 0
    keep = area >= LEAST_AREA_PX
    return np.asarray(np.where(keep, np.cumsum(keep), 0)[labels], np.int32)


def instances(truth: NDArray[np.int32], found: NDArray[np.int32]) -> Instances:
    """Match two label images (H, W) at IoU ≥ 0.5."""
    count = int(found.max())
    true_area, area = np.bincount(truth.ravel()), np.bincount(found.ravel(), minlength=count + 1)
    pair, shared = np.unique(truth.ravel().astype(np.int64) * (count + 1) + found.ravel(), return_counts=True)
    i, j = pair // (count + 1), pair % (count + 1)
    hit = (i > 0) & (j > 0) & (shared >= _IOU * (true_area[i] + area[j] - shared))
    return Instances(int(hit.sum()), int((true_area[1:] > 0).sum()), int((area[1:] > 0).sum()))


def gold_scores(
    model: Model, found: Iterable[Labelled], threshold: float | None = None
) -> tuple[list[float], list[float]]:
    """Return IoU, and how far the found edge lies outside the labelled one (px, on average), of every crop."""
    iou, edge = [], []
    for one in found:
        truth, mask = one.labels > 0, labels_of(one.image, model, threshold=threshold) > 0
        iou.append(float((truth & mask).sum() / max((truth | mask).sum(), 1)))
        edge.append(edge_offset(truth, mask))
    return iou, edge


def edge_offset(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Return the mean distance (px) by which the found outline lies outside the true one: areas over outline length.

    The length is counted as crossings of rows and columns, times π/4 (Cauchy and Crofton).
    """
    crossings = sum(int((np.diff(truth, axis=axis)).sum()) for axis in (0, 1))
    return (int(found.sum()) - int(truth.sum())) / max(np.pi / 4 * crossings, 1.0)


def box_scores(
    model: Model, samples: Path, *, split: bool = False, threshold: float | None = None
) -> dict[str, tuple[float, float, float]]:
    """Return precision, recall and F1 of every image of supported catalysts: centroid inside the box, one to one."""
    from insitu.train.labelled import box_corners, boxes

    folder = samples / "segmentation" / "supported_catalyst_stem_boxes"
    scores = {}
    for one in boxes(samples):
        corners = box_corners(folder / f"{one.name}.txt", one.image.shape)
        scores[one.name] = matched_boxes(labels_of(one.image, model, split=split, threshold=threshold), corners)
    return scores


def matched_boxes(labels: NDArray[np.int32], corners: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return precision, recall and F1 for particles of a label image and boxes (n, 4)."""
    from scipy import ndimage
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    number = np.unique(labels)[1:]
    if not number.size:
        return 0.0, 0.0, 0.0
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, number)) + 0.5
    y0, x0, y1, x1 = corners.T
    y, x = centres[:, :1], centres[:, 1:]
    inside = (y >= y0) & (y <= y1) & (x >= x0) & (x <= x1)
    hits = int((maximum_bipartite_matching(csr_matrix(inside)) >= 0).sum())
    precision, recall = hits / len(centres), hits / len(corners)
    return precision, recall, 2 * hits / (len(centres) + len(corners))


def emps_scores(
    model: Model, found: Iterable[Labelled], *, split: bool = False, threshold: float | None = None
) -> Instances:
    """Return the instances of all images together."""
    each = [instances(one.labels, labels_of(one.image, model, split=split, threshold=threshold)) for one in found]
    return Instances(sum(e.found for e in each), sum(e.true for e in each), sum(e.reported for e in each))


def operating_point(model: Network, found: Sequence[Labelled]) -> tuple[float, float, dict[str, float]]:
    """Choose threshold and hysteresis by the instances of labelled images, touching ones cut apart.

    Parameters
    ----------
    model : Network
        Left at the chosen point.
    found : sequence of Labelled
        Images that the model has learned from: no score of them is quoted.

    Returns
    -------
    threshold, seed : float
        With the largest `Instances.f2`.
    scores : dict
        ``"threshold/seed"`` → that measure.
    """
    points = [(t, round(min(0.95, t + rise), 2)) for t in THRESHOLDS for rise in RISES]
    counts = dict.fromkeys(points, Instances(0, 0, 0))
    for one in found:
        ready, known = prepared(one.image), _Once(model)
        for known.threshold, known.seed in points:
            at = known.threshold, known.seed
            counts[at] = counts[at].and_more(instances(one.labels, _found(ready, known, split=True)))
    model.threshold, model.seed = max(points, key=lambda at: counts[at].f2)
    return model.threshold, model.seed, {f"{t}/{s}": round(counts[t, s].f2, 3) for t, s in points}


class _Once:
    """A model of one image: asked again, it remembers."""

    def __init__(self, model: Network) -> None:
        self.name, self.reduced, self.sees = model.name, model.reduced, model.sees
        self.threshold, self.seed = model.threshold, model.seed
        self._model = model
        self._known: torch.Tensor | None = None

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        if self._known is None:
            self._known = self._model.probabilities(images)
        return self._known
