"""``--jobs`` and ``--dask``: the frames of a run are analysed by workers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from insitu.cli.console import Console
    from insitu.cli.sources import Target
    from insitu.distributed.team import Orders, Workers
    from insitu.progress import RunSummary


def whole(_context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Read a whole number above zero, or refuse it with the option's name."""
    if value is None:
        return None
    if not value.strip().isdecimal() or int(value) < 1:
        name = option.opts[0]
        raise CommandError(f"{name} {value} is not a whole number above zero", f"write for example {name} 4")
    return int(value)


def jobs_options(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add ``--jobs`` and ``--dask``."""
    text = "Processes of this machine that analyse frames (on GPUs: one each)."
    command = click.option("--dask", metavar="ADDRESS", help="Workers of a dask scheduler; 'local' starts one.")(
        command
    )
    return click.option("--jobs", metavar="N", callback=whole, help=text)(command)


@contextmanager
def workers(jobs: int | None, dask: str | None, orders: Orders, console: Console) -> Iterator[Workers]:
    """Start workers while the block lasts.

    Raises
    ------
    CommandError
        More jobs than GPUs, or no scheduler answers.
    """
    from insitu.distributed.processes import Processes, check_jobs, fitting_jobs
    from insitu.segment import resolve_device

    device = resolve_device(orders.settings.segment.device)
    count = jobs or fitting_jobs(device)
    check_jobs(count, device)
    crew: Workers
    if dask is None:
        crew = Processes(count)
    else:
        from insitu.distributed.dasked import LOCAL, Dask

        if dask != LOCAL and jobs is not None:
            raise CommandError("--jobs is for workers of this machine", f"leave it out with --dask {dask}")
        crew = team = Dask(dask, count)
        console.note(team.about())
    try:
        yield crew
    finally:
        crew.close()


@contextmanager
def process_of(
    jobs: int | None, dask: str | None, orders: Orders, wanted: list[Target], console: Console
) -> Iterator[Callable[..., RunSummary]]:
    """Return what analyses a movie: `insitu.pipeline.process`, or a team of workers."""
    if dask is None and (jobs or 1) == 1:
        from insitu.pipeline import process

        yield process
        return
    from insitu.distributed.team import Team

    movies = [(target.source, target.out) for target in wanted]
    with workers(jobs, dask, orders, console) as crew, Team(crew, orders, movies) as team:
        yield team.process
