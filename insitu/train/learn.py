"""Learn a network from a user's labels, from simulated scenes, or from both; what `insitu train` does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.segment import resolve_device
from insitu.train.augment import LIGHT, Augmentation
from insitu.train.data import Mixture, Pairs
from insitu.train.gather import polarity
from insitu.train.labelled import Labelled
from insitu.train.loop import History, Recipe, seeded, train
from insitu.train.split import Split, split
from insitu.train.tiles import INPUT, real_tiles, tiled, validation_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from insitu.train.gather import Movie

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_HYSTERESIS = 0.75
_SCORED = 200  # validation tiles at most: each check goes through them all


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned, and from what.

    Attributes
    ----------
    architecture : str
    parameters : mapping
        Of the architecture (`insitu.models.checkpoint.build`).
    recipe : Recipe
    scenes : int
        Simulated scenes that are added.
    scene_share : float
        How often a crop comes from them, where there are labelled images too.
    augmentation : Augmentation
    variants : int
        Variations of every image; 0: the image itself alone.
    validation : float
        Share of the images that is set aside.
    start : Path, optional
        Weights of the same architecture to begin with.
    """

    architecture: str = "unet"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    scenes: int = 0
    scene_share: float = 0.3
    augmentation: Augmentation = LIGHT
    variants: int = 3
    validation: float = 0.2
    start: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A trained network, its card (without hash) and how its training went."""

    module: nn.Module
    card: dict[str, Any]
    history: History
    notes: tuple[str, ...]


def learn(
    movies: Sequence[Movie],
    plan: Plan,
    *,
    state: Path | None = None,
    device: str = "cpu",
    report: Callable[[int, float], None] | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Learned:
    """Train a network as planned.

    Parameters
    ----------
    movies : sequence of Movie
        Labelled images, see `insitu.train.gather.read_movie`; may be empty where scenes are simulated.
    plan : Plan
    state : Path, optional
        Where the state is kept, so that a training that was killed can go on.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    report : callable, optional
        Called with (step, mean loss of the last 100 steps).
    say : callable, optional
        Called with each sentence that a user must read, as soon as it is known.

    Raises
    ------
    CommandError
        Nothing to learn from; an unknown architecture; weights to begin with that do not fit.
    """
    began = time.process_time()
    module = _network(plan).to(resolve_device(device))
    fit = _fits(module, plan, say)
    parts, held, chosen, notes = _material(movies, replace(plan, recipe=fit), say)
    history = train(
        module,
        parts,
        fit,
        report,
        validate=(lambda m: max(dice_at(m, held).values())) if held is not None else None,
        state=state,
    )
    card = _card(
        module,
        replace(plan, recipe=fit),
        movies,
        chosen=chosen,
        history=history,
        learned=parts.parts[0],
        held=held,
    )
    card |= {"cpu_s": round(time.process_time() - began), "notes": list(notes)}
    return Learned(module, card, history, tuple(notes))


def _card(
    module: nn.Module,
    plan: Plan,
    movies: Sequence[Movie],
    *,
    chosen: Split,
    history: History,
    learned: Pairs,
    held: Pairs | None,
) -> dict[str, Any]:
    """Return what the card says; the threshold is chosen on what was learned, not on what was set aside."""
    on_training = dice_at(module, learned.first(_SCORED))
    threshold = max(on_training, key=lambda t: (on_training[t], -abs(t - 0.5)))
    return {
        "architecture": plan.architecture,
        "parameters": dict(plan.parameters),
        "threshold": threshold,
        "seed": max(threshold, min(_HYSTERESIS, typical_probability(module, learned.first(_SCORED)))),
        "input": INPUT,
        "parameter_count": sum(p.numel() for p in module.parameters()),
        "data": _data_in_words(movies, plan),
        "recipe": plan.recipe.as_dict(),
        "validation": chosen.about if movies else "simulated scenes of another seed",
        "leaks": list(chosen.leaks),
        "pixel_dice_at_threshold": {str(t): v for t, v in (dice_at(module, held) if held is not None else {}).items()},
        "pixel_dice_on_training": on_training[threshold],
        "best_step": history.best_step,
        "steps_done": len(history.losses),
        "last_loss": round(float(np.mean(history.losses[-50:])), 4) if history.losses else None,
    }


def _material(
    movies: Sequence[Movie], plan: Plan, say: Callable[[str], None]
) -> tuple[Mixture, Pairs | None, Split, list[str]]:
    """Return the tiles to learn from, those to validate on, the split and the notes."""
    if not movies and not plan.scenes:
        raise CommandError("nothing to learn from", "give --images and --labels, or --scenes NUMBER, or both")
    side, seed, notes = plan.recipe.crop_px, plan.recipe.seed, []
    chosen = split(movies, plan.validation, seed) if movies else Split((), 0.0, "none")
    parts, shares, held = [], [], None
    if movies:
        sides = [polarity(movie) for movie in movies]
        notes = [note for movie in movies for note in movie.notes] + list(chosen.leaks)
        small = min(min(image.shape) for movie in movies for image in movie.images)
        if small < side:
            notes.append(f"images of {small} px are smaller than the {side} px of a crop: filled up by mirror images")
        learned: list[Labelled] = []
        tested: list[Labelled] = []
        for number, movie in enumerate(movies):
            inside, outside = _parted(movie, number, chosen, side)
            learned += inside
            tested += outside
        darkness = {movie.name: side for movie, side in zip(movies, sides, strict=True)}
        parts.append(
            real_tiles(learned, plan.variants, tiled(side), seed, plan.augmentation, polarity=darkness, native=True)
        )
        shares.append(1.0 if not plan.scenes else 1.0 - plan.scene_share)
        if tested:
            held = validation_tiles(tested, tiled(side), seed, darkness).first(_SCORED)
        for note in notes:
            say(note)
    if plan.scenes:
        from insitu.train.tiles import agglomerate_tiles, scene_tiles

        rough = plan.scenes // 4
        parts += [scene_tiles(plan.scenes - rough, tiled(side), seed)]
        shares.append(0.75 * (plan.scene_share if movies else 1.0))
        if rough:
            parts.append(agglomerate_tiles(rough, tiled(side), seed))
            shares.append(0.25 * (plan.scene_share if movies else 1.0))
        if held is None and plan.validation > 0:
            held = scene_tiles(min(60, max(8, plan.scenes // 8)), tiled(side), seed + 1)
    return Mixture(tuple(parts), tuple(shares)), held, chosen, notes


def _parted(movie: Movie, number: int, chosen: Split, margin: int) -> tuple[list[Labelled], list[Labelled]]:
    """Return what of a movie is learned and what is tested; the strip keeps a margin that belongs to neither."""
    rows = [
        Labelled(image, labels, unknown, movie.name, f"{movie.name} {index}")
        for image, labels, unknown, index in zip(movie.images, movie.labels, movie.unknown, movie.frames, strict=True)
    ]
    if number in chosen.movies:
        return [], rows
    if not chosen.strip:
        return rows, []
    height = movie.images[0].shape[0]
    cut = round(height * (1.0 - chosen.strip))
    gap = min(margin // 4, max(0, (height - cut) // 4))
    return [_rows(one, 0, cut - gap) for one in rows], [_rows(one, cut, height) for one in rows]


def _rows(one: Labelled, first: int, last: int) -> Labelled:
    part = slice(first, last)
    return Labelled(one.image[part], one.labels[part], one.unknown[part], one.group, one.name)


def _network(plan: Plan) -> nn.Module:
    from insitu.models.checkpoint import build, load_network

    if plan.start is None:
        return seeded(lambda: build(plan.architecture, plan.parameters), plan.recipe.seed)
    network = load_network(plan.start, fold=False)
    if network.card["architecture"] != plan.architecture or dict(network.card.get("parameters") or {}) != dict(
        plan.parameters
    ):
        raise CommandError(
            f"'{plan.start}' holds a {network.card['architecture']} {network.card.get('parameters') or ''}".rstrip(),
            "begin with weights of the architecture that is trained, or give its --architecture and --parameter",
        )
    module: nn.Module = network.module.requires_grad_(requires_grad=True)
    return module


def _fits(module: nn.Module, plan: Plan, say: Callable[[str], None]) -> Recipe:
    """Return the recipe with crops of a size that the network takes."""
    from insitu.models.architectures import anatomy

    recipe = plan.recipe

    multiple = int(getattr(module, "multiple", 1))
    crop = max(multiple, recipe.crop_px // multiple * multiple)
    if crop != recipe.crop_px:
        say(f"crops of {crop} px instead of {recipe.crop_px}: the network takes multiples of {multiple} px")
    field_px = anatomy(plan.architecture, plan.parameters).receptive_field_px
    if field_px > 2 * crop:
        say(f"a pixel of this network sees {field_px} px, more than a crop of {crop} px shows in training")
    return replace(recipe, crop_px=crop)


def typical_probability(module: nn.Module, pairs: Pairs) -> float:
    """Return the median probability over the particles' pixels: nearly every particle has a pixel above it."""
    from insitu.train.data import PARTICLE

    found = [p[coded == PARTICLE] for p, coded in _probabilities(module, pairs)]
    inside = np.concatenate(found) if found else np.zeros(0)
    return round(float(np.median(inside)), 3) if inside.size else 0.0


