"""Models on labelled images: pixels at all thresholds, particles and sizes at three of them, where the edges lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.evaluate.edges import Edges, depth
from insitu.options import MeasureOptions, PrepareOptions, SegmentOptions
from insitu.scores import Confusion, Objects, Sweep, confusion, diameter, objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch
    from numpy.typing import NDArray

    from insitu.evaluate.images import Pair
    from insitu.types import Model, Prepared, Runs

RULES = ("trained", "fixed", "otsu")
# An adaptive threshold is kept between these, so that an empty frame gives no particles.
OTSU_RANGE = (0.2, 0.8)
SIZE_FILTERS_PX = (0, 5, 10, 20, 40, 80, 160, 320, 640)


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """How models are judged.

    Attributes
    ----------
    fixed : float
        The threshold that all models are compared at, beside their own and Otsu's.
    min_area_px : int
        Found particles below it are left out; true ones never are.
    split : bool
        Cut found particles apart that touch.
    polarity : {"auto", "labels", "dark", "bright"}
        auto: as a run would judge each image by itself; labels: as the labels say.
    device : str
    """

    fixed: float = 0.5
    min_area_px: int = 20
    split: bool = False
    polarity: Literal["auto", "labels", "dark", "bright"] = "auto"
    device: str = "cpu"


@dataclass(slots=True)
class ModelScores:
    """What one model got right, added up over all images.

    Attributes
    ----------
    sweep : Sweep
        Pixels by probability, before pieces are judged.
    pixels, objects : dict of rule to counts
        Of the particles that a run would keep at the threshold of this rule; `objects` before the size filter.
    thresholds : dict of rule to the thresholds used
    edges : Edges
    """

    name: str
    sweep: Sweep = field(default_factory=Sweep.none)
    pixels: dict[str, Confusion] = field(default_factory=lambda: dict.fromkeys(RULES, Confusion()))
    objects: dict[str, Objects] = field(default_factory=lambda: dict.fromkeys(RULES, Objects.none()))
    thresholds: dict[str, list[float]] = field(default_factory=lambda: {rule: [] for rule in RULES})
    edges: Edges = field(default_factory=Edges.none)


@dataclass(slots=True)
class MaskScores:
    """The scores of all models, a row for each image and model, and what a user must know."""

    options: MaskOptions
    models: list[ModelScores]
    images: list[dict[str, Any]] = field(default_factory=list)
    n_images: int = 0
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each model and rule: thresholds, pixels, particles, sizes, edges."""
        found = []
        for model in self.models:
            for rule in RULES:
                used = model.thresholds[rule]
                kept = model.objects[rule].without_small(self.options.min_area_px)
                row: dict[str, Any] = {"model": model.name, "rule": rule, "threshold": float(np.mean(used))}
                row |= {f"pixel_{k}": v for k, v in model.pixels[rule].as_dict().items()}
                row |= {f"particle_{k}": v for k, v in kept.as_dict().items()}
                row["edge_offset_px"] = _offset(kept)
                row["edge_crossing_px"] = model.edges.crossing(float(np.mean(used)))
                found.append(row)
        return found

    def size_filter(self, rule: str = "trained") -> list[dict[str, Any]]:
        """Return F1, precision and recall of particles and F1 of pixels for rising smallest areas."""
        rows = []
        for model in self.models:
            for least in SIZE_FILTERS_PX:
                kept = model.objects[rule].without_small(least)
                particles, pixels = kept.counts, kept.pixels
                rows.append(
                    {
                        "model": model.name,
                        "min_area_px": least,
                        "particle_precision": particles.precision,
                        "particle_recall": particles.recall,
                        "particle_f1": particles.f1,
                        "pixel_precision": pixels.precision,
                        "pixel_recall": pixels.recall,
                        "pixel_f1": pixels.f1,
                    }
                )
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return {"n_images": self.n_images, "notes": self.notes, "scores": self.rows()}


def score_models(
    pairs: Iterable[Pair],
    models: Sequence[tuple[str, Model]],
    options: MaskOptions,
    progress: Callable[[int], None] | None = None,
) -> MaskScores:
    """Score models on labelled images, one image in memory at a time.

    Parameters
    ----------
    pairs : iterable of Pair
    models : sequence of (name, Model)
    options : MaskOptions
    progress : callable, optional
        Called with the number of images done.
    """
    from insitu.prepare import prepare, reference

    scores = MaskScores(options, [ModelScores(name) for name, _ in models])
    contrast: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        by_labels = polarity_by_labels(pair)
        judged = reference([(0, pair.image)], PrepareOptions(), "auto").polarity
        wanted = {"auto": judged, "labels": by_labels or judged}.get(options.polarity, options.polarity)
        taken = reference([(0, pair.image)], PrepareOptions(), "bright" if wanted == "bright" else "dark")
        prepared = prepare(pair.image[np.newaxis], PrepareOptions(), taken, options.device)
        ready = _Ready(prepared, pair, depth(pair.labels > 0))
        contrast[judged, by_labels] += bool(by_labels)
        for (_, model), total in zip(models, scores.models, strict=True):
            row = _judge(model, ready, total, options)
            scores.images.append({"image": pair.name, "model": total.name, "polarity": wanted} | row)
        scores.n_images += 1
        if progress:
            progress(scores.n_images)
    scores.notes += _contrast_notes(contrast, options)
    return scores


