"""What a simulation leaves on disk: the movie as a camera would write it, and the tables of what is exactly true."""

from __future__ import annotations

from dataclasses import fields
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from insitu.simulate import Manner, Simulation, SimulationSettings

SETTINGS = "simulation.toml"
TRUTH = "truth"
# all that a simulation writes: --overwrite removes these and nothing else
OURS = (SETTINGS, TRUTH, "movie.tif", "movie.npy", "movie.mrc", "movie")


def make(
    folder: Path,
    simulation: Simulation,
    form: str = "tiff",
    *,
    pace: float = inf,
    layout: str = "flat",
    manner: Manner | None = None,
    labels: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write movie and truth of a simulation into an existing folder.

    Parameters
    ----------
    folder : Path
    simulation : Simulation
    form : {"tiff", "frames", "npy"}
    pace : float
        Frames per second at which ``"frames"`` are dropped, as by a camera; at once by default.
    layout : {"flat", "gatan", "growing-tiff", "growing-mrc"}
        How a camera with a `pace` lays them out; a layout that grows is one file.
    manner : Manner, optional
        How that camera writes.
    labels : bool
        Write the exact label images too.
    progress : callable, optional
        Called with the number of frames written so far (not with ``"frames"``).

    Returns
    -------
    Path
        The movie: a file, or the folder of its frames.
    """
    from insitu.simulate import drop_frames, grow_file, write_tiff

    truth = folder / TRUTH
    truth.mkdir()
    (folder / SETTINGS).write_text(to_toml(simulation.settings), encoding="utf-8")
    movie = folder / {"tiff": "movie.tif", "frames": "movie", "npy": "movie.npy"}[form]
    if layout.startswith("growing"):
        movie = folder / ("movie.mrc" if layout == "growing-mrc" else "movie.tif")
        grow_file(simulation, movie, pace)
    elif form == "tiff":
        write_tiff(simulation, movie, progress)
    elif form == "frames":
        drop_frames(simulation, movie, pace, "gatan" if layout == "gatan" else "flat", manner)
    else:
        _write_npy(movie, simulation, progress)
    write_truth(simulation, truth)
    if labels:
        _write_labels(truth / "labels.tif", simulation)
    return movie


def write_truth(simulation: Simulation, folder: Path) -> None:
    """Write what is exactly true of a simulated movie as the tables of a run: particles, events, tracks."""
    import numpy as np

    from insitu.store.tables import write_table

    calibration = simulation.info.calibration
    particles = simulation.particles()
    # areas are exact reals here and pixel counts in a run; the exact diameter stays beside
    particles["area_px"] = np.rint(particles["area_px"])
    del particles["radius_px"]
    write_table(folder / "particles.parquet", particles, "particles", calibration=calibration)
    write_table(folder / "events.parquet", _event_columns(simulation), "events", calibration=calibration)
    write_table(folder / "tracks.parquet", simulation.tracks(), "tracks", calibration=calibration)


def to_toml(settings: SimulationSettings) -> str:
    """Return the settings as TOML that ``--config`` reads back."""
    from insitu.settings.catalogue import to_toml as value_to_toml

    return "".join(f"{f.name} = {value_to_toml(getattr(settings, f.name))}\n" for f in fields(settings))


def _event_columns(simulation: Simulation) -> dict[str, list[Any]]:
    events, step = simulation.events, simulation.settings.s_per_frame
    names = ("frame", "decided_frame", "kind", "y", "x", "parents", "children", "parent_areas_px", "child_areas_px")
    more = ("contact_frame", "touches_edge", "confidence", "note")
    columns: dict[str, list[Any]] = {name: [getattr(e, name) for e in events] for name in (*names, *more)}
    for name in ("gap_px", "volume_balance"):
        values = [getattr(e, name) for e in events]
        columns[name] = [float("nan") if v is None else v for v in values]
    return columns | {"event": list(range(len(events))), "time_s": [e.frame * step for e in events]}


def _write_labels(path: Path, simulation: Simulation) -> None:
    """Write the exact label images as a compressed TIFF stack."""
    import tifffile

    s = simulation.settings
    planes = (simulation.mask(k) for k in range(s.frames))
    tifffile.imwrite(
        path, planes, shape=(s.frames, *s.shape), dtype="uint16", photometric="minisblack", compression="zlib"
    )


def _write_npy(path: Path, simulation: Simulation, progress: Callable[[int], None] | None) -> None:
    """Write a plain array; it knows neither pixel size nor frame time."""
    import numpy as np

    s = simulation.settings
    stack = np.lib.format.open_memmap(path, mode="w+", dtype=s.dtype, shape=(s.frames, *s.shape))
    for k, frame in enumerate(simulation.frames()):
        stack[k] = frame
        if progress:
            progress(k + 1)
    stack.flush()
