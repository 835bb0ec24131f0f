"""One look inside a network with one image: everything that is drawn and written, computed and nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.explain import attribution, channels, kernels, noise, recording
from insitu.explain.field import Field, empirical

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray
    from torch import nn

    from insitu.explain.recording import Answer
    from insitu.models.network import Network

_MOST_KERNELS = 64
_MOST_REACH_PX = 64


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to look at.

    Attributes
    ----------
    window_px : int
        Side of the part of the image that is looked at.
    at : tuple of int, optional
        A pixel (y, x) of the image: its particle is explained; the one nearest to the middle when absent.
    layers : tuple of str
        Whose maps are shown; the stages of the network when empty.
    cam_layer : str
        Of Grad-CAM; the deepest stage when empty.
    noise_images : int
    occluder_px : int
    seed : int
    """

    window_px: int = 192
    at: tuple[int, int] | None = None
    layers: tuple[str, ...] = ()
    cam_layer: str = ""
    noise_images: int = 3
    occluder_px: int = 15
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A kernel of the first layer and its fits, best first (none where it is too small for a fit)."""

    index: int
    values: NDArray[np.float64]
    fits: tuple[kernels.Fit, ...]

    @property
    def family(self) -> str:
        """What it looks like."""
        return kernels.family_of(self.fits) if self.fits else "not fitted"


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was found.

    Attributes
    ----------
    image, probability : float32 arrays (h, w)
        The window, prepared, and what the network says of it.
    origin : tuple of int
        Where the window begins (y, x) in the image.
    region : bool array (h, w)
        The particle that is explained.
    kernels, mean : the first layer's kernels with their fits, and the mean of all.
    answers : maps of the layers shown.
    rows : one a channel of every layer (`channels.described`).
    maps : the three attributions by name.
    field : what one output pixel sees; `stated` is (mean, largest) width by the arithmetic of layers.
    alarms, neighbours : what noise alone does, and how its neighbours correlate.
    """

    image: NDArray[np.float32]
    probability: NDArray[np.float32]
    origin: tuple[int, int]
    region: NDArray[np.bool_]
    kernels: list[Kernel]
    mean: Kernel
    answers: list[Answer]
    rows: list[dict[str, Any]]
    maps: dict[str, NDArray[np.float32]]
    cam_layer: str
    field: Field
    stated: tuple[int, int] | None
    alarms: dict[str, float]
    neighbours: float


