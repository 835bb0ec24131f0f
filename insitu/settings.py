"""Settings: what `options` declares, validated, layered and traceable to where each value came from.

The layers are base ← preset ← ``--config`` file ← ``--set`` ← the command's own options; a later one wins. One frozen
pydantic model a stage is built from the dataclasses in `options`; what the stages receive are those plain dataclasses.
TOML has no null, so a setting that may be absent is written ``"none"``.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from insitu.errors import CommandError
from insitu.options import (
    STAGES,
    CalibrationOptions,
    Doc,
    EventOptions,
    LinkOptions,
    MeasureOptions,
    PrepareOptions,
    ReadOptions,
    SegmentOptions,
    StoreOptions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BASE = "base"
_NONE = "none"
_BASE_HEAD = """\
# Every setting at its default, with its meaning and what is allowed. Copy what you change into a file of your own and
# give it with --config, or change a single one with --set stage.name=value. Written from insitu/options.py by
#   insitu config show --preset base --explained > configs/base.toml
about = "every setting at its default"
"""
_META = ("about", "extends")
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
    def optional(self) -> bool:
        """Whether ``"none"`` is a value."""
        return NoneType in get_args(self.type)

    @property
    def allowed(self) -> str:
        """What may be given, in words: ``"an integer, 1 to 16"``."""
        plain = next(t for t in get_args(self.type) if t is not NoneType) if self.optional else self.type
        words = _type_in_words(plain) + _range_in_words(self.doc)
        return f"{words}, or none" if self.optional else words


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a run, resolved; every stage finds its plain dataclass here.

    `origins` says for every key that is not at its base value where the value came from; it takes no part in equality.
    """

    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    read: ReadOptions = field(default_factory=ReadOptions)
    prepare: PrepareOptions = field(default_factory=PrepareOptions)
    segment: SegmentOptions = field(default_factory=SegmentOptions)
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    link: LinkOptions = field(default_factory=LinkOptions)
    events: EventOptions = field(default_factory=EventOptions)
    store: StoreOptions = field(default_factory=StoreOptions)
    origins: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - the value of any setting
        """Return the value of ``stage.name``."""
        stage, _, name = find(key).key.partition(".")
        return getattr(getattr(self, stage), name)

    def items(self) -> list[tuple[str, Any]]:
        """Return every (key, value), stage by stage in the order of the stream."""
        return [(key, self[key]) for key in catalogue()]

    def origin(self, key: str) -> str:
        """Return where the value of `key` came from: ``"base"``, ``"preset fast"``, ``"--set"``, a file."""
        return self.origins.get(find(key).key, BASE)

    def changed(self) -> dict[str, Any]:
        """Return the settings whose value differs from base."""
        return {key: value for key, value in self.items() if value != catalogue()[key].default}

    def replace(self, values: Mapping[str, Any], origin: str) -> Settings:
        """Return settings with ``{"link.search_range_px": 6, …}`` laid on top, each marked as coming from `origin`.

        Raises
        ------
        CommandError
            A key is unknown or a value is not allowed.
        """
        return _resolved(self, [(find(key, origin).key, value, origin) for key, value in values.items()])

    def to_toml(self, *, explained: bool = False) -> str:
        """Return the resolved settings as TOML that `read_file` reads back to equal settings.

        Parameters
        ----------
        explained : bool
            Write meaning and allowed values above every setting (as in ``configs/base.toml``).
        """
        lines: list[str] = []
        for stage, options in STAGES.items():
            lines += ["", f"[{stage}]"]
            for f in fields(options):
                setting = catalogue()[f"{stage}.{f.name}"]
                if explained:
                    lines.append(f"# {setting.doc.text} [{setting.allowed}]")
                origin = self.origins.get(setting.key)
                lines.append(
                    f"{f.name} = {to_toml(self[setting.key])}" + (f"  # {_one_line(origin)}" if origin else "")
                )
        return "\n".join(lines[1:]) + "\n"


