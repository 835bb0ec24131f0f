"""What the shipped weights are: their architectures, recipes and data, and the table of what they do on unseen sets."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.train.augment import Augmentation
from insitu.train.data import Mixture, Pairs
from insitu.train.loop import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from insitu.train.labelled import Labelled
    from insitu.types import Model

INPUT = "contrast"  # what the networks see (`insitu.models.inputs`)
SIDE_PX, SEED = 256, 1
FOLDS, TESTED_FOLD = 5, 0
# (seed, number) of what is drawn; panels are varied `number` times each
SCENES = ((1, 4000),)
ROUGH = ((1, 4000),)
FAINT = ((1, 1500),)
COUNTED = ((1, 800),)
PANELS = ((1, 20),)
# Images of one kind with labels drawn for them: their contrast is known, and they must not crowd out the rest.
OWN = ((1, 12),)
_KNOWN_CONTRAST = Augmentation(invert=0.15, contrast_to_noise=(2.0, 20.0))
_BOXES = Augmentation(invert=0.15, contrast_to_noise=(3.0, 20.0), noise=0.3)
# set → how often a crop comes from it
UNSEEN: tuple[dict[str, float], ...] = (
    {"scenes": 0.2, "rough": 0.3, "panels": 0.5},
    {"scenes": 0.2, "rough": 0.1, "faint": 0.25, "panels": 0.45},
    {"scenes": 0.15, "rough": 0.15, "faint": 0.1, "counted": 0.2, "panels": 0.4},
)
EVERYTHING = {
    "scenes": 0.15,
    "rough": 0.05,
    "faint": 0.05,
    "counted": 0.1,
    "panels": 0.35,
    "panels_tested": 0.1,
    "gold": 0.05,
    "catalysts": 0.15,
}
ATTRIBUTION = (
    "EMPS, by256/emps (MIT; figure panels of the publications whose DOIs are listed there)",
    "gold at 800 °C, msa-em/microscopy-seg-track (CC-BY-4.0)",
    "supported catalysts, ArdaGen/STEM-Automated-Nanoparticle-Analysis-YOLOv8-SAM (MIT)",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One set of weights: its architecture, how it is trained on `UNSEEN`, and how it goes on with `EVERYTHING`.

    The held-out model has a stage for each of `recipes`, with the sets of `UNSEEN` of the same place.
    """

    name: str
    architecture: str
    recipes: tuple[Recipe, ...]
    further: Recipe
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outline: str = "network"
    choice: str | None = None

    def shorter(self, factor: int) -> Plan:
        """Return the same plan with fewer steps, for a quick look."""
        *recipes, further = (
            replace(r, steps=max(1, r.steps // factor), until=r.until // factor) for r in (*self.recipes, self.further)
        )
        return replace(self, recipes=tuple(recipes), further=further)


_RECIPE = Recipe(
    steps=14000,
    until=9100,
    batch=4,
    crop_px=224,
    most_rate=0.003,
    jitter=0.25,
    contact=3.0,
    dice_over="image",
    precision="bfloat16",
    seed=SEED,
)
_SECOND = replace(_RECIPE, steps=3600, until=0, most_rate=0.0015, seed=SEED + 1)
_THIRD = replace(_RECIPE, steps=2600, until=0, most_rate=0.0012, seed=SEED + 3)
_FURTHER = replace(_RECIPE, steps=1600, until=0, most_rate=0.0005, seed=SEED + 2)
PLANS: tuple[Plan, ...] = (
    Plan(
        "resunet-mixed-2",
        "resunet",
        (_RECIPE, _SECOND, _THIRD),
        _FURTHER,
        {"pools": [2, 2, 4], "base": 16, "stem": 2, "local": [8, 32]},
        outline="level",
        choice="pieces-1",
    ),
)


def tested(one: Labelled) -> bool:
    """Tell whether an EMPS panel belongs to the publications that the held-out model has not seen: a fifth of them."""
    return not one.group.startswith("unlisted") and zlib.crc32(one.group.encode()) % FOLDS == TESTED_FOLD


def tiles(name: str, samples: Path, reduced: int = 1) -> Pairs:
    """Return one of the sets of tiles.

    Parameters
    ----------
    name : {"scenes", "rough", "faint", "counted", "panels", "panels_tested", "gold", "catalysts"}
        `panels` are the publications that the held-out model may see, `panels_tested` the others.
    samples : Path
        Folder that holds ``segmentation/``.
    reduced : int
        Divides the amounts, for a quick look.
    """
    from insitu.models.inputs import of_kind
    from insitu.train import agglomerates, labelled
    from insitu.train.tiles import agglomerate_tiles, real_tiles, scene_tiles

    shown = of_kind(INPUT)
    drawn = {"scenes": (scene_tiles, SCENES), "rough": (agglomerate_tiles, ROUGH)}
    drawn["faint"] = (partial(agglomerate_tiles, look=agglomerates.FAINT), FAINT)
    drawn["counted"] = (partial(agglomerate_tiles, look=agglomerates.FEW_ELECTRONS), COUNTED)
    if name in drawn:
        draw, wanted = drawn[name]
        return together([draw(max(4, n // reduced), SIDE_PX, seed, shown) for seed, n in wanted])
    if name in ("gold", "catalysts"):
        found = list((labelled.gold if name == "gold" else labelled.boxes)(samples))
        how, wanted = (_KNOWN_CONTRAST if name == "gold" else _BOXES), OWN
    else:
        panels = list(labelled.emps(samples))
        unseen = name == "panels_tested"
        # the publications of the unlisted ones are not known: they may be among those tested
        found = [one for one in panels if (tested(one) or one.group.startswith("unlisted")) == unseen]
        how, wanted = Augmentation(), PANELS
    found = found[::reduced]
    return together([real_tiles(found, max(1, n // reduced), SIDE_PX, seed, how, shown=shown) for seed, n in wanted])


def seen_panels(samples: Path) -> list[Labelled]:
    """Return the panels of EMPS that the held-out model has learned from."""
    from insitu.train.labelled import emps

    return [one for one in emps(samples) if not tested(one) and not one.group.startswith("unlisted")]


def together(parts: Sequence[Pairs]) -> Pairs:
    """Return several sets as one."""
    if len(parts) == 1:
        return parts[0]
    return Pairs(np.concatenate([p.images for p in parts]), np.concatenate([p.masks for p in parts]))


def mixture(shares: Mapping[str, float], sets: Callable[[str], Pairs]) -> Mixture:
    """Return the mixture of the sets that `sets` gives by name."""
    return Mixture(tuple(sets(name) for name in shares), tuple(shares.values()))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the scores of held-out models as a table in Markdown."""
    head = [
        "model",
        "gold IoU (least)",
        "gold edge, px",
        "boxes F1 (split)",
        "EMPS recall / precision",
        "the same, split",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = [row["name"], f"{row['gold_iou']:.3f} ({row['gold_least']:.3f})", f"{row['gold_edge_px']:+.2f}"]
        cells += [
            f"{row['boxes_f1']:.3f} ({row['boxes_split_f1']:.3f})",
            f"{row['emps_recall']:.3f} / {row['emps_precision']:.3f}",
        ]
        cells += [f"{row['split_recall']:.3f} / {row['split_precision']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def scored(model: Model, name: str, samples: Path, threshold: float | None = None) -> dict[str, Any]:
    """Return the scores of one model on the real sets: gold, boxes, and the tested fold of EMPS."""
    from insitu.train import held_out, labelled

    iou, edge = held_out.gold_scores(model, labelled.gold(samples), threshold)
    boxes = held_out.box_scores(model, samples, threshold=threshold)
    apart_boxes = held_out.box_scores(model, samples, split=True, threshold=threshold)
    panels = [one for one in labelled.emps(samples) if tested(one)]
    whole = held_out.emps_scores(model, panels, threshold=threshold)
    apart = held_out.emps_scores(model, panels, split=True, threshold=threshold)
    return {
        "name": name,
        "gold_iou": float(np.mean(iou)),
        "gold_least": float(np.min(iou)),
        "gold_edge_px": float(np.mean(edge)),
        "boxes_f1": float(np.mean([f1 for _, _, f1 in boxes.values()])),
        "boxes_split_f1": float(np.mean([f1 for _, _, f1 in apart_boxes.values()])),
        "boxes": {k: [round(v, 3) for v in values] for k, values in boxes.items()},
        "emps_recall": whole.recall,
        "emps_precision": whole.precision,
        "split_recall": apart.recall,
        "split_precision": apart.precision,
        "emps_instances": whole.true,
    }
