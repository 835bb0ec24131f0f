"""Does a frame cost the same after 100 000 frames as after 1 000? ``python -m benchmarks.constant [--frames 100000]``.

Frames of 256×256 with about a dozen discs from a list that runs to and fro, the method without weights, everything
written. Every thousand frames: CPU time of the process since the last thousand (other programs change the wall time,
not this), memory, open files and threads. Writes ``benchmarks/results/constant.json`` as it goes. The long soak
(``python -m benchmarks.soak frames``) is the same run.
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
    from insitu.pipeline import Summary
    from insitu.progress import Progress

RESULTS = Path(__file__).parent / "results" / "constant.json"
EVERY = 1000
SIDE = 256


def run(frames: int, record: Path | None, every: int = EVERY) -> tuple[Summary, list[dict[str, Any]]]:
    """Analyse `frames` frames; return how it went and what was seen every `every` frames, also kept in `record`."""
    from insitu.pipeline import process
    from insitu.settings import Settings

    few = (movie(12, 40, (SIDE, SIDE)) // 4).astype(np.uint8)
    order = [*range(40), *range(38, 0, -1)]
    marks: list[dict[str, Any]] = []
    me = psutil.Process()
    before = [time.process_time(), time.perf_counter()]

    def seen(progress: Progress) -> None:
        if progress.done % every:
            return
        now = [time.process_time(), time.perf_counter()]
        marks.append({
            "frames": progress.done,
            "cpu_ms": 1e3 * (now[0] - before[0]) / every,
            "wall_ms": 1e3 * (now[1] - before[1]) / every,
            "rss_MB": me.memory_info().rss / 1e6,
            "private_MB": me.memory_full_info().uss / 1e6,
            "files": me.num_fds(),
            "threads": me.num_threads(),
        })  # fmt: skip
        before[:] = now
        if record is not None:
            record.write_text(json.dumps({"host": host(), "marks": marks}, indent=1) + "\n")
        print(marks[-1], flush=True)

    settings = Settings().replace({"segment.model": "classical", "segment.polarity": "dark"}, "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        source = islice(cycle(few[k] for k in order), frames)
        return process(source, Path(folder) / "out", settings, progress=seen), marks


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=100_000)
    run(parser.parse_args().frames, RESULTS)


if __name__ == "__main__":
    main()
