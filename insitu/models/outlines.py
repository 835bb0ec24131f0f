"""What a particle is, a network says; where its edge lies, the grey level says: outlines of one by those of the other.

A network learns edges as people draw them, and on images of another kind it draws them ragged or wide. Where the
support is flat, `insitu.models.classical` puts them at a fixed share of each particle's contrast, but takes for a
particle whatever stands out. Each particle that both find is given the outline of the second; everything else (on rough
supports nearly all) stays as the network has it. Every frame by itself. No constant is fitted, but the rule was chosen
while its scores on hand-labelled gold were in sight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import InputError
from insitu.models.classical import Classical, cell_components

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    Labels = NDArray[np.int32]

OUTLINES = ("network", "level")
# Both mean the same particle from the usual share on (IoU ≥ 0.5 pairs at most one with one).
AGREEMENT = 0.5
# With a choice of pieces: a frame is one of agreement where this share of the particles (F measure) is found by both.
FRAME_AGREEMENT = 0.75
_LEAST_AREA_PX = 20
_CELL_PX = 4
_GAP_PX = 5  # the network's support between two particles, up to so many px less one, is never filled


def outline_of(said: object) -> str:
    """Return the entry ``outline`` of a card.

    Raises
    ------
    InputError
        Neither ``network`` nor ``level``.
    """
    text = "network" if said is None else str(said)
    if text not in OUTLINES:
        raise InputError(f"no outline '{text}'", f"choose outline = {' or '.join(OUTLINES)}")
    return text


def at_the_level(images: torch.Tensor, p: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the probabilities of a network with the edges of the particles that `classical` finds, too.

    Parameters
    ----------
    images : torch.Tensor of shape (B, H, W)
        Prepared frames, particles positive.
    p : torch.Tensor of shape (B, H, W)
        Of the network.
    threshold : float
        The network's; the classical decision at 0.5 becomes it.
    """
    import torch

    with torch.autocast(p.device.type, enabled=False):  # noise is measured in steps that bfloat16 does not have
        level = Classical().probabilities(images)
        return torch.stack([_merged(a, b, threshold) for a, b in zip(p, level, strict=True)])


def at_their_levels(images: torch.Tensor, p: torch.Tensor, pieces: Sequence[Labels], threshold: float) -> torch.Tensor:
    """Do what `at_the_level` does, with particles that are told apart by `pieces`, one label image (H, W) a frame."""
    import torch

    with torch.autocast(p.device.type, enabled=False):
        level = Classical().probabilities(images)
        frames = [_exchanged(a, b, c, threshold) for a, b, c in zip(p, level, pieces, strict=True)]
        return torch.stack(frames)


def _exchanged(p: torch.Tensor, level: torch.Tensor, pieces: Labels, threshold: float) -> torch.Tensor:
    """Exchange the pieces of one frame (H, W) where it is one in which both find the same particles.

    In such a frame a piece also gets the outline of a smaller one, if this is the only one that lies in it.
    """
    import torch

    from insitu.models.choice import loops

    values = level.cpu().numpy()
    theirs, count = loops().label(values, Classical.threshold, _LEAST_AREA_PX)
    area, other_area = np.bincount(pieces.ravel()), np.bincount(theirs.ravel(), minlength=count + 1)
    both = (pieces > 0) & (theirs > 0)
    pairs, shared = np.unique(pieces[both].astype(np.int64) * (count + 1) + theirs[both], return_counts=True)
    i, j = pairs // (count + 1), pairs % (count + 1)
    same = shared > AGREEMENT * (area[i] + other_area[j] - shared)  # above a half it is one with one
    found = int((area[1:] > 0).sum()) + _sure(theirs, count, values)
    if 2 * int(same.sum()) < FRAME_AGREEMENT * found or not same.any():
        return p
    inside = shared > AGREEMENT * other_area[j]
    exchanged = same | (inside & (np.bincount(i[inside], minlength=len(area))[i] == 1))
    ours, other = np.zeros(len(area), np.bool_), np.zeros(count + 1, np.int32)
    ours[i[exchanged]], other[j[exchanged]] = True, i[exchanged]
    taken = other[theirs] > 0
    holes = _holes(pieces)
    taken &= _beside(pieces, other[theirs]) | (holes & (pieces == 0))
    changed = torch.from_numpy(taken | ours[pieces]).to(p.device)
    alike = torch.where(
        level > Classical.threshold, 1.0 - 2.0 * (1.0 - threshold) * (1.0 - level), 2.0 * threshold * level
    )
    alike = torch.where(torch.from_numpy(taken).to(p.device), alike, alike.clamp(max=threshold))
    solid = (p > threshold) | torch.from_numpy(holes).to(p.device)
    return torch.where(changed & ~_gaps(solid), alike, p)


