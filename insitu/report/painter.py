"""Scenes as RGB pictures for a movie, with numpy and Pillow: 10 ms a frame, where matplotlib takes a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu import figures

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from insitu.figures import Mark, Scene

Box = tuple[float, float, float, float]

# px: a larger picture is reduced, a smaller one enlarged, by a whole number
_LARGE, _SMALL = 1280, 400
_STRIP = 34


class Painter:
    """Draws scenes of one movie as RGB pictures of one size.

    Parameters
    ----------
    scene : Scene
        The first one: it decides grey levels and size for all.
    remark : str
        Written beside the caption of every picture.
    largest : int
        Longest side in px; a larger frame is reduced by a whole number.
    """

    def __init__(self, scene: Scene, remark: str = "", largest: int = _LARGE) -> None:
        height, width = scene.image.shape
        self._remark = remark
        self._range = figures.display_range(scene.image)
        self._reduce = -(-max(height, width) // largest)
        self._enlarge = -(-_SMALL // max(height, width)) if max(height, width) < _SMALL else 1
        self.zoom = self._enlarge / self._reduce
        even = [2 * (-(-side // self._reduce) * self._enlarge // 2) for side in (height, width)]
        self.inner = even[0], even[1]
        self.size = even[0] + _STRIP, even[1]
        self._font: FreeTypeFont | None = None

    def __call__(self, scene: Scene, ages: list[float] | None = None) -> NDArray[np.uint8]:
        """Return the picture, uint8 of shape (*size, 3)."""
        from PIL import Image, ImageDraw

        height, width = self.inner
        picture = np.zeros((*self.size, 3), np.uint8)
        grey = self._grey(scene.image)
        picture[:height, :width] = grey[:, :, None]
        edge = edges(self._resized(scene.labels))
        palette = np.zeros((len(scene.ids) + 1, 3), np.uint8)
        for label, particle in enumerate(scene.ids.tolist(), 1):
            palette[label] = figures.colour(particle)
        picture[:height, :width][edge > 0] = palette[edge[edge > 0]]
        image = Image.fromarray(picture)
        draw = ImageDraw.Draw(image)
        for particle, tail in scene.tails.items():
            if len(tail) > 1:
                draw.line([(x, y) for y, x in self._placed(tail)], figures.colour(particle), 1)
        written = [self._note(draw, note, 8 + 20 * k) for k, note in enumerate(scene.notes)]
        for mark, age in zip(scene.marks, ages or [0.0] * len(scene.marks), strict=True):
            self._flash(draw, mark, age, written)
        self._strip(draw, scene)
        return np.asarray(image)

    def _grey(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        low, high = self._range
        scaled = (image.astype(np.float32) - low) * (255.0 / (high - low))
        grey = np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)
        if self._reduce > 1:
            from PIL import Image

            small = Image.fromarray(grey).reduce(self._reduce)
            grey = np.asarray(small)
        return self._enlarged(grey)

    def _resized(self, labels: NDArray[Any]) -> NDArray[Any]:
        return self._enlarged(labels[:: self._reduce, :: self._reduce])

    def _enlarged(self, image: NDArray[Any]) -> NDArray[Any]:
        if self._enlarge > 1:
            image = image.repeat(self._enlarge, axis=0).repeat(self._enlarge, axis=1)
        return image[: self.inner[0], : self.inner[1]]

    def _placed(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions in px of the picture (pixel centres lie at integers in both)."""
        placed: NDArray[np.float64] = (places + 0.5) * self.zoom - 0.5
        return placed

    def _flash(self, draw: ImageDraw, mark: Mark, age: float, written: list[Box]) -> None:
        """Draw a ring that grows, with the kind beside it where no newer event's word stands."""
        y, x = self._placed(np.array([mark.y, mark.x])).tolist()
        radius = 14 + 14 * age
        shade = figures.event_colour(mark.kind)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=shade, width=2)
        font = self._text()
        wide = draw.textlength(mark.kind, font)
        left = x + radius + 4 if x + radius + 6 + wide < self.inner[1] else x - radius - 4 - wide
        top = min(max(y - 8, 2), self.inner[0] - 20)
        box = (left - 3, top, left + wide + 3, top + 18)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in written):
            return
        written.append(box)
        draw.text((left, top), mark.kind, shade, font, stroke_width=2, stroke_fill=(0, 0, 0))

    def _note(self, draw: ImageDraw, note: str, top: int) -> Box:
        """Write a line in the upper left corner, and return its place, which words of events leave free."""
        font = self._text()
        draw.text((10, top), note, (255, 255, 255), font, stroke_width=2, stroke_fill=(0, 0, 0))
        return 7, top, 13 + draw.textlength(note, font), top + 18

    def _strip(self, draw: ImageDraw, scene: Scene) -> None:
        """Write scale bar, caption and number of particles under the image; what has no room is left out."""
        font = self._text()
        middle, width = self.inner[0] + _STRIP // 2, self.size[1]
        free_from = 10.0
        if scene.nm_per_px is not None:
            length, text = figures.bar_length(scene.image.shape[1], scene.nm_per_px)
            end = 10 + length * self.zoom
            draw.rectangle((10, middle - 2, end, middle + 2), fill=(255, 255, 255))
            draw.text((end + 6, middle), text, (255, 255, 255), font, anchor="lm")
            free_from = end + 16 + draw.textlength(text, font)
        caption = scene.caption + (f" · {self._remark}" if self._remark else "")
        count = figures.count_of(scene)
        free_to = width - 10 - draw.textlength(count, font) - 10
        if free_from + draw.textlength(caption, font) <= free_to:
            draw.text((width - 10, middle), count, (255, 255, 255), font, anchor="rm")
        else:
            free_to = width - 10
        draw.text(((free_from + free_to) / 2, middle), caption, (255, 255, 255), font, anchor="mm")

    def _text(self) -> Any:  # noqa: ANN401 - either of Pillow's fonts
        if self._font is None:
            from PIL import ImageFont

            self._font = ImageFont.load_default(15)  # type: ignore[assignment]  # FreeType where Pillow has it
        return self._font


def edges(labels: NDArray[Any]) -> NDArray[Any]:
    """Return an image with the label of the particle at pixels on either side of an outline, 0 elsewhere."""
    edges = np.zeros_like(labels)
    for axis in (0, 1):
        near, far = (labels[:-1], labels[1:]) if axis == 0 else (labels[:, :-1], labels[:, 1:])
        mine, next_to = (edges[:-1], edges[1:]) if axis == 0 else (edges[:, :-1], edges[:, 1:])
        differs = near != far
        owner = np.maximum(near, far)[differs]
        mine[differs] = owner
        next_to[differs] = owner
    return edges
