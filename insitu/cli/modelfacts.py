"""What is known of models, architectures and presets, as plain values for `insitu models`."""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def models(*, sizes: bool = True) -> list[dict[str, Any]]:
    """Return every method and all shipped weights, with the score of their cards; `sizes` of networks need torch."""
    return [_model(name, sizes=sizes) for name in _ready()]


def architectures(*, sizes: bool = True) -> list[dict[str, Any]]:
    """Return every architecture, with `sizes` at its default parameters (which needs torch)."""
    from insitu.models.architectures import names
    from insitu.registry import entries

    if not sizes:
        return [{"name": entry.name, "about": entry.about} for entry in entries("architectures")]
    return [_architecture(name) for name in names()]


def presets() -> list[dict[str, Any]]:
    """Return every network of the literature and its variants."""
    from insitu.models.presets import presets as read

    return [_preset(name) for name in read()]


def known(name: str, nm_per_px: float | None = None) -> dict[str, Any]:
    """Return what is known of a model, a weights file, an architecture or a preset.

    Raises
    ------
    CommandError
        There is none of this name.
    InputError
        The file cannot be read.
    """
    from insitu.models import DEFAULT
    from insitu.models.architectures import names
    from insitu.models.presets import presets as read

    ready, families = _ready(), read()
    wanted = DEFAULT if name == "default" else name
    if wanted in ready:
        facts = _model(wanted)
    elif wanted in families:
        facts = _preset(wanted)
    elif wanted in names():
        facts = _architecture(wanted)
        weights = [n for n in ready if n.startswith(f"{wanted}-")]
        facts |= {"weights": weights, "presets": [n for n, p in families.items() if p.architecture == wanted]}
    elif Path(wanted).suffix in (".safetensors", ".pt", ".pth"):
        facts = _file(Path(wanted))
    else:
        everything = [*ready, *names(), *families]
        near = difflib.get_close_matches(name, everything, 1, 0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"models: {', '.join(ready)}"
        raise CommandError(f"no model '{name}'", hint)
    if nm_per_px is not None and facts.get("receptive_field_px"):
        facts["receptive_field_nm"] = round(facts["receptive_field_px"] * nm_per_px, 4)
        facts["widest_field_nm"] = round(facts["widest_field_px"] * nm_per_px, 4)
    return facts


def read_parameters(overrides: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` as TOML; a bare word is text.

    Raises
    ------
    CommandError
        There is no ``=``.
    """
    found = {}
    for text in overrides:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise CommandError(f"--set {text} is not key=value", "write for example --set pools=[2,2]")
        try:
            found[key] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            found[key] = value
    return found


def probability(text: str | None) -> float | None:
    """Read a threshold above 0 and at most 1."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value <= 1.0:
        raise CommandError(f"--threshold {text} is no probability", "write for example --threshold 0.7")
    return value


def target(file: Path, out: Path | None, *, overwrite: bool) -> Path:
    """Return where imported weights go: ``OUT.safetensors``, by default FILE's name in the working folder.

    Raises
    ------
    CommandError
        It has another suffix, or is there already.
    """
    place = out if out is not None else Path(f"{file.stem}.safetensors")
    if place.suffix != ".safetensors":
        raise CommandError(f"'{place}' is no .safetensors file", f"write -o {place.with_suffix('.safetensors')}")
    there = [p for p in (place, place.with_suffix(".json")) if p.exists()]
    if there and not overwrite:
        raise CommandError(f"'{there[0]}' is there already", "choose another place with -o, or add --overwrite")
    return place


def _ready() -> list[str]:
    from insitu.models import METHODS, weights

    return [*METHODS, *weights()]


def _model(name: str, *, sizes: bool = True) -> dict[str, Any]:
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
        **(_sizes(architecture, card.get("parameters")) if card and sizes else {}),
        "card": card,
    }


def _architecture(name: str) -> dict[str, Any]:
    from insitu.models.architectures import defaults
    from insitu.registry import entries

    about = {entry.name: entry.about for entry in entries("architectures")}
    return {
        "name": name,
        "kind": "architecture",
        "about": about[name],
        "parameters": None,
        **_sizes(name, None, count=True),
        "defaults": {k: list(v) if isinstance(v, tuple) else v for k, v in defaults(name).items()},
    }


def _preset(name: str) -> dict[str, Any]:
    from insitu.models.presets import preset

    chosen = preset(name)
    return {
        "name": name,
        "kind": "preset",
        "about": chosen.about,
        "source": chosen.source,
        "architecture": chosen.architecture,
        "architecture_parameters": chosen.parameters,
        "parameters": None,
        **_sizes(chosen.architecture, chosen.parameters, count=True),
        "input": chosen.input.as_card(),
        "recipe": chosen.recipe,
        "header": chosen.header,
    }


def _file(path: Path) -> dict[str, Any]:
    from insitu.models.checkpoint import load_network

    card = dict(load_network(path).card)
    architecture = str(card["architecture"])
    return {
        "name": str(card.get("name", path.stem)),
        "kind": f"weights of {architecture}",
        "file": str(path.resolve()),
        "parameters": None,
        **_sizes(architecture, card.get("parameters"), count=True),
        "card": card,
    }


def _sizes(architecture: str, parameters: Mapping[str, Any] | None, *, count: bool = False) -> dict[str, Any]:
    from insitu.models.architectures import anatomy

    found = anatomy(architecture, parameters)
    sizes: dict[str, Any] = {"parameters": found.parameters} if count else {}
    return sizes | {
        "mac_per_px": found.mac_per_px,
        "receptive_field_px": found.receptive_field_px,
        "widest_field_px": found.widest_field_px,
        "sides_multiple_of": found.multiple,
    }


def _card(path: Path) -> dict[str, Any]:
    """Return the card for programs, with the one for readers under ``readable``; empty for a method without weights."""
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    readable = path.with_suffix(".md")
    return card | {"readable": readable.read_text(encoding="utf-8")} if readable.is_file() else card
