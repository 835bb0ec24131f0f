"""``insitu models``: what there is to segment with and to train, the card of each, and weights from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from insitu.cli.parameters import debug_option, number_option
from insitu.cli.verbs import Verb

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group(cls=Verb)
def models() -> None:
    """List, show and import models: weights, methods without weights, architectures, presets."""


@models.command("list", short_help="Print every model, and every architecture.")
@click.option("--presets", "with_presets", is_flag=True, help="Also the networks of the literature, by preset.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@debug_option
def list_models(*, with_presets: bool, as_json: bool) -> None:
    """Print what --model takes (weights, methods without weights), and the architectures that can be trained."""
    from insitu.cli import modelfacts

    whole = with_presets or as_json  # the sizes of networks follow from their layers: torch is imported for them
    ready, networks = modelfacts.models(sizes=whole), modelfacts.architectures(sizes=whole)
    presets = modelfacts.presets() if with_presets else []
    if as_json:
        click.echo(json.dumps({"models": ready, "architectures": networks} | ({"presets": presets} if presets else {})))
        return
    click.echo("models: what --model takes")
    rows = [(m["name"] + " (default)" * m["default"], m["kind"], _number(m), _score(m), m["about"]) for m in ready]
    _table([("name", "kind", "parameters", "IoU", "about"), *rows])
    click.echo("\narchitectures: what can be trained")
    if not whole:
        _table([("name", "about"), *((m["name"], m["about"]) for m in networks)])
        click.echo("\nsizes and receptive fields: insitu models show NAME, or insitu models list --presets")
        return
    head = ("name", "parameters", "MAC/px", "field px", "about")
    _table([head, *((m["name"], *_anatomy(m), m["about"]) for m in networks)])
    if presets:
        click.echo("\npresets: networks of the literature")
        columns = ("name", "architecture", "parameters", "MAC/px", "field px", "about")
        _table([columns, *((m["name"], m["architecture"], *_anatomy(m), m["about"]) for m in presets)])


@models.command(short_help="Print the card of a model, an architecture or a preset.")
@click.argument("name")
@number_option("--nm-per-px", "Pixel size in nm: the receptive field is then told in nm, too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@debug_option
def show(name: str, *, nm_per_px: float | None, as_json: bool) -> None:
    """Print what is known of NAME: a model, a weights file, an architecture, or a preset (horwath-unet:blur-2)."""
    from insitu.cli import modelfacts

    facts = modelfacts.known(name, nm_per_px)
    if as_json:
        click.echo(json.dumps(facts))
        return
    readable = facts.get("card", {}).pop("readable", None) or facts.pop("header", None)
    if readable:
        click.echo(readable.rstrip() + "\n")
    card = {} if readable and facts.get("card") else facts.pop("card", {})
    for key, value in {**facts, **card}.items():
        if key not in ("card", "default", "held_out_iou") and value not in (None, "", {}, []):
            click.echo(f"{key:<20} {_in_words(value)}")


@models.command("import", short_help="Turn weights of other programs into a model.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="OUT.safetensors", help="FILE's name by default.")
@click.option("--architecture", metavar="NAME", help="Where the file does not tell it (insitu models list).")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="A parameter of it; repeatable.")
@click.option("--threshold", metavar="NUMBER", help="Probability above which a pixel is particle; 0.5 by default.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@debug_option
def import_(
    file: Path,
    *,
    out: Path | None,
    architecture: str | None,
    overrides: Sequence[str],
    threshold: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn the weights in FILE into OUT.safetensors and its card; nothing in FILE is run.

    Taken are: Keras weights of the light UNet (Groschner 2021), residual UNets saved as whole modules (Sytwu 2022 and
    2024), PyTorch state dicts of the architectures here, and a VGG-16 as encoder (--architecture fcn8s).
    """
    from insitu.cli.modelfacts import probability, read_parameters, target
    from insitu.models.importing import import_weights, save_imported

    place = target(file, out, overwrite=overwrite)
    cut = probability(threshold)
    found = import_weights(file, architecture, read_parameters(overrides))
    card = save_imported(found, file, place, threshold=cut)
    if as_json:
        click.echo(json.dumps({"out": str(place.resolve()), "card": card, "tensors": found.source}))
        return
    shapes = {name: tuple(values.shape) for name, values in found.module.state_dict().items()}
    _table(
        [("in the file", "here", "shape"), *((t, o, "×".join(map(str, shapes[o]))) for o, t in found.source.items())]
    )
    values = f"{card['parameter_count']:,}".replace(",", " ")
    parameters = _in_words(found.parameters)
    click.echo(f"\n{len(found.source)} tensors, {values} values: {found.architecture} {parameters}".rstrip())
    click.echo(f"input: {_in_words(card['input'])}; threshold: {card['threshold']:g}")
    for note in found.notes:
        click.echo(f"note: {note}")
    click.echo(str(place.resolve()))


def _table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the last one is as long as it is."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=True)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())


def _in_words(value: Any) -> str:  # noqa: ANN401 - a value of a card
    if isinstance(value, dict):
        return ", ".join(f"{k} = {_in_words(v)}" for k, v in value.items())
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _anatomy(model: dict[str, Any]) -> tuple[str, str, str]:
    return _number(model), str(model["mac_per_px"]), str(model["receptive_field_px"])


def _number(model: dict[str, Any]) -> str:
    return "–" if model["parameters"] is None else f"{model['parameters']:,}".replace(",", " ")


def _score(model: dict[str, Any]) -> str:
    return "–" if model["held_out_iou"] is None else f"{model['held_out_iou']:.3f}"
