"""The three functions of the top level: `stream`, `analyze`, `open`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from insitu.results import Run, open_run
from insitu.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from insitu.progress import Progress
    from insitu.types import FrameResult

    Source = str | Path | list[str | Path] | Iterable[Any]

__all__ = ["analyze", "open_run", "stream"]


def stream(
    source: Source,
    *,
    preset: str | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    nm_per_px: float | None = None,
    fps: float | None = None,
    model: str | None = None,
    frames: tuple[int, int | None, int] | None = None,
) -> Iterator[FrameResult]:
    """Analyse a movie and yield the result of every frame, in frame order and constant memory.

    Parameters
    ----------
    source : path, list of paths, or iterable of arrays
        A movie, a folder of numbered images, or any iterable of (H, W) arrays in camera counts.
    preset : str, optional
        Name of a preset (`insitu config show`).
    settings : Settings or mapping, optional
        Resolved settings, or values on top of the preset: ``{"link.search_range_px": 8}``.
    nm_per_px : float, optional
        Pixel size in nm; outranks the file's own.
    fps : float, optional
        Frames per second; outranks the file's own.
    model : str, optional
        Weights or method (`insitu models list`).
    frames : tuple of int, optional
        ``(start, stop, step)`` of the source's timeline.

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
    from insitu.intake import Selection
    from insitu.pipeline import stream as results

    resolved = _settings(preset, settings, nm_per_px=nm_per_px, fps=fps, model=model)
    yield from results(source, settings=resolved, selection=Selection(*frames) if frames else None)


def analyze(
    source: Source,
    out: str | Path,
    *,
    preset: str | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    nm_per_px: float | None = None,
    fps: float | None = None,
    model: str | None = None,
    frames: tuple[int, int | None, int] | None = None,
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
    from insitu.intake import Selection
    from insitu.pipeline import process

    resolved = _settings(preset, settings, nm_per_px=nm_per_px, fps=fps, model=model)
    chosen = Selection(*frames) if frames else None
    summary = process(source, out, resolved, selection=chosen, resume=resume, overwrite=overwrite, progress=progress)
    return open_run(summary.out)


def _settings(preset: str | None, given: Settings | Mapping[str, Any] | None, **short: Any) -> Settings:  # noqa: ANN401 - values of any setting
    """Return the resolved settings: preset, then what was given, then the short forms."""
    keys = {"nm_per_px": "calibration.nm_per_px", "fps": "calibration.fps", "model": "segment.model"}
    base = given if isinstance(given, Settings) else load(preset=preset).replace(given or {}, "given")
    return base.replace({keys[name]: value for name, value in short.items() if value is not None}, "given")
