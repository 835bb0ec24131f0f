"""What a simulation leaves on disk: the movie as a camera would write it, and the tables of what is exactly true."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.simulate import Simulation, SimulationSettings

SETTINGS = "simulation.toml"
TRUTH = "truth"
# all that a simulation writes: --overwrite removes these and nothing else
OURS = (SETTINGS, TRUTH, "movie.tif", "movie.npy", "movie")


def make(
    folder: Path,
    settings: SimulationSettings,
    form: str = "tiff",
    *,
    labels: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Simulation]:
    """Write movie and truth of a simulation into an existing folder and return the movie's path and the simulation."""
    from insitu.simulate import Simulation

    simulation = Simulation(settings)
    (folder / SETTINGS).write_text(to_toml(settings), encoding="utf-8")
    movie = {"tiff": folder / "movie.tif", "frames": folder / "movie", "npy": folder / "movie.npy"}[form]
    _WRITERS[form](movie, _reported(simulation, progress), simulation)
    truth = folder / TRUTH
    truth.mkdir()
    write_truth(simulation, truth)
    if labels:
        planes = (simulation.mask(k) for k in range(len(simulation)))
        _write_tiff(truth / "labels.tif", planes, simulation, dtype="uint16", compression="zlib")
    return movie, simulation


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


def _reported(simulation: Simulation, progress: Callable[[int, int], None] | None) -> Iterator[NDArray[Any]]:
    for k, frame in enumerate(simulation.frames(), 1):
        yield frame
        if progress:
            progress(k, len(simulation))


def _write_tiff(
    path: Path, frames: Iterator[NDArray[Any]], simulation: Simulation, dtype: str = "", compression: str | None = None
) -> None:
    """Write an ImageJ stack, or an OME BigTIFF beyond 4 GB; both carry pixel size and frame time."""
    import numpy as np
    import tifffile

    s = simulation.settings
    kind = np.dtype(dtype or s.dtype)
    shape = (s.frames, *s.shape)
    large = np.prod(shape, dtype=float) * kind.itemsize > 3.9e9
    imagej = {"axes": "TYX", "unit": "nm", "finterval": s.s_per_frame, "fps": s.fps}
    ome = {
        "axes": "TYX",
        "PhysicalSizeX": s.nm_per_px,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": s.nm_per_px,
        "PhysicalSizeYUnit": "nm",
        "TimeIncrement": s.s_per_frame,
        "TimeIncrementUnit": "s",
    }
    with tifffile.TiffWriter(path, bigtiff=large, imagej=not large, ome=large) as writer:
        writer.write(
            frames,
            shape=shape,
            dtype=kind,
            photometric="minisblack",
            compression=compression,
            resolution=(1 / s.nm_per_px, 1 / s.nm_per_px),
            metadata=ome if large else imagej,
        )


def _write_frames(path: Path, frames: Iterator[NDArray[Any]], simulation: Simulation) -> None:
    """Write a folder of numbered images, as many cameras do."""
    import tifffile

    s = simulation.settings
    path.mkdir()
    for k, frame in enumerate(frames):
        tifffile.imwrite(
            path / f"frame_{k:06d}.tif",
            frame,
            imagej=True,
            resolution=(1 / s.nm_per_px, 1 / s.nm_per_px),
            metadata={"axes": "YX", "unit": "nm", "finterval": s.s_per_frame},
        )


def _write_npy(path: Path, frames: Iterator[NDArray[Any]], simulation: Simulation) -> None:
    """Write a plain array; it knows neither pixel size nor frame time."""
    import numpy as np

    s = simulation.settings
    stack = np.lib.format.open_memmap(path, mode="w+", dtype=s.dtype, shape=(s.frames, *s.shape))
    for k, frame in enumerate(frames):
        stack[k] = frame
    stack.flush()


_WRITERS: dict[str, Callable[[Path, Iterator[NDArray[Any]], Simulation], None]] = {
    "tiff": _write_tiff,
    "frames": _write_frames,
    "npy": _write_npy,
}
