"""Pictures for a page: stills with outlines, events frame by frame, and one line of the movie against time."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import figures
from insitu.errors import BadFrame
from insitu.figures import Strip
from insitu.report.overlay import Overlay
from insitu.report.painter import Painter, edges

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from insitu.report.material import Material

STILLS = 5
MOST_EVENTS = 12
_PANELS = 5
_PANEL_PX = 132
_LARGEST_PX = 720
_JPEG_QUALITY = 78
# how many of each kind a gallery shows before it shows more of the first
_TELLING = {"coalescence": 5, "splitting": 2, "dissolution": 3, "nucleation": 2}
_FEWEST_PX, _MOST_PX = 44, 220
_LINES = 5  # averaged for a kymograph: less noise, and narrower than any particle that is measured
_KYMOGRAPH_FRAMES, _KYMOGRAPH_BYTES = 400, 2_000_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a page: its data URI, what stands under it, and what it shows in words."""

    uri: str
    caption: str
    alt: str
    width: int
    height: int


def stills(material: Material, n: int = STILLS) -> list[Picture]:
    """Return `n` frames from first to last with outlines."""
    used = shown_frames(material)
    if not len(used):
        return []
    chosen = used[np.unique(np.linspace(0, len(used) - 1, min(n, len(used))).round().astype(int))]
    return [still(material, int(frame), barred=k == 0) for k, frame in enumerate(chosen)]


def shown_frames(material: Material) -> NDArray[np.int64]:
    """Return the used frames that have label images: while a run is being written these lie behind the tables."""
    used = material.used["frame"].to_numpy(np.int64)
    if "labels" in material.missing:
        return used[:0]
    geometry = material.about["geometry"]
    planes = (used - int(geometry["first_frame"])) // int(geometry["step"])
    return np.asarray(used[planes < int(material.run.labels.shape[0])])


def still(material: Material, frame: int, *, barred: bool = True) -> Picture:
    """Return one frame with outlines, as JPEG; a barred one has the strip with scale bar and caption in it."""
    step = int(material.about["geometry"]["step"])
    overlay = Overlay(material.run, material.reader, range(frame, frame + 1, step), flash=1)
    shown = overlay.scene(frame)
    scene = replace(shown, notes=(), marks=())  # too small for words
    painter = Painter(scene, largest=_LARGEST_PX)
    picture = painter(scene)
    count = figures.count_of(scene)
    told = f"{scene.caption}: {count} with outlines"
    if barred:
        return _picture(picture, " · ".join(shown.notes), told)
    return _picture(picture[: painter.inner[0]], " · ".join([scene.caption, *shown.notes]), told)


def strips(material: Material, most: int = MOST_EVENTS) -> list[Strip]:
    """Return the events that tell most, each in five frames around it."""
    if not len(shown_frames(material)):
        return []
    return [strip for _, event in _chosen(material.events, most).iterrows() if (strip := _strip(material, event))]


def panels(strip: Strip) -> list[Picture]:
    """Return the frames of a strip as JPEGs."""
    return [
        _picture(pixels, caption, f"{strip.kind}, {'at the event' if caption == 'event' else f'{caption} frames'}")
        for pixels, caption in zip(strip.pictures, strip.captions, strict=True)
    ]


