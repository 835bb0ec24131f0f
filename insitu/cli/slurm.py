"""``insitu slurm``: a script that does for a queue what ``insitu run --jobs`` does on one machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Unpack

import click

from insitu.cli.console import counted
from insitu.cli.jobs import whole
from insitu.cli.parameters import Choices, FrameRange, chosen, debug_option, frame_range, settings_options
from insitu.cli.ranges import range_frames_option
from insitu.cli.sources import targets
from insitu.errors import EXIT_DONE, CommandError
from insitu.store.place import refuse

_TASKS = 100


@click.command(short_help="write a script for a SLURM queue")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    required=True,
    help="Run folder; with several movies, the folder above them. The script is OUT.slurm.sh.",
)
@settings_options
@click.option("--frames", metavar="A:B:STEP", callback=frame_range, help="Analyse these frames only.")
@range_frames_option
@click.option("--tasks", metavar="N", callback=whole, default=str(_TASKS), help="Jobs of the array, at most.")
@click.option("--at-once", metavar="N", callback=whole, help="Jobs of the array that may run at the same time.")
@click.option("--sbatch", metavar="OPTIONS", multiple=True, help="Options of sbatch for all jobs; repeatable.")
@click.option("--link-sbatch", metavar="OPTIONS", multiple=True, help="Instead of --sbatch for the linking jobs.")
@debug_option
def slurm(
    *,
    paths: tuple[str, ...],
    out: str,
    frames: FrameRange | None,
    range_frames: int | None,
    tasks: int,
    at_once: int | None,
    sbatch: tuple[str, ...],
    link_sbatch: tuple[str, ...],
    **choices: Unpack[Choices],
) -> int:
    """Write OUT.slurm.sh, which analyses movies as jobs of a SLURM queue: plan, an array of jobs, link.

    PATH and OUT as in `insitu run`. All machines must see the movies and OUT under the same path. Nothing is analysed
    here; submit with: bash OUT.slurm.sh
    """
    from insitu.distributed.slurm import Script
    from insitu.distributed.stages import RANGE_FRAMES, whole_ranges

    settings = chosen(choices)
    wanted, _ = targets(paths, out)
    long = whole_ranges(range_frames or RANGE_FRAMES, settings.store.shard_frames)
    for target in wanted:
        refuse(target.out, overwrite=False)
    count = sum(-(-_frames(target.source, frames) // long) for target in wanted)
    path = Path(f"{out.rstrip('/')}.slurm.sh").absolute()
    if path.exists():
        raise CommandError(f"'{path}' exists", f"submit it with: bash {path}; or choose another folder with -o OTHER")
    script = Script(
        path=path,
        folder=Path.cwd(),
        plan=_again(paths, out, frames, long, choices),
        runs=[str(target.out) for target in wanted],
        tasks=min(count, tasks),
        options=[word for text in sbatch for word in shlex.split(text)],
        link_options=[word for text in link_sbatch for word in shlex.split(text)],
        at_once=at_once,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script.text(), encoding="utf-8", errors="surrogateescape")
    parts = counted(len(wanted), "movie"), counted(count, "range"), counted(script.tasks, "job")
    click.echo(f"{parts[0]}, {parts[1]}, {parts[2]} in the array; submit with: bash {shlex.quote(str(path))}", err=True)
    click.echo(str(path))
    return EXIT_DONE


def _frames(source: str, frames: FrameRange | None) -> int:
    """Return how many frames of a movie are chosen; one that cannot be divided is refused here, not in the queue."""
    from insitu.intake import Selection
    from insitu.read import open_source

    reader = open_source(source)
    reader.close()
    planes = Selection(*(frames or (0, None, 1))).planes(reader.info.n_frames)
    if not planes:
        what = "its length is not known" if planes is None else f"it has {reader.info.n_frames} frames"
        raise CommandError(f"no frames of '{source}' can be divided: {what}", "choose frames that exist, or insitu run")
    return planes


def _again(paths: tuple[str, ...], out: str, frames: FrameRange | None, long: int, choices: Choices) -> list[str]:
    """Return the arguments with which the planning job repeats this command."""
    words = ["-o", out, "--resume", "--range-frames", str(long)]
    if frames is not None:
        start, stop, step = frames
        words += ["--frames", f"{start}:{'' if stop is None else stop}:{step}"]
    names = ("preset", "config", "model", "nm_per_px", "fps", "device", "on_bad")
    for name in names:
        if (value := choices[name]) is not None:  # type: ignore[literal-required]
            words += [f"--{name.replace('_', '-')}", str(value)]
    for override in choices["overrides"]:
        words += ["--set", override]
    return [*words, "--", *paths]
