"""Does a frame cost the same after 100 000 frames as after 1 000? ``python -m benchmarks.constant [--frames 100000]``.

Frames of 256×256 with about a dozen discs from a list that runs to and fro, the method without weights, everything
written. Every thousand frames: CPU time of the process since the last thousand (other programs change the wall time,
not this), memory, open files and threads. Writes ``benchmarks/results/constant.json`` as it goes. The long soak
(``python -m benchmarks.soak frames``) is the same run.

CPU time, too, follows the machine: a virtual one gave 7.9 to 9.3 ms for the same frames within ten minutes. So at five
moments of the movie a second engine begins the same movie in a process of its own, and from its frame 1000 on both go
by turns, a few seconds each. What the machine does to one it does to the other; their ratio is what age costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.pipeline import host, movie

if TYPE_CHECKING:
    from collections.abc import Callable

    from insitu.pipeline import Summary
    from insitu.progress import Progress

RESULTS = Path(__file__).parent / "results" / "constant.json"
EVERY = 1000
SIDE = 256
SHARES = (0.2, 0.4, 0.6, 0.8, 0.95)  # of the movie: where a young engine runs beside the old one
TURN = 468  # frames: six times to and fro, so that every turn has the same images
TURNS = 9
YOUNG_FROM = 1000
LEAST_BESIDE = 90_000  # frames: in a shorter movie the moments would run into each other


class Turns:
    """A young engine beside this one, by turns, when `due` frames are done; `ratios` is old by young, a pair of turns.

    The first pair is not counted: each comes back to caches that the other has filled.
    """

    def __init__(self, due: int) -> None:
        self.due = due
        self.ratios: list[float] = []
        self._own: list[float] = []
        self._young: subprocess.Popen[str] | None = None
        self._mark = 0.0

    def seen(self, done: int) -> float:
        """Take turns if it is time; return the CPU seconds of this process that the measurement itself took."""
        if done < self.due or (done - self.due) % TURN or done > self.due + TURNS * TURN:
            return 0.0
        own = time.process_time()
        if self._young is None:
            command = [sys.executable, "-m", "benchmarks.constant", "--young"]
            self._young = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._turn()  # to frame 1000
        else:
            self._own.append(own - self._mark)
            self.ratios.append(self._own[-1] / self._turn())
        if done == self.due + TURNS * TURN:
            self._young.communicate("\n")
            if self._young.returncode:
                raise RuntimeError(f"the young engine ended with exit code {self._young.returncode}")
            self.ratios = self.ratios[1:]
        self._mark = time.process_time()
        return self._mark - own

    @property
    def pipes(self) -> int:
        """How many open files of this process belong to the measurement."""
        return (
            sum(pipe is not None and not pipe.closed for pipe in (self._young.stdin, self._young.stdout))
            if self._young
            else 0
        )

    def close(self) -> None:
        """End the young engine, whatever it does."""
        if self._young is not None:
            self._young.kill()
            self._young.communicate()

    def _turn(self) -> float:
        if self._young is None or self._young.stdin is None or self._young.stdout is None:
            raise RuntimeError("no young engine runs")
        self._young.stdin.write("\n")
        self._young.stdin.flush()
        return float(self._young.stdout.readline())


def analyse(frames: int, progress: Callable[[Progress], None]) -> Summary:
    """Analyse `frames` frames and write everything into a folder that is then removed."""
    from insitu.pipeline import process
    from insitu.settings import Settings

    few = (movie(12, 40, (SIDE, SIDE)) // 4).astype(np.uint8)
    order = [*range(40), *range(38, 0, -1)]
    settings = Settings().replace({"segment.model": "classical", "segment.polarity": "dark"}, "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        source = islice(cycle(few[k] for k in order), frames)
        return process(source, Path(folder) / "out", settings, progress=progress)


def run(
    frames: int, record: Path | None, every: int = EVERY
) -> tuple[Summary, list[dict[str, Any]], dict[int, list[float]]]:
    """Analyse `frames` frames; return how it went, what was seen on the way, and the cost against young engines.

    What was seen every `every` frames is also kept in `record`; the cost is a ratio for each pair of turns, by age.
    """
    if (
        frames >= LEAST_BESIDE
    ):  # a process that compiles the loops itself is 4 % slower to its end than one that loads them
        subprocess.run([sys.executable, "-m", "benchmarks.constant", "--compile"], check=True)
    marks: list[dict[str, Any]] = []
    turns = [Turns(int(frames * share) // EVERY * EVERY) for share in SHARES] if frames >= LEAST_BESIDE else []
    me = psutil.Process()
    before = [time.process_time(), time.perf_counter()]

    def seen(progress: Progress) -> None:
        wall = time.perf_counter()
        before[0] += sum(each.seen(progress.done) for each in turns)
        before[1] += time.perf_counter() - wall
        if progress.done % every:
            return
        now = [time.process_time(), time.perf_counter()]
        marks.append({
            "frames": progress.done,
            "cpu_ms": 1e3 * (now[0] - before[0]) / every,
            "wall_ms": 1e3 * (now[1] - before[1]) / every,
            "rss_MB": me.memory_info().rss / 1e6,
            "private_MB": me.memory_full_info().uss / 1e6,
            "files": me.num_fds() - sum(each.pipes for each in turns),
            "threads": me.num_threads(),
        })  # fmt: skip
        before[:] = now
        aged = {each.due: [round(ratio, 4) for ratio in each.ratios] for each in turns if each.ratios}
        if record is not None:
            record.write_text(json.dumps({"host": host(), "marks": marks, "old by young": aged}, indent=1) + "\n")
        print(
            marks[-1],
            *(f"{due}: {np.median(ratios):.3f} of a young engine" for due, ratios in aged.items()),
            flush=True,
        )

    try:
        summary = analyse(frames, seen)
    finally:
        for each in turns:
            each.close()
    return summary, marks, {each.due: each.ratios for each in turns}


def young() -> None:
    """Analyse frames when told to on standard input: 1000, then a turn each; print what a turn cost."""
    before = [0.0]

    def seen(progress: Progress) -> None:
        if progress.done < YOUNG_FROM or (progress.done - YOUNG_FROM) % TURN:
            return
        print(time.process_time() - before[0], flush=True)
        sys.stdin.readline()
        before[0] = time.process_time()

    sys.stdin.readline()
    analyse(YOUNG_FROM + TURNS * TURN, seen)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--young", action="store_true")
    parser.add_argument("--compile", action="store_true")
    wish = parser.parse_args()
    if wish.young:
        young()
    elif wish.compile:
        analyse(100, lambda _: None)
    else:
        run(wish.frames, RESULTS)


if __name__ == "__main__":
    main()
