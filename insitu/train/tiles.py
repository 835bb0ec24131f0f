"""Tiles to learn from: conditioned images with a code for every pixel, cut from real and simulated images.

Codes: 0 support, 1 particle, 2 support between two particles that touch or nearly touch (weighs more), 255 unknown
(weighs nothing). The line along contacts is what keeps neighbours apart in the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.train.augment import Augmentation, varied
from insitu.train.data import CONTACT, PARTICLE, SUPPORT, UNKNOWN, Pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from insitu.models.inputs import Conditioning
    from insitu.train.agglomerates import Look
    from insitu.train.labelled import Labelled

INPUT = "asinh"
"""The conditioning (`insitu.models.inputs`) of networks for one microscope; `insitu.train.shipped` has another."""
Polarity = Literal["auto", "dark", "bright"]
_UNCHANGED = 1_000_000  # in place of the number of the variation
_MOST_TILES = 3  # of one image: large images must not outweigh the others


def codes(labels: NDArray[np.int32], unknown: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Return the code of every pixel; (H, W) uint8.

    A contact pixel is a particle's pixel with another particle in its 3×3 neighbourhood, or a support's pixel with two
    particles in its 5×5 neighbourhood.
    """
    from scipy import ndimage

    inside = labels > 0
    coded = np.where(inside, PARTICLE, SUPPORT).astype(np.uint8)
    far = np.iinfo(np.int32).max
    least = np.where(inside, labels, far)
    for reach, where in ((3, inside), (5, ~inside)):
        differ = ndimage.maximum_filter(labels, reach) > ndimage.minimum_filter(least, reach)
        coded[where & differ & (ndimage.minimum_filter(least, reach) < far)] = CONTACT
    if unknown is not None:
        coded[unknown & ~inside & (coded != CONTACT)] = UNKNOWN
    return coded


def ready(image: NDArray[Any], polarity: Polarity = "auto", how: Conditioning | None = None) -> NDArray[np.float16]:
    """Return the frame as a network meets it in use: normalised, flattened, in units of the support's noise; (H, W)."""
    from insitu.models.inputs import condition, of_kind
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference

    options = PrepareOptions()
    taken = reference([(0, image)], options, polarity)
    return np.asarray(
        condition(prepare(image[np.newaxis], options, taken).input[0], how or of_kind(INPUT)).numpy(), np.float16
    )


def cut(
    rng: np.random.Generator, image: NDArray[np.float16], coded: NDArray[np.uint8], side: int
) -> Iterator[tuple[NDArray[np.float16], NDArray[np.uint8]]]:
    """Yield up to `_MOST_TILES` windows of `side` px at random places, smaller images filled up by mirror images."""
    down, right = (max(0, side - n) for n in image.shape)
    if down or right:
        more = ((0, down), (0, right))
        image, coded = np.pad(image, more, "symmetric"), np.pad(coded, more, "symmetric")
    room = image.shape[0] * image.shape[1] / side**2
    for _ in range(min(_MOST_TILES, max(1, round(0.6 * room)))):
        y, x = (int(rng.integers(n - side + 1)) for n in image.shape)
        window = (slice(y, y + side), slice(x, x + side))
        yield image[window], coded[window]


def tiled(crop: int) -> int:
    """Return the side of the tiles that crops of `crop` px are drawn from."""
    return crop + crop // 2


