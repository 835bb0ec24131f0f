"""Architectures by name: a builder with its parameters, and what follows from them without any weights.

Every network takes conditioned images (B, 1, H, W) and gives maps (B, classes, H, W). It carries `multiple` (H and W
must be multiples of it), `activation` (`insitu.models.heads`) and `path` (`insitu.models.fields`).
"""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from insitu.errors import InputError
from insitu.models.fields import receptive_field, widest
from insitu.registry import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What follows from an architecture and its parameters alone.

    Parameters
    ----------
    parameters : int
        Trained values.
    mac_per_px : int
        Multiplications of convolutions a pixel of the image; everything else is small beside them.
    receptive_field_px : int
        As published: the mean width that an output pixel sees.
    widest_field_px : int
        The largest width that any output pixel sees; it depends on where the pixel lies on the coarse grid.
    multiple : int
        Sides of the image must be multiples of it (others are padded).
    """

    parameters: int
    mac_per_px: int
    receptive_field_px: int
    widest_field_px: int
    multiple: int


def names() -> tuple[str, ...]:
    """Return the architectures there are, those of installed packages last."""
    return tuple(entry.name for entry in entries("architectures"))


def build(architecture: str, parameters: Mapping[str, Any] | None = None) -> nn.Module:
    """Return an untrained network.

    Parameters
    ----------
    architecture : str
        One of `names`.
    parameters : mapping, optional
        Arguments of its class, ``build("resunet", {"pools": [4, 4], "base": 4})``; the rest at its default.

    Raises
    ------
    InputError
        No such architecture or parameter, or parameters that do not go together.
    """
    builder = _builder(architecture)
    known, given = defaults(architecture), dict(parameters or {})
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(known)}"
            raise InputError(f"architecture '{architecture}' has no parameter '{name}'", meant)
    try:
        return builder(**given)
    except (TypeError, ValueError, RuntimeError) as error:
        text = ", ".join(f"{k} = {v}" for k, v in given.items())
        first = str(error).splitlines()[0]
        raise InputError(f"no {architecture} with {text}: {first}", f"`insitu models show {architecture}`") from error


def defaults(architecture: str) -> dict[str, Any]:
    """Return the parameters of an architecture with their default values."""
    parameters = inspect.signature(_builder(architecture)).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def anatomy(architecture: str, parameters: Mapping[str, Any] | None = None) -> Anatomy:
    """Return size, cost and receptive field of a network, without reserving memory for its weights."""
    text = repr(sorted((parameters or {}).items()))
    return _anatomy(architecture, text, lambda: build(architecture, parameters))


_KNOWN: dict[tuple[str, str], Anatomy] = {}


def _anatomy(architecture: str, text: str, make: Callable[[], nn.Module]) -> Anatomy:
    import torch

    key = (architecture, text)
    if key not in _KNOWN:
        with torch.device("meta"):
            module = make().eval()
        path = module.path
        multiple = int(getattr(module, "multiple", 1))
        _KNOWN[key] = Anatomy(
            parameters=sum(p.numel() for p in module.parameters()),
            mac_per_px=round(_multiplications(module, 2 * multiple) / (2 * multiple) ** 2),
            receptive_field_px=receptive_field(path),  # type: ignore[arg-type]  # every architecture has one
            widest_field_px=widest(path),  # type: ignore[arg-type]
            multiple=multiple,
        )
    return _KNOWN[key]


def _multiplications(module: nn.Module, side: int) -> int:
    """Count the multiplications of all convolutions for one image of `side` px."""
    import torch
    from torch import nn

    total = 0

    def count(layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:  # noqa: ANN401 - torch's hook
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):  # every input pixel is multiplied with the whole kernel
            total += inputs[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    with torch.inference_mode():
        module(torch.empty(1, 1, side, side, device="meta"))
    for hook in hooks:
        hook.remove()
    return total


@cache
def _builder(architecture: str) -> Callable[..., nn.Module]:
    for entry in entries("architectures"):
        if entry.name == architecture:
            builder: Callable[..., nn.Module] = entry.load()
            return builder
    near = difflib.get_close_matches(architecture, names(), 1, 0.5)
    meant = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(f"no architecture '{architecture}'", f"{meant}choose one of {', '.join(names())}")
