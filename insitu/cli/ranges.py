"""``insitu ranges``: the three stages of a divided run, for queues, shells and people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from insitu.cli.console import Console, Tally, counted
from insitu.cli.jobs import whole
from insitu.cli.parameters import (
    Choices,
    FrameRange,
    chosen,
    debug_option,
    frame_range,
    json_option,
    quiet_option,
    settings_options,
)
from insitu.cli.sources import Target, targets
from insitu.cli.verbs import Verb
from insitu.errors import EXIT_DONE, EXIT_INCOMPLETE, CommandError
from insitu.store.place import refuse

if TYPE_CHECKING:
    from insitu.distributed.team import Orders
    from insitu.distributed.work import Outcome, Task
    from insitu.settings import Settings

range_frames_option = click.option(
    "--range-frames", metavar="N", callback=whole, help="Frames a range, in whole label shards; default about 1000."
)


@click.group(cls=Verb)
def ranges() -> None:
    """Divide runs: plan them, analyse their ranges anywhere, link them in order."""


@ranges.command(short_help="Make run folders whose frames others will analyse.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-o", "--out", metavar="OUT", help="Run folder; with several movies, the folder above them.")
@settings_options
@click.option("--frames", metavar="A:B:STEP", callback=frame_range, help="Analyse these frames only.")
@range_frames_option
@click.option("--resume", is_flag=True, help="Keep runs that are there, planned or begun.")
@click.option("--overwrite", is_flag=True, help="Replace runs that exist.")
@json_option
@quiet_option
@debug_option
def plan(
    *,
    paths: tuple[str, ...],
    out: str | None,
    frames: FrameRange | None,
    range_frames: int | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **choices: Unpack[Choices],
) -> int:
    """Make the run folder of each movie with all that workers must agree on; PATH and OUT as in `insitu run`."""
    from insitu.distributed.stages import plan_run

    if resume and overwrite:
        raise CommandError("--resume and --overwrite exclude each other", "give one: go on, or begin again")
    orders = ordered(chosen(choices), frames, range_frames, resume=resume, overwrite=overwrite)
    wanted, _ = targets(paths, out)
    console = Console(as_json=as_json, quiet=quiet)
    for target in wanted:
        refuse(target.out, overwrite=resume or overwrite)
    for target in wanted:
        tasks = plan_run(target.source, target.out, orders)
        place = target.out.resolve()
        console.emit("planned", source=target.source, out=str(place), ranges=len(tasks))
        console.note(f"{target.source}: {counted(len(tasks), 'range')}" if tasks else f"{target.source}: finished")
        console.result(str(place))
    return EXIT_DONE


@ranges.command(short_help="Analyse ranges of planned runs; may be given anywhere, also twice.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--share", metavar="K/N", help="Of N equal shares of all ranges, do number K (0…N−1).")
@json_option
@quiet_option
@debug_option
def analyse(*, runs: tuple[str, ...], share: str | None, as_json: bool, quiet: bool) -> int:
    """Analyse the ranges of planned runs, or a share of them; a range that is there already is left alone."""
    from insitu.distributed import stages

    number, of = _share(share)
    tasks = stages.share([task for run in runs for task in stages.planned_tasks(Path(run))], number, of)
    console = Console(as_json=as_json, quiet=quiet)
    tally = Tally(console, "analyse", sum(task.stop - task.first for task in tasks))
    frames = found = 0

    def told(task: Task, outcome: Outcome) -> None:
        nonlocal frames, found
        frames, found = frames + outcome.frames, found + outcome.found
        tally(frames)
        console.emit(
            "range", out=task.out, first=task.first, stop=task.stop, found=outcome.found, seconds=outcome.seconds
        )

    stages.analyse(tasks, told)
    console.result(f"{counted(len(tasks) - found, 'range')} analysed, {found} found from before")
    return EXIT_DONE


@ranges.command(short_help="Link the frames of planned runs once all their ranges are analysed.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@json_option
@quiet_option
@debug_option
def link(*, runs: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Follow the particles through all frames of each run and write its tables, as `insitu run` does."""
    from insitu.cli.run import worst

    console = Console(as_json=as_json, quiet=quiet)
    return worst([_linked(Path(run), console) for run in runs])


def _linked(out: Path, console: Console) -> int:
    from insitu.cli.run import Job
    from insitu.distributed.plan import read_plan
    from insitu.distributed.stages import Shelf, missing, planned_tasks
    from insitu.distributed.team import Orders, Team
    from insitu.intake import Selection
    from insitu.settings import read_file
    from insitu.store import layout
    from insitu.store.about import read_about

    tasks = planned_tasks(out)
    if lacking := missing(tasks):
        where = f"planes {lacking[0].first}…{lacking[0].stop - 1}"
        raise CommandError(
            f"of '{out}' {len(lacking)} of {counted(len(tasks), 'range')} are not analysed, the first: {where}",
            f"insitu ranges analyse {out}",
        )
    plan = read_plan(out)
    if plan is None:
        console.note(f"'{out}' is finished: nothing to do")
        console.result(str(out.resolve()))
        return EXIT_INCOMPLETE if (read_about(out) or {}).get("exit") == EXIT_INCOMPLETE else EXIT_DONE
    settings, chosen_frames = read_file(out / layout.SETTINGS), plan.selection
    orders = Orders(settings, Selection(**chosen_frames), resume=True, planned=True)
    frames = (chosen_frames["start"], chosen_frames["stop"], chosen_frames["step"])
    job = Job(settings, frames, console, resume=True, process=Team(Shelf(), orders).process)
    return job.analyse(Target(plan.source, out))


def ordered(
    settings: Settings, frames: FrameRange | None, range_frames: int | None, *, resume: bool, overwrite: bool
) -> Orders:
    """Return what is the same for all movies."""
    from insitu.distributed.stages import RANGE_FRAMES, whole_ranges
    from insitu.distributed.team import Orders
    from insitu.intake import Selection

    long = whole_ranges(range_frames or RANGE_FRAMES, settings.store.shard_frames)
    return Orders(
        settings, Selection(*frames) if frames else None, resume=resume, overwrite=overwrite, range_frames=long
    )


def _share(text: str | None) -> tuple[int, int]:
    """Read ``K/N``."""
    if text is None:
        return 0, 1
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise CommandError(f"--share {text} is not K/N with K below N", "write for example --share 0/20, up to 19/20")
    return int(number), int(of)
