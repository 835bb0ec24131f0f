"""``insitu explain``: look inside a network."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from insitu.cli.console import Console
from insitu.cli.parameters import debug_option, json_option, quiet_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command(short_help="look inside a network")
@click.argument("model", metavar="MODEL")
@click.argument("image", metavar="IMAGE")
@click.option("-o", "--out", metavar="OUT", required=True, help="Folder to write to.")
@click.option("--frame", type=click.IntRange(min=0), default=0, help="Frame of a movie.")
@click.option("--at", metavar="Y,X", help="Explain the particle at this pixel; else one near the middle.")
@click.option(
    "--window", type=click.IntRange(min=32), default=192, show_default=True, help="Side in px of what is shown."
)
@click.option("--layer", "layers", metavar="NAME", multiple=True, help="Show the maps of this layer; repeatable.")
@click.option("--cam-layer", metavar="NAME", default="", help="Layer of Grad-CAM; else the deepest.")
@click.option(
    "--polarity", type=click.Choice(["auto", "dark", "bright"]), default="auto", help="Contrast of particles."
)
@click.option("--noise-images", type=click.IntRange(min=1), default=3, show_default=True, help="Images of noise alone.")
@click.option(
    "--occluder", type=click.IntRange(min=1), default=15, show_default=True, help="Side in px of what covers."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the noise.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier look.")
@json_option
@quiet_option
@debug_option
def explain(
    *,
    model: str,
    image: str,
    out: str,
    frame: int,
    at: str | None,
    window: int,
    layers: tuple[str, ...],
    cam_layer: str,
    polarity: Any,  # noqa: ANN401 - one of three words
    noise_images: int,
    occluder: int,
    seed: int,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what MODEL has learned and why it answers as it does on IMAGE (any movie or picture).

    OUT/figures has the kernels with their fits, the maps of the layers, what an answer rests on, what one pixel sees,
    and what noise alone does; OUT/*.csv and OUT/summary.json have the numbers.
    """
    from insitu.explain.looking import Wishes, look
    from insitu.explain.subject import frame_for, loaded
    from insitu.explain.writing import write

    console = Console(as_json=as_json, quiet=quiet)
    folder = Path(out).expanduser()
    _check_room(folder, overwrite=overwrite)
    network = loaded(model)
    wishes = Wishes(window, _pixel(at), layers, cam_layer, noise_images, occluder, seed)
    prepared, about = frame_for(network, image, frame, polarity)
    found = look(network, prepared, wishes)
    _make_room(folder)
    summary = write(found, folder, {"model": network.name, "image": Path(image).name, "frame": frame, **about})
    console.emit("explained", out=str(folder.resolve()), **summary)
    console.result(in_words(summary))
    console.result(str(folder.resolve()))


def in_words(summary: Mapping[str, Any]) -> str:
    """Return the summary as a few lines."""
    kernels, dead, field = summary["kernels"], summary["dead"], summary["receptive_field"]
    families = ", ".join(f"{n} {name}" for name, n in kernels["families"].items())
    stated = (
        f", by the layers {field['stated_px']} (largest {field['stated_widest_px']})" if "stated_px" in field else ""
    )
    rows = [
        ("kernels", f"{kernels['side_px']}×{kernels['side_px']} px: {families}"),
        (
            "dead",
            (
                f"{dead['constant']} of {dead['filters']} filters constant, {dead['silent']} of "
                f"{dead['rectified_channels']} channels silent behind their non-linearity"
            ),
        ),
        ("field", f"95 % within {field['effective_px']:g} px, at most {field['widest_seen_px']} px{stated}"),
        ("noise", summary["noise"]["verdict"]),
    ]
    if (mean := kernels["mean"]) is not None:
        rows.insert(1, ("mean kernel", f"{mean['family']}, σ {mean['sigma_px']:.2f} px, R² {mean['explained']:.2f}"))
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def _pixel(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if found is None:
        raise CommandError(f"--at {text} is not Y,X", "write for example --at 120,84")
    return int(found[1]), int(found[2])


def _check_room(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is not to be written to, before anything is computed."""
    from insitu.explain.writing import SUMMARY

    if folder.exists() and not folder.is_dir():
        raise CommandError(f"'{folder}' is not a folder", "choose another -o")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise CommandError(f"'{folder}' exists", "--overwrite to replace an earlier look, or choose another -o")
        if not (folder / SUMMARY).is_file():
            raise CommandError(f"'{folder}' is no earlier look", "choose another -o; --overwrite replaces looks only")


def _make_room(folder: Path) -> None:
    """Make the folder, and empty it of an earlier look."""
    from insitu.explain.writing import SUMMARY

    shutil.rmtree(folder / "figures", ignore_errors=True)
    for name in (SUMMARY, "kernels.csv", "channels.csv"):
        (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
