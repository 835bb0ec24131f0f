"""Weights in files: safetensors (tensors only, nothing that could run) with a model card in JSON beside.

A ``.pt`` file with a state dict is taken too, if a card says what it is (`insitu models import` makes both). The format
of safetensors is 8 bytes of header length, a JSON header and raw little-endian tensors; it is read here with numpy
where the `safetensors` package is absent.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.models.architectures import build, names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from insitu.models.network import Network

__all__ = ["build", "fitting", "load_network", "packed", "read_tensors", "save_network", "sha256", "unpacked"]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_MOST_HEADER_BYTES = 10_000_000
_PYTORCH = (".pt", ".pth")
_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_IMPORT = "`insitu models import {file}` takes its tensors and runs nothing"
_AGAIN = "restore the file from the release, or train it again: `python -m insitu.train.weights --work FOLDER`"


def load_network(file: Path, device: str = "cpu", *, fold: bool = True) -> Network:
    """Load weights and the card beside them (``NAME.safetensors`` or ``NAME.pt``, ``NAME.json``).

    `fold` puts norms into convolutions where that is exact, for speed; what is trained on and saved must keep them.

    Raises
    ------
    InputError
        Missing, damaged, or more than tensors; no card; another architecture; a hash that does not match.
    """
    import torch

    from insitu.models.folding import fold_norms
    from insitu.models.network import Network

    card = _card(file)
    digest = sha256(file)
    if card.get("sha256") not in (None, digest):
        raise InputError(f"'{file}' is not the file its model card describes (sha256 {digest[:12]}…)", _AGAIN)
    tensors = {k: torch.from_numpy(v) for k, v in read_tensors(file).items()}
    with torch.device("meta"):  # a card may ask for any size: nothing is allocated before the weights are seen to fit
        wanted = {k: tuple(v.shape) for k, v in _described(card, file).state_dict().items()}
    if wanted != {k: tuple(v.shape) for k, v in tensors.items()}:
        guess = fitting(tensors)
        raise InputError(
            f"the weights in '{file}' do not fit the architecture '{card['architecture']}' of its card",
            f"put the card that belongs to them beside them{f': they fit {guess!r}' if guess else ''}",
        )
    module = _described(card, file)
    module.load_state_dict(tensors)
    if fold:
        fold_norms(module.eval())
    return Network(module.to(device), str(card.get("name", file.stem)), card)


def fitting(tensors: Mapping[str, Any]) -> str | None:
    """Return the architecture (with default parameters) whose tensors have these names and shapes, or None."""
    import torch

    shapes = {name: tuple(values.shape) for name, values in tensors.items()}
    for architecture in names():
        with torch.device("meta"):
            wanted = {name: tuple(values.shape) for name, values in build(architecture).state_dict().items()}
        if wanted == shapes:
            return architecture
    return None


def _described(card: Mapping[str, Any], file: Path) -> nn.Module:
    """Return the network that a card describes."""
    try:
        return build(str(card["architecture"]), card.get("parameters"))
    except (TypeError, ValueError, RuntimeError, MemoryError, OverflowError, AttributeError, LookupError) as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise InputError(
            f"the model card of '{file}' describes no network ({why})",
            "put the card that belongs to these weights beside them",
        ) from error


def save_network(module: nn.Module, file: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write weights and card beside each other; return the card with the hash of the weights."""
    arrays = {k: v.detach().cpu().contiguous().numpy() for k, v in module.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(packed(arrays))
    full = {**card, "sha256": sha256(file), "bytes": file.stat().st_size}
    file.with_suffix(".json").write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return full


def sha256(file: Path) -> str:
    """Return the hash of a file's bytes, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """Read every tensor of a safetensors file, or of a ``.pt`` that holds a state dict and nothing else.

    Raises
    ------
    InputError
        The file is missing, damaged, or holds anything but tensors (a pickle).
    """
    if file.suffix in _PYTORCH:
        return _state_dict(file)
    data = _bytes(file)
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError:
        return unpacked(data, file)
    try:
        return {k: np.array(v) for k, v in load(data).items()}
    except SafetensorError as error:
        raise InputError(f"'{file}' is damaged: {error}", _AGAIN) from error


def _state_dict(file: Path) -> dict[str, NDArray[Any]]:
    """Read the state dict of a ``.pt`` file with torch's own restricted reader."""
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():  # of protocols that torch does not write itself
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _more_than_tensors(file, _forbidden(str(error))) from error
    except Exception as error:  # arbitrary bytes make torch's reader raise index, attribute, assertion errors, too
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"'{file}' is damaged: {said}", _AGAIN) from error
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise InputError(f"'{file}' holds more than a state dict", _IMPORT.format(file=file))
    return {k: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for k, v in found.items()}


def _forbidden(text: str) -> str:
    """Return what of torch's long refusal a user needs: the name of the class or function."""
    import re

    named = re.search(r"(?:GLOBAL|global) ([\w.]+)|type ([\w.]+)", text)
    return f"it asks for {named[1] or named[2]}" if named else text.splitlines()[0]


def _more_than_tensors(file: Path, why: str) -> InputError:
    return InputError(
        f"'{file}' is a pickle, which could run any program when opened: {why}", _IMPORT.format(file=file)
    )


def unpacked(data: bytes, file: Path) -> dict[str, NDArray[Any]]:
    """Read safetensors bytes with numpy alone (`file` is named in errors)."""
    damaged = InputError(f"'{file}' is damaged: it is no complete safetensors file", _AGAIN)
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_MOST_HEADER_BYTES, len(data) - 8):
        raise damaged
    body = memoryview(data)[8 + length :]
    found: dict[str, NDArray[Any]] = {}
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end <= len(body):
                raise damaged
            values = np.frombuffer(body[begin:end], _DTYPES[entry["dtype"]])
            found[name] = values.reshape(entry["shape"]).copy()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged from error
    return found


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return safetensors bytes; written here so that equal weights give equal files whatever is installed."""
    names = {np.dtype(v): k for k, v in _DTYPES.items()}
    header: dict[str, Any] = {}
    offset = 0
    for name in sorted(arrays):
        a = arrays[name]
        header[name] = {"dtype": names[a.dtype], "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(arrays[name].tobytes() for name in sorted(arrays))


def _bytes(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"cannot read the weights '{file}': {reason}", "`insitu models list` shows what there is"
        ) from error
    if data[:8] == _HDF5:
        raise InputError(f"'{file}' is HDF5 (Keras weights?), not safetensors", _IMPORT.format(file=file))
    # a header of 640 bytes begins as a pickle does; what follows its length is always a brace
    pickled = data[:2] == b"PK" or (data[:1] == b"\x80" and data[1:2] in _PROTOCOLS)
    if file.suffix not in _PYTORCH and pickled and data[8:9] != b"{":
        raise _more_than_tensors(file, "nothing in it was run")
    return data


def _card(file: Path) -> dict[str, Any]:
    _bytes(file)
    beside = file.with_suffix(".json")
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
        card["architecture"]
    except OSError as error:
        raise InputError(
            f"no model card '{beside}'",
            "put NAME.json beside NAME.safetensors, or: insitu models import FILE --architecture NAME",
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"the model card '{beside}' is not valid: {type(error).__name__}",
            'it needs at least {"architecture": "unet"}',
        ) from error
    return dict(card)
