"""The `insitu` group: its verbs, loaded when they are called, and what a bare ``insitu`` answers."""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from insitu.cli.parameters import debug_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

# verb → (module:attribute, one line); the lines stand here so that --help imports no verb
VERBS = {
    "demo": ("insitu.cli.demo:demo", "simulate a movie with known truth, analyse it, and grade the result"),
    "info": ("insitu.cli.info:info", "format, frames, shape, dtype, calibration and where it came from"),
    "run": ("insitu.cli.run:run", "analyse a movie, or many, to the end"),
    "ranges": ("insitu.cli.ranges:ranges", "divide a run: plan it, analyse a share of its ranges, link them"),
    "slurm": ("insitu.cli.slurm:slurm", "write a script that analyses movies as jobs of a SLURM queue"),
    "watch": ("insitu.cli.watch:watch", "analyse a movie while the camera writes it"),
    "simulate": ("insitu.cli.simulate:simulate", "make a movie of coarsening particles with its exact truth"),
    "coarsening": (
        "insitu.cli.coarsening:coarsening",
        "coarsening statistics of runs: kinetics, distributions, growth, rates, each with its interval",
    ),
    "report": ("insitu.cli.report:report", "a page about a run, or several side by side; a movie with outlines"),
    "export": ("insitu.cli.export:export", "write a run for other programs: xlsx, csv, fiji, trackmate, coco …"),
    "view": ("insitu.cli.view:view", "look at a run in napari"),
    "label": ("insitu.cli.label:label", "label images of a movie without a hand, to learn from or to correct"),
    "evaluate": ("insitu.cli.evaluate:evaluate", "score a run against the truth, or models on labelled images"),
    "train": ("insitu.cli.train:train", "learn a model from labelled images, simulated scenes, or both"),
    "explain": ("insitu.cli.explain:explain", "look inside a network: kernels, maps, reasons, receptive field, noise"),
    "study": ("insitu.cli.study:study", "a grid of networks, image sets and seeds, with the figures of the papers"),
    "models": ("insitu.cli.models:models", "list, show and import models: weights, architectures, presets"),
    "config": ("insitu.cli.config:config", "show, explain and check settings"),
    "doctor": ("insitu.cli.doctor:doctor", "versions, device, disk and ffmpeg, for bug reports"),
}

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

WELCOME = """\
insitu: particles in electron-microscopy movies, every frame

  insitu demo                        see it work on a simulated movie whose truth is known
  insitu info MOVIE                  what is in a file, and how it is calibrated
  insitu run MOVIE -o OUT            analyse a movie; add --nm-per-px and --fps where the file does not know them
  insitu run MOVIE --dry-run         what a run would do, without doing it
  insitu watch DIR -o OUT            analyse a folder while the camera fills it
  insitu report OUT                  one page about a run: what was seen, and how far to trust it
  insitu config explain KEY          what a setting means
  insitu --help                      all commands"""


class Verbs(click.Group):
    """A group whose members are imported when they are called; a wrong name is answered with the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs in the order a user meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the verb `cmd_name`."""
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the list of verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb named by the first argument, or say which one was meant."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise CommandError(f"unknown command '{args[0]}'", _meant(args[0], tuple(VERBS)))
        return super().resolve_command(ctx, args)


class Verb(click.Group):
    """A verb with verbs of its own (`models`, `config`)."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the member named by the first argument, or say which one was meant."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise CommandError(f"unknown command '{self.name} {args[0]}'", _meant(args[0], tuple(self.commands)))
        return super().resolve_command(ctx, args)


def _meant(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    if "run" in known and Path(word).exists():
        return f"to analyse it: insitu run {word}"
    return f"commands are: {', '.join(known)}"


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from insitu import __version__

        click.echo(f"insitu {__version__}")
        ctx.exit()


@click.group(cls=Verbs, invoke_without_command=True, context_settings=_CONTEXT)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@debug_option
@click.pass_context
def insitu(ctx: click.Context) -> None:
    """Analyse in-situ electron-microscopy movies of supported particles: every frame, with tracks and events."""
    if ctx.invoked_subcommand is None:
        click.echo(WELCOME)
