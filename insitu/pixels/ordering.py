"""Sorting many float32 quickly: every median of a sample and of its lower part then stands at a known place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = 11
_DIGITS = 1 << _BITS


@kernel
def _keys(bits: NDArray[np.uint32], out: NDArray[np.uint32]) -> None:
    """Turn the bits of floats into integers of the same order: the sign of negative ones turns all bits round."""
    for n in range(bits.shape[0]):
        flip = np.uint32(0xFFFFFFFF) if bits[n] >> np.uint32(31) else np.uint32(0x80000000)
        out[n] = bits[n] ^ flip


@kernel
def _values(keys: NDArray[np.uint32], out: NDArray[np.uint32]) -> None:
    for n in range(keys.shape[0]):
        flip = np.uint32(0x80000000) if keys[n] >> np.uint32(31) else np.uint32(0xFFFFFFFF)
        out[n] = keys[n] ^ flip


@kernel
def _sort_bits(bits: NDArray[np.uint32], out: NDArray[np.uint32]) -> None:
    """Sort floats given by their bits: least significant digit first, 11 bits at a time."""
    size = bits.shape[0]
    a, b = np.empty(size, np.uint32), np.empty(size, np.uint32)
    _keys(bits, a)
    for shift in range(0, 33, _BITS):
        place = np.zeros(_DIGITS + 1, np.int64)
        for n in range(size):
            place[(a[n] >> np.uint32(shift)) % np.uint32(_DIGITS) + 1] += 1
        for digit in range(_DIGITS):
            place[digit + 1] += place[digit]
        for n in range(size):
            digit = (a[n] >> np.uint32(shift)) % np.uint32(_DIGITS)
            b[place[digit]] = a[n]
            place[digit] += 1
        a, b = b, a
    _values(a, out)


def ascending(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values of a float32 array of any shape in ascending order; NaN at the ends."""
    flat = np.ascontiguousarray(sample).ravel()
    out = np.empty(flat.shape, np.float32)
    _sort_bits(flat.view(np.uint32), out.view(np.uint32))
    return out
