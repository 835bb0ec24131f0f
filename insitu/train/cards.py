"""Write what a training has made: weights, the card for programs, the card for readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn


def write(
    module: nn.Module,
    file: Path,
    card: Mapping[str, Any],
    readable: Callable[[Mapping[str, Any]], str] | None = None,
) -> dict[str, Any]:
    """Write ``NAME.safetensors``, ``NAME.json`` and ``NAME.md``; return the card with the hash of the weights.

    Parameters
    ----------
    module : torch.nn.Module
    file : Path
    card : mapping
    readable : callable, optional
        Makes the card for readers; `for_readers` where absent.
    """
    from insitu.models.checkpoint import save_network
    from insitu.train.reference import reference_output

    named = {"name": file.stem, **card, "reference": reference_output(module, card)}
    full = save_network(module, file, named)
    file.with_suffix(".md").write_text((readable or for_readers)(full), encoding="utf-8")
    return full


def for_readers(card: Mapping[str, Any]) -> str:
    """Return the card of a user's own training as Markdown."""
    recipe = ", ".join(f"{k} {v}" for k, v in card["recipe"].items())
    dice = card["pixel_dice_at_threshold"]
    rows = "\n".join(f"| {t} | {v} |" for t, v in dice.items())
    table = f"\nPixel Dice on what was set aside:\n\n| threshold | Dice |\n| --- | --- |\n{rows}\n" if dice else ""
    notes = "".join(f"- {note}.\n" for note in card["notes"])
    return f"""# {card["name"]}

Weights of `{card["architecture"]}` {card["parameters"] or ""}
({card["parameter_count"]} parameters, {card["bytes"]} bytes, sha256 `{card["sha256"]}`).

- **Data**: {card["data"]}.
- **Set aside for validation**: {card["validation"]}.
- **Recipe**: {recipe}; {card["steps_done"]} steps done,
  weights of step {card["best_step"] or card["steps_done"]}; {card["cpu_s"]} s of CPU.
- **Threshold**: {card["threshold"]}, the best on the training data (Dice {card["pixel_dice_on_training"]}).
{notes}{table}"""
