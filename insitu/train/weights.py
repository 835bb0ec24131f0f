"""Train the weights that are shipped: ``python -m insitu.train.weights``.

Simulated images only; from a seed, on one CPU core. Each network gets ``NAME.safetensors``, a card for programs
(``NAME.json``) and one for readers (``NAME.md``).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from insitu.errors import CommandError, InsituError
from insitu.train.data import Pairs, simulated_pairs
from insitu.train.loop import Recipe, seeded, train

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

SIDE_PX, SEED = 192, 1
HYSTERESIS = 0.9
HELD_OUT_SCENES, HELD_OUT_SEED = 100, 2
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, slots=True)
class Plan:
    """One set of weights: its architecture and how it is trained."""

    name: str
    architecture: str
    recipe: Recipe
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scenes: int = 1800


PLANS: tuple[Plan, ...] = (
    Plan("shallow-mixed-1", "shallow", Recipe(steps=800, batch=8, crop_px=96)),
    Plan("unet-mixed-1", "unet", Recipe(steps=2000, batch=8, crop_px=128)),
    Plan("resunet-mixed-1", "resunet", Recipe(steps=2400, batch=8, crop_px=128), {"pools": [2, 4, 4], "base": 4}),
)


def check_image(height: int = 64, width: int = 64) -> NDArray[np.float32]:
    """Return a fixed image made of integers: a disc of height 4 on a support that ripples by ±1.7."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    ripple = ((x * 7919 + y * 104729 + x * y * 31) % 1009).astype(np.float32) / np.float32(1009.0) - np.float32(0.5)
    disc = ((y - height // 2) ** 2 + (x - width // 3) ** 2 < 144).astype(np.float32)
    return np.asarray(np.float32(3.4) * ripple + np.float32(4.0) * disc, np.float32)


def reference_output(module: nn.Module) -> list[float]:
    """Return the probabilities of every fifth pixel of row 32 of `check_image`: a loaded network reproduces them."""
    import torch

    from insitu.models.network import Network

    with torch.inference_mode():
        p = Network(module, "check", {}).probabilities(torch.from_numpy(check_image())[None])
    return [round(float(v), 7) for v in p[0, 32, ::5]]


def scores(module: nn.Module, pairs: Pairs) -> dict[float, float]:
    """Return pixel IoU over all held-out images together, at each threshold."""
    import torch

    both = dict.fromkeys(_THRESHOLDS, 0)
    either = dict.fromkeys(_THRESHOLDS, 0)
    with torch.inference_mode():
        for image, mask in zip(pairs.images, pairs.masks, strict=True):
            logits = module(torch.from_numpy(image.astype(np.float32))[None, None])[0]
            p = torch.sigmoid(logits[1] - logits[0]).numpy()
            truth = mask.astype(bool)
            for t in _THRESHOLDS:
                both[t] += int(((p > t) & truth).sum())
                either[t] += int(((p > t) | truth).sum())
    return {t: round(both[t] / max(either[t], 1), 4) for t in _THRESHOLDS}


def make(plan: Plan, folder: Path, pairs: Pairs, held_out: Pairs) -> dict[str, Any]:
    """Train one network and write its three files; return its card."""
    from insitu.models.checkpoint import build, save_network

    began = time.process_time()
    module = seeded(lambda: build(plan.architecture, plan.parameters), plan.recipe.seed)
    losses = train(module, pairs, plan.recipe, _report)
    found = scores(module, held_out)
    card = {
        "name": plan.name,
        "architecture": plan.architecture,
        "parameters": dict(plan.parameters),
        "threshold": max(found, key=lambda t: found[t]),
        "seed": HYSTERESIS,
        "parameter_count": sum(p.numel() for p in module.parameters()),
        "data": f"insitu.simulate.random_scene: {len(pairs)} of {SIDE_PX}×{SIDE_PX} px, seed {SEED}; no real image",
        "recipe": plan.recipe.as_dict(),
        "held_out": f"{len(held_out)} scenes, seed {HELD_OUT_SEED}",
        "pixel_iou_at_threshold": {str(t): v for t, v in found.items()},
        "last_loss": round(float(np.mean(losses[-50:])), 4),
        "cpu_s": round(time.process_time() - began),
        "input": "flattened, support 0, its noise 1, clipped to -8…24 (insitu.models.network.condition)",
        "polarity": "particles positive: insitu.prepare turns dark particles over",
        "particles_px": "radius 3–150 px; pixel size drawn from 0.04–1 nm, it enters only through the fringes",
        "licence": "BSD-3-Clause",
        "reference": reference_output(module),
    }
    full = save_network(module, folder / f"{plan.name}.safetensors", card)
    (folder / f"{plan.name}.md").write_text(_for_readers(full), encoding="utf-8")
    return full


def _report(step: int, loss: float) -> None:
    print(f"  step {step:5d}  loss {loss:.4f}", file=sys.stderr, flush=True)  # noqa: T201 - progress of a program


def _for_readers(card: Mapping[str, Any]) -> str:
    recipe = ", ".join(f"{k} {v}" for k, v in card["recipe"].items())
    rows = "\n".join(f"| {t} | {v} |" for t, v in card["pixel_iou_at_threshold"].items())
    return f"""# {card["name"]}

Weights of `{card["architecture"]}` {card["parameters"] or ""} for supported particles in bright and dark field
({card["parameter_count"]} parameters, {card["bytes"]} bytes, sha256 `{card["sha256"]}`).

- **Data**: {card["data"]}.
- **Recipe**: {recipe}; cross-entropy plus soft Dice, Adam, one-cycle rate; {card["cpu_s"]} s of one CPU core.
- **Input**: {card["input"]}.
- **Polarity**: {card["polarity"]}.
- **Valid for**: {card["particles_px"]}.
- **Threshold**: {card["threshold"]}, the best on the held-out scenes.
- **Again**: `python -m insitu.train.weights --only {card["name"]}`

Pixel IoU on {card["held_out"]} (the same kind of simulation; for real images see `benchmarks/results/segmentation.md`):

| threshold | IoU |
| --- | --- |
{rows}
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", help="Train these weights alone; all by default.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder to write to; the package's own by default.")
@click.option("--scenes", type=click.IntRange(8), help="Images to train on; those of the plan by default.")
def main(only: tuple[str, ...], out: str | None, scenes: int | None) -> None:
    """Train the shipped weights from simulated images."""
    from pathlib import Path

    import torch

    from insitu.models import WEIGHTS_FOLDER
    from insitu.models.memory import keep_large_blocks

    plans = [p for p in PLANS if not only or p.name in only]
    if len(plans) < len(set(only)) or not plans:
        known = ", ".join(p.name for p in PLANS)
        raise CommandError(f"no plan for {', '.join(only)}", f"choose among {known}")
    torch.set_num_threads(1)  # on images this small a second thread costs eight times what it saves
    keep_large_blocks()
    pairs = simulated_pairs(scenes or max(p.scenes for p in plans), SIDE_PX, SEED)
    held_out = simulated_pairs(HELD_OUT_SCENES, SIDE_PX, HELD_OUT_SEED)
    for plan in plans:
        click.echo(plan.name, err=True)
        mine = pairs.first(scenes or plan.scenes)
        card = make(plan, Path(out) if out else WEIGHTS_FOLDER, mine, held_out)
        click.echo(f"{plan.name}  IoU {max(card['pixel_iou_at_threshold'].values())}  {card['bytes']} bytes")


if __name__ == "__main__":
    try:
        main()
    except InsituError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
