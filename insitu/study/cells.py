"""One cell of the grid: a network trained on one set from one seed, and its scores on each test set, in a folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError, InputError
from insitu.study.scoring import HALF, VERSION, scored, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from insitu.study.config import Network, Study
    from insitu.study.sets import Example, Sets
    from insitu.types import Model

CALIBRATED_ON = 3
"""Labelled training images from which the threshold is taken: few enough to be labelled by hand."""
UNTRAINED = "-"


@dataclass(frozen=True, slots=True)
class Cell:
    """A place in the grid; a method without weights has `trained_on` ``"-"`` and seed 0."""

    model: str
    trained_on: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Return where the cell is kept."""
        if self.trained_on == UNTRAINED:
            return out / "cells" / self.model
        return out / "cells" / self.model / self.trained_on / f"seed-{self.seed}"


def cells_of(study: Study) -> list[Cell]:
    """Return the cells of a study; seeds come last, so that a study that is stopped has every model once."""
    methods = [Cell(name, UNTRAINED, 0) for name, n in study.models.items() if n.method]
    grid = [
        Cell(name, data, seed)
        for seed in study.seeds
        for data in study.trained_on
        for name, n in study.models.items()
        if n.architecture
    ]
    return methods + grid


class Work:
    """What the cells of one study share: sets, settings, the folder.

    Parameters
    ----------
    study : Study
    sets : Sets
    out : Path
    redo : bool
        Do cells again whose settings have changed; without it they are refused.
    """

    def __init__(self, study: Study, sets: Sets, out: Path, *, redo: bool = False) -> None:
        self.study, self.sets, self.out, self.redo = study, sets, out, redo

    def tests(self, cell: Cell) -> Sequence[str]:
        """Return the sets on which a cell is scored."""
        return self.study.tested_on(cell.trained_on)

    def left(self, cell: Cell) -> bool:
        """Say whether something of the cell is still to be done.

        Raises
        ------
        CommandError
            It was done with other settings.
        """
        trained = self._done(cell, "trained.json", self._trained_print(cell))
        return not trained or any(
            not self._done(cell, f"{t}.json", self._test_print(cell, t)) for t in self.tests(cell)
        )

    def do(self, cell: Cell, report: Callable[[str], None]) -> None:
        """Train the cell if it is not, and score it where it is not."""
        model, threshold = self._model(cell, report)
        for test in self.tests(cell):
            stamp = self._test_print(cell, test)
            if self._done(cell, f"{test}.json", stamp):
                continue
            found = scored(model, self.sets[test].held_out, threshold, self.study.min_area_px)
            _write(cell.folder(self.out) / f"{test}.json", {"print": stamp, **found})

    def trained(self, cell: Cell) -> Model:
        """Return the model of a finished cell."""
        return self._model(cell, lambda _text: None)[0]

    def _model(self, cell: Cell, report: Callable[[str], None]) -> tuple[Model, float]:
        network, folder = self.study.models[cell.model], cell.folder(self.out)
        stamp = self._trained_print(cell)
        if network.method:
            from insitu.models import load

            model = load(network.method)
            threshold = float(getattr(model, "threshold", HALF))
            if not self._done(cell, "trained.json", stamp):
                _write(folder / "trained.json", {"print": stamp, "threshold": threshold, "parameters": 0})
            return model, threshold
        if not self._done(cell, "trained.json", stamp):
            self._train(cell, network, report)
        from insitu.models.checkpoint import load_network

        facts = read_json(folder / "trained.json")
        return load_network(folder / "weights.safetensors"), float(facts["threshold"])

    def _train(self, cell: Cell, network: Network, report: Callable[[str], None]) -> None:
        from insitu.models.checkpoint import build, save_network
        from insitu.models.network import Network as Trained
        from insitu.train.loop import Recipe, seeded, train

        folder, parts = cell.folder(self.out), self.sets[cell.trained_on]
        values = self.study.training | network.training
        side = parts.pairs.images.shape[-1]
        recipe = Recipe(**values | {"seed": cell.seed, "crop_px": _crop(network, values, side)})
        began = time.process_time()
        module = seeded(lambda: build(str(network.architecture), network.parameters), cell.seed)
        every = f"{cell.model} on {cell.trained_on}, seed {cell.seed}"
        history = train(
            module, parts.pairs, recipe, lambda s, v: report(f"{every}: step {s}/{recipe.steps}, loss {v:.3f}")
        )
        cpu_s = time.process_time() - began
        model = Trained(module, cell.model, {})
        calibrated = calibrate(model, [e for e in parts.learned_from if e.truth.any()][:CALIBRATED_ON])
        card = {
            "name": cell.model,
            "architecture": network.architecture,
            "parameters": network.parameters,
            "threshold": calibrated,
            "data": f"{cell.trained_on} of a study, {len(parts.pairs)} tiles of {side} px",
            "recipe": recipe.as_dict(),
        }
        save_network(module, folder / "weights.safetensors", card)
        (folder / "losses.csv").write_text(
            "step,loss\n" + "".join(f"{k + 1},{v:.6g}\n" for k, v in enumerate(history.losses)), encoding="utf-8"
        )
        facts = {
            "threshold": calibrated,
            "tiles": len(parts.pairs),
            "cpu_s": round(cpu_s, 1),
            "recipe": recipe.as_dict(),
        }
        facts |= {
            "parameters": sum(p.numel() for p in module.parameters()),
            "loss": float(np.mean(history.losses[-50:])),
        }
        _write(folder / "trained.json", {"print": self._trained_print(cell), **facts})

    def _trained_print(self, cell: Cell) -> str:
        network = self.study.models[cell.model].model_dump(mode="json", exclude={"group"})
        if cell.trained_on == UNTRAINED:
            return _print([network])
        data = self.sets.fingerprint(cell.trained_on)
        return _print([network, self.study.training, data, cell.seed])

    def _test_print(self, cell: Cell, test: str) -> str:
        return _print([self._trained_print(cell), self.sets.fingerprint(test), self.study.min_area_px, VERSION])

    def _done(self, cell: Cell, file: str, stamp: str) -> bool:
        path = cell.folder(self.out) / file
        if not path.is_file():
            return False
        if read_json(path).get("print") == stamp:
            return True
        if self.redo:
            return False
        raise CommandError(
            f"'{path}' was made with other settings than the study has now",
            "give another -o, or --overwrite to do again what has changed",
        )


def calibrate(model: Model, examples: Sequence[Example]) -> float:
    """Return the threshold of the largest Dice on a few labelled images, 0.5 without any."""
    best = sweep(model, examples).best()
    return HALF if math.isnan(best) else best


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of a cell.

    Raises
    ------
    InputError
        It is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' is damaged: {error}", "remove it: the cell is then done again") from error
    return found


def _crop(network: Network, values: Mapping[str, Any], side: int) -> int:
    """Return the side of the crops: what the recipe says, at most a tile, and what the network can divide."""
    from insitu.models.checkpoint import build

    multiple = int(getattr(build(str(network.architecture), network.parameters), "multiple", 1))
    wanted = min(int(values.get("crop_px", side)), side)
    crop = wanted // multiple * multiple
    if not crop:
        raise CommandError(
            f"crops of {wanted} px are smaller than the {multiple} px that {network.architecture} needs",
            "give a larger training.crop_px, side_px or tile_px",
        )
    return crop


def _print(content: Any) -> str:  # noqa: ANN401 - JSON values
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write whole or not at all: what exists is done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
