"""Camera counts → what a model sees: a float image per frame in units of the support's own noise, particles positive.

Every frame is normalised by itself (support ≈ 0, its noise ≈ 1), so no frame depends on another one; only the polarity
is a whole-movie quantity, taken once from the first frames by `reference` and then frozen. The camera's range is kept:
nothing is squeezed into 8 bits, and the counts that are measured later stay integers.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.errors import CommandError
from insitu.pixels import ascending, compiled
from insitu.types import Prepared, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from insitu.options import PrepareOptions

# A support sample of this many pixels fixes the level to 1/200 of the noise; more only costs time.
_SAMPLE_PX = 65_536
# The median of |x - level| over the half of the pixels on the side of the support that holds no particles, times this,
# is the standard deviation of Gaussian noise.
_MAD_TO_SIGMA = 1.482602218505602
# Median of a standard normal cut off at +2: what is left of the level's bias after particles were cut away.
_CUT_SIGMA = 2.0
_CUT_MEDIAN = -0.028522
_POLARITY_WIDTH_PX = 3.0
_SIDES: dict[str, float] = {"dark": -1.0, "bright": 1.0}


def reference(
    frames: Sequence[tuple[int, NDArray[Any]]],
    options: PrepareOptions,
    polarity: Literal["auto", "dark", "bright"] = "auto",
) -> Reference:
    """Take the whole-movie quantities from the first usable frames.

    Parameters
    ----------
    frames : sequence of (int, ndarray of shape (H, W))
        Index and raw counts of the first `prepare.reference_frames` usable frames.
    options : PrepareOptions
        Crop, binning and median as they will be applied to every frame.
    polarity : {"auto", "dark", "bright"}
        ``"auto"`` compares, on the flattened and smoothed frames, how much contrast stands out of the noise on either
        side.

    Returns
    -------
    Reference
        `level` and `scale` are medians over the frames, in counts per camera pixel.

    Raises
    ------
    CommandError
        The crop lies outside the frame.

    Notes
    -----
    Without any usable frame (a movie of bad frames still has to be accounted for) the values are neutral: level 0,
    scale 1, dark particles.
    """
    if not frames:
        neutral: Literal["dark", "bright"] = "bright" if polarity == "bright" else "dark"
        return Reference(polarity=neutral, level=0.0, scale=1.0, saturation=float(np.finfo(np.float32).max))
    images = [_binned(image[np.newaxis], options, "cpu", 0.0)[0] for _, image in frames]
    chosen = polarity if polarity != "auto" else _polarity(images)
    dtype = frames[0][1].dtype
    step = _count_step(dtype, options)
    levels = [_level_and_scale(_sample(image, step), _SIDES[chosen]) for image in images]
    most = np.iinfo(dtype).max if dtype.kind in "iu" else np.finfo(dtype).max
    return Reference(
        polarity=chosen,
        level=float(np.median([level for level, _ in levels])),
        scale=float(np.median([scale for _, scale in levels])),
        saturation=float(most),
        frames=tuple(int(index) for index, _ in frames),
    )


def prepare(
    images: NDArray[Any], options: PrepareOptions, reference: Reference, device: str | torch.device = "cpu"
) -> Prepared:
    """Crop, clean, bin and normalise a batch of frames.

    Parameters
    ----------
    images : ndarray of shape (B, H, W), camera dtype
        Raw counts (uint8/16/32, int8/16/32, float32/64); never written to.
    options : PrepareOptions
    reference : Reference
        Its polarity decides the sign; its level only keeps 32-bit counts exact.
    device : str
        Where the model will run.

    Returns
    -------
    Prepared
        `input` float32 (B, h, w): (counts - level) / noise of each frame by itself, particles positive. `counts` (B,
        h, w): sums over bin×bin camera pixels, an exact integer for integer cameras; the camera's own array where
        nothing is binned. Values that are not finite become 0 (the level) in `input`.

    Raises
    ------
    CommandError
        The crop lies outside the frame or is smaller than one binned pixel.
    """
    import torch

    offset = reference.level if images.dtype.itemsize >= 4 else 0.0
    if str(device) != "cpu" and images.dtype.itemsize < 4 and images.dtype.isnative:
        raw = uploaded(_cropped(images, options), device)
        image, counts = _averaged(_as_float(raw), options), summed(raw, options.bin)
    else:
        image, counts = _binned(images, options, device, offset), _counts(images, options, device)
    sign, step = _SIDES[reference.polarity], _count_step(images.dtype, options)
    for frame in image:
        level, scale = _level_and_scale(_sample(frame, step), sign)
        frame.sub_(level).mul_(sign / scale)
    if images.dtype.kind == "f":
        torch.nan_to_num_(image, nan=0.0, posinf=0.0, neginf=0.0)
    y0, x0, _, _ = _region(images.shape[-2:], options)
    return Prepared(input=image, counts=counts, origin=(y0, x0), bin=options.bin)


def _region(shape: tuple[int, ...], options: PrepareOptions) -> tuple[int, int, int, int]:
    """Return the analysed region (y0, x0, y1, x1) in camera px: the crop, cut to a whole number of binned pixels."""
    height, width = shape
    y0, x0, y1, x1 = options.crop or (0, 0, height, width)
    if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
        raise CommandError(
            f"prepare.crop = {options.crop} does not lie inside a frame of {height}×{width} px",
            f"give (y0, x0, y1, x1) with 0 ≤ y0 < y1 ≤ {height} and 0 ≤ x0 < x1 ≤ {width}",
        )
    rows, columns = (y1 - y0) // options.bin, (x1 - x0) // options.bin
    if not rows or not columns:
        raise CommandError(
            f"prepare.bin = {options.bin} leaves nothing of a region of {y1 - y0}×{x1 - x0} px",
            "choose a smaller prepare.bin or a larger prepare.crop",
        )
    return y0, x0, y0 + rows * options.bin, x0 + columns * options.bin


def _cropped(images: NDArray[Any], options: PrepareOptions) -> NDArray[Any]:
    y0, x0, y1, x1 = _region(images.shape[-2:], options)
    return images[:, y0:y1, x0:x1]


def _binned(images: NDArray[Any], options: PrepareOptions, device: str | torch.device, offset: float) -> torch.Tensor:
    """Return float32 (B, h, w): counts - offset, median-filtered where asked for, averaged over bin×bin pixels."""
    import torch

    cropped = _cropped(images, options)
    # 32-bit counts exceed float32's 24 bits: take the level away while they are still exact.
    exact = cropped.astype(np.float64) - offset if images.dtype.itemsize >= 4 else cropped
    image = torch.from_numpy(np.array(exact, dtype=np.float32, order="C")).to(device)
    return _averaged(image, options, finite=images.dtype.kind in "iu")


def _averaged(image: torch.Tensor, options: PrepareOptions, *, finite: bool = True) -> torch.Tensor:
    """Take hot pixels away where asked for, and average over bin×bin pixels; `image` may be written to."""
    from torch.nn import functional

    from insitu.models.inputs import median3

    if options.hot_pixels == "median":
        loops = image.device.type == "cpu" and finite and compiled()
        image = _median_on_cpu(image) if loops else median3(image)
    return functional.avg_pool2d(image.unsqueeze(1), options.bin).squeeze(1) if options.bin > 1 else image


def uploaded(images: NDArray[Any], device: str | torch.device) -> torch.Tensor:
    """Return frames of 8 or 16 bit on the device in the camera's own dtype: half or a quarter of a float's bytes.

    From a pinned slot (`pinned`) the copy runs on the current stream while the host goes on; the slot must not be
    written to before that stream is done.
    """
    import torch

    whole = images if images.flags.c_contiguous and images.flags.writeable else np.array(images, order="C")
    return torch.from_numpy(whole).to(device, non_blocking=True)


def _as_float(raw: torch.Tensor) -> torch.Tensor:
    import torch

    return raw.to(torch.float32) if raw.dtype.is_floating_point else _as_int(raw).to(torch.float32)


def _as_int(raw: torch.Tensor) -> torch.Tensor:
    """Return int32; torch has few operations for uint16, so its bits are read as signed and masked."""
    import torch

    if raw.dtype == torch.uint16:
        return raw.view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF)
    return raw.to(torch.int32)


def summed(raw: torch.Tensor, side: int) -> torch.Tensor:
    """Sum counts of 8 or 16 bit, on their device, over side×side pixels in a type that cannot overflow."""
    import torch

    # 16×16 px of 65 535 stay below 2³¹
    wide = raw.to(torch.float64) if raw.dtype.is_floating_point else _as_int(raw)
    if side == 1:
        return wide
    frames, height, width = wide.shape
    blocks = wide.reshape(frames, height // side, side, width // side, side)
    return blocks.sum(dim=(2, 4), dtype=torch.float64 if raw.dtype.is_floating_point else torch.int64)


def slots(device: str) -> Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]:
    """Return what makes the slots that frames are read into: page-locked memory where they go to a GPU."""
    return pinned if device.startswith("cuda") else np.empty


def pinned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an empty array in page-locked memory, from which a GPU copies without the processor's help."""
    import torch

    size = int(np.prod(shape)) * dtype.itemsize
    locked: NDArray[Any] = torch.empty(size, dtype=torch.uint8, pin_memory=torch.cuda.is_available()).numpy()
    return locked.view(dtype).reshape(shape)


