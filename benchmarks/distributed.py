"""What workers bring and what the ordered pass costs: ``python -m benchmarks.distributed [--frames 192]``.

Writes ``benchmarks/results/distributed.md``. One simulated movie is run in one process and by `--jobs` workers, through
the command line and from cold, so that starting workers counts; the tables and label arrays are compared. The ordered
pass (reading ranges, linking, events, storing) is measured alone, on ranges of 1792 × 1920 px that were written before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.discs import Discs
from insitu.distributed.stages import Shelf, plan_run
from insitu.distributed.team import Orders, Team
from insitu.measure import measure
from insitu.options import MeasureOptions
from insitu.runs import components, find_runs
from insitu.settings import Settings
from insitu.store.disk import Disk
from insitu.store.ranges import Found, range_path, write_range
from insitu.types import Frame, Header

HERE = Path(__file__).parent
SHAPE = (1792, 1920)
ORDERED = 256


def digest(out: Path) -> str:
    files = [*out.glob("*.parquet"), *(p for p in (out / "labels.ome.zarr").rglob("*") if p.is_file())]
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(files))).hexdigest()


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; return wall and CPU seconds."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - wall, cpu


def speed_up(folder: Path, model: str, frames: int, side: int) -> list[dict]:
    """Run one movie with one process and with several."""
    insitu = [sys.executable, "-m", "insitu"]
    movie = folder / "movie"
    if not movie.exists():
        subprocess.run(
            [*insitu, "simulate", movie, "--frames", str(frames), "--shape", f"{side}x{side}", "--seed", "1"],
            check=True,
            capture_output=True,
        )
    warm = [*insitu, "run", str(movie / "movie.tif"), "-o", str(folder / f"{model}-warm"), "--frames", "0:4"]
    timed([*warm, "--model", model, "--quiet"])  # compiles loops, once a machine
    rows, first = [], ""
    for jobs, lanes in ((1, 1), (1, 0), (2, 0)):
        out = folder / f"{model}-{jobs}-{lanes}"
        run = [*insitu, "run", str(movie / "movie.tif"), "-o", str(out), "--model", model, "--quiet"]
        # settings of the store at their defaults, fsync included
        wall, cpu = timed([*run, "--jobs", str(jobs), "--set", f"segment.lanes={lanes}"])
        own = json.loads((out / "run.json").read_text())["metrics"]["seconds"]
        first = first or digest(out)
        how = f"{jobs} process{'es' * (jobs > 1)}, " + ("one lane" if lanes else "lanes as by default")
        rows.append({"model": model, "how": how, "wall": wall, "own": own, "cpu": cpu, "same": digest(out) == first})
    return rows


def found_frames(frames: int, particles: int) -> list[Found]:
    rng = np.random.default_rng(0)
    found = []
    for k, mask in enumerate(Discs(n=particles, frames=frames, seed=0, relax=20, radius=11.0).masks()):
        noisy = mask ^ (rng.random(mask.shape) < 0.0005)
        measured = measure(components(find_runs(noisy)), MeasureOptions())
        found.append(Found(Frame(k, None, "ok", (), Header("movie.npy", k), 0.0025 * k), measured, 0.5))
    return found


def ordered_pass(folder: Path, particles: int) -> dict:
    """Link ranges that are there: CPU ms a frame of each part, bytes a frame of the range files."""
    movie = folder / "sparse.npy"
    if not movie.exists():
        stack = np.lib.format.open_memmap(movie, "w+", np.uint8, (ORDERED, *SHAPE))  # a hole but for its first frames
        stack[:8] = np.random.default_rng(0).normal(120, 8, (8, *SHAPE)).clip(1, 255)
        stack.flush()
    settings = Settings().replace(
        {"segment.model": "classical", "calibration.nm_per_px": 0.2, "store.fsync": False}, ""
    )
    out = folder / f"ordered-{particles}"
    tasks = plan_run(str(movie), out, Orders(settings, range_frames=ORDERED))
    frames = found_frames(ORDERED, particles)
    disk, began = Disk(fsync=False), time.process_time()
    path = range_path(out, tasks[0].key, tasks[0].first, tasks[0].stop)
    write_range(path, frames, disk, plane_shape=SHAPE)
    written = time.process_time() - began
    size = path.stat().st_size
    began = time.process_time()
    Team(Shelf(), Orders(settings, resume=True, planned=True)).process(str(movie), out)
    whole = time.process_time() - began
    stages = json.loads((out / "run.json").read_text())["metrics"]["stages"]
    ms = {name: 1e3 * stages[name]["cpu_s"] / ORDERED for name in ("read ranges", "link", "store", "tracks")}
    labels = sum(p.stat().st_size for p in (out / "labels.ome.zarr").rglob("*") if p.is_file()) / 1e3 / ORDERED
    return {
        "particles": particles,
        "labels": labels,
        "write": 1e3 * written / ORDERED,
        **ms,
        "whole": 1e3 * whole / ORDERED,
        "kB": size / 1e3 / ORDERED,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=192)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--models", nargs="+", default=["classical", "shallow-mixed-1"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as name:
        folder = Path(name)
        ordered = [ordered_pass(folder, particles) for particles in (20, 300, 1500)][1:]  # the first loads loops
        runs = [row for model in given.models for row in speed_up(folder, model, given.frames, given.side)]
    text = page(given, runs, ordered)
    (HERE / "results" / "distributed.md").write_text(text)
    print(text)


def page(given: argparse.Namespace, runs: list[dict], ordered: list[dict]) -> str:
    """Return the page of results."""
    size, machine = f"{given.side}×{given.side} px", f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
    command = f"python -m benchmarks.distributed --frames {given.frames} --side {given.side}"
    lines = [
        "# Workers, and the ordered pass",
        "",
        f"Made by `{command}`; {machine}, 1-minute load at the end {os.getloadavg()[0]:.1f}.",
        "",
        f"A movie of {given.frames} frames of {size} through the command line, from cold: wall and CPU count the",
        "start of Python, torch and workers. Run = seconds in `run.json`, which count the start of workers. A lane is",
        "a frame that is worked on: by default one process has as many as there are cores, and several share them.",
        "",
        "| model | how | wall s | run s | CPU s | times faster (run) | same bytes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    one = {row["model"]: row for row in reversed(runs)}  # the first of each model
    for row in runs:
        faster, same = one[row["model"]]["own"] / row["own"], "yes" if row["same"] else "NO"
        times = f"{row['wall']:.1f} | {row['own']:.1f} | {row['cpu']:.1f} | {faster:.2f}"
        lines.append(f"| {row['model']} | {row['how']} | {times} | {same} |")
    lines += [
        "",
        f"The ordered pass alone, {ORDERED} frames of 1792×1920 px with noisy masks, CPU ms a frame, without fsync.",
        "Write is a worker's part (painting and packing label planes included); the rest is the one process that",
        "links. Whole includes opening, tables and compaction. kB a frame: of the range files, and of the label",
        "images of the run.",
        "",
        "| particles | write | read | link + events | store | tracks | whole | kB, ranges | kB, labels |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ordered:
        parts = " | ".join(f"{row[k]:.2f}" for k in ("write", "read ranges", "link", "store", "tracks", "whole"))
        lines.append(f"| {row['particles']} | {parts} | {row['kB']:.0f} | {row['labels']:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