def real_tiles(
    found: Sequence[Labelled],
    variants: int,
    side: int,
    seed: int,
    how: Augmentation,
    *,
    polarity: Mapping[str, Polarity] | None = None,
    native: bool = False,
    shown: Conditioning | None = None,
) -> Pairs:
    """Return tiles of every image and of `variants` variations of it.

    Variation k depends on the image's name, k and the seed alone.

    Parameters
    ----------
    found : sequence of Labelled
    variants, side, seed : int
    how : Augmentation
    polarity : mapping, optional
        Of each group; judged from each image by itself where it is absent, as for the first frame of a movie in use.
    native : bool
        Also take the unchanged image.
    shown : Conditioning, optional
        `INPUT` by default.
    """
    import zlib

    images, masks = [], []
    for one in found:
        side_of = (polarity or {}).get(one.group, "auto")
        for k in range(-1 if native else 0, variants):
            rng = np.random.default_rng([seed, zlib.crc32(one.name.encode()), k if k >= 0 else _UNCHANGED])
            image, labels, unknown = (
                varied(rng, one.image, one.labels, one.unknown, how) if k >= 0 else (one.image, one.labels, one.unknown)
            )
            for tile, coded in cut(rng, ready(image, side_of, shown), codes(labels, unknown), side):
                images.append(tile)
                masks.append(coded)
    return Pairs(np.stack(images), np.stack(masks))


def validation_tiles(
    found: Sequence[Labelled], side: int, seed: int, polarity: Mapping[str, Polarity] | None = None
) -> Pairs:
    """Return tiles of the unchanged images, in an order that mixes them."""
    tiles = real_tiles(found, 0, side, seed, Augmentation(), polarity=polarity, native=True)
    order = np.random.default_rng([seed, 12]).permutation(len(tiles))
    return Pairs(tiles.images[order], tiles.masks[order])


def agglomerate_tiles(
    n: int, side: int, seed: int, shown: Conditioning | None = None, look: Look | None = None
) -> Pairs:
    """Return `n` scenes of small particles on rough supports, clear by default (`insitu.train.agglomerates`)."""
    from insitu.train.agglomerates import CLEAR, agglomerate_scene

    images, masks = np.empty((n, side, side), np.float16), np.empty((n, side, side), np.uint8)
    for k in range(n):
        rng = np.random.default_rng([seed, 77, k])
        image, labels = agglomerate_scene(rng, side + side // 4, look or CLEAR)
        [(images[k], masks[k])] = list(cut(rng, ready(image, how=shown), codes(labels), side))[:1]
    return Pairs(images, masks)


def scene_tiles(n: int, side: int, seed: int, shown: Conditioning | None = None) -> Pairs:
    """Return `n` simulated scenes (`insitu.simulate.random_scene`), half of them enlarged or reduced: other grain."""
    images, masks = np.empty((n, side, side), np.float16), np.empty((n, side, side), np.uint8)
    for k in range(n):
        images[k], masks[k] = _scene(np.random.default_rng([seed, 78, k]), side, shown)
    return Pairs(images, masks)


def _scene(
    rng: np.random.Generator, side: int, shown: Conditioning | None
) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    from scipy import ndimage

    from insitu.simulate import random_scene

    while True:
        bright_field = bool(rng.random() < 0.7)
        factor = float(np.exp(rng.uniform(np.log(0.5), np.log(2.6)))) if rng.random() < 0.5 else 1.0
        size = max(64, int(np.ceil(side / factor)))
        top = min(150.0, 150.0 / factor)
        image, mask = random_scene(
            rng,
            (size, size),
            mode="bright-field" if bright_field else "dark-field",
            empty=0.2,
            radius_px=(max(2.0, 3.0 / factor), top),
        )
        if mask.mean() > 0.55:
            continue
        if factor != 1.0:
            grey = image.astype(np.float32)
            if factor < 0.9:
                grey = ndimage.gaussian_filter(grey, 0.4 / factor)
            at = (np.arange(side) + 0.5) / factor - 0.5
            grid = np.meshgrid(at, at, indexing="ij")
            grey = ndimage.map_coordinates(grey, grid, order=1, mode="mirror")
            mask = ndimage.map_coordinates(mask.astype(np.float32), grid, order=1, mode="mirror") > 0.5
            image = np.rint(np.clip(grey * 16, 0, 65535)).astype(np.uint16)
        particles = "dark" if bright_field else "bright"
        if rng.random() < 0.1:  # the polarity of a movie can be judged wrong
            particles = "bright" if bright_field else "dark"
        seen = ready(image[:side, :side], particles, shown)  # type: ignore[arg-type]
        return seen, mask[:side, :side].astype(np.uint8)
