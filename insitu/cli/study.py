"""``insitu study``: a grid of networks, images and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from insitu.cli.console import Console, Tally
from insitu.cli.parameters import debug_option, json_option, quiet_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@click.command(short_help="a grid of networks, images and seeds, as in the papers")
@click.argument("config", metavar="CONFIG", required=False)
@click.option("-o", "--out", metavar="OUT", help="Folder of the study; one that was stopped goes on.")
@click.option("--cells", type=click.IntRange(min=1), help="Stop after so many cells.")
@click.option("--overwrite", is_flag=True, help="Do cells again whose settings have changed.")
@click.option("--list", "list_studies", is_flag=True, help="List the studies that come with insitu and stop.")
@json_option
@quiet_option
@debug_option
def study(
    *,
    config: str | None,
    out: str | None,
    cells: int | None,
    overwrite: bool,
    list_studies: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train every network of CONFIG on every set from every seed, score it on every test set, draw the figures.

    CONFIG is a TOML file or the name of a study that comes with insitu. A cell that is done is not done again: after
    Ctrl-C the same command goes on.
    """
    from insitu.study.config import read_study, shipped
    from insitu.study.grid import named, run

    console = Console(as_json=as_json, quiet=quiet)
    if list_studies:
        for name, path in shipped().items():
            console.result(f"{name:<20} {read_study(path).about}")
        return
    if config is None or out is None:
        missing = "CONFIG" if config is None else "-o OUT"
        raise CommandError(f"insitu study needs {missing}", "for example: insitu study receptive-field -o study")
    from insitu.models.memory import keep_large_blocks

    keep_large_blocks()
    tally: list[Tally] = []

    def progress(done: int, total: int) -> None:
        if not tally:
            tally.append(Tally(console, "study", total, "cells"))
        tally[0](done)
        console.emit("progress", done=done, total=total)

    folder = Path(out).expanduser()
    outcome = run(named(config), folder, redo=overwrite, least=cells or 0, progress=progress, report=console.note)
    console.emit("study", out=str(folder.resolve()), cells=outcome.cells, done=outcome.before + outcome.now)
    console.result(in_words(outcome.summary))
    again = f", {outcome.before} of them before" if outcome.before else ""
    console.result(f"{outcome.before + outcome.now} of {outcome.cells} cells done{again}")
    console.result(str(folder.resolve()))


def in_words(summary: Sequence[Mapping[str, Any]]) -> str:
    """Return the means over the seeds as a table."""
    head = ("model", "trained on", "tested on", "seeds", "Dice", "± SD", "calibrated", "objects F1")
    rows = [head]
    for r in summary:
        values = (r["dice"], r["dice_sd"], r["dice_calibrated"], r["object_f1"])
        numbers = ("–" if v is None else f"{v:.3f}" for v in values)
        rows.append((r["model"], r["trained_on"], r["tested_on"], str(r["seeds"]), *numbers))
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
