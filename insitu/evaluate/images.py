"""Images and the label images that belong to them, one pair at a time; what cannot be compared is refused.

A pair may be two frames of two movies, or two files of two folders or patterns: then images may differ in size.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import drawn
from insitu.errors import BadFrame, CommandError, InputError
from insitu.read import open_source
from insitu.read.folder import IMAGE_KINDS
from insitu.read.frames import judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from insitu.types import Reader


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One image and what is known of it.

    Attributes
    ----------
    name : str
    image : array of shape (H, W), camera counts
    labels : int32 array of shape (H, W)
        0 for the support and a number for each particle.
    counted : bool array of shape (H, W) or None
        Pixels whose label is known; None for all.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.int32]
    counted: NDArray[np.bool_] | None


@dataclass(slots=True)
class Pairs:
    """Images with labels, opened one after another; iterate as often as needed.

    Parameters
    ----------
    images, labels : str
        A movie, a folder of images, or a pattern; `labels` may be a run folder, whose label images are taken.
    unknown : int, optional
        Label value of pixels that count neither as particle nor as support.

    Raises
    ------
    CommandError
        Images and labels differ in number or size, or no label image has a particle.
    InputError
        A file cannot be read, or the values of a label image are none.
    """

    images: str
    labels: str
    unknown: int | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the files; one is one movie, whose frames are counted."""
        members = _members(self.images)
        if len(members) > 1:
            return len(members)
        reader = open_source(members[0])
        try:
            return reader.info.n_frames or 0
        finally:
            reader.close()

    def __iter__(self) -> Iterator[Pair]:
        self.notes.clear()
        pictures, drawings = _members(self.images), _members(drawn.labels_in(self.labels))
        if len(pictures) != len(drawings):
            drawn.differ(len(pictures), len(drawings), self.images, self.labels)
        empty = total = 0
        bits = 0
        for picture, drawing in zip(pictures, drawings, strict=True):
            for pair in self._frames(picture, drawing):
                total += 1
                empty += not pair.labels.any()
                bits = max(bits, drawn.used_bits([pair.image]))
                yield pair
        if empty == total:
            raise CommandError(
                f"no particle in any label image of '{self.labels}'", "label at least one, or look at the right folder"
            )
        if empty:
            self.notes.append(f"{empty} of {total} label images have no particle: what is found there is false")
        if 0 < bits < 16:
            self.notes.append(f"{bits} of 16 bits are used in '{self.images}': frames are put in units of their noise")

    def _frames(self, picture: str, drawing: str) -> Iterator[Pair]:
        readers: list[Reader] = []
        try:
            for source in (picture, drawing):
                readers.append(open_source(source))  # noqa: PERF401 - what is open is closed, also if the second is not
            images, labels = readers
            drawn.compare(images, labels, picture, drawing)
            for index in range(images.info.n_frames or 0):
                name = Path(picture).name + (f" frame {index}" if (images.info.n_frames or 0) > 1 else "")
                image = _frame(images, index)
                if isinstance(image, str):
                    self.notes.append(f"{name} cannot be used and is left out: {image}")
                    continue
                where = f"the label image of {name} in '{self.labels}'"
                odd = _frame(labels, index)
                if isinstance(odd, str) and odd not in ("all zero", "constant"):
                    raise InputError(f"{where} cannot be read: {odd}", "mend the file")
                found, counted, notes = drawn.particles(_raw(labels, index), where, self.unknown)
                self.notes += notes
                yield Pair(name, image, found, counted)
        finally:
            for reader in readers:
                reader.close()


def _members(path: str) -> list[str]:
    """Return the single files of a folder or pattern in natural order; anything else as it is."""
    place = Path(path)
    if place.is_dir() and place.suffix != ".zarr":
        files = [str(p) for p in place.iterdir() if p.suffix.lower() in IMAGE_KINDS and not p.name.startswith(".")]
        return sorted(files, key=_natural) if files else [path]
    if not place.exists() and glob.has_magic(path):
        files = sorted(glob.glob(path), key=_natural)  # noqa: PTH207 - the pattern is the user's, absolute or not
        if not files:
            raise InputError(
                f"nothing matches '{path}'", "check the pattern; quote it so that the shell leaves it alone"
            )
        return files
    return [path]


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts ``image2`` before ``image10``."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _raw(reader: Reader, index: int) -> NDArray[Any]:
    out = np.empty(reader.info.shape, reader.info.dtype)
    reader.read_into(index, out)
    return out


def _frame(reader: Reader, index: int) -> NDArray[Any] | str:
    """Return the pixels of a frame, or why there are none."""
    if reader.header(index).status == "missing":
        return "missing"
    try:
        out = _raw(reader, index)
    except BadFrame as bad:
        return str(bad)
    odd = judge(out)
    return odd[0] if odd else out
