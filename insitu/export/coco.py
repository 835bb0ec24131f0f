"""COCO's format for instance segmentation: ``annotations.json`` and a folder of images, to train or to look with.

Masks are run-length encoded, so that holes and parts that touch by a corner survive. `bbox` is x, y, width, height and
`area` the number of pixels; `track_id` is the particle over time, which the format itself does not know. Only frames
that are ok are images. OUT that ends with ``.json`` gets the annotations alone, and names the frames' own files.

These are a program's findings, not hand labels: what is trained on them learns its mistakes too.
"""

from __future__ import annotations

import json
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.export.place import new_file, new_folder
from insitu.export.planes import Planes, image_of, open_movie, require_space, rows_by_plane, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.export import ExportOptions
    from insitu.results import Run
    from insitu.types import Reader

_CATEGORY = {"id": 1, "name": "particle", "supercategory": ""}
_COLUMNS = ("label", "particle", "touches_edge", "composite")
_MOST_GROUPS = 8  # of 5 bits: differences of pixel numbers below 2³⁸


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write images and annotations of a run into the folder `out`, or annotations alone to ``out.json``.

    Raises
    ------
    InputError
        The run has no label images, or its movie cannot be read.
    ResourceError
        The disk has not enough room.
    """
    planes = Planes(run, options.frames)
    status = statuses(run)
    if out.suffix.lower() == ".json":
        with new_file(out, overwrite=options.overwrite) as path:
            _write_annotations(path, run, planes, _named_by_source(run, planes, status), options)
        return
    with (
        closing(open_movie(run, options.source)) as reader,
        new_folder(out, lambda p: p.name in {"annotations.json", "images"}, overwrite=options.overwrite) as folder,
    ):
        require_space(folder, len(planes) * planes.shape[0] * planes.shape[1] * reader.info.dtype.itemsize)
        images = _named_here(run, planes, status, reader)
        _write_annotations(folder / "annotations.json", run, planes, images, options)
        (folder / "images").mkdir()
        for image in images:
            _picture(folder / image["file_name"], image_of(reader, image["frame"], "ok"))


def _picture(path: Path, image: NDArray[Any]) -> None:
    """Write counts as they are: PNG for 8 and 16 bit, TIFF for what PNG does not hold."""
    if path.suffix == ".png":
        from PIL import Image

        Image.fromarray(image).save(path, compress_level=3)
    else:
        import tifffile

        tifffile.imwrite(path, image, photometric="minisblack", metadata=None)


def _named_here(run: Run, planes: Planes, status: dict[int, str], reader: Reader) -> list[dict[str, Any]]:
    suffix = "png" if reader.info.dtype.kind == "u" and reader.info.dtype.itemsize <= 2 else "tif"
    digits = max(6, len(str(planes.frame(len(planes) - 1))))
    return [
        image | {"file_name": f"images/{image['frame']:0{digits}d}.{suffix}"} for image in _images(run, planes, status)
    ]


def _named_by_source(run: Run, planes: Planes, status: dict[int, str]) -> list[dict[str, Any]]:
    """Return the images with the file that each frame lies in; `page` tells frames of one file apart."""
    rows = run.frames.to_arrow(["frame", "source", "source_number"])
    where = {
        f: (s, n) for f, s, n in zip(*(rows[c].to_pylist() for c in ("frame", "source", "source_number")), strict=True)
    }
    return [
        image | {"file_name": where[image["frame"]][0], "page": where[image["frame"]][1]}
        for image in _images(run, planes, status)
    ]


def _images(run: Run, planes: Planes, status: dict[int, str]) -> Iterator[dict[str, Any]]:
    step = run.calibration.s_per_frame
    for k, frame in enumerate(planes.frames):
        if status[frame] == "ok":
            time = {} if step is None else {"time_s": frame * step}
            yield {"id": k + 1, "width": planes.shape[1], "height": planes.shape[0], "frame": frame, **time}


def _write_annotations(
    path: Path, run: Run, planes: Planes, images: list[dict[str, Any]], options: ExportOptions
) -> None:
    known = run.calibration.nm_per_px
    about = {
        "description": f"Particles found by insitu in {run.path.name}; not labelled by hand",
        "version": str(run.info["insitu"]),
        "date_created": run.info["finished"] or run.info["started"],
        **({} if known is None else {"nm_per_px": known}),
    }
    with path.open("w", encoding="utf-8") as file:
        head = {"info": about, "licenses": [], "categories": [_CATEGORY]}
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ',\n"images": [\n')
        file.write(",\n".join(json.dumps(image, ensure_ascii=False) for image in images))
        file.write('\n],\n"annotations": [\n')
        for n, annotation in enumerate(_annotations(run, planes, images, options), 1):
            file.write(("" if n == 1 else ",\n") + json.dumps({"id": n, **annotation}))
        file.write("\n]}\n")


def _annotations(
    run: Run, planes: Planes, images: Sequence[dict[str, Any]], options: ExportOptions
) -> Iterator[dict[str, Any]]:
    of_plane = {image["id"] - 1: image for image in images}
    for k, rows in rows_by_plane(run, planes, _COLUMNS):
        if k not in of_plane:
            continue
        place = dict(zip(rows["label"].tolist(), range(len(rows["label"])), strict=True))
        for label, mask in masks(planes.labels(k)):
            row = place[label]
            yield {
                "image_id": of_plane[k]["id"],
                "category_id": _CATEGORY["id"],
                **mask,
                "iscrowd": 0,
                "track_id": int(rows["particle"][row]),
                "attributes": {name: bool(rows[name][row]) for name in ("touches_edge", "composite")},
            }
        if options.progress:
            options.progress(k + 1)


def masks(labels: NDArray[np.uint16]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each label of an image (H, W) with its `bbox`, `area` and run-length encoded `segmentation`."""
    height, width = labels.shape
    flat = np.ascontiguousarray(labels.T).ravel()  # the format counts down the columns
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    stops = np.append(starts[1:], flat.size)
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    order = order[np.searchsorted(values[order], 1) :]
    values = values[order]
    # where each label begins, and the end; nothing but the end where there is no label
    bounds = np.append(np.flatnonzero(np.diff(values, prepend=0)), len(values))
    for a, b in pairwise(bounds.tolist()):
        start, stop = starts[order[a:b]], stops[order[a:b]]
        yield int(values[a]), _mask(start, stop, height, width)


