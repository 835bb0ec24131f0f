"""The published residual UNets of Sytwu et al. (2022, 2024), as tensors of `insitu.models.resunet`.

They come as whole-module pickles (read by `insitu.models.pickles`) whose blocks are ``downs.i``, ``bottleneck`` and
``ups.i`` with ``conv1, bn1, conv2, bn2, conv_add``, and ``final_conv``. Pools and dilations stand in the modules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from insitu.errors import InputError
from insitu.models.pickles import Shell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_BLOCK = {"conv1": "path.0", "bn1": "path.1", "conv2": "path.3", "bn2": "path.4", "conv_add": "around"}
_NAME = re.compile(r"(?:module\.)?(?:(downs|ups)\.(\d+)|(bottleneck))\.(conv1|bn1|conv2|bn2|conv_add)\.(\w+)")
_HEAD = re.compile(r"(?:module\.)?final_conv\.(\w+)")


def is_residual(tensors: Mapping[str, NDArray[Any]]) -> bool:
    """Whether tensors are named as in the published residual UNets."""
    return any(_HEAD.fullmatch(name) for name in tensors) and any(_NAME.fullmatch(name) for name in tensors)


def residual_unet(
    tensors: Mapping[str, NDArray[Any]],
    top: Any,  # noqa: ANN401 - the top object of a pickle
    given: Mapping[str, Any],
    file: Path,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, str]]:
    """Map the tensors of a published residual UNet onto a `ResUNet`.

    Parameters
    ----------
    tensors : mapping of ndarray
        By the name in the file.
    top : object
        The module as a shell, from which pools and dilations are read; anything else if only a state dict was saved.
    given : mapping
        Parameters that the user named; they win.
    file : Path
        Named in errors.

    Returns
    -------
    parameters : dict
        Of the architecture: pools, base, dilations, classes.
    tensors : dict of ndarray
        By our name.
    source : dict of str
        Our name → name in the file.

    Raises
    ------
    InputError
        A tensor belongs to no layer, or the pools are not known.
    """
    source: dict[str, str] = {}
    for name in tensors:
        if found := _NAME.fullmatch(name):
            side, number, _, layer, part = found.groups()
            place = "bridge" if side is None else f"{'down' if side == 'downs' else 'up'}.{number}"
            source[f"{place}.{_BLOCK[layer]}.{part}"] = name
        elif found := _HEAD.fullmatch(name):
            source[f"head.{found[1]}"] = name
        else:
            raise InputError(f"'{file}': '{name}' belongs to no layer of a residual UNet", "it is another architecture")
    pools = given.get("pools", _pools(top))
    if pools is None:
        raise InputError(
            f"'{file}' holds tensors alone: the pooling sizes are not among them",
            "name them: --architecture resunet --set pools=[2,2]",
        )
    width = next(tensors[name].shape[0] for ours, name in source.items() if ours == "down.0.path.0.weight")
    classes = next(tensors[name].shape[0] for ours, name in source.items() if ours == "head.weight")
    parameters = {"pools": pools, "base": int(width), "classes": int(classes), **_dilations(top), **given}
    return parameters, {ours: tensors[name] for ours, name in source.items()}, source


def _modules(node: Any) -> dict[str, Any]:  # noqa: ANN401 - a shell, or nothing
    inside = vars(node).get("_modules") if isinstance(node, Shell) else None
    return inside if isinstance(inside, dict) else {}


def _pools(top: Any) -> list[int] | None:  # noqa: ANN401 - a shell, or anything
    sizes = [vars(pool).get("kernel_size") for pool in _modules(_modules(_whole(top)).get("pools")).values()]
    plain = [size[0] if isinstance(size, tuple) else size for size in sizes]
    return [int(size) for size in plain] if plain and all(isinstance(s, int) for s in plain) else None


def _dilations(top: Any) -> dict[str, list[int]]:  # noqa: ANN401 - a shell, or anything
    modules = _modules(_whole(top))
    blocks = [*_modules(modules.get("downs")).values(), modules.get("bottleneck")]
    found = [vars(_modules(block).get("conv1", Shell.__new__(Shell))).get("dilation") for block in blocks]
    plain = [d[0] if isinstance(d, tuple) else d for d in found]
    return (
        {"dilations": [int(d) for d in plain]} if all(isinstance(d, int) for d in plain) and set(plain) != {1} else {}
    )


def _whole(top: Any) -> Any:  # noqa: ANN401 - a shell, or anything
    """Return the network inside a DataParallel."""
    inside = _modules(top)
    return inside["module"] if set(inside) == {"module"} else top
