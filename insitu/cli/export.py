"""``insitu export``: a run in the format of another program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from insitu.cli.console import Console, Tally, size
from insitu.cli.parameters import debug_option, frame_range, json_option, quiet_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from insitu.cli.parameters import FrameRange
    from insitu.results import Run


@click.command(short_help="write a run for other programs")
@click.argument("run", metavar="RUN", required=False)
@click.argument("form", metavar="FORMAT", required=False)
@click.option("-o", "--out", metavar="OUT", help="File to write, or folder where the format is one.")
@click.option("--table", default="", help="csv, xlsx: particles, tracks, events or frames (xlsx: all without it).")
@click.option("--decimal", default="", metavar="SIGN", help="csv: decimal sign; with a comma, semicolons between.")
@click.option("--frames", metavar="A:B:STEP", callback=frame_range, help="fiji, coco: these frames of the source only.")
@click.option("--source", metavar="MOVIE", help="fiji, coco: where the movie is now, if the run does not find it.")
@click.option("--overwrite", is_flag=True, help="Replace an export that exists.")
@click.option("--list", "list_formats", is_flag=True, help="List the formats and stop.")
@json_option
@quiet_option
@debug_option
def export(
    *,
    run: str | None,
    form: str | None,
    out: str | None,
    table: str,
    decimal: str,
    frames: FrameRange | None,
    source: str | None,
    overwrite: bool,
    list_formats: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the run folder RUN as FORMAT: csv, xlsx, trackpy, fiji, trackmate, ctc, coco or geff.

    OUT is by default named after the run, in the present folder. The last line printed is its absolute path.
    """
    from insitu.export import FORMATS, ExportOptions, format_named
    from insitu.export import export as written
    from insitu.results import open_run

    console = Console(as_json=as_json, quiet=quiet)
    if list_formats:
        console.emit("formats", formats={f.name: f.about for f in FORMATS})
        console.result("\n".join(f"{f.name:<10} {f.about}" for f in FORMATS))
        return
    if run is None or form is None:
        raise CommandError("insitu export needs RUN and FORMAT", "for example: insitu export movie.insitu trackmate")
    if out == "":
        raise CommandError("an empty text is no path", "check the variables of your shell: one of them may be empty")
    format_named(form)
    opened = open_run(run)
    if not opened.finished:
        console.note("the run is not finished: what is safe so far is written")
    tally = Tally(console, "export", *_extent(opened, form, table, frames))
    options = ExportOptions(
        table=table, decimal=decimal, frames=frames, source=source, overwrite=overwrite, progress=tally
    )
    path = written(opened, form, out, options)
    console.emit("export", format=form, out=str(path), bytes=_bytes(path))
    console.result(f"{form} · {size(_bytes(path))}")
    console.result(str(path))


def _extent(run: Run, form: str, table: str, frames: FrameRange | None) -> tuple[int, str]:
    """Return how much there is to export, and of what."""
    if form in {"fiji", "coco"}:
        from insitu.export.planes import Planes

        return len(Planes(run, frames)), "frames"
    if form not in {"csv", "xlsx"}:
        return sum(run.counts[status] for status in ("ok", "bad", "missing")), "frames"
    tables = (run.particles, run.tracks, run.events, run.frames)
    wanted = [t for t in tables if t.name == (table or "particles") or (form == "xlsx" and not table)]
    return sum(len(t) for t in wanted), "rows"


def _bytes(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