def look(model: Network, image: torch.Tensor, wishes: Wishes) -> Look:
    """Look inside a network.

    Parameters
    ----------
    model : Network
    image : torch.Tensor of shape (H, W)
        A frame as `insitu.segment` would hand it to the model.
    wishes : Wishes

    Raises
    ------
    CommandError
        A model without a network, a layer or a pixel that is not there, or a pixel without a particle.
    """
    import torch

    from insitu.segment import probabilities

    module = model.module
    with torch.inference_mode():
        whole = probabilities(model, image[None])[0].numpy()
    origin, region = region_of(whole > model.threshold, wishes, int(getattr(module, "multiple", 1)))
    y, x = origin
    height, width = region.shape
    ready = conditioned(model, image)[y : y + height, x : x + width].contiguous()
    answers = recording.record(module, ready[None, None])
    sampled, neighbours = _noise(ready, region, whole[y : y + height, x : x + width] > model.threshold, wishes)
    stirred = [recording.record(module, n[None, None]) for n in sampled]
    rows = channels.described(answers, stirred, whole[y : y + height, x : x + width] > model.threshold)
    cam = wishes.cam_layer or _deepest_stage(module, answers)
    inside, stated = torch.from_numpy(region), stated_field(module)
    maps = {
        "saliency": attribution.saliency(module, ready, inside),
        "grad-cam": attribution.grad_cam(module, ready, inside, cam),
        "occlusion": attribution.occlusion(
            module, ready, inside, side=wishes.occluder_px, step=max(1, wishes.occluder_px // 2), reach=_reach(stated)
        ),
    }
    first = first_kernels(module)
    return Look(
        image=image[y : y + height, x : x + width].numpy(),
        probability=whole[y : y + height, x : x + width],
        origin=origin,
        region=region,
        kernels=[_fitted(k, values) for k, values in enumerate(first[:_MOST_KERNELS])],
        mean=_fitted(-1, first.mean(axis=0)),
        answers=recording.chosen(answers, wishes.layers),
        rows=rows,
        maps=maps,
        cam_layer=cam,
        field=empirical(module, [ready, *sampled], seed=wishes.seed),
        stated=stated,
        alarms=noise.false_alarms(module, sampled, model.threshold),
        neighbours=neighbours,
    )


def region_of(mask: NDArray[np.bool_], wishes: Wishes, multiple: int) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Return where the window lies, and the particle in it that is to be explained, as a mask of the window.

    Raises
    ------
    CommandError
        The pixel lies outside, shows no particle, or the image is smaller than the network can take.
    """
    from scipy import ndimage

    height, width = mask.shape
    side = [min(wishes.window_px, n) // multiple * multiple for n in (height, width)]
    if not all(side):
        raise CommandError(
            f"an image of {height}×{width} px is too small for this network", f"give at least {multiple}×{multiple} px"
        )
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if wishes.at is not None:
        y, x = wishes.at
        if not (0 <= y < height and 0 <= x < width):
            raise CommandError(
                f"--at {y},{x} lies outside an image of {height}×{width} px", "y comes first, from the top"
            )
        if not labels[y, x]:
            raise CommandError(
                f"the network finds no particle at {y},{x}", f"it finds {count}; leave --at out for one near the middle"
            )
        one = int(labels[y, x])
    else:
        one = _nearest_the_middle(labels, count)
    centre = ndimage.center_of_mass(labels == one) if one else (height / 2, width / 2)
    origin = tuple(int(np.clip(round(c - s / 2), 0, n - s)) for c, s, n in zip(centre, side, mask.shape, strict=True))
    window = (slice(origin[0], origin[0] + side[0]), slice(origin[1], origin[1] + side[1]))
    # without any particle the whole window is explained
    region = labels[window] == one if one else np.ones(tuple(side), np.bool_)
    return (origin[0], origin[1]), np.asarray(region, np.bool_)


def _nearest_the_middle(labels: NDArray[Any], count: int) -> int:
    from scipy import ndimage

    if not count:
        return 0
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1)))
    away = np.hypot(*(centres - np.array(labels.shape) / 2).T)
    # specks explain nothing: at least half the area of the particle in which the middle pixel of all particles lies
    ordered = np.sort(area)
    least = 0.5 * ordered[np.searchsorted(np.cumsum(ordered), 0.5 * ordered.sum())]
    large = np.flatnonzero(area >= least)
    return int(large[away[large].argmin()]) + 1


def conditioned(model: Network, image: torch.Tensor) -> torch.Tensor:
    """Return the frame (H, W) as the network's first layer sees it."""
    from insitu.models.inputs import condition

    return condition(image, model.conditioning)


def first_kernels(module: nn.Module) -> NDArray[np.float64]:
    """Return the kernels of the first convolution that sees the image, (n, k, k)."""
    from torch import nn

    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.in_channels == 1 and part.kernel_size[0] > 1:
            return np.asarray(part.weight.detach().cpu().double().numpy()[:, 0])
    raise CommandError("the network has no convolution that sees the image", "look at another model")


def stated_field(module: nn.Module) -> tuple[int, int] | None:
    """Return mean and largest receptive field in px by the arithmetic of layers; None where they are not known."""
    from insitu.models.fields import receptive_field, widest

    path = getattr(module, "path", None)
    return None if path is None else (receptive_field(path), widest(path))


def _reach(stated: tuple[int, int] | None) -> int:
    """Return how far from a particle its answer can be changed, at most `_MOST_REACH_PX`: beyond, little is left."""
    return _MOST_REACH_PX if stated is None else min(_MOST_REACH_PX, stated[1] // 2)


def _fitted(index: int, values: NDArray[np.float64]) -> Kernel:
    fits = tuple(kernels.fit(values)) if values.shape[0] >= kernels.LEAST_SIDE else ()
    return Kernel(index, values, fits)


def _noise(
    ready: torch.Tensor, region: NDArray[np.bool_], mask: NDArray[np.bool_], wishes: Wishes
) -> tuple[list[torch.Tensor], float]:
    """Return images of noise like the support of the window, of the same side."""
    import torch
    from scipy import ndimage

    support = ~ndimage.binary_dilation(mask, iterations=4)
    values = ready.numpy()
    neighbours = noise.correlation(values, support)
    made = noise.images(wishes.noise_images, max(region.shape), neighbours, wishes.seed)
    level, spread = (0.0, 1.0) if support.sum() < 2 else (float(values[support].mean()), float(values[support].std()))
    height, width = region.shape
    return [torch.from_numpy(n[:height, :width].copy()) * spread + level for n in made], neighbours


def _deepest_stage(module: nn.Module, answers: Sequence[Answer]) -> str:
    """Return the part before the head whose maps are smallest, the last of equals: it sees most, as Grad-CAM wants."""
    modules = dict(module.named_modules())
    parts = [a for a in recording.stages(answers) if a.name in modules]
    parts = [a for a in parts if a.name.split(".")[0] != "head"] or parts
    return min(reversed(parts), key=lambda a: a.maps[0].numel()).name
