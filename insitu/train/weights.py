"""Train the weights that are shipped: ``python -m insitu.train.weights --work FOLDER``.

Each network learns in two stages from one seed. First from simulated scenes and the publications of EMPS but a fifth:
this model has seen no gold, no catalyst and none of the tested publications, and the table of held-out scores is its.
Then it goes on with everything that the licences permit; that is what is shipped. Tiles and the state of the training
are kept in the work folder: a training that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from insitu.errors import CommandError, InsituError
from insitu.models.outlines import OUTLINES
from insitu.train import shipped
from insitu.train.cards import write
from insitu.train.data import Pairs
from insitu.train.held_out import operating_point
from insitu.train.loop import seeded, settle, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from insitu.train.loop import Recipe
    from insitu.train.shipped import Plan

_CHOSEN_ON = 8  # every so many of the panels that both stages learn from: what threshold and hysteresis are chosen on
_SETTLING = 200  # batches


def make(plan: Plan, folder: Path, work: Path, sets: Callable[[str], Pairs], samples: Path) -> dict[str, Any]:
    """Train one network in its two stages, score the first and write the second; return its card."""
    from insitu.models.checkpoint import build

    module = seeded(lambda: build(plan.architecture, plan.parameters), plan.recipes[0].seed)
    card: dict[str, Any] = {
        "name": plan.name,
        "architecture": plan.architecture,
        "parameters": dict(plan.parameters),
        "input": shipped.INPUT,
        "outline": plan.outline,
        "choice": plan.choice,
    }
    for number, (shares, recipe) in enumerate(zip(shipped.UNSEEN, plan.recipes, strict=False), start=1):
        stage(module, shares, recipe, work / f"{plan.name}-unseen-{number}", sets)
    scores = graded(module, card, work / f"{plan.name}-unseen.json", samples)
    module.requires_grad_(requires_grad=True)
    stage(module, shipped.EVERYTHING, plan.further, work / f"{plan.name}-everything", sets)
    card |= chosen(module, card, samples)
    card |= {
        "parameter_count": sum(p.numel() for p in module.parameters()),
        "data": "simulated scenes, scenes of rough supports, EMPS, gold at 800 °C, supported catalysts (boxes)",
        "attribution": list(shipped.ATTRIBUTION),
        "recipes": [recipe.as_dict() for recipe in plan.recipes],
        "further": plan.further.as_dict(),
        "shares": {"unseen": list(shipped.UNSEEN), "everything": shipped.EVERYTHING},
        "held_out": scores,
        "polarity": "either; insitu.prepare turns dark particles over where it can tell",
        "licence": "BSD-3-Clause",
    }
    return write(module, folder / f"{plan.name}.safetensors", card, for_readers)


def graded(module: nn.Module, card: Mapping[str, Any], file: Path, samples: Path) -> dict[str, Any]:
    """Return what the held-out model does on the sets it has not seen, by outline; kept in the work folder.

    Where there is a choice of pieces, with and without it.
    """
    if not file.is_file():
        point = chosen(module, card, samples)
        scores = {}
        for choice in dict.fromkeys([None, card.get("choice")]):
            for outline in OUTLINES:
                asked = {**card, **point, "outline": outline, "choice": choice}
                scores[f"{outline}, {choice}" if choice else outline] = _scored(module, asked, samples)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(scores | {"point": point}), encoding="utf-8")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _scored(module: nn.Module, card: Mapping[str, Any], samples: Path) -> dict[str, Any]:
    from insitu.models.network import Network

    scores = shipped.scored(Network(module, str(card["name"]), card), str(card["name"]), samples)
    return {k: v for k, v in scores.items() if k != "name"}


def chosen(module: nn.Module, card: Mapping[str, Any], samples: Path) -> dict[str, Any]:
    """Return threshold and hysteresis, from panels that both stages learn from; outlines are the network's there."""
    from insitu.models.network import Network

    model = Network(module, str(card["name"]), {**card, "outline": "network", "choice": None})
    threshold, seed, tried = operating_point(model, shipped.seen_panels(samples)[::_CHOSEN_ON])
    return {"threshold": threshold, "seed": seed, "f2_of_panels": tried}


def stage(
    module: nn.Module, shares: dict[str, float], recipe: Recipe, state: Path, sets: Callable[[str], Pairs]
) -> None:
    """Train one stage; of a stage that is done already only the statistics of the norms are measured again."""
    pairs = shipped.mixture(shares, sets)
    train(module, pairs, recipe, _report, state=state)
    settle(module, pairs, recipe, min(_SETTLING, recipe.steps))


