"""The state of a training on disk: weights, Adam's moments and what happened so far; tensors and JSON alone."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.models.checkpoint import packed, read_tensors

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from insitu.train.loop import History, Recipe

Best = dict[str, "torch.Tensor"] | None


def save_state(
    state: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    recipe: Recipe,
    history: History,
    best: Best,
) -> None:
    """Write ``state.safetensors``: complete or not at all, the older one stays until then."""
    tensors = {f"weights/{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in (best or {}).items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"adam/{index}/{k}": v for k, v in moments.items()}
    arrays: dict[str, Any] = {k: v.detach().cpu().contiguous().numpy() for k, v in tensors.items()}
    about = {
        "recipe": recipe.as_dict(),
        "losses": history.losses,
        "checks": history.checks,
        "best_step": history.best_step,
        "stopped": history.stopped,
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    file = state.with_suffix(".safetensors")
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".part")
    with half.open("wb") as out:
        out.write(packed(arrays))
        out.flush()
        os.fsync(out.fileno())
    half.replace(file)


def load_state(
    state: Path, module: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe
) -> tuple[History, Best]:
    """Put a saved training back into `module` and `optimiser`; a fresh history where nothing is saved.

    Raises
    ------
    CommandError
        The saved training followed another recipe, or was of another network.
    """
    import torch

    from insitu.train.loop import History

    file = state.with_suffix(".safetensors")
    if not file.exists():
        return History(), None
    arrays = read_tensors(file)
    about = json.loads(arrays.pop("about").tobytes())
    tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
    parts: dict[str, dict[str, torch.Tensor]] = {"weights": {}, "best": {}, "adam": {}}
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = value
    same = {k: v.shape for k, v in parts["weights"].items()} == {k: v.shape for k, v in module.state_dict().items()}
    if about["recipe"] != recipe.as_dict() or not same:
        raise CommandError(
            f"'{file}' holds a training with another recipe or network",
            "give the same settings to go on with it, or another output to begin anew",
        )
    module.load_state_dict(parts["weights"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in parts["adam"].items():
        index, _, name = key.partition("/")
        moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    checks = [(int(step), float(score)) for step, score in about["checks"]]
    history = History(list(about["losses"]), checks, about["best_step"], about["stopped"])
    return history, parts["best"] or None
