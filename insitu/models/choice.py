"""Which pieces of a network's map are particles: chosen one by one, not by one threshold for all.

No threshold serves every image: what is certain where particles are clear is never reached where all are faint. The
map is cut at ten levels instead. The pieces above them form a tree (each lies in one of the level below), and each is
described by what the map, the image around its outline and its shape are like. A small network says how well such a
piece matches a particle; a second one also sees how it differs from the frame's surest pieces. Of every branch those
pieces are taken that lie apart and whose scores, less the least that counts, have the largest sum. After Arteta et al.,
10.1007/978-3-642-33415-3_43, with a fixed set of levels.

Every frame by itself. What the two networks are learned from is in `insitu.train.choosing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.pixels import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Labels = NDArray[np.int32]

FOLDER = Path(__file__).resolve().parent / "weights" / "choices"
LEVELS = (0.04, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.87, 0.95, 0.985)
LEAST_AREA_PX = 20
# What is told of every piece; the second network sees those of `RELATIVE` less their mean over the surest pieces, too.
FEATURES = (
    "log area",
    "mean of the map",
    "largest of the map",
    "level",
    "map outside",
    "contrast",
    "contrast over spread outside",
    "contrast over noise",
    "log visibility",
    "share of its ellipse",
    "squared outline over area",
    "at the border",
    "share of the outline that is free",
    "aspect",
    "log spread outside",
    "log spread inside",
    "log noise",
    "mean of the image",
    "log area of the piece around",
    "largest share inside",
    "pieces inside",
)
RELATIVE = (0, 5, 7, 1, 13, 2)
_SURE_POWER = 3  # how much more the surest pieces weigh
_MOST, _MOST_SPREADS = 30.0, 4.0  # what a feature is cut to, before and after it is put in units of its spread
_LEAST_NOISE = 0.01  # of the frame's spread
# A particle wider than half of what the network sees is ragged inside, and pieces of it would outdo it together: the
# piece of this level is taken whole.
_WHOLE_LEVEL, _WHOLE_SCORE = 0.75, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """The pieces of all levels, lowest first.

    Attributes
    ----------
    features : float64 (n, len(FEATURES))
    parent : int64 (n,)
        Of each piece the one that it lies in, -1 for those of the lowest level.
    levels : tuple of (labels, first)
        Label image of each level; label k is the piece ``first + k - 1``.
    """

    features: Array
    parent: NDArray[np.int64]
    levels: tuple[tuple[Labels, int], ...]


def loops() -> ModuleType:
    """Return what labels pieces and sums over them: compiled loops, or numpy where numba is absent."""
    if compiled():
        from insitu.pixels import pieces

        return pieces
    from insitu.models import pieces as plain

    return plain


def grow(values: NDArray[np.float32], image: NDArray[np.float32], noise: float) -> Tree:
    """Return the tree of the pieces of a map.

    Parameters
    ----------
    values : float32 (H, W)
        Logits.
    image : float32 (H, W)
        Conditioned as `contrast` (`insitu.models.inputs`), particles bright.
    noise : float
        Of the image (`insitu.models.inputs.local_noise`).
    """
    pieces = loops()
    features, parents, first = [], [], 0
    levels: list[tuple[Labels, int]] = []
    for share in LEVELS:
        level = float(np.log(share / (1.0 - share)))
        labels, count = pieces.label(values, level, LEAST_AREA_PX)
        if not count:
            break
        around = np.full(count, -1, np.int64)
        if levels:
            lower, before = levels[-1]
            around = pieces.containing(labels, count, lower) + before
        parents.append(around)
        features.append(_described(pieces.sums(labels, count, values, image), level, max(noise, _LEAST_NOISE)))
        levels.append((labels, first))
        first += count
    if not levels:
        return Tree(np.zeros((0, len(FEATURES))), np.zeros(0, np.int64), ())
    parent = np.concatenate(parents)
    return Tree(_related(np.concatenate(features), parent), parent, tuple(levels))


def _described(sums: Array, level: float, noise: float) -> Array:
    """Return what is told of the pieces of one level from their sums; float64 (n, len(FEATURES) - 3)."""
    n, y, x, yy, yx, xx, total, light, light2, most, border, outline, free, out, out2, beyond = sums.T
    tall, wide, skew = yy / n - (y / n) ** 2 + 1 / 12, xx / n - (x / n) ** 2 + 1 / 12, yx / n - y * x / n**2
    size = np.sqrt(np.maximum(tall * wide - skew**2, 1e-6))
    half = (tall + wide) / 2
    differ = np.sqrt(np.maximum(half**2 - size**2, 0.0))
    seen, some = np.maximum(free, 1.0), free > 0
    mean, mean_out = light / n, out / seen
    spread = np.sqrt(np.maximum(light2 / n - mean**2, 1e-4))
    spread_out = np.sqrt(np.maximum(out2 / seen - mean_out**2, 1e-4))
    contrast = np.where(some, mean - mean_out, 0.0)
    everywhere = np.ones_like(n)
    return np.stack(
        [
            np.log(n),
            total / n,
            most,
            level * everywhere,
            np.where(some, beyond / seen, level),
            contrast,
            contrast / spread_out,
            contrast / noise,
            np.log1p(np.abs(contrast) * np.sqrt(n) / noise),
            n / (4 * np.pi * size),
            outline**2 / n / 16,
            border,
            free / np.maximum(outline, 1.0),
            np.sqrt(np.maximum(half - differ, 1e-3) / (half + differ)),
            np.log(spread_out),
            np.log(spread),
            np.log(noise) * everywhere,
            mean,
        ],
        axis=1,
    )


def _related(features: Array, parent: NDArray[np.int64]) -> Array:
    """Add what the tree says: how much larger the piece around is, and how much of this one the pieces inside are."""
    area, inside = np.exp(features[:, 0]), parent >= 0
    around = np.where(inside, area[parent] / area, 20.0)
    largest = np.zeros(len(area))
    np.maximum.at(largest, parent[inside], area[inside])
    number = np.bincount(parent[inside], minlength=len(area))
    return np.column_stack([features, np.log(np.clip(around, 1.0, 50.0)), largest / area, np.minimum(number, 4)])


def compared(features: Array, score: Array) -> Array:
    """Add how every piece differs from the surest ones, how these differ among themselves, and how many there are."""
    features = np.clip(features, -_MOST, _MOST)
    sure = score**_SURE_POWER + 1e-9
    weight = sure / sure.sum()
    some = features[:, RELATIVE]
    mean = weight @ some
    spread = np.sqrt(weight @ (some - mean) ** 2)[:2]
    same = np.tile([*spread, np.log(sure.sum() + 0.1)], (len(features), 1))
    return np.column_stack([features, some - mean, same])


class Choice:
    """What chooses the pieces.

    Parameters
    ----------
    tensors : mapping
        ``least`` (the least score that counts), ``large_area_px`` (area from which on a piece may be taken whole; px),
        and of the members of both networks (``first.M``, ``second.M``, whose
        scores are averaged) ``NAME.M.mean`` and ``NAME.M.spread`` of what they see, ``NAME.M.weight.K`` and
        ``NAME.M.bias.K`` of their layers.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._members: dict[str, dict[str, dict[str, Array]]] = {"first": {}, "second": {}}
        for key, value in tensors.items():
            name, _, rest = key.partition(".")
            if name in self._members:
                member, _, what = rest.partition(".")
                self._members[name].setdefault(member, {})[what] = np.asarray(value, np.float64)
        self.least = float(np.ravel(tensors["least"])[0]) if "least" in tensors else 0.5
        self._large = float(np.ravel(tensors["large_area_px"])[0]) if "large_area_px" in tensors else np.inf

    def first(self, tree: Tree) -> Array:
        """Return how well each piece matches a particle as far as it is judged by itself; float64 (n,), 0…1."""
        return self._score("first", np.clip(tree.features, -_MOST, _MOST))

    def scores(self, tree: Tree) -> Array:
        """Return how well each piece matches a particle; float64 (n,), 0…1."""
        return self._score("second", compared(tree.features, self.first(tree)))

    def pieces(self, values: NDArray[np.float32], image: NDArray[np.float32], noise: float) -> Labels:
        """Return the label image (H, W) of the pieces that are particles; arguments as for `grow`."""
        pieces = loops()
        out = np.zeros(values.shape, np.int32)
        tree = grow(values, image, noise)
        if not len(tree.parent):
            return out
        score = self.scores(tree)
        score = np.where(self._whole(tree, score), len(score) + 1.0, score)
        taken = np.flatnonzero(pieces.chosen(score, tree.parent, self.least))
        for labels, first in tree.levels:
            number = np.zeros(int(labels.max()) + 1, np.int32)
            here = (taken >= first) & (taken < first + len(number) - 1)
            number[taken[here] - first + 1] = np.flatnonzero(here) + 1
            pieces.paint(out, labels, number)
        return out

    def _whole(self, tree: Tree, score: Array) -> NDArray[np.bool_]:
        level = float(np.log(_WHOLE_LEVEL / (1.0 - _WHOLE_LEVEL)))
        large = tree.features[:, FEATURES.index("log area")] > np.log(self._large)
        at_level = np.isclose(tree.features[:, FEATURES.index("level")], level)
        return np.asarray(large & at_level & (score >= _WHOLE_SCORE), np.bool_)

    def _score(self, name: str, features: Array) -> Array:
        scores = [_member_score(member, features) for member in self._members[name].values()]
        return np.asarray(np.mean(scores, axis=0), np.float64)


