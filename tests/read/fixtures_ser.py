"""Write small TIA series, and the part of an ``.emi`` that is read."""

from __future__ import annotations

import struct
from pathlib import Path

CODES = {
    "uint8": 1,
    "uint16": 2,
    "uint32": 3,
    "int8": 4,
    "int16": 5,
    "int32": 6,
    "float32": 7,
    "float64": 8,
    "complex64": 9,
}


def encode(frames, *, delta=(2e-10, 2e-10), stamps=None, planned=None, version=0x0210, kind=0x4122):
    """Bytes of a series; `delta` is the pixel size (y, x) in m, `stamps` whole seconds; rows go upwards."""
    planned = planned or len(frames)
    wide = version >= 0x0220
    code, size = ("Q", 8) if wide else ("I", 4)
    stamps = stamps or [1_456_073_345] * len(frames)
    dimension = struct.pack("<IddII6sI", planned, 0.0, 1.0, 0, 6, b"Number", 0)
    start = 22 + size + 4 + len(dimension)
    head = struct.pack("<HHHIIII", 0x4949, 0x0197, version, kind, 0x4152, planned, len(frames))
    head += struct.pack(f"<{code}I", start, 1) + dimension
    at, offsets, tags, body = start + 2 * planned * size, [], [], b""
    for frame, stamp in zip(frames, stamps, strict=True):
        offsets.append(at + len(body))
        height, width = frame.shape
        body += struct.pack("<ddiddiHii", 0, delta[1], 0, 0, delta[0], 0, CODES[frame.dtype.name], width, height)
        body += frame[::-1].astype(frame.dtype.newbyteorder("<")).tobytes()
        tags.append(at + len(body))
        body += struct.pack("<HHI", 0x4152, 0, stamp)
    rest = [0] * (planned - len(frames))
    return head + struct.pack(f"<{2 * planned}{code}", *offsets, *rest, *tags, *rest) + body


def write(path, frames, **kwargs):
    Path(path).write_bytes(encode(frames, **kwargs))
    return Path(path)


def write_emi(path, *, mode="TEM uP SA Zoom Image", **fields):
    body = "".join(f"<{k}>{v}</{k}>" for k, v in fields.items())
    text = f"\x00\x01<ObjectInfo><Data><Label>Mode</Label><Value>{mode}</Value></Data>{body}</ObjectInfo>\x02"
    Path(path).write_text(text)
