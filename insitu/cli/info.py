"""``insitu info``: what is in a movie, and how far it can be trusted."""

from __future__ import annotations

from typing import Any

import click

from insitu.cli.console import Console
from insitu.cli.failures import report
from insitu.cli.parameters import debug_option, json_option
from insitu.cli.preview import pixel_in_words, time_in_words
from insitu.errors import EXIT_DONE

_MAX_GAPS = 8


@click.command(short_help="describe movies")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@json_option
@debug_option
def info(*, paths: tuple[str, ...], as_json: bool) -> int:
    """Print format, frames, shape, dtype, calibration and where it came from, gaps, and what to know before a run.

    PATH is what it is for `insitu run`: a movie, a folder of numbered images, a folder of movies, or a pattern.
    """
    from insitu.cli.run import worst
    from insitu.cli.sources import movies_of

    console = Console(as_json=as_json)
    codes = []
    paths = tuple(movie for path in paths for movie in movies_of(path))
    for path in paths:
        try:
            facts = describe(path)
        except Exception as error:
            if len(paths) == 1:
                raise
            codes.append(report(error))
            continue
        codes.append(EXIT_DONE)
        console.emit("info", **facts)
        console.result(in_words(facts))
    return worst(codes)


def describe(path: str) -> dict[str, Any]:
    """Return what is known of the movie `path` as plain values, with the numbers of the frames that are missing."""
    from insitu import read

    reader = read.open_source(path)
    try:
        facts = read.describe(reader)
        missing = [i for i in range(facts["n_frames"] or 0) if reader.header(i).status == "missing"]
    finally:
        reader.close()
    return {**facts, "missing": missing}


def in_words(facts: dict[str, Any]) -> str:
    """Return the facts as text, one a line, under the path."""
    rows = [
        ("format", facts["format"]),
        ("frames", "unknown" if facts["n_frames"] is None else str(facts["n_frames"])),
        ("frame", f"{facts['height']}×{facts['width']} px, {facts['dtype']}"),
        ("pixel size", pixel_in_words(facts)),
        ("frame time", time_in_words(facts)),
    ]
    if facts["exposure_s"] is not None:
        rows.append(("exposure", f"{facts['exposure_s']:.6g} s"))
    if facts["missing"]:
        rows.append(("missing", f"{len(facts['missing'])} frames: {_stretches(facts['missing'])}"))
    if facts["lossy"] and not any("lossy" in note for note in facts["notes"]):
        rows.append(("note", "compressed with loss: sizes and intensities are not measurements"))
    rows += [("note", note) for note in facts["notes"]]
    if facts["nm_per_px"] is None:
        rows.append(("note", "give --nm-per-px to get results in nm; without it they are in px"))
    if facts["problem"]:
        rows.append(("problem", facts["problem"]))
    return "\n".join([facts["path"], *(f"  {name:<11} {text}" for name, text in rows)])


def _stretches(numbers: list[int]) -> str:
    """Return sorted numbers as ``3, 7-9``; a long list is cut."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in found[:_MAX_GAPS]]
    return ", ".join([*shown, "…"] if len(found) > _MAX_GAPS else shown)
