"""``insitu models``: what there is to segment with, and the card of each."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import click

from insitu.cli.parameters import debug_option
from insitu.cli.verbs import Verb
from insitu.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path


@click.group(cls=Verb)
def models() -> None:
    """List and show the models that ship with insitu."""


@models.command("list", short_help="Print every model with its score on held-out images.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@debug_option
def list_models(*, as_json: bool) -> None:
    """Print every model: name, kind, number of parameters, score on held-out images."""
    found = [known(name) for name in _names()]
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [("model", "kind", "parameters", "IoU", "about")]
    rows += [(m["name"] + " (default)" * m["default"], m["kind"], _number(m), _score(m), m["about"]) for m in found]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(w) for cell, w in zip(row[:4], widths, strict=True)), row[4]]).rstrip())


@models.command(short_help="Print the card of a model: data, recipe, scores.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@debug_option
def show(name: str, *, as_json: bool) -> None:
    """Print the card of the model NAME: data, recipe, scores, what it is valid for."""
    facts = known(_found(name))
    if as_json:
        click.echo(json.dumps(facts))
        return
    card = facts["card"]
    readable = card.pop("readable", None)
    if readable:
        click.echo(readable, nl=False)
        return
    rows = {"name": facts["name"], "kind": facts["kind"], "about": facts["about"], **card}
    for key, value in rows.items():
        click.echo(f"{key:<12} {value}")


def known(name: str) -> dict[str, Any]:
    """Return what is known of a model, from the registry and the card beside its weights."""
    from insitu.models import DEFAULT, WEIGHTS_FOLDER
    from insitu.registry import entries

    card = _card(WEIGHTS_FOLDER / f"{name}.json")
    about = {entry.name: entry.about for entry in (*entries("models"), *entries("architectures"))}
    architecture = card.get("architecture", name)
    scores = card.get("pixel_iou_at_threshold") or {}
    return {
        "name": name,
        "kind": f"weights of {architecture}" if card else "method, no weights",
        "default": name == DEFAULT,
        "about": about.get(architecture, ""),
        "parameters": card.get("parameter_count"),
        "held_out_iou": max(scores.values(), default=None),
        "card": card,
    }


def _names() -> list[str]:
    from insitu.models import METHODS, weights

    return [*METHODS, *weights()]


def _found(name: str) -> str:
    """Return the model that `--model NAME` would load, or say which one was meant."""
    from insitu.models import DEFAULT

    names = _names()
    wanted = DEFAULT if name == "default" else name
    versions = [n for n in names if n == wanted or n.startswith(f"{wanted}-")]
    if versions:
        return versions[-1]
    near = difflib.get_close_matches(name, names, 1, 0.4)
    raise CommandError(f"no model '{name}'", f"did you mean '{near[0]}'?" if near else f"models: {', '.join(names)}")


def _card(path: Path) -> dict[str, Any]:
    """Return the card for programs, with the one for readers under ``readable``; empty for a method without weights."""
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    readable = path.with_suffix(".md")
    return card | {"readable": readable.read_text(encoding="utf-8")} if readable.is_file() else card


def _number(model: dict[str, Any]) -> str:
    return "–" if model["parameters"] is None else f"{model['parameters']:,}".replace(",", " ")


def _score(model: dict[str, Any]) -> str:
    return "–" if model["held_out_iou"] is None else f"{model['held_out_iou']:.3f}"