def _probabilities(module: nn.Module, pairs: Pairs) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield the probability of every pixel of each tile, and its codes, cut to a size that the network takes."""
    import torch

    from insitu.models.heads import particle_logit

    device = next(module.parameters()).device
    module.eval()
    multiple = int(getattr(module, "multiple", 1))
    side = pairs.images.shape[-1] // multiple * multiple
    with torch.inference_mode():
        for image, coded in zip(pairs.images, pairs.masks, strict=True):
            maps = module(torch.from_numpy(image[:side, :side].astype(np.float32)).to(device)[None, None]).float()
            logit = particle_logit(maps, str(getattr(module, "activation", "softmax")))
            yield torch.sigmoid(logit)[0].cpu().numpy(), coded[:side, :side]


def dice_at(module: nn.Module, pairs: Pairs) -> dict[float, float]:
    """Return the pixel Dice over all pairs together at each of `THRESHOLDS`; unknown pixels count for nothing.

    Contact pixels count as support.
    """
    from insitu.train.data import PARTICLE, UNKNOWN

    hit, claimed, true = (np.zeros(len(THRESHOLDS)) for _ in range(3))
    for p, code in _probabilities(module, pairs):
        known, truth = code != UNKNOWN, code == PARTICLE
        for k, t in enumerate(THRESHOLDS):
            found = (p > t) & known
            hit[k] += (found & truth).sum()
            claimed[k] += found.sum()
        true += truth.sum()
    values = (2 * hit / np.maximum(claimed + true, 1)).tolist()
    return {t: round(v, 4) for t, v in zip(THRESHOLDS, values, strict=True)}


def _data_in_words(movies: Sequence[Movie], plan: Plan) -> str:
    parts = [f"{len(m.images)} labelled images of '{m.name}'" for m in movies]
    if plan.scenes:
        parts.append(f"{plan.scenes} simulated scenes (insitu.simulate.random_scene, rough supports)")
    return "; ".join(parts)
