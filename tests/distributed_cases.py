"""A short movie in which particles touch, part and merge, and a worker that works in this process."""

from __future__ import annotations

import hashlib

import numpy as np
import tifffile

from insitu.distributed.work import analyse_range
from insitu.errors import InsituError
from insitu.settings import Settings

FRAMES = 40
SETTINGS = Settings().replace(
    {
        "segment.model": "classical",
        "calibration.nm_per_px": 0.2,
        "calibration.fps": 100.0,
        "events.contact_frames": 4,
        "store.fsync": False,
        "store.shard_frames": 4,
        "store.unit_frames": 3,
    },
    "test",
)


def with_(**values):
    return SETTINGS.replace({k.replace("__", "."): v for k, v in values.items()}, "test")


def touching(frames=FRAMES, seed=0):
    """Discs of which two touch for two frames and part, and two merge for good; frame 17 is all zero."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:64, :112]
    images = []
    for k in range(frames):
        apart = 15.0 if k in (10, 11) else 22.0
        merging = max(4.0, 26.0 - 1.2 * k)
        discs = [(18, 26, 7), (18, 26 + apart, 7), (46, 60, 8), (46, 60 + merging, 8), (44, 20, 9)]
        image = np.full(yy.shape, 150.0)
        inside = np.zeros(yy.shape)
        for y, x, r in discs:
            inside = np.maximum(inside, np.clip(r - np.hypot(yy - y, xx - x) + 0.5, 0, 1))
        noisy = rng.normal(image - 70 * inside, 5).clip(1, 255).astype(np.uint8)
        images.append(noisy * (k != 17))
    return images


def write_movie(path, **given):
    with tifffile.TiffWriter(path) as writer:
        for image in touching(**given):
            writer.write(image, contiguous=False, metadata=None)
    return path


def digest(out):
    """SHA-256 of every table and every file of the label array of a run."""
    files = [*out.glob("*.parquet"), *(p for p in (out / "labels.ome.zarr").rglob("*") if p.is_file())]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


class Here:
    """Workers that do a range when its outcome is asked for, last submitted first done where `backwards`."""

    def __init__(self, jobs=2, backwards=True):
        self.jobs, self.backwards = jobs, backwards
        self.lost = None
        self.tasks, self.ended = [], {}

    @property
    def waiting(self):
        return len(self.tasks) - len(self.ended)

    def submit(self, task):
        self.tasks.append(task)

    def outcome(self, task, timeout_s):
        for one in self.tasks[::-1] if self.backwards else self.tasks:
            if one not in self.ended:
                try:
                    self.ended[one] = analyse_range(one)
                except InsituError as error:
                    self.ended[one] = error
        ended = self.ended[task]
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def finished(self, out):
        return sum(t.stop - t.first for t in self.ended if t.out == out)

    def cancel(self, out):
        self.tasks = [t for t in self.tasks if t.out != out or t in self.ended]

    def close(self):
        pass
