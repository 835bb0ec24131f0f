"""What a model gets right on a set: pixels at every threshold, objects at one, with a size filter and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.scores import Objects, Sweep, diameter, objects
from insitu.study.sets import numbered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from insitu.study.sets import Example
    from insitu.types import Model

VERSION = 2
"""Of what a score file holds; it is a part of its fingerprint."""
HALF = 0.5


def probability(model: Model, example: Example) -> NDArray[np.float32]:
    """Return the probability of every px of the full image, (H, W); a shrunken image's is repeated."""
    import torch

    from insitu.segment import probabilities

    with torch.inference_mode():
        p = probabilities(model, torch.from_numpy(example.image)[None])[0].numpy()
    n = example.shrink
    return np.asarray(np.repeat(np.repeat(p, n, 0), n, 1) if n > 1 else p, np.float32)


def sweep(model: Model, examples: Sequence[Example]) -> Sweep:
    """Count the px of several images by probability and truth."""
    total = Sweep.none()
    for e in examples:
        total = total + Sweep.of(probability(model, e), e.truth)
    return total


def scored(model: Model, examples: Sequence[Example], threshold: float, min_area_px: int) -> dict[str, Any]:
    """Score a model on a set.

    Parameters
    ----------
    model : Model
    examples : sequence of Example
    threshold : float
        The calibrated one; objects are counted there.
    min_area_px : int
        The size filter; objects are counted with it and without.

    Returns
    -------
    dict
        `inside`, `outside`: the `Sweep` over all images; `objects` and `filtered` as [true, found, matched];
        `dice_each` of every image with particles, at 0.5; `diameters_px` of the found that pass the filter;
        `false_px_empty`: share of px called particle on images without any (none: no such image); `threshold`.
    """
    total, all_objects = Sweep.none(), Objects.none()
    each, empty = [], []
    for example in examples:
        p = probability(model, example)
        mine = Sweep.of(p, example.truth)
        total = total + mine
        mask = p > threshold
        all_objects = all_objects + objects(example.truth, numbered(mask))
        if example.truth.any():
            each.append(mine.at(HALF).f1)
        else:
            empty.append(float(mask.mean()))
    filtered = all_objects.without_small(min_area_px)
    return {
        "inside": total.inside.tolist(),
        "outside": total.outside.tolist(),
        "objects": _three(all_objects),
        "filtered": _three(filtered),
        "dice_each": [round(v, 5) for v in each],
        "diameters_px": [round(float(v), 2) for v in diameter(filtered.found_area)],
        "false_px_empty": float(np.mean(empty)) if empty else None,
        "threshold": threshold,
    }


def sweep_of(found: Mapping[str, Any]) -> Sweep:
    """Return the `Sweep` that a score file holds."""
    return Sweep(np.array(found["inside"], np.int64), np.array(found["outside"], np.int64))


def true_diameters(examples: Sequence[Example], min_area_px: int) -> NDArray[np.float64]:
    """Return the equivalent diameters in px of the true particles of at least `min_area_px`."""
    areas = np.concatenate([np.bincount(e.truth.ravel())[1:] for e in examples])
    return diameter(areas[areas >= max(1, min_area_px)])


def _three(found: Objects) -> list[int]:
    counts = found.counts
    return [counts.tp + counts.fn, counts.tp + counts.fp, counts.tp]
