"""The scores of models on labelled images as files: tables, figures, and a page of text that says it in words."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.scores import diameter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from insitu.evaluate.masks import MaskScores

SUMMARY, SCORES, IMAGES, FILTERED, ALL = "summary.md", "scores", "images", "size_filter", "scores.json"
FIGURES = "figures"
_HEAD = (
    "model",
    "threshold",
    *("accuracy", "Dice", "IoU", "pixel precision", "pixel recall"),
    *("found / true", "precision", "recall", "F1", "PQ", "AP50"),
    *("diameter", "distance", "edge"),
)
_OF_PARTICLES = ("precision", "recall", "f1", "panoptic_quality", "ap50")
_TABLES = (SCORES, IMAGES, FILTERED)
OURS = (SUMMARY, ALL, FIGURES, *(f"{t}.{e}" for t in _TABLES for e in ("csv", "parquet")))


def make_room(out: Path, *, overwrite: bool) -> None:
    """Make the folder of an evaluation; of one that is there nothing but an earlier evaluation is ever replaced.

    Raises
    ------
    CommandError
        It holds something else, or an evaluation and `overwrite` is false.
    """
    if out.exists():
        if not out.is_dir():
            raise CommandError(f"'{out}' is not a folder", "choose another name with -o OTHER")
        held = {p.name for p in out.iterdir()}
        if held - set(OURS):
            raise CommandError(f"'{out}' exists and holds '{min(held - set(OURS))}'", "choose another folder with -o")
        if held and not overwrite:
            raise CommandError(f"'{out}' exists and holds an evaluation", "--overwrite to replace it, or -o OTHER")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder '{out}': {error.strerror}", "choose another with -o") from error


def write(scores: MaskScores, out: Path, made_from: dict[str, Any]) -> None:
    """Write tables (CSV and parquet), figures (SVG, PNG and their CSV), ``scores.json`` and ``summary.md``.

    Parameters
    ----------
    scores : MaskScores
    out : Path
        Exists.
    made_from : dict
        What the scores are of: images, labels, options.
    """
    import pandas as pd

    tables = {SCORES: scores.rows(), IMAGES: scores.images, FILTERED: scores.size_filter()}
    for name, rows in tables.items():
        table = pd.DataFrame(rows)
        table.to_csv(out / f"{name}.csv", index=False)
        table.to_parquet(out / f"{name}.parquet", index=False)
    (out / ALL).write_text(json.dumps(as_json(scores, made_from), indent=1), encoding="utf-8")
    _draw(scores, out / FIGURES)
    (out / SUMMARY).write_text(in_words(scores, made_from), encoding="utf-8")


def _draw(scores: MaskScores, folder: Path) -> None:
    from insitu import figures

    least = scores.options.min_area_px
    curves = [(m.name, m.sweep.curves()) for m in scores.models]
    marks = {m.name: {rule: float(np.mean(used)) for rule, used in m.thresholds.items()} for m in scores.models}
    kept = [(m.name, m.objects["trained"].without_small(least)) for m in scores.models]
    for drawn in (
        figures.threshold_curves(curves, marks),
        figures.precision_recall(curves),
        figures.edge_profiles([(m.name, m.edges.profile()) for m in scores.models]),
        figures.size_histograms(diameter(kept[0][1].true_area), [(n, diameter(o.found_area)) for n, o in kept]),
        figures.size_filter(scores.size_filter()),
    ):
        figures.save(drawn, folder)


def as_json(scores: MaskScores, made_from: dict[str, Any]) -> dict[str, Any]:
    """Return scores and what they are of as plain values, NaN as None."""
    return {key: _plain(value) for key, value in (made_from | scores.as_dict()).items()}


def table_in_words(scores: MaskScores, rules: Sequence[str] = ("trained",)) -> str:
    """Return the most important scores as a table for a terminal."""
    head = ("model", "threshold", "Dice", "IoU", "precision", "recall", "F1", "PQ", "AP50", "diameter", "edge")
    rows = [head, *(_row(row) for row in scores.rows() if row["rule"] in rules)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    shares = (
        "pixel_f1",
        "pixel_iou",
        *(f"particle_{k}" for k in _OF_PARTICLES),
    )
    return (
        row["model"],
        f"{row['threshold']:.2f} {row['rule']}",
        *(_short(row[k]) for k in shares),
        f"{row['particle_diameter_bias_percent']:+.1f} %",
        f"{row['edge_offset_px']:+.2f} px",
    )


def in_words(scores: MaskScores, made_from: dict[str, Any]) -> str:
    """Return the summary for a reader, in Markdown."""
    o = scores.options
    touching = "cut apart" if o.split else "not cut apart"
    about = (
        "Pixels: all images together. Particles: paired one to one where their IoU exceeds 0.5; found ones below "
        f"{o.min_area_px} px² are left out; touching ones are {touching}. PQ: panoptic quality; AP50: average "
        "precision at IoU 0.5. Diameter: mean of (found − true)/true over the pairs; distance: Wasserstein distance of "
        "the size distributions. Edge: mean shift of the outline, outwards positive."
    )
    lines = ["# Evaluation", ""]
    lines += [f"{scores.n_images} images of `{made_from['images']}`, labels of `{made_from['labels']}`.", ""]
    lines += [f"**{note}**" for note in scores.notes] + [""] * bool(scores.notes)
    lines += [about, "", "| " + " | ".join(_HEAD) + " |", "|" + " --- |" * len(_HEAD)]
    for row in scores.rows():
        lines.append(
            f"| {row['model']} | {row['threshold']:.3f} ({row['rule']}) | "
            + " | ".join(_short(row[f"pixel_{k}"]) for k in ("accuracy", "f1", "iou", "precision", "recall"))
            + f" | {row['particle_found']} / {row['particle_truth']} | "
            + " | ".join(_short(row[f"particle_{k}"]) for k in _OF_PARTICLES)
            + f" | {row['particle_diameter_bias_percent']:+.1f} % | {row['particle_size_distance_px']:.2f} px "
            f"| {row['edge_offset_px']:+.2f} px |"
        )
    lines += ["", "## Confusion of pixels", "", "| model | threshold | | labelled particle | labelled support |"]
    lines += ["|" + " --- |" * 5]
    for row in scores.rows():
        where = f"{row['model']} | {row['rule']}"
        lines.append(f"| {where} | found particle | {row['pixel_tp']} | {row['pixel_fp']} |")
        lines.append(f"| {where} | found support | {row['pixel_fn']} | {row['pixel_tn']} |")
    lines += ["", "## Best threshold for pixels", ""]
    for model in scores.models:
        best = model.sweep.best()
        reached = "no labelled pixel" if math.isnan(best) else f"{best:.3f}, F1 {model.sweep.at(best).f1:.3f}"
        lines.append(f"- {model.name}: {reached}")
    lines += ["", f"Figures with their tables: `{FIGURES}/`. Every image: `{IMAGES}.csv`. All numbers: `{SCORES}.csv`."]
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
