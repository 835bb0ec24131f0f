"""Models: frames → particle probability, by the name of weights, a weights file, or a method without weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from insitu.errors import CommandError

if TYPE_CHECKING:
    from insitu.registry import Entry
    from insitu.types import Model

# Measured (benchmarks/results/segmentation.md): best on real gold crops, on empty supports, on one big particle.
DEFAULT = "classical"
METHODS = ("classical", "bragg")
WEIGHTS_FOLDER = Path(__file__).parent / "weights"


def weights() -> tuple[str, ...]:
    """Return the names of the weights that are shipped."""
    return tuple(sorted(file.stem for file in WEIGHTS_FOLDER.glob("*.safetensors")))


def names() -> tuple[str, ...]:
    """Return everything `load` accepts by name."""
    return ("default", *METHODS, *weights(), *_plugged())


def _plugged() -> dict[str, Entry]:
    """Return the models of installed packages by name."""
    from insitu.registry import MODELS, entries

    return {entry.name: entry for entry in entries("models") if entry not in MODELS}


def load(name_or_path: str, device: str = "cpu") -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path : str
        ``"default"``, a method without weights (``"classical"``, ``"bragg"``), the name of shipped weights, an
        architecture whose newest shipped weights are taken (``"unet"``), or a file: ``.safetensors``, or a ``.pt`` with
        a state dict, a card beside it.
    device : str
        Where it will run.

    Raises
    ------
    CommandError
        No model of this name.
    InputError
        The file is missing, damaged, of another architecture, or holds more than tensors.
    """
    name = DEFAULT if name_or_path == "default" else name_or_path
    if name in METHODS:
        from insitu.registry import MODELS

        method: Model = next(entry for entry in MODELS if entry.name == name).load()()
        return method
    if name in (plugged := _plugged()):
        model: Model = plugged[name].load()()
        return model
    file = WEIGHTS_FOLDER / f"{_shipped(name)}.safetensors"
    if not file.is_file():
        file = Path(name)
    if not file.is_file() and not name.endswith((".safetensors", ".pt", ".pth")):
        raise _unknown(name)
    from insitu.models.checkpoint import load_network

    return load_network(file, device)


def remarks(model: Model, shape: tuple[int, int]) -> list[str]:
    """Return what a user should know about a model and frames of `shape` (H, W) px, as the model sees them."""
    field = int(getattr(model, "receptive_field_px", 0))
    if min(shape) >= field:
        return []
    height, width = shape
    size = f"frames of {height}×{width} px are smaller than the receptive field of '{model.name}' ({field} px)"
    return [f"{size}: every pixel is judged with borders in sight, unlike most in training"]


def _shipped(name: str) -> str:
    """Return the newest shipped weights of an architecture, or the name itself."""
    versions = [w for w in weights() if w == name or w.startswith(f"{name}-")]
    return versions[-1] if versions else name


def _unknown(name: str) -> CommandError:
    from difflib import get_close_matches

    from insitu.models.architectures import names as architectures

    if name in architectures():
        return CommandError(
            f"no weights of '{name}' are shipped: it is an architecture",
            f"train it (insitu train), import weights (insitu models import), or use: {', '.join(names())}",
        )
    near = get_close_matches(name.lower(), names(), n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return CommandError(f"no model '{name}'", f"{hint}`insitu models list` shows: {', '.join(names())}")
