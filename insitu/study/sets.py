"""Image sets of a study: counts with labels, split, changed as asked, and prepared as a run would prepare them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.study.config import Changed, Labelled, Mixture, Simulated
from insitu.study.labelled import Raw, read_labelled
from insitu.train.data import Pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from insitu.study.config import Set

_TRAIN, _TEST = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An image as a model gets it, and what is true of it.

    Attributes
    ----------
    name : str
    image : float32 array (h, w)
        Prepared: support 0, its noise 1, particles positive.
    truth : int32 array (H, W)
        0, or the number of the particle.
    learn : bool array (h, w)
        What a network is to answer in training: the truth, or a pseudo-label.
    shrink : int
        H/h.
    """

    name: str
    image: NDArray[np.float32]
    truth: NDArray[np.int32]
    learn: NDArray[np.bool_]
    shrink: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The images to learn from and those held out; `pairs` are tiles of the former, conditioned."""

    pairs: Pairs
    learned_from: list[Example]
    held_out: list[Example]
    nm_per_px: float | None


class Sets:
    """The sets of a study, made when they are asked for and then kept."""

    def __init__(self, declared: Mapping[str, Set]) -> None:
        self._declared = declared
        self._raw: dict[str, tuple[list[Raw], list[Raw]]] = {}
        self._parts: dict[str, Parts] = {}

    def __getitem__(self, name: str) -> Parts:
        """Return the parts of a set.

        Raises
        ------
        InputError
            Images or labels that are missing or do not fit each other.
        """
        if name not in self._parts:
            self._parts[name] = self._made(name)
        return self._parts[name]

    def fingerprint(self, name: str) -> str:
        """Return a hash of what the set is declared to be, and of what it is made of."""
        entry = self._declared[name]
        made_of = entry.of if isinstance(entry, Mixture) else [entry.from_set] if isinstance(entry, Changed) else []
        text = json.dumps([entry.model_dump(mode="json"), *(self.fingerprint(n) for n in made_of)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _made(self, name: str) -> Parts:
        entry = self._declared[name]
        train, test = self._of(name)
        change = entry if isinstance(entry, Changed) else Changed.model_validate({"kind": "changed", "from": name})
        learned_from = [example_of(raw, change, change.labels) for raw in train]
        held_out = [example_of(raw, change) for raw in test]
        pairs = pairs_of(learned_from, change.tile_px or self._tile(name), drop_empty=change.drop_empty)
        return Parts(pairs, learned_from, held_out, self._nm_per_px(name))

    def _of(self, name: str) -> tuple[list[Raw], list[Raw]]:
        entry = self._declared[name]
        if isinstance(entry, Mixture):
            parts = [self._of(n) for n in entry.of]
            return [r for a, _ in parts for r in a], [r for _, b in parts for r in b]
        if isinstance(entry, Changed):
            train, test = self._of(entry.from_set)
            return train[: entry.images], test
        if name not in self._raw:
            self._raw[name] = read_labelled(entry) if isinstance(entry, Labelled) else _simulated(entry)
        return self._raw[name]

    def _tile(self, name: str) -> int:
        entry = self._declared[name]
        if isinstance(entry, Mixture):
            return min(self._tile(n) for n in entry.of)
        if isinstance(entry, Changed):
            return max(16, self._tile(entry.from_set) // entry.shrink)
        return entry.tile_px if isinstance(entry, Labelled) else entry.side_px

    def _nm_per_px(self, name: str) -> float | None:
        entry = self._declared[name]
        if isinstance(entry, Mixture):
            return None
        if isinstance(entry, Changed):
            below = self._nm_per_px(entry.from_set)
            return None if below is None else below * entry.shrink
        return entry.nm_per_px


def _simulated(options: Simulated) -> tuple[list[Raw], list[Raw]]:
    from insitu.study.regimes import scene

    parts: list[list[Raw]] = []
    for seed, count in ((_TRAIN, options.images), (_TEST, options.held_out)):
        part = []
        for k in range(count):
            image, mask, mode = scene(options, seed, k)
            part.append(Raw(f"scene {k}", image, numbered(mask), dark=mode == "bright-field"))
        parts.append(part)
    return parts[0], parts[1]


def example_of(raw: Raw, change: Changed, labels: str = "truth") -> Example:
    """Prepare one image as a run does, after what `change` does to its counts; `labels` says what is to be learned."""
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference

    counts = to_8_bits(raw.counts) if change.bits == 8 else raw.counts
    n = change.shrink
    height, width = (side // n * n for side in counts.shape)
    counts, truth = counts[:height, :width], raw.labels[:height, :width]
    options = PrepareOptions(bin=n)
    taken = reference([(0, counts)], options, "dark" if raw.dark else "bright")
    image = prepare(counts[np.newaxis], options, taken).input[0].numpy()
    share = (truth > 0).reshape(height // n, n, width // n, n).mean(axis=(1, 3))
    if labels == "pseudo":
        from insitu.pseudolabels import pseudo_mask

        mask = pseudo_mask(counts, polarity="dark" if raw.dark else "bright")
        learn = mask.reshape(height // n, n, width // n, n).mean(axis=(1, 3)) >= 0.5
    else:
        learn = share >= 0.5 if labels == "truth" else taught(image, labels)
    return Example(raw.name, image, truth, learn, n)


def taught(image: NDArray[np.float32], teacher: str) -> NDArray[np.bool_]:
    """Return the mask that a teacher without weights draws on a prepared image."""
    import torch

    from insitu.models import load

    model = load(teacher)
    with torch.inference_mode():
        p = model.probabilities(torch.from_numpy(image)[None])[0].numpy()
    return np.asarray(p > float(getattr(model, "threshold", 0.5)))


def to_8_bits(counts: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch an image from its smallest to its largest value over 256 levels."""
    low, high = float(counts.min()), float(counts.max())
    return np.asarray(np.round((counts.astype(np.float64) - low) * (255.0 / max(high - low, 1e-9))), np.uint8)


def pairs_of(examples: Iterable[Example], tile_px: int, *, drop_empty: bool) -> Pairs:
    """Cut examples into conditioned tiles of equal side; images smaller than a tile make the tile smaller."""
    import torch

    from insitu.models.network import condition

    examples = list(examples)
    side = min(tile_px, *(min(e.image.shape) for e in examples)) if examples else tile_px
    images, masks = [], []
    for e in examples:
        ready = condition(torch.from_numpy(e.image)).numpy().astype(np.float16)
        for y in _starts(ready.shape[0], side):
            for x in _starts(ready.shape[1], side):
                where = (slice(y, y + side), slice(x, x + side))
                if e.learn[where].any() or not drop_empty:
                    images.append(ready[where])
                    masks.append(e.learn[where].astype(np.uint8))
    return Pairs(np.stack(images), np.stack(masks))


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles begin so that they cover an axis and overlap as little as they must."""
    count = -(-length // side)
    return [round(k * (length - side) / max(count - 1, 1)) for k in range(count)]


def numbered(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the 8-connected components of a mask as 1…n."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, np.ones((3, 3), bool))
    return np.asarray(labels, np.int32)
