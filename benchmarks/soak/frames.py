"""A long movie in one process: memory, descriptors, threads and cost a frame may not depend on how long it runs."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import constant, performance
from benchmarks.soak.ledger import LEAST_FRAMES

NUMBER = 100_000
_WARM_UP = 0.1  # of the movie: allocators and caches fill up first


def ageing(counts: dict[str, float]) -> list[float]:
    """Return by how many per cent a frame costs more than beside a young engine, at the ages that were tried."""
    return [value for name, value in counts.items() if "against a young engine" in name]


def frames(number: int = NUMBER) -> dict[str, float]:
    """Send `number` frames through the engine and into a run folder; fit a line to what the process holds."""
    began = time.time()
    every = min(constant.EVERY, max(1, number // 20))
    summary, marks, beside = constant.run(number, constant.RESULTS if number >= LEAST_FRAMES else None, every)
    seconds = time.time() - began
    if number >= LEAST_FRAMES:
        performance.PAGE.write_text(performance.made(), encoding="utf-8")
    late = marks[int(len(marks) * _WARM_UP) :]
    names = ("frames", "rss_MB", "private_MB", "files", "threads", "cpu_ms")
    done, rss, private, files, threads, cpu = (np.array([mark[name] for mark in late]) for name in names)
    slope, middle = np.polyfit(done, cpu, 1)[0], float(np.median(cpu))
    aged = {
        f"CPU a frame from {due} on against a young engine by turns, %": round(100 * float(np.median(ratios)) - 100, 2)
        for due, ratios in beside.items()
    }
    tenths = [float(np.median(part)) for part in np.array_split(cpu, 9)]
    return {
        "frames": summary.total,
        "frames stored": summary.used + summary.bad + summary.missing,
        "seconds": round(seconds),
        "RSS after warm-up, MB": round(float(rss[0]), 1),
        "RSS at the end, MB": round(float(rss[-1]), 1),
        "RSS slope, MB per 1e5 frames": round(float(np.polyfit(done, rss, 1)[0] * 1e5), 3),
        "private memory slope, MB per 1e5 frames": round(float(np.polyfit(done, private, 1)[0] * 1e5), 3),
        "fewest open files": int(files.min()),
        "most open files": int(files.max()),
        "most threads": int(threads.max()),
        "CPU ms a frame": round(middle, 3),
        "CPU ms a frame, lowest tenth of the movie": round(min(tenths), 3),
        "CPU ms a frame, highest tenth of the movie": round(max(tenths), 3),
        "CPU a frame, change over the movie by a line, %": round(float(100 * slope * (done[-1] - done[0]) / middle), 2),
        **aged,
    }
