"""Weights in files: safetensors (tensors only, nothing that could run) with a model card in JSON beside.

The format is 8 bytes of header length, a JSON header and raw little-endian tensors; it is read here with numpy where
the `safetensors` package is absent.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.models.architectures import build

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from insitu.models.network import Network

__all__ = ["build", "load_network", "read_tensors", "save_network", "sha256", "unpacked"]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_MOST_HEADER_BYTES = 10_000_000
_AGAIN = "train it again with `python -m insitu.train.weights`, or restore the file from the release"


def load_network(file: Path, device: str = "cpu") -> Network:
    """Load weights and the card beside them (``NAME.safetensors``, ``NAME.json``).

    Raises
    ------
    InputError
        Missing, damaged or not safetensors; no card; another architecture; a hash that does not match.
    """
    import torch

    from insitu.models.network import Network

    card = _card(file)
    digest = sha256(file)
    if card.get("sha256") not in (None, digest):
        raise InputError(f"'{file}' is not the file its model card describes (sha256 {digest[:12]}…)", _AGAIN)
    tensors = {k: torch.from_numpy(v) for k, v in read_tensors(file).items()}
    module = build(str(card["architecture"]), card.get("parameters"))
    wanted = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    if wanted != {k: tuple(v.shape) for k, v in tensors.items()}:
        raise InputError(
            f"the weights in '{file}' do not fit the architecture '{card['architecture']}' of its card",
            "put the card that belongs to these weights beside them",
        )
    module.load_state_dict(tensors)
    return Network(module.to(device), str(card.get("name", file.stem)), card)


def save_network(module: nn.Module, file: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write weights and card beside each other; return the card with the hash of the weights."""
    arrays = {k: v.detach().cpu().contiguous().numpy() for k, v in module.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_packed(arrays))
    full = {**card, "sha256": sha256(file), "bytes": file.stat().st_size}
    file.with_suffix(".json").write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return full


def sha256(file: Path) -> str:
    """Return the hash of a file's bytes, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """Read every tensor of a safetensors file.

    Raises
    ------
    InputError
        The file is missing, damaged, or holds anything but tensors (a pickle).
    """
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


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
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
    if data[:2] in (b"\x80\x02", b"\x80\x04", b"PK"):
        raise InputError(
            f"'{file}' is a pickle, which could run any program when opened",
            "convert it to safetensors with the program that wrote it (safetensors.torch.save_file)",
        )
    return data


def _card(file: Path) -> dict[str, Any]:
    _bytes(file)
    beside = file.with_suffix(".json")
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
        card["architecture"]
    except OSError as error:
        raise InputError(
            f"no model card '{beside}'", "put NAME.json beside NAME.safetensors: it names the architecture"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the model card '{beside}' is not valid: {type(error).__name__}",
            'it needs at least {"architecture": "unet"}',
        ) from error
    return dict(card)