def load(
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    overrides: Iterable[str] = (),
    given: Mapping[str, tuple[Any, str]] | None = None,
) -> Settings:
    """Resolve the layers base ← preset ← config file ← overrides ← given.

    Parameters
    ----------
    preset : str, optional
        Name of a file in ``configs/``, without ``.toml``.
    config : path, optional
        A TOML file with tables named after the stages; ``extends = "NAME or FILE"`` puts another one below it.
    overrides : iterable of str
        ``"link.search_range_px=6"``; the value is TOML, a bare word is taken as text.
    given : mapping, optional
        Key → (value, origin), for the options of a command (``{"calibration.fps": (400.0, "--fps")}``).

    Raises
    ------
    CommandError
        A file that cannot be read, an unknown name, or a value outside its range.
    """
    layers: list[tuple[str, Any, str]] = []
    if preset is not None:
        layers += _file_layers(preset_path(preset), f"preset {preset}")
    if config is not None:
        layers += _file_layers(Path(config), str(config))
    layers += [(*parse_override(text), "--set") for text in overrides]
    layers += [(find(key).key, value, origin) for key, (value, origin) in (given or {}).items()]
    return _resolved(Settings(), layers)


def base_toml() -> str:
    """Return the text of ``configs/base.toml``: every setting with its default, meaning and range."""
    return f"{_BASE_HEAD}\n{Settings().to_toml(explained=True)}"


def read_file(path: str | Path) -> Settings:
    """Return base with a TOML file laid on top: a preset, a config file, or the ``settings.toml`` of a run."""
    return load(config=path)


def presets() -> dict[str, str]:
    """Return the names of the presets that ship with the package, each with its ``about`` line."""
    found = sorted(p for p in presets_folder().glob("*.toml") if p.stem != BASE)
    return {p.stem: str(_toml(p).get("about", "")) for p in found}


def presets_folder() -> Path:
    """Return the folder of presets: inside an installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "configs"
    return installed if installed.is_dir() else here.parent / "configs"


def preset_path(name: str) -> Path:
    """Return the file of a preset, or raise CommandError with the nearest name."""
    path = presets_folder() / f"{name}.toml"
    if name in {*presets(), BASE}:
        return path
    near = difflib.get_close_matches(name, presets(), 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"presets are: {', '.join(presets())}"
    raise CommandError(f"unknown preset '{name}'", hint)


@cache
def catalogue() -> dict[str, Setting]:
    """Return every setting by its key, in the order of `options.STAGES`."""
    found: dict[str, Setting] = {}
    for stage, options in STAGES.items():
        hints = get_type_hints(options, include_extras=True)
        for f in fields(options):
            declared, doc = get_args(hints[f.name])
            found[f"{stage}.{f.name}"] = Setting(f"{stage}.{f.name}", declared, f.default, doc)
    return found


@cache
def stage_model(stage: str) -> type[BaseModel]:
    """Return the frozen pydantic model that validates one stage."""
    built: dict[str, Any] = {}
    for setting in catalogue().values():
        if setting.key.startswith(f"{stage}."):
            doc = setting.doc
            limits = Field(ge=doc.ge, le=doc.le, gt=doc.gt, description=doc.text)
            built[setting.key.partition(".")[2]] = (Annotated[setting.type, limits], setting.default)
    config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    model: type[BaseModel] = create_model(STAGES[stage].__name__, __config__=config, **built)
    return model


def find(key: str, origin: str = "") -> Setting:
    """Return the setting named `key`, or raise CommandError with the nearest one."""
    known = catalogue()
    if key in known:
        return known[key]
    where = f" (in {origin})" if origin and not origin.startswith("--") else ""
    raise CommandError(f"unknown setting '{key}'{where}", _nearest(key))


def parse_override(text: str) -> tuple[str, Any]:
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
    except tomllib.TOMLDecodeError:
        return key, value
    return key, read["v"] if set(read) == {"v"} else value


def to_toml(value: Any) -> str:  # noqa: ANN401 - a value of any setting
    """Write one value as TOML (None as ``"none"``, tuples as arrays)."""
    if value is None:
        return f'"{_NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(to_toml(v) for v in value)}]"
    if isinstance(value, str):
        # a JSON string is a TOML basic string, but for DEL, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return repr(value)


def _nearest(key: str) -> str:
    """Return the hint for an unknown key: the nearest setting, the stage's settings, or where to look."""
    known = catalogue()
    stage, _, name = key.rpartition(".")
    by_name = {k.partition(".")[2]: k for k in reversed(known)} | _ELSEWHERE
    near = difflib.get_close_matches(key, known, 1, 0.75)
    if not near:
        near = [by_name[n] for n in difflib.get_close_matches(name, by_name, 1, 0.6)]
    if near:
        return f"did you mean '{near[0]}'?"
    if stage in STAGES:
        return f"settings of {stage}: {', '.join(f.name for f in fields(STAGES[stage]))}"
    return "list them all with: insitu config show"


