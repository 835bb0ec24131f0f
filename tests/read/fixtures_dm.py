"""Write small DM3 and DM4 files: any tag tree, either byte order, pixels where the tree says so."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

# DataType of an image, element type of its array
CODES = {
    "int16": (1, 2), "float32": (2, 6), "uint8": (6, 10), "int32": (7, 3), "int8": (9, 9), "uint16": (10, 4),
    "uint32": (11, 5), "float64": (12, 7), "bool": (14, 8), "int64": (39, 11), "uint64": (40, 12),
}  # fmt: skip
SCALARS = {np.dtype("f4"): (6, "f"), np.dtype("u4"): (5, "I"), np.dtype("u8"): (12, "Q"), np.dtype("i2"): (2, "h")}


class Pixels:
    """An array tag: element type and raw bytes in the file's byte order."""

    def __init__(self, element, values):
        self.element, self.values = element, values


class Complex(Pixels):
    """An array of (real, imaginary) structs."""


def calibration(axes):
    return {str(i): {"Origin": np.float32(0), "Scale": np.float32(s), "Units": u} for i, (s, u) in enumerate(axes)}


def image(array, axes=(), tags=None, data_type=None):
    """`array` in C order; `axes` as (scale, unit) from x upwards, as DM numbers them."""
    if array.dtype.kind == "c":
        code, pixels = 3, Complex(15, array)
    elif array.ndim == 4:  # (…, 4) blue green red alpha
        code, pixels = 23, Pixels(3, array.view("<i4")[..., 0])
        array = pixels.values
    else:
        code, element = CODES[array.dtype.name]
        pixels = Pixels(element, array)
    return {
        "ImageData": {
            "Calibrations": {"Dimension": calibration(axes)},
            "Data": pixels,
            "DataType": np.uint32(data_type or code),
            "Dimensions": {str(i): np.uint32(n) for i, n in enumerate(array.shape[::-1])},
        },
        "ImageTags": tags or {},
        "Name": "movie",
    }


def thumbnail(side=8):
    return image(np.zeros((1, side, side, 4), np.uint8))


def document(*images, thumbnails=(0,), extra=None):
    tree = {"ImageList": {str(i): each for i, each in enumerate(images)}}
    if thumbnails:
        tree["Thumbnails"] = {str(i): {"ImageIndex": np.uint32(n)} for i, n in enumerate(thumbnails)}
    return {"DocumentObjectList": {"0": {"ImageSource": np.uint32(0)}}, **(extra or {}), **tree}


def encode(tree, version=4, order="<", *, lengths=True):
    """Bytes of a file; with `lengths` False the tag lengths of DM4 are written as zero."""
    body = _group(tree, version, order, lengths)
    flag = 1 if order == "<" else 0
    head = struct.pack(">IQI", 4, len(body), flag) if version == 4 else struct.pack(">III", 3, len(body), flag)
    return head + body + b"\0" * 8


def write(path, *args, **kwargs):
    Path(path).write_bytes(encode(*args, **kwargs))
    return Path(path)


def _group(tree, version, order, lengths):
    out = struct.pack(">BBQ" if version == 4 else ">BBI", 1, 0, len(tree))
    for name, value in tree.items():
        group = isinstance(value, dict)
        inner = _group(value, version, order, lengths) if group else _value(value, version, order)
        # entries of a list carry no name in real files
        label = b"" if name.isdigit() else name.encode("latin-1")
        out += struct.pack(">BH", 20 if group else 21, len(label)) + label
        if version == 4:
            out += struct.pack(">Q", len(inner) if lengths else 0)
        out += inner
    return out


def _value(value, version, order):
    wide = "Q" if version == 4 else "I"
    if isinstance(value, Complex):
        info, data = [20, 15, 0, 2, 0, 6, 0, 6, value.values.size], value.values.astype(order + "c8").tobytes()
    elif isinstance(value, Pixels):
        array = value.values.astype(value.values.dtype.newbyteorder(order))
        info, data = [20, value.element, array.size], array.tobytes()
    elif isinstance(value, str):
        text = value.encode("utf-16-le" if order == "<" else "utf-16-be")
        info, data = [20, 4, len(text) // 2], text
    elif isinstance(value, float):
        info, data = [7], struct.pack(order + "d", value)
    else:
        kind, code = SCALARS[value.dtype]
        info, data = [kind], struct.pack(order + code, value)
    return b"%%%%" + struct.pack(f">{wide}", len(info)) + struct.pack(f">{len(info)}{wide}", *info) + data
