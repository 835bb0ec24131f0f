"""``insitu run``: analyse movies to the end, one run folder each."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

import click

from insitu.cli.console import Console, Meter, counted, duration, size
from insitu.cli.failures import debugging, explained, report, say
from insitu.cli.jobs import jobs_options, process_of
from insitu.cli.live import Page, live_option, shown
from insitu.cli.logs import Beside, beside, log_options
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
from insitu.cli.profile import table
from insitu.cli.sources import Target, single_images, targets
from insitu.cli.stopping import stoppable
from insitu.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_RESOURCE, EXIT_TERMINATED, CommandError, InsituError
from insitu.store.about import read_about
from insitu.store.place import refuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from insitu.cli.stopping import Stop
    from insitu.distributed.team import Orders
    from insitu.progress import RunSummary
    from insitu.settings import Settings

# when several movies end differently, the command ends with the code that stands last here
_SEVERITY = (0, 5, 4, 3, 2, 6, 1, EXIT_INTERRUPTED, EXIT_TERMINATED)


@click.command(short_help="analyse movies")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-o", "--out", metavar="OUT", help="Run folder; with several movies, the folder above them.")
@settings_options
@click.option("--frames", metavar="A:B:STEP", callback=frame_range, help="Analyse these frames only.")
@log_options
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--overwrite", is_flag=True, help="Replace a run that exists.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--profile", is_flag=True, help="Say at the end what each stage cost and which one limits.")
@jobs_options
@live_option
@json_option
@quiet_option
@debug_option
def run(
    *,
    paths: tuple[str, ...],
    out: str | None,
    frames: FrameRange | None,
    log: str | None,
    log_offset: float | None,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    profile: bool,
    jobs: int | None,
    dask: str | None,
    live: str | None,
    as_json: bool,
    quiet: bool,
    **choices: Unpack[Choices],
) -> int:
    """Analyse movies: every frame segmented, every particle measured and followed, every event recorded.

    PATH is a movie, a folder of numbered images, a folder of movies, or a pattern. Results go to OUT, by default
    ./<stem>.insitu; with several movies to OUT/<stem>. The last line printed is the absolute path of OUT.
    """
    if resume and overwrite:
        raise CommandError("--resume and --overwrite exclude each other", "give one: go on, or begin again")
    settings = chosen(choices)
    wanted, root = targets(paths, out)
    console = Console(as_json=as_json, quiet=quiet)
    if folder := single_images(wanted):
        console.note(f"note: each image is a movie of its own here; as frames of one movie: insitu run {folder}")
    for target in wanted:
        refuse(target.out, overwrite=resume or overwrite)
    if log_offset is not None and len(wanted) > 1:
        raise CommandError("--log-offset is of one movie", f"give it for each of the {len(wanted)} movies alone")
    if live and (dask or (jobs or 1) > 1):
        raise CommandError("--live shows the frames of a run in one process", "leave out --jobs and --dask, or --live")
    with shown(None if dry_run else live, console) as page, beside(log, log_offset, page) as sensors:
        job = Job(settings, frames, console, resume, overwrite, page, sensors, profile=profile or debugging())
        if dry_run:
            return _all(job.preview, wanted, root, console)
        with process_of(jobs, dask, job.orders(), wanted, console) as process:
            return _all(replace(job, process=process).analyse, wanted, root, console)


def _all(action: Callable[[Target], int], wanted: list[Target], root: Path | None, console: Console) -> int:
    """Do one movie, or several into `root`; return the exit code."""
    if root is None:
        return told(action, wanted[0], console)
    codes: list[int] = []
    for target in wanted:
        console.note(f"movie {len(codes) + 1} of {len(wanted)}")
        codes.append(_kept_going(action, target, console))
        if codes[-1] in {EXIT_RESOURCE, EXIT_INTERRUPTED, EXIT_TERMINATED}:
            break
    console.note(in_sum(wanted, codes))
    console.result(str(root.resolve()))
    return worst(codes)


def in_sum(wanted: list[Target], codes: list[int]) -> str:
    """Return how several movies ended: the one line to read after a night."""
    odd = [f"{target.source} ended with {code}" for target, code in zip(wanted, codes, strict=False) if code]
    left = len(wanted) - len(codes)
    parts = [f"{codes.count(EXIT_DONE)} of {len(wanted)} movies done without remark", *odd]
    return "; ".join([*parts, f"{left} not begun"] if left else parts)


def worst(codes: list[int]) -> int:
    """Return the exit code of several runs."""
    return max(codes, key=_SEVERITY.index, default=EXIT_DONE)


def told(action: Callable[[Target], int], target: Target, console: Console) -> int:
    """Do one movie; an error of it ends the JSON lines too, so that a program knows which movie failed and how."""
    try:
        return action(target)
    except Exception as error:
        message, hint, code = explained(error)
        place = str(target.out.resolve())
        console.emit("end", source=target.source, out=place, exit_code=code, error=message, hint=hint)
        raise


def doubts(summary: RunSummary) -> list[str]:
    """Return what should make a user look at the label images before believing the tables."""
    from insitu.results import open_run

    found = []
    if summary.used and not summary.particles:
        found.append(
            "no particle was found in any frame: are they darker or brighter than the support (segment.polarity), "
            "and larger than measure.min_area_px?"
        )
    flags: Counter[str] = Counter()
    with suppress(InsituError):  # a remark that cannot be made does not spoil a run that is done
        for batch in open_run(summary.out).frames.batches(("status", "flags")):
            rows = zip(batch["status"].to_pylist(), batch["flags"].to_pylist(), strict=True)
            flags.update(flag for status, row in rows if status == "ok" for flag in row)
    found += [f"{n} of {counted(summary.used, 'used frame')} flagged '{flag}'" for flag, n in flags.most_common()]
    return found


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with every movie of one command."""

    settings: Settings
    frames: FrameRange | None
    console: Console
    resume: bool = False
    overwrite: bool = False
    page: Page = field(default_factory=Page)
    sensors: Beside = field(default_factory=Beside)
    process: Callable[..., RunSummary] | None = None
    profile: bool = False

    def orders(self) -> Orders:
        """Return what is the same for all movies."""
        from insitu.distributed.team import Orders
        from insitu.intake import Selection

        return Orders(self.settings, Selection(*self.frames) if self.frames else None, self.resume, self.overwrite)

    def preview(self, target: Target) -> int:
        """Say what a run would do."""
        from insitu.cli.preview import expected, in_words, rehearse

        plan = expected(target, self.settings, self.frames)
        rehearse(plan, self.settings)
        self._compare_clocks(target)
        self.console.emit("plan", **plan)
        self.console.result(in_words(plan))
        return EXIT_DONE

    def analyse(self, target: Target) -> int:
        """Run one movie and print how it ended."""
        from insitu.cli.preview import expected, in_one_line
        from insitu.intake import Selection

        assert self.process is not None
        plan = expected(target, self.settings, self.frames, device=False)
        self.console.emit("start", **plan)
        self.console.note(in_one_line(plan))
        for note in plan["notes"]:
            self.console.note(f"note: {note}")
        if plan["expected_bytes"] and plan["expected_bytes"] > plan["free_bytes"]:
            self._warn_of_disk(plan)
        self._compare_clocks(target)
        meter = Meter(self.console)
        self.page.begin(target.source, target.out)
        self.page.opened()
        with stoppable(self.console.note) as stop:
            try:
                summary = self.process(
                    target.source,
                    target.out,
                    self.settings,
                    selection=Selection(*self.frames) if self.frames else None,
                    resume=self.resume,
                    overwrite=self.overwrite,
                    progress=self.page.progress(meter),
                    on_result=self.page.on_result(meter.events),
                    stop=stop.event,
                )
            except KeyboardInterrupt:
                return self.stopped(target.out, stop)
            except Exception as error:
                self.page.failed(explained(error)[0])
                raise
        return self.stopped(target.out, stop) if summary.interrupted else self.finished(summary)

    def _compare_clocks(self, target: Target) -> None:
        """Refuse a log that cannot be laid beside the movie, before anything is analysed."""
        if not self.sensors.given:
            return
        from insitu.read import open_source

        with closing(open_source(target.source)) as reader:
            self.sensors.begin(reader, self.settings)

    def _warn_of_disk(self, plan: dict[str, Any]) -> None:
        text = (
            f"warning: about {size(plan['expected_bytes'])} will be written, {size(plan['free_bytes'])} are free; "
            "a full disk stops the run, and --resume goes on"
        )
        self.console.emit("problem", frame=None, reason=text)
        self.console.note(text)

    def stopped(self, out: Path, stop: Stop) -> int:
        """Say how far the results are valid."""
        from insitu.store.log import read_log

        planes = read_log(out).planes if out.is_dir() else 0
        start, _, step = self.frames or (0, None, 1)
        valid = (
            f"results in '{out}' are valid to frame {start + (planes - 1) * step}" if planes else "nothing is stored"
        )
        for note in self.sensors.join_what_there_is(out) if planes else ():
            self.console.note(f"note: {note}")
        self.page.stopped(f"{stop.word}: {valid}")
        self.console.settle()
        self.console.emit("end", out=str(out.resolve()), exit_code=stop.exit_code, total=planes, interrupted=True)
        say(f"{stop.word}: {valid}", "go on with the same command and --resume")
        return stop.exit_code

    def finished(self, summary: RunSummary) -> int:
        """Say how a run ended."""
        joined = self.sensors.join(summary.out)
        self.page.finished(summary)
        out = summary.out.resolve()
        if self.profile:
            for line in table((read_about(summary.out) or {}).get("metrics") or {}):
                self.console.note(line)
        notes = [*summary.notes, *joined, *doubts(summary)]
        for note in notes:
            self.console.note(f"note: {note}")
        self.console.emit("end", **{**asdict(summary), "out": str(out), "notes": notes})
        lost = f" ({summary.bad} bad, {summary.missing} missing)" if summary.bad + summary.missing else ""
        resumed = f" · resumed after {counted(summary.resumed_from, 'frame')}" if summary.resumed_from else ""
        self.console.result(
            f"{summary.used} of {summary.total} frames used{lost} · {counted(summary.particles, 'particle')} measured"
            f" · {counted(summary.events, 'event')} · {duration(summary.seconds)}{resumed}"
        )
        self.console.result(str(out))
        return summary.exit_code


def _kept_going(action: Callable[[Target], int], target: Target, console: Console) -> int:
    """Do one of several movies; an error of one is printed and does not stop the others."""
    try:
        return told(action, target, console)
    except Exception as error:
        return report(error)
