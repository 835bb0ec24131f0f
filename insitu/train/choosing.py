"""Learn which pieces of a network's map are particles: what `insitu.models.choice` chooses by.

From images that the network learned from, and scenes drawn for this: ``python -m insitu.train.choosing --weights FILE
--out FILE``. The score of a piece rises from 0 to 1 with its overlap with a labelled particle (IoU 0.1 to 0.8). What
the scores see is disturbed while they are learned, by `DISTURBED` of its spread, so that they do not lean on a single
feature: maps of other kinds of images have others. The second score learns from first ones that were made by networks
that had not seen the image. The least score that counts is the one with the largest F measure in which recall weighs
twice (what people left unlabelled counts as false), averaged over the kinds of images: each is scored by a choice
that learned from the other kinds alone. `DISTURBED` was chosen in the same way.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from insitu.errors import CommandError, InsituError
from insitu.models.choice import Choice, compared, grow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from insitu.models.choice import Tree
    from insitu.models.network import Network
    from insitu.train.labelled import Labelled

    Array = NDArray[np.float64]

DISTURBED = 0.6
GROUP = 0.8  # a piece of several particles is worth this share of what one of one would be
WIDTH, STEPS, BATCH, RATE = 24, 1200, 1024, 0.01
LEAST = (0.04, 0.07, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.25, 0.3, 0.4)
MEMBERS = 5  # of each score: their mean hardly depends on how they began
_FROM, _OVER = 0.1, 0.7
_UNKNOWN = 0.4  # pieces that lie in what is not known to this share teach nothing, unless they match a particle
_MOST_OF_ONE = 3000  # pieces of one image
_EVERY = 8  # so many of the panels
_SCENES, _EMPTY, _SEED = 10, 15, 901  # of each kind; flat ones without any particle besides
_SIDES_PX = {"clear": 640, "faint": 640, "few": 1024, "flat": 448}


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """The pieces of one image.

    Attributes
    ----------
    tree : Tree
    overlap : float64 (n,)
        Largest IoU with a particle.
    together : float64 (n,)
        IoU with all particles that lie in it by more than half: touching particles in one piece can be cut later.
    particle : int64 (n,)
        Which one that is.
    teaches : bool (n,)
    particles : int
    kind : str
        Panels, or the kind of scenes.
    """

    tree: Tree
    overlap: Array
    together: Array
    particle: NDArray[np.int64]
    teaches: NDArray[np.bool_]
    particles: int
    kind: str = ""

    @property
    def target(self) -> Array:
        """What the score should be."""
        own, group = (np.clip((iou - _FROM) / _OVER, 0.0, 1.0) for iou in (self.overlap, self.together))
        return np.maximum(own, GROUP * group)


def example(tree: Tree, one: Labelled) -> Example:
    """Compare the pieces of an image with its labels."""
    n, true_area = len(tree.parent), np.bincount(one.labels.ravel())
    overlap, together, particle, unknown = np.zeros(n), np.zeros(n), np.zeros(n, np.int64), np.zeros(n)
    for labels, first in tree.levels:
        area = np.bincount(labels.ravel())
        unknown[first : first + len(area) - 1] = np.bincount(labels[one.unknown], minlength=len(area))[1:] / area[1:]
        both = (labels > 0) & (one.labels > 0)
        pair = labels[both].astype(np.int64) * len(true_area) + one.labels[both]
        pairs, shared = np.unique(pair, return_counts=True)
        i, j = pairs // len(true_area), pairs % len(true_area)
        iou = shared / (area[i] + true_area[j] - shared)
        order = np.argsort(iou, kind="stable")  # the largest is written last
        overlap[first + i[order] - 1], particle[first + i[order] - 1] = iou[order], j[order]
        most = shared > 0.5 * true_area[j]
        held, whole = (np.bincount(i[most], a[most], minlength=len(area))[1:] for a in (shared, true_area[j]))
        together[first : first + len(area) - 1] = held / (area[1:] + whole - held)
    teaches = (np.maximum(overlap, together) >= 0.5) | (unknown <= _UNKNOWN)
    return Example(tree, overlap, together, particle, teaches, int((true_area[1:] > 0).sum()))


def images(samples: Path) -> Iterator[tuple[str, Labelled]]:
    """Yield kinds and images: some panels that the network has learned from, and scenes that it has not."""
    from scipy import ndimage

    from insitu.simulate import random_scene
    from insitu.train import agglomerates, labelled, shipped

    for one in shipped.seen_panels(samples)[::_EVERY]:
        yield "panels", one
    looks = {"clear": agglomerates.CLEAR, "faint": agglomerates.FAINT, "few": agglomerates.FEW_ELECTRONS}
    for kind, side in _SIDES_PX.items():
        for k in range(_SCENES if kind in looks else _SCENES + _EMPTY):
            if kind in looks:
                rng = np.random.default_rng([_SEED, k])
                image, labels = agglomerates.agglomerate_scene(rng, side, looks[kind])
            else:
                mode: Any = "bright-field" if k % 3 else "dark-field"
                rng, empty = np.random.default_rng([_SEED + 1, k]), 0.1 if k < _SCENES else 1.0
                image, mask = random_scene(rng, (side, side), mode=mode, empty=empty, radius_px=(4.0, 60.0))
                labels = np.asarray(ndimage.label(mask)[0], np.int32)
            yield kind, labelled.Labelled(image, labels, np.zeros(labels.shape, np.bool_), kind, str(k))


def seen_by(model: Network, kind: str, one: Labelled) -> Example:
    """Return the pieces of one image's map, and what they match."""
    import torch

    from insitu.models.inputs import condition, local_noise
    from insitu.segment import cpu_has_bfloat16, probabilities
    from insitu.train.held_out import prepared

    frame = prepared(one.image).input
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16()):
        p = probabilities(model, frame)[0]
    image = condition(frame[0], model.conditioning)
    values = torch.logit(p.clamp(1e-6, 1.0 - 1e-6)).numpy()
    found = example(grow(values, image.numpy(), local_noise(image)), one)
    return replace(found, kind=kind, tree=replace(found.tree, levels=()))  # label images are large


