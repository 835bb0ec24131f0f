"""``insitu view``: look at a run in napari."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from insitu.cli.console import Console
from insitu.cli.parameters import debug_option, json_option, quiet_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from insitu.view import Layers

_HINT = 'pip install "insitu[napari]"; without it, insitu export RUN fiji shows a run in Fiji'


@click.command(short_help="look at a run in napari")
@click.argument("run", metavar="RUN")
@click.option(
    "--min-length", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="Leave out shorter tracks."
)
@click.option("--source", metavar="MOVIE", help="Where the movie is now, if the run does not find it.")
@click.option("--dry-run", is_flag=True, help="List the layers and open nothing; needs no napari.")
@json_option
@quiet_option
@debug_option
def view(*, run: str, min_length: int, source: str | None, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Open the run folder RUN in napari: image, particles, tracks with mergers, events; in nm and s where known."""
    from insitu.results import open_run

    console = Console(as_json=as_json, quiet=quiet)
    opened = open_run(run)
    if not dry_run and find_spec("napari") is None:
        raise CommandError("insitu view needs napari, which is not installed", _HINT)
    if not dry_run and _no_screen():
        raise CommandError(
            "there is no screen here: DISPLAY is not set",
            "log in with ssh -X, or take insitu export RUN fiji; --dry-run lists what would be shown",
        )
    from insitu.view import layers_of

    found = layers_of(opened, min_length=min_length, source=source)
    for note in found.notes:
        console.note(note)
    for data, about, kind in found.layers:
        console.emit(
            "layer",
            name=about["name"],
            kind=kind,
            shape=list(data.shape),
            scale=list(about["scale"]),
            units=list(about["units"]),
        )
        console.result(f"{about['name']:<10} {kind:<7} {' × '.join(map(str, data.shape))}")
    if not dry_run:
        _show(found, opened.path.name)


def _no_screen() -> bool:
    """Say whether Qt would end the whole process because it finds no screen."""
    wanted = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return sys.platform.startswith("linux") and not any(os.environ.get(name) for name in wanted)


def _show(found: Layers, title: str) -> None:
    """Open the viewer and wait until it is closed."""
    import napari

    try:
        viewer = napari.Viewer(title=title)
    except (ImportError, RuntimeError) as error:
        raise CommandError(f"napari has no window here: {error}".splitlines()[0], f"on a screen: {_HINT}") from error
    for data, about, kind in found.layers:
        viewer.add_layer(napari.layers.Layer.create(data, about, kind))
    napari.run()
