"""The long proofs: kill the engine at random moments and resume; watch memory over 20 000 frames.

python -m benchmarks.soak            # both, writes benchmarks/results/soak.md
python -m benchmarks.soak kills 20
python -m benchmarks.soak memory 20000
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import tifffile

RESULTS = Path(__file__).parent / "results" / "soak.md"
FRAMES = 240
UNIT = 8


def write_movie(path: Path, frames: int, side: int = 256, seed: int = 0) -> None:
    """Write a movie of dark discs that drift, shrink and grow on a noisy support; every 40th frame is all zero."""
    with tifffile.TiffWriter(path) as writer:
        for image in discs(frames, side, seed):
            writer.write(image, contiguous=False, metadata=None)


def discs(frames: int, side: int = 256, seed: int = 0):
    """Yield uint8 frames of about a dozen moving, breathing discs with Poisson-like noise."""
    rng = np.random.default_rng(seed)
    count = 12
    centre = rng.uniform(20, side - 20, (count, 2))
    radius = rng.uniform(5, 12, count)
    yy, xx = np.mgrid[:side, :side]
    for k in range(frames):
        centre = np.clip(centre + rng.normal(0, 0.6, centre.shape), 4, side - 5)
        radius = np.clip(radius + rng.normal(0, 0.03, count), 0, 14)
        image = np.full((side, side), 150.0)
        for (y, x), r in zip(centre, radius, strict=True):
            image -= 60 * np.clip(r - np.hypot(yy - y, xx - x) + 0.5, 0, 1)
        noisy = rng.normal(image, 8).clip(1, 255).astype(np.uint8)
        yield np.zeros_like(noisy) if k % 40 == 39 else noisy


def command(movie: Path, out: Path, *more: str) -> list[str]:
    """Return the command line of a run with small commit units."""
    settings = ["--set", f"store.unit_frames={UNIT}", "--set", "store.shard_frames=32"]
    options = ["--nm-per-px", "0.2", "--fps", "400", "--model", "classical", "--quiet"]
    return [sys.executable, "-m", "insitu", "run", str(movie), "-o", str(out), *options, *settings, *more]


def digest(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every table and every file of the label image of a run."""
    files = [*out.glob("*.parquet"), *(p for p in (out / "labels.ome.zarr").rglob("*") if p.is_file())]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


def units(out: Path) -> tuple[int, int]:
    """Return how many commit lines a run has, and how many frames they make safe."""
    log = out / "commits.jsonl"
    lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
    planes = [line["planes"] for line in whole if "planes" in line]
    return len(planes), max(planes, default=0)


def kill_once(movie: Path, out: Path, rng: random.Random, commits: int) -> tuple[bool, int, int]:
    """Start a run, kill it at a random moment; return (between first and last commit, frames safe, frames redone)."""
    process = subprocess.Popen(command(movie, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted = rng.randint(0, commits)  # 0: before the first commit
    while process.poll() is None and units(out)[0] < wanted:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.05) if wanted else rng.uniform(0, 4))
    process.send_signal(signal.SIGKILL)
    process.wait()
    made, safe = units(out)
    finished = subprocess.run(command(movie, out, "--resume"), capture_output=True, text=True, check=False)
    if finished.returncode not in (0, 5):
        raise RuntimeError(finished.stderr)
    analysed = json.loads((out / "run.json").read_text()).get("metrics", {}).get("frames_analysed", 0)
    return 0 < made < commits, safe, analysed - (FRAMES - safe)


def kills(number: int) -> list[str]:
    """Kill `number` runs at random moments, resume each, compare every byte; return the lines of the report."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_movie(root / "movie.tif", FRAMES)
        began = time.time()
        subprocess.run(command(root / "movie.tif", root / "whole"), check=False, stdout=subprocess.DEVNULL)
        whole, commits = digest(root / "whole"), units(root / "whole")[0]
        print(f"uninterrupted: {time.time() - began:.1f} s, {commits} commits, {len(whole)} files", flush=True)
        between = same = redone = 0
        for k in range(number):
            inside, safe, again = kill_once(root / "movie.tif", root / f"kill{k}", rng, commits - 1)
            equal = digest(root / f"kill{k}") == whole
            between, same, redone = between + inside, same + equal, redone + again
            print(f"kill {k + 1}: {safe} frames safe, identical {equal}, redone {again}", flush=True)
    if same != number or redone:
        raise SystemExit(f"FAILED: {same} of {number} identical, {redone} committed frames done again")
    told = (
        f"`kill -9` at {number} random moments, {between} of them between the first and the last of {commits} commits, "
        f"then `--resume`: {same} of {number} runs byte-identical ({len(whole)} files each: tables and label array), "
        f"{redone} committed frames done again."
    )
    return [told]


def memory(frames: int) -> list[str]:
    """Run `frames` frames of 256×256 through the engine in this process; return the lines of the report."""
    from insitu.pipeline import process
    from insitu.settings import Settings

    me = psutil.Process()
    seen: list[tuple[int, float, int]] = []

    def watch(progress) -> None:
        if progress.done >= 1000 and progress.done % 250 == 0:
            seen.append((progress.done, me.memory_info().rss / 1e6, me.num_fds()))

    block = list(discs(200))
    source = (block[k % 200] for k in range(frames))
    settings = Settings().replace({"segment.model": "classical", "store.fsync": False}, "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        summary = process(source, Path(folder) / "out", settings, progress=watch)
        seconds = time.time() - began
    done, rss, files = np.array(seen).T
    slope = float(np.polyfit(done, rss, 1)[0] * 1e4)
    print(f"{summary.total} frames, RSS {rss[0]:.1f} → {rss[-1]:.1f} MB, {slope:+.3f} MB per 10⁴ frames", flush=True)
    if slope >= 1 or files.max() > files.min() + 2:
        raise SystemExit(f"FAILED: RSS grows by {slope:.2f} MB per 10⁴ frames, files {files.min()}–{files.max()}")
    told = (
        f"{summary.total} frames of 256×256 in {seconds:.0f} s: RSS {rss[0]:.1f} MB after 1000 frames, "
        f"{rss[-1]:.1f} MB at the end, slope {slope:+.3f} MB per 10⁴ frames; "
        f"open files {int(files.min())}–{int(files.max())}."
    )
    return [told]


def record(parts: dict[str, list[str]]) -> None:
    """Write the sections that were measured now into the report; leave the others as they were measured before."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = dict(section.split("\n\n", 1) for section in text.split("\n## ")[1:])
    stamp = f"{datetime.now(UTC).date()}, {os.cpu_count()} cores, Python {platform.python_version()}, CPU only."
    for name, lines in parts.items():
        sections[name] = "\n".join([*lines, "", stamp, ""])
    head = "# Soak: kills and memory\n\n`python -m benchmarks.soak`, part of `make soak`.\n"
    body = "".join(f"\n## {name}\n\n{text.strip()}\n" for name, text in sorted(sections.items()))
    RESULTS.write_text(head + body, encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Run what was asked for, both proofs by default; print and record."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = arguments[0] if arguments else "all"
    number = int(arguments[1]) if len(arguments) > 1 else 0
    parts: dict[str, list[str]] = {}
    if chosen in ("all", "kills"):
        parts["Kills"] = kills(number or 20)
    if chosen in ("all", "memory"):
        parts["Memory"] = memory(number or 20_000)
    print("\n".join(line for lines in parts.values() for line in lines))
    record(parts)


if __name__ == "__main__":
    main(sys.argv[1:])
