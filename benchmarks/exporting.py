"""Time and memory of the exports: ``python -m benchmarks.exporting [--particles 100] [--frames 1000 4000]``.

Runs of discs that never move in a black film, of several lengths; every export in a process of its own. Memory is the
peak of the resident set during the export less that before it (Linux); pages of mapped files on disk are part of it.
Writes ``benchmarks/results/exporting.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from insitu.measure import measure
from insitu.options import MeasureOptions, StoreOptions
from insitu.runs import components, find_runs
from insitu.store.commit import RunFolder
from insitu.tracks import TrackSummary
from insitu.types import Calibration, Event, Frame, FrameResult, Header, RunInfo, SourceInfo

FORMATS = {
    "csv": "t.csv",
    "xlsx": "t.xlsx",
    "trackpy": "t.parquet",
    "fiji": "fiji",
    "trackmate": "t.xml",
    "ctc": "t",
    "coco": "coco",
    "geff": "t.geff",
}
CELL = 24
ONE = """
import sys, time
from pathlib import Path
from insitu.export import export
from insitu.results import open_run
import pandas, pyarrow.dataset, zarr, tifffile, networkx, xlsxwriter, roifile, scipy.ndimage, PIL.Image
if sys.argv[2] == "geff":
    import geff.core_io
run = open_run(sys.argv[1])
len(run.particles.to_pandas(frames=0))
status = Path("/proc/self/status")
kB = lambda name: int(status.read_text().split(name + ":")[1].split()[0])
Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
before = kB("VmRSS")
start = time.process_time()
export(run, sys.argv[2], sys.argv[3])
print(time.process_time() - start, (kB("VmHWM") - before) / 1000)
"""


def make(out: Path, frames: int, particles: int) -> None:
    """Write a run of so many discs; every 50 frames one of them takes up a newcomer that is never seen."""
    side = int(np.ceil(np.sqrt(particles)))
    shape = (side * CELL, side * CELL)
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = (y % CELL - CELL / 2) ** 2 + (x % CELL - CELL / 2) ** 2 <= 36
    mask &= (y // CELL) * side + x // CELL < particles
    measured = measure(components(find_runs(mask)), MeasureOptions())
    film = out.with_name("film.npy")
    np.lib.format.open_memmap(film, "w+", np.uint8, (frames, *shape)).flush()
    source = SourceInfo(str(film), "npy", *shape, np.dtype(np.uint8), frames, Calibration())
    folder = RunFolder.create(
        RunInfo(out, source, Calibration(), shape), settings_text="", about={}, options=StoreOptions(fsync=False)
    )
    summary, p = TrackSummary(), measured.particles
    ids = np.arange(len(p), dtype=np.int64)
    columns = {"particle": ids, "y": p.y, "x": p.x, "equivalent_diameter_px": p.equivalent_diameter_px}
    for k in range(frames):
        a, b = int(ids[k % len(ids)]), int(ids[(k + 1) % len(ids)])
        events = (Event("coalescence", k, k, 0.0, 0.0, (a, b), (a,)),) if k % 50 == 25 else ()
        frame = Frame(k, None, "ok", (), Header("film.tif", k))
        folder.add(FrameResult(frame, measured.runs, p, ids, events))
        summary.add({"frame": np.full(len(ids), k), **columns})
        if k % 64 == 63:
            folder.commit({})
    folder.finish(summary.rows())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--particles", type=int, default=100)
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 4000])
    given = parser.parse_args()
    made = f"--particles {given.particles} --frames {' '.join(map(str, given.frames))}"
    lines = [
        "# Exports",
        "",
        f"Made by `python -m benchmarks.exporting {made}`: CPU time of the export, and memory beyond the opened run.",
        "",
        "| format | rows | CPU s | µs a row | MB more |",
        "| --- | --- | --- | --- | --- |",
    ]
    for frames in given.frames:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder) / "run", frames, given.particles)
            for name, out in FORMATS.items():
                command = [sys.executable, "-c", ONE, f"{folder}/run", name, f"{folder}/{out}"]
                seconds, more = map(float, subprocess.run(command, capture_output=True, check=True).stdout.split())
                rows = frames * given.particles
                lines.append(f"| {name} | {rows} | {seconds:.2f} | {1e6 * seconds / rows:.1f} | {more:.0f} |")
                print(lines[-1], flush=True)
    (Path(__file__).parent / "results" / "exporting.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