def _mask(start: NDArray[np.int64], stop: NDArray[np.int64], height: int, width: int) -> dict[str, Any]:
    first, last = start // height, (stop - 1) // height
    x0, x1 = int(first.min()), int(last.max())
    # A run that goes on into the next column touches the bottom of one and the top of the other.
    long = last > first
    y0 = 0 if long.any() else int((start - first * height).min())
    y1 = height - 1 if long.any() else int((stop - 1 - last * height).max())
    edges = np.column_stack([start, stop]).ravel()
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    counts = counts if counts[-1] else counts[:-1]
    return {
        "segmentation": {"size": [height, width], "counts": packed(counts)},
        "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
        "area": int((stop - start).sum()),
    }


def packed(counts: NDArray[np.int64]) -> str:
    """Return run lengths as COCO's text: each less the one before the last, 5 bits a character from 48 on."""
    value = counts.astype(np.int64)
    value[3:] -= counts[1:-2]
    characters = np.zeros((len(value), _MOST_GROUPS), np.uint8)
    going = np.ones(len(value), bool)
    for group in range(_MOST_GROUPS):
        bits = value & 31
        value >>= 5
        more = value != np.where(bits & 16, -1, 0)
        characters[going, group] = (bits + 48 + 32 * more)[going]
        going &= more
    return characters[characters > 0].tobytes().decode("ascii")
