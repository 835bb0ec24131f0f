"""A long movie of small frames: memory, descriptors, threads and speed may not depend on how long it runs."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.soak.world import Stub, discs

NUMBER = 100_000
_EVERY = 500
_WARM_UP = 0.1  # of the movie: allocators and caches fill up first


def frames(number: int = NUMBER) -> dict[str, float]:
    """Send `number` frames through the engine and into a run folder; fit a line to what the process holds."""
    from insitu import models
    from insitu.pipeline import process
    from insitu.settings import Settings

    models.load = lambda *_, **__: Stub()
    me = psutil.Process()
    seen: list[tuple[float, ...]] = []

    def watch(progress) -> None:
        if progress.done % _EVERY == 0:
            held = me.memory_full_info().uss / 1e6
            seen.append((progress.done, held, me.memory_info().rss / 1e6, me.num_fds(), me.num_threads(), _cpu()))
            if progress.done % (20 * _EVERY) == 0:
                print(*seen[-1], flush=True)

    block = list(discs(400))
    settings = Settings().replace({"segment.model": "classical", "store.fsync": False}, "soak")
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        source = (block[k % len(block)] for k in range(number))
        summary = process(source, Path(folder) / "out", settings, progress=watch)
        seconds = time.time() - began
    done, uss, rss, files, threads, cpu = np.array(seen)[int(len(seen) * _WARM_UP) :].T
    half = len(cpu) // 2
    per_frame = [(cpu[b] - cpu[a]) / (done[b] - done[a]) for a, b in ((0, half), (half, -1))]
    return {
        "frames": summary.total,
        "frames stored": summary.used + summary.bad + summary.missing,
        "seconds": round(seconds),
        "RSS after warm-up, MB": round(float(rss[0]), 1),
        "RSS at the end, MB": round(float(rss[-1]), 1),
        "RSS slope, MB per 1e5 frames": round(float(np.polyfit(done, rss, 1)[0] * 1e5), 3),
        "private memory slope, MB per 1e5 frames": round(float(np.polyfit(done, uss, 1)[0] * 1e5), 3),
        "fewest open files": int(files.min()),
        "most open files": int(files.max()),
        "most threads": int(threads.max()),
        "CPU ms a frame, first half": round(1e3 * float(per_frame[0]), 3),
        "CPU ms a frame, second half": round(1e3 * float(per_frame[1]), 3),
    }


def _cpu() -> float:
    own = os.times()
    return own.user + own.system
