"""The chain of image directories of a TIFF or BigTIFF, walked without decoding anything (TIFF 6.0; BigTIFF).

Everything a page declares is read as a claim: where it lies, how large it is, how it is stored. Claims are compared
with each other and with the file before a single pixel is allocated. A page costs some microseconds, whatever its size.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from insitu.errors import InputError
from insitu.read.files import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from insitu.read.files import OpenFile

SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, STRIP_OFFSETS, SAMPLES, STRIP_COUNTS = 266, 270, 273, 277, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR = 282, 283, 284, 296, 317
ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT = 278, 322, 323, 324, 325, 339

_WALKED = frozenset((
    SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES,
    ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT, STRIP_COUNTS, PLANAR, PREDICTOR, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT,
))  # fmt: skip
_CODES = {1: "B", 2: "c", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_RATIONAL = 5
SEPARATE = 2  # value of PLANAR: one plane of pixels after the other
_NOWHERE = 1 << 62  # where the data of a page end whose directory points outside the file


class Form(NamedTuple):
    """What two pages must share to be frames of one movie, and how their pixels are stored."""

    height: int
    width: int
    samples: int
    bits: int
    sample_format: int
    compression: int
    photometric: int
    planar: int


@dataclass(slots=True)
class Pages:
    """The pages of a file as columns: a movie may have a million.

    Attributes
    ----------
    at : array of int64
        Byte offset of each page's directory.
    offset : array of int64
        First pixel byte where the page is one uncompressed block of whole bytes, else -1: it must be decoded.
    end : array of int64
        Byte after the last pixel byte of the page.
    form : array of uint32
        Index into `forms`.
    reduced : array of uint8
        1 where the page calls itself a thumbnail or a mask.
    complaint : str
        Why the chain ended early; empty where it ended as it should.
    """

    order: Literal["<", ">"]
    big: bool
    at: array[int] = field(default_factory=lambda: array("q"))
    offset: array[int] = field(default_factory=lambda: array("q"))
    end: array[int] = field(default_factory=lambda: array("q"))
    form: array[int] = field(default_factory=lambda: array("I"))
    reduced: array[int] = field(default_factory=lambda: array("B"))
    forms: list[Form] = field(default_factory=list)
    complaint: str = ""

    def __len__(self) -> int:
        return len(self.at)


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """A directory that cannot be what it claims."""


def is_tiff(head: bytes) -> bool:
    """Whether a file starting with `head` is a TIFF or BigTIFF."""
    return head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


def walk(file: OpenFile) -> Pages:
    """Return all pages of the file's main chain.

    Raises
    ------
    InputError
        No TIFF signature, or not one page.
    """
    head = file.read(0, 16)
    if not is_tiff(head):
        raise InputError(f"'{shown(file.path)}' has no TIFF signature", "check what wrote it, or give its true suffix")
    pages = Pages("<" if head[:2] == b"II" else ">", big=43 in head[2:4])
    if len(head) < 16:
        head = head.ljust(16, b"\0")
    (at,) = struct.unpack_from(pages.order + ("4xQ" if pages.big else "I"), head, 4)
    seen: set[int] = set()
    known: dict[Form, int] = {}
    while at:
        if at in seen:
            pages.complaint = f"the chain of pages returns to an earlier one after page {len(pages)}"
            break
        seen.add(at)
        try:
            at = _add_page(file, pages, known, at)
        except (_Damaged, struct.error):
            pages.complaint = f"the file is cut short or damaged after page {len(pages)}"
            break
    if not len(pages):
        raise InputError(
            f"'{shown(file.path)}' holds no page ({pages.complaint or 'its chain is empty'})", "copy the file again"
        )
    return pages


def next_directory(file: OpenFile, pages: Pages) -> int:
    """Return where the last page says that the next directory lies (there may be none to be read); 0 at the end."""
    return _entries(file, pages, pages.at[-1])[1]


def _add_page(file: OpenFile, pages: Pages, known: dict[Form, int], at: int) -> int:
    """Append the page whose directory lies at `at`; return the offset of the next directory."""
    entries, following = _entries(file, pages, at)
    tags: dict[int, Sequence[int]] = {}
    for tag, kind, count, value in entries:
        if tag in _WALKED:
            tags[tag] = _integers(file, pages, kind, count, value)
    form = Form(
        height=_one(tags, HEIGHT, 0),
        width=_one(tags, WIDTH, 0),
        samples=_one(tags, SAMPLES, 1),
        bits=_same(tags.get(BITS, (1,))),
        sample_format=_same(tags.get(SAMPLE_FORMAT, (1,))),
        compression=_one(tags, COMPRESSION, 1),
        photometric=_one(tags, PHOTOMETRIC, 1),
        planar=_one(tags, PLANAR, 1),
    )
    offset, end = _extent(file, form, tags)
    pages.at.append(at)
    pages.offset.append(offset)
    pages.end.append(end)
    pages.form.append(known.setdefault(form, len(known)))
    if len(known) > len(pages.forms):
        pages.forms.append(form)
    # bit 0: reduced resolution, bit 2: transparency mask; the old tag says 2 for reduced resolution
    pages.reduced.append(int(bool(_one(tags, SUBFILE, 0) & 5) or _one(tags, OLD_SUBFILE, 1) == 2))
    return following


def _entries(file: OpenFile, pages: Pages, at: int) -> tuple[list[tuple[int, int, int, bytes]], int]:
    """Return (tag, type, count, value field) of a directory, and the offset of the next one."""
    lead, pattern, link = ("Q", "HHQ8s", "Q") if pages.big else ("H", "HHI4s", "I")
    lead_size, size, link_size = (8, 20, 8) if pages.big else (2, 12, 4)
    data = file.read(at, 512)
    (count,) = struct.unpack_from(pages.order + lead, data)
    need = lead_size + size * count + link_size
    if not count or at + need > file.size:
        raise _Damaged
    if need > len(data):
        data = file.read(at, need)
    (following,) = struct.unpack_from(pages.order + link, data, need - link_size)
    return list(struct.iter_unpack(pages.order + pattern, data[lead_size : need - link_size])), following


def _raw(file: OpenFile, pages: Pages, size: int, value: bytes) -> bytes:
    """Return the bytes of a tag value, from the entry itself or from where it points to."""
    if size <= len(value):
        return value[:size]
    (offset,) = struct.unpack(pages.order + ("Q" if pages.big else "I"), value)
    if offset + size > file.size:
        raise _Damaged
    return file.read(offset, size)


def _integers(file: OpenFile, pages: Pages, kind: int, count: int, value: bytes) -> Sequence[int]:
    code = _CODES.get(kind)
    if code is None or code in "cfd" or not count:
        return ()
    try:
        data = _raw(file, pages, struct.calcsize(code) * count, value)
    except _Damaged:
        return (_NOWHERE,)
    return struct.unpack(f"{pages.order}{count}{code}", data)


def _one(tags: dict[int, Sequence[int]], tag: int, default: int) -> int:
    values = tags.get(tag)
    return values[0] if values else default


def _same(values: Sequence[int]) -> int:
    """Return the value that all samples share; 0, which no reader accepts, where they differ."""
    return values[0] if values and all(v == values[0] for v in values) else 0


def _extent(file: OpenFile, form: Form, tags: dict[int, Sequence[int]]) -> tuple[int, int]:
    """Return the offset of an uncompressed block (or -1) and the end of a page's data."""
    tiled = TILE_OFFSETS in tags
    offsets = tags.get(TILE_OFFSETS if tiled else STRIP_OFFSETS, ())
    counts = tags.get(TILE_COUNTS if tiled else STRIP_COUNTS, ())
    need = form.height * form.width * form.samples * form.bits // 8
    if not counts and len(offsets) == 1:  # old writers leave the count out
        counts = (need if form.compression == 1 else max(0, file.size - offsets[0]),)
    if not offsets or len(offsets) != len(counts):
        return -1, _NOWHERE
    first, sizes = np.asarray(offsets, np.float64), np.asarray(counts, np.float64)
    # 64 bits of a BigTIFF can point where no file reaches, and signed ones before its beginning
    if need < 0 or min(first.min(), sizes.min()) < 0 or (first + sizes).max() >= _NOWHERE:
        return -1, _NOWHERE
    # a segment of no bytes or at offset 0 was never written
    end = _NOWHERE if not sizes.all() or not first.all() else int((first + sizes).max())
    plain = form.compression == 1 and form.samples == 1 and form.bits in {8, 16, 32, 64} and not tiled
    plain = plain and _one(tags, FILL_ORDER, 1) == 1 and _one(tags, PREDICTOR, 1) == 1
    # tifffile fills strips and tiles that no offset is given for with zeros: such a page is not whole
    if len(offsets) < _segments(form, tags) if tiled or form.compression != 1 else sizes.sum() < need:
        end = _NOWHERE
    if not plain or (len(offsets) > 1 and (first[1:] != first[:-1] + sizes[:-1]).any()):
        return -1, end
    return offsets[0], min(end, offsets[0] + need) if end != _NOWHERE else end


