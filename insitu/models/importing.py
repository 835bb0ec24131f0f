"""Foreign weights → a network of ours with a card: which tensor went where is told, and nothing in the file is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from insitu.errors import InputError
from insitu.models.architectures import build, defaults, names
from insitu.models.checkpoint import fitting, save_network, sha256
from insitu.models.inputs import Conditioning, conditioning
from insitu.models.keras import SIGNATURE, light_unet, read_keras
from insitu.models.pickles import read_pickle
from insitu.models.residual import is_residual, residual_unet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

_WRAPPERS = ("model_state_dict", "state_dict", "model")


@dataclass(frozen=True, slots=True)
class Imported:
    """A network made of foreign weights.

    Parameters
    ----------
    module : torch.nn.Module
    architecture : str
    parameters : dict
    input : Conditioning
        What the network was trained to see.
    source : dict of str
        Our tensor → tensor in the file.
    notes : list of str
        What the user should know.
    """

    module: nn.Module
    architecture: str
    parameters: dict[str, Any]
    input: Conditioning
    source: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_weights(
    file: Path, architecture: str | None = None, parameters: Mapping[str, Any] | None = None
) -> Imported:
    """Read weights that another program wrote.

    Parameters
    ----------
    file : Path
        Keras HDF5 of a light UNet; a PyTorch file with a state dict, a checkpoint or a whole module. The content
        decides, not the name (the published PyTorch models end in ``.h5``).
    architecture : str, optional
        Needed where the names of the tensors do not tell it: ours, for files of ours; ``fcn8s`` for a VGG-16.
    parameters : mapping, optional
        Of the architecture, where they differ from its defaults and from what the file tells.

    Raises
    ------
    InputError
        The file cannot be read, asks for more than tensors, or holds another architecture.
    """
    given = dict(parameters or {})
    if architecture is not None:
        defaults(architecture)  # says which there are
    try:
        with file.open("rb") as stream:
            begin = stream.read(8)
    except OSError as error:
        raise InputError(
            f"cannot read the weights '{file}': {error.strerror or error}", "give a weights file"
        ) from error
    if begin == SIGNATURE:
        _agrees(file, architecture, "light_unet")
        told, tensors, source = light_unet(read_keras(file), file)
        return _made(file, "light_unet", {**told, **given}, tensors, source=source, seen=conditioning("maximum"))
    found = read_pickle(file)
    tensors = _unwrapped(found.tensors)
    if is_residual(tensors):
        _agrees(file, architecture, "resunet")
        told, tensors, source = residual_unet(tensors, found.top, given, file)
        return _made(file, "resunet", told, tensors, source=source, seen=Conditioning("standard", frames="counts"))
    if not tensors:
        raise InputError(f"'{file}' holds no tensors", "give the file of a network's weights")
    if architecture == "fcn8s" and any(name.startswith("features.") for name in tensors):
        return _encoder(tensors, given)
    if architecture is None:
        guess = fitting(tensors)
        hint = f"its tensors fit: --architecture {guess}" if guess else f"--architecture {' | '.join(names())}"
        raise InputError(f"'{file}' does not say which architecture its {len(tensors)} tensors belong to", hint)
    same = {name: name for name in tensors}
    return _made(file, architecture, given, tensors, source=same, seen=Conditioning())


def save_imported(imported: Imported, file: Path, out: Path, *, threshold: float | None = None) -> dict[str, Any]:
    """Write an imported network as safetensors with its card; return the card."""
    card = {
        "name": out.stem,
        "architecture": imported.architecture,
        "parameters": imported.parameters,
        "threshold": 0.5 if threshold is None else threshold,
        "parameter_count": sum(p.numel() for p in imported.module.parameters()),
        "input": imported.input.as_card(),
        "data": "unknown: imported weights",
        "imported_from": {"file": file.name, "sha256": sha256(file)},
        "licence": "that of the file it was imported from",
        "notes": imported.notes,
    }
    return save_network(imported.module, out, card)


def _agrees(file: Path, asked: str | None, found: str) -> None:
    if asked not in (None, found):
        raise InputError(f"'{file}' holds a '{found}', not a '{asked}'", f"leave --architecture away, or say {found}")


def _unwrapped(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Take the state dict out of a training checkpoint, and the prefix of a DataParallel off its names."""
    for wrapper in _WRAPPERS:
        inside = {k.removeprefix(f"{wrapper}."): v for k, v in tensors.items() if k.startswith(f"{wrapper}.")}
        if inside:
            tensors = inside
            break
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): v for name, v in tensors.items()}
    return dict(tensors)


def _made(
    file: Path,
    architecture: str,
    parameters: dict[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    *,
    source: dict[str, str],
    seen: Conditioning,
) -> Imported:
    import numpy as np
    import torch

    if architecture == "light_unet" and parameters.get("classes") == 1:
        parameters = {"head": "sigmoid", **parameters}
    module = build(architecture, parameters)
    for name, wanted in module.state_dict().items():
        if name not in tensors or tensors[name].shape != tuple(wanted.shape):
            found = f"{tuple(tensors[name].shape)}" if name in tensors else "nothing"
            guess = fitting(tensors)
            raise InputError(
                f"'{file}' is no '{architecture}' with {parameters or 'its default parameters'}: '{name}' should hold "
                f"{tuple(wanted.shape)}, found {found}",
                f"its tensors fit: --architecture {guess}" if guess else "name the parameters with --set key=value",
            )
    if extra := sorted(set(tensors) - set(module.state_dict())):
        raise InputError(
            f"'{file}' holds '{extra[0]}' and {len(extra) - 1} more tensors that '{architecture}' has no place for",
            "name its parameters with --set key=value",
        )
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"'{file}': '{source.get(name, name)}' holds values that are not finite", "fetch it again")
    module.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in tensors.items()})
    return Imported(module.eval(), architecture, parameters, seen, source)


def _encoder(tensors: Mapping[str, NDArray[Any]], given: dict[str, Any]) -> Imported:
    """Begin an FCN-8s with the encoder of a VGG-16; the rest is untrained."""
    import numpy as np
    import torch

    from insitu.models.fcn8s import FCN8s, load_encoder

    torch.manual_seed(0)
    module = build("fcn8s", given)
    assert isinstance(module, FCN8s)
    used = load_encoder(module, {name: torch.from_numpy(np.array(v)) for name, v in tensors.items()})
    note = "only the encoder has weights; the rest is untrained: a beginning for `insitu train`, not for `insitu run`"
    return Imported(module.eval(), "fcn8s", given, conditioning("standard"), {name: name for name in used}, [note])
