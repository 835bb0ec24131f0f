"""Write small TVIPS movies, whole or in parts, of both versions."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

START = 740_399_696


def general(shape, bits, *, version=2, pixel=1, frame_header=60, size=256):
    fields = (size, version, shape[1], shape[0], bits, 0, 0, 1, 1, pixel, 200, 80, frame_header)
    return struct.pack("<13I", *fields).ljust(size, b"x")


def record(number, frame, *, version=2, mode=1, ms=0, frame_header=60):
    head = struct.pack("<III", number, START + ms // 1000, ms % 1000)
    if version == 2:
        head += struct.pack("<IfII", 0, 0.0, 0, mode)
        head = head.ljust(frame_header, b"\0")
    return head + frame.astype(frame.dtype.newbyteorder("<")).tobytes()


def encode(movie, *, version=2, mode=1, pixel=1, step_ms=25, frame_header=60):
    head = general(movie.shape[1:], movie.dtype.itemsize * 8, version=version, pixel=pixel, frame_header=frame_header)
    kw = {"version": version, "mode": mode, "frame_header": frame_header}
    return head, [record(i, frame, ms=i * step_ms, **kw) for i, frame in enumerate(movie)]


def write(path, movie, **kwargs):
    head, records = encode(movie, **kwargs)
    Path(path).write_bytes(head + b"".join(records))
    return Path(path)


def write_parts(folder, movie, cuts, **kwargs):
    """Parts ``m_000.tvips …``, cut before the frames `cuts`."""
    head, records = encode(movie, **kwargs)
    edges = [0, *cuts, len(records)]
    for k, (a, b) in enumerate(pairwise(edges)):
        (folder / f"m_{k:03d}.tvips").write_bytes((b"" if k else head) + b"".join(records[a:b]))
    return folder / "m_000.tvips"
