"""What a TIFF says beyond its pixels: page of each frame, pixel size, frame times (OME-XML, ImageJ, plain tags)."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from insitu.errors import InputError
from insitu.read.calibration import found, nanometres, possible, seconds
from insitu.types import Calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOUR_D = "cut out one slice or one time with Fiji (Image > Hyperstacks > Reduce Dimensionality), then save it as TIFF"


@dataclass(frozen=True, slots=True)
class Story:
    """How the pages of a file make a movie.

    Attributes
    ----------
    planes : sequence of int, or None
        Page of each frame (-1: not in this file); None where page and frame are the same.
    images : int or None
        Frames declared to lie one after the other behind the first page, whether or not they have a directory.
    times : tuple of float or None
        Start of exposure of each frame in s since frame 0, None where it is not recorded.
    """

    kind: str = "TIFF"
    calibration: Calibration = field(default_factory=Calibration)
    planes: Sequence[int] | None = None
    images: int | None = None
    times: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()


def story(description: str, n_pages: int, resolution: tuple[float | None, float | None, int], name: str) -> Story:
    """Return how to read a file, from the description and resolution tags of its first page.

    Parameters
    ----------
    description : str
        Tag 270 of the first page.
    n_pages : int
    resolution : tuple
        Pixels per unit along x and y, and the unit code (1 none, 2 inch, 3 centimetre).
    name : str
        File name for messages.
    """
    head = description.lstrip("\ufeff \n\r\t")[:200_000]
    if head.startswith("ImageJ="):
        return _imagej(description, n_pages, resolution, name)
    if "<OME" in head and "<!" not in re.sub(r"<!--.*?-->", "", description, flags=re.DOTALL):
        try:
            root = ET.fromstring(description.strip())  # noqa: S314 - without a DTD there are no entities to expand
            return _ome(root, n_pages, name)
        except (ET.ParseError, ValueError, OverflowError) as error:
            plain = _plain(description, n_pages, resolution)
            return Story(calibration=plain.calibration, notes=(*plain.notes, f"damaged OME-XML ignored ({error})"))
    return _plain(description, n_pages, resolution)


def _plain(description: str, n_pages: int, resolution: tuple[float | None, float | None, int]) -> Story:
    calibration, notes = _resolution(*resolution)
    return Story(calibration=calibration, notes=notes, images=_shaped(description) if n_pages == 1 else None)


def _resolution(x: float | None, y: float | None, unit: int) -> tuple[Calibration, tuple[str, ...]]:
    """Return the pixel size of resolution tags: only centimetres can mean the specimen, inches are for printers."""
    if not x or not math.isfinite(x) or (x == 1 and y in {None, 0, 1}):
        return Calibration(), ()
    tag = f"resolution tag {x:.5g} px per"
    if unit != 3:
        return Calibration(), (f"{tag} {'inch: meant for printing, ignored' if unit == 2 else 'unnamed unit'}",)
    size = nanometres(1 / x, "cm")
    if size is None or not possible(size):
        return Calibration(), (f"{tag} cm: meant for printing, ignored",)
    return found(size, nanometres(1 / y, "cm") if y else None, nm_source="TIFF resolution tag (cm)"), ()


def _shaped(description: str) -> int | None:
    """Return the number of frames that tifffile's own description gives to a single page (its ``truncate`` option)."""
    if not description.startswith('{"shape"'):
        return None
    try:
        shape = json.loads(description)["shape"]
        return math.prod(shape[:-2]) if len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _imagej(text: str, n_pages: int, resolution: tuple[float | None, float | None, int], name: str) -> Story:
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    images, channels, slices, frames = (
        max(1, _whole(fields.get(key, ""))) for key in ("images", "channels", "slices", "frames")
    )
    if slices > 1 and frames > 1:
        raise InputError(f"'{name}' is a stack of {slices} slices × {frames} frames, not one movie", _FOUR_D)
    channels, notes = _channels(channels, slices * frames)
    x, y, _ = resolution
    unit = fields.get("unit", "")
    x_nm, y_nm = (nanometres(1 / r, unit) if r and math.isfinite(r) else None for r in (x, y))
    if x_nm is None and x not in {None, 0, 1}:
        notes += (f"resolution tag {x:.5g} px per {unit or 'unnamed unit'}",)
    step, source = seconds(_number(fields.get("finterval", "")), fields.get("tunit", "s") or "s"), "ImageJ finterval"
    if step is None:
        rate = _number(fields.get("fps", ""))
        step, source = seconds(1 / rate if rate > 0 else math.nan), "ImageJ fps (may be a playback speed)"
    return Story(
        "ImageJ TIFF",
        found(x_nm, y_nm, nm_source=f"ImageJ tags (unit {unit})", s_per_frame=step, s_source=source),
        planes=range(0, max(images, n_pages), channels) if channels > 1 else None,
        images=images if images > n_pages else None,
        notes=notes,
    )


def _channels(channels: int, frames: int) -> tuple[int, tuple[str, ...]]:
    """Return how many channels a frame has: a stack with no other axis than channels is a movie all the same."""
    if channels > 1 and frames == 1:
        return 1, (f"{channels} channels read as {channels} frames",)
    return channels, (f"{channels} channels: the first is used",) if channels > 1 else ()


