"""The check of readers must itself be able to fail: each reader here breaks one clause of the contract."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from insitu.errors import EndOfSource
from insitu.read.arrays import ArraysReader
from insitu.testing import check_reader
from insitu.types import Header, SourceInfo

FRAMES = np.random.default_rng(0).integers(0, 200, (6, 5, 7), dtype=np.uint8)


class Good:
    def __init__(self):
        self.info = SourceInfo("m", "test", 5, 7, np.dtype(np.uint8), 6)

    def header(self, index):
        if not 0 <= index < 6:
            raise IndexError(index)
        return Header("m", index)

    def read_into(self, index, out):
        self.header(index)
        if out.shape != (5, 7) or out.dtype != np.uint8:
            raise ValueError("slot")
        out[...] = FRAMES[index]
        return ()

    def close(self):
        pass


class WritesTooMuch(Good):
    def read_into(self, index, out):
        flags = super().read_into(index, out)
        if out.base is not None and out.base.ndim == 3:
            out.base[0, 0, 0] = 1
        return flags


class ForgetsTheSlot(Good):
    def read_into(self, index, out):
        super().read_into(index, np.empty_like(out))
        return ()


class IgnoresGaps(Good):
    def read_into(self, index, out):
        self.header(index)
        if out.shape != (5, 7) or out.dtype != np.uint8:
            raise ValueError("slot")
        if out.flags.c_contiguous:
            out[...] = FRAMES[index]
        else:
            np.lib.stride_tricks.as_strided(out, (35,), (1,))[:] = FRAMES[index].ravel()
        return ()


class InOrderOnly(Good):
    def __init__(self):
        super().__init__()
        self.next = 0

    def read_into(self, index, out):
        super().read_into(index, out)
        out[...] = FRAMES[self.next % 6]
        self.next += 1
        return ()


class SharesABuffer(Good):
    def __init__(self):
        super().__init__()
        self.buffer = np.empty((5, 7), np.uint8)
        self.main = threading.get_ident()
        self.turn = threading.Barrier(3)

    def read_into(self, index, out):
        super().read_into(index, self.buffer)
        if threading.get_ident() != self.main:
            self.turn.wait(timeout=5)  # all threads have written the buffer before any one copies it
        return super().read_into(index, out) if out.shape != (5, 7) else self._copy(out)

    def _copy(self, out):
        out[...] = self.buffer
        return ()


class TakesAnySlot(Good):
    def read_into(self, index, out):
        self.header(index)
        out[...] = np.resize(FRAMES[index], out.shape)
        return ()


class KnowsNoEnd(Good):
    def header(self, index):
        return Header("m", index % 6)


class ListsAsFlags(Good):
    def read_into(self, index, out):
        return list(super().read_into(index, out))


class ReadsWhatIsMissing(Good):
    def header(self, index):
        return Header("m", super().header(index).source_number, "missing" if index == 2 else "ok")


class ClosesOnce(Good):
    closed = False

    def close(self):
        if self.closed:
            raise OSError("closed twice")
        self.closed = True


class BadInfo(Good):
    def __init__(self):
        self.info = SourceInfo("two\nlines", "test", 5, 7, np.dtype(np.uint8), 6)


class ForeignBytes(Good):
    def __init__(self):
        self.info = SourceInfo("m", "test", 5, 7, np.dtype(">u2"), 6)


class EndsThoughItsLengthIsKnown(Good):
    def read_into(self, index, out):
        if index == 4:
            raise EndOfSource
        return super().read_into(index, out)


def test_a_good_reader_passes_and_its_frames_come_back():
    assert (np.array(check_reader(Good)) == FRAMES).all()
    assert len(check_reader(Good, max_frames=3)) == 3
    assert (check_reader(Good, max_frames=3)[-1] == FRAMES[5]).all()
    assert (np.array(check_reader(lambda: ArraysReader(iter(FRAMES)))) == FRAMES).all()


@pytest.mark.parametrize(
    ("broken", "clause"),
    [
        (WritesTooMuch, "outside the slot"),
        (ForgetsTheSlot, "not filled"),
        (IgnoresGaps, "gaps between rows"),
        (InOrderOnly, "out of order"),
        (SharesABuffer, "3 threads"),
        (TakesAnySlot, "a slot of"),
        (KnowsNoEnd, "no IndexError"),
        (ListsAsFlags, "flags"),
        (ReadsWhatIsMissing, "is missing, yet it was read"),
        (BadInfo, "printable"),
        (ForeignBytes, "native"),
        (EndsThoughItsLengthIsKnown, "EndOfSource"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_each_broken_clause_is_named(broken, clause):
    with pytest.raises(AssertionError, match=clause):
        check_reader(broken)


def test_closing_twice_must_be_allowed():
    with pytest.raises(OSError, match="twice"):
        check_reader(ClosesOnce)
