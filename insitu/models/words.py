"""Passes over maps of bfloat16, channels last, two channels in a word of 32 bits: the low half is the even one.

What PyTorch does between two convolutions in two to four passes over memory (norm, pooling, concatenation) is one here.
Each sum is in float32 and rounded once, to the nearest, ties to even. A product and the sum behind it are contracted
where the processor does that: processors that have bfloat16 do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from insitu.compiling import contracting

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Words = NDArray[np.uint32]
    Table = NDArray[np.float32]
    Quads = tuple[int, ...]  # one entry for 4 channels of a pixel; its length is part of the type

BLOCK = 256  # words at a time: what lies between two loops stays in the first cache
_HALF, _HIGH, _TIE, _ONE = np.uint32(16), np.uint32(0xFFFF0000), np.uint32(0x7FFF), np.uint32(1)
_inline = numba.njit(inline="always")


@_inline
def low(word: Any) -> Any:  # noqa: ANN401 - a scalar inside compiled code
    """Return the even channel as float32."""
    return np.uint32(word << _HALF).view(np.float32)


@_inline
def high(word: Any) -> Any:  # noqa: ANN401
    """Return the odd channel as float32."""
    return np.uint32(word & _HIGH).view(np.float32)


@_inline
def _nearest(value: Any) -> Any:  # noqa: ANN401
    bits = np.float32(value).view(np.uint32)
    return np.uint32(np.uint32(bits + _TIE) + np.uint32(np.uint32(bits >> _HALF) & _ONE))


@_inline
def packed(even: Any, odd: Any) -> Any:  # noqa: ANN401
    """Round two numbers to bfloat16 and return their word."""
    return np.uint32(np.uint32(_nearest(even) >> _HALF) | np.uint32(_nearest(odd) & _HIGH))


@_inline
def larger(a: Any, b: Any) -> Any:  # noqa: ANN401
    """Return the larger of two numbers; `max` asks for more and compiles to less."""
    return a if a > b else b  # noqa: FURB136


@contracting
def norm_and_pool(words: Words, table: Table, quads: Quads, out: Words, pooled: Words) -> None:
    """Write the normalised maps (H, W·C/2 words) and the largest of each 2×2 px of them (H/2, W/2·C/2 words)."""
    n, each = table.shape[1], 2 * len(quads)
    a, b, c, d = table[0], table[1], table[2], table[3]
    most = np.zeros((2, n + each), np.float32)  # of two rows: even channels, odd ones
    even, odd = most[0], most[1]
    for r in range(0, len(words), 2):
        for begin in range(0, words.shape[1], n):
            u, v = words[r, begin : begin + n], words[r + 1, begin : begin + n]
            s, t = out[r, begin : begin + n], out[r + 1, begin : begin + n]
            for i in range(len(u)):
                w, x = u[i], v[i]
                e, o = low(w) * a[i] + b[i], high(w) * c[i] + d[i]
                f, p = low(x) * a[i] + b[i], high(x) * c[i] + d[i]
                s[i], t[i] = packed(e, o), packed(f, p)
                even[i], odd[i] = larger(e, f), larger(o, p)
            _beside(most, len(u), quads, pooled[r // 2, begin // 2 :])


@contracting
def round_and_pool(maps: Table, table: Table, quads: Quads, out: Words, pooled: Words) -> None:
    """Do what `norm_and_pool` does from maps in float32 (H, W·C), which are rounded once, behind the norm."""
    n, each = table.shape[1], 2 * len(quads)
    a, b, c, d = table[0], table[1], table[2], table[3]
    most = np.zeros((2, n + each), np.float32)  # of two rows: even channels, odd ones
    even, odd = most[0], most[1]
    for r in range(0, len(maps), 2):
        for begin in range(0, out.shape[1], n):
            s, t = out[r, begin : begin + n], out[r + 1, begin : begin + n]
            u, v = maps[r, 2 * begin : 2 * (begin + n)], maps[r + 1, 2 * begin : 2 * (begin + n)]
            for i in range(len(s)):
                e, o = u[2 * i] * a[i] + b[i], u[2 * i + 1] * c[i] + d[i]
                f, p = v[2 * i] * a[i] + b[i], v[2 * i + 1] * c[i] + d[i]
                s[i], t[i] = packed(e, o), packed(f, p)
                even[i], odd[i] = larger(e, f), larger(o, p)
            _beside(most, len(s), quads, pooled[r // 2, begin // 2 :])


@contracting
def _beside(most: Table, n: int, quads: Quads, pooled: Words) -> None:
    """Write the larger of each two pixels that stand beside each other; all neighbours are compared, half are kept."""
    each, even, odd = 2 * len(quads), most[0], most[1]
    both = np.empty(n, np.uint32)
    for i in range(n):
        both[i] = packed(larger(even[i], even[i + each]), larger(odd[i], odd[i + each]))
    wide, to = both.view(np.uint64), pooled[: n // 2].view(np.uint64)
    for x in range(n // (2 * each)):
        for k in range(len(quads)):
            to[x * len(quads) + k] = wide[2 * x * len(quads) + k]


@contracting
def norm_and_join(words: Words, table: Table, skip: Words, kinds: tuple[Quads, Quads], out: Words) -> None:
    """Write the normalised maps and, behind them in each pixel, those of `skip`; `kinds` are the quads of both."""
    n, own, more = table.shape[1], len(kinds[0]), len(kinds[1])
    both = own + more
    a, b, c, d = table[0], table[1], table[2], table[3]
    normed = np.empty(n, np.uint32)
    wide = normed.view(np.uint64)
    for r in range(len(words)):
        to, given = out[r].view(np.uint64), skip[r].view(np.uint64)
        for begin in range(0, words.shape[1], n):
            u = words[r, begin : begin + n]
            for i in range(len(u)):
                w = u[i]
                normed[i] = packed(low(w) * a[i] + b[i], high(w) * c[i] + d[i])
            first = begin // (2 * own)
            for x in range(len(u) // (2 * own)):
                at = (first + x) * both
                for k in range(own):
                    to[at + k] = wide[x * own + k]
                for k in range(more):
                    to[at + own + k] = given[(first + x) * more + k]


@contracting
def difference(words: Words, out: Table) -> None:
    """Write the odd minus the even of two channels, the logit of a softmax over both; (H, W words) → (H, W)."""
    for r in range(len(words)):
        u, to = words[r], out[r]
        for i in range(len(u)):
            to[i] = high(u[i]) - low(u[i])


def tiled(factor: torch.Tensor, shift: torch.Tensor) -> Table:
    """Return factor and shift of the even and of the odd channels, repeated along a block of whole pairs of pixels."""
    each = len(factor) // 2
    rows = np.stack([t.detach().cpu().float().numpy()[k::2] for k in (0, 1) for t in (factor, shift)])
    return np.ascontiguousarray(np.tile(rows, (1, 2 * max(1, BLOCK // (2 * each)))))


def quads(channels: int) -> Quads:
    """Return the number of channels, a multiple of 4, in the form that the passes above are compiled for."""
    return (0,) * (channels // 4)


def words_of(maps: torch.Tensor) -> Words:
    """(1, C, H, W) bfloat16, channels last → (H, W·C/2) words, the same memory."""
    import torch

    rows: Words = maps.permute(0, 2, 3, 1).contiguous().view(torch.int16).numpy().view(np.uint32)
    own: Words = rows[0].reshape(maps.shape[2], -1)
    return own


def maps_of(words: Words, channels: int) -> torch.Tensor:
    """(H, W·C/2) words → (1, C, H, W) bfloat16, channels last, the same memory."""
    import torch

    flat = torch.from_numpy(words.view(np.int16)).view(torch.bfloat16)
    return flat.view(1, len(words), -1, channels).permute(0, 3, 1, 2)