def line_through(material: Material) -> tuple[NDArray[np.float64], NDArray[np.float64], str] | None:
    """Return the mean counts of the rows or columns that cross most particles, their times, and which line it is.

    At most 400 frames are read, fewer where frames are large. None without a source or particles.
    """
    used, reader = material.used["frame"].to_numpy(), material.reader
    if reader is None or len(used) < 2 or not len(material.rows):
        return None
    across, line = _densest(material)
    room = max(2, _KYMOGRAPH_BYTES // max(1, int(np.prod(reader.info.shape)) * reader.info.dtype.itemsize))
    n = min(_KYMOGRAPH_FRAMES, len(used), room)
    chosen = used[np.unique(np.linspace(0, len(used) - 1, n).round().astype(int))]
    held = np.zeros(reader.info.shape, reader.info.dtype)
    (y0, x0), (height, width) = material.about["geometry"]["origin"], material.about["geometry"]["region"]
    length, first = (width, y0) if across else (height, x0)
    last = first + (height if across else width)
    beside = slice(max(first, line - _LINES // 2), min(last, line + _LINES // 2 + 1))
    counts = np.full((len(chosen), length), np.nan)
    for k, frame in enumerate(chosen):
        try:
            reader.read_into(int(frame), held)
        except BadFrame:
            continue
        counts[k] = (held[beside, x0 : x0 + width] if across else held[y0 : y0 + height, beside].T).mean(axis=0)
    times = np.array([material.time_of(f) for f in chosen])
    return counts, times, f"{'rows' if across else 'columns'} {beside.start} to {beside.stop - 1}"


def sparkline(values: NDArray[np.float64], width: int = 96, height: int = 22) -> str:
    """Return the points of a polyline in a box of that size; empty for fewer than two numbers."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return ""
    low, high = float(values.min()), float(values.max())
    y = np.full(len(values), height / 2) if high == low else (height - 3) * (high - values) / (high - low) + 1.5
    x = np.linspace(1, width - 1, len(values))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _chosen(events: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return events to show, in order of time: the surest of each telling kind, whole ones before those at the edge."""
    import pandas as pd

    ranked = events.sort_values(["touches_edge", "confidence"], ascending=[True, False], kind="stable")
    first = [ranked[ranked["kind"] == kind].head(n) for kind, n in _TELLING.items()]
    rest = [ranked[ranked["kind"] == kind].iloc[n:] for kind, n in _TELLING.items()]
    return pd.concat([*first, *rest]).head(most).sort_values("frame", kind="stable")


def _strip(material: Material, event: pd.Series[Any]) -> Strip | None:
    used = shown_frames(material)
    if event["frame"] > used[-1]:
        return None
    at = int(np.searchsorted(used, event["frame"]))
    apart = int(np.clip(len(used) // 40, 1, 5))
    places = [at + apart * (k - _PANELS // 2) for k in range(_PANELS)]
    frames = [int(used[p]) for p in places if 0 <= p < len(used)]
    if not frames:
        return None
    half = _half_side(event)
    moved = material.frames.set_index("frame")[["drift_y_px", "drift_x_px"]]
    here = moved.loc[event["frame"]] if event["frame"] in moved.index else moved.iloc[0]
    step = int(material.about["geometry"]["step"])
    pictures = []
    for frame in frames:
        overlay = Overlay(material.run, material.reader, range(frame, frame + 1, step))
        shift = np.nan_to_num((moved.loc[frame] - here).to_numpy(np.float64))
        pictures.append(_cut(overlay, frame, (event["y"] + shift[0], event["x"] + shift[1]), half))
    low, high = figures.display_range(np.concatenate([p[0].ravel() for p in pictures])[:, None])
    shown = tuple(_painted(*picture, low, high) for picture in pictures)
    zero = int(event["frame"])
    captions = tuple("event" if f == zero else f"{f - zero:+d}".replace("-", "−") for f in frames)
    return Strip(str(event["kind"]), _title(material, event), shown, captions)


def _title(material: Material, event: pd.Series[Any]) -> str:
    time = "" if material.units.time == "frame" else f", {material.time_of(event['frame']):.4g} s"
    edge = ", at the edge" if event["touches_edge"] else ""
    return f"{event['kind']}: frame {int(event['frame'])}{time}, confidence {event['confidence']:.2f}{edge}"


def _half_side(event: pd.Series[Any]) -> int:
    """Return half the side of the cut in px: three diameters of what was and became of the particles."""
    areas = [*event["parent_areas_px"], *event["child_areas_px"]]
    across = 2 * np.sqrt(max(areas, default=100) / np.pi)
    return int(np.clip(1.4 * across, _FEWEST_PX // 2, _MOST_PX // 2))


def _cut(
    overlay: Overlay, frame: int, centre: tuple[float, float], half: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return image, labels and ids of a square around `centre` (source px), moved inwards at the border."""
    scene = overlay.scene(frame)
    y0, x0 = overlay.origin
    height, width = scene.image.shape
    side = min(2 * half, height, width)
    top = int(np.clip(round(centre[0] - y0) - side // 2, 0, height - side))
    left = int(np.clip(round(centre[1] - x0) - side // 2, 0, width - side))
    box = slice(top, top + side), slice(left, left + side)
    return scene.image[box], scene.labels[box], scene.ids


def _painted(
    image: NDArray[Any], labels: NDArray[Any], ids: NDArray[np.int64], low: float, high: float
) -> NDArray[np.uint8]:
    from PIL import Image

    scaled = np.clip(np.nan_to_num((image.astype(np.float32) - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    size = (_PANEL_PX, _PANEL_PX)
    grey = np.asarray(Image.fromarray(scaled).resize(size, Image.Resampling.BICUBIC))
    large = np.asarray(Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST))
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    edge = edges(large)
    palette = np.array([(0, 0, 0), *(figures.colour(int(p)) for p in ids)], np.uint8)
    picture[edge > 0] = palette[edge[edge > 0]]
    return picture


def _densest(material: Material) -> tuple[bool, int]:
    """Return whether the line with the longest chords through particles is a row, and its number in source px."""
    rows = material.rows
    (y0, x0), (height, width) = material.about["geometry"]["origin"], material.about["geometry"]["region"]
    radius = rows["equivalent_diameter_px"].to_numpy() / 2
    best = []
    for across, places, origin, length, other in (
        (True, rows["y"].to_numpy(), y0, height, width),
        (False, rows["x"].to_numpy(), x0, width, height),
    ):
        lines = origin + np.arange(0, length, max(1, length // 256))
        chords = [np.sqrt(np.maximum(radius**2 - (places - line) ** 2, 0)).sum() / other for line in lines]
        best.append((max(chords), across, int(lines[int(np.argmax(chords))])))
    _, across, line = max(best, key=lambda found: found[0])
    return across, line


def _picture(pixels: NDArray[np.uint8], caption: str, alt: str) -> Picture:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"
    return Picture(uri, caption, alt, pixels.shape[1], pixels.shape[0])
