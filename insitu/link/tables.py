"""Linking of tables and of arrays with the signatures of trackpy: `link(f, search_range)` and `link_iter(...)`.

The links are trackpy's wherever trackpy can solve the problem; subnets it gives up on are solved too. A frame number
that is absent counts as an empty frame, as in trackpy, and uses up memory.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.link.linker import OptimalLinker
from insitu.options import LinkOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    ToEuclidean = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# Ways trackpy may take to the same optimum: accepted, since they cannot change a link.
_SAME_OPTIMUM = {
    "link_strategy": (None, "auto", "recursive", "nonrecursive", "numba", "hybrid"),
    "neighbor_strategy": (None, "KDTree", "BTree"),
    "predictor": (None,),
    "dist_func": (None,),
}


def link(
    f: pd.DataFrame,
    search_range: float | Sequence[float],
    pos_columns: Sequence[str] | None = None,
    t_column: str = "frame",
    *,
    memory: int = 0,
    adaptive_stop: float | None = None,
    adaptive_step: float = 0.95,
    to_eucl: ToEuclidean | None = None,
    **unsupported: object,
) -> pd.DataFrame:
    """Give every row of a table of positions the id of its particle.

    Parameters
    ----------
    f : DataFrame
        One row a particle a frame, in any order; it is not changed.
    search_range : float or sequence of float
        Farthest a particle may move between successive frames (inclusive), in the unit of the positions; one value, or
        one for each position column.
    pos_columns : sequence of str, optional
        Columns of the position; ``["y", "x"]``, or ``["z", "y", "x"]`` where there is a column z.
    t_column : str, optional
        Column of the frame number (whole numbers, of any type).
    memory : int, optional
        Frames a particle may be unseen and keep its id.
    adaptive_stop, adaptive_step : float, optional
        Where more than 15 particles compete, the range shrinks by the step until fewer do, at most to the stop. There
        trackpy gives up; here the rest is solved. (trackpy forgets who lost all candidates on the way, whatever its
        memory; here the memory holds.)
    to_eucl : callable, optional
        Turns (n, d) positions into Euclidean coordinates before distances are taken.
    **unsupported
        Options of trackpy that cannot change the links are accepted, all others refused.

    Returns
    -------
    DataFrame
        Copy of `f`, sorted by frame (rows of one frame keep their order), frame as int64, with column ``particle``
        (int64, numbered from 0 in order of appearance). A row without a finite position never links: it gets an id of
        its own.

    Raises
    ------
    CommandError
        A column is missing, a frame number is not whole, or an option is not supported.
    """
    _check(unsupported)
    columns = position_columns(f, pos_columns, t_column)
    linked = f.copy()
    linked[t_column] = whole_frames(f[t_column].to_numpy(), t_column)
    # By position, so that an index level of the same name is no obstacle.
    linked = linked.iloc[np.argsort(linked[t_column].to_numpy(), kind="stable")]
    linker, euclidean = _linker(search_range, memory, (adaptive_stop, adaptive_step), to_eucl, len(columns))
    positions = linked[columns].to_numpy(np.float64, na_value=np.nan)
    linked["particle"] = _ids(linked[t_column].to_numpy(), positions, linker, euclidean, memory)
    return linked


def _ids(
    frames: NDArray[np.int64],
    positions: NDArray[np.float64],
    linker: OptimalLinker,
    euclidean: ToEuclidean,
    memory: int,
) -> NDArray[np.int64]:
    """Return the ids of rows in order of frame; frame numbers that are absent are empty frames."""
    ids = np.empty(len(frames), np.int64)
    times, first = np.unique(frames, return_index=True)
    for k, (time, rows) in enumerate(zip(times.tolist(), np.split(positions, first[1:]), strict=False)):
        # Beyond the memory nothing is left to forget, however long the gap.
        for _ in range(min(time - int(times[k - 1]) - 1, memory + 1) if k else 0):
            linker.step(time, np.empty((0, positions.shape[1])))
        ids[first[k] : first[k] + len(rows)] = linker.step(time, euclidean(rows))
    return ids


def link_iter(
    coords_iter: Iterable[Any],
    search_range: float | Sequence[float],
    *,
    memory: int = 0,
    adaptive_stop: float | None = None,
    adaptive_step: float = 0.95,
    to_eucl: ToEuclidean | None = None,
    **unsupported: object,
) -> Iterator[tuple[Any, list[int]]]:
    """Link frame by frame, holding one frame.

    Parameters
    ----------
    coords_iter : iterable
        Arrays of shape (n, d), or tuples (t, array).
    search_range, memory, adaptive_stop, adaptive_step, to_eucl, **unsupported
        As in `link`.

    Yields
    ------
    tuple of t and list of int
        The t given (or the number of the frame, from 0) and the id of each row.

    Raises
    ------
    CommandError
        An option is not supported, or an array does not have one row a particle.
    """
    _check(unsupported)
    start = partial(_linker, search_range, memory, (adaptive_stop, adaptive_step), to_eucl)
    return _link_each(coords_iter, start)


def _link_each(
    coords_iter: Iterable[Any], start: Callable[[int], tuple[OptimalLinker, ToEuclidean]]
) -> Iterator[tuple[Any, list[int]]]:
    linker = None
    n_dim = 0
    for number, item in enumerate(coords_iter):
        time, array = item if isinstance(item, tuple) else (number, item)
        positions = np.asarray(array, np.float64)
        if positions.size == 0:
            positions = positions.reshape(0, n_dim or (positions.shape[1] if positions.ndim == 2 else 0) or 2)
        if positions.ndim != 2 or (linker is not None and positions.shape[1] != n_dim):
            raise CommandError(
                f"positions of frame {time} have shape {positions.shape}, not (particles, {n_dim or 'dimensions'})",
                "give one array (n, d) a frame, with the same d throughout",
            )
        if linker is None:
            n_dim = positions.shape[1]
            linker, euclidean = start(n_dim)
        yield time, linker.step(number, euclidean(positions) if len(positions) else positions).tolist()


def position_columns(f: pd.DataFrame, pos_columns: Sequence[str] | None, t_column: str) -> list[str]:
    """Return the names of the position columns; refuse a table that lacks one, or holds no numbers there."""
    columns = list(pos_columns) if pos_columns is not None else [c for c in ("z", "y", "x") if c != "z" or "z" in f]
    hint = "name the columns with pos_columns=[…] and t_column=…"
    missing = [c for c in (*columns, t_column) if c not in f]
    if missing:
        there = ", ".join(map(repr, f.columns))
        raise CommandError(f"the table has no column {', '.join(map(repr, missing))}; it has {there}", hint)
    for column in columns:
        if f[column].dtype.kind not in "iufb" and len(f):
            raise CommandError(f"column {column!r} holds {f[column].dtype}, not positions", hint)
    return columns


def _check(unsupported: dict[str, object]) -> None:
    """Refuse the options of trackpy that would change the links and are not offered."""
    for name, value in unsupported.items():
        if name in _SAME_OPTIMUM and value in _SAME_OPTIMUM[name]:
            continue
        raise CommandError(
            f"link has no option {name}={value!r}",
            "leave it out; supported are search_range, pos_columns, t_column, memory, adaptive_stop, adaptive_step and "
            "to_eucl",
        )


def _linker(
    search_range: float | Sequence[float],
    memory: int,
    shrinking: tuple[float | None, float],
    to_eucl: ToEuclidean | None,
    n_dim: int,
) -> tuple[OptimalLinker, ToEuclidean]:
    """Return a linker and the map from given to Euclidean coordinates in which the search range is one number."""
    radii = np.atleast_1d(np.asarray(search_range, np.float64))
    if radii.ndim != 1 or len(radii) not in {1, n_dim} or not (np.isfinite(radii) & (radii > 0)).all():
        raise CommandError(
            f"search_range={search_range!r} is not a positive number (or one for each of {n_dim} columns)",
            "give the farthest a particle may move between two frames, for example search_range=10",
        )
    if not isinstance(memory, (int, np.integer)) or memory < 0:
        raise CommandError(f"memory={memory!r} is not a number of frames", "give a whole number, 0 or more")
    adaptive_stop, adaptive_step = shrinking
    _check_adaptive(adaptive_stop, adaptive_step)
    scale = np.ones(1)
    if (radii != radii[0]).any():
        if to_eucl is not None:
            raise CommandError(
                f"search_range={search_range!r} differs by direction while to_eucl is given",
                "let to_eucl scale the axes and give one search_range",
            )
        # As trackpy has it: the stop is that of the direction with the least range.
        adaptive_stop = None if adaptive_stop is None else adaptive_stop / float(radii.min())
        scale, radii = radii, np.ones(1)
    # Without drift looked for, the links are trackpy's.
    options = LinkOptions(
        search_range_px=float(radii[0]),
        memory_frames=int(memory),
        drift_range_px=0.0,
        adaptive_stop_px=adaptive_stop,
        adaptive_step=adaptive_step,
    )
    return OptimalLinker(options, hold_blank=False), to_eucl or (lambda positions: positions / scale)


def _check_adaptive(stop: float | None, step: float) -> None:
    """Refuse a range that cannot shrink."""
    if stop is not None and not (np.isfinite(stop) and stop > 0):
        raise CommandError(
            f"adaptive_stop={stop!r} is not a length", "give the least search range that still makes sense, above 0"
        )
    if not 0 < step < 1:
        raise CommandError(f"adaptive_step={step!r} is not between 0 and 1", "give a factor such as 0.95")


def whole_frames(times: NDArray[Any], t_column: str) -> NDArray[np.int64]:
    """Return frame numbers as int64; refuse what is not a whole number."""
    try:
        exact = np.asarray(times, np.float64) if not np.issubdtype(times.dtype, np.integer) else times
    except (TypeError, ValueError):
        exact = np.array([np.nan])
    bad = exact[~(np.isfinite(exact) & (exact == np.floor(exact)))] if exact.dtype.kind == "f" else exact[:0]
    if len(bad):
        raise CommandError(
            f"column {t_column!r} holds {bad[0]!r}, which is not a frame number",
            "give whole frame numbers; drop rows without one, and number frames rather than seconds",
        )
    return exact.astype(np.int64)
