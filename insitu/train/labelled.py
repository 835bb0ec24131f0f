"""Real images with labels: what is labelled, what is not known, and what must stay together when sets are split.

The sets lie in a folder of samples (``segmentation/…``), as their authors published them; none is part of insitu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# A box says where a particle is, not its outline: inside this share of the inscribed ellipse it is certain, and beyond
# this multiple of it the support is.
_BOX_INSIDE, _BOX_OUTSIDE = 0.7, 1.25


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One image and what is known of it.

    Attributes
    ----------
    image : (H, W) uint8 or uint16
    labels : int32 (H, W)
        A number for each particle, 0 for the support.
    unknown : bool (H, W)
        Pixels that count neither as particle nor as support.
    group : str
        Images of one group (publication, movie) are never split between training and testing.
    name : str
    """

    image: NDArray[Any]
    labels: NDArray[np.int32]
    unknown: NDArray[np.bool_]
    group: str
    name: str


def gold(samples: Path) -> Iterator[Labelled]:
    """Yield the crops of gold at 800 °C (CC-BY-4.0, msa-em/microscopy-seg-track)."""
    from scipy import ndimage

    for file in _files(samples, "au_bf_tem_800C_penn", "train_image_*.png"):
        labels = ndimage.label(_grey(file.with_name(file.name.replace("image", "label"))) == 255, np.ones((3, 3)))[0]
        image = _grey(file)
        yield Labelled(image, labels.astype(np.int32), np.zeros(image.shape, np.bool_), "gold 800 °C", file.stem)


def emps(samples: Path) -> Iterator[Labelled]:
    """Yield the 436 figure panels of EMPS (MIT, by256/emps); the group is the DOI of the publication.

    Only particles whose whole outline is visible are labelled there. Unlabelled pixels that look like the labelled
    particles are therefore unknown.
    """
    folder = samples / "segmentation" / "emps_em"
    doi = _dois(folder / "index.csv")
    for file in _files(samples, "emps_em/images", "*.png"):
        yield _panel(file, folder / "segmaps" / file.name, doi.get(file.stem, file.stem))
    for file in _files(samples, "emps_tem", "*_image.png"):
        name = file.stem.removesuffix("_image")
        # their publications are not listed here: each counts as one of its own, and never as one held out
        yield _panel(file, file.with_name(f"{name}_instances.png"), doi.get(name, f"unlisted {name}"))


def boxes(samples: Path) -> Iterator[Labelled]:
    """Yield the supported catalysts (MIT, ArdaGen/STEM-Automated-Nanoparticle-Analysis-YOLOv8-SAM) from their boxes."""
    for file in _files(samples, "supported_catalyst_stem_boxes", "*.jpg"):
        image = _grey(file)
        labels = np.zeros(image.shape, np.int32)
        unknown = np.zeros(image.shape, np.bool_)
        found = box_corners(file.with_suffix(".txt"), image.shape)
        for number, (y0, x0, y1, x1) in enumerate(found, start=1):
            for share, target in ((_BOX_OUTSIDE, None), (_BOX_INSIDE, number)):
                ry, rx = share * (y1 - y0) / 2, share * (x1 - x0) / 2
                cy, cx = (y0 + y1) / 2 - 0.5, (x0 + x1) / 2 - 0.5
                rows = slice(max(0, int(cy - ry)), int(cy + ry) + 2)
                columns = slice(max(0, int(cx - rx)), int(cx + rx) + 2)
                y, x = np.ogrid[: image.shape[0], : image.shape[1]]
                inside = ((y[rows] - cy) / ry) ** 2 + ((x[:, columns] - cx) / rx) ** 2 <= 1.0
                if target is None:
                    unknown[rows, columns] |= inside
                else:
                    labels[rows, columns][inside] = target
        unknown &= labels == 0
        yield Labelled(image, labels, unknown, f"catalyst {file.stem}", file.stem)


def box_corners(file: Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the boxes of a YOLO text file (class, centre x, y, width, height) as (n, 4): y0, x0, y1, x1 in px."""
    rows = np.loadtxt(file, ndmin=2)
    height, width = shape[:2]
    x, y, w, h = (rows[:, 1] * width, rows[:, 2] * height, rows[:, 3] * width, rows[:, 4] * height)
    return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=1)


def looks_alike(image: NDArray[Any], labels: NDArray[np.int32], smooth_px: float = 2.0) -> NDArray[np.bool_]:
    """Mark unlabelled pixels whose grey value is more frequent among labelled pixels than among the rest; (H, W).

    The comparison is of the two densities over 64 grey values, after a Gaussian of `smooth_px`.
    """
    from scipy import ndimage

    grey = ndimage.gaussian_filter(image.astype(np.float32), smooth_px)
    inside = labels > 0
    if not inside.any() or inside.all():
        return np.zeros(image.shape, np.bool_)
    low, high = np.percentile(grey, [0.5, 99.5])
    level = np.clip((grey - low) / max(float(high - low), 1e-6) * 63, 0, 63).astype(np.intp)
    density = [ndimage.gaussian_filter1d(np.bincount(level[m], minlength=64) / m.sum(), 1.5) for m in (inside, ~inside)]
    return np.asarray(~inside & (density[0] > density[1])[level])


def _panel(file: Path, instances: Path, doi: str) -> Labelled:
    image, raw = _grey(file), _raw(instances)
    labels = np.unique(raw, return_inverse=True)[1].reshape(raw.shape).astype(np.int32)
    return Labelled(image, labels, looks_alike(image, labels), doi, file.stem.removesuffix("_image"))


def _dois(index: Path) -> dict[str, str]:
    import csv

    with index.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["doi"] for row in csv.DictReader(file)}


def _files(samples: Path, folder: str, pattern: str) -> list[Path]:
    found = sorted((samples / "segmentation" / folder).glob(pattern))
    if not found:
        raise InputError(
            f"no labelled images '{pattern}' in '{samples / 'segmentation' / folder}'",
            "set INSITU_SAMPLES to the folder that holds segmentation/",
        )
    return found


def _raw(file: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture)


def _grey(file: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture if picture.mode in ("L", "I;16") else picture.convert("L"))
