"""Frames for the page: what is kept of one while its pixels last, and the JPEG that is made of it when it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import figures
from insitu.runs import paint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.types import Event, FrameResult, Runs

# px: a larger frame is shown every second (third, …) pixel, a smaller one enlarged
LARGEST, SMALLEST = 1024, 384
_QUALITY, _THUMB_QUALITY = 82, 78
# camera px: side of the surroundings of an event; px: side of their picture
_AROUND, _THUMB = 64, 112
# how fast the grey levels follow the movie: at once they would flicker
_FOLLOW = 0.1
_PALETTE = np.array(figures.PALETTE, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame as it will be shown.

    Attributes
    ----------
    frame : int
    image : ndarray of shape (h, w), camera dtype
        Every `stride`-th pixel of the analysed region, a copy.
    runs : Runs
    ids : int64 array of shape (n,)
    stride : int
        Camera px from one pixel of `image` to the next.
    time_s : float or None
    taken : float
        When, on the clock of the board, in s.
    """

    frame: int
    image: NDArray[Any]
    runs: Runs
    ids: NDArray[np.int64]
    stride: int
    time_s: float | None
    taken: float


def take(result: FrameResult, taken: float) -> Shot | None:
    """Return what is kept of a result; None for a frame without pixels."""
    image, runs = result.frame.image, result.runs
    if image is None:
        return None
    (y0, x0), side = runs.origin, runs.bin
    height, width = runs.shape[0] * side, runs.shape[1] * side
    stride = -(-max(height, width) // LARGEST)
    pixels = image[y0 : y0 + height : stride, x0 : x0 + width : stride].copy()
    return Shot(result.frame.index, pixels, runs, result.ids, stride, result.frame.time_s, taken)


class Drawer:
    """Makes JPEGs of shots, with grey levels that follow the movie slowly."""

    def __init__(self) -> None:
        self._range: tuple[float, float] | None = None

    def jpeg(self, shot: Shot, *, outlines: bool = True) -> bytes:
        """Return the frame, with the outlines of its particles in the colours of their tracks."""
        self._follow(shot)
        grey = self._grey(shot.image)
        times = enlarged(shot)
        labels = _labels(shot) if outlines else None
        return _encoded(_coloured(grey, labels, shot.ids, times), _QUALITY)

    def thumbnail(self, around: Around) -> bytes:
        """Return the surroundings of an event as a JPEG of about 112 px."""
        if self._range is None:
            self._range = figures.display_range(around.image)
        times = max(1, _THUMB // max(around.image.shape))
        return _encoded(_coloured(self._grey(around.image), around.labels, around.ids, times), _THUMB_QUALITY)

    def _follow(self, shot: Shot) -> None:
        low, high = figures.display_range(shot.image[::2, ::2])
        if self._range is not None:
            before, span = self._range, self._range[1] - self._range[0]
            # another magnification or beam: at once
            if abs(low - before[0]) < span and abs(high - before[1]) < span:
                low = before[0] + _FOLLOW * (low - before[0])
                high = before[1] + _FOLLOW * (high - before[1])
        self._range = low, high

    def _grey(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        low, high = self._range or (0.0, 1.0)
        scaled = (image.astype(np.float32) - low) * (255.0 / (high - low))
        grey: NDArray[np.uint8] = np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
        return grey


def enlarged(shot: Shot) -> int:
    """Return how many pixels of the JPEG a pixel of the shot's image is wide."""
    return max(1, SMALLEST // int(max(shot.image.shape)))


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """The surroundings of an event in a shot: pixels, the labels there, and the tracks that these are."""

    frame: int
    image: NDArray[Any]
    labels: NDArray[Any]
    ids: NDArray[np.int64]


def around(shot: Shot, event: Event) -> Around:
    """Cut the surroundings of an event out of a shot, the event in their middle; beyond the frame they are dark."""
    (y0, x0), stride = shot.runs.origin, shot.stride
    areas = (*event.parent_areas_px, *event.child_areas_px)
    side = max(_AROUND, int(3.0 * float(max(areas, default=0)) ** 0.5)) // stride
    height, width = shot.image.shape
    rows = np.arange(side) + round((event.y - y0) / stride) - side // 2
    columns = np.arange(side) + round((event.x - x0) / stride) - side // 2
    down, across = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    inside = np.ix_(down, across)
    seen = shot.image[np.ix_(rows[down], columns[across])]
    image = np.full((side, side), seen.min(initial=shot.image.flat[0]), shot.image.dtype)
    image[inside] = seen
    labels = np.zeros((side, side), np.uint16)
    labels[inside] = _window(shot.runs, rows[down] * stride // shot.runs.bin, columns[across] * stride // shot.runs.bin)
    return Around(shot.frame, image, labels, shot.ids)


def _window(runs: Runs, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return the labels at the crossings of some rows and columns, without painting the whole frame."""
    picture = np.zeros((len(rows), len(columns)), np.uint16)
    for k, row in enumerate(rows.tolist()):
        first, last = np.searchsorted(runs.row, [row, row + 1])
        for run in range(int(first), int(last)):
            left, right = np.searchsorted(columns, [runs.start[run], runs.stop[run]])
            picture[k, left:right] = runs.label[run]
    return picture


def _labels(shot: Shot) -> NDArray[Any]:
    height, width = shot.image.shape
    painted = paint(shot.runs)
    rows = np.arange(height) * shot.stride // shot.runs.bin
    columns = np.arange(width) * shot.stride // shot.runs.bin
    if shot.stride == shot.runs.bin:
        return painted[:height, :width]
    picture: NDArray[Any] = painted[rows[:, None], columns]
    return picture


def _coloured(
    grey: NDArray[np.uint8], labels: NDArray[Any] | None, ids: NDArray[np.int64], times: int
) -> NDArray[np.uint8]:
    """Return RGB, enlarged, with a line on either side of every outline."""
    picture = np.repeat(_times(grey, times)[:, :, None], 3, axis=2)
    if labels is not None and len(ids):
        owner = _edges(_times(labels, times))
        place = owner > 0
        picture[place] = _PALETTE[ids % len(_PALETTE)][owner[place].astype(np.intp) - 1]
    return picture


def _times(image: NDArray[Any], times: int) -> NDArray[Any]:
    return image if times == 1 else image.repeat(times, axis=0).repeat(times, axis=1)


def _edges(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the label of the particle at the pixels on either side of its outline, 0 elsewhere."""
    owner = np.zeros_like(labels)
    for near, far, here, there in (
        (labels[:-1], labels[1:], owner[:-1], owner[1:]),
        (labels[:, :-1], labels[:, 1:], owner[:, :-1], owner[:, 1:]),
    ):
        differs = near != far
        wins = np.maximum(near[differs], far[differs])
        here[differs] = wins
        there[differs] = wins
    return owner


def _encoded(picture: NDArray[np.uint8], quality: int) -> bytes:
    from PIL import Image

    target = BytesIO()
    # colour at full resolution: outlines are thin
    Image.fromarray(picture).save(target, "JPEG", quality=quality, subsampling=0)
    return target.getvalue()
