"""Cut the outline of several particles in contact into theirs, where discs of their areas would meet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.types import Runs

MOST_ROUNDS = 30


def cut(
    runs: Runs, label: int, centres: NDArray[np.float64], areas: NDArray[np.float64]
) -> tuple[Runs, NDArray[np.int32], NDArray[np.int32]] | None:
    """Divide one label among particles of known area.

    Each pixel goes to the particle of least power distance |p - c|² - A/π: between two discs that is the line through
    the points where their outlines cross, the neck. The centres are moved into the middle of what they got until
    nothing changes (Lloyd's rule), so that they may lie where the particles were before they met.

    Parameters
    ----------
    runs : Runs
        Labelled.
    label : int
        The outline to cut.
    centres : float64 array of shape (k, 2)
        Centres y, x in mask px; one row may be NaN, then it is what the others leave of the centre of all.
    areas : float64 array of shape (k,)
        Areas before the contact in mask px.

    Returns
    -------
    tuple or None
        The runs, labelled anew in raster order of the first pixel; the new label of each old one (entry k - 1 for label
        k, 0 for the one that was cut); the new labels of the k particles. Sums of counts are shared by the pixels of
        each run. None if one of the particles would get no pixel.
    """
    whole = np.flatnonzero(runs.label == label)
    y = np.repeat(runs.row[whole], (runs.stop - runs.start)[whole])
    part = _parts(np.column_stack([y, _columns(runs, whole)]).astype(np.float64), centres, areas)
    if part is None:
        return None
    divided, number = divide(runs, whole, part)
    return divided, number[: runs.n_labels], number[runs.n_labels :]


def divide(runs: Runs, whole: NDArray[np.int64], part: NDArray[np.int64]) -> tuple[Runs, NDArray[np.int32]]:
    """Give pixels of labelled runs to new labels.

    Parameters
    ----------
    runs : Runs
        Labelled.
    whole : int64 array of shape (m,)
        The runs whose pixels are given away; all of a label or none.
    part : int64 array
        For each pixel of these runs, in their order, the number 0… of its new label; every number occurs.

    Returns
    -------
    tuple
        The runs, labelled anew in raster order of the first pixel, sums of counts shared by the pixels of each run; and
        the new label of each old one (0 where it has no pixel left), followed by those of the parts.
    """
    at = np.repeat(whole, (runs.stop - runs.start)[whole])
    x = _columns(runs, whole)
    first = np.append(0, np.flatnonzero((at[1:] != at[:-1]) | (part[1:] != part[:-1])) + 1)
    size = np.diff(np.append(first, len(at)))
    left = np.ones(len(runs), np.bool_)
    left[whole] = False
    others = np.flatnonzero(left)
    run = np.concatenate([others, at[first]])
    start = np.concatenate([runs.start[others], x[first]])
    stop = np.concatenate([runs.stop[others], x[first] + size])
    named = np.concatenate([runs.label[others], runs.n_labels + 1 + part[first]])
    order = np.lexsort((start, runs.row[run]))
    run, start, stop, named = run[order], start[order], stop[order], named[order]
    old, place = np.unique(named, return_index=True)
    number = np.zeros(runs.n_labels + 1 + int(part.max()) + 1, np.int32)
    number[old[np.argsort(place)]] = np.arange(1, len(old) + 1)
    return in_pieces(runs, np.stack((run, start, stop, number[named])).astype(np.int32), len(old)), number[1:]


def in_pieces(runs: Runs, pieces: NDArray[np.int32], n: int) -> Runs:
    """Return runs cut into pieces, with the sums of counts shared by the pixels of each run.

    Parameters
    ----------
    runs : Runs
        What is cut.
    pieces : int32 array of shape (4, m)
        For each piece, in raster order, the run it is from, where it starts and stops, and its new label.
    n : int
        The number of new labels.
    """
    run, start, stop, label = pieces
    whole = (runs.stop - runs.start)[run]
    cut = np.flatnonzero(stop - start != whole)
    within, size, whole = ((v[cut]).astype(np.int64) for v in (start - runs.start[run], stop - start, whole))

    def shared(sums: NDArray[Any] | None) -> NDArray[Any] | None:
        if sums is None:
            return None
        of_pieces: NDArray[Any] = sums[run]
        of_pieces[cut] = _share(of_pieces[cut], within, size, whole)
        return of_pieces

    return replace(
        runs,
        row=runs.row[run],
        start=start,
        stop=stop,
        label=label,
        n_labels=n,
        intensity_sum=shared(runs.intensity_sum),
        probability_sum=shared(runs.probability_sum),
    )


def _columns(runs: Runs, whole: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the column of every pixel of the runs `whole`, run by run."""
    length = (runs.stop - runs.start)[whole].astype(np.int64)
    inside = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return inside + np.repeat(runs.start[whole], length)


def _parts(
    pixels: NDArray[np.float64], centres: NDArray[np.float64], areas: NDArray[np.float64]
) -> NDArray[np.int64] | None:
    """Return which particle each pixel (y, x) goes to, None if one gets none."""
    middle = pixels.mean(axis=0)
    unknown = np.isnan(centres[:, 0])
    share = areas / areas.sum()
    centres = np.where(unknown[:, None], 0.0, centres)
    if unknown.any():
        rest = middle - (share[:, None] * centres).sum(axis=0)
        centres[unknown] = rest / share[unknown].sum()
    else:
        centres = centres + middle - (share[:, None] * centres).sum(axis=0)
    part = np.full(len(pixels), -1)
    for _ in range(MOST_ROUNDS):
        away = ((pixels[:, None] - centres) ** 2).sum(axis=2) - areas / np.pi
        before, part = part, np.argmin(away, axis=1)
        count = np.bincount(part, minlength=len(areas))
        if not count.all():
            return None
        if (part == before).all():
            break
        centres = np.column_stack([np.bincount(part, pixels[:, k], len(areas)) / count for k in (0, 1)])
    return part


def _share(
    sums: NDArray[Any], within: NDArray[np.int64], size: NDArray[np.int64], whole: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the share of pieces of `size` pixels, `within` pixels from the start of runs of `whole`, in their sums.

    Of integers nothing is lost or won.
    """
    if sums.dtype.kind == "f":
        return np.asarray(sums * size / whole)
    # Whole quotients and remainders apart: the product of a sum and a length could overflow.
    much, rest = np.divmod(sums, whole)
    return np.asarray(much * size + rest * (within + size) // whole - rest * within // whole)
