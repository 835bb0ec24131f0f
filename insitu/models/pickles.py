"""Read the tensors of a PyTorch pickle without running anything that it asks for.

A pickle is a program. `torch.load(weights_only=True)` refuses those that hold more than tensors, which whole modules
(``torch.save(model, …)``) do. Here every class that a pickle names becomes an empty shell that only keeps its
attributes; tensors are described, then copied out of the file; any call to something else is refused with its name.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
    "torch.BFloat16Storage": "<u2",  # the upper half of a float32
}
# names of Python 2, which protocol 2 still writes
_TODAY = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_MOST_DEPTH = 64


class Refused(Exception):  # noqa: N818 - says why, and is turned into an InputError
    """A pickle that asks for more than tensors."""


class _ShellKind(type):
    """Of shell classes: they cannot be called, only made empty (as `copyreg.__newobj__` does) and filled."""

    def __call__(cls, *_: object, **__: object) -> Any:  # noqa: ANN401 - never returns
        raise Refused(f"it would run {cls.origin}")  # type: ignore[attr-defined]  # every shell class has one


class Shell(metaclass=_ShellKind):
    """What is left of an object of the pickle: its attributes; `origin` is the class it claims to be."""

    origin = "?"

    def __new__(cls, *_: object, **__: object) -> Shell:  # noqa: PYI034 - the same for every shell
        """Make an empty shell, whatever the arguments."""
        return object.__new__(cls)


@dataclass(slots=True)
class _Storage:
    """A run of numbers in the file; filled in later where the file keeps them at its end."""

    kind: str
    count: int
    values: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Strided:
    """A tensor as the pickle describes it: where it lies in its storage."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        """Copy the tensor out; bfloat16 becomes float32.

        Raises
        ------
        Refused
            It reaches outside its storage.
        """
        values = self.storage.values
        if values is None or len(self.size) != len(self.stride):
            raise Refused("a tensor has no storage")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        outside = min((self.offset, *self.size, *self.stride)) < 0 or (0 not in self.size and last >= len(values))
        if outside or prod(self.size) > len(
            values
        ):  # the latter with strides of 0: a little file could fill the memory
            raise Refused("a tensor reaches outside its storage")
        steps = tuple(s * values.itemsize for s in self.stride)
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.size, steps)
        out = np.array(view, order="C")
        if self.storage.kind == "torch.BFloat16Storage":
            return (out.astype("<u4") << 16).view("<f4")
        return out


@dataclass(slots=True)
class _StorageKind:
    name: str


class _Tensor:
    """Stands for ``torch._utils._rebuild_tensor_v2`` (it has no attributes that a pickle could set)."""

    __slots__ = ()

    def __call__(self, storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Any:  # noqa: ANN401
        if not isinstance(storage, _Storage):
            raise Refused("a tensor without a storage")
        return Strided(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


class _Parameter:
    """Stands for ``torch._utils._rebuild_parameter``."""

    __slots__ = ()

    def __call__(self, data: object, *_: object) -> Any:  # noqa: ANN401
        if not isinstance(data, Strided):
            raise Refused("a parameter without a tensor")
        return data


class _Reconstructor:
    """Stands for ``copyreg._reconstructor``: an empty shell, and no other class."""

    __slots__ = ()

    def __call__(self, kind: object, *_: object) -> Any:  # noqa: ANN401
        if not isinstance(kind, _ShellKind):
            raise Refused(f"it would make a {kind!r}")
        return Shell.__new__(kind)  # type: ignore[arg-type]  # a shell class


_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _Tensor(),
    "torch._utils._rebuild_parameter": _Parameter(),
    "torch._utils._rebuild_parameter_with_state": _Parameter(),
    "copyreg._reconstructor": _Reconstructor(),
    "builtins.set": set,
    "builtins.object": object,
    "torch.Size": tuple,
}


class _Reader(pickle.Unpickler):
    """Builds dictionaries, lists, numbers, texts, tensors and shells; nothing else."""

    def __init__(self, file: BytesIO, most_bytes: int) -> None:
        super().__init__(file, encoding="utf-8")
        self.most_bytes = most_bytes
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - what the pickle will use in its place
        key = f"{_TODAY.get(module, module)}.{name}"
        if key in _ALLOWED:
            return _ALLOWED[key]
        return _StorageKind(key) if key in _DTYPES else _ShellKind(name, (Shell,), {"origin": key})

    def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401 - a tuple that torch wrote
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # an old file keeps the source code beside the class; nobody reads it here
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _StorageKind)):
            raise Refused("it refers to something outside the file")
        kind, key, count = pid[1].name, str(pid[2]), int(pid[4])
        if not 0 <= count * np.dtype(_DTYPES[kind]).itemsize <= self.most_bytes:
            raise Refused(f"it announces {count} values, more than the file holds")
        return self.storages.setdefault(key, _Storage(kind, count))


@dataclass(slots=True)
class Unpickled:
    """What a file holds: its top object with shells for classes, and every tensor by its dotted name."""

    top: Any
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)


def read_pickle(file: Path) -> Unpickled:
    """Read a file that ``torch.save`` wrote, whole modules included.

    Raises
    ------
    InputError
        It cannot be read, is damaged, or asks for more than tensors; the reason is named.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read '{file}': {error.strerror or error}", "give a file that torch.save wrote"
        ) from error
    try:
        top = _from_zip(data) if data[:2] == b"PK" else _from_legacy(data)
        found: dict[str, NDArray[Any]] = {}
        _collect(top, "", found, 0)
    except Refused as error:
        raise InputError(
            f"'{file}' is a pickle that holds more than tensors: {error}",
            "save the state dict (torch.save(model.state_dict(), FILE)) or safetensors where it was made",
        ) from error
    except Exception as error:
        raise InputError(
            f"'{file}' is damaged, or not what torch.save writes: {type(error).__name__}: {error}",
            "fetch the file again, or save it again where it was made",
        ) from error
    return Unpickled(top, found)


