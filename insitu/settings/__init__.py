"""Settings: what `options` declares, validated, layered and traceable to where each value came from.

The layers are base ← preset ← ``--config`` file ← ``--set`` ← the command's own options; a later one wins. One frozen
pydantic model a stage is built from the dataclasses in `options`; what the stages receive are those plain dataclasses.
TOML has no null, so a setting that may be absent is written ``"none"``.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from insitu.errors import CommandError
from insitu.options import (
    STAGES,
    CalibrationOptions,
    EventOptions,
    LinkOptions,
    MeasureOptions,
    PrepareOptions,
    ReadOptions,
    SegmentOptions,
    StoreOptions,
)
from insitu.settings.catalogue import NONE, Setting, catalogue, declared, find, nearest, to_toml
from insitu.settings.layers import (
    BASE,
    Row,
    file_rows,
    parse_override,
    preset_path,
    preset_rows,
    presets,
    presets_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Setting",
    "Settings",
    "base_toml",
    "catalogue",
    "find",
    "load",
    "nearest",
    "parse_override",
    "preset_path",
    "presets",
    "presets_folder",
    "read_file",
    "simple",
    "stage_model",
]

_BASE_HEAD = """\
# Every setting at its default, with its meaning and what is allowed. Copy what you change into a file of your own and
# give it with --config, or change a single one with --set stage.name=value. Written from insitu/options.py by
#   insitu config show --preset base --explained > configs/base.toml
about = "every setting at its default"
"""


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
        setting = find(key)
        return getattr(getattr(self, setting.stage), setting.name)

    def options(self, stage: str) -> Any:  # noqa: ANN401 - the dataclass of any stage
        """Return the plain dataclass of a stage, ``"prepare"`` → `PrepareOptions`."""
        if stage not in STAGES:
            raise CommandError(f"unknown stage '{stage}'", f"stages are: {', '.join(STAGES)}")
        return getattr(self, stage)

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
                comment = f"  # {_one_line(origin)}" if origin else ""
                lines.append(f"{f.name} = {to_toml(self[setting.key])}{comment}")
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
    layers: list[Row] = [] if preset is None else preset_rows(preset)
    if config is not None:
        layers += file_rows(Path(config), str(config))
    layers += [parse_override(text) for text in overrides]
    layers += [(find(key).key, value, origin) for key, (value, origin) in (given or {}).items()]
    return _resolved(Settings(), layers)


def read_file(path: str | Path) -> Settings:
    """Return base with a TOML file laid on top: a preset, a config file, or the ``settings.toml`` of a run."""
    return load(config=path)


def base_toml() -> str:
    """Return the text of ``configs/base.toml``: every setting with its default, meaning and range."""
    return f"{_BASE_HEAD}\n{Settings().to_toml(explained=True)}"


def simple(options: type, values: Mapping[str, Any], origin: str, *, title: str) -> dict[str, Any]:
    """Validate values for a dataclass outside the stages (a simulation), written as in TOML, by the same rules.

    Parameters
    ----------
    options : type
        A dataclass whose fields are ``Annotated[type, Doc]``.
    values : mapping
        Field → value.
    origin : str
        Where the values come from, for the error.
    title : str
        What these settings are of, for the error.

    Raises
    ------
    CommandError
        An unknown name, or a value that is not allowed.
    """
    known = {s.name: s for s in declared(options)}
    taken = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"settings are: {', '.join(known)}"
            raise CommandError(f"unknown setting '{name}' of {title}", hint)
        taken[name] = _as_python(known[name], value)
    model = _model(options)
    try:
        checked = model(**taken)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise _refusal(known[name], taken[name], {name: origin}) from None
    return {name: getattr(checked, name) for name in taken}


def stage_model(stage: str) -> type[BaseModel]:
    """Return the frozen pydantic model that validates one stage."""
    return _model(STAGES[stage])


@cache
def _model(options: type) -> type[BaseModel]:
    """Build the model of a dataclass from its types and the ranges of its `Doc`."""
    built: dict[str, Any] = {}
    for setting in declared(options):
        doc = setting.doc
        limits = Field(ge=doc.ge, le=doc.le, gt=doc.gt, description=doc.text)
        built[setting.name] = (Annotated[setting.type, limits], setting.default)
    config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    model: type[BaseModel] = create_model(options.__name__, __config__=config, **built)
    return model


def _resolved(below: Settings, layers: list[Row]) -> Settings:
    """Lay rows over `below`, validate, and keep the origin of every value."""
    stages = {stage: asdict(getattr(below, stage)) for stage in STAGES}
    origins = dict(below.origins)
    for key, value, origin in layers:
        setting = catalogue()[key]
        stages[setting.stage][setting.name] = _as_python(setting, value)
        origins[key] = origin
    valid = {stage: _validated(stage, values, origins) for stage, values in stages.items()}
    # the settings.toml of a run names every setting; only those that it changes came from it
    changed = {k: o for k, o in origins.items() if stages[(s := catalogue()[k]).stage][s.name] != s.default}
    return Settings(**valid, origins=changed)


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
    example = f"for example --set {setting.key}={setting.doc.example or to_toml(setting.default)}"
    return CommandError(
        f"{setting.key} = {to_toml(value)} ({_one_line(origin)}) is not allowed",
        f"it must be {setting.allowed}; {example}",
    )


def _as_python(setting: Setting, value: Any) -> Any:  # noqa: ANN401 - TOML in, Python out
    """Turn TOML's ways of saying none and tuple into Python's; everything else is left to validation."""
    if setting.optional and value == NONE:
        return None
    return tuple(value) if isinstance(value, list) else value


def _one_line(text: str) -> str:
    return " ".join(text.split())
