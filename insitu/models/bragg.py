"""Bragg-peak filtering: particles are where lattice fringes are. No weights, for images that resolve a lattice.

The reference that Groschner et al. 2021 (doi:10.1017/S1431927621000386) compare their network with, made automatic and
local; they filter a 512 px image as a whole, pick the good peaks by hand and tune the thresholds for each image.

1. The frame is cut into overlapping windows of `_SIDE_PX`; Fourier transform, logarithm of the intensity.
2. Its smooth part is taken away: a median over the neighbourhood and one over each ring (the transfer function draws
   rings), whichever is larger.
3. What stands out is averaged over the size of a peak and cut at `_PEAK_SIGMA` times its own scatter: the Bragg peaks.
   The centre, where the shapes of the particles themselves lie, is left out.
4. The peaks alone are transformed back and the windows added up: the fringes, whose local energy is high in particles.
5. The outline is where their amplitude crosses a share of the largest nearby, and stands out of the noise that the same
   filter lets through.

A frame without a lattice has no peak and gives no particle. Outlines are soft, by about 8 px; two crystals in one
window of which one shows fringes half as strong as the other may be taken for the stronger one alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from insitu.models.background import smooth
from insitu.models.inputs import median3

if TYPE_CHECKING:
    import torch

_SIDE_PX = 256
# Fringes that are looked for, in px: finer ones are noise, coarser ones the shapes of particles.
_SHORTEST_PX = 2.2
_LONGEST_PX = 16.0
# In bins of a window's spectrum: blocks whose medians are taken, and boxes (applied twice) as wide as peaks may be.
_BLOCK = 8
_BOXES = (3, 5, 9)
_PEAK_SIGMA = 6.0
_SMOOTH_PX = 5.0
_NEAR_PX = 32
# Smoothed energy of noise in units of its mean: one pixel in a thousand exceeds 4.2 where a peak is 16 bins wide.
_OVER_NOISE = 4.0
_SURE = 2.0
_MAD_TO_SIGMA = 1.482602218505602
_LOG_2 = 0.6931471805599453


class Bragg:
    """Lattice fringes by Bragg-peak filtering; no weights (`Model`).

    Parameters
    ----------
    share : float
        Of the largest fringe amplitude nearby at which the outline lies.
    """

    name = "bragg"
    threshold = 0.5
    # a piece needs a pixel whose energy is `_SURE` times that of the outline
    seed = _SURE**2 / (1.0 + _SURE**2)
    multiple = 1

    def __init__(self, share: float = 0.4) -> None:
        self.share = share

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Particle probability of every pixel.

        Parameters
        ----------
        images : torch.Tensor of shape (B, H, W), float32
            Normalised frames.

        Returns
        -------
        torch.Tensor of shape (B, H, W), float32, 0…1
            Each frame by itself; 0.5 is the outline.
        """
        import torch

        return torch.stack([self._probability(image) for image in images])

    def _probability(self, image: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn import functional

        energy, noise = fringe_energy(image)
        side = 2 * _NEAR_PX + 1
        nearby = functional.max_pool2d(energy[None, None], (side, 1), stride=1, padding=(_NEAR_PX, 0))
        nearby = functional.max_pool2d(nearby, (1, side), stride=1, padding=(0, _NEAR_PX))[0, 0]
        cut = torch.maximum(self.share**2 * nearby, _OVER_NOISE * noise)
        ratio = torch.where(noise > 0.0, energy / cut.clamp(min=1e-30), 0.0)
        return ratio**2 / (1.0 + ratio**2)


def fringe_energy(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the local energy of the lattice fringes of a frame (H, W), and what noise alone would give; both (H, W).

    Both are 0 where no window has a Bragg peak.
    """
    import torch

    windows, side, hop = _windows(image)
    weight = _hann(side, image)
    spectrum = torch.fft.rfft2((windows - windows.mean(dim=(2, 3), keepdim=True)) * weight)
    log = torch.log(spectrum.abs().square() + 1e-12)
    log = torch.fft.fftshift(log, dim=2).flatten(0, 1)
    background = _background(log)
    peaks = torch.fft.ifftshift(_peaks(log, background), dim=1)
    # the half plane of a real image's spectrum, twice, is the spectrum of its analytic signal
    whole = torch.zeros((*windows.shape[:2], side, side), dtype=spectrum.dtype, device=image.device)
    whole[..., : side // 2 + 1] = 2.0 * spectrum * peaks.unflatten(0, windows.shape[:2])
    fringes = _added(torch.fft.ifft2(whole), image.shape, hop)
    power = torch.exp(torch.fft.ifftshift(background, dim=1)) / _LOG_2  # a median is log 2 of the mean
    let_through = (peaks.square() * power).sum(dim=(1, 2)) * 4.0 / (side**4 * weight.square().mean())
    # windows that overlap hold the same noise: amplitudes add up
    noise = _added(let_through.sqrt().unflatten(0, windows.shape[:2])[..., None, None] * weight, image.shape, hop)
    return smooth(fringes.abs().square(), _SMOOTH_PX).clamp(min=0.0), noise.square()


def _windows(image: torch.Tensor) -> tuple[torch.Tensor, int, int]:
    """Cut a frame into square windows that overlap by half; (rows, columns, side, side), the side and the step."""
    from torch.nn import functional

    height, width = image.shape
    side = max(16, min(_SIDE_PX, *(n // 8 * 8 for n in image.shape)))
    hop = side // 2
    pad = (hop, hop + -width % hop, hop, hop + -height % hop)
    reflect = min(height, width) > max(pad)
    wide = functional.pad(image[None, None], pad, mode="reflect" if reflect else "replicate")[0, 0]
    return wide.unfold(0, side, hop).unfold(1, side, hop), side, hop


def _hann(side: int, like: torch.Tensor) -> torch.Tensor:
    """Return the window (side, side) whose copies, half a side apart, add up to 1."""
    import torch

    one = torch.hann_window(side, periodic=True, device=like.device)
    return one[:, None] * one[None, :]


def _added(windows: torch.Tensor, shape: torch.Size, hop: int) -> torch.Tensor:
    """Add windows up where they were cut; (rows, columns, side, side) → (H, W)."""
    import torch

    rows, columns, side, _ = windows.shape
    out = torch.zeros(((rows + 1) * hop, (columns + 1) * hop), dtype=windows.dtype, device=windows.device)
    for y in range(rows):  # in this order on every device: sums do not depend on it
        for x in range(columns):
            out[y * hop : y * hop + side, x * hop : x * hop + side] += windows[y, x]
    return out[hop : hop + shape[0], hop : hop + shape[1]]


def _peaks(log: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Return a mask of the Bragg peaks with soft edges; (N, S, S/2 + 1), float32 0…1."""
    import torch
    from torch.nn import functional

    radius = _radius(log)
    usable = (radius >= 1 / _LONGEST_PX) & (radius <= 1 / _SHORTEST_PX)
    excess = (log - background)[:, None]
    found = torch.zeros_like(log, dtype=torch.bool)
    for box in _BOXES:
        wide = excess
        for _ in range(2):
            wide = functional.avg_pool2d(wide, box, stride=1, padding=box // 2, count_include_pad=False)
        values = wide[:, 0, usable]
        middle = values.median(dim=1, keepdim=True).values
        scatter = _MAD_TO_SIGMA * (values - middle).abs().median(dim=1, keepdim=True).values
        high = torch.zeros_like(found)
        high[:, usable] = values > middle + _PEAK_SIGMA * scatter
        found |= high
    grown = functional.max_pool2d(found[:, None].float(), 5, stride=1, padding=2)
    return functional.avg_pool2d(grown, 5, stride=1, padding=2)[:, 0]


def _radius(log: torch.Tensor) -> torch.Tensor:
    """Return the distance from the centre in cycles per px; (S, S/2 + 1)."""
    import torch

    side = log.shape[1]
    y = torch.fft.fftshift(torch.fft.fftfreq(side, device=log.device))
    return torch.hypot(y[:, None], torch.fft.rfftfreq(side, device=log.device)[None, :])


def _background(log: torch.Tensor) -> torch.Tensor:
    """Return what is no peak in the logarithm of each window's intensity; (N, S, S/2 + 1)."""
    import torch
    from torch.nn import functional

    rows, columns = log.shape[1:]
    wide = functional.pad(log[:, None], (0, -columns % _BLOCK, 0, 0), mode="replicate")[:, 0]
    blocks = wide.unfold(1, _BLOCK, _BLOCK).unfold(2, _BLOCK, _BLOCK).flatten(3)
    medians = median3(blocks.median(dim=3).values)
    around = functional.interpolate(medians[:, None], size=wide.shape[1:], mode="bilinear", align_corners=False)
    ring = (_radius(log) * rows / 2).round().long().flatten()  # rings two bins wide
    order = torch.argsort(ring, stable=True)
    counts = torch.bincount(ring).tolist()
    flat = log.flatten(1)[:, order]
    parts = torch.split(flat, counts, dim=1)
    on_ring = torch.stack([part.median(dim=1).values for part in parts], dim=1)
    return torch.maximum(around[:, 0, :, :columns], on_ring[:, ring].reshape(-1, rows, columns))
