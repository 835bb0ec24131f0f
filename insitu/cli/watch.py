"""``insitu watch``: analyse a movie while the camera writes it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from insitu.cli.console import Console, Meter
from insitu.cli.failures import explained
from insitu.cli.live import live_option, shown
from insitu.cli.logs import beside, log_options
from insitu.cli.parameters import (
    Choices,
    FrameRange,
    chosen,
    debug_option,
    frame_range,
    json_option,
    number_option,
    quiet_option,
    settings_options,
)
from insitu.cli.practice import practising
from insitu.cli.run import Job, worst
from insitu.cli.sources import stem
from insitu.cli.stopping import stoppable
from insitu.errors import CommandError, SourceStopped
from insitu.store.place import refuse

if TYPE_CHECKING:
    from insitu.cli.stopping import Stop
    from insitu.read.watch import Live, Until
    from insitu.read.watch.movies import Kind


@click.command(short_help="analyse while the camera writes")
@click.argument("path", metavar="DIR", required=False)
@click.option("-o", "--out", metavar="OUT", help="Run folder.")
@settings_options
@click.option("--frames", metavar="A:B:STEP", callback=frame_range, help="Analyse these frames only.")
@number_option("--until-idle", "End once nothing came for so many seconds (at least 60 before the first frame).")
@click.option("--stop-after", metavar="N", type=click.IntRange(min=1), help="End after N frames.")
@log_options
@click.option("--simulate", is_flag=True, help="Practise: a simulated camera fills DIR (default ./practice).")
@click.option("--on-event", metavar="COMMAND", help="Start COMMAND for each event, once it is safe; JSON on its stdin.")
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--from-late", is_flag=True, help="With --resume: analyse anew where files came too late.")
@click.option("--overwrite", is_flag=True, help="Replace a run that exists.")
@live_option
@click.option("--no-live", is_flag=True, help="No page, where one would be shown: at a terminal, with insitu[live].")
@json_option
@quiet_option
@debug_option
def watch(
    *,
    path: str | None,
    out: str | None,
    frames: FrameRange | None,
    until_idle: float | None,
    stop_after: int | None,
    log: str | None,
    log_offset: float | None,
    simulate: bool,
    on_event: str | None,
    resume: bool,
    from_late: bool,
    overwrite: bool,
    live: str | None,
    no_live: bool,
    as_json: bool,
    quiet: bool,
    **choices: Unpack[Choices],
) -> int:
    """Analyse a movie while the camera writes it.

    DIR is a folder of numbered images, or of folders by hour, minute and second, or a folder into which whole movies
    are written (each becomes OUT/<stem>), or one file that grows (TIFF, MRC, raw with its JSON). It may not exist yet.
    No frame is left out: where the analysis is slower than the camera, it lags behind. Ctrl-C says that no more frames
    are expected: what is there is analysed and the run finished; a second one stops, and --resume goes on later. The
    result is that of `insitu run` on what was written.
    """
    _agree(resume=resume, overwrite=overwrite, from_late=from_late, on_event=on_event)
    path = folder_named(path, out, simulate=simulate)
    from insitu.read.watch import Until

    settings = chosen(choices)
    place = Path(out) if out else Path(f"{stem(path)}.insitu")
    refuse(place, overwrite=resume or overwrite)
    console = Console(as_json=as_json, quiet=quiet)
    until = Until(3.0 if simulate and until_idle is None else until_idle)
    camera = practising(Path(path)) if simulate else nullcontext(Path(path))
    page_wanted = shown(live, console, usual=console.terminal and not no_live)
    with (
        page_wanted as page,
        beside(log, log_offset, page, growing=True) as sensors,
        stoppable(console.note, until) as stop,
        camera as source,
    ):
        chosen_frames = limited(frames, stop_after)
        job = Job(settings, chosen_frames, console, resume=resume, overwrite=overwrite, page=page, sensors=sensors)
        page.begin(path, place)
        try:
            return followed(source, place, Watch(job, until, stop, from_late=from_late, on_event=on_event))
        except (KeyboardInterrupt, SourceStopped):
            return job.stopped(place, stop)
        except Exception as error:
            message, hint, code = explained(error)
            page.failed(message)
            console.emit("end", source=path, out=str(place.resolve()), exit_code=code, error=message, hint=hint)
            raise


def _agree(*, resume: bool, overwrite: bool, from_late: bool, on_event: str | None) -> None:
    """Refuse options that contradict each other, before anything is waited for."""
    if resume and overwrite:
        raise CommandError("--resume and --overwrite exclude each other", "give one: go on, or begin again")
    if from_late and not resume:
        raise CommandError("--from-late takes files into a run that is there", "add --resume")
    if on_event is not None:
        from insitu.hook import split

        split(on_event)


def folder_named(path: str | None, out: str | None, *, simulate: bool) -> str:
    """Return the folder to watch; refuse a command without one."""
    path = path or ("practice" if simulate and path is None else path)
    if path is None:
        raise CommandError("insitu watch needs DIR", "name the folder the camera fills, or practise with --simulate")
    if not path or out == "":
        raise CommandError("an empty text is no path", "check the variables of your shell: one of them may be empty")
    return path


@dataclass(frozen=True, slots=True)
class Watch:
    """What is to be done with what comes."""

    job: Job
    until: Until
    stop: Stop
    from_late: bool
    on_event: str | None


def followed(path: Path, out: Path, wish: Watch) -> int:
    """Wait for what comes, then analyse it to the end; return the exit code."""
    from insitu.read.watch import movies_in, what_comes

    console = wish.job.console
    console.emit("waiting", source=str(path))
    console.note(f"waiting for frames in '{path}'; Ctrl-C ends the movie")
    kind = what_comes(path, wish.until, (out,))
    if kind != "movies":
        return one(path, out, wish, kind)
    if wish.job.sensors.by_offset:
        raise CommandError(f"--log-offset is of one movie, and '{path}' has several", "give it for each movie alone")
    codes = []
    for movie in movies_in(path, wish.until, (out,)):
        codes.append(one(movie, out / stem(str(movie)), wish, kind))
        if wish.stop.event.is_set():
            return wish.stop.exit_code
    console.result(str(out.resolve()))
    return worst(codes)


def one(path: Path, out: Path, wish: Watch, kind: Kind) -> int:
    """Analyse one movie; return the exit code."""
    from insitu.hook import telling
    from insitu.intake import Selection
    from insitu.watching import watch

    job, console = wish.job, wish.job.console

    if kind == "movies":
        job.page.begin(str(path), out)

    def begun(reader: Live) -> None:
        info = reader.info
        job.page.opened()
        job.sensors.begin(reader, job.settings)
        known = {"format": info.format, "frames": None, "height": info.height, "width": info.width}
        console.emit("start", source=str(path), out=str(out.resolve()), dtype=str(info.dtype), **known)
        console.note(f"{path} · {info.format} · {info.height}×{info.width} {info.dtype}")

    meter = Meter(console)
    with telling(wish.on_event, out, console.note, resume=job.resume):
        summary = watch(
            path,
            out,
            job.settings,
            wish.until,
            kind=kind,
            selection=Selection(*job.frames) if job.frames else None,
            resume=job.resume,
            from_late=wish.from_late,
            overwrite=job.overwrite,
            begun=begun,
            progress=job.page.progress(meter),
            on_result=job.page.on_result(meter.events),
            stop=wish.stop.event,
        )
    return job.stopped(summary.out, wish.stop) if summary.interrupted else job.finished(summary)


def limited(frames: FrameRange | None, stop_after: int | None) -> FrameRange | None:
    """Return the frames to analyse, `stop_after` of them at most."""
    if stop_after is None:
        return frames
    start, stop, step = frames or (0, None, 1)
    end = start + stop_after * step
    return start, end if stop is None else min(stop, end), step
