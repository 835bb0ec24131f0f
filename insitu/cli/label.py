"""``insitu label``: label images without a hand, to learn from or to correct."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from insitu.cli.console import Console, Tally
from insitu.cli.parameters import debug_option, frame_range, json_option, number_option, quiet_option

if TYPE_CHECKING:
    from insitu.cli.parameters import FrameRange
    from insitu.labelling import Labelled


@click.command(short_help="make label images without a hand")
@click.argument("path", metavar="PATH")
@click.option("-o", "--out", metavar="OUT", help="Folder to write; by default ./<stem>.labels.")
@click.option("--number", type=click.IntRange(1), default=50, show_default=True, help="Frames, evenly spread.")
@click.option("--frames", metavar="A:B:STEP", callback=frame_range, help="These frames instead, all of them.")
@click.option(
    "--polarity",
    type=click.Choice(["auto", "dark", "bright"]),
    default="auto",
    show_default=True,
    help="Particles darker or brighter than the support.",
)
@number_option("--blur-px", "Width of the Gaussian in px; wider where there are few electrons a pixel.", "2")
@click.option("--min-area-px", type=click.IntRange(1), default=20, show_default=True, help="Leave smaller pieces out.")
@click.option("--split", is_flag=True, help="Cut particles apart that touch.")
@number_option("--nm-per-px", "Pixel size in nm, where the file does not know it.")
@click.option("--overwrite", is_flag=True, help="Replace labels made before.")
@json_option
@quiet_option
@debug_option
def label(
    *,
    path: str,
    out: str | None,
    number: int,
    frames: FrameRange | None,
    polarity: Literal["auto", "dark", "bright"],
    blur_px: float,
    min_area_px: int,
    split: bool,
    nm_per_px: float | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Label frames of the movie PATH by the published pipeline: blur, fill hollows, sharpen rims, open, Otsu.

    Writes OUT/images and OUT/labels, one TIFF a frame in each, in the form that insitu train takes. Correct them by
    hand in any program that keeps whole numbers.
    """
    from insitu.cli.sources import stem
    from insitu.intake import Selection
    from insitu.labelling import LabelOptions, label_movie, spread
    from insitu.read import calibrated, open_source

    console = Console(as_json=as_json, quiet=quiet)
    folder = Path(out) if out else Path(f"{stem(path)}.labels")
    reader = open_source(path)
    try:
        count = reader.info.n_frames
        selection = Selection(*frames) if frames else spread(count, number)
        total = selection.planes(count)
        console.emit("start", source=path, out=str(folder.resolve()), frames=total)
        done = label_movie(
            reader,
            folder,
            LabelOptions(polarity=polarity, blur_px=blur_px, min_area_px=min_area_px, split=split),
            selection,
            calibration=calibrated(reader.info, nm_per_px, None),
            overwrite=overwrite,
            progress=Tally(console, "label", total or 0),
        )
    finally:
        reader.close()
    _tell(console, done, folder)


def _tell(console: Console, done: Labelled, folder: Path) -> None:
    """Say what was made, what could not be used, and how to go on."""
    from insitu.labelling import IMAGES, LABELS, in_words

    for frame, reason in done.unusable.items():
        console.emit("problem", frame=frame, reason=reason)
        console.note(f"frame {frame} cannot be used: {reason}")
    for note in done.notes:
        console.note(f"note: {note}")
    console.emit(
        "end",
        frames=done.frames,
        particles=done.particles,
        unusable=len(done.unusable),
        polarity=done.polarity,
        notes=done.notes,
        out=str(folder.resolve()),
    )
    images, labels = shlex.quote(str(folder / IMAGES)), shlex.quote(str(folder / LABELS))
    console.result(in_words(done))
    console.result(f"learn from them: insitu train MODEL --images {images} --labels {labels}")
    console.result(str(folder.resolve()))