def _sure(theirs: Labels, count: int, level: NDArray[np.float32]) -> int:
    """Return how many of the pieces of `classical` are particles to itself, and not splinters of a faint border."""
    top = np.zeros(count + 1, np.float32)
    inside = theirs > 0
    np.maximum.at(top, theirs[inside], level[inside])
    return int((top >= Classical.seed).sum())


def _holes(pieces: Labels) -> NDArray[np.bool_]:
    """Mark the support that no way leads to from the border; (H, W)."""
    from insitu.models.choice import loops

    support, count = loops().label((np.pad(pieces, 1) == 0).astype(np.float32), 0.5, 1)
    enclosed = np.ones(count + 1, np.bool_)
    enclosed[[0, support[0, 0]]] = False  # what is padded joins all of the support that reaches the border
    return np.asarray(enclosed[support[1:-1, 1:-1]], np.bool_)


def _beside(pieces: Labels, own: Labels) -> NDArray[np.bool_]:
    """Mark where `own` names the piece that the pixel or, on the support, one of its eight neighbours lies in; (H, W).

    A level that goes on further outside of a piece follows something else there: grain, or the flank of a neighbour.
    """
    height, width = pieces.shape
    padded = np.pad(pieces, 1)
    near = np.zeros(pieces.shape, np.bool_)
    for dy in range(3):
        for dx in range(3):
            near |= padded[dy : dy + height, dx : dx + width] == own
    near &= (pieces == 0) | (pieces == own)
    return near


def _merged(p: torch.Tensor, level: torch.Tensor, threshold: float) -> torch.Tensor:
    """Exchange the agreed particles of one frame (H, W); particles are told apart on cells of 4 px."""
    import torch
    from torch.nn import functional

    ours, theirs = p > threshold, level > Classical.threshold
    either = ours | theirs
    if not bool((ours & theirs).any()):
        return p
    cells = functional.max_pool2d(either[None, None].float(), _CELL_PX, ceil_mode=True)[0, 0] > 0
    label = cell_components(cells)
    both, all_ = (_pixels(mask, label) for mask in (ours & theirs, either))
    chosen = ((both >= AGREEMENT * all_)[label] & cells).float()
    wide = functional.interpolate(chosen[None, None], scale_factor=_CELL_PX, mode="nearest")[0, 0]
    agreed = wide[: p.shape[0], : p.shape[1]] > 0
    alike = torch.where(
        level > Classical.threshold, 1.0 - 2.0 * (1.0 - threshold) * (1.0 - level), 2.0 * threshold * level
    )
    return torch.where(agreed & ~_gaps(ours), alike, p)


def _pixels(mask: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Count the pixels of a mask in each component of cells, by its label."""
    import torch
    from torch.nn import functional

    count = functional.avg_pool2d(mask[None, None].float(), _CELL_PX, ceil_mode=True, divisor_override=1)[0, 0]
    total = torch.zeros(label.numel(), dtype=torch.int64, device=mask.device)
    return total.index_add_(0, label.flatten(), count.flatten().round().long())


def _gaps(mask: torch.Tensor) -> torch.Tensor:
    """Return what a closing by a square of `_GAP_PX` would fill: lines between particles that nearly touch."""
    from torch.nn import functional

    half = _GAP_PX // 2
    wide = functional.max_pool2d(mask[None, None].float(), _GAP_PX, stride=1, padding=half)
    return (-functional.max_pool2d(-wide, _GAP_PX, stride=1, padding=half))[0, 0].bool() & ~mask
