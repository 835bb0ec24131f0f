"""The figure of a training: its loss, and its score on what was set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.figures.style import BLUE, DOUBLE_MM, INK, SKY, Drawn, canvas, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANY_POINTS = 3000
_WINDOW = 1 / 50  # of the training: width of the moving mean


def learning(losses: Sequence[float], checks: Sequence[tuple[int, float]], best_step: int = 0) -> Drawn:
    """Draw the loss of every step with its moving mean, and the validations.

    Parameters
    ----------
    losses : sequence of float
        One a step.
    checks : sequence of (int, float)
        Step and score of every validation; may be empty.
    best_step : int
        The step whose weights were kept; 0: the last.
    """
    step, loss = np.arange(1, len(losses) + 1), np.asarray(losses, np.float64)
    score = np.full(len(losses), np.nan)
    for at, value in checks:
        score[at - 1] = value
    width = max(1, round(_WINDOW * len(losses)))
    with styled("learning"):
        figure = canvas(DOUBLE_MM, 56)
        left, right = figure.subplots(1, 2)
        left.plot(step, loss, color=SKY, linewidth=0.5, alpha=0.7, rasterized=len(loss) > _MANY_POINTS)
        if len(loss) >= width:
            mean = np.convolve(loss, np.ones(width) / width, "valid")
            left.plot(step[width - 1 :], mean, color=BLUE)
        left.set(xlabel="step", ylabel="loss")
        left.set_ylim(bottom=0)
        if checks:
            right.plot(*zip(*checks, strict=True), color=INK, marker="o", markersize=3)
            right.axvline(best_step or checks[-1][0], color=BLUE, linestyle=":")
        right.set(xlabel="step", ylabel="Dice on what was set aside", ylim=(0, 1), xlim=left.get_xlim())
    end = f"{loss[-width:].mean():.3f}" if len(loss) else "–"
    best = f"; the best Dice on what was set aside is {max(s for _, s in checks):.3f}" if checks else ""
    return Drawn(
        "learning",
        figure,
        {"step": step.tolist(), "loss": loss.tolist(), "validation_dice": score.tolist()},
        "Loss of every training step and its moving mean (left); Dice on what was set aside (right); dotted: the step "
        "whose weights were kept.",
        f"The loss falls to {end} after {len(loss)} steps{best}.",
        "Loss and validation",
    )
