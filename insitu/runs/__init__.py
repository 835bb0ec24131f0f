"""Masks as row runs: extraction, connected components, overlap, and back to label images.

A run is a row and a half-open column range; a frame's runs are kept in raster order. Everything behind the segmentation
works on them: a 1792×1920 frame with 300 particles has 13 000 runs, against 3.4 million pixels of a label image. Sums
of integer counts are integers, so no order of summation changes a result; counts of float cameras are summed in
float64, each run from left to right. numba, numpy and torch give the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.runs.loops import fastest, sums_over
from insitu.types import Runs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from insitu.runs.loops import Lines

MAX_LABELS = 65_535


def find_runs(
    mask: NDArray[Any],
    counts: NDArray[Any] | None = None,
    probability: NDArray[Any] | None = None,
    *,
    origin: tuple[int, int] = (0, 0),
    bin: int = 1,  # noqa: A002 - the name of the field in `Runs`
) -> Runs:
    """Return the runs of a mask, unlabelled, with the sums of raw counts and probabilities over each.

    Parameters
    ----------
    mask : bool or uint8 array of shape (H, W)
        Nonzero inside particles; any memory layout.
    counts : array of shape (H, W), optional
        Raw counts, any integer or float dtype and byte order. Integers are summed in int64, floats in float64.
    probability : integer array of shape (H, W), optional
        ``round(65535 p)``.
    origin, bin
        Where the mask lies on the camera, see `Runs`.

    Raises
    ------
    ValueError
        Wrong dtype, or shapes that differ.
    """
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise ValueError(f"a mask is a bool or uint8 array (H, W), not {mask.dtype} {mask.shape}")
    lines = fastest().extract(np.ascontiguousarray(mask).view(np.uint8))
    return Runs(
        (mask.shape[0], mask.shape[1]),
        *lines,
        label=np.zeros(len(lines[0]), np.int32),
        intensity_sum=None if counts is None else sums_over(lines, counts, mask.shape),
        probability_sum=None if probability is None else sums_over(lines, probability, mask.shape),
        origin=origin,
        bin=bin,
    )


def find_runs_torch(
    masks: Any,  # noqa: ANN401 - a torch tensor; torch is imported only where it is used
    counts: Any = None,  # noqa: ANN401 - tensor or array
    probability: Any = None,  # noqa: ANN401 - tensor or array
    *,
    origin: tuple[int, int] = (0, 0),
    bin: int = 1,  # noqa: A002 - the name of the field in `Runs`
) -> list[Runs]:
    """Return the runs of each mask of a batch, equal to `find_runs` bit for bit.

    A batch on an accelerator is searched there and only run lists leave it; a batch on the CPU goes through `find_runs`
    frame by frame, which is faster there.

    Parameters
    ----------
    masks : torch.Tensor of shape (B, H, W), bool or uint8
    counts, probability : torch.Tensor or ndarray of shape (B, H, W), optional
        As in `find_runs`; what does not lie on the device of the masks is summed on the host.
    origin, bin
        As in `Runs`.
    """
    from insitu.runs import tensors

    if masks.device.type != "cpu":
        return tensors.find(masks, counts, probability, origin, bin)
    host, counts, probability = masks.numpy(), tensors.on_host(counts), tensors.on_host(probability)
    return [
        find_runs(
            host[b],
            None if counts is None else counts[b],
            None if probability is None else probability[b],
            origin=origin,
            bin=bin,
        )
        for b in range(len(host))
    ]


def components(runs: Runs) -> Runs:
    """Label each run with its 8-connected component, 1…n in raster order of the first pixel (as scikit-image)."""
    label, n = fastest().unite(lines_of(runs))
    return replace(runs, label=label, n_labels=n)


def lines_of(runs: Runs) -> Lines:
    """Return the geometry of the runs: row, start, stop."""
    return runs.row, runs.start, runs.stop


def require_labels(runs: Runs) -> None:
    """Raise ValueError if `runs` have not been through `components` (or `runs_of_labels`)."""
    if len(runs) and runs.n_labels == 0:
        raise ValueError("these runs have no labels yet: call insitu.runs.components first")


def select(runs: Runs, keep: NDArray[np.bool_]) -> Runs:
    """Drop the components k with ``keep[k - 1]`` False and number the rest again in raster order.

    Parameters
    ----------
    runs : Runs
        Labelled.
    keep : bool array of shape (n_labels,)
    """
    require_labels(runs)
    if keep.shape != (runs.n_labels,) or keep.dtype != np.bool_:
        raise ValueError(f"keep must be bool of shape ({runs.n_labels},), not {keep.dtype} {keep.shape}")
    if keep.all():
        return runs
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)[runs.label - 1]
    kept = np.flatnonzero(number)
    return replace(
        runs,
        row=runs.row[kept],
        start=runs.start[kept],
        stop=runs.stop[kept],
        label=number[kept],
        n_labels=int(keep.sum()),
        intensity_sum=None if runs.intensity_sum is None else runs.intensity_sum[kept],
        probability_sum=None if runs.probability_sum is None else runs.probability_sum[kept],
    )


def overlaps(a: Runs, b: Runs) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Return the pairs of labels that share pixels and how many (in mask px), sorted by the label in `a`, then in `b`.

    Raises
    ------
    ValueError
        The two do not describe the same region of the camera, or are not labelled.
    """
    if (a.shape, a.origin, a.bin) != (b.shape, b.origin, b.bin):
        raise ValueError(f"runs of different regions: {a.shape, a.origin, a.bin} and {b.shape, b.origin, b.bin}")
    require_labels(a)
    require_labels(b)
    i, j, pixels = fastest().intersect(lines_of(a), lines_of(b))
    pair, position = np.unique(a.label[i] * np.int64(b.n_labels + 1) + b.label[j], return_inverse=True)
    total = np.zeros(len(pair), np.int64)
    np.add.at(total, position, pixels)
    label_a, label_b = np.divmod(pair, b.n_labels + 1)
    return label_a.astype(np.int32), label_b.astype(np.int32), total