def kept(work: Path, samples: Path, reduced: int = 1) -> Callable[[str], Pairs]:
    """Return a function that gives a set of tiles by name, from the work folder where it is there already."""

    def sets(name: str) -> Pairs:
        files = [work / f"{name}_{what}.npy" for what in ("images", "codes")]
        if not all(file.is_file() for file in files):
            print(f"tiles: {name}", file=sys.stderr, flush=True)  # noqa: T201 - progress of a program
            pairs = shipped.tiles(name, samples, reduced)
            work.mkdir(parents=True, exist_ok=True)
            arrays: tuple[NDArray[Any], ...] = (pairs.images, pairs.masks)
            for file, array in zip(files, arrays, strict=True):
                half = file.with_suffix(".part.npy")
                np.save(half, array)
                half.replace(file)
        images, codes = (np.load(file, mmap_mode="r") for file in files)
        return Pairs(images, codes)

    return sets


def _report(step: int, loss: float) -> None:
    print(f"  step {step:5d}  loss {loss:.4f}", file=sys.stderr, flush=True)  # noqa: T201 - progress of a program


def rows_of(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of held-out scores, one for each outline without and with a choice of pieces."""
    scores = card["held_out"]
    return [{"name": f"{card['name']}, outline {which}", **scores[which]} for which in scores if which != "point"]


def _field(card: Mapping[str, Any]) -> int:
    """Return how far the network sees, px."""
    from insitu.models.architectures import build
    from insitu.models.fields import receptive_field

    module: Any = build(str(card["architecture"]), card["parameters"])
    return receptive_field(module.path)


def for_readers(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    *recipes, further = (
        ", ".join(f"{k} {v}" for k, v in one.items() if v) for one in (*card["recipes"], card["further"])
    )
    choice = f"- **Choice of pieces**, in place of the threshold: `{card['choice']}` (`insitu.models.choice`).\n"
    choice = choice if card.get("choice") else ""
    sources = "\n".join(f"  - {one}" for one in card["attribution"])
    return f"""# {card["name"]}

Weights of `{card["architecture"]}` {card["parameters"] or ""} for supported particles in bright and dark field
({card["parameter_count"]} parameters, {card["bytes"]} bytes, sha256 `{card["sha256"]}`).

- **Data**: {card["data"]}.
{sources}
- **Recipe**: on scenes, rough supports and four fifths of the publications of EMPS {"; then ".join(recipes)}; then on
  everything {further}. Cross-entropy plus soft Dice, Adam, one-cycle rate.
- **Input**: `{card["input"]}` (`insitu.models.inputs`).
- **Polarity**: {card["polarity"]}.
- **Outline**: `{card["outline"]}` (`insitu.models.outlines`).
- **Threshold**: {card["threshold"]}; a piece is kept where it reaches {card["seed"]} somewhere.
{choice}- **Where it stops**: a particle wider than half of the receptive field ({_field(card)} px) is taken whole,
  ragged and with holes where the level does not draw its outline: bin the frames, or take `classical`.
- **Again**: `python -m insitu.train.weights --only {card["name"]} --work FOLDER`

On sets that the model of the first stage has not seen (gold at 800 °C, boxes of supported catalysts, a fifth of the
publications of EMPS, {card["held_out"]["network"]["emps_instances"]} particles at IoU ≥ 0.5; threshold
{card["held_out"]["point"]["threshold"]}, {card["held_out"]["point"]["seed"]}):

{shipped.table(rows_of(card))}
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", help="Train these weights alone; all by default.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder to write to; the package's own by default.")
@click.option(
    "--work", type=click.Path(file_okay=False), required=True, help="Folder for tiles and unfinished trainings."
)
@click.option("--samples", type=click.Path(file_okay=False), help="Folder that holds segmentation/; $INSITU_SAMPLES.")
@click.option("--reduced", type=click.IntRange(1), default=1, help="Divide the amounts of data and the steps.")
def main(only: tuple[str, ...], out: str | None, work: str, samples: str | None, reduced: int) -> None:
    """Train the shipped weights, and print what they do on sets that they have not seen."""
    import torch

    from insitu.models import WEIGHTS_FOLDER
    from insitu.models.memory import keep_large_blocks

    plans = [p for p in shipped.PLANS if not only or p.name in only]
    if len(plans) < len(set(only)) or not plans:
        known = ", ".join(p.name for p in shipped.PLANS)
        raise CommandError(f"no plan for {', '.join(only)}", f"choose among {known}")
    found = samples or os.environ.get("INSITU_SAMPLES")
    if not found:
        raise CommandError("no samples to learn from", "give --samples FOLDER, or set INSITU_SAMPLES")
    torch.set_num_threads(1)  # on images this small a second thread costs eight times what it saves
    keep_large_blocks()
    rows = []
    for plan in plans:
        click.echo(plan.name, err=True)
        shorter = plan if reduced == 1 else plan.shorter(reduced)
        sets = kept(Path(work), Path(found), reduced)
        card = make(shorter, Path(out) if out else WEIGHTS_FOLDER, Path(work), sets, Path(found))
        rows += rows_of(card)
        click.echo(json.dumps(card["held_out"]), err=True)
    click.echo(shipped.table(rows))


if __name__ == "__main__":
    try:
        main()
    except InsituError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
