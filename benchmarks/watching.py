"""How watching keeps up: floods, a frozen process, new folders, kills, latency.

``python -m benchmarks.watching [flood|freeze|folders|kills|latency] …`` prints what it found and records it, section by
section, in ``benchmarks/results/watching.md``. The writer is a process of its own; each frame carries its number in its
first and last pixels, so that a frame that was read too early is found. CPU times are those of the threads that did
the work; wall times depend on what else the machine does.
"""

from __future__ import annotations

import io
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tifffile

from insitu.intake import Intake, Selection
from insitu.options import StoreOptions
from insitu.read.watch import Until, WatchedFolder
from insitu.store.commit import RunFolder
from insitu.types import Frame, FrameResult, Particles, RunInfo, Runs

RESULTS = Path(__file__).parent / "results" / "watching.md"
MEMORY = "/dev/shm"
WARM = 24
LARGE, SMALL = (1792, 1920), (64, 64)


def template(shape):
    """Return the bytes of a TIFF of `shape` uint8, and where its pixels begin."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.full(shape, 7, np.uint8))
    data = bytearray(file.getvalue())
    return data, len(data) - shape[0] * shape[1]


def stamped(data, start, index):
    """Put a frame's number into its first and last pixels."""
    number = index.to_bytes(4, "little")
    data[start : start + 4] = data[-4:] = number
    return data


def write(folder, commits, camera, report):
    """Write the files of a camera; delete what is committed; say how long it took and waited."""
    shape, rate, count, per_folder, keep = camera
    data, start = template(shape)
    began, waited, deleted = time.monotonic(), 0.0, 0
    for index in range(count):
        late = began + index / rate - time.monotonic()
        if late > 0:
            time.sleep(late)
        place = folder if per_folder is None else folder / f"Second_{index // per_folder:04}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"frame_{index % (per_folder or count):06}.tif").write_bytes(stamped(data, start, index))
        while keep and index % 16 == 0:  # at most `keep` files lie there, but for the 16 since the last look
            done = committed(commits)
            for old in range(deleted, done):
                (folder / f"frame_{old:06}.tif").unlink(missing_ok=True)
            deleted = max(deleted, done)
            if index - deleted < keep:
                break
            time.sleep(0.01)
            waited += 0.01
    report.put({"seconds": time.monotonic() - began, "waited": waited})