def _counts(images: NDArray[Any], options: PrepareOptions, device: str | torch.device) -> Any:  # noqa: ANN401 - array or tensor
    """Sum raw counts over bin×bin pixels in a type that cannot overflow: int64 (float64 for float cameras)."""
    cropped, side = _cropped(images, options), options.bin
    if side > 1:
        frames, height, width = cropped.shape
        blocks = cropped.reshape(frames, height // side, side, width // side, side)
        cropped = blocks.sum(axis=(2, 4), dtype=np.float64 if images.dtype.kind == "f" else np.int64)
    if device == "cpu":
        return cropped
    import torch

    wide = np.float64 if cropped.dtype.kind == "f" else np.int64 if cropped.dtype.itemsize >= 4 else np.int32
    return torch.from_numpy(np.array(cropped, dtype=wide, order="C")).to(device)


def _median_on_cpu(images: torch.Tensor) -> torch.Tensor:
    """Do what `median3` does, equal bit for bit, in one pass over each frame."""
    import torch

    from insitu.pixels import median

    cleaned = torch.empty_like(images)
    for image, out in zip(images.numpy(), cleaned.numpy(), strict=True):
        median.median3(image, out)
    return cleaned


def _count_step(dtype: np.dtype[Any], options: PrepareOptions) -> float:
    """Return the distance between neighbouring values of the (binned) image: 1 / bin² counts, 0 for float cameras."""
    return 1.0 / options.bin**2 if dtype.kind in "iu" else 0.0


def _sample(image: torch.Tensor, step: float) -> NDArray[np.float64]:
    """Return a regular subsample of the finite pixels of one frame; the same pixels whatever the batch.

    Integers are spread evenly over their step (by the golden ratio, not by chance), or medians of a camera with a
    noise of one or two counts would jump by whole counts.
    """
    stride = max(1, int(np.sqrt(image.numel() / _SAMPLE_PX)))
    values: NDArray[np.float64] = image[::stride, ::stride].cpu().numpy().astype(np.float64).ravel()
    constant = values.min(initial=np.inf) == values.max(initial=-np.inf)
    if step and not constant:
        values += step * _evenly_spread(values.size)
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    return values if values.size else np.zeros(1, np.float64)


@cache
def _evenly_spread(size: int) -> NDArray[np.float64]:
    return np.asarray((np.arange(size) * 0.6180339887498949) % 1.0 - 0.5, np.float64)


def _polarity(images: Sequence[torch.Tensor]) -> Literal["dark", "bright"]:
    """Decide on which side of the support the contrast lies: by the sign of the third moment of the flattened frames.

    Each frame is flattened by a surface that neither side can bend, smoothed, and put in units of its robust spread.
    The third moment weighs what stands far out; it is cut at ten, so that a few dirty pixels do not decide. Fresnel
    fringes make a rim of the other sign, always weaker than the particles.
    """
    from insitu.models.background import background, smooth

    moment = 0.0
    for image in images:
        finite = image.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        flat = smooth(finite - background(finite, symmetric=True), _POLARITY_WIDTH_PX).numpy().astype(np.float64)
        flat -= np.median(flat)
        spread = _MAD_TO_SIGMA * float(np.median(np.abs(flat))) or 1.0
        moment += float((np.clip(flat / spread, -10.0, 10.0) ** 3).mean())
    return "bright" if moment > 0.0 else "dark"


def _level_and_scale(sample: NDArray[np.float64], side: float) -> tuple[float, float]:
    """Return the support's level and noise, particles lying on `side` (+1 above, -1 below) of it.

    The noise is measured on the side without particles, and pixels more than two of it on the particles' side are cut
    away until the level stands still, so that particles may cover a third of the field. A constant frame has scale 1.
    """
    values = ascending(side * sample).astype(np.float64)  # every median is now in the middle of the first so many
    if values[0] == values[-1]:
        return float(sample[0]), 1.0
    level, scale = _middle(values, len(values)), 1.0
    for _ in range(12):
        spread = _MAD_TO_SIGMA * (level - _middle(values, int(np.searchsorted(values, level, side="right"))))
        scale = spread if spread > 0 else float(np.std(values)) or 1.0
        near = int(np.searchsorted(values, level + _CUT_SIGMA * scale, side="right"))
        moved = _middle(values, near) - _CUT_MEDIAN * scale
        if abs(moved - level) < 1e-3 * scale:
            break
        level = moved
    return side * level, scale


def _middle(values: NDArray[np.float64], count: int) -> float:
    """Return the median of the first `count` of sorted values."""
    return 0.5 * float(values[(count - 1) // 2] + values[count // 2])
