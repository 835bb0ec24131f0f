"""No weights: flatten, smooth as little as the noise allows, cut at a fixed share of the particles' contrast.

1. A cubic illumination surface that particles cannot bend is taken away, and the noise made even (`flattened`).
2. The frame is smoothed by Gaussians of rising width; the noise at each width is measured on the support.
3. What stands out of the noise at any width is a particle: an empty support yields nothing. What is left of slow
   changes of the support is then averaged between the particles, taken away, and the search repeated.
4. The contrast of each particle is measured; its outline is where the frame crosses a share of it (`OUTLINE_SHARE`),
   at the smallest width at which this level is `EDGE_SIGMA` times the noise. Where a fringe follows the edges, the
   share is one of the step that is seen, from the fringe up (`insitu.models.fringes`).

The probability is that of a Gaussian error around this crossing, so 0.5 is the decision. Everything is per frame.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from insitu.models import fringes
from insitu.models.background import border_noise, flattened, smooth, support
from insitu.pixels import compiled

if TYPE_CHECKING:
    import torch

    Ladder = list[tuple[torch.Tensor, float]]

# Widths in px rise by √2; beyond 5.7 px the outline would be softer than the particles this method is for.
WIDTHS_PX = (1.0, 1.4142, 2.0, 2.8284, 4.0, 5.6569)
# Fewer independent places exist at larger widths, and few electrons a pixel make the noise skewed at small ones.
DETECT_SIGMA = (6.0, 5.8, 5.5, 5.2, 5.0, 5.0)
# Half the height is where the edge of a blurred plate lies; the rim of a sphere lies lower. At this value the diameter
# comes out 1.5 % large on hand labels of gold crops and 3–4 % small on simulated caps; lower values lose more there
# than they gain here.
OUTLINE_SHARE = 0.45
EDGE_SIGMA = 3.5
FIRST_SAMPLE_PX = 8192  # the first search only tells where the support lies free
CONTRAST_WIDTH = 2  # contrast is read at the third width, 2 px
# A particle is cut at this share of its own contrast at least and at most.
OWN_SHARE = (1 / 3, 0.6)
_CELL_PX = 4
_SUPPORT_CELL_PX = 8
SUPPORT_WIDTH_PX = 48.0
# lets the correction of slow changes fade inside a particle wider than the average reaches
FADING = 0.1
# Logistic curve closest to the normal distribution function (largest difference 0.0095).
LOGISTIC_PER_SIGMA = 1.702
# Contrasts are summed as integers of this size, so that the order of summation (threads, CUDA atomics) changes nothing.
FIXED_POINT = 1 << 16


class Classical:
    """Background-flattened, smoothed, thresholded; no weights (`Model`).

    A piece whose largest probability stays below `seed` is a splinter of a faint border, not a particle: 2.5 standard
    deviations above the outline's level are less than any detected particle has.
    """

    name = "classical"
    threshold = 0.5
    seed = 0.985
    multiple = 1

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Particle probability of every pixel.

        Parameters
        ----------
        images : torch.Tensor of shape (B, H, W), float32
            Normalised frames, particles positive.

        Returns
        -------
        torch.Tensor of shape (B, H, W), float32, 0…1
            Each frame by itself: the batch changes nothing.
        """
        import torch

        return torch.stack([_probability(image) for image in images])


