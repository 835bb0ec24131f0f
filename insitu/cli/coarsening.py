"""``insitu coarsening``: the statistics of runs, and several runs compared."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import click

from insitu.cli.console import Console, counted
from insitu.cli.parameters import debug_option, json_option, number_option, quiet_option
from insitu.errors import CommandError
from insitu.options import CoarseningOptions, Doc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from insitu.coarsening.study import Study
    from insitu.results import Run
    from insitu.types import Calibration

COMPARED = "coarsening-comparison"


def statistics_options(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add an option for each field of `CoarseningOptions`, with its meaning and range."""
    hints: dict[str, Any] = get_type_hints(CoarseningOptions, include_extras=True)
    for setting in reversed(fields(CoarseningOptions)):
        kind, doc = hints[setting.name].__origin__, hints[setting.name].__metadata__[0]
        command = click.option(
            f"--{setting.name.replace('_', '-')}",
            setting.name,
            type=kind,
            metavar="NUMBER",
            callback=_within(doc),
            help=f"{doc.text} [default: {setting.default}]",
        )(command)
    return command


def _within(doc: Doc) -> Any:  # noqa: ANN401 - a click callback
    def checked(_context: click.Context, option: click.Parameter, value: float | None) -> float | None:
        if value is None:
            return None
        floor = f"at least {doc.ge:g}" if doc.ge is not None else f"above {doc.gt:g}" if doc.gt is not None else ""
        if (doc.ge is not None and not value >= doc.ge) or (doc.gt is not None and not value > doc.gt):
            raise CommandError(f"{option.opts[0]} {value:g} is too small", f"it must be {floor}")
        if doc.le is not None and not value <= doc.le:
            raise CommandError(f"{option.opts[0]} {value:g} is too large", f"it must be at most {doc.le:g}")
        return value

    return checked


