"""``insitu demo``: the whole way on a movie whose truth is known, graded in front of the user."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from insitu.cli.console import Console, Meter, Tally, counted, duration
from insitu.cli.parameters import debug_option, json_option, quiet_option
from insitu.cli.simulate import in_words, make_room
from insitu.cli.simulated import TRUTH, make
from insitu.cli.stopping import stoppable
from insitu.errors import CommandError, InsituError

if TYPE_CHECKING:
    from insitu.evaluate import Scores
    from insitu.progress import RunSummary
    from insitu.settings import Settings

RUN = "movie.insitu"
SCORES = "scores.json"
# below this the noise decides whether a particle is seen; smaller ones are neither right nor wrong
_MIN_DIAMETER_PX = 8.0
# a shrinking particle is lost in the noise before it is gone: some ten frames in this movie
_EVENT_FRAMES = 20
_EVENT_DISTANCE_PX = 20.0
_EVENT_KINDS = ("coalescence", "dissolution")


@click.command(short_help="see it work")
@click.option("-o", "--out", metavar="OUT", default="demo", show_default=True, help="Folder to make.")
@click.option("--frames", type=click.IntRange(min=1), default=200, show_default=True, help="Length of the movie.")
@click.option("--overwrite", is_flag=True, help="Replace a demo that exists.")
@json_option
@quiet_option
@debug_option
def demo(*, out: str, frames: int, overwrite: bool, as_json: bool, quiet: bool) -> int:
    """Simulate a movie with known truth, analyse it, print how well that went, and write a report.

    Needs no data, no screen and no network. OUT holds the movie, its truth, the run with its report, and scores.json.
    """
    from insitu import __version__
    from insitu.settings import Settings
    from insitu.simulate import demo_movie

    console = Console(as_json=as_json, quiet=quiet)
    folder = Path(out).absolute()
    _make_room(folder, overwrite=overwrite)
    console.note(f"insitu {__version__}")
    simulation = demo_movie(frames=frames)
    movie = make(folder, simulation, progress=Tally(console, "simulate", frames))
    console.result(f"made     {movie.relative_to(folder.parent)} · {in_words(simulation)}")
    settings = Settings()
    summary = _analyse(movie, folder / RUN, settings, console)
    if summary.interrupted:
        raise KeyboardInterrupt
    console.result(
        f"analyse  {summary.used} of {summary.total} frames · {counted(summary.particles, 'particle')} measured"
        f" · {counted(summary.events, 'event')} · {duration(summary.seconds)}"
    )
    scores = graded(folder)
    (folder / SCORES).write_text(json.dumps(scores.as_dict(), indent=2) + "\n", encoding="utf-8")
    console.emit("scores", **scores.as_dict())
    console.result(f"check    against the known truth: {scores_in_words(scores)}")
    pictures = _pictures(folder / RUN, movie, console)
    tables = len(list((folder / RUN).glob("*.parquet")))
    console.result(f"wrote    {folder / RUN} · {' · '.join([*pictures, f'{tables} parquet tables'])}")
    _report(folder / RUN, console)
    console.result("try next insitu run MOVIE --nm-per-px 0.2 --fps 400")
    console.emit("end", out=str(folder), exit_code=summary.exit_code)
    console.result(str(folder))
    return summary.exit_code


def graded(folder: Path) -> Scores:
    """Score the run of a demo against its truth."""
    from insitu.evaluate import read_truth, score
    from insitu.results import open_run

    run = open_run(folder / RUN)
    truth, true_events = read_truth(folder / TRUTH)
    return score(
        truth,
        run.particles.to_pandas(),
        true_events,
        run.events.to_pandas(),
        min_diameter_px=_MIN_DIAMETER_PX,
        event_frames=_EVENT_FRAMES,
        event_distance_px=_EVENT_DISTANCE_PX,
        event_kinds=_EVENT_KINDS,
    )


def scores_in_words(scores: Scores) -> str:
    """Return the scores as one line."""
    found, links = scores.objects, scores.links
    return (
        f"detection F1 {found.f1:.3f} · diameter error {found.radius_rms_percent:.1f} % "
        f"(mean {found.radius_bias_percent:+.1f} %) · links {100 * links.recall:.1f} % right · "
        f"events inside {scores.events_matched} of {scores.events_truth} found (±{_EVENT_FRAMES} frames), "
        f"{scores.events_false} false"
    )


def _make_room(folder: Path, *, overwrite: bool) -> None:
    """Make the folder of the demo; an earlier demo goes only with `overwrite`, anything else never."""
    if folder.exists() and not overwrite:
        raise CommandError(f"'{folder}' exists", "--overwrite to replace a demo, or -o OTHER")
    make_room(folder, overwrite=overwrite)
    shutil.rmtree(folder / RUN, ignore_errors=True)
    (folder / SCORES).unlink(missing_ok=True)


def _analyse(movie: Path, out: Path, settings: Settings, console: Console) -> RunSummary:
    from insitu.pipeline import process

    meter = Meter(console)
    with stoppable(console.note) as stop:
        return process(movie, out, settings, progress=meter, on_result=meter.events, stop=stop.event)


def _pictures(out: Path, movie: Path, console: Console) -> list[str]:
    """Write overlay.png and overlay.mp4 and return their names; a picture that fails does not spoil the demo."""
    from insitu.read import open_source
    from insitu.report.encoding import encoder
    from insitu.report.overlay import write_gif, write_movie, write_still
    from insitu.results import open_run

    run, reader = open_run(out), open_source(movie)
    written = []
    try:
        write_still(run, reader, out / "overlay.png")
        written.append("overlay.png")
        if encoder() is None:
            console.note("no overlay.mp4: no ffmpeg to write it with (pip install imageio-ffmpeg); a GIF instead")
            made = write_gif(run, reader, out / "overlay.gif")
        else:
            made = write_movie(run, reader, out / "overlay.mp4", progress=Tally(console, "overlay", len(run.frames)))
        written.append(made.path.name + (f" (every {made.stride} frames)" if made.stride > 1 else ""))
    except InsituError as error:
        console.note(f"no overlay: {error.message}; {error.hint}")
    finally:
        reader.close()
    return written


def _report(out: Path, console: Console) -> None:
    """Write the coarsening statistics and the report, and say where; one that fails does not spoil the demo."""
    from insitu.report.page import write_report
    from insitu.results import open_run
    from insitu.statistics import FOLDER, write

    console.note("report   statistics, figures and one page")
    try:
        write(open_run(out).coarsening(), out / FOLDER, command=f"insitu coarsening {out.name}", overwrite=True)
        console.result(f"report   {write_report(out)}")
    except InsituError as error:
        console.note(f"no report: {error.message}; {error.hint}")