def paint(runs: Runs, values: ArrayLike | None = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the label image (H, W): zero outside, the label (or ``values[label - 1]``) inside.

    Parameters
    ----------
    runs : Runs
        Labelled.
    values : array of shape (n_labels,), optional
        What to paint in place of the label.
    out : array of shape (H, W), optional
        Painted over completely. Without it the result is uint16, or of the dtype of `values`.

    Raises
    ------
    ValueError
        A value does not fit the dtype of the image: nothing is ever wrapped round.
    """
    require_labels(runs)
    given = np.arange(1, runs.n_labels + 1) if values is None else np.asarray(values)
    if given.shape != (runs.n_labels,):
        raise ValueError(f"{runs.n_labels} labels need as many values, not shape {given.shape}")
    if out is None:
        out = np.zeros(runs.shape, np.uint16 if values is None else given.dtype)
    else:
        out[...] = 0
    if out.shape != runs.shape:
        raise ValueError(f"out has shape {out.shape}, the runs {runs.shape}")
    with np.errstate(invalid="ignore"):
        stored = given.astype(out.dtype)
    if not np.array_equal(stored, given, equal_nan=given.dtype.kind == "f"):
        raise ValueError(f"labels or values up to {given.max()} do not fit an image of {out.dtype}")
    fastest().fill(lines_of(runs), stored[runs.label - 1], out)
    return out


def runs_of_labels(
    image: NDArray[Any],
    counts: NDArray[Any] | None = None,
    *,
    origin: tuple[int, int] = (0, 0),
    bin: int = 1,  # noqa: A002 - the name of the field in `Runs`
) -> Runs:
    """Return the labelled runs of an existing label image (H, W) of integers, 0 = background.

    Touching labels stay apart and a label in several pieces stays one. Labels that already are 1…n in raster order of
    their first pixel are kept; all others are numbered again in that order.

    Raises
    ------
    ValueError
        Not a two-dimensional image of integers ≥ 0.
    """
    if image.ndim != 2 or image.dtype.kind not in "biu" or (image.size and image.min() < 0):
        raise ValueError(f"a label image holds integers ≥ 0 of shape (H, W), not {image.dtype} {image.shape}")
    height, width = image.shape
    framed = np.zeros((height, width + 2), image.dtype if image.dtype.kind != "b" else np.uint8)
    framed[:, 1:-1] = image
    changes = framed[:, 1:] != framed[:, :-1]
    begins = changes & (framed[:, 1:] != 0)
    row, start = np.nonzero(begins)
    stop = np.nonzero(changes & (framed[:, :-1] != 0))[1]
    _, first, position = np.unique(image[row, start], return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first)) + 1
    lines = (row.astype(np.int32), start.astype(np.int32), stop.astype(np.int32))
    return Runs(
        (height, width),
        *lines,
        label=number[position].astype(np.int32),
        n_labels=len(first),
        intensity_sum=None if counts is None else sums_over(lines, counts, image.shape),
        origin=origin,
        bin=bin,
    )