def _from_zip(data: bytes) -> Any:  # noqa: ANN401 - the top object of a pickle
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        main = next(name for name in entries if name.endswith("data.pkl"))
        folder = main.removesuffix("data.pkl")
        if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
            raise Refused("its parts are compressed, which torch.save does not do")
        order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
        reader = _Reader(BytesIO(archive.read(main)), len(data))
        top = reader.load()
        for key, storage in reader.storages.items():
            dtype = np.dtype(_DTYPES[storage.kind]).newbyteorder(">" if order == b"big" else "<")
            raw = archive.read(f"{folder}data/{key}")
            values = np.frombuffer(raw, dtype, storage.count)
            storage.values = values.astype(dtype.newbyteorder("<"))
    return top


def _from_legacy(data: bytes) -> Any:  # noqa: ANN401 - the top object of a pickle
    stream = BytesIO(data)
    if _Reader(stream, 0).load() != _LEGACY_MAGIC:
        raise Refused("it was not written by torch.save")
    for _ in range(2):  # protocol version; sizes and byte order of the machine
        about = _Reader(stream, 0).load()
    if isinstance(about, dict) and not about.get("little_endian", True):
        raise Refused("it was written on a big-endian machine")
    reader = _Reader(stream, len(data))
    top = reader.load()
    for key in _Reader(stream, 0).load():
        storage = reader.storages[str(key)]
        count = int.from_bytes(stream.read(8), "little")
        dtype = np.dtype(_DTYPES[storage.kind])
        storage.values = np.frombuffer(stream.read(count * dtype.itemsize), dtype, storage.count)
    return top


def _collect(node: Any, prefix: str, found: dict[str, NDArray[Any]], depth: int) -> None:  # noqa: ANN401 - any object
    """Put every tensor under `node` into `found`: of a module its parameters, buffers and modules, of a dict its items.

    The order is that of `torch.nn.Module.state_dict`.
    """
    if depth > _MOST_DEPTH:
        raise Refused("its objects hold each other")
    if isinstance(node, Strided):
        found[prefix.removesuffix(".")] = node.array()
    elif isinstance(node, Shell):
        inside = vars(node)
        for group in ("_parameters", "_buffers", "_modules"):
            if isinstance(inside.get(group), dict):
                _collect(inside[group], prefix, found, depth + 1)
    elif isinstance(node, dict):
        for name, child in node.items():
            _collect(child, f"{prefix}{name}.", found, depth + 1)
