"""Where values come from: presets, TOML files that may extend one another, and ``--set``; each a list of rows."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from insitu.errors import CommandError
from insitu.settings.catalogue import find, nearest

BASE = "base"
# a row is (key, value as TOML gave it, origin in words)
Row = tuple[str, Any, str]
_META = ("about", "extends")


def presets_folder() -> Path:
    """Return the folder of presets: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def presets() -> dict[str, str]:
    """Return the names of the presets that ship with the package, each with its ``about`` line."""
    found = sorted(p for p in presets_folder().glob("*.toml") if p.stem != BASE)
    return {p.stem: str(read_toml(p).get("about", "")) for p in found}


def preset_path(name: str) -> Path:
    """Return the file of a preset, or raise CommandError with the nearest name."""
    path = presets_folder() / f"{name}.toml"
    if name == BASE or name in presets():
        return path
    near = difflib.get_close_matches(name, presets(), 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"presets are: {', '.join(presets())}"
    raise CommandError(f"unknown preset '{name}'", hint)


def preset_rows(name: str) -> list[Row]:
    """Return the rows of a preset; base has none, for it is below everything already."""
    return [] if name == BASE else file_rows(preset_path(name), f"preset {name}")


def file_rows(path: Path, origin: str, above: tuple[Path, ...] = ()) -> list[Row]:
    """Return the rows of a settings file, those of the file or preset it extends first.

    Parameters
    ----------
    path : Path
    origin : str
        What to call the file where a value's origin is shown.
    above : tuple of Path
        The files that led here by ``extends``.

    Raises
    ------
    CommandError
        The file cannot be read, is not TOML, names an unknown setting, or extends itself by a detour.
    """
    path = path.resolve()
    if path in above:
        chain = " → ".join(p.name for p in (*above, path))
        raise CommandError(f"settings files extend each other in a circle: {chain}", f"remove one extends in '{path}'")
    table = read_toml(path)
    rows = _extended(str(table["extends"]), path, above) if "extends" in table else []
    for stage, values in table.items():
        if stage in _META:
            continue
        if not isinstance(values, dict):
            hint = nearest(stage) or "settings stand under their stage, for example [link]"
            raise CommandError(f"unknown setting '{stage}' (in {origin})", hint)
        rows += [(find(f"{stage}.{name}", origin).key, value, origin) for name, value in values.items()]
    return rows


def parse_override(text: str) -> Row:
    """Split ``stage.name=value`` and read the value as TOML; a bare word is text.

    Raises
    ------
    CommandError
        There is no ``=``, or the setting is unknown.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise CommandError(f"'{text}' is not key=value", "write for example --set link.search_range_px=6")
    key = find(key).key
    try:
        read = tomllib.loads(f"v = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return key, value, "--set"
    return key, read["v"] if set(read) == {"v"} else value, "--set"


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, or say in two lines why not."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandError(f"no settings file '{path}'", "start one with: insitu config show > my.toml") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CommandError(f"'{path}' is not TOML: {error}", f"mend it, then: insitu config check {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read settings file '{path}': {error}", "give a readable TOML text file") from None


def _extended(named: str, path: Path, above: tuple[Path, ...]) -> list[Row]:
    """Return the rows of what `path` extends: a file beside it when `named` ends in ``.toml``, else a preset."""
    if named.endswith(".toml"):
        return file_rows(path.parent / named, named, (*above, path))
    return [] if named == BASE else file_rows(preset_path(named), f"preset {named}", (*above, path))
