"""The training loop: cross-entropy plus soft Dice, Adam under a one-cycle rate, everything from one seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.train.data import Pairs, batch

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained; goes into its model card."""

    steps: int = 2000
    batch: int = 8
    crop_px: int = 192
    most_rate: float = 0.01
    dice: float = 0.5
    seed: int = 1
    threads: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values."""
        return asdict(self)


def train(
    module: nn.Module, pairs: Pairs, recipe: Recipe, report: Callable[[int, float], None] | None = None
) -> list[float]:
    """Train `module` in place and leave it in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
        Gives two logits; its weights should come from `seeded`.
    pairs : Pairs
    recipe : Recipe
    report : callable, optional
        Called with (step, mean loss of the last 100 steps) every 100 steps.

    Returns
    -------
    list of float
        The loss of every step.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        return _steps(module, pairs, recipe, report)
    finally:
        torch.set_num_threads(threads)
        module.eval()


def _steps(module: nn.Module, pairs: Pairs, recipe: Recipe, report: Callable[[int, float], None] | None) -> list[float]:
    import torch

    module.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
    rng = np.random.default_rng([recipe.seed, 1])
    optimiser = torch.optim.Adam(module.parameters(), lr=recipe.most_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.most_rate, total_steps=recipe.steps)
    losses: list[float] = []
    for step in range(recipe.steps):
        images, masks = batch(pairs, rng, recipe.batch, recipe.crop_px)
        logits = module(images.contiguous(memory_format=torch.channels_last))
        loss = objective(logits[:, 1] - logits[:, 0], masks, recipe.dice)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if report and (step + 1) % 100 == 0:
            report(step + 1, float(np.mean(losses[-100:])))
    return losses


def objective(logits: torch.Tensor, masks: torch.Tensor, dice: float) -> torch.Tensor:
    """Cross-entropy plus `dice` times (1 - soft Dice of the batch); (B, H, W) each."""
    from torch.nn import functional

    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    p = logits.sigmoid()
    overlap = (2.0 * (p * masks).sum() + 1.0) / (p.sum() + masks.sum() + 1.0)
    return entropy + dice * (1.0 - overlap)


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a network whose first weights follow from `seed`, without touching the global generator."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
