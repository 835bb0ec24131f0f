"""Write K2-IS raw movies: pixels packed bit by bit, blocks in the order of the camera."""

from __future__ import annotations

import struct

import numpy as np


def frame(seed):
    return np.random.default_rng(seed).integers(0, 4096, (1860, 2048)).astype(np.uint16)


def pack(pixels):
    """12 bits a pixel as one stream of bits, lowest first."""
    bits = (pixels.reshape(-1, 1).astype(np.uint16) >> np.arange(12, dtype=np.uint16)) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()


def blocks(image, sector, number, count):
    """The 32 blocks of one sector of a frame: from right to left, the upper half first."""
    out = []
    for half in (0, 1):
        for k in range(16):
            x, y = 240 - 16 * k, 930 * half
            head = struct.pack(
                ">I4xB7xIHHIHHHHI", 0xFFFF0055, 1, count, 256, 1860, number, x, y, x + 15, y + 929, 0x5758
            )
            left = 256 * sector + x
            out.append(head + pack(image[y : y + 930, left : left + 16]))
            count += 1
    return out


def sectors(frames, first=10):
    """For each of the 8 sectors the blocks of all frames, numbered from `first`."""
    return [[b for k, image in enumerate(frames) for b in blocks(image, s, first + k, 32 * k)] for s in range(8)]


def write(folder, rows, name="movie_"):
    (folder / f"{name}.gtg").write_bytes(b"gtg")
    for s, row in enumerate(rows):
        (folder / f"{name}{s + 1}.bin").write_bytes(b"".join(row))
    return folder / f"{name}.gtg"
