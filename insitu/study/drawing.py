"""Which figures a study has, and what each of them needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.figures import save, studies
from insitu.scores import Sweep
from insitu.study.cells import UNTRAINED, cells_of, read_json
from insitu.study.scoring import probability, sweep_of, true_diameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from insitu.figures import Drawn
    from insitu.study.cells import Cell, Work

    Row = Mapping[str, Any]


def draw(work: Work, rows: Sequence[Row], folder: Path) -> list[str]:
    """Draw the figures that the study asks for and its rows allow; return their names."""
    wanted: set[str] = set(work.study.figures)
    made: list[Drawn] = []
    done = {(r["model"], r["trained_on"], r["seed"]) for r in rows}
    cells = [c for c in cells_of(work.study) if (c.model, c.trained_on, c.seed) in done]
    if "spread" in wanted and any(r["trained_on"] in {r["tested_on"], UNTRAINED} for r in rows):
        made.append(studies.spread(rows))
    if "field" in wanted and any(r["receptive_field_px"] for r in rows):
        made.append(studies.against_field([r for r in rows if r["receptive_field_px"]]))
    if "confusion" in wanted:
        for model in dict.fromkeys(r["model"] for r in rows):
            mine = [r for r in rows if r["model"] == model]
            if len({r["trained_on"] for r in mine}) > 1:
                made.append(studies.confusion_matrices(mine, model))
    for test in dict.fromkeys(r["tested_on"] for r in rows):
        own = [c for c in cells if c.trained_on in {test, UNTRAINED} and test in work.tests(c)]
        if own:
            made += _on_one_set(work, own, test, wanted)
    for one in made:
        save(one, folder)
    return [one.name for one in made]


def _on_one_set(work: Work, cells: Sequence[Cell], test: str, wanted: set[str]) -> list[Drawn]:
    """Draw what compares models on the set they were trained for."""
    made = []
    found = [(c.model, read_json(c.folder(work.out) / f"{test}.json")) for c in cells]
    models = list(dict.fromkeys(name for name, _ in found))
    if "threshold" in wanted:
        curves = {m: [sweep_of(f).curves() for name, f in found if name == m] for m in models}
        made.append(studies.against_threshold(curves, test))
    if "sizes" in wanted:
        sizes = {m: np.concatenate([f["diameters_px"] for name, f in found if name == m]) for m in models}
        true = true_diameters(work.sets[test].held_out, work.study.min_area_px)
        made.append(studies.size_histograms(sizes, true, test))
    if "contours" in wanted:
        made.append(_contours(work, cells, test))
    return made


def _contours(work: Work, cells: Sequence[Cell], test: str) -> Drawn:
    """Draw the outlines of the first training of every model on the image with the median number of particles."""
    held_out = work.sets[test].held_out
    counts = [len(np.unique(e.truth)) for e in held_out]
    example = held_out[int(np.argsort(counts)[len(counts) // 2])]
    shown, cuts = {}, {}
    for cell in cells:
        if cell.model not in shown:
            p = probability(work.trained(cell), example)
            shown[cell.model] = p
            otsu = Sweep.of(p, example.truth).otsu()
            cuts[cell.model] = 0.5 if np.isnan(otsu) else otsu
    n = example.shrink
    image = np.repeat(np.repeat(example.image, n, 0), n, 1)
    return studies.contours(image, example.truth, shown, cuts, test)
