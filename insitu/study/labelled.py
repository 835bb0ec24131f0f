"""Labelled images from disk: two patterns with one ``*``, an index with groups, and a split that keeps groups whole."""

from __future__ import annotations

import csv
import glob
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.study.config import Labelled


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """An image as it came from the camera, and its labels: 0, or the number of the particle (int32)."""

    name: str
    counts: NDArray[Any]
    labels: NDArray[np.int32]
    dark: bool


def read_labelled(options: Labelled) -> tuple[list[Raw], list[Raw]]:
    """Return the images to learn from and those held out; groups are never divided.

    Raises
    ------
    InputError
        No images, a label image that is missing, shapes that differ, labels without a particle.
    CommandError
        A pattern without ``*``, a variable that is not set, a column that the index does not have.
    """
    files = _files(options)
    rows = _index(options)
    names = [n for n in files if _kept(rows.get(n, {}), options)]
    if not names:
        raise InputError(f"none of the images '{options.images}' is kept by `only`", "widen the ranges of `only`")
    group = {n: rows.get(n, {}).get(options.group or "", n) for n in names}
    # by hash: which groups are held out depends on their names alone, neither on order nor on chance
    groups = sorted(set(group.values()), key=lambda g: hashlib.sha256(g.encode()).hexdigest())
    held = set(groups[: max(1, round(options.share_held_out * len(groups)))])
    if len(held) == len(groups):
        raise InputError(
            f"'{options.images}' has {len(groups)} group, so nothing is left to learn from", "give more images"
        )
    by_hash = sorted(names, key=lambda n: hashlib.sha256(n.encode()).hexdigest())
    train = [n for n in by_hash if group[n] not in held][: options.most]
    test = [n for n in by_hash if group[n] in held][: options.most_held_out]
    return [_read(n, *files[n]) for n in train], [_read(n, *files[n]) for n in test]


def _files(options: Labelled) -> dict[str, tuple[Path, Path]]:
    """Return image and label file by what the star stands for."""
    images, labels = (_expanded(text) for text in (options.images, options.labels))
    head, _, tail = images.partition("*")
    found = sorted(glob.glob(f"{glob.escape(head)}*{glob.escape(tail)}"))  # noqa: PTH207 - may be an absolute pattern
    if not found:
        raise InputError(f"there are no images '{images}'", "check the pattern and where the set lies")
    pairs = {}
    for file in found:
        star = file[len(head) : len(file) - len(tail)]
        label = Path(labels.replace("*", star))
        if not label.is_file():
            raise InputError(f"'{file}' has no label image '{label}'", "the * must stand for the same text in both")
        pairs[star] = (Path(file), label)
    return pairs


def _expanded(pattern: str) -> str:
    full = str(Path(os.path.expandvars(pattern)).expanduser())
    missing = re.search(r"\$\{?(\w+)", full)
    if missing:
        raise CommandError(
            f"'{pattern}' needs the variable {missing[1]}, which is not set", f"export {missing[1]}=FOLDER"
        )
    if full.count("*") != 1:
        raise CommandError(f"'{pattern}' must have one *", "for example images/*.png and labels/*.png")
    return full


def _index(options: Labelled) -> dict[str, dict[str, str]]:
    if options.index is None:
        if options.group or options.only:
            raise CommandError("`group` and `only` need an index", "give index = a CSV with a column name")
        return {}
    path = Path(os.path.expandvars(options.index)).expanduser()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot read the index '{path}': {error.strerror}", "give a CSV file") from error
    for column in ("name", *([options.group] if options.group else []), *options.only):
        if not rows or column not in rows[0]:
            raise CommandError(
                f"the index '{path}' has no column '{column}'", f"columns: {', '.join(rows[0] if rows else [])}"
            )
    return {row["name"]: row for row in rows}


def _kept(row: dict[str, str], options: Labelled) -> bool:
    for column, (low, high) in options.only.items():
        try:
            value = float(row[column])
        except (KeyError, ValueError):
            return False
        if not low <= value <= high:
            return False
    return True


def _read(name: str, image: Path, label: Path) -> Raw:
    from insitu.read import open_source

    reader = open_source(image)
    try:
        info = reader.info
        counts = np.empty((info.height, info.width), info.dtype)
        reader.read_into(0, counts)
    finally:
        reader.close()
    labels = read_labels(label)
    if labels.shape != counts.shape:
        raise InputError(
            f"the label image '{label}' is {labels.shape[0]}×{labels.shape[1]} px, its image "
            f"{counts.shape[0]}×{counts.shape[1]}",
            "labels must lie on the pixels of their image",
        )
    if not labels.any():
        raise InputError(f"the label image '{label}' has no particle", "leave the image out, or label it")
    inside = counts[labels > 0].mean() if labels.any() else 0.0
    return Raw(name, counts, labels, dark=bool(inside < counts[labels == 0].mean()))


def read_labels(path: Path) -> NDArray[np.int32]:
    """Read a label image: two values are a mask (its components are numbered), more are particles by number."""
    from PIL import Image

    from insitu.study.sets import numbered

    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the label image '{path}': {error}", "give PNG or TIFF") from error
    if values.ndim == 3:
        values = values[..., 0]
    return np.asarray(values, np.int32) if len(np.unique(values)) > 2 else numbered(values > 0)
