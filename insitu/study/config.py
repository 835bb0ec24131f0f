"""What a study is: networks, image sets, seeds and a recipe, read from TOML and refused in two lines where wrong."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from insitu.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

Range = tuple[float, float]
Figure = Literal["spread", "field", "threshold", "confusion", "contours", "sizes"]


class _Table(BaseModel):
    """A table of the file: what it does not know it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)


class Simulated(_Table):
    """Images of `insitu.simulate` and their exact masks; a range that is not given is as wide as microscopes are.

    `contrast` is the share of the beam that the middle of a typical particle takes; `support` the rms grain of the
    support. `lattice_nm` draws the planes of every particle, of amplitude `lattice_contrast` relative to its thickness.
    `plain` leaves out what differs between microscopes (uneven beam, blur, patches, rods, stretched counts).
    `optics = "phase"` is a corrected lens at the focus that turns the phase of `lattice_nm` into contrast, on a thin
    support whose own grain is as strong.
    """

    kind: Literal["simulated"]
    images: Annotated[int, Field(ge=1, le=100_000)] = 60
    held_out: Annotated[int, Field(ge=1, le=10_000)] = 20
    side_px: Annotated[int, Field(ge=32, le=4096)] = 192
    seed: Annotated[int, Field(ge=0)] = 1
    mode: Literal["bright-field", "dark-field", "both"] = "bright-field"
    optics: Literal["varied", "absorption", "phase"] = "varied"
    plain: bool = False
    empty: Annotated[float, Field(ge=0, le=1)] = 0.05
    radius_px: Range = (3.0, 150.0)
    dose_e_per_px: Range = (3.0, 200.0)
    contrast: Range | None = None
    coverage: Range | None = None
    support: Range | None = None
    nm_per_px: Annotated[float, Field(gt=0)] | None = None
    lattice_nm: Annotated[float, Field(gt=0)] | None = None
    lattice_contrast: Annotated[float, Field(ge=0, le=1)] = 0.3
    hot_fraction: Annotated[float, Field(ge=0, le=0.1)] | None = None


class Labelled(_Table):
    """Images with label images: two patterns with one ``*`` each, that stands for the same text in both.

    Masks (0 and anything else) or instances. `index` is a CSV with a column ``name`` (what the ``*`` stands for);
    `group` is the column by which it is split, `only` keeps rows by column → [from, to]. Without, every image is a
    group of its own.
    """

    kind: Literal["labelled"]
    images: str
    labels: str
    index: str | None = None
    group: str | None = None
    only: dict[str, Range] = {}
    share_held_out: Annotated[float, Field(gt=0, lt=1)] = 0.3
    most: Annotated[int, Field(ge=1)] = 1000
    most_held_out: Annotated[int, Field(ge=1)] = 1000
    tile_px: Annotated[int, Field(ge=32)] = 256
    nm_per_px: Annotated[float, Field(gt=0)] | None = None


class Mixture(_Table):
    """Other sets together."""

    kind: Literal["mixture"]
    of: Annotated[list[str], Field(min_length=2)]


class Changed(_Table):
    """Another set with one thing about its training images, and their digits, changed.

    `bits = 8` stretches each image over 256 levels, as viewers do, before anything else sees it. `shrink` averages
    `shrink`² px into one, in training and use; scores are those of the full image. `tile_px` cuts training images into
    tiles, and `drop_empty` leaves out tiles without particle. `labels` says what is learned: the truth, the answer of
    a method without weights (the teacher), or pseudo-labels as published; scores are against the truth. `images` takes
    the first so many.
    """

    kind: Literal["changed"]
    from_set: Annotated[str, Field(alias="from")]
    bits: Literal[8, 16] = 16
    shrink: Annotated[int, Field(ge=1, le=8)] = 1
    tile_px: Annotated[int, Field(ge=16)] | None = None
    drop_empty: bool = False
    labels: Literal["truth", "classical", "pseudo"] = "truth"
    images: Annotated[int, Field(ge=1)] | None = None


Set = Annotated[Simulated | Labelled | Mixture | Changed, Field(discriminator="kind")]


class Network(_Table):
    """A network of the grid, or a method without weights, which is scored and not trained.

    `group` is what a figure shows in one colour (the complexity); `training` changes the recipe for this one.
    """

    architecture: str | None = None
    method: str | None = None
    parameters: dict[str, Any] = {}
    group: str = ""
    training: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one(self) -> Network:
        if (self.architecture is None) == (self.method is None):
            raise ValueError("give either architecture (to be trained) or method (without weights)")
        return self


