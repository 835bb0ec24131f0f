"""What storing costs: ``python -m benchmarks.storing [--frames 64] [--particles 300]``.

Writes ``benchmarks/results/storing.md``. CPU time of one thread, without fsync, on 1792 × 1920 px: label planes through
the store's own shard writer and through zarr-python (whole shards), and particle rows in the store's encoding and in
pyarrow's default one.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.discs import Discs
from insitu.measure import measure
from insitu.options import MeasureOptions
from insitu.runs import components, find_runs, paint
from insitu.store import tables
from insitu.store.disk import Disk
from insitu.store.labels import LabelStack
from insitu.types import Calibration, RunInfo, SourceInfo

SHAPE = (1792, 1920)
REPEATS = 3
KNOWN = Calibration(0.2, "benchmark", 0.0025, "benchmark")


def all_runs(particles: int, frames: int) -> list:
    world = Discs(n=particles, frames=frames, seed=0, relax=20, radius=11.0)
    return [components(find_runs(mask)) for mask in world.masks()]


def own_labels(labelled: list, out: Path) -> None:
    source = SourceInfo("", "list", *SHAPE, np.dtype(np.uint8), len(labelled))
    labels = LabelStack(RunInfo(out, source, Calibration(), SHAPE), len(labelled), Disk(fsync=False))
    labels.write_metadata()
    for runs in labelled:
        labels.add(runs)
    labels.write_shards()


def zarr_labels(labelled: list, out: Path) -> None:
    import zarr
    from zarr.codecs import ZstdCodec

    n = len(labelled)
    array = zarr.create_array(
        out / "0", shape=(n, *SHAPE), shards=(n, *SHAPE), chunks=(1, *SHAPE), dtype="uint16", fill_value=0,
        compressors=[ZstdCodec(level=1, checksum=True)], config={"write_empty_chunks": True},
    )  # fmt: skip
    block = np.zeros((n, *SHAPE), np.uint16)
    for k, runs in enumerate(labelled):
        paint(runs, out=block[k])
    array[:] = block


WRITERS = {"own": own_labels, "zarr": zarr_labels}


def one_writer(name: str, particles: int, frames: int) -> None:
    """Print CPU ms a frame (best of `REPEATS`), kB a frame, and by how many MB the peak memory grew."""
    labelled = all_runs(particles, frames)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best, size = np.inf, 0
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            WRITERS[name](labelled, Path(folder))
            best = min(best, time.process_time() - began)
            size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(best / frames * 1e3, size / frames / 1e3, grown)


def labels_rows(particles: int, frames: int) -> list[str]:
    lines = []
    for name in WRITERS:
        command = [sys.executable, "-m", "benchmarks.storing", "--writer", name]
        command += ["--particles", str(particles), "--frames", str(frames)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        cpu, size, grown = map(float, said.split())
        lines.append(f"| {name} | {cpu:.2f} | {size:.1f} | {grown:.0f} |")
    return lines


def table_rows(particles: int, frames: int) -> list[str]:
    import io

    import pyarrow.parquet as pq

    measured = [measure(runs, MeasureOptions()).particles for runs in all_runs(particles, min(frames, 16))]
    columns = {f: np.concatenate([getattr(p, f) for p in measured]) for f in type(measured[0]).__dataclass_fields__}
    n = len(columns["y"])
    columns |= {"frame": np.arange(n) // particles, "time_s": np.arange(n) / 1e5, "particle": np.arange(n) % particles}
    wanted = tables.run_columns("particles", KNOWN)

    def own() -> int:
        given = tables.with_twins("particles", columns, KNOWN)
        return len(tables.table_bytes(tables.arrow_table("particles", given, wanted)))

    def default() -> int:
        given = tables.with_twins("particles", columns, KNOWN)
        sink = io.BytesIO()
        pq.write_table(tables.arrow_table("particles", given, wanted), sink, compression="zstd")
        return sink.tell()

    lines = []
    for name, write in (("own", own), ("pyarrow's defaults, zstd", default)):
        write()
        times = []
        for _ in range(10):
            began = time.process_time()
            size = write()
            times.append(time.process_time() - began)
        share = min(times) / n * 120_000 * 100
        lines.append(f"| {name} | {min(times) / n * 1e6:.2f} | {share:.1f} | {size / n:.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--particles", type=int, default=300)
    parser.add_argument("--writer", choices=WRITERS)
    given = parser.parse_args()
    if given.writer:
        one_writer(given.writer, given.particles, given.frames)
        return
    columns = len(tables.run_columns("particles", KNOWN))
    lines = [
        "# Storing",
        "",
        f"Made by `python -m benchmarks.storing --frames {given.frames} --particles {given.particles}`: CPU time, no",
        f"fsync, {SHAPE[0]} × {SHAPE[1]} px, shards of {given.frames} planes. Both label writers paint the planes.",
        "",
        "| label writer | CPU ms a frame | kB a frame | peak memory, MB more |",
        "| --- | --- | --- | --- |",
        *labels_rows(given.particles, given.frames),
        "",
        f"| particle rows, {columns} columns | CPU µs a row | % of a core at 120 000 rows/s | bytes a row |",
        "| --- | --- | --- | --- |",
        *table_rows(given.particles, given.frames),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    (Path(__file__).parent / "results" / "storing.md").write_text(text)


if __name__ == "__main__":
    main()