def learn(found: Sequence[Example], seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return the tensors of a `Choice` from the pieces of labelled images of several kinds."""
    found = [one for one in found if len(one.tree.parent)]
    return _both(found, seed) | {"least": np.array([least_score(found, seed)], np.float32)}


def _both(found: Sequence[Example], seed: int) -> dict[str, NDArray[Any]]:
    """Fit both networks; the scores that the second learns from are made by a first that has not seen the image."""
    halves = [found[k::2] for k in (0, 1)]
    firsts = [_fitted("first", half, [one.tree.features for one in half], seed) for half in halves]
    seen = [
        compared(one.tree.features, Choice(other).first(one.tree))
        for half, other in zip(halves, reversed(firsts), strict=True)
        for one in half
    ]
    return {
        **_fitted("first", found, [one.tree.features for one in found], seed),
        **_fitted("second", [*halves[0], *halves[1]], seen, seed),
    }


def least_score(found: Sequence[Example], seed: int = 0) -> float:
    """Return the least score that counts: of `LEAST`, that with the largest F2 on kinds that were not learned from."""
    from insitu.pixels.pieces import chosen
    from insitu.train.held_out import Instances

    total = dict.fromkeys(LEAST, 0.0)
    for kind in sorted({one.kind for one in found}):
        choice = Choice(_both([one for one in found if one.kind != kind], seed))
        counts = dict.fromkeys(LEAST, Instances(0, 0, 0))
        for one in found:
            score = choice.scores(one.tree) if one.kind == kind else np.zeros(0)
            for least in LEAST if len(score) else ():
                taken = chosen(score, one.tree.parent, least) & one.teaches
                hits = np.unique(one.particle[taken & (one.overlap >= 0.5)]).size
                counts[least] = counts[least].and_more(Instances(hits, one.particles, int(taken.sum())))
        for least in LEAST:
            total[least] += counts[least].f2
    return max(LEAST, key=lambda least: total[least])


def _fitted(name: str, found: Sequence[Example], seen: Sequence[Array], seed: int) -> dict[str, NDArray[Any]]:
    """Fit the members of one of the two networks."""
    tensors: dict[str, NDArray[Any]] = {}
    for member in range(MEMBERS):
        for key, value in _member(found, seen, [seed, len(name), member]).items():
            tensors[f"{name}.{member}.{key}"] = value
    return tensors


def _member(found: Sequence[Example], seen: Sequence[Array], seed: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Fit one network; every image weighs as the root of its pieces, up to a hundred of them."""
    import torch
    from torch.nn import functional

    from insitu.train.loop import seeded

    rng = np.random.default_rng(seed)
    rows, wanted, weight = [], [], []
    for one, features in zip(found, seen, strict=True):
        at = np.flatnonzero(one.teaches)
        at = rng.choice(at, _MOST_OF_ONE, replace=False) if len(at) > _MOST_OF_ONE else at
        rows.append(np.clip(features[at], -30.0, 30.0))
        wanted.append(one.target[at])
        weight.append(np.full(len(at), min(1.0, np.sqrt(100.0 / max(len(at), 1)))))
    table = np.concatenate(rows)
    mean, spread = table.mean(0), table.std(0) + 1e-6
    x = torch.tensor(np.clip((table - mean) / spread, -4.0, 4.0), dtype=torch.float32)
    y, w = (torch.tensor(np.concatenate(a), dtype=torch.float32) for a in (wanted, weight))
    module: Any = seeded(lambda: _layers(x.shape[1]), int(rng.integers(1 << 31)))
    adam = torch.optim.Adam(module.parameters(), RATE, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, STEPS)
    for _ in range(STEPS):
        k = torch.from_numpy(rng.integers(len(x), size=BATCH))
        disturbed = x[k] + DISTURBED * torch.from_numpy(rng.standard_normal((BATCH, x.shape[1]), np.float32))
        loss = functional.binary_cross_entropy_with_logits(module(disturbed)[:, 0], y[k], w[k])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
    tensors: dict[str, NDArray[Any]] = {"mean": mean.astype(np.float32), "spread": spread.astype(np.float32)}
    for number, layer in enumerate(module[::2]):
        tensors[f"weight.{number}"] = layer.weight.detach().numpy()
        tensors[f"bias.{number}"] = layer.bias.detach().numpy()
    return tensors


def _layers(inputs: int) -> Any:  # noqa: ANN401 - torch is loaded lazily
    from torch import nn

    return nn.Sequential(nn.Linear(inputs, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--weights", "file", type=click.Path(dir_okay=False), required=True, help="Network whose maps are cut.")
@click.option("--out", type=click.Path(dir_okay=False), required=True, help="File to write.")
@click.option("--samples", type=click.Path(file_okay=False), help="Folder that holds segmentation/; $INSITU_SAMPLES.")
def main(file: str, out: str, samples: str | None) -> None:
    """Learn the choice of pieces for the maps of one network."""
    import torch

    from insitu.models.checkpoint import load_network, packed
    from insitu.models.network import Network

    found = samples or os.environ.get("INSITU_SAMPLES")
    if not found:
        raise CommandError("no samples to learn from", "give --samples FOLDER, or set INSITU_SAMPLES")
    torch.set_num_threads(1)
    network = load_network(Path(file))
    plain = {**network.card, "outline": "network", "choice": None}
    model = Network(network.module, network.name, plain)
    tensors = learn([seen_by(model, kind, one) for kind, one in images(Path(found))])
    tensors["large_area_px"] = np.array([np.pi / 4 * (network.receptive_field_px / 2) ** 2], np.float32)
    Path(out).write_bytes(packed({k: np.asarray(v, np.float32) for k, v in tensors.items()}))
    click.echo(f"least score that counts: {tensors['least'][0]:g}")


if __name__ == "__main__":
    try:
        main()
    except InsituError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
