"""A run for ImageJ and Fiji: a folder with the images, the labels and the outlines.

========== ===================================================================================================
images.tif calibrated ImageJ hyperstack (t, y, x) of the frames as the camera gave them, full frames
labels.tif the same with the `label` of the particles table, 0 = background
RoiSet.zip the outline of every particle in every frame, for ROI Manager > More > Open; the number in a name is the
           particle's, a colour is one particle's in all frames
README.txt how to open them
========== ===================================================================================================

ImageJ reads no BigTIFF hyperstack. A stack above 4 GB is written as ImageJ itself does it: one directory and all
planes behind it in one piece, which ImageJ, Fiji and tifffile read, and other programs show as a single image.
"""

from __future__ import annotations

import struct
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from insitu.export.outlines import outlines
from insitu.export.place import new_folder
from insitu.export.planes import Planes, image_of, open_movie, require_space, rows_by_plane, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.export import ExportOptions
    from insitu.results import Run
    from insitu.types import Reader

T = TypeVar("T")
CLASSIC_BYTES = 2**32 - 2**25  # beyond, offsets in a classic TIFF may not hold; tifffile leaves the same margin
MOST_ROIS = 65_535  # entries of a zip file that every version of Java reads
_OURS = ("images.tif", "labels.tif", "README.txt")
_TRACED = 8  # ImageJ's type of an outline along pixel edges
_VERSION = 227
# Okabe and Ito's colours without black and dark blue, as ARGB
_COLOURS = (0xFFE69F00, 0xFF56B4E9, 0xFF009E73, 0xFFF0E442, 0xFFD55E00, 0xFFCC79A7)


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write images, labels and outlines of a run into the folder `out`, one plane in memory at a time.

    Raises
    ------
    InputError
        The run has no label images, or its movie cannot be read.
    ResourceError
        The disk has not enough room.
    """
    planes = Planes(run, options.frames)
    with (
        closing(open_movie(run, options.source)) as reader,
        new_folder(out, lambda p: _is_ours(p.name), overwrite=options.overwrite) as folder,
    ):
        dtype = imagej_dtype(reader.info.dtype)
        each = planes.shape[0] * planes.shape[1]
        require_space(folder, len(planes) * each * (dtype.itemsize + 2))
        status = statuses(run)
        shares = _Shares(len(planes), options.progress)
        images = (image_of(reader, f, status[f], dtype) for f in shares.told(planes.frames))
        shown = _display(reader, planes, status)
        _stack(folder / "images.tif", images, planes, dtype, calibration(run, planes) | shown)
        labels = (planes.labels(k) for k in shares.told(range(len(planes))))
        _stack(folder / "labels.tif", labels, planes, np.dtype(np.uint16), calibration(run, planes))
        written = _write_rois(run, planes, folder, options, shares)
        (folder / "README.txt").write_text(_readme(run, reader, planes, dtype, written), encoding="utf-8")


def _is_ours(name: str) -> bool:
    return name in _OURS or (name.startswith("RoiSet") and name.endswith(".zip"))


def imagej_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which ImageJ holds counts: 8 and 16 bit without a sign as they are, all others float32."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    native = dtype.newbyteorder("=")
    return native if native in {np.dtype(np.uint8), np.dtype(np.uint16)} else np.dtype(np.float32)


def calibration(run: Run, planes: Planes) -> dict[str, Any]:
    """Return the metadata of an ImageJ stack: unit and frame interval only where they are known."""
    known = run.calibration
    found: dict[str, Any] = {"axes": "TYX"}
    if known.nm_per_px is not None:
        found["unit"] = "nm"
    if known.s_per_frame is not None and planes.spacing is not None:
        found["finterval"] = known.s_per_frame * planes.spacing
        found["fps"] = 1 / found["finterval"]
        found["tunit"] = "sec"
    return found | {"_nm_per_px": known.nm_per_px}


def _display(reader: Reader, planes: Planes, status: dict[int, str]) -> dict[str, float]:
    """Return the grey values that ImageJ shows as black and white, from the first frame that is ok."""
    for frame in planes.frames:
        if status[frame] == "ok":
            low, high = np.percentile(image_of(reader, frame, "ok").astype(np.float64), (0.2, 99.8))
            return {"min": float(low), "max": float(max(high, low + 1))}
    return {}


def _stack(
    path: Path, images: Iterator[NDArray[Any]], planes: Planes, dtype: np.dtype[Any], about: dict[str, Any]
) -> None:
    import tifffile

    shape = (len(planes), *planes.shape)
    known = {k: v for k, v in about.items() if not k.startswith("_")}
    side = about["_nm_per_px"]
    # Pages beside the planes cost some 200 bytes each.
    large = len(planes) * (planes.shape[0] * planes.shape[1] * dtype.itemsize + 1024) > CLASSIC_BYTES
    tifffile.imwrite(
        path,
        images,
        shape=shape,
        dtype=dtype,
        imagej=True,
        truncate=large,
        resolution=None if side is None else (1 / side, 1 / side),
        metadata=known,
    )


class _Shares:
    """Three passes over the planes, told as one."""

    def __init__(self, planes: int, progress: Callable[[int], None] | None) -> None:
        self._planes, self._progress, self._passes = planes, progress, 0

    def told(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items of the next pass, and tell how much of all passes is done."""
        before = self._passes * self._planes
        self._passes += 1
        for done, item in enumerate(items, 1):
            yield item
            if self._progress:
                self._progress((before + done) // 3)


def _write_rois(run: Run, planes: Planes, folder: Path, options: ExportOptions, shares: _Shares) -> list[str]:
    """Write the outlines; return the names of the files, more than one where there are very many."""
    total = len(run.particles)
    if options.frames is not None:
        total = len(run.particles.to_arrow(["label"], frames=planes.frames))
    parts = -(-total // MOST_ROIS)
    written: list[str] = []
    archive: zipfile.ZipFile | None = None
    try:
        for k, rois in shares.told(_rois(run, planes)):
            if archive is None or len(archive.filelist) + len(rois) > MOST_ROIS:
                if archive is not None:
                    archive.close()
                written.append("RoiSet.zip" if parts <= 1 else f"RoiSet_from_{planes.frame(k):06d}.zip")
                archive = zipfile.ZipFile(folder / written[-1], "w", zipfile.ZIP_DEFLATED)
            for name, content in rois:
                # A date of its own would make two exports of the same run differ.
                archive.writestr(zipfile.ZipInfo(f"{name}.roi", (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    finally:
        if archive is not None:
            archive.close()
    return written


def _rois(run: Run, planes: Planes) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """Yield each plane with its outlines, as name and content of a .roi file."""
    digits = len(str(planes.frame(len(planes) - 1)))
    for k, rows in rows_by_plane(run, planes, ("label", "particle")):
        frame = planes.frame(k)
        owner = dict(zip(rows["label"].tolist(), rows["particle"].tolist(), strict=True))
        rois = []
        for label, corners in outlines(planes.labels(k)):
            particle = owner[label]
            name = f"f{frame:0{digits}d}-p{particle}"
            rois.append((name, roi_bytes(corners, name, k, _COLOURS[particle % len(_COLOURS)])))
        yield k, rois


def roi_bytes(corners: NDArray[np.int32], name: str, plane: int, colour: int) -> bytes:
    """Return an outline as an ImageJ ROI of type "traced" on `plane` (from 0) of a stack.

    ImageJ calls what has one more dimension than an image a stack, not a hyperstack, also when that is time; the ROI
    Manager then goes by the position in the stack and looks at no time.
    """
    import roifile

    top_left, bottom_right = corners.min(axis=0), corners.max(axis=0)
    roi = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE(_TRACED),
        version=_VERSION,
        name=name,
        left=int(top_left[0]),
        top=int(top_left[1]),
        right=int(bottom_right[0]),
        bottom=int(bottom_right[1]),
        n_coordinates=len(corners),
        integer_coordinates=corners - top_left,
        position=plane + 1,
        stroke_color=struct.pack(">I", colour),
    )
    content: bytes = roi.tobytes()
    return content


def _readme(run: Run, reader: Reader, planes: Planes, dtype: np.dtype[Any], written: list[str]) -> str:
    known = run.calibration
    first, last = planes.frame(0), planes.frame(len(planes) - 1)
    pixel = "unknown" if known.nm_per_px is None else f"{known.nm_per_px} nm ({known.nm_source})"
    time = "unknown" if known.s_per_frame is None else f"{known.s_per_frame} s ({known.s_source})"
    lines = [
        f"Run {run.path.name}, {len(planes)} frames, {first} to {last} of the movie.",
        f"Pixel size {pixel}; frame time {time}.",
        "",
        "images.tif   drag into Fiji. Frame t (from 1) is plane t; bad and missing frames are black.",
        "labels.tif   drag into Fiji; Image > Lookup Tables > glasbey. A value is the column `label`.",
        *(f"{name}   Analyze > Tools > ROI Manager > More > Open. f = frame, p = particle." for name in written),
        "",
        "Outlines run along pixel edges and leave out holes; labels.tif has the holes.",
    ]
    if dtype != reader.info.dtype:
        lines.append(f"The camera's counts are {reader.info.dtype}, which ImageJ does not know: they are {dtype} here.")
    return "\n".join(lines) + "\n"