def _whole(text: str) -> int:
    return int(text) if text.strip().isdecimal() and len(text) < 12 else 1


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _ome(root: ET.Element, n_pages: int, name: str) -> Story:
    pixels = next((e for e in root.iter() if _tag(e) == "Pixels"), None)
    if pixels is None:
        return Story("OME-TIFF", notes=("its OME-XML describes no image (it lies in another file)",))
    sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "TZC"}
    if min(sizes.values()) < 1:
        raise ValueError("a size below 1")
    if sorted(pixels.get("DimensionOrder", "XYCZT")) != list("CTXYZ"):
        raise ValueError("an order of planes that is none")
    if sizes["T"] > 1 and sizes["Z"] > 1:
        raise InputError(f"'{name}' is a stack of {sizes['Z']} slices × {sizes['T']} frames, not one movie", _FOUR_D)
    axis = max("TZ", key=lambda a: sizes[a])
    channels, notes = _channels(sizes["C"], sizes[axis])
    if channels < sizes["C"]:
        axis = "C"
    planes, several = _ome_planes(pixels, sizes, axis, n_pages, name)
    if several:
        notes += (f"the OME-XML spreads the movie over {several} files: only the frames in this one are read",)
    times, exposure = _ome_times(pixels, axis, len(planes) if planes else n_pages)
    sx, sy = (
        nanometres(_number(pixels.get(size, "")), _ome_unit(pixels, size, "µm"))
        for size in ("PhysicalSizeX", "PhysicalSizeY")
    )
    step, source = _ome_step(pixels, times)
    calibration = found(sx, sy, nm_source="OME PhysicalSize", s_per_frame=step, s_source=source, exposure_s=exposure)
    return Story("OME-TIFF", calibration, planes=planes, times=times, notes=notes)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _ome_unit(element: ET.Element, attribute: str, default: str) -> str:
    return element.get(f"{attribute}Unit", default)


def _ome_planes(
    pixels: ET.Element, sizes: dict[str, int], axis: str, n_pages: int, name: str
) -> tuple[list[int] | None, int]:
    """Return the page of each frame (None where page = frame), and over how many files it is spread, if several."""
    order = pixels.get("DimensionOrder", "XYCZT")[2:]
    blocks = [e for e in pixels if _tag(e) == "TiffData"]
    names = {u.get("FileName", "") for e in blocks for u in e if _tag(u) == "UUID"} - {""}
    stride, strides = 1, {}
    for a in order:
        strides[a], stride = stride, stride * sizes.get(a, 1)
    pages: dict[int, int] = {}
    for block in blocks:
        file = next((u.get("FileName", "") for u in block if _tag(u) == "UUID"), "")
        if len(names) > 1 and file != name:
            continue
        ifd = int(block.get("IFD", "0"))
        count = int(block.get("PlaneCount", "1" if "IFD" in block.attrib else str(stride)))
        start = sum(int(block.get(f"First{a}", "0")) * strides.get(a, 0) for a in "TZC")
        for k in range(min(count, n_pages)):
            pages[start + k] = ifd + k
    if not blocks:
        pages = {k: k for k in range(min(n_pages, stride))}
    step = strides[axis]
    if len(names) > 1:
        return [pages[p] for p in sorted(pages) if axis == "C" or p // strides["C"] % sizes["C"] == 0], len(names)
    # planes that the file cannot hold are not counted one by one: a claim of 10⁹ frames costs nothing
    frames = [pages.get(k * step, -1) for k in range(min(sizes[axis], 10 * n_pages + 1000))]
    return (None if frames == list(range(n_pages)) else frames), 0


def _ome_times(pixels: ET.Element, axis: str, n_frames: int) -> tuple[tuple[float | None, ...], float | None]:
    """Return the start of each frame in s since frame 0, and the exposure time they share."""
    starts: dict[int, float] = {}
    exposures: set[float] = set()
    for plane in (e for e in pixels if _tag(e) == "Plane"):
        if axis != "C" and plane.get("TheC", "0") != "0":
            continue
        index = int(plane.get(f"The{axis}", "0"))
        delta = _number(plane.get("DeltaT", ""))
        unit = _ome_unit(plane, "DeltaT", "s")
        scale = seconds(1.0, unit)
        if math.isfinite(delta) and scale is not None and 0 <= index < n_frames:
            starts[index] = delta * scale
        exposure = seconds(_number(plane.get("ExposureTime", "")), _ome_unit(plane, "ExposureTime", "s"))
        if exposure is not None:
            exposures.add(exposure)
    shared = exposures.pop() if len(exposures) == 1 else None
    if 0 not in starts or len(starts) < 2:
        return (), shared
    return tuple(starts[k] - starts[0] if k in starts else None for k in range(n_frames)), shared


def _ome_step(pixels: ET.Element, times: tuple[float | None, ...]) -> tuple[float | None, str]:
    step = seconds(_number(pixels.get("TimeIncrement", "")), _ome_unit(pixels, "TimeIncrement", "s"))
    if step is not None:
        return step, "OME TimeIncrement"
    known = sorted(b - a for a, b in pairwise(times) if a is not None and b is not None)
    middle = known[len(known) // 2] if known else 0.0
    return (middle, "OME Plane DeltaT (median)") if middle > 0 else (None, "unknown")