def committed(log):
    """Return how many planes the last whole line of a commit log names."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = [line for line in file.read().splitlines() if line.endswith(b"}")]
        return next((p for line in reversed(lines) if (p := json.loads(line).get("planes")) is not None), 0)
    except (OSError, ValueError):
        return 0


class Measured(WatchedFolder):
    """A watched folder that knows what watching costs, without the reading of pixels."""

    cpu_s = reading_s = 0.0

    def ready(self, index, timeout_s, slot=None):
        """Time everything."""
        began = time.thread_time()
        try:
            return super().ready(index, timeout_s, slot)
        finally:
            self.cpu_s += time.thread_time() - began

    def _try(self, name, slot):
        began = time.thread_time()
        try:
            return super()._try(name, slot)
        finally:
            self.reading_s += time.thread_time() - began


def follow(folder, out, idle, report):
    """Watch with a stub in place of the analysis: every frame is checked, and committed as one without particles."""
    reader = Measured(folder, Until(idle))
    intake = Intake(reader, reader.info.calibration, Selection(), batch=4, prefetch=32)
    store = RunFolder.create(
        RunInfo(out, reader.info, reader.info.calibration, reader.info.shape),
        settings_text="", about={}, options=StoreOptions(labels=False, fsync=False),
    )  # fmt: skip
    wrong = missing = bad = 0
    last = time.monotonic()
    for batch in intake.batches(0, None):
        images = iter(batch.images[: batch.used])
        for frame in batch.frames:
            missing += frame.status == "missing"
            bad += frame.status == "bad"
            if frame.status == "ok":
                image = next(images)
                ends = [int.from_bytes(part.tobytes(), "little") for part in (image[0, :4], image[-1, -4:])]
                wrong += ends != [frame.index, frame.index]
            store.add(empty(frame))
        if store.uncommitted and (store.due or time.monotonic() - last > 0.15):
            store.commit({})
            last = time.monotonic()
    if store.uncommitted:
        store.commit({})
    account = reader.account()
    report.put({
        "frames": store.committed, "missing": missing, "bad": bad, "wrong": wrong, "late": len(account["late"]),
        "watching_s": reader.cpu_s - reader.reading_s, "reading_s": reader.reading_s,
    })  # fmt: skip
    store.close()


def empty(frame: Frame) -> FrameResult:
    """Return the result of a frame without particles."""
    none = np.empty(0, np.int64)
    plain = Frame(frame.index, None, frame.status, frame.flags, frame.header, frame.time_s)
    return FrameResult(plain, Runs.empty((1, 1)), Particles.empty(), none)


def run(title, shape, rate, count, *, per_folder=None, keep=None, freeze=None, idle=6.0):
    """Run a writer against a watcher; return one row of the table."""
    context = get_context("spawn")
    place = Path(tempfile.mkdtemp(dir=MEMORY, prefix="watching-"))
    wrote, saw = context.Queue(), context.Queue()
    folder, out = place / "movie", place / "out"
    try:
        watcher = context.Process(target=follow, args=(folder, out, idle, saw))
        watcher.start()
        time.sleep(2.0)
        arguments = (folder, out / "commits.jsonl", (shape, rate, count, per_folder, keep), wrote)
        writer = context.Process(target=write, args=arguments)
        writer.start()
        if freeze:
            time.sleep(3.0)
            os.kill(watcher.pid, signal.SIGSTOP)
            time.sleep(freeze)
            os.kill(watcher.pid, signal.SIGCONT)
        written, seen = wrote.get(timeout=600), saw.get(timeout=600)
        writer.join()
        watcher.join()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    lost = count - (seen["frames"] - seen["missing"] - seen["bad"])
    watching, reading = (100 * seen[name] / written["seconds"] for name in ("watching_s", "reading_s"))
    reached = count / written["seconds"]
    return shown(
        f"| {title} | {count} | {reached:.0f} of {rate} | {written['waited']:.1f} | {lost} | {seen['wrong']} "
        f"| {seen['missing']} | {seen['late']} | {watching:.1f} % | {reading:.0f} % |"
    )


def shown(line):
    """Print a line at once; return it."""
    print(line, flush=True)
    return line


def discs(frames, side=512, seed=0):
    """Well-separated dark discs that tremble: nothing meets, so no frame is held back."""
    rng = np.random.default_rng(seed)
    centre = np.stack(np.meshgrid(*[np.arange(60, side - 40, 80)] * 2, indexing="ij"), -1).reshape(-1, 2)
    yy, xx = np.mgrid[:side, :side]
    noise = rng.normal(150, 6, (8, side, side))
    for k in range(frames):
        image = noise[k % 8].copy()
        for y, x in centre + rng.normal(0, 0.3, centre.shape):
            box = np.s_[int(y) - 15 : int(y) + 16, int(x) - 15 : int(x) + 16]
            image[box] -= 60 * np.clip(11.5 - np.hypot(yy[box] - y, xx[box] - x), 0, 1)
        yield image.clip(1, 255).astype(np.uint8)


def watch_command(movie, out, *more):
    """Return the command line of a watch."""
    return [sys.executable, "-m", "insitu", "watch", str(movie), "-o", str(out), "--quiet", *(str(m) for m in more)]


class Threshold:
    """A stub in place of a model: what is 3 σ darker than the support is a particle."""

    name = "threshold"

    def probabilities(self, images):
        """Return 1 where a pixel is far from the support."""
        return (images > 3.0).float()


def watch_with(model, movie, out):
    """Watch as the command does, with a model or with the stub."""
    from insitu import models
    from insitu.settings import load
    from insitu.watching import watch

    if model == "stub":
        models.load = lambda *_: Threshold()
    # no frame is held back by an open contact: what is asked is the latency beyond the look-ahead
    overrides = ["events.contact_frames=0", *([] if model == "stub" else [f"segment.model={model}"])]
    watch(movie, out, load(overrides=overrides), Until(5.0))


def latency(model, rate, seconds):
    """Return a row on how long after a file is complete its rows are in the run: named by the last line of its log."""
    place = Path(tempfile.mkdtemp(dir=MEMORY, prefix="watching-"))
    movie, out = place / "movie", place / "out"
    movie.mkdir()
    pool = list(discs(32))
    count = WARM + int(rate * seconds)
    done = np.full(count, np.nan)
    process = get_context("spawn").Process(target=watch_with, args=(model, movie, out))
    process.start()

    def camera():
        began = time.monotonic()
        for k in range(count):
            # torch is imported, code compiled and the reference taken before the clock begins
            while k == WARM and committed(out / "commits.jsonl") < WARM - 8 and process.is_alive():
                time.sleep(0.01)
                began = time.monotonic() - WARM / rate
            time.sleep(max(0.0, began + k / rate - time.monotonic()) if k >= WARM else 0.0)
            tifffile.imwrite(movie / f"frame_{k:06}.tif", pool[k % len(pool)])
            done[k] = time.monotonic()

    writer = threading.Thread(target=camera)
    writer.start()
    visible, known = np.full(count, np.nan), 0
    while process.is_alive() and known < count:
        now = committed(out / "commits.jsonl")
        visible[known:now] = time.monotonic()
        known = max(known, now)
        time.sleep(0.005)
    writer.join()
    process.join()
    ms = {name: 1e3 * stage["cpu_s"] / count for name, stage in stages(out).items()}
    shutil.rmtree(place, ignore_errors=True)
    late = (visible - done)[WARM:]
    p50, p95 = np.nanpercentile(late, [50, 95])
    spent = ", ".join(f"{name} {value:.1f}" for name, value in ms.items() if value >= 0.1)
    return shown(
        f"| {model} | {rate} | {count - WARM} | {1e3 * p50:.0f} | {1e3 * p95:.0f} | {np.nanmax(late):.2f} | {spent} |"
    )


def stages(out):
    """Return what each stage of a run took."""
    return json.loads((out / "run.json").read_text())["metrics"]["stages"]


def kills(number, seed=0):
    """Kill a watch `number` times while a camera writes, resume, and compare with the run of the finished folder."""
    place = Path(tempfile.mkdtemp(prefix="watching-"))
    movie, out, batch = place / "movie", place / "out", place / "batch"
    movie.mkdir()
    frames, rng = 40 * number, random.Random(seed)
    how = ("--model", "classical", "--nm-per-px", "0.2", "--fps", "100")

    def camera():
        for k, image in enumerate(discs(frames, 128)):
            tifffile.imwrite(movie / f"frame_{k:06}.tif", image)
            time.sleep(0.06)

    writer = threading.Thread(target=camera)
    writer.start()
    killed = 0
    while killed < number:
        process = subprocess.Popen(
            watch_command(movie, out, *how, "--resume", "--until-idle", 20), stdout=subprocess.DEVNULL
        )
        before, further = committed(out / "commits.jsonl"), rng.randint(1, 25)
        while process.poll() is None and committed(out / "commits.jsonl") < min(before + further, frames - 5):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    writer.join()
    subprocess.run(
        watch_command(movie, out, *how, "--resume", "--until-idle", 2), check=True, stdout=subprocess.DEVNULL
    )
    command = [sys.executable, "-m", "insitu", "run", str(movie), "-o", str(batch), "--quiet", *how]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    names = [p.relative_to(batch) for p in batch.rglob("*") if p.suffix == ".parquet" or "labels.ome.zarr" in p.parts]
    files = [n for n in names if (batch / n).is_file()]
    same = sum((batch / n).read_bytes() == (out / n).read_bytes() for n in files)
    shutil.rmtree(place, ignore_errors=True)
    return [
        shown(
            f"`kill -9` at {killed} random moments of a watch over {frames} frames, each followed by `--resume`: "
            f"{same} of {len(files)} files (tables and label image) are those of `insitu run`, byte for byte."
        )
    ]


FLOODS = """| what | files | files/s | writer waited (s) | lost | wrong pixels | missing | late | watching | reading |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
LATENCIES = """| model | files/s | files | p50 (ms) | p95 (ms) | longest (s) | CPU of the stages (ms a frame) |
| --- | --- | --- | --- | --- | --- | --- |"""


