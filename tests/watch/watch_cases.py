"""Cameras for tests: threads that write frames as a microscope does, and the digest of a run."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager

import tifffile
from cases_movies import discs

from insitu.read.watch import Patience, Until, WatchedFolder
from insitu.settings import Settings

SETTINGS = Settings().replace(
    {"segment.model": "classical", "calibration.nm_per_px": 0.2, "calibration.fps": 100.0, "store.fsync": False}, "test"
)
QUICK = Patience(poll_s=0.005, settle_s=0.05, quiet_s=0.15, retry_s=0.4, reorder_s=0.15, audit_s=0.1)


def digest(out):
    files = [*out.glob("*.parquet"), *(p for p in (out / "labels.ome.zarr").rglob("*") if p.is_file())]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


def write(folder, numbers, name="frame_{:04}.tif", frames=24, pause=0.0):
    """Write the frames `numbers` of the discs movie."""
    for k in numbers:
        path = folder / name.format(k)
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, discs(frames)[k % frames])
        if pause:
            time.sleep(pause)


@contextmanager
def camera(work):
    """Let `work` write in a thread of its own while the block lasts; its error is this block's."""
    failed = []

    def run():
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failed:
        raise failed[0]


def watched(folder, idle=0.4, patience=QUICK, **kw):
    return WatchedFolder(folder, Until(idle), patience=patience, **kw)