def _segments(form: Form, tags: dict[int, Sequence[int]]) -> int:
    """Return how many strips or tiles make a page; 0 where their size is none."""
    if TILE_OFFSETS in tags:
        height, width = _one(tags, TILE_HEIGHT, 0), _one(tags, TILE_WIDTH, 0)
    else:
        height, width = _one(tags, ROWS_PER_STRIP, form.height), form.width
    if height < 1 or width < 1:
        return 0
    return -(-form.height // height) * -(-form.width // width) * (form.samples if form.planar == SEPARATE else 1)


def text_tag(file: OpenFile, pages: Pages, at: int, tag: int, limit: int = 1 << 26) -> str:
    """Return a text tag of the directory at `at`, empty where it is absent or damaged."""
    for found, _, count, value in _entries(file, pages, at)[0]:
        if found == tag and count <= limit:
            try:
                return _raw(file, pages, count, value).rstrip(b"\0").decode("utf-8", "replace")
            except _Damaged:
                return ""
    return ""


def number_tag(file: OpenFile, pages: Pages, at: int, tag: int) -> float | None:
    """Return the first number of a tag of the directory at `at` (a rational as its quotient), or None."""
    for found, kind, count, value in _entries(file, pages, at)[0]:
        if found != tag or not count:
            continue
        try:
            if kind == _RATIONAL:
                top, bottom = struct.unpack_from(pages.order + "II", _raw(file, pages, 8, value))
                return top / bottom if bottom else None
            code = _CODES.get(kind, "c")
            if code == "c":
                return None
            return float(struct.unpack_from(pages.order + code, _raw(file, pages, struct.calcsize(code), value))[0])
        except _Damaged:
            return None
    return None
