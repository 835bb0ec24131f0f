"""Every setting there is, read off the dataclasses in `options`: key, type, default, meaning and range in words."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from insitu.errors import CommandError
from insitu.options import STAGES

if TYPE_CHECKING:
    from insitu.options import Doc

NONE = "none"
# what other programs and the literature call our settings; only used to answer a wrong name with the right one
_ELSEWHERE = {
    "max_step": "link.search_range_px",
    "max_displacement": "link.search_range_px",
    "linking_max_distance": "link.search_range_px",
    "gap_closing": "link.memory_frames",
    "min_size": "measure.min_area_px",
    "min_mass": "measure.min_area_px",
    "pixel_size": "calibration.nm_per_px",
    "frame_rate": "calibration.fps",
    "binning": "prepare.bin",
    "roi": "prepare.crop",
    "weights": "segment.model",
    "contrast": "segment.polarity",
    "batch_size": "segment.batch",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its key (``stage.name``), declared type, default, and its `Doc`."""

    key: str
    type: Any
    default: Any
    doc: Doc

    @property
    def stage(self) -> str:
        """The stage it belongs to."""
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        """Its name within the stage."""
        return self.key.rpartition(".")[2]

    @property
    def optional(self) -> bool:
        """Whether ``"none"`` is a value."""
        return NoneType in get_args(self.type)

    @property
    def allowed(self) -> str:
        """What may be given, in words: ``"an integer, 1 to 16"``."""
        plain = next(t for t in get_args(self.type) if t is not NoneType) if self.optional else self.type
        words = _type_in_words(plain) + _range_in_words(self.doc)
        return f"{words}, or none" if self.optional else words


@cache
def catalogue() -> dict[str, Setting]:
    """Return every setting by its key, in the order of `options.STAGES`."""
    return {s.key: s for stage, options in STAGES.items() for s in declared(options, f"{stage}.")}


def declared(options: type, prefix: str = "") -> list[Setting]:
    """Return the settings that a dataclass declares with `Annotated[type, Doc]` fields."""
    hints = get_type_hints(options, include_extras=True)
    found = []
    for f in fields(options):
        kind, doc = get_args(hints[f.name])
        found.append(Setting(f"{prefix}{f.name}", kind, f.default, doc))
    return found


def find(key: str, origin: str = "") -> Setting:
    """Return the setting named `key`, or raise CommandError with the nearest one."""
    known = catalogue()
    if key in known:
        return known[key]
    where = f" (in {origin})" if origin and not origin.startswith("--") else ""
    raise CommandError(f"unknown setting '{key}'{where}", nearest(key) or "list them all with: insitu config show")


def nearest(key: str) -> str:
    """Return a hint for an unknown key: the nearest setting, or the stage's settings; empty when nothing is near."""
    known = catalogue()
    stage, _, name = key.rpartition(".")
    by_name = {s.name: s.key for s in reversed(known.values())} | _ELSEWHERE
    # an almost right name counts more than a right stage, which all its other settings share
    near = [by_name[n] for n in difflib.get_close_matches(name, by_name, 1, 0.85)]
    near = near or difflib.get_close_matches(key, known, 1, 0.75)
    if not near:
        near = [by_name[n] for n in difflib.get_close_matches(name, by_name, 1, 0.6)]
    if near:
        return f"did you mean '{near[0]}'?"
    if stage in STAGES:
        return f"settings of {stage}: {', '.join(f.name for f in fields(STAGES[stage]))}"
    return ""


def to_toml(value: Any) -> str:  # noqa: ANN401 - a value of any setting
    """Write one value as TOML (None as ``"none"``, tuples as arrays)."""
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(to_toml(v) for v in value)}]"
    if isinstance(value, str):
        # a JSON string is a TOML basic string, but for DEL, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return repr(value)


def _type_in_words(kind: Any) -> str:  # noqa: ANN401 - any annotation
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        of = get_args(kind)
        names = {2: "y, x", 4: "y0, x0, y1, x1"}[len(of)]
        return f"[{names}] in {'integers' if of[0] is int else 'numbers'}"
    return {bool: "true or false", int: "an integer", float: "a number", str: "text"}[kind]


def _range_in_words(doc: Doc) -> str:
    low = f" above {doc.gt:g}" if doc.gt is not None else f" of at least {doc.ge:g}" if doc.ge is not None else ""
    if doc.le is None:
        return low
    if doc.ge is not None:
        return f", {doc.ge:g} to {doc.le:g}"
    return f"{low} and at most {doc.le:g}" if low else f" of at most {doc.le:g}"