def _member_score(tensors: Mapping[str, Array], features: Array) -> Array:
    x = np.clip((features - tensors["mean"]) / tensors["spread"], -_MOST_SPREADS, _MOST_SPREADS)
    layers = sum(key.startswith("weight.") for key in tensors)
    for k in range(layers):
        x = x @ tensors[f"weight.{k}"].T + tensors[f"bias.{k}"]
        x = np.tanh(x) if k < layers - 1 else x
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x[:, 0], -50.0, 50.0))), np.float64)


@cache
def choice_of(said: str) -> Choice:
    """Return the choice that the entry ``choice`` of a card names.

    Raises
    ------
    InputError
        There is none of this name.
    """
    from insitu.models.checkpoint import read_tensors

    known = sorted(file.stem for file in FOLDER.glob("*.safetensors"))
    if said not in known:
        raise InputError(f"no choice '{said}'", f"choose among {', '.join(known)}, or leave choice out of the card")
    return Choice(read_tensors(FOLDER / f"{said}.safetensors"))


def decided(p: torch.Tensor, image: torch.Tensor, choice: Choice, threshold: float) -> tuple[torch.Tensor, Labels]:
    """Return a map (H, W) that is above `threshold` in the chosen pieces and nowhere else, and their labels.

    `image` is conditioned as `contrast`. The order of the values is kept on either side.
    """
    import torch

    from insitu.models.inputs import local_noise

    p = p.float()
    values = torch.logit(p.clamp(1e-6, 1.0 - 1e-6)).cpu().numpy()
    labels = choice.pieces(values, image.float().cpu().numpy(), local_noise(image.float()))
    inside = torch.from_numpy(labels).to(p.device) > 0
    higher = threshold + (1.0 - threshold) * (0.02 + 0.98 * p)
    return torch.where(inside, higher, threshold * p), labels
