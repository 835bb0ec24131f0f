"""Latency and memory of the live page: ``python -m benchmarks.live [--seconds 20] [--minutes 10]``.

A run of 512 × 512 px with 100 particles beside a page in a real, headless Chromium. Each frame carries its number as
black and white squares; a probe in the page reads them back from the canvas at every repaint. Latency: from the call
of `Board.on_result` until the page sees the number, both on the clock of this machine. Busy: two more processes that
compute without end. Writes ``benchmarks/results/live.md``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil

from insitu.live.board import Board
from insitu.live.page import page
from insitu.live.server import LiveServer
from insitu.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "live.md"
sys.path.insert(0, str(ROOT / "tests" / "live"))
import chromium  # noqa: E402 - found beside the tests that it serves
from live_cases import event_of, result_of  # noqa: E402 - same

BITS, SQUARE = 16, 16
ROW = 2  # above the outline of the first particle
PACKAGES = ("starlette", "uvicorn", "websockets", "anyio", "h11", "idna", "typing_extensions")
PROBE = f"""
(() => {{
  window.seen = [];
  const canvas = document.getElementById('picture'), context = canvas.getContext('2d', {{ willReadFrequently: true }});
  const look = () => {{
    const row = context.getImageData(0, {ROW}, {BITS * SQUARE}, 1).data, now = performance.timeOrigin;
    let number = 0;
    for (let bit = 0; bit < {BITS}; bit++) number += (row[4 * (bit * {SQUARE} + {SQUARE // 2})] > 128) << bit;
    if (!seen.length || seen[seen.length - 1][0] !== number) seen.push([number, now + performance.now()]);
    requestAnimationFrame(look);
  }};
  look();
}})()
"""


def stamped(result, number):
    """Return a result whose picture carries `number`."""
    image = result.frame.image.copy()
    for bit in range(BITS):
        image[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 255 if number >> bit & 1 else 0
    frame = replace(result.frame, index=number, image=image, time_s=number / 15)
    return replace(result, frame=frame, events=(event_of(number, y=200.0, x=250.0),) if number % 30 == 0 else ())


class Camera(threading.Thread):
    """Gives a board `rate` results a second until it is told to stop; `sent` holds when each was given."""

    def __init__(self, board, rate, results) -> None:
        super().__init__()
        self._board, self._rate, self._results = board, rate, results
        self.sent: dict[int, float] = {}
        self.cost_s: list[float] = []
        self.enough = threading.Event()

    def run(self):
        """Give results until it is enough."""
        began = time.monotonic()
        for number in count(1):
            result = stamped(self._results[number % len(self._results)], number)
            if self.enough.wait(max(0.0, began + number / self._rate - time.monotonic())):
                return
            self.sent[number] = 1000 * time.time()
            before = time.perf_counter()
            self._board.on_result(result)
            progress = Progress(None, done=number, used=number, lag_frames=0, lag_s=0.0, frames_per_s=self._rate)
            self._board.on_progress(progress)
            self.cost_s.append(time.perf_counter() - before)


@contextmanager
def busy(processes):
    """Let so many processes compute without end while the block lasts."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


@contextmanager
def shown(rate, results):
    """Show a run in a browser: the tab, the camera, and the server's process."""
    with tempfile.TemporaryDirectory() as folder:
        board = Board()
        board.begin("benchmark", Path(folder) / "run")
        camera = Camera(board, rate, results)
        with LiveServer(board, 0) as server, chromium.tab(chromium.found(), Path(folder), dark=True) as tab:
            tab.open(server.address)
            camera.start()
            try:
                tab.until("document.getElementById('caption').textContent.startsWith('frame ')")
                yield tab, camera
            finally:
                camera.enough.set()
                camera.join()
                assert board.broken == "", board.broken


def latency(rate, results, seconds):
    """Return a row: pictures shown a second, latency, cost for the run."""
    with shown(rate, results) as (tab, camera):
        time.sleep(2)
        tab.value(PROBE)
        before = psutil.Process().cpu_times()
        tab.value(f"new Promise((done) => setTimeout(done, {1000 * seconds}))")
        after = psutil.Process().cpu_times()
        seen = tab.value("seen")[1:]
    waited = np.array([at - camera.sent[number] for number, at in seen if number in camera.sent])
    cpu = (after.user + after.system - before.user - before.system) / seconds
    p50, p95 = np.percentile(waited, [50, 95])
    cost = 1e6 * float(np.median(camera.cost_s))
    return len(seen) / seconds, p50, p95, waited.max(), 100 * cpu, cost


def growth(rate, results, minutes):
    """Return the page's heap and this process's memory in MB, a minute apart."""
    rows = []
    with shown(rate, results) as (tab, _):
        time.sleep(20)  # lists of events, thumbnails and curves fill up
        for _ in range(minutes + 1):
            tab.call("HeapProfiler.collectGarbage")
            heap = tab.call("Runtime.getHeapUsage")["usedSize"] / 1e6
            rows.append((heap, psutil.Process().memory_info().rss / 1e6))
            for _ in range(12 if len(rows) <= minutes else 0):
                time.sleep(5)
                tab.value("1")  # fetches what the browser tells of its connections, lest it be kept there
                tab.log.clear()
    return rows


def installed():
    """Return the size of the extra ``live`` in MB."""
    files = (Path(str(f.locate())) for name in PACKAGES for f in importlib.metadata.files(name) or ())
    return sum(f.stat().st_size for f in files if f.exists()) / 1e6


def found(seconds):
    """Return the section on latency."""
    results = [result_of(k, 100, (512, 512)) for k in range(40)]
    lines = [
        "512 × 512 px, 100 particles. From the call of the hook until the page sees the picture. *Busy*: processes",
        "that compute without end. *Server*: CPU of the serving process, the camera of this benchmark included.",
        "",
        "| camera, frames/s | busy | shown/s | p50, ms | p95, ms | worst, ms | server, % of a core | for the run, µs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rate, processes in ((15, 0), (15, 2), (100, 2)):
        with busy(processes):
            a_second, p50, p95, worst, cpu, cost = latency(rate, results, seconds)
        row = (rate, processes, f"{a_second:.1f}", *(f"{value:.0f}" for value in (p50, p95, worst, cpu, cost)))
        lines.append(f"| {' | '.join(str(cell) for cell in row)} |")
        print(lines[-1], flush=True)
    return [*lines, "", f"Page: {len(page().html) / 1000:.0f} kB in one answer. Extra `live`: {installed():.1f} MB."]


def grown(minutes):
    """Return the section on memory."""
    heaps = growth(15, [result_of(k, 100, (512, 512)) for k in range(40)], minutes)
    steps = " → ".join(f"{heap:.1f}" for heap, _ in heaps)
    memory = " → ".join(f"{rss:.0f}" for _, rss in heaps)
    return [
        "15 frames/s, an event every two seconds, a look every minute after the garbage collection.",
        "",
        f"- Heap of the page: {steps} MB: {heaps[-1][0] - heaps[0][0]:+.1f} MB in {minutes} minutes.",
        f"- Memory of the serving process: {memory} MB.",
    ]


def record(title, lines):
    """Write a section into the page of results; leave the other as it was measured before."""
    written = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = dict(section.split("\n\n", 1) for section in written.split("\n## ")[1:])
    load = f"load average {os.getloadavg()[0]:.1f}"
    sections[title] = "\n".join([*lines, "", f"{datetime.now(UTC).date()}, {os.cpu_count()} cores, {load} at the end."])
    head = "# Live page\n\n`python -m benchmarks.live`, in a headless Chromium.\n"
    RESULTS.write_text(head + "".join(f"\n## {t}\n\n{b.strip()}\n" for t, b in sorted(sections.items())), "utf-8")


def main():
    """Measure, print and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="of each measurement of latency; 0 leaves them out")
    parser.add_argument("--minutes", type=int, default=10, help="of the measurement of memory; 0 leaves it out")
    arguments = parser.parse_args()
    if chromium.found() is None:
        sys.exit(f"no browser: install one of {', '.join(chromium.BROWSERS)}")
    if arguments.seconds:
        record("Latency", found(arguments.seconds))
    if arguments.minutes:
        record("Memory", grown(arguments.minutes))
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
