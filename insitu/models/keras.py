"""The public Keras weights of Groschner's light UNet (HDF5), as tensors of `insitu.models.light_unet`.

Read with h5py alone. The file holds ``conv2d_k/conv2d_k/kernel:0`` (rows, columns, in, out) and ``bias:0``,
``batch_normalization_k/batch_normalization_k/{gamma,beta,moving_mean,moving_variance}:0``, and
``final_layer/final_layer/{kernel,bias}:0``; k counts layers in the order in which they were made, from any number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Table = dict[str, NDArray[Any]]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_HINT = "this import reads the light UNets of doi:10.1017/S1431927621000386, saved by save_weights or save"


def read_keras(file: Path) -> Table:
    """Return every array of a Keras weights file by its path, without ``:0`` and the doubled name of its layer.

    Raises
    ------
    InputError
        Not HDF5, or without arrays in this layout.
    """
    import h5py

    found: Table = {}

    def take(name: str, node: Any) -> None:  # noqa: ANN401 - h5py's visitor
        if isinstance(node, h5py.Dataset):
            parts = name.removeprefix("model_weights/").removesuffix(":0").split("/")
            if len(parts) == 3 and parts[0] == parts[1]:
                found["/".join(parts[1:])] = np.asarray(node[()], np.float32)

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(take)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"'{file}' is damaged: {error}", "fetch the file again") from error
    if not found:
        raise InputError(f"'{file}' holds no weights as Keras names them (conv2d_1/conv2d_1/kernel:0)", _HINT)
    return found


def light_unet(table: Table, file: Path) -> tuple[dict[str, Any], Table, dict[str, str]]:
    """Map a Keras table onto a `LightUNet`.

    Returns
    -------
    parameters : dict
        Of the architecture: levels, classes.
    tensors : dict of ndarray
        By our name; kernels turned from (rows, columns, in, out) to (out, in, rows, columns).
    source : dict of str
        Our name → name in the file.

    Raises
    ------
    InputError
        The layers are not those of a light UNet, or an array is missing.
    """
    convolutions = _numbered(table, "conv2d")
    norms = _numbered(table, "batch_normalization")
    others = {n.partition("/")[0] for n in table} - {*convolutions, *norms, "final_layer"}
    depth, rest = divmod(len(convolutions) - 2, 3)
    if rest or depth < 1 or len(norms) != len(convolutions) or others or "final_layer/kernel" not in table:
        seen = f"{len(convolutions)} convolutions, {len(norms)} norms"
        extra = f", and {', '.join(sorted(others))}" if others else ""
        raise InputError(f"'{file}' is no light UNet: {seen}{extra}; it has 3n + 2 of both and a final_layer", _HINT)
    levels = [int(table[f"{name}/kernel"].shape[3]) for name in convolutions[:depth]]
    places = [f"down.{i}" for i in range(depth)] + [f"centre.{i}" for i in range(2)]
    places += [f"up.{i}.{j}" for i in range(depth) for j in range(2)]
    source: dict[str, str] = {}
    for place, convolution, norm in zip(places, convolutions, norms, strict=True):
        source[f"{place}.convolution.weight"] = f"{convolution}/kernel"
        source[f"{place}.convolution.bias"] = f"{convolution}/bias"
        source |= {f"{place}.norm.{ours}": f"{norm}/{theirs}" for ours, theirs in _NORM.items()}
    source |= {"head.weight": "final_layer/kernel", "head.bias": "final_layer/bias"}
    if missing := [name for name in source.values() if name not in table]:
        raise InputError(f"'{file}' lacks {', '.join(missing[:3])}", "fetch the file again")
    tensors: Table = {}
    for ours, theirs in source.items():
        array = table[theirs]
        tensors[ours] = np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array
    tensors |= {f"{place}.norm.num_batches_tracked": np.array(0, np.int64) for place in places}
    classes = int(table["final_layer/bias"].shape[0])
    parameters: dict[str, Any] = {"levels": levels, "classes": classes}
    return parameters, tensors, {ours: _in_file(theirs) for ours, theirs in source.items()}


def _numbered(table: Table, kind: str) -> list[str]:
    """Return the layers of a kind in the order of their numbers; one without a number is the first."""
    found = {name.partition("/")[0] for name in table}
    numbers = {name: int(match[1] or 0) for name in found if (match := re.fullmatch(rf"{kind}(?:_(\d+))?", name))}
    return sorted(numbers, key=numbers.__getitem__)


def _in_file(name: str) -> str:
    layer, _, part = name.partition("/")
    return f"{layer}/{layer}/{part}:0"