class Remembering:
    """A model that is asked once an image: thresholds are compared on the same probabilities."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.last: torch.Tensor | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else the model says about itself
        return getattr(self._model, name)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the model said the first time."""
        if self.last is None:
            self.last = self._model.probabilities(images)
        return self.last


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """An image as a model sees it, with its labels and the distance of each pixel from their outline."""

    prepared: Prepared
    pair: Pair
    away: NDArray[np.float64]


def _judge(model: Model, ready: _Ready, total: ModelScores, options: MaskOptions) -> dict[str, Any]:
    """Add one image to the scores of one model; return its own."""
    from insitu.runs import components, paint
    from insitu.segment import segment

    prepared, pair = ready.prepared, ready.pair
    once = Remembering(model)
    settings = SegmentOptions(device=options.device)
    own = float(getattr(model, "threshold", 0.5))
    segment(prepared, once, settings)
    height, width = pair.image.shape
    p = np.nan_to_num(once.last[0, :height, :width].float().cpu().numpy()) if once.last is not None else np.zeros(0)
    sweep = Sweep.of(p, pair.labels, pair.counted)
    total.sweep = total.sweep + sweep
    total.edges = total.edges + Edges.of(ready.away, prepared.input[0].cpu().numpy(), p, pair.counted)
    otsu = sweep.otsu()
    low, high = OTSU_RANGE
    thresholds = {"trained": own, "fixed": options.fixed, "otsu": min(max(otsu, low), high)}
    if np.isnan(otsu):
        thresholds["otsu"] = options.fixed
    row: dict[str, Any] = {"particles": int(pair.labels.max())}
    for rule, threshold in thresholds.items():
        found = segment(prepared, once, replace(settings, threshold=threshold))[0]
        runs, sure = _measured(components(found.runs), options)
        drawn = paint(runs, out=np.zeros(runs.shape, np.int32))
        mine = objects(pair.labels, drawn, confidence=sure, counted=pair.counted)
        large = np.flatnonzero(np.bincount(drawn.ravel()) >= options.min_area_px)
        pixels = confusion(pair.labels, np.isin(drawn, large[large > 0]), pair.counted)
        total.objects[rule] = total.objects[rule] + mine
        total.pixels[rule] = total.pixels[rule] + pixels
        total.thresholds[rule].append(threshold)
        kept = mine.without_small(options.min_area_px)
        row |= {
            f"{rule}_threshold": threshold,
            f"{rule}_pixel_f1": pixels.f1,
            f"{rule}_pixel_iou": pixels.iou,
            f"{rule}_found": len(kept.found_area),
            f"{rule}_particle_precision": kept.counts.precision,
            f"{rule}_particle_recall": kept.counts.recall,
        }
    return row


def _measured(runs: Runs, options: MaskOptions) -> tuple[Runs, NDArray[np.float64]]:
    """Return all particles, cut apart where that is asked for, and the mean probability of each."""
    from insitu.measure import measure
    from insitu.runs.split import split

    if options.split:
        runs = split(runs, min_area_px=options.min_area_px)
    measured = measure(runs, MeasureOptions(min_area_px=1, perimeter=False))
    return measured.runs, measured.particles.mean_probability


def polarity_by_labels(pair: Pair) -> str:
    """Return whether labelled particles are darker or brighter than what lies around them; "" without particles."""
    from scipy import ndimage

    inside = pair.labels > 0
    if not inside.any() or inside.all():
        return ""
    near = ndimage.binary_dilation(inside, iterations=8) & ~ndimage.binary_dilation(inside, iterations=2)
    around = near if near.any() else ~inside
    return "bright" if float(pair.image[inside].mean()) > float(pair.image[around].mean()) else "dark"


def _contrast_notes(contrast: Counter[tuple[str, str]], options: MaskOptions) -> list[str]:
    """Say where images were taken for the other contrast than that of their labels."""
    wrong = sum(n for (judged, by_labels), n in contrast.items() if judged != by_labels)
    total = sum(contrast.values())
    if not wrong:
        return []
    what = f"inverted contrast: by their labels {wrong} of {total} images have the other polarity than "
    if options.polarity == "auto":
        return [what + "judged from the image alone, and are scored as judged; --polarity labels follows the labels"]
    return [what + f"a run would judge from the image alone; here --polarity {options.polarity} decided"]


def _offset(found: Objects) -> float:
    """Return the mean shift of the outline in px, outwards positive, from the radii of the pairs."""
    right = found.partner >= 0
    if not right.any():
        return float("nan")
    return float(np.mean(diameter(found.found_area[right]) - diameter(found.true_area[found.partner[right]])) / 2)
