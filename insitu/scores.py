"""How well masks, particles and sizes agree with the truth: plain counts that add up over images, and what follows.

Every score is computed from counts of all images together, never as a mean of images, unless it says so; where nothing
was there or nothing was claimed it is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

STEPS = 256
THRESHOLDS = np.arange(STEPS) / STEPS


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pixels (or particles) by truth and by what was found: true and false positives, false and true negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def accuracy(self) -> float:
        """Share of all that is right."""
        return _share(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def precision(self) -> float:
        """Share of what was found that is true."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of what is true that was found."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Dice coefficient 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Jaccard index TP / (TP + FP + FN)."""
        return _share(self.tp, self.tp + self.fp + self.fn)

    def as_dict(self) -> dict[str, float]:
        """Return counts and scores."""
        counts: dict[str, float] = {f.name: getattr(self, f.name) for f in fields(self)}
        return counts | {name: getattr(self, name) for name in ("accuracy", "precision", "recall", "f1", "iou")}


def confusion(truth: NDArray[Any], found: NDArray[Any], counted: NDArray[np.bool_] | None = None) -> Confusion:
    """Compare two masks pixel by pixel.

    Parameters
    ----------
    truth, found : arrays of one shape
        Nonzero inside particles.
    counted : bool array, optional
        Pixels that say something; all by default.
    """
    _same_shape(truth, found)
    true, seen = truth != 0, found != 0
    if counted is not None:
        true, seen = true[counted], seen[counted]
    tp, n_true, n_seen = (int(np.count_nonzero(m)) for m in (true & seen, true, seen))
    return Confusion(tp, n_seen - tp, n_true - tp, true.size - n_true - n_seen + tp)


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Pixels by probability, inside and outside of true particles: all thresholds k/256 at the cost of one.

    Attributes
    ----------
    inside, outside : int64 arrays of shape (257,)
        Entry b counts the pixels with (b - 1)/256 < p ≤ b/256: above threshold k/256 lie all with b > k.
    """

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]

    @classmethod
    def of(cls, probability: NDArray[Any], truth: NDArray[Any], counted: NDArray[np.bool_] | None = None) -> Sweep:
        """Count one image.

        Parameters
        ----------
        probability : float array
            0…1; NaN counts as 0.
        truth : array of the same shape
            Nonzero inside particles.
        counted : bool array, optional
            Pixels that say something; all by default.
        """
        _same_shape(probability, truth)
        p, true = np.asarray(probability, np.float32), truth != 0
        if counted is not None:
            p, true = p[counted], true[counted]
        step = np.ceil(np.nan_to_num(p).clip(0, 1) * np.float32(STEPS)).astype(np.int16)
        counts = np.bincount((step + np.where(true, STEPS + 1, 0).astype(np.int16)).ravel(), minlength=2 * (STEPS + 1))
        return cls(inside=counts[STEPS + 1 :], outside=counts[: STEPS + 1])

    @classmethod
    def none(cls) -> Sweep:
        """Return the sweep over no pixel."""
        return cls(np.zeros(STEPS + 1, np.int64), np.zeros(STEPS + 1, np.int64))

    def __add__(self, other: Sweep) -> Sweep:
        return Sweep(self.inside + other.inside, self.outside + other.outside)

    def at(self, threshold: float) -> Confusion:
        """Return the counts for p > `threshold`, which is rounded to the nearest k/256."""
        k = min(max(round(threshold * STEPS), 0), STEPS)
        tp, fp = int(self.inside[k + 1 :].sum()), int(self.outside[k + 1 :].sum())
        return Confusion(tp, fp, int(self.inside.sum()) - tp, int(self.outside.sum()) - fp)

    def curves(self) -> dict[str, NDArray[Any]]:
        """Return threshold, counts and scores as columns of 256 rows."""
        rows = [self.at(t).as_dict() for t in THRESHOLDS]
        return {"threshold": THRESHOLDS} | {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def best(self, score: str = "f1") -> float:
        """Return the threshold at which a score is highest; the middle one of several; NaN without a true pixel."""
        value = self.curves()[score]
        if np.isnan(value).all():
            return float("nan")
        top = np.flatnonzero(value == np.nanmax(value))
        return float(THRESHOLDS[top[len(top) // 2]])

    def otsu(self) -> float:
        """Return the threshold that separates the probabilities best (Otsu 1979, 10.1109/TSMC.1979.4310076).

        It asks no truth. NaN where all probabilities are alike.
        """
        count = (self.inside + self.outside).astype(np.float64)
        level = np.append(0.0, THRESHOLDS + 0.5 / STEPS)
        below, total = np.cumsum(count)[:-1], count.sum()
        first = np.cumsum(count * level)[:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            between = (first * total - below * (count * level).sum()) ** 2 / (below * (total - below))
        if np.isnan(between).all():
            return float("nan")
        top = np.flatnonzero(between >= np.nanmax(between) * (1 - 1e-12))
        return float(THRESHOLDS[top[len(top) // 2]])


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """True and found particles of one or many images, paired one to one where their IoU exceeds 0.5.

    Above 0.5 a particle has at most one partner, so no choice has to be made.

    Attributes
    ----------
    true_area, found_area : int64 arrays of shape (n,), (m,)
        In px.
    partner : int64 array of shape (m,)
        Row of the true particle of each found one, −1 for none.
    iou : float64 array of shape (m,)
        Overlap with it, 0 without.
    inside : int64 array of shape (m,)
        Pixels of each found particle that are of any true one.
    confidence : float64 array of shape (m,)
        How sure each is; all 1 where nothing was said.
    aside : int
        Found particles that lie for the most part where nothing is known: neither right nor wrong, in no other count.
    """

    true_area: NDArray[np.int64]
    found_area: NDArray[np.int64]
    partner: NDArray[np.int64]
    iou: NDArray[np.float64]
    inside: NDArray[np.int64]
    confidence: NDArray[np.float64]
    aside: int = 0

    @classmethod
    def none(cls) -> Objects:
        """Return the particles of no image."""
        whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
        return cls(whole, whole, whole, real, whole, real)

    def __add__(self, other: Objects) -> Objects:
        moved = np.where(other.partner >= 0, other.partner + len(self.true_area), -1)
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)[:-1]}
        pairs["partner"] = (self.partner, moved)
        return Objects(**{k: np.concatenate(v) for k, v in pairs.items()}, aside=self.aside + other.aside)

    def without_small(self, min_area_px: int) -> Objects:
        """Return the same with found particles below an area left out; true ones stay, and are missed."""
        keep = self.found_area >= min_area_px
        found = {f.name: getattr(self, f.name)[keep] for f in fields(self)[1:-1]}
        return Objects(self.true_area, **found, aside=self.aside)

    @property
    def counts(self) -> Confusion:
        """Particles right, false and missed (there are no true negatives)."""
        right = int(np.count_nonzero(self.partner >= 0))
        return Confusion(right, len(self.found_area) - right, len(self.true_area) - right)

    @property
    def pixels(self) -> Confusion:
        """Pixels of found particles by whether they are of any true one (without true negatives)."""
        tp = int(self.inside.sum())
        return Confusion(tp, int(self.found_area.sum()) - tp, int(self.true_area.sum()) - tp)

    @property
    def segmentation_quality(self) -> float:
        """Mean IoU of the pairs."""
        right = self.partner >= 0
        return float(self.iou[right].mean()) if right.any() else float("nan")

    @property
    def panoptic_quality(self) -> float:
        """F1 times mean IoU of the pairs (Kirillov et al. 2019, 10.1109/CVPR.2019.00963)."""
        return 0.0 if self.counts.f1 == 0 else self.counts.f1 * self.segmentation_quality

    @property
    def ap50(self) -> float:
        """Average precision at IoU 0.5, the most confident first, over 101 recalls (Lin et al. 2014, COCO)."""
        if not len(self.true_area):
            return float("nan")
        order = np.argsort(-self.confidence, kind="stable")
        right = np.cumsum(self.partner[order] >= 0)
        precision = np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]
        place = np.searchsorted(right / len(self.true_area), np.linspace(0, 1, 101), side="left")
        return float(np.append(precision, 0.0)[np.minimum(place, len(precision))].mean())

    @property
    def diameter_bias_percent(self) -> float:
        """Mean of (found − true) / true equivalent diameter over the pairs."""
        error = self._diameter_errors()
        return float(100 * error.mean()) if len(error) else float("nan")

    @property
    def diameter_rms_percent(self) -> float:
        """Root mean square of the same, bias included."""
        error = self._diameter_errors()
        return float(100 * np.sqrt((error**2).mean())) if len(error) else float("nan")

    @property
    def size_distance_px(self) -> float:
        """Wasserstein distance of the two distributions of equivalent diameters: px by which a particle must change."""
        return distribution_distance(diameter(self.true_area), diameter(self.found_area))

    def _diameter_errors(self) -> NDArray[np.float64]:
        right = self.partner >= 0
        true, found = diameter(self.true_area[self.partner[right]]), diameter(self.found_area[right])
        return found / true - 1

    def as_dict(self) -> dict[str, float]:
        """Return counts and scores."""
        counts = self.counts
        own = ("segmentation_quality", "panoptic_quality", "ap50")
        sizes = ("diameter_bias_percent", "diameter_rms_percent", "size_distance_px")
        return {
            "truth": counts.tp + counts.fn,
            "found": counts.tp + counts.fp,
            "matched": counts.tp,
            "set_aside": self.aside,
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
        } | {name: getattr(self, name) for name in (*own, *sizes)}


def objects(
    truth: NDArray[Any],
    found: NDArray[Any],
    *,
    confidence: ArrayLike | None = None,
    counted: NDArray[np.bool_] | None = None,
) -> Objects:
    """Pair the particles of two label images.

    Parameters
    ----------
    truth, found : integer arrays of one shape
        0 outside; any other value is one particle, in however many pieces.
    confidence : array, optional
        Of each found particle, in order of its label.
    counted : bool array, optional
        Where the truth is known. A found particle with more than half of its pixels elsewhere is set aside; of the
        others only pixels in it are compared.
    """
    _same_shape(truth, found)
    a, b = _numbered(truth), _numbered(found)
    n, m = int(a.max(initial=0)), int(b.max(initial=0))
    sure = np.ones(m) if confidence is None else np.asarray(confidence, np.float64)
    if sure.shape != (m,):
        raise ValueError(f"{m} particles need as many values of confidence, not shape {sure.shape}")
    keep = np.ones(m, np.bool_)
    if counted is not None:
        size = np.bincount(b.ravel(), minlength=m + 1)[1:]
        known = np.bincount(b[counted], minlength=m + 1)[1:]
        keep = 2 * known >= size
        a, b = a[counted], b[counted]
        a = _numbered(a)
        n = int(a.max(initial=0))
    cell = np.bincount(a.ravel() * np.int64(m + 1) + b.ravel())
    at = np.flatnonzero(cell)
    row, column, shared = at // (m + 1), at % (m + 1), cell[at]
    true_area, found_area = _sums(row, shared, n + 1), _sums(column, shared, m + 1)
    both = (row > 0) & (column > 0)
    row, column, shared = row[both], column[both], shared[both]
    overlap = shared / (true_area[row] + found_area[column] - shared)
    pair = overlap > 0.5
    partner, iou = np.full(m, -1), np.zeros(m)
    partner[column[pair] - 1], iou[column[pair] - 1] = row[pair] - 1, overlap[pair]
    inside = _sums(column, shared, m + 1)[1:]
    return Objects(
        true_area[1:], found_area[1:][keep], partner[keep], iou[keep], inside[keep], sure[keep], int((~keep).sum())
    )


def diameter(area: NDArray[Any]) -> NDArray[np.float64]:
    """Return the diameter of the disc of an area."""
    return np.asarray(np.sqrt(4 / np.pi * area))


def distribution_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the first Wasserstein distance of two samples: the area between their cumulative distributions."""
    if not len(a) or not len(b):
        return float("nan")
    places = np.sort(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(s), places[:-1], side="right") / len(s) for s in (a, b)]
    return float(np.sum(np.abs(below[0] - below[1]) * np.diff(places)))


def _numbered(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return labels as 0…n without holes, 0 staying 0."""
    if labels.dtype.kind not in "biu":
        raise ValueError(f"labels are integers, not {labels.dtype}")
    if labels.size and labels.min() < 0:
        raise ValueError("labels are integers ≥ 0")
    most = int(labels.max(initial=0))
    if most > labels.size + 65_535:  # a table of all values would be larger than the image
        values = np.unique(np.append(labels.ravel(), labels.dtype.type(0)))
        return np.asarray(np.searchsorted(values, labels), np.int64)
    present = np.zeros(most + 1, np.bool_)
    present[labels.ravel().astype(np.intp, copy=False)] = True
    present[0] = False
    return np.asarray(np.cumsum(present)[labels.astype(np.intp, copy=False)], np.int64)


def _sums(place: NDArray[np.int64], values: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    total = np.zeros(n, np.int64)
    np.add.at(total, place, values)
    return total


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _same_shape(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"an image of shape {b.shape} cannot be compared with one of shape {a.shape}")
