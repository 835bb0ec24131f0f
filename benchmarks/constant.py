"""Does a frame cost the same after 100 000 frames as after 1 000? ``python -m benchmarks.constant [--frames 100000]``.

Frames of 256×256 with about a dozen discs from a list that runs to and fro, the method without weights, everything
written. Every thousand frames: CPU time of the process since the last thousand (other programs change the wall time,
not this), and resident memory. Writes ``benchmarks/results/constant.json`` as it goes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.pipeline import host, movie

if TYPE_CHECKING:
    from insitu.progress import Progress

RESULTS = Path(__file__).parent / "results" / "constant.json"
EVERY = 1000


def main() -> None:
    from insitu.pipeline import process
    from insitu.settings import Settings

    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=100_000)
    chosen = parser.parse_args()
    few = (movie(12, 40, (256, 256)) // 4).astype(np.uint8)
    order = [*range(40), *range(38, 0, -1)]
    marks: list[dict[str, Any]] = []
    before = [time.process_time(), time.perf_counter()]

    def seen(progress: Progress) -> None:
        if progress.done % EVERY:
            return
        now = [time.process_time(), time.perf_counter()]
        marks.append({
            "frames": progress.done,
            "cpu_ms": 1e3 * (now[0] - before[0]) / EVERY,
            "wall_ms": 1e3 * (now[1] - before[1]) / EVERY,
            "rss_MB": psutil.Process().memory_info().rss / 1e6,
        })  # fmt: skip
        before[:] = now
        RESULTS.write_text(json.dumps({"host": host(), "marks": marks}, indent=1) + "\n")
        print(marks[-1], flush=True)

    settings = Settings().replace({"segment.model": "classical", "segment.polarity": "dark"}, "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        source = islice(cycle(few[k] for k in order), chosen.frames)
        process(source, Path(folder) / "out", settings, progress=seen)


if __name__ == "__main__":
    main()