def latencies():
    """Return the table of latencies: the stub tells what watching costs, the others what a user gets."""
    default = (("default", 5, 20), ("default", 100, 10))
    wishes = (("stub", 50, 20), ("stub", 100, 10), *default, ("shallow-mixed-1", 15, 10))
    return [shown(LATENCIES), *(latency(model, rate, seconds) for model, rate, seconds in wishes)]


PARTS = {
    "flood": ("Flood", lambda: [shown(FLOODS), run("3.44 MB, one folder, 60 s", LARGE, 400, 24_000, keep=1984)]),
    "freeze": ("Frozen", lambda: [shown(FLOODS), run("4 kB, frozen for 5 s", SMALL, 2000, 24_000, freeze=5.0)]),
    "folders": ("New folders", lambda: [shown(FLOODS), run("4 kB, 20 of 1 s", SMALL, 400, 8_000, per_folder=400)]),
    "kills": ("Kills", lambda: kills(20)),
    "latency": ("Latency", latencies),
}


def record(title, lines):
    """Write a section into the page of results; leave the others as they were measured before."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = dict(section.split("\n\n", 1) for section in text.split("\n## ")[1:])
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}, CPU only"
    load = f"load average {os.getloadavg()[0]:.1f}"
    sections[title] = "\n".join([*lines, "", f"{datetime.now(UTC).date()}, {where}, {load} at the end.", ""])
    head = "# Watching\n\n`python -m benchmarks.watching`; *watching* and *reading*: CPU, as a share of a core.\n"
    RESULTS.write_text(head + "".join(f"\n## {t}\n\n{b.strip()}\n" for t, b in sorted(sections.items())), "utf-8")


def main():
    """Run the parts that are named, or all."""
    for part in sys.argv[1:] or PARTS:
        title, work = PARTS[part]
        record(title, work())


if __name__ == "__main__":
    main()
