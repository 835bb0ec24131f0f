"""Damage a file in seeded, repeatable ways, and look at what a reader makes of it."""

from __future__ import annotations

import random

import numpy as np

from insitu.errors import BadFrame, InsituError

HOSTILE = (0, 1, 0x7F, 0x80, 0xFF)


def mutations(data: bytes, count: int, seed: int = 0, head: int | None = None):
    """Yield `count` damaged copies: flipped bytes, hostile integers, cuts, zeroed tails, doubled pieces.

    Half of the damage falls into the first `head` bytes, where the structure stands.
    """
    rng = random.Random(seed)
    head = min(head or len(data), len(data))
    for number in range(count):
        copy = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(head if rng.random() < 0.7 else len(data))
            width = rng.choice((1, 1, 2, 4, 8))
            value = rng.choice(HOSTILE) if rng.random() < 0.5 else rng.randrange(256)
            copy[at : at + width] = bytes([value] * len(copy[at : at + width]))
        if number % 5 == 1:
            del copy[rng.randrange(len(copy)) :]
        elif number % 5 == 2:
            at = rng.randrange(len(copy))
            copy[at:] = bytes(len(copy) - at)
        elif number % 5 == 3:
            at = rng.randrange(len(copy))
            copy[at:at] = copy[at : at + rng.randrange(1, 64)]
        yield bytes(copy)


def outcome(reader, path, *, most_bytes: int = 1 << 26) -> str:
    """Open and read a file as the engine would: how it went; anything but the errors of the house escapes."""
    claim = reader.claims(path)
    assert isinstance(claim, (bool, str))
    try:
        movie = reader(path)
    except InsituError as refusal:
        return "refused" if refusal.message and refusal.hint else "refused without a reason"
    try:
        info = movie.info
        assert info.height * info.width * info.dtype.itemsize <= most_bytes, "a frame larger than its file can hold"
        out = np.empty(info.shape, info.dtype)
        bad = 0
        for index in range(min(info.n_frames, 8)):
            movie.header(index)
            try:
                movie.read_into(index, out)
            except (BadFrame, InsituError):
                bad += 1
        return "bad frames" if bad else "frames"
    finally:
        movie.close()


def frames(reader) -> np.ndarray:
    """All frames of an open reader, (N, H, W)."""
    out = np.empty((reader.info.n_frames, *reader.info.shape), reader.info.dtype)
    for index in range(len(out)):
        assert reader.read_into(index, out[index]) == ()
    return out
