"""Networks of the literature by name: architecture, parameters, input and recipe as published (``configs/models``).

``horwath-unet`` is a file; ``horwath-unet:blur-2`` is one of its variants, which says only what differs. The comments
at the head of each file tell the published recipe and scores.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insitu.errors import CommandError
from insitu.models.inputs import Conditioning, conditioning

_KEYS = ("about", "architecture", "source", "input", "parameters", "recipe", "variants")


@dataclass(frozen=True, slots=True)
class Preset:
    """A network of the literature, untrained.

    Parameters
    ----------
    name : str
        ``"horwath-unet"`` or ``"horwath-unet:blur-2"``.
    about, source : str
        One line; where it was published.
    architecture : str
    parameters : dict
        For `insitu.models.architectures.build`.
    input : Conditioning
    recipe : dict
        As published: loss, optimiser, rate, batch, epochs, crop_px, augment, threshold …
    header : str
        Published recipe and scores, in words.
    """

    name: str
    about: str
    source: str
    architecture: str
    parameters: dict[str, Any] = field(default_factory=dict)
    input: Conditioning = field(default_factory=Conditioning)
    recipe: dict[str, Any] = field(default_factory=dict)
    header: str = ""


def folder() -> Path:
    """Return the folder of the presets: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return (installed if installed.is_dir() else package.parent / "configs") / "models"


def presets() -> dict[str, Preset]:
    """Return every preset and every variant by its name."""
    found = {}
    for path in sorted(folder().glob("*.toml")):
        for preset in read(path):
            found[preset.name] = preset
    return found


def preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises
    ------
    CommandError
        There is none of this name.
    """
    known = presets()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    families = ", ".join(n for n in known if ":" not in n)
    hint = f"did you mean '{near[0]}'?" if near else f"presets are: {families}"
    raise CommandError(f"no preset '{name}'", hint)


def read(path: Path) -> list[Preset]:
    """Read a file of presets: the network itself, then its variants.

    Raises
    ------
    CommandError
        It is not TOML, lacks its architecture, or holds an unknown entry.
    InputError
        Its input is none that there is.
    """
    text = path.read_text(encoding="utf-8")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"'{path}' is not TOML: {error}", "mend it") from None
    for key in table:
        if key not in _KEYS:
            raise CommandError(f"unknown entry '{key}' in '{path}'", f"a preset has: {', '.join(_KEYS)}")
    if "architecture" not in table:
        raise CommandError(f"'{path}' names no architecture", 'add for example architecture = "unet"')
    lines = text.splitlines()
    end = next((k for k, line in enumerate(lines) if not line.startswith("#")), len(lines))
    first = Preset(
        name=path.stem,
        about=str(table.get("about", "")),
        source=str(table.get("source", "")),
        architecture=str(table["architecture"]),
        parameters=dict(table.get("parameters", {})),
        input=conditioning(table.get("input")),
        recipe=dict(table.get("recipe", {})),
        header="\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end]),
    )
    return [first, *(_variant(first, name, said) for name, said in table.get("variants", {}).items())]


def _variant(first: Preset, name: str, said: dict[str, Any]) -> Preset:
    return Preset(
        name=f"{first.name}:{name}",
        about=str(said.get("about", "")),
        source=first.source,
        architecture=first.architecture,
        parameters={**first.parameters, **said.get("parameters", {})},
        input=conditioning(said["input"]) if "input" in said else first.input,
        recipe={**first.recipe, **said.get("recipe", {})},
        header=first.header,
    )