def _probability(image: torch.Tensor) -> torch.Tensor:
    import torch
    from torch.nn import functional

    if image.device.type == "cpu" and compiled():
        from insitu.models import classical_loops

        return torch.from_numpy(classical_loops.probability(flattened(image).numpy()))
    ladder = _ladder(flattened(image))
    ladder = _levelled(ladder, _detected(ladder))
    detected = _detected(ladder)
    out = torch.zeros(image.numel(), device=image.device)
    if not bool(detected.any()):
        return out.reshape(image.shape)
    cells = functional.max_pool2d(detected[None, None].float(), _CELL_PX, ceil_mode=True)[0, 0] > 0
    label = cell_components(cells)
    contrast = _contrast(ladder[CONTRAST_WIDTH][0], detected, cells, label).flatten()
    level = _outline_level(contrast, float(contrast[detected.flatten()].median()))
    depth = fringes.depth(
        *fringes.outside(ladder[fringes.WIDTH][0], *(one.reshape(image.shape) for one in (level, contrast)))
    )
    near = level.nonzero().squeeze(1)  # pixels of particles and those around; the rest costs nothing
    contrast, level = contrast[near], level[near]
    lowered = level - depth * (contrast - level)  # beside a fringe noise does not reach it
    score = torch.full_like(level, -torch.inf)
    for smoothed, noise in reversed(ladder):
        usable = level >= EDGE_SIGMA * noise
        score = torch.where(usable, (smoothed.flatten()[near] - lowered) / noise, score)
    faint = torch.isinf(score)
    if bool(faint.any()):
        place = _everywhere(torch.where(cells, label + 1, 0).float(), image.shape).flatten()[near[faint]].long() - 1
        score[faint] = _faint_score(
            ladder, label.flatten(), cells, pixel=near[faint], level=level[faint], particle=place
        )
    out[near] = torch.sigmoid(LOGISTIC_PER_SIGMA * score)
    return out.reshape(image.shape)


def _faint_score(
    ladder: Ladder,
    label: torch.Tensor,
    cells: torch.Tensor,
    *,
    pixel: torch.Tensor,
    level: torch.Tensor,
    particle: torch.Tensor,
) -> torch.Tensor:
    """Score pixels whose level drowns in the noise at every width, at the width that shows their particle best.

    There the level is at most half of the particle's height, which a small particle has lost by smoothing.
    """
    import torch
    from torch.nn import functional

    heights = []
    for smoothed, noise in ladder:
        most = functional.max_pool2d(smoothed[None, None], _CELL_PX, ceil_mode=True)[0, 0]
        height = torch.zeros(label.numel(), device=label.device)
        heights.append(height.scatter_reduce_(0, label, torch.where(cells, most / noise, 0.0).flatten(), "amax"))
    most, width = torch.stack(heights).max(dim=0)
    score = torch.zeros_like(level)
    for k, (smoothed, noise) in enumerate(ladder):
        cut = level.minimum(0.5 * noise * most[particle])
        score = torch.where(width[particle] == k, (smoothed.flatten()[pixel] - cut) / noise, score)
    return score


