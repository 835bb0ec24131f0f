"""Grey-scale morphology at the speed of memory, equal to scikit-image bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float64]


def lowered(image: Image) -> Image:
    """Return the reconstruction by dilation of an image from its border: domes inside it are cut off.

    Equal to ``skimage.morphology.reconstruction(seed, image, "dilation")``, in 8 neighbours, where the seed is the
    image along its border and its least value elsewhere.

    Parameters
    ----------
    image : float64 array of shape (H, W)
        Finite.
    """
    out = np.full_like(image, image.min())
    for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        out[side] = image[side]
    _grow(out, np.ascontiguousarray(image))
    return out


def raised(image: Image) -> Image:
    """Return the reconstruction by erosion of an image from its border: hollows inside it are filled up."""
    return np.asarray(-lowered(-image))


@kernel
def _sweep_down(out: Image, limit: Image) -> int:
    """Raise each pixel to what lies above it and to its left, row by row; return how many pixels changed."""
    height, width = out.shape
    changed = 0
    for y in range(1, height - 1):
        above, row, most = out[y - 1], out[y], limit[y]
        last = row[0]
        for x in range(1, width - 1):
            last = min(max(above[x - 1], above[x], above[x + 1], row[x], last), most[x])
            changed += last != row[x]
            row[x] = last
    return changed


@kernel
def _sweep_up(out: Image, limit: Image) -> int:
    """Raise each pixel to what lies below it and to its right, row by row; return how many pixels changed."""
    height, width = out.shape
    changed = 0
    for y in range(height - 2, 0, -1):
        below, row, most = out[y + 1], out[y], limit[y]
        last = row[width - 1]
        for x in range(width - 2, 0, -1):
            last = min(max(below[x - 1], below[x], below[x + 1], row[x], last), most[x])
            changed += last != row[x]
            row[x] = last
    return changed


@kernel
def _grow(out: Image, limit: Image) -> None:
    """Raise `out` to the largest of its neighbours, never above `limit`, until nothing changes.

    Sweeps down and up as long as they change much, then a queue of what is still to be raised (the hybrid algorithm of
    Vincent 1993, 10.1109/83.217222, with more sweeps: one costs a tenth of what the queue does for noisy images).
    """
    height, width = out.shape
    for _ in range(16):
        changed = _sweep_down(out, limit) + _sweep_up(out, limit)
        if changed < out.size // 256:
            break
    flat, top = out.reshape(out.size), limit.reshape(out.size)
    queue = np.empty(1 << 16, np.int64)
    head = 0
    tail = 0
    for y in range(1, height - 1) if changed else range(0):
        for p in range(y * width + 1, (y + 1) * width - 1):
            value = flat[p]
            for q in (p - width - 1, p - width, p - width + 1, p - 1, p + 1, p + width - 1, p + width, p + width + 1):
                if flat[q] < value and flat[q] < top[q]:
                    if tail == len(queue):
                        queue = np.append(queue, np.empty(len(queue), np.int64))
                    queue[tail] = p
                    tail += 1
                    break
    while head < tail:
        p = queue[head]
        head += 1
        value = flat[p]
        for q in (p - width - 1, p - width, p - width + 1, p - 1, p + 1, p + width - 1, p + width, p + width + 1):
            if flat[q] < value and flat[q] < top[q]:
                flat[q] = min(value, top[q])
                if tail == len(queue):  # move what is left to the front, or make room
                    left = tail - head
                    if head < len(queue) // 2:
                        queue = np.append(queue, np.empty(len(queue), np.int64))
                    queue[:left] = queue[head:tail].copy()
                    head = 0
                    tail = left
                queue[tail] = q
                tail += 1


def opened(image: Image) -> Image:
    """Return the opening with a disc of radius 5 px, as ``skimage.morphology.opening(image, disk(5))``."""
    return np.asarray(-_least_in_disc(-_least_in_disc(np.ascontiguousarray(image))))


@kernel
def _least_in_disc(image: Image) -> Image:
    """Return the least value in a disc of radius 5 px around each pixel; beyond the border there is nothing.

    The rows of the disc are 11, 9 (three of them, on either side), 7 and 1 px long. The least of rows of these lengths
    are made once per row of the image, from one another, and then compared across rows.
    """
    height, width = image.shape
    wide = width + 10
    row1 = np.full((11, wide), np.inf)
    row7 = np.full((11, wide), np.inf)
    row9 = np.full((11, wide), np.inf)
    row11 = np.full((11, wide), np.inf)
    two, four = np.full(wide, np.inf), np.full(wide, np.inf)
    out = np.empty_like(image)
    for y in range(height + 5):
        k = y % 11
        a, b, c, d = row1[k], row7[k], row9[k], row11[k]
        if y < height:
            a[5 : 5 + width] = image[y]
            for x in range(wide - 1):
                two[x] = min(a[x], a[x + 1])
            for x in range(wide - 3):
                four[x] = min(two[x], two[x + 2])
            for x in range(3, wide - 3):
                b[x] = min(four[x - 3], four[x])
            for x in range(4, wide - 4):
                c[x] = min(b[x - 1], b[x + 1])
            for x in range(5, wide - 5):
                d[x] = min(c[x - 1], c[x + 1])
        else:
            a[:] = np.inf
            b[:] = np.inf
            c[:] = np.inf
            d[:] = np.inf
        if y < 5:
            continue
        line, middle = out[y - 5], row11[(y - 5) % 11]
        for x in range(width):
            line[x] = middle[x + 5]
        for away in range(1, 6):
            up, down = (y - 5 - away) % 11, (y - 5 + away) % 11
            if away < 4:
                first, second = row9[up], row9[down]
            elif away == 4:
                first, second = row7[up], row7[down]
            else:
                first, second = row1[up], row1[down]
            for x in range(width):
                line[x] = min(line[x], first[x + 5], second[x + 5])
    return out


@kernel
def hollows(surface: Image, filled: Image) -> Image:
    """Return the depth |surface - filled| plus its Sobel gradient, as scikit-image adds them up, all in one pass.

    The gradient is the root of the mean of the two squared Sobel derivatives; the border is mirrored.
    """
    height, width = surface.shape
    deep = np.empty((3, width + 2))
    out = np.empty_like(surface)
    root = np.sqrt(2.0)
    for y in range(-1, height + 1):
        source, line = min(max(y, 0), height - 1), deep[(y + 3) % 3]
        for x in range(width):
            line[x + 1] = abs(surface[source, x] - filled[source, x])
        line[0], line[width + 1] = line[1], line[width]
        if y < 1:
            continue
        above, here, below = deep[(y + 1) % 3], deep[(y + 2) % 3], deep[y % 3]
        into = out[y - 1]
        for x in range(width):
            down = -0.25 * above[x] - 0.5 * above[x + 1] - 0.25 * above[x + 2]
            down = down + 0.25 * below[x] + 0.5 * below[x + 1] + 0.25 * below[x + 2]
            across = -0.25 * above[x] + 0.25 * above[x + 2] - 0.5 * here[x] + 0.5 * here[x + 2]
            across = across - 0.25 * below[x] + 0.25 * below[x + 2]
            into[x] = here[x + 1] + np.sqrt(down * down + across * across) / root
    return out


def otsu(image: Image) -> float:
    """Return Otsu's threshold over 256 bins, as ``skimage.filters.threshold_otsu`` (10.1109/TSMC.1979.4310076)."""
    from skimage.filters import threshold_otsu

    if image.min() == image.max():
        return float(image.flat[0])
    edges = np.linspace(image.min(), image.max(), 257)
    histogram = (_histogram(image.reshape(-1), edges), (edges[:-1] + edges[1:]) / 2)
    return float(threshold_otsu(hist=histogram))  # type: ignore[no-untyped-call]


@kernel
def _histogram(values: Image, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count values between 257 equally spaced edges, as numpy does: the last bin holds its upper edge."""
    counts = np.zeros(256, np.int64)
    per_bin = 256.0 / (edges[256] - edges[0])
    for value in values:
        k = min(int((value - edges[0]) * per_bin), 255)
        if value < edges[k]:
            k -= 1
        elif k < 255 and value >= edges[k + 1]:
            k += 1
        counts[k] += 1
    return counts