@click.command(short_help="coarsening statistics of runs")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("-o", "--out", metavar="OUT", help="Folder to write; by default RUN/coarsening.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="Group of each RUN, in their order; repeatable.")
@click.option(
    "--temperature-c", "temperatures", metavar="NUMBER", type=float, multiple=True, help="°C of each RUN, in order."
)
@click.option("--exponent", type=click.Choice(["2", "3", "4"]), help="Compare K with this n [default: the best one].")
@click.option("--overwrite", is_flag=True, help="Replace statistics that OUT holds.")
@number_option("--nm-per-px", "Pixel size in nm that outranks the runs' own.")
@number_option("--fps", "Frames per second that outrank the runs' own.")
@statistics_options
@json_option
@quiet_option
@debug_option
def coarsening(
    *,
    runs: tuple[str, ...],
    out: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,  # noqa: ANN401 - one parameter a field of CoarseningOptions, and what Job.of takes
) -> None:
    """Compute kinetics, size distributions, growth, event rates, environment, mobility and survival of run folders.

    Each RUN gets a folder RUN/coarsening with tables (parquet and csv) and a summary.json; one that is there is
    replaced. Several runs are also compared, in OUT (by default ./coarsening-comparison): runs of one --group repeat
    each other, and with a --temperature-c for each the activation energy of K is fitted. The last line printed is the
    absolute path of the folder.
    """
    from insitu.results import open_run
    from insitu.statistics import FOLDER, refuse

    if out == "":
        raise CommandError("an empty text is no path", "check the variables of your shell: one of them may be empty")
    job = Job.of(Console(as_json=as_json, quiet=quiet), given, _command(click.get_current_context()))
    opened = [open_run(run) for run in runs]
    if len(runs) == 1:
        place = Path(out).expanduser().absolute() if out else opened[0].path / FOLDER
        job.one(opened[0], place, overwrite=overwrite or out is None, named=False)
    else:
        place = Path(out or COMPARED).expanduser().absolute()
        job.check_lists(len(runs))
        refuse(place, overwrite=overwrite)
        studies = [job.one(run, run.path / FOLDER, overwrite=True, named=True) for run in opened]
        job.compare(dict(zip(_names(runs), studies, strict=True)), place, overwrite=overwrite)
    job.console.result(str(place))


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with the runs of one command."""

    console: Console
    options: CoarseningOptions
    calibration: Calibration
    groups: tuple[str, ...]
    temperatures: tuple[float, ...]
    exponent: int | None
    command: str

    @classmethod
    def of(cls, console: Console, given: dict[str, Any], command: str) -> Job:
        """Return the job that the parameters of the command ask for."""
        from insitu.types import Calibration

        own = {f.name for f in fields(CoarseningOptions)}
        options = replace(CoarseningOptions(), **{k: v for k, v in given.items() if k in own and v is not None})
        nm, fps = given["nm_per_px"], given["fps"]
        calibration = Calibration(
            nm, "--nm-per-px" if nm else "unknown", 1 / fps if fps else None, "--fps" if fps else "unknown"
        )
        exponent = int(given["exponent"]) if given["exponent"] else None
        return cls(console, options, calibration, given["groups"], given["temperatures"], exponent, command)

    def check_lists(self, n_runs: int) -> None:
        """Refuse groups or temperatures that are not one a run."""
        for option, values in (("--group", self.groups), ("--temperature-c", self.temperatures)):
            if values and len(values) != n_runs:
                raise CommandError(
                    f"{len(values)} {option} for {n_runs} runs", f"give {option} once for each run, in their order"
                )

    def one(self, run: Run, place: Path, *, overwrite: bool, named: bool) -> Study:
        """Compute and write the statistics of a run, and say what came out."""
        from insitu.statistics import refuse, study_of, write

        refuse(place, overwrite=overwrite)
        if not run.finished:
            self.console.note(f"'{run.path}' is not finished: these are the statistics of what is safe so far")
        self.console.note(f"{run.path.name}: {counted(run.counts['particles'], 'particle row')}")
        study = study_of(run, self.options, self.calibration)
        write(study, place, command=self.command, overwrite=overwrite)
        self.console.emit("coarsening", out=str(place), **study.summary)
        self.console.result(in_words(study, named=named))
        return study

    def compare(self, studies: dict[str, Study], place: Path, *, overwrite: bool) -> None:
        """Compare runs, write the comparison, and say what came out."""
        from insitu.coarsening.comparison import compare
        from insitu.statistics import check_alike, compared, write_comparison

        check_alike(studies)
        names = list(studies)
        groups = self.groups or tuple(f"{t:g} °C" for t in self.temperatures) or tuple(names)
        temperatures = dict(zip(names, self.temperatures, strict=True)) if self.temperatures else None
        by_name = dict(zip(names, groups, strict=True))
        result = compare(studies, by_name, temperatures, self.exponent, self.options.confidence)
        write_comparison(result, studies, place, command=self.command, overwrite=overwrite)
        self.console.emit("comparison", out=str(place), **compared(result, studies))
        missing = [f"not computed: {a.what}: {a.why}" for a in result.absent]
        self.console.result("\n".join([*result.sentences, *missing]))


def _names(runs: Sequence[str]) -> list[str]:
    """Return a name for each run: that of its folder where all differ, else the path as given.

    Raises
    ------
    CommandError
        A run is given twice.
    """
    paths = [Path(run).expanduser().absolute() for run in runs]
    for path in paths:
        if paths.count(path) > 1:
            raise CommandError(f"the run '{path}' is given twice", "give each run once")
    short = [path.name.removesuffix(".insitu") for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _command(context: click.Context) -> str:
    """Return the command that repeats this one."""
    words = ["insitu", "coarsening"]
    for parameter in context.command.params:
        name = str(parameter.name)
        value = context.params.get(name)
        if isinstance(parameter, click.Argument):
            words += [str(v) for v in value or ()]
        elif name in {"as_json", "quiet"} or value is None or value is False or value == ():
            continue
        else:
            for v in value if isinstance(value, tuple) else (value,):
                words += [parameter.opts[-1], *([] if v is True else [f"{v:g}" if isinstance(v, float) else str(v)])]
    return shlex.join(words)


def in_words(study: Study, *, named: bool) -> str:
    """Return what came out: the verdict, the headline numbers with their intervals, and what could not be computed."""
    lines = [f"{study.info.name}:"] if named else []
    lines.append(study.verdict.sentence)
    width = max((len(name) for name in study.headline), default=0) + 2
    lines += [f"{name.replace('_', ' '):<{width}}{quantity(number)}" for name, number in study.headline.items()]
    lines += [f"not computed: {a.what}: {a.why}" for a in study.absent]
    return "\n".join(lines)


def quantity(number: dict[str, Any]) -> str:
    """Return a headline number as ``12.3 nm (12.1 to 12.6)``."""
    unit = f" {number['unit']}" if number["unit"] else ""
    interval = f" ({number['low']:.4g} to {number['high']:.4g})" if "low" in number else ""
    return f"{number['value']:.4g}{unit}{interval}"
