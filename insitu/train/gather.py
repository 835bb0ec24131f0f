"""Read images and their labels for a training, and refuse what cannot be learned from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu import drawn
from insitu.errors import BadFrame, CommandError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from insitu.types import Reader

Polarity = Literal["dark", "bright"]
LEAST_SIDE_PX = 32


@dataclass(slots=True)
class Movie:
    """Images and labels of one source.

    Attributes
    ----------
    name : str
    images : list of (H, W) arrays in camera counts
    labels : list of int32 (H, W)
        A number for each particle, 0 for the support.
    unknown : list of bool (H, W)
        Pixels that count for nothing.
    frames : list of int
        Which frames of the source these are.
    notes : list of str
        What a user must know.
    """

    name: str
    images: list[NDArray[Any]] = field(default_factory=list)
    labels: list[NDArray[np.int32]] = field(default_factory=list)
    unknown: list[NDArray[np.bool_]] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_movie(images: str, labels: str, *, unknown: int | None = None, most: int = 400) -> Movie:
    """Read a movie and the label images that belong to it, frame by frame.

    Parameters
    ----------
    images, labels : str
        Anything `insitu.read.open_source` opens; `labels` may be a run folder, whose label images are taken. Labels are
        0 for the support and a number for each particle, or two values for a mask.
    unknown : int, optional
        Label value of pixels that count neither as particle nor as support.
    most : int
        Of more frames than this, evenly spread ones are used.

    Raises
    ------
    CommandError
        Labels and images differ in number or size; images below `LEAST_SIDE_PX`; no particle in any label image.
    InputError
        A file cannot be read, or the values of a label image are none.
    """
    from insitu.read import open_source

    pictures, drawings = open_source(images), open_source(drawn.labels_in(labels))
    try:
        movie = Movie(images)
        drawn.compare(pictures, drawings, images, labels)
        _check_size(pictures, images)
        for index in _chosen(pictures, movie, most):
            image = _frame(pictures, index)
            if image is None:
                movie.notes.append(f"'{images}' frame {index} cannot be used and was left out")
                continue
            where, raw = f"label image {index} of '{labels}'", _frame(drawings, index)
            if raw is None:
                raise InputError(f"{where} cannot be read", "leave the image out, or mend the file")
            found, counted, notes = drawn.particles(raw, where, unknown)
            movie.notes += notes
            movie.images.append(image)
            movie.labels.append(found)
            movie.unknown.append(np.zeros(found.shape, np.bool_) if counted is None else ~counted)
            movie.frames.append(index)
    finally:
        pictures.close()
        drawings.close()
    _judge(movie, labels)
    return movie


def _check_size(pictures: Reader, images: str) -> None:
    if min(pictures.info.shape) < LEAST_SIDE_PX:
        h, w = pictures.info.shape
        raise CommandError(
            f"images of {h}×{w} px in '{images}' are too small to learn from",
            f"give images of at least {LEAST_SIDE_PX}×{LEAST_SIDE_PX} px",
        )


def _chosen(pictures: Reader, movie: Movie, most: int) -> Iterator[int]:
    count = pictures.info.n_frames or 0
    if count > most:
        movie.notes.append(f"{most} of the {count} frames of '{movie.name}' are used, evenly spread")
    yield from sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _frame(reader: Reader, index: int) -> NDArray[Any] | None:
    if reader.header(index).status == "missing":
        return None
    out = np.empty(reader.info.shape, reader.info.dtype)
    try:
        reader.read_into(index, out)
    except BadFrame:
        return None
    return out


def _judge(movie: Movie, labels: str) -> None:
    if not movie.images:
        raise InputError(f"no image of '{movie.name}' can be used", "look at it with `insitu info`")
    empty = sum(not found.any() for found in movie.labels)
    if empty == len(movie.labels):
        raise CommandError(
            f"no particle in any label image of '{labels}'",
            "label at least one; images without particles may be added to those with them",
        )
    if empty:
        movie.notes.append(f"{empty} of {len(movie.labels)} label images of '{labels}' hold no particle")
    if 0 < (bits := drawn.used_bits(movie.images)) < 16:
        movie.notes.append(f"{bits} of 16 bits are used in '{movie.name}': every frame is put in units of its noise")


def polarity(movie: Movie) -> Polarity:
    """Return on which side of the support the labelled particles lie, from their mean grey values; notes a surprise."""
    from insitu.options import PrepareOptions
    from insitu.prepare import reference

    sides = []
    for image, labels in zip(movie.images, movie.labels, strict=True):
        inside = labels > 0
        if 0 < inside.mean() < 1:
            grey = image.astype(np.float64)
            sides.append(np.sign(grey[inside].mean() - _around(grey, inside)))
    by_labels: Polarity = "bright" if sum(sides) > 0 else "dark"
    shown = list(zip(movie.frames[:8], movie.images[:8], strict=True))
    judged = reference(shown, PrepareOptions(), "auto").polarity
    if judged != by_labels:
        movie.notes.append(
            f"contrast of '{movie.name}': by the labels particles are {by_labels}, by the images alone they would be "
            f"taken for {judged}; the labels are followed. In runs give --set segment.polarity={by_labels}"
        )
    return by_labels


def _around(grey: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """Return the mean of the support within 8 px of a particle: uneven illumination hardly changes it."""
    from scipy import ndimage

    near = ndimage.binary_dilation(inside, iterations=8) & ~ndimage.binary_dilation(inside, iterations=2)
    return float(grey[near].mean() if near.any() else grey[~inside].mean())
