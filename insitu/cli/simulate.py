"""``insitu simulate``: a movie of coarsening particles, written like a camera would, with the truth beside it."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import replace
from math import inf, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from insitu.cli.console import Console, Tally, size
from insitu.cli.parameters import debug_option, json_option, number_option, quiet_option
from insitu.cli.simulated import OURS, SETTINGS, make
from insitu.errors import CommandError
from insitu.simulate.writing import WAYS, Way

if TYPE_CHECKING:
    from insitu.simulate import Simulation, SimulationSettings

LAYOUTS = ("flat", "gatan", "growing-tiff", "growing-mrc")


class Wishes(TypedDict):
    """What the options of `simulate` ask of the simulation."""

    frames: int | None
    shape: str | None
    nm_per_px: float | None
    fps: float | None
    dose: float | None
    mode: str | None
    seed: int | None
    config: str | None
    overrides: tuple[str, ...]


@click.command(short_help="make a movie with truth")
@click.argument("out", metavar="OUT", required=False)
@click.option("--frames", type=click.IntRange(min=1), help="Number of frames.")
@click.option("--shape", metavar="H×W", help="Height and width of a frame in px, as 512x512.")
@number_option("--nm-per-px", "Pixel size in nm.")
@number_option("--fps", "Frames per second.")
@number_option("--dose", "Electrons per px and frame.")
@click.option("--mode", type=click.Choice(["bright-field", "dark-field"]), help="Dark or bright particles.")
@click.option("--seed", type=click.IntRange(min=0), help="Same seed, same movie.")
@click.option("--config", metavar="FILE", help="Settings of a simulation in TOML, as written to OUT/simulation.toml.")
@click.option("--set", "overrides", metavar="NAME=VALUE", multiple=True, help="Change one setting; repeatable.")
@click.option("--format", "form", type=click.Choice(["tiff", "frames", "npy"]), default="tiff", help="How to write it.")
@number_option("--camera", "Drop frames into OUT/movie at so many a second, as a microscope does.")
@click.option("--layout", type=click.Choice(LAYOUTS), default="flat", help="With --camera: where it puts the frames.")
@click.option("--writes", type=click.Choice(WAYS), default="whole", help="With --camera: how it writes a file.")
@click.option("--gaps", type=click.FloatRange(0, 0.9), default=0.0, help="With --camera: share of frames it loses.")
@click.option(
    "--disorder", type=click.IntRange(1, 1000), default=1, help="With --camera: frames arrive mixed by so many."
)
@click.option("--labels", is_flag=True, help="Also write the exact label images (truth/labels.tif).")
@click.option("--overwrite", is_flag=True, help="Replace a simulation that exists.")
@click.option("--list", "list_settings", is_flag=True, help="List the settings of a simulation and stop.")
@json_option
@quiet_option
@debug_option
def simulate(
    *,
    out: str | None,
    form: str,
    camera: float | None,
    layout: str,
    writes: Way,
    gaps: float,
    disorder: int,
    labels: bool,
    overwrite: bool,
    list_settings: bool,
    as_json: bool,
    quiet: bool,
    **wishes: Unpack[Wishes],
) -> None:
    """Make a movie of particles on a support that ripen, move and merge, and write what is exactly true of it.

    OUT/movie.tif is the movie (OUT/movie the folder that a camera fills); OUT/truth holds particles, events and tracks
    as parquet tables, named as in a run.
    """
    console = Console(as_json=as_json, quiet=quiet)
    if list_settings:
        console.result(listed())
        return
    if out is None:
        raise CommandError("insitu simulate needs OUT", "name the folder to make, for example: insitu simulate sim")
    if camera is None and (layout, writes, gaps, disorder) != ("flat", "whole", 0.0, 1):
        raise CommandError("--layout, --writes, --gaps and --disorder are of a camera", "add --camera FPS")
    if layout.startswith("growing") and (writes, gaps, disorder) != ("whole", 0.0, 1):
        raise CommandError(
            f"one file that grows ({layout}) is written in order", "leave --writes, --gaps and --disorder out"
        )
    from insitu.simulate import Manner, Simulation

    settings = wanted(wishes)
    folder, simulation = Path(out), Simulation(settings)
    make_room(folder, overwrite=overwrite)
    movie = make(
        folder,
        simulation,
        "frames" if camera else form,
        pace=camera or inf,
        layout=layout,
        manner=Manner(writes, gaps, disorder, settings.seed),
        labels=labels,
        progress=Tally(console, "simulate", settings.frames),
    )
    console.emit("simulated", out=str(folder.resolve()), movie=str(movie.resolve()), **facts(simulation))
    console.result(f"{in_words(simulation)} · {size(occupied(movie))}")
    console.result(str(folder.resolve()))


def wanted(wishes: Wishes) -> SimulationSettings:
    """Return the settings that the options ask for: config file ← --set ← options of their own."""
    from insitu.settings import simple
    from insitu.settings.layers import read_toml
    from insitu.simulate import SimulationSettings

    values: dict[str, Any] = {}
    layers = [(read_toml(Path(wishes["config"])), wishes["config"])] if wishes["config"] else []
    layers.append((dict(_override(text) for text in wishes["overrides"]), "--set"))
    named = {
        "frames": wishes["frames"],
        "shape": _shape(wishes["shape"]),
        "nm_per_px": wishes["nm_per_px"],
        "fps": wishes["fps"],
        "dose_e_per_px": wishes["dose"],
        "mode": wishes["mode"],
        "seed": wishes["seed"],
    }
    layers.append(({k: v for k, v in named.items() if v is not None}, "given as an option"))
    for layer, origin in layers:
        values |= simple(SimulationSettings, layer, origin, title="the simulation")
    settings = SimulationSettings(**values)
    if "particles" in values:
        return settings
    return replace(settings, particles=_as_dense(settings, SimulationSettings()))


def make_room(folder: Path, *, overwrite: bool) -> None:
    """Make the folder, or empty it of an earlier simulation; refuse to touch anything else."""
    if folder.exists():
        if not folder.is_dir():
            raise CommandError(f"'{folder}' is not a folder", "choose another name")
        if not overwrite:
            raise CommandError(f"'{folder}' exists", "--overwrite to replace a simulation, or choose another folder")
        if not (folder / SETTINGS).is_file() and any(folder.iterdir()):
            raise CommandError(
                f"'{folder}' exists and is no simulation",
                "choose another folder; --overwrite replaces simulations only",
            )
        for path in (folder / name for name in OURS):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder '{folder}': {error.strerror}", "choose another folder") from error


def facts(simulation: Simulation) -> dict[str, Any]:
    """Return what was made, as plain values."""
    from collections import Counter

    s = simulation.settings
    return {
        "frames": s.frames,
        "height": s.shape[0],
        "width": s.shape[1],
        "nm_per_px": s.nm_per_px,
        "fps": s.fps,
        "dose_e_per_px": s.dose_e_per_px,
        "particles": len(simulation.tracks()["particle"]),
        "events": dict(sorted(Counter(e.kind for e in simulation.events).items())),
    }


def in_words(simulation: Simulation) -> str:
    """Return what was made as one line."""
    made = facts(simulation)
    return (
        f"{made['frames']} frames · {made['height']}×{made['width']} px · {made['nm_per_px']:g} nm/px · "
        f"{1000 / made['fps']:g} ms/frame · {made['dose_e_per_px']:g} e⁻/px · {made['particles']} particles, "
        f"{sum(made['events'].values())} events known"
    )


def listed() -> str:
    """Return the settings of a simulation with meaning, default and range."""
    from insitu.settings.catalogue import declared, to_toml
    from insitu.simulate import SimulationSettings

    lines = []
    for s in declared(SimulationSettings):
        lines.append(f"{s.name} = {to_toml(s.default)}")
        lines.append(f"    {s.doc.text} [{s.allowed}]")
    return "\n".join(lines)


def occupied(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


def _as_dense(settings: SimulationSettings, usual: SimulationSettings) -> int:
    """Return how many particles lie as densely in a frame as by default, measured in their own diameters."""
    in_diameters = [prod(s.shape) * (s.nm_per_px / s.mean_diameter_nm) ** 2 for s in (settings, usual)]
    return max(1, round(usual.particles * in_diameters[0] / in_diameters[1]))


def _override(text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise CommandError(f"'{text}' is not name=value", "write for example --set mean_diameter_nm=5")
    try:
        read = tomllib.loads(f"v = {value}")
    except tomllib.TOMLDecodeError:
        return name, value
    return name, read["v"] if set(read) == {"v"} else value


def _shape(text: str | None) -> list[int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*(?:[x×,]\s*(\d+)\s*)?", text)
    if found is None:
        raise CommandError(f"--shape {text} is not height×width", "write for example --shape 512x512")
    return [int(found[1]), int(found[2] or found[1])]