def _resolved(below: Settings, layers: list[tuple[str, Any, str]]) -> Settings:
    """Lay (key, value, origin) rows over `below`, validate, and keep the origin of every value."""
    stages = {stage: asdict(getattr(below, stage)) for stage in STAGES}
    origins = dict(below.origins)
    for key, value, origin in layers:
        stage, _, name = key.partition(".")
        stages[stage][name] = _as_python(catalogue()[key], value)
        origins[key] = origin
    return Settings(**{s: _validated(s, values, origins) for s, values in stages.items()}, origins=origins)


def _validated(stage: str, values: dict[str, Any], origins: Mapping[str, str]) -> Any:  # noqa: ANN401 - STAGES[stage]
    """Validate one stage and return its dataclass."""
    try:
        model = stage_model(stage)(**values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise _refusal(catalogue()[f"{stage}.{name}"], values[name], origins) from None
    options = STAGES[stage](**{name: getattr(model, name) for name in values})
    if isinstance(options, PrepareOptions) and options.crop is not None:
        y0, x0, y1, x1 = options.crop
        if not (0 <= y0 < y1 and 0 <= x0 < x1):
            raise _refusal(catalogue()["prepare.crop"], options.crop, origins)
    return options


def _refusal(setting: Setting, value: Any, origins: Mapping[str, str]) -> CommandError:  # noqa: ANN401 - what was given
    """Return the error for a value that is not allowed: key, value, where it came from, and what is allowed."""
    origin = origins.get(setting.key, BASE)
    example = f"for example --set {setting.key}={to_toml(setting.default)}"
    return CommandError(
        f"{setting.key} = {to_toml(value)} ({_one_line(origin)}) is not allowed",
        f"it must be {setting.allowed}; {example}",
    )


def _as_python(setting: Setting, value: Any) -> Any:  # noqa: ANN401 - TOML in, Python out
    """Turn TOML's ways of saying none and tuple into Python's; everything else is left to validation."""
    if setting.optional and value == _NONE:
        return None
    return tuple(value) if isinstance(value, list) else value


def _file_layers(path: Path, origin: str, above: tuple[Path, ...] = ()) -> list[tuple[str, Any, str]]:
    """Return the (key, value, origin) rows of a file, those of the files it extends first."""
    path = path.resolve()
    if path in above:
        chain = " → ".join(p.name for p in (*above, path))
        raise CommandError(f"settings files extend each other in a circle: {chain}", f"remove one extends in '{path}'")
    table = _toml(path)
    rows: list[tuple[str, Any, str]] = []
    if "extends" in table:
        named = str(table["extends"])
        is_file = named.endswith(".toml")
        parent = path.parent / named if is_file else preset_path(named)
        rows += _file_layers(parent, named if is_file else f"preset {named}", (*above, path))
    for stage, values in table.items():
        if stage in _META:
            continue
        if not isinstance(values, dict):
            raise CommandError(f"unknown setting '{stage}' (in {origin})", f"{_nearest(stage)} write it under [stage]")
        rows += [(find(f"{stage}.{name}", origin).key, value, origin) for name, value in values.items()]
    return rows


def _toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, or say in two lines why not."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandError(f"no settings file '{path}'", "start one with: insitu config show > my.toml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read settings file '{path}': {error}", "give a readable TOML text file") from None
    except tomllib.TOMLDecodeError as error:
        raise CommandError(
            f"'{path}' is not TOML: {error}", f"mend that line, then: insitu config check {path}"
        ) from None


def _type_in_words(declared: Any) -> str:  # noqa: ANN401 - any annotation
    if get_origin(declared) is Literal:
        return f"one of {', '.join(get_args(declared))}"
    if get_origin(declared) is tuple:
        return "[y0, x0, y1, x1] in integers"  # prepare.crop is the one tuple there is
    return {bool: "true or false", int: "an integer", float: "a number", str: "text"}[declared]


def _range_in_words(doc: Doc) -> str:
    low = f" above {doc.gt:g}" if doc.gt is not None else f" of at least {doc.ge:g}" if doc.ge is not None else ""
    if doc.le is None:
        return low
    if doc.ge is not None:
        return f", {doc.ge:g} to {doc.le:g}"
    return f"{low} and at most {doc.le:g}" if low else f" of at most {doc.le:g}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
