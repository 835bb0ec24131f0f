"""A run in the formats of other programs: spreadsheets, trackpy, Fiji, TrackMate, Cell Tracking Challenge, COCO, geff.

Every format is a function ``write(run, out, options)`` in a file of its own; rows stream through, so that memory does
not grow with the movie. What each format can and cannot hold stands in ``docs/export.md``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from insitu.results import Run


@dataclass(frozen=True, slots=True)
class Format:
    """One format: ``target`` is ``module:function``; the first of `suffixes` is the default ("" for a folder).

    `takes` names the options that mean something to it; others are refused rather than ignored.
    """

    name: str
    target: str
    about: str
    suffixes: tuple[str, ...]
    takes: tuple[str, ...] = ()
    needs: str = ""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a user can choose; a format refuses what it does not take.

    Attributes
    ----------
    table : str
        csv: `particles` by default; xlsx: all by default.
    decimal : {".", ","}
        csv: the decimal sign.
    frames : (start, stop or None, step), optional
        fiji, coco: which frames of the source's timeline.
    source : str, optional
        fiji, coco: where the movie is now, when it is not where the run says.
    overwrite : bool
        Replace an export that exists.
    progress : callable, optional
        Told the rows or planes that are done.
    """

    table: str = ""
    decimal: str = ""
    frames: tuple[int, int | None, int] | None = None
    source: str | None = None
    overwrite: bool = False
    progress: Callable[[int], None] | None = None


FORMATS: tuple[Format, ...] = (
    Format(
        "csv",
        "insitu.export.csv:write",
        "one table as text, for spreadsheets",
        (".csv", ".tsv", ".txt"),
        ("table", "decimal"),
    ),
    Format("xlsx", "insitu.export.xlsx:write", "all tables as sheets, with units and meanings", (".xlsx",), ("table",)),
    Format("trackpy", "insitu.export.trackpy:write", "table with trackpy's column names", (".csv", ".parquet")),
    Format(
        "fiji",
        "insitu.export.fiji:write",
        "ImageJ: calibrated hyperstack, label stack, outlines (ROIs)",
        ("",),
        ("frames", "source"),
    ),
    Format("trackmate", "insitu.export.trackmate:write", "TrackMate's XML: spots, links, mergers", (".xml",)),
    Format("ctc", "insitu.export.ctc:write", "Cell Tracking Challenge: masks and man_track.txt", ("",)),
    Format(
        "coco",
        "insitu.export.coco:write",
        "COCO instance segmentation: images and masks for training",
        ("", ".json"),
        ("frames", "source"),
    ),
    Format("geff", "insitu.export.geff:write", "graph exchange file format (zarr)", (".geff", ".zarr"), needs="geff"),
)


def format_named(name: str) -> Format:
    """Return the format of a name.

    Raises
    ------
    CommandError
        There is no such format, or what it needs is not installed.
    """
    names = [f.name for f in FORMATS]
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, 1, 0.5)
        raise CommandError(
            f"no format '{name}'", f"did you mean '{near[0]}'?" if near else f"formats: {', '.join(names)}"
        )
    found = FORMATS[names.index(name)]
    if found.needs and find_spec(found.needs) is None:
        raise CommandError(
            f"the format {name} needs the package {found.needs}", f"install it: pip install 'insitu[{found.needs}]'"
        )
    return found


def _require_known(chosen: Format, options: ExportOptions) -> None:
    for name in ("table", "decimal", "frames", "source"):
        if getattr(options, name) and name not in chosen.takes:
            others = [f.name for f in FORMATS if name in f.takes]
            raise CommandError(
                f"the format {chosen.name} takes no --{name}", f"leave it out; it is for {' and '.join(others)}"
            )


def default_name(run: Run, chosen: Format) -> str:
    """Return the name an export takes from its run: ``movie.insitu`` → ``movie.trackmate.xml``."""
    return f"{run.path.name.removesuffix('.insitu')}.{chosen.name}{_suffix(chosen)}"


def _suffix(chosen: Format) -> str:
    suffix = chosen.suffixes[0]
    return "" if suffix == f".{chosen.name}" else suffix


def export(run: Run, name: str, out: str | Path | None = None, options: ExportOptions | None = None) -> Path:
    """Write a run in the format `name` and return the absolute path of what was written.

    Parameters
    ----------
    run : Run
    name : str
        One of `FORMATS`.
    out : path, optional
        A file, or a folder where the format is one; by default in the present folder, named after the run.
    options : ExportOptions, optional

    Raises
    ------
    CommandError
        The format or an option does not exist, or `out` is there already (unless ``options.overwrite``).
    """
    chosen = format_named(name)
    path = Path(default_name(run, chosen) if out is None else out).expanduser().absolute()
    options = options or ExportOptions()
    _require_known(chosen, options)
    if "" not in chosen.suffixes and path.suffix.lower() not in chosen.suffixes:
        raise CommandError(
            f"'{path.name}' does not end with {' or '.join(chosen.suffixes)}",
            f"name it for example {path.stem}{chosen.suffixes[0]}",
        )
    if path == run.path or run.path in path.parents:
        raise CommandError(f"'{path}' lies in the run itself", "choose a place outside it with -o OTHER")
    module, _, attribute = chosen.target.partition(":")
    write: Callable[[Run, Path, ExportOptions], Any] = getattr(import_module(module), attribute)
    write(run, path, options)
    return path
