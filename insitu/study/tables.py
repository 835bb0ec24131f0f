"""The tables of a study: one row a cell and test set, and means with spread over the seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.scores import Confusion
from insitu.study.cells import read_json
from insitu.study.scoring import HALF, sweep_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from insitu.study.cells import Cell, Work

Row = dict[str, Any]
SPREAD = (
    "dice", "dice_calibrated", "dice_best", "precision", "recall", "iou", "object_f1", "object_precision",
    "object_recall", "filtered_f1", "filtered_precision", "filtered_recall", "false_objects_per_image",
    "filtered_false_objects_per_image", "false_px_empty", "threshold", "cpu_s",
)  # fmt: skip


def rows_of(work: Work, cells: Iterable[Cell]) -> list[Row]:
    """Return one row a finished cell and test set."""
    rows = []
    for cell in cells:
        if work.left(cell):
            continue
        facts = read_json(cell.folder(work.out) / "trained.json")
        rows += [_row(work, cell, facts, test) for test in work.tests(cell)]
    return rows


def _row(work: Work, cell: Cell, facts: Mapping[str, Any], test: str) -> Row:
    found = read_json(cell.folder(work.out) / f"{test}.json")
    swept = sweep_of(found)
    network = work.study.models[cell.model]
    field = field_of(network.architecture, network.parameters)
    parts = work.sets[test]
    n = len(parts.held_out)
    half, best = swept.at(HALF), swept.best()
    objects, filtered = (_confusion(found[k]) for k in ("objects", "filtered"))
    nm = parts.nm_per_px
    return {
        "model": cell.model, "group": network.group or cell.model, "trained_on": cell.trained_on, "seed": cell.seed,
        "tested_on": test, "images": n, "parameters": facts["parameters"],
        "receptive_field_px": field, "receptive_field_nm": field * nm if field and nm else None,
        "dice": half.f1, "iou": half.iou, "precision": half.precision, "recall": half.recall, "accuracy": half.accuracy,
        "threshold": found["threshold"], "dice_calibrated": swept.at(found["threshold"]).f1,
        "best_threshold": best, "dice_best": swept.at(best).f1,
        "dice_image_sd": float(np.std(found["dice_each"])) if found["dice_each"] else None,
        "true_objects": objects.tp + objects.fn, "found_objects": objects.tp + objects.fp,
        "matched_objects": objects.tp,
        "object_precision": objects.precision, "object_recall": objects.recall, "object_f1": objects.f1,
        "filtered_precision": filtered.precision, "filtered_recall": filtered.recall, "filtered_f1": filtered.f1,
        "false_objects_per_image": objects.fp / n, "filtered_false_objects_per_image": filtered.fp / n,
        "false_px_empty": found["false_px_empty"],
        "true_negative": half.tn, "false_positive": half.fp, "false_negative": half.fn, "true_positive": half.tp,
        "cpu_s": facts.get("cpu_s"),
    }  # fmt: skip


def _confusion(three: Sequence[int]) -> Confusion:
    true, found, matched = three
    return Confusion(matched, found - matched, true - matched)


def field_of(architecture: str | None, parameters: Mapping[str, Any]) -> int | None:
    """Return the published receptive field in px; None for a method without a network."""
    if architecture is None:
        return None
    from insitu.models.architectures import anatomy

    return anatomy(architecture, parameters).receptive_field_px


def summary_of(rows: Sequence[Row]) -> list[Row]:
    """Return means and standard deviations over the seeds, a row for each model, training set and test set."""
    keys = list(dict.fromkeys((r["model"], r["trained_on"], r["tested_on"]) for r in rows))
    table = []
    for key in keys:
        mine = [r for r in rows if (r["model"], r["trained_on"], r["tested_on"]) == key]
        kept = ("model", "group", "trained_on", "tested_on", "parameters", "receptive_field_px", "receptive_field_nm")
        row: Row = {**{k: mine[0][k] for k in kept}, "seeds": len(mine)}
        for name in SPREAD:
            values = [r[name] for r in mine if r[name] is not None and math.isfinite(r[name])]
            row[name] = float(np.mean(values)) if values else None
            row[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        table.append(row)
    return table


def columns_of(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return rows as columns."""
    return {name: [r[name] for r in rows] for name in rows[0]} if rows else {}
