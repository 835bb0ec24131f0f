"""The three functions of the top level: `stream`, `analyze`, `open`."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError
from insitu.results import Run, open_run
from insitu.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from insitu.intake import Selection
    from insitu.progress import Progress
    from insitu.types import FrameResult

    Source = str | Path | list[str | Path] | Iterable[Any]
    Frames = tuple[int, int | None] | tuple[int, int | None, int] | slice | range

__all__ = ["analyze", "open_run", "stream"]


def stream(
    source: Source,
    *,
    preset: str | None = None,
    settings: Settings | Mapping[str, Any] | str | Path | None = None,
    nm_per_px: float | None = None,
    fps: float | None = None,
    model: str | None = None,
    frames: Frames | None = None,
) -> Iterator[FrameResult]:
    """Analyse a movie and yield the result of every frame, in frame order and constant memory.

    Parameters
    ----------
    source : path, list of paths, or iterable of arrays
        A movie, a folder of numbered images, or any iterable of (H, W) arrays in camera counts.
    preset : str, optional
        Name of a preset (`insitu config show`).
    settings : Settings, mapping or path, optional
        Resolved settings, or values on top of the preset: ``{"link.search_range_px": 8}``, ``{"link": {…}}``, or a TOML
        file (the ``settings.toml`` of a run repeats it).
    nm_per_px : float, optional
        Pixel size in nm; outranks the file's own.
    fps : float, optional
        Frames per second; outranks the file's own.
    model : str, optional
        Weights or method (`insitu models list`).
    frames : tuple of int, slice or range, optional
        ``(start, stop)`` or ``(start, stop, step)`` of the source's timeline; ``slice(None, 100)`` are the first 100.

    Yields
    ------
    FrameResult
        ``frame.image`` is valid until the next result is asked for: copy it to keep it.

    Raises
    ------
    InsituError
        As the command line reports it.

    Examples
    --------
    >>> import numpy as np, insitu
    >>> rng = np.random.default_rng(0)
    >>> movie = (rng.normal(100, 5, (64, 64)).astype(np.uint8) for _ in range(3))
    >>> [result.frame.index for result in insitu.stream(movie, model="classical")]
    [0, 1, 2]
    """
    from insitu.pipeline import stream as results

    resolved = _settings(preset, settings, nm_per_px=nm_per_px, fps=fps, model=model)
    yield from results(source, settings=resolved, selection=_selection(frames))


def analyze(
    source: Source,
    out: str | Path,
    *,
    preset: str | None = None,
    settings: Settings | Mapping[str, Any] | str | Path | None = None,
    nm_per_px: float | None = None,
    fps: float | None = None,
    model: str | None = None,
    frames: Frames | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Analyse a movie into the run folder `out` and return the run; parameters as in `stream`.

    Parameters
    ----------
    out : path
        The run folder; it must not exist unless `resume` (go on after the last committed frame) or `overwrite`.
    progress : callable, optional
        Called after every frame with the state of the run.

    Raises
    ------
    InsituError
        As the command line reports it; what was committed before is safe.
    """
    from insitu.pipeline import process

    resolved = _settings(preset, settings, nm_per_px=nm_per_px, fps=fps, model=model)
    chosen = _selection(frames)
    summary = process(source, out, resolved, selection=chosen, resume=resume, overwrite=overwrite, progress=progress)
    return open_run(summary.out)


def _settings(preset: str | None, given: Any, **short: Any) -> Settings:  # noqa: ANN401 - whatever a user gives
    """Return the resolved settings: preset, then what was given, then the short forms."""
    keys = {"nm_per_px": "calibration.nm_per_px", "fps": "calibration.fps", "model": "segment.model"}
    if isinstance(given, Settings):
        base = given
    elif isinstance(given, str | PathLike):
        base = load(preset=preset, config=Path(given))
    elif given is None or isinstance(given, Mapping):
        base = load(preset=preset).replace(_dotted(given or {}), "given")
    else:
        message = f"settings of type {type(given).__name__} cannot be read"
        raise CommandError(message, 'give for example settings={"link.search_range_px": 8}, or a TOML file')
    return base.replace({keys[name]: value for name, value in short.items() if value is not None}, "given")


def _dotted(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"link": {"search_range_px": 8}}`` as ``{"link.search_range_px": 8}``."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        values |= {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, Mapping) else {key: value}
    return values


def _selection(frames: Frames | None) -> Selection | None:
    from insitu.intake import Selection

    if frames is None:
        return None
    parts = (frames.start, frames.stop, frames.step) if isinstance(frames, slice | range) else frames
    if (
        not isinstance(parts, tuple | list)
        or not 2 <= len(parts) <= 3
        or not all(p is None or isinstance(p, Integral) for p in parts)
    ):
        raise CommandError(f"frames={frames!r} cannot be selected", "give (start, stop) or (start, stop, step)")
    start, stop, step = (*parts, None)[:3]
    return Selection(int(start or 0), None if stop is None else int(stop), 1 if step is None else int(step))
