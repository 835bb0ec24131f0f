"""What a network is shown: the named ways to condition a frame, the same in training and in use.

``support``
    Flattened, the support at 0 with unit noise, clipped; from prepared frames (particles positive).
``asinh``
    Flattened, the support at 0, in units of the noise over short distances, logarithmic beyond a few of these: rough
    supports do not count as noise, and differences within very clear particles stay visible.
``contrast``
    As it is lit, at mean 0 and spread 1, both taken without what lies far outside the frame's own range: hot pixels
    count no more than white ones. For networks that judge level and contrast by themselves over their field.
``standard``
    Mean 0, standard deviation 1 of each image (Sytwu 2022).
``minmax``
    (x - min) / (max - min) of each image.
``maximum``
    x / max of each image, from raw counts (Groschner 2021, after a 3×3 median); 16-bit counts stay as fine as they are.

A card names one of them, or gives a table: ``{"kind": "maximum", "frames": "counts", "median": true, "blur_px": 0}``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.errors import InputError
from insitu.models.background import flattened, gaussian_weights, smooth, support
from insitu.pixels import ascending

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from insitu.types import Prepared

Kind = Literal["support", "asinh", "contrast", "standard", "minmax", "maximum"]
KINDS: tuple[Kind, ...] = ("support", "asinh", "contrast", "standard", "minmax", "maximum")
# In units of the support's noise. Particles beyond are as clear as they can be; the clip keeps hot pixels and very
# clean images inside the range that training has seen.
CLIP = (-8.0, 24.0)
# `asinh` is linear up to so many times the noise, which is measured over short distances. A support that is cut off at
# black or white has no noise: the least is this share of the image's own spread.
_LINEAR = 3.0
_LEAST_NOISE = 0.005
_LOCAL_PX = 4.0
# `contrast`: the range holds all pixels but these, and is widened on either side by half of itself before it cuts; what
# a few bright particles on an empty support reach is kept up to so many times the spread.
_RANGE_QUANTILES = (0.005, 0.995)
_WIDER = 0.5
_MOST_CONTRAST = 12.0
_SAMPLE_PX = 32_768


@dataclass(frozen=True, slots=True)
class Conditioning:
    """How a frame becomes the image that a network sees.

    Parameters
    ----------
    kind : {"support", "asinh", "contrast", "standard", "minmax", "maximum"}
    frames : {"prepared", "counts"}
        Prepared frames have particles positive whatever their contrast; counts are as the camera gave them, with the
        contrast the network was trained on.
    median : bool
        3×3 median first.
    blur_px : float
        σ of a Gaussian after the median; 0 = none.
    """

    kind: Kind = "support"
    frames: Literal["prepared", "counts"] = "prepared"
    median: bool = False
    blur_px: float = 0.0

    def as_card(self) -> str | dict[str, Any]:
        """Return what a card says: the name alone where everything else follows from it."""
        return self.kind if self == of_kind(self.kind) else asdict(self)


def of_kind(kind: str) -> Conditioning:
    """Return a conditioning by its name, the rest as it was published.

    Raises
    ------
    InputError
        There is none of this name.
    """
    if kind not in KINDS:
        raise InputError(f"no input '{kind}'", f"choose input = {', '.join(KINDS)}")
    if kind == "maximum":
        return Conditioning("maximum", frames="counts", median=True)
    return Conditioning(kind)


def conditioning(said: str | Mapping[str, Any] | Conditioning | None) -> Conditioning:
    """Return the conditioning that a card or preset asks for.

    Parameters
    ----------
    said : str, mapping or None
        The entry ``input``: a name, a table, or nothing (``support``). The first shipped cards hold a sentence that
        begins with "flattened"; it means ``support``.

    Raises
    ------
    InputError
        An unknown name, key or value.
    """
    if isinstance(said, Conditioning):
        return said
    if said is None or (isinstance(said, str) and said.startswith("flattened")):
        return Conditioning()
    table = {"kind": said} if isinstance(said, str) else dict(said)
    known = [f.name for f in fields(Conditioning)]
    for key in table:
        if key not in known:
            raise InputError(f"input.{key}: no such entry", f"an input has: {', '.join(known)}")
    base = of_kind(str(table.get("kind", "support")))
    full = {**asdict(base), **table}
    if full["frames"] not in ("prepared", "counts"):
        raise InputError(f"input.frames = {full['frames']!r}", "choose frames = prepared or counts")
    try:
        blur, median = float(full["blur_px"]), bool(full["median"])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"input.blur_px = {full['blur_px']!r} is not a number", "give a width in px, 0 for none"
        ) from error
    if not 0.0 <= blur < 100.0:
        raise InputError(f"input.blur_px = {blur:g} is no width", "give 0 (none) to 100 px")
    return Conditioning(base.kind, full["frames"], median, blur)


def seen(prepared: Prepared, frames: str = "prepared") -> torch.Tensor:
    """Return the frames that a model sees before its conditioning; (B, H, W) float32 on the model's device.

    Parameters
    ----------
    prepared : Prepared
    frames : {"prepared", "counts"}
        Counts are averaged over a bin; what is not finite becomes 0.
    """
    import torch

    if frames != "counts":
        images: torch.Tensor = prepared.input
        return images
    given = prepared.counts
    values = torch.from_numpy(np.array(given, np.float32)) if isinstance(given, np.ndarray) else given.float()
    return torch.nan_to_num(values.to(prepared.input.device) / prepared.bin**2, nan=0.0, posinf=0.0, neginf=0.0)


def condition(image: torch.Tensor, how: Conditioning | None = None) -> torch.Tensor:
    """Return what the network sees of one frame.

    Parameters
    ----------
    image : torch.Tensor of shape (H, W), float32
        A prepared frame, or raw counts where ``how.frames`` says so.
    how : Conditioning, optional
        ``support`` by default.

    Returns
    -------
    torch.Tensor of shape (H, W), float32
        A constant frame gives zeros (``maximum``: ones).
    """
    how = how or Conditioning()
    if how.median:
        image = median3(image)
    if how.blur_px:
        image = smooth(image, how.blur_px)
    if how.kind in ("support", "asinh"):
        return _in_noise(image, logarithmic=how.kind == "asinh")
    if how.kind == "contrast":
        low, high, mean, spread = _own_range(image)
        return ((image.clamp(low, high) - mean) / spread).clamp_(-_MOST_CONTRAST, _MOST_CONTRAST)
    if how.kind == "maximum":
        most = float(image.max())
        return image / most if most > 0.0 else image * 0.0
    low, unit = _level_and_unit(image, how.kind)
    return (image - low) / unit


def _in_noise(image: torch.Tensor, *, logarithmic: bool) -> torch.Tensor:
    """Flatten the image and put its support at 0 with unit noise; clip, or compress, what stands far out of it."""
    flat = flattened(image)
    level, noise = support(flat)
    if not logarithmic:
        return ((flat - level) / noise).clamp(*CLIP)
    flat = flat - level
    least = _LEAST_NOISE * float(flat.square().mean().sqrt()) or 1.0
    return (flat / (_LINEAR * max(local_noise(flat), least))).asinh_().mul_(_LINEAR)


def local_noise(image: torch.Tensor) -> float:
    """Return the noise of an image (H, W), measured along every fourth row against a Gaussian of `_LOCAL_PX`.

    Slow changes of the support do not count, and outlines of particles are too few to: the median absolute deviation.
    """
    from torch.nn import functional

    weights = gaussian_weights(_LOCAL_PX)
    rows, reach = image[::4], len(weights) - 1
    width = rows.shape[1]
    wide = functional.pad(rows[None], (reach, reach), mode="replicate")[0]
    mean = rows * weights[0]
    for i in range(1, reach + 1):
        mean = mean + weights[i] * (wide[:, reach + i : reach + i + width] + wide[:, reach - i : reach - i + width])
    rest = rows - mean
    return 1.4826 * float((rest - rest.median()).abs().median())


def _own_range(image: torch.Tensor) -> tuple[float, float, float, float]:
    """Return the range of a frame (H, W), and mean and spread of what is cut to it, from a regular sample of pixels."""
    stride = max(1, int((image.numel() / _SAMPLE_PX) ** 0.5))
    values = ascending(image[::stride, ::stride].cpu().numpy().ravel()).astype(np.float64)
    first, last = (float(values[round(q * (len(values) - 1))]) for q in _RANGE_QUANTILES)
    low, high = first - _WIDER * (last - first), last + _WIDER * (last - first)
    cut = np.clip(values, low, high)
    return low, high, float(cut.mean()), float(cut.std()) or 1.0


def _level_and_unit(image: torch.Tensor, kind: Kind) -> tuple[float, float]:
    if kind == "minmax":
        low, high = float(image.min()), float(image.max())
        return low, (high - low) or 1.0
    # float32 sums of millions of counts lose digits
    wide = image.double()
    mean = float(wide.mean())
    spread = float((wide - mean).square().mean().sqrt())
    return mean, spread or 1.0


def median3(images: torch.Tensor) -> torch.Tensor:
    """Median of each pixel's 3×3 neighbourhood, borders repeated; (…, H, W) → (…, H, W).

    The middle of nine is the middle of (largest of the row minima, middle of the row medians, smallest of the row
    maxima), the usual sorting network; minima and maxima alone, so that it is exact and the same on every device.
    """
    import torch
    from torch.nn import functional

    height, width = images.shape[-2:]
    stack = images.reshape(-1, 1, height, width)
    wide = functional.pad(stack, (1, 1, 1, 1), mode="replicate").squeeze(1)
    low, middle, high = _sorted3(*(wide[:, :, i : i + width] for i in range(3)))
    rows = [slice(i, i + height) for i in range(3)]
    lows = torch.maximum(torch.maximum(low[:, rows[0]], low[:, rows[1]]), low[:, rows[2]])
    highs = torch.minimum(torch.minimum(high[:, rows[0]], high[:, rows[1]]), high[:, rows[2]])
    _, centre, _ = _sorted3(*(middle[:, row] for row in rows))
    return _sorted3(lows, centre, highs)[1].reshape(images.shape)


def _sorted3(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    low, high = a.minimum(b), a.maximum(b)
    rest = high.minimum(c)
    return low.minimum(rest), low.maximum(rest), high.maximum(c)
