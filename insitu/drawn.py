"""Label images that people draw or programs write: a number for each particle, from whatever form they have.

For a training and for scores alike: what one refuses, the other refuses with the same words.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from insitu.errors import CommandError, InputError
from insitu.read.frames import GREY_NOTE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.types import Reader

LABELS_OF_A_RUN = "labels.ome.zarr"
# In a label image neighbours mostly are of one particle; in a picture few are equal.
_MOST_CHANGES = 0.5
_MOST_COVERED = 0.8


def labels_in(path: str) -> str:
    """Return the label images of a run folder, or `path` itself where it is none."""
    inside = Path(path) / LABELS_OF_A_RUN
    return str(inside) if inside.is_dir() else path


def compare(images: Reader, labels: Reader, picture: str, drawing: str) -> None:
    """Check that label images fit images in number and size, and have not lost their numbers.

    Raises
    ------
    CommandError
        They differ in number or size.
    InputError
        The label images are in colour.
    """
    if images.info.n_frames != labels.info.n_frames:
        differ(images.info.n_frames, labels.info.n_frames, picture, drawing)
    if images.info.shape != labels.info.shape:
        (h, w), (lh, lw) = images.info.shape, labels.info.shape
        raise CommandError(
            f"labels of {lh}×{lw} px in '{drawing}' do not fit images of {h}×{w} px in '{picture}'",
            "draw labels at the size of the images; do not resize them",
        )
    if any(GREY_NOTE in note for note in labels.info.notes):
        raise InputError(f"'{drawing}' is in colour: its numbers are lost", "save labels as whole numbers, not RGB")


def differ(images: int | None, labels: int | None, picture: str, drawing: str) -> NoReturn:
    """Refuse label images of another number than the images."""
    raise CommandError(
        f"'{drawing}' has {labels} label images for the {images} images of '{picture}'",
        "give one label image for every image, in the same order",
    )


def particles(
    raw: NDArray[Any], where: str, unknown: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.bool_] | None, list[str]]:
    """Return a number for each particle of one label image, its known pixels and what a user must be told.

    Parameters
    ----------
    raw : array of shape (H, W)
        0 for the support and a number for each particle, or one other value: a mask, whose pieces are the particles.
    where : str
        What to call it in messages.
    unknown : int, optional
        Label value of pixels that count neither as particle nor as support.

    Returns
    -------
    labels : int32 array of shape (H, W)
    counted : bool array of shape (H, W) or None
        Pixels whose label is known; None for all.
    notes : list of str

    Raises
    ------
    InputError
        The values are no labels.
    """
    from scipy import ndimage

    if raw.dtype.kind == "f" and not np.array_equal(raw, np.rint(raw)):
        raise InputError(f"{where} holds values between whole numbers", "a map of probabilities must be cut first")
    if raw.min() < 0:
        raise InputError(f"{where} holds the value {raw.min():g}", "labels are 0 for the support, then 1, 2, 3 …")
    counted = None if unknown is None else raw != unknown
    known = raw if counted is None else np.where(counted, raw, 0)
    values = np.unique(known)
    if len(values) == 1 and values[0] == 0:
        return np.zeros(raw.shape, np.int32), counted, []
    if values[0] != 0:
        shown = ", ".join(f"{v:g}" for v in values[:4])
        raise InputError(
            f"{where} has no pixel that is 0 (it holds {shown}{' …' if len(values) > 4 else ''})",
            "the support is 0; pixels that are not known have a value of their own: --unknown VALUE",
        )
    inside = known != 0
    if _is_picture(known, inside):
        raise InputError(f"{where} looks like a picture: most neighbours differ", "give label images, not images")
    notes = []
    if inside.mean() > _MOST_COVERED:
        notes.append(f"particles cover {100 * inside.mean():.0f} % of {where}: are they and the support exchanged?")
    if len(values) == 2:
        return ndimage.label(inside, np.ones((3, 3)))[0].astype(np.int32), counted, notes
    return np.searchsorted(values, known).astype(np.int32), counted, notes


def _is_picture(known: NDArray[Any], inside: NDArray[np.bool_]) -> bool:
    both = inside[:, 1:] & inside[:, :-1]
    changes = (known[:, 1:] != known[:, :-1]) & both
    return bool(changes.sum() > _MOST_CHANGES * max(both.sum(), 1))


def used_bits(images: list[NDArray[Any]]) -> int:
    """Return how many bits the brightest pixel of 16-bit images needs; 0 for other images."""
    return max((int(image.max()).bit_length() for image in images if image.dtype == np.uint16), default=0)
