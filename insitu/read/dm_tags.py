"""The tag tree of Gatan DM3 and DM4 files, walked without reading any image.

Both versions are one tree of named groups and values (big-endian structure, values in the byte order of the header);
DM4 has 64-bit counts and states the length of every tag, so that whole branches can be jumped over. Layout as described
by G. C. Potter, C. Boothroyd and others in public notes on the format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from insitu.errors import InputError
from insitu.read.files import shown
from insitu.read.untrusted import COPY_AGAIN, exactly

if TYPE_CHECKING:
    from insitu.read.files import OpenFile

# value type → (bytes, struct code)
SCALARS = {
    2: (2, "h"), 3: (4, "i"), 4: (2, "H"), 5: (4, "I"), 6: (4, "f"), 7: (8, "d"),
    8: (1, "B"), 9: (1, "b"), 10: (1, "B"), 11: (8, "q"), 12: (8, "Q"),
}  # fmt: skip
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_GROUP, _VALUE = 20, 21
_DEPTH = 32
_TAGS = 1_000_000
_INFO = 65_536
_STRING_CHARACTERS = 1024
_BLOCK = 65_536

# where sizes, calibrations and times stand; DM4 files often carry thousands of tags elsewhere
_WANTED_ROOT = {"ImageList", "Thumbnails"}
_WANTED_IMAGE = {"ImageData", "ImageTags", "Name"}
_WANTED_IMAGE_TAGS = {"Acquisition", "DataBar", "In-situ", "Meta Data"}

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Array:
    """An array that was passed over: where it lies, its element type, how many elements and bytes."""

    offset: int
    element: int
    count: int
    nbytes: int


@dataclass(slots=True)
class Tags:
    """Values and arrays of a file by dotted path, unnamed entries by number: ``ImageList.1.ImageData.DataType``."""

    version: int
    order: str
    values: dict[str, Value] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    def number(self, path: str) -> float | None:
        """Return a numeric value, or None."""
        value = self.values.get(path)
        return float(value) if isinstance(value, (int, float)) else None

    def text(self, path: str) -> str:
        """Return a text value, or an empty string."""
        value = self.values.get(path, "")
        return value if isinstance(value, str) else ""


def read_tags(file: OpenFile, *, jump: bool = True) -> Tags:
    """Walk the tags of a file.

    Parameters
    ----------
    file : OpenFile
        An open DM3 or DM4 file.
    jump : bool
        Pass over branches that hold nothing of use, by the tag lengths of DM4. A writer may have left these lengths
        wrong; then walk again without.

    Raises
    ------
    InputError
        Not a DM3/DM4 file, or its tree is broken.
    """
    return _Walk(file, jump=jump).tags


def is_dm(start: bytes) -> bool:
    """Whether the first 16 bytes are those of a DM3 or DM4 file."""
    if len(start) < 16:
        return False
    (version,) = struct.unpack_from(">I", start)
    (order,) = struct.unpack_from(">I", start, 8 if version == 3 else 12)
    return version in (3, 4) and order in (0, 1)


class _Walk:
    def __init__(self, file: OpenFile, *, jump: bool) -> None:
        self.file = file
        self.block, self.start, self.at = b"", 0, 0
        self.left = _TAGS
        head = exactly(file, 0, 16)
        if not is_dm(head):
            raise InputError(f"'{shown(file.path)}' does not begin like a DM3 or DM4 file", COPY_AGAIN)
        (version,) = struct.unpack_from(">I", head)
        little = struct.unpack_from(">I", head, 8 if version == 3 else 12)[0]
        self.tags = Tags(version, "<" if little else ">")
        self.wide = version == 4
        self.jump = jump and self.wide
        self.count = struct.Struct(">BBQ" if self.wide else ">BBI")
        self.name = struct.Struct(">BH")
        self.values = struct.Struct(">4sQ" if self.wide else ">4sI")
        self.length = struct.Struct(">Q")
        self.at = 16 if self.wide else 12
        self.group("", 0)

    def wrong(self, what: str) -> InputError:
        return InputError(f"'{shown(self.file.path)}' has a broken tag tree at byte {self.at}: {what}", COPY_AGAIN)

    def bytes(self, count: int) -> bytes:
        """Take `count` bytes through a block buffer, so that hundreds of small tags cost few system calls."""
        begin = self.at - self.start
        if begin < 0 or begin + count > len(self.block):
            if count > self.file.size - self.at:
                raise self.wrong(f"{count} bytes wanted, the file ends")
            self.start, begin = self.at, 0
            self.block = exactly(self.file, self.at, min(max(count, _BLOCK), self.file.size - self.at))
        self.at += count
        return self.block[begin : begin + count]

    def skip(self, count: int) -> None:
        if count < 0 or count > self.file.size - self.at:
            raise self.wrong(f"a value of {count} bytes, the file has {self.file.size - self.at} more")
        self.at += count

    def group(self, path: str, depth: int) -> None:
        if depth > _DEPTH:
            raise self.wrong(f"more than {_DEPTH} groups inside one another")
        _, _, count = self.count.unpack(self.bytes(self.count.size))
        if count > (self.file.size - self.at) // self.name.size or count > self.left:
            raise self.wrong(f"a group of {count} tags")
        self.left -= count
        for number in range(count):
            kind, length = self.name.unpack(self.bytes(3))
            name = self.bytes(length).decode("latin-1") if length else str(number)
            inner = f"{path}.{name}" if path else name
            end = 0
            if self.wide:
                (size,) = self.length.unpack(self.bytes(8))
                end = self.at + size
            if self.jump and 0 < end - self.at <= self.file.size - self.at and not _wanted(inner):
                self.at = end
            elif kind == _GROUP:
                self.group(inner, depth + 1)
            elif kind == _VALUE:
                self.value(inner)
            else:
                raise self.wrong(f"tag kind {kind} ({inner[:80]})")

    def value(self, path: str) -> None:
        mark, n_info = self.values.unpack(self.bytes(self.values.size))
        if mark != b"%%%%" or not 0 < n_info <= _INFO:
            raise self.wrong(f"no value where {path[:80]} should be")
        info = struct.unpack(f">{n_info}{'Q' if self.wide else 'I'}", self.bytes(n_info * (8 if self.wide else 4)))
        kind = info[0]
        if kind in SCALARS:
            size, code = SCALARS[kind]
            (self.tags.values[path],) = struct.unpack(self.tags.order + code, self.bytes(size))
        elif kind == _ARRAY and info[1] in SCALARS and n_info == 3:
            self.array(path, info[1], info[2])
        else:
            nbytes = self.size(info)
            if kind == _ARRAY:
                self.tags.arrays[path] = Array(self.at, info[1], info[-1], nbytes)
            self.skip(nbytes)

    def array(self, path: str, element: int, count: int) -> None:
        nbytes = SCALARS[element][0] * count
        if element == 4 and count <= _STRING_CHARACTERS and not path.endswith("ImageData.Data"):
            codec = "utf-16-le" if self.tags.order == "<" else "utf-16-be"
            self.tags.values[path] = self.bytes(nbytes).decode(codec, "replace").rstrip("\0")
            return
        self.tags.arrays[path] = Array(self.at, element, count, nbytes)
        self.skip(nbytes)

    def size(self, info: tuple[int, ...]) -> int:
        """Bytes of a struct, a string or a nested array, from its description."""
        nbytes, used = self.measure(info, 0, 0)
        if used != len(info):
            raise self.wrong("a value whose description has a wrong length")
        return nbytes

    def measure(self, info: tuple[int, ...], at: int, depth: int) -> tuple[int, int]:
        if at >= len(info) or depth > _DEPTH:
            raise self.wrong("a value whose description ends early")
        kind = info[at]
        if kind in SCALARS:
            return SCALARS[kind][0], at + 1
        if kind == _STRING and at + 1 < len(info):
            return info[at + 1], at + 2
        if kind == _ARRAY:
            nbytes, after = self.measure(info, at + 1, depth + 1)
            if after < len(info):
                return nbytes * info[after], after + 1
        if kind == _STRUCT and at + 2 < len(info):
            n_fields, total, after = info[at + 2], 0, at + 3
            if n_fields <= len(info):
                for _ in range(n_fields):
                    nbytes, after = self.measure(info, after + 1, depth + 1)
                    total += nbytes
                return total, after
        raise self.wrong(f"value type {kind}")


def _wanted(path: str) -> bool:
    parts = path.split(".", 4)
    if parts[0] not in _WANTED_ROOT:
        return False
    if parts[0] == "ImageList" and len(parts) > 2:
        if parts[2] not in _WANTED_IMAGE:
            return False
        return parts[2] != "ImageTags" or len(parts) == 3 or parts[3] in _WANTED_IMAGE_TAGS
    return True
