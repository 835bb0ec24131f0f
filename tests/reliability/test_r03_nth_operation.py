"""Fail the n-th read, the n-th allocation, cut the power after the n-th operation: for n = 1, 2, … until none fails."""

from __future__ import annotations

import errno
import itertools
import os

import numpy as np
import pytest

from benchmarks.soak import targets
from benchmarks.soak.power import power
from benchmarks.soak.world import digest, discs
from insitu.errors import BadFrame, InputError, ResourceError
from insitu.pipeline import process, stream
from insitu.settings import Settings

SETTINGS = Settings().replace(
    {"segment.model": "classical", "store.fsync": False, "store.unit_frames": 3, "store.shard_frames": 4}, "test"
)
ON_DESCRIPTORS = [
    ("tiff", "stack.tif"), ("tiff", "zlib.tif"), ("mrc", "a.mrc"), ("dm", "v4l.dm4"), ("ser", "old.ser"),
    ("tvips", "v2.tvips"), ("npy", "stack.npy"), ("picture", "a.png"),
]  # fmt: skip


class Failing:
    """A function of `os` that fails at its n-th call."""

    def __init__(self, real, n, error):
        self.real, self.left, self.error = real, n, error

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.real(*args, **kwargs)

    @property
    def fired(self):
        return self.left <= 0


def read_all(name, path):
    """Frames, or why there are none."""
    try:
        movie = targets.reader(name)(path)
    except InputError as error:
        return [f"{error.message} {error.hint}"]
    try:
        frames = []
        for index in range(movie.info.n_frames):
            slot = np.zeros(movie.info.shape, movie.info.dtype)
            try:
                movie.read_into(index, slot)
            except BadFrame as bad:
                frames.append(bad.reason)
            else:
                frames.append(slot.tobytes())
        return frames
    finally:
        movie.close()


@pytest.mark.parametrize("call", ["pread", "preadv", "open"])
@pytest.mark.parametrize(("name", "file"), ON_DESCRIPTORS)
def test_each_read_fails(tmp_path, monkeypatch, name, file, call):
    suffix = {"tvips": "_000.tvips"}.get(name, os.path.splitext(file)[1])  # noqa: PTH122 - a name, not a path
    path = tmp_path / f"movie{suffix}"
    path.write_bytes((targets.CORPUS / name / file).read_bytes())
    good = read_all(name, path)
    for n in itertools.count(1):
        failing = Failing(getattr(os, call), n, OSError(errno.EIO, os.strerror(errno.EIO)))
        monkeypatch.setattr(os, call, failing)
        seen = read_all(name, path)
        monkeypatch.undo()
        if not failing.fired:
            assert seen == good
            return
        if len(seen) == len(good) and seen != good:
            # what was not hit is what it was: an error of the disk never becomes another picture
            assert all(a == b or isinstance(b, str) for a, b in zip(good, seen, strict=True))
        else:
            # opening failed, or what failed was not needed (a calibration beside the pixels)
            assert len(seen) == 1 or seen == good


def test_a_frame_that_the_disk_does_not_give_is_a_bad_frame(tmp_path, monkeypatch, stub):
    import tifffile

    with tifffile.TiffWriter(tmp_path / "movie.tif") as writer:
        for image in discs(6):
            writer.write(image, contiguous=False, metadata=None)
    failing = Failing(os.preadv, 4, OSError(errno.EIO, "Input/output error"))
    monkeypatch.setattr(os, "preadv", failing)
    seen = [(r.frame.status, r.frame.flags) for r in stream(str(tmp_path / "movie.tif"), settings=SETTINGS)]
    assert [s for s, _ in seen].count("bad") == 1
    assert ("bad", ("unreadable",)) in seen


def allocating(monkeypatch, n):
    failing = {}
    for name in ("empty", "zeros", "concatenate"):
        failing[name] = getattr(np, name)
    left = [n]

    def fails(real):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                raise MemoryError
            return real(*args, **kwargs)

        return call

    for name, real in failing.items():
        monkeypatch.setattr(np, name, fails(real))
    return left


def fail_allocations(tmp_path, monkeypatch, first, stride):
    images = list(discs(7))
    process(iter(images), tmp_path / "whole", SETTINGS)
    whole, fired = digest(tmp_path / "whole"), 0
    n = first
    while True:
        out = tmp_path / str(n)
        left = allocating(monkeypatch, n)
        try:
            process(list(images), out, SETTINGS)
        except (MemoryError, ResourceError):
            fired += 1
        finally:
            monkeypatch.undo()
            monkeypatch.setattr("insitu.models.load", stub_model)
        process(list(images), out, SETTINGS, resume=True)
        assert digest(out) == whole, n
        if left[0] > 0:
            return fired
        n += stride


def stub_model(*_, **__):
    from benchmarks.soak.world import Stub

    return Stub()


def test_allocations_fail_here_and_there(tmp_path, monkeypatch, stub):
    assert fail_allocations(tmp_path, monkeypatch, first=1, stride=29) > 3


@pytest.mark.slow
def test_each_allocation_fails(tmp_path, monkeypatch, stub):
    assert fail_allocations(tmp_path, monkeypatch, first=1, stride=1) > 100


def test_power_cuts_lose_nothing_that_was_acknowledged(engines):
    # every operation of the store in `soak power`
    counts = power(14, engines=engines)
    assert counts["power cuts"] == 14
    assert counts["acknowledged frames lost"] == counts["runs that differ"] == counts["tracebacks"] == 0
