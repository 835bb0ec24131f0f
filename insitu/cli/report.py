"""``insitu report``: one page about a run, or several side by side; and the movie with what was found drawn into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from insitu.cli.console import Console, Tally, size
from insitu.cli.parameters import debug_option, json_option, quiet_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from insitu.results import Run

COMPARISON = "comparison.html"


@click.command(short_help="a page about a run, or several side by side")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("-o", "--out", metavar="FILE", help="Where to write the page; else in the run, several: comparison.html.")
@click.option("--source", metavar="MOVIE", help="Where the movie is now, if it was moved since the run.")
@click.option("--movie", is_flag=True, help="Write overlay.mp4 too: outlines by track, tails, events, sensors.")
@click.option("--gif", is_flag=True, help="Write overlay.gif too, at most 5 MB, which plays anywhere.")
@json_option
@quiet_option
@debug_option
def report(
    *,
    runs: tuple[str, ...],
    out: str | None,
    source: str | None,
    movie: bool,
    gif: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write report.html into the run folder RUN, and its figures (SVG, PNG, CSV) into RUN/figures.

    The page is one file that loads nothing. It shows the statistics of `insitu coarsening RUN` where these were made.
    Several RUN are laid side by side on one page. The last line printed is the absolute path of the page.
    """
    from insitu.report.page import write_comparison, write_report

    console = Console(as_json=as_json, quiet=quiet)
    if "" in {*runs, out, source}:
        raise CommandError("an empty text is no path", "check the variables of your shell: one of them may be empty")
    if len(runs) > 1 and (movie or gif or source):
        wrong = "--movie" if movie else "--gif" if gif else "--source"
        raise CommandError(f"{wrong} is for a single run", f"for example: insitu report {runs[0]} {wrong}")
    place = Path(out).expanduser().absolute() if out else None
    if len(runs) > 1:
        path = write_comparison(runs, place or Path(COMPARISON).absolute())
    else:
        path = write_report(runs[0], place, source=source)
        if movie or gif:
            _movies(runs[0], source, movie=movie, gif=gif, console=console)
    console.emit("report", out=str(path), bytes=path.stat().st_size)
    console.result(f"{path.name} · {size(path.stat().st_size)}")
    console.result(str(path))


def _movies(path: str, source: str | None, *, movie: bool, gif: bool, console: Console) -> None:
    """Write the movies that were asked for; where no encoder is installed a GIF takes the place of the MP4."""
    from insitu.report.encoding import encoder
    from insitu.report.overlay import source_of, write_gif, write_movie
    from insitu.results import open_run

    run: Run = open_run(path)
    reader = source_of(run, source)
    try:
        total = len(run.frames)
        if movie and encoder() is None:
            console.note("no encoder for mp4 is installed (pip install imageio-ffmpeg): writing overlay.gif instead")
            movie, gif = False, True
        if movie:
            made = write_movie(run, reader, run.path / "overlay.mp4", progress=Tally(console, "overlay", total))
            console.emit("movie", out=str(made.path), frames=made.frames, stride=made.stride)
            console.result(f"{made.path.name} · {size(made.path.stat().st_size)} · {_told(made.frames, made.stride)}")
        if gif:
            made = write_gif(run, reader, run.path / "overlay.gif")
            console.emit("movie", out=str(made.path), frames=made.frames, stride=made.stride)
            console.result(f"{made.path.name} · {size(made.path.stat().st_size)} · {_told(made.frames, made.stride)}")
    finally:
        reader.close()


def _told(frames: int, stride: int) -> str:
    return f"{frames} frames" + (f", every {stride}." if stride > 1 else "")
