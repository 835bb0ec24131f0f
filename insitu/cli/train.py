"""``insitu train``: learn a model from label images, simulated scenes, or both."""

from __future__ import annotations

import shutil
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from insitu.cli.console import Console
from insitu.cli.parameters import debug_option, json_option, quiet_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from insitu.train.learn import Learned
    from insitu.train.loop import Recipe

STATE = "training"
_OURS = (".safetensors", ".json", ".md")


class Wishes(TypedDict):
    """What the options about the recipe hold."""

    steps: int
    batch: int
    crop_px: int
    rate: float
    loss: str
    dice: float
    balance: float
    seed: int
    threads: int
    precision: str
    patience: int


def _recipe_options(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    options = [
        click.option("--steps", type=click.IntRange(1), default=2000, show_default=True, help="Training steps."),
        click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Crops a step."),
        click.option("--crop-px", type=click.IntRange(32), default=128, show_default=True, help="Side of a crop."),
        click.option(
            "--rate",
            type=click.FloatRange(0, min_open=True),
            default=0.008,
            show_default=True,
            help="Highest learning rate.",
        ),
        click.option(
            "--loss",
            type=click.Choice(["entropy", "focal"]),
            default="entropy",
            show_default=True,
            help="Loss of a pixel.",
        ),
        click.option(
            "--dice", type=click.FloatRange(0), default=0.5, show_default=True, help="Weight of 1 - Dice beside it."
        ),
        click.option(
            "--balance",
            type=click.FloatRange(0, min_open=True),
            default=1.0,
            show_default=True,
            help="Weight of particle pixels.",
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same weights."
        ),
        click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads."),
        click.option(
            "--precision",
            type=click.Choice(["float32", "bfloat16"]),
            default="float32",
            show_default=True,
            help="Arithmetic.",
        ),
        click.option(
            "--patience",
            type=click.IntRange(0),
            default=6,
            show_default=True,
            help="Validations without gain before the end; 0: never.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(short_help="learn a model from labelled images, simulated scenes, or both")
@click.argument("out", metavar="OUT")
@click.option("--images", multiple=True, metavar="PATH", help="Movie or folder of images; repeat for several.")
@click.option(
    "--labels", multiple=True, metavar="PATH", help="Its label images, or a run folder; one for each --images."
)
@click.option(
    "--unknown", type=click.IntRange(1), metavar="VALUE", help="Label value of pixels that count for nothing."
)
@click.option(
    "--scenes", type=click.IntRange(0), default=0, metavar="NUMBER", help="Simulated scenes to add, or alone."
)
@click.option(
    "--architecture", metavar="NAME", help="Network to train, or a preset; unet by default, or that of --from."
)
@click.option("--parameter", "parameters", multiple=True, metavar="KEY=VALUE", help="Of the architecture; repeatable.")
@click.option("--from", "start", metavar="NAME|FILE", help="Begin with these weights.")
@click.option("--variants", type=click.IntRange(0), default=3, show_default=True, help="Changed copies of every image.")
@click.option("--validation", type=click.FloatRange(0, 0.5), default=0.2, show_default=True, help="Share set aside.")
@_recipe_options
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier training.")
@json_option
@quiet_option
@debug_option
def train(
    *,
    out: str,
    images: tuple[str, ...],
    labels: tuple[str, ...],
    unknown: int | None,
    scenes: int,
    architecture: str | None,
    parameters: tuple[str, ...],
    start: str | None,
    variants: int,
    validation: float,
    device: str,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **wishes: Unpack[Wishes],
) -> None:
    """Train a network and write weights, cards and loss curves into the folder OUT.

    Labels are 0 for the support and a number for each particle, or a mask of two values. Whole movies are set aside for
    validation where there are several; of a single one, a strip of all images is.
    """
    from insitu.train.gather import read_movie
    from insitu.train.learn import Plan, learn

    console = Console(as_json=as_json, quiet=quiet)
    folder = Path(out)
    if len(images) != len(labels):
        raise CommandError(f"{len(images)} --images and {len(labels)} --labels", "give one --labels for each --images")
    first = _weights(start) if start else None
    plan = Plan(
        **_network(architecture, dict(_parameter(text) for text in parameters), first),
        recipe=_recipe(wishes),
        scenes=scenes,
        variants=variants,
        validation=validation,
        start=first,
    )
    movies = [read_movie(i, drawn, unknown=unknown) for i, drawn in zip(images, labels, strict=True)]
    _make_room(folder, resume=resume, overwrite=overwrite)
    learned = learn(
        movies, plan, state=folder / STATE, device=device, report=_Meter(console, plan.recipe.steps), say=console.note
    )
    _write(console, folder, learned)


def _write(console: Console, folder: Path, learned: Learned) -> None:
    from insitu import figures
    from insitu.train.cards import write

    file = folder / f"{folder.resolve().name}.safetensors"
    card = write(learned.module, file, learned.card)
    figures.save(figures.learning(learned.history.losses, learned.history.checks, learned.history.best_step), folder)
    (folder / f"{STATE}.safetensors").unlink(missing_ok=True)
    console.emit("trained", weights=str(file.resolve()), card=card)
    dice = card["pixel_dice_at_threshold"].get(str(card["threshold"]))
    scored = f"Dice {dice:.3f} on what was set aside" if dice is not None else "nothing was set aside"
    stopped = ", stopped early" if learned.history.stopped else ""
    console.result(
        f"{card['architecture']}, {card['parameter_count']} parameters · {card['steps_done']} steps{stopped} · "
        f"{scored} · threshold {card['threshold']} · {card['cpu_s']} s CPU"
    )
    console.result(f"use it: insitu run MOVIE -o OUT --model {file}")
    console.result(str(file.resolve()))


def _make_room(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder, leave a training to be resumed, or empty it of an earlier one; touch nothing else."""
    if resume:
        if not (folder / f"{STATE}.safetensors").is_file():
            raise CommandError(f"'{folder}' holds no training to go on with", "leave --resume out to begin one")
        return
    if folder.exists():
        ours = folder.is_dir() and (
            (folder / f"{STATE}.safetensors").is_file() or (folder / f"{folder.resolve().name}.safetensors").is_file()
        )
        if not overwrite:
            more = "--resume to go on with it, " if (folder / f"{STATE}.safetensors").is_file() else ""
            raise CommandError(f"'{folder}' exists", f"{more}--overwrite to replace a training, or another folder")
        if not ours and (not folder.is_dir() or any(folder.iterdir())):
            raise CommandError(
                f"'{folder}' exists and is no training", "choose another folder; --overwrite replaces trainings only"
            )
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder '{folder}': {error.strerror}", "choose another folder") from error


def _recipe(wishes: Wishes) -> Recipe:
    from insitu.train.loop import Recipe

    steps = wishes["steps"]
    return Recipe(
        steps=steps,
        batch=wishes["batch"],
        crop_px=wishes["crop_px"],
        most_rate=wishes["rate"],
        loss=wishes["loss"],  # type: ignore[arg-type]  # click has checked it
        dice=wishes["dice"],
        balance=wishes["balance"],
        jitter=0.15,
        seed=wishes["seed"],
        threads=wishes["threads"],
        precision=wishes["precision"],  # type: ignore[arg-type]
        check_every=max(1, min(200, steps // 10)),
        patience=wishes["patience"],
    )


def _network(architecture: str | None, parameters: dict[str, Any], start: Path | None) -> dict[str, Any]:
    """Return architecture and parameters: those of the weights to begin with, where nothing else is said."""
    from insitu.models.presets import presets

    if (preset := presets().get(architecture or "")) is not None:
        return {"architecture": preset.architecture, "parameters": preset.parameters | parameters}
    if start is None or architecture or parameters:
        return {"architecture": architecture or "unet", "parameters": parameters}
    from insitu.models.checkpoint import load_network

    card = load_network(start).card
    return {"architecture": card["architecture"], "parameters": dict(card.get("parameters") or {})}


def _weights(name: str) -> Path:
    """Return the file of shipped weights, or the file itself."""
    from insitu.models import WEIGHTS_FOLDER, weights

    shipped = [w for w in weights() if w == name or w.startswith(f"{name}-")]
    return WEIGHTS_FOLDER / f"{shipped[-1]}.safetensors" if shipped else Path(name)


def _parameter(text: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise CommandError(f"--parameter {text} is not KEY=VALUE", "write for example --parameter base=8")
    try:
        return key, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key, value


class _Meter:
    """Progress in steps: redrawn on a terminal, a line every 10 s elsewhere, JSON lines with ``--json``."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps = console, steps
        self._began = self._last = time.monotonic()
        self._first: int | None = None

    def __call__(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = step
        self._console.emit("progress", step=step, steps=self._steps, loss=round(loss, 4))
        left = (self._steps - step) * (now - self._began) / max(step, 1)
        text = f"train  {step}/{self._steps} steps · loss {loss:.3f} · {left:.0f} s left at most"
        if self._console.terminal:
            self._console.draw(text)
        elif now - self._last >= 10.0 or step == self._steps:
            self._last = now
            self._console.note(text)