def _everywhere(cells: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Give every pixel the value of its cell (h, w), or the largest of the cells around it; (H, W)."""
    from torch.nn import functional

    around = functional.max_pool2d(cells[None, None], 3, stride=1, padding=1)
    full = functional.interpolate(around, scale_factor=_CELL_PX, mode="nearest")[0, 0]
    return full[: shape[0], : shape[1]]


def _ladder(flat: torch.Tensor) -> Ladder:
    """Return the frame (H, W) smoothed at every width with its support at 0, and the support's noise there."""
    ladder, image = [], flat
    for before, width in pairwise((0.0, *WIDTHS_PX)):
        image = smooth(image, (width**2 - before**2) ** 0.5)
        level, noise = support(image, sample_px=FIRST_SAMPLE_PX)
        ladder.append((image - level, noise))
    return ladder


def _detected(ladder: Ladder) -> torch.Tensor:
    """Return where any width stands out of the noise; bool (H, W)."""
    import torch

    found = torch.zeros_like(ladder[0][0], dtype=torch.bool)
    for (smoothed, noise), sigma, width in zip(ladder, DETECT_SIGMA, WIDTHS_PX, strict=True):
        found |= smoothed > (sigma * noise) * border_noise(smoothed, width)
    return found


def _levelled(ladder: Ladder, detected: torch.Tensor) -> Ladder:
    """Take away the slow changes of the support, averaged between particles over `SUPPORT_WIDTH_PX`."""
    from torch.nn import functional

    height, width = detected.shape
    taken = functional.max_pool2d(detected[None, None].float(), _SUPPORT_CELL_PX, ceil_mode=True)
    free = 1.0 - functional.max_pool2d(taken, 3, stride=1, padding=1)[0, 0]
    cells = functional.avg_pool2d(ladder[0][0][None, None], _SUPPORT_CELL_PX, ceil_mode=True, count_include_pad=False)
    sigma = SUPPORT_WIDTH_PX / _SUPPORT_CELL_PX
    slow = smooth(cells[0, 0] * free, sigma) / (smooth(free, sigma) + FADING)
    full = functional.interpolate(slow[None, None], scale_factor=_SUPPORT_CELL_PX, mode="bilinear", align_corners=False)
    correction = full[0, 0, :height, :width]
    out = []
    for smoothed, _ in ladder:
        level, noise = support(smoothed.sub_(correction))
        out.append((smoothed.sub_(level), noise))
    return out


def _outline_level(contrast: torch.Tensor, typical: float) -> torch.Tensor:
    """Return the height at which each particle is cut: a share of the frame's typical contrast, kept near its own.

    Contrast in bright field follows thickness, so one level for the frame is one thickness for all outlines; what is
    much fainter or darker than the rest is cut at `OWN_SHARE` of its own contrast instead.
    """
    low, high = OWN_SHARE
    return (contrast * low).clamp(min=OUTLINE_SHARE * typical).minimum(contrast * high)


def _contrast(image: torch.Tensor, detected: torch.Tensor, cells: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return at every pixel the contrast of the particle it belongs to or borders on, 0 elsewhere; (H, W).

    Particles are told apart on a grid of 4 px cells. The contrast is the mean over the particle, weighted with the
    contrast itself, so that its slopes count less than its plateau.
    """
    import torch

    weight = torch.where(detected, image.clamp(min=0.0), 0.0)
    first, second = (_sums(label.flatten(), power) for power in (weight, weight * weight))
    mean = (second.double() / first.clamp(min=1).double()).float()
    return _everywhere(torch.where(cells, mean[label], 0.0), image.shape)


def _sums(label: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Add up `values` (H, W), averaged over cells, for each label of a cell; fixed point, int64."""
    import torch
    from torch.nn import functional

    cells = functional.avg_pool2d(values[None, None], _CELL_PX, ceil_mode=True, count_include_pad=False)[0, 0]
    fixed = (cells.flatten() * FIXED_POINT).round().long()
    return torch.zeros(label.numel(), dtype=torch.int64, device=values.device).index_add_(0, label, fixed)


def cell_components(cells: torch.Tensor) -> torch.Tensor:
    """Mark 4-connected components of a small mask (h, w) by the largest cell index in each, 0 outside.

    The largest index spreads along whole rows and whole columns in turn; convex shapes settle in two or three rounds.
    """
    import torch

    height, width = cells.shape
    index = torch.arange(1, height * width + 1, device=cells.device).reshape(height, width)
    label = torch.where(cells, index, 0)
    while True:
        spread = _spread_along_rows(label, cells)
        spread = _spread_along_rows(spread.T.contiguous(), cells.T).T.contiguous()
        if torch.equal(spread, label):
            return torch.where(cells, label - 1, 0)
        label = spread


def _spread_along_rows(label: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Give every unbroken run of a row the largest label in it."""
    import torch
    from torch.nn import functional

    begins = cells & ~functional.pad(cells, (1, 0))[:, :-1]
    run = torch.cumsum(begins.flatten(), 0).reshape(cells.shape) * cells
    most = torch.zeros(int(run.max()) + 1, dtype=label.dtype, device=label.device)
    most.scatter_reduce_(0, run.flatten(), label.flatten(), "amax")
    return most[run]