class Study(_Table):
    """A whole study; `train` and `test` name sets, all of them by default."""

    about: str = ""
    seeds: Annotated[list[int], Field(min_length=1)] = [1, 2, 3]
    training: dict[str, Any] = {}
    models: Annotated[dict[str, Network], Field(min_length=1)]
    data: Annotated[dict[str, Set], Field(min_length=1)]
    train: list[str] = []
    test: list[str] = []
    own_test_only: bool = False
    min_area_px: Annotated[int, Field(ge=0)] = 30
    figures: list[Figure] = list(get_args(Figure))

    @property
    def trained_on(self) -> list[str]:
        """Sets that are trained on."""
        return self.train or list(self.data)

    def tested_on(self, trained: str) -> list[str]:
        """Sets on which what was trained on `trained` is scored."""
        return [trained] if self.own_test_only and trained in self.data else self.test or list(self.data)


def read_study(path: Path) -> Study:
    """Read and validate a study.

    Raises
    ------
    CommandError
        No such file, no TOML, an unknown name (with the nearest), a value that is not allowed.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _absent(path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"'{path}' is not TOML: {error}", "see docs/howto/study.md for one that is") from None
    except OSError as error:
        raise CommandError(f"cannot read the study '{path}': {error.strerror}", "give a TOML file") from error
    try:
        study = Study.model_validate(table)
    except ValidationError as error:
        raise _refused(error, path) from None
    _check_names(study, path)
    for name, network in study.models.items():
        check_recipe(study.training | network.training, f"models.{name}" if network.training else "training", path)
    return study


def shipped() -> dict[str, Path]:
    """Return the studies that come with insitu, by name."""
    from insitu.settings import presets_folder

    return {p.stem: p for p in sorted((presets_folder() / "studies").glob("*.toml"))}


def _absent(path: Path) -> CommandError:
    near = difflib.get_close_matches(path.name.removesuffix(".toml"), shipped(), 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"give a TOML file, or one of: {', '.join(shipped())}"
    return CommandError(f"no study '{path}'", hint)


def check_recipe(values: dict[str, Any], where: str, path: Path) -> None:
    """Refuse names and types that `insitu.train.loop.Recipe` does not have."""
    from insitu.train.loop import Recipe

    known = {f.name: f.default for f in fields(Recipe) if f.name != "seed"}
    for name, value in values.items():
        if name not in known:
            raise _unknown(name, where, list(known), path)
        wanted = type(known[name])
        if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool) != (
            wanted is bool
        ):
            raise CommandError(
                f"{where}.{name} = {value!r} in '{path}' is not allowed",
                f"it must be like its default, {known[name]!r}",
            )


def _check_names(study: Study, path: Path) -> None:
    """Refuse sets that are named and not there, and sets that are made of themselves."""
    used = [("train", n) for n in study.train] + [("test", n) for n in study.test]
    for name, entry in study.data.items():
        made_of = entry.of if isinstance(entry, Mixture) else [entry.from_set] if isinstance(entry, Changed) else []
        for other in made_of:
            if other in study.data and not isinstance(study.data[other], Simulated | Labelled):
                raise CommandError(
                    f"data.{name} of '{path}' is made of '{other}', which is made of others itself",
                    "make it of simulated or labelled sets",
                )
        used += [(f"data.{name}", n) for n in made_of]
    for where, name in used:
        if name not in study.data:
            raise _unknown(name, where, list(study.data), path)


def _unknown(name: str, where: str, known: list[str], path: Path) -> CommandError:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
    return CommandError(f"unknown name '{name}' under {where} in '{path}'", hint)


_KINDS: dict[str, type[BaseModel]] = {
    "simulated": Simulated,
    "labelled": Labelled,
    "mixture": Mixture,
    "changed": Changed,
}


def _refused(error: ValidationError, path: Path) -> CommandError:
    """Turn pydantic's first complaint into two lines."""
    first = error.errors()[0]
    place = [str(p) for p in first["loc"] if str(p) not in _KINDS]
    where = ".".join(place)
    if first["type"] == "extra_forbidden":
        known = _names_at(first["loc"])
        return _unknown(place[-1], ".".join(place[:-1]) or "the top", known, path)
    if first["type"] == "missing":
        return CommandError(f"'{path}' lacks {where}", "see docs/howto/study.md for what belongs into a study")
    if first["type"].startswith("union_tag"):
        return CommandError(f"{where}.kind in '{path}' is not known", f"kinds of data: {', '.join(_KINDS)}")
    given = first.get("input")
    shown = f" = {given!r}" if isinstance(given, int | float | str | list) else ""
    return CommandError(f"{where}{shown} in '{path}' is not allowed", first["msg"].removeprefix("Value error, "))


def _names_at(place: tuple[int | str, ...]) -> list[str]:
    """Return the names that may stand where an unknown one does."""
    model: type[BaseModel] = Study
    if len(place) > 2 and place[0] == "models":
        model = Network
    elif len(place) > 3 and place[0] == "data":
        model = _KINDS[str(place[2])]
    return [f.alias or name for name, f in model.model_fields.items()]
