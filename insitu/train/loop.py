"""The training loop: weighted cross-entropy (or focal) plus soft Dice, Adam under a one-cycle rate, all from one seed.

Batch k depends on the seed and k alone and the rate on k alone, so that a training that was killed goes on from its
last saved step and ends with the same weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import cos, pi
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.models.heads import particle_logit
from insitu.train.data import CONTACT, PARTICLE, UNKNOWN, Mixture, Pairs, batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from torch import nn

REPORT_STEPS = 100
_WARM_UP = 0.3  # share of the steps in which the rate rises
_FIRST_RATE, _LAST_RATE = 1 / 25, 1e-5  # of the highest


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained; goes into its model card.

    Attributes
    ----------
    dice : float
        Weight of 1 - soft Dice beside the cross-entropy.
    dice_over : {"batch", "image"}
        What the soft Dice is taken over: of each image by itself, few or small particles weigh as much as large ones.
    loss : {"entropy", "focal"}
        Focal: pixels that are right already count less, with exponent 2 (Lin et al., doi:10.1109/ICCV.2017.324).
    contact : float
        Weight of the support between touching particles (Ronneberger et al., doi:10.1007/978-3-319-24574-4_28).
    balance : float
        Weight of particle pixels in the cross-entropy.
    until : int
        Stop after so many of the steps, at the rate reached: another stage goes on with other data. 0: never.
    check_every, patience : int
        Validate so often; stop after so many validations without improvement, and keep the best. 0: never.
    """

    steps: int = 2000
    batch: int = 8
    crop_px: int = 192
    most_rate: float = 0.01
    dice: float = 0.5
    dice_over: Literal["batch", "image"] = "batch"
    loss: Literal["entropy", "focal"] = "entropy"
    contact: float = 4.0
    balance: float = 1.0
    jitter: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 1
    threads: int = 1
    until: int = 0
    check_every: int = 0
    patience: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values."""
        return asdict(self)


@dataclass(slots=True)
class History:
    """What happened: the loss of every step, and the score of every validation as (step, score)."""

    losses: list[float] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    stopped: bool = False


def train(
    module: nn.Module,
    pairs: Pairs | Mixture,
    recipe: Recipe,
    report: Callable[[int, float], None] | None = None,
    *,
    validate: Callable[[nn.Module], float] | None = None,
    state: Path | None = None,
) -> History:
    """Train `module` in place and leave it in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
        Gives maps (`insitu.models.heads`); its weights should come from `seeded`.
    pairs : Pairs or Mixture
    recipe : Recipe
    report : callable, optional
        Called with (step, mean loss of the last 100 steps) every 100 steps.
    validate : callable, optional
        Score of the module, larger is better; called every `recipe.check_every` steps. The best weights are kept.
    state : Path, optional
        File without suffix that the state of the training is saved to at every validation or report, and resumed from.

    Returns
    -------
    History
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        # dropout draws from torch's generator: seeded anew at each step, and given back as it was
        with torch.random.fork_rng(devices=[]):
            return _steps(module, pairs, recipe, report=report, validate=validate, state=state)
    finally:
        torch.set_num_threads(threads)
        module.eval()


def _steps(
    module: nn.Module,
    pairs: Pairs | Mixture,
    recipe: Recipe,
    *,
    report: Callable[[int, float], None] | None,
    validate: Callable[[nn.Module], float] | None,
    state: Path | None,
) -> History:
    import torch

    from insitu.train.state import load_state, save_state

    module.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
    optimiser = torch.optim.Adam(module.parameters(), lr=recipe.most_rate)
    history, best = load_state(state, module, optimiser, recipe) if state else (History(), None)
    last = recipe.until or recipe.steps
    for step in range(len(history.losses), last):
        if history.stopped:
            break
        torch.manual_seed((recipe.seed << 32) + step)
        history.losses.append(_step(module, pairs, recipe, optimiser, step))
        done = step + 1
        if validate and recipe.check_every and (done % recipe.check_every == 0 or done == last):
            module.eval()
            score = validate(module)
            module.train()
            if not history.checks or score > max(s for _, s in history.checks):
                history.best_step, best = done, {k: v.clone() for k, v in module.state_dict().items()}
            history.checks.append((done, score))
            late = sum(s > history.best_step for s, _ in history.checks)
            history.stopped = bool(recipe.patience) and late >= recipe.patience
        if done % REPORT_STEPS == 0 or done == last or history.stopped:
            if state:
                save_state(state, module, optimiser, recipe=recipe, history=history, best=best)
            if report:
                report(done, float(np.mean(history.losses[-REPORT_STEPS:])))
    if best is not None:
        module.load_state_dict(best)
    return history


def _step(
    module: nn.Module, pairs: Pairs | Mixture, recipe: Recipe, optimiser: torch.optim.Optimizer, step: int
) -> float:
    import torch

    device = next(module.parameters()).device
    for group in optimiser.param_groups:
        group["lr"] = rate(step, recipe)
    rng = np.random.default_rng([recipe.seed, 1, step])
    images, codes = (t.to(device) for t in batch(pairs, rng, recipe.batch, recipe.crop_px, recipe.jitter))
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        maps = module(images.contiguous(memory_format=torch.channels_last)).float()
    loss = objective(particle_logit(maps, str(getattr(module, "activation", "softmax"))), codes, recipe)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def settle(module: nn.Module, pairs: Pairs | Mixture, recipe: Recipe, batches: int) -> None:
    """Measure the statistics of the batch norms anew, as plain means over `batches`, and leave evaluation mode on.

    The running means of a training forget all but the last ten batches: too few where every image is of another kind.
    """
    import torch
    from torch import nn

    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative
    module.train()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        for k in range(batches):
            rng = np.random.default_rng([recipe.seed, 2, k])
            images, _ = batch(pairs, rng, recipe.batch, recipe.crop_px, recipe.jitter)
            module(images.contiguous(memory_format=torch.channels_last))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()


def rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: up and down along half cosines (Smith, arXiv:1708.07120)."""
    up = max(1.0, _WARM_UP * recipe.steps - 1)
    if step <= up:
        low, high, part = _FIRST_RATE, 1.0, step / up
    else:
        low, high, part = 1.0, _LAST_RATE, (step - up) / max(1.0, recipe.steps - 1 - up)
    return recipe.most_rate * (high + (low - high) * 0.5 * (1.0 + cos(pi * min(part, 1.0))))


def objective(logits: torch.Tensor, codes: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Return the loss: weighted cross-entropy plus `dice` times (1 - soft Dice of the batch); (B, H, W) each."""
    from torch.nn import functional

    target = (codes == PARTICLE).float()
    weight = (codes != UNKNOWN).float() + (recipe.contact - 1.0) * (codes == CONTACT).float()
    if recipe.balance != 1.0:
        weight = weight * (1.0 + (recipe.balance - 1.0) * target)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    if recipe.loss == "focal":
        entropy = entropy * (p - target).abs().square()
    known = (codes != UNKNOWN).float()
    over = (0, 1, 2) if recipe.dice_over == "batch" else (1, 2)
    overlap = (2.0 * (p * target).sum(over) + 1.0) / ((p * known).sum(over) + target.sum(over) + 1.0)
    return (entropy * weight).sum() / weight.sum().clamp(min=1.0) + recipe.dice * (1.0 - overlap.mean())


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a network whose first weights follow from `seed`, without touching the global generator."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
