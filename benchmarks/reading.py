"""What each reader costs, against the floor: `open` and `preadv` of the same bytes into the same slots.

    python -m benchmarks.reading [FRAMES]

Files lie in memory (/dev/shm) where that exists, so that the disk is not measured. CPU time of this process and of its
threads; each format is read in turn with the floor, several times, and the fastest pass of each counts. Writes
``benchmarks/results/reading.md``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from insitu.read import judge, open_source

SHAPE = (1792, 1920)
PASSES = 5
SLOTS = 16  # a batch of slots, as the pipeline reuses them


def movie(n: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.poisson(12 if dtype == "u1" else 900, (n, *SHAPE)).astype(dtype)


def write_all(folder: Path, frames: np.ndarray) -> dict[str, Path]:
    """Write the movie in every format that has a writer here."""
    import h5py
    import mrcfile
    import tifffile
    import zarr

    paths = {}

    def path(name: str, file: str) -> Path:
        paths[name] = folder / file
        return folder / file

    tifffile.imwrite(path("TIFF, one strip a page", "plain.tif"), frames, rowsperstrip=SHAPE[0])
    tifffile.imwrite(path("TIFF, strips of 8 rows", "strips.tif"), frames, rowsperstrip=8)
    tifffile.imwrite(path("TIFF, big-endian", "big.tif"), frames, byteorder=">")
    tifffile.imwrite(path("ImageJ stack", "imagej.tif"), frames, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(path("OME-TIFF", "movie.ome.tif"), frames, ome=True, metadata={"axes": "TYX"})
    tifffile.imwrite(path("TIFF, zstd", "zstd.tif"), frames, compression="zstd", rowsperstrip=256)
    tifffile.imwrite(path("TIFF, LZW", "lzw.tif"), frames, compression="lzw", rowsperstrip=256)
    with mrcfile.new(path("MRC", "movie.mrc")) as file:
        file.set_data(frames.astype("i1") if frames.dtype == np.uint8 else frames)
    np.save(path("NPY", "movie.npy"), frames)
    frames.tofile(path("raw + JSON", "movie.raw"))
    (folder / "movie.json").write_text(json.dumps({"shape": SHAPE, "dtype": str(frames.dtype)}))
    with h5py.File(path("HDF5, chunk a frame", "movie.h5"), "w") as file:
        file.create_dataset("movie", data=frames, chunks=(1, *SHAPE))
    zarr.create_array(
        str(path("zarr 3, uncompressed", "movie.zarr")), data=frames, chunks=(1, *SHAPE), compressors=None
    )
    for name, suffix in (("folder of TIFF", "tif"), ("folder of NPY", "npy"), ("folder of PNG", "png")):
        path(name, suffix).mkdir()
    for k, frame in enumerate(frames):
        tifffile.imwrite(folder / "tif" / f"frame_{k:05d}.tif", frame)
        np.save(folder / "npy" / f"frame_{k:05d}.npy", frame)
    import imagecodecs

    for k, frame in enumerate(frames[:SLOTS]):
        (folder / "png" / f"frame_{k:05d}.png").write_bytes(imagecodecs.png_encode(frame, level=1))
    return paths


def floor(path: Path, frames: np.ndarray, batch: np.ndarray) -> float:
    """CPU seconds a frame for plain `preadv` of the bytes of `frames`, which lie in `path`.

    Once from page boundaries and once beside them, as behind a header, which is faster where slots are page-aligned;
    the faster one counts.
    """
    costs = []
    for header in (0, 264):
        begin = time.process_time()
        descriptor = os.open(path, os.O_RDONLY)
        for k in range(len(frames)):
            os.preadv(descriptor, [batch[k % SLOTS].data], header + k * frames[0].nbytes)
        os.close(descriptor)
        costs.append((time.process_time() - begin) / len(frames))
    return min(costs)


def reader(path: Path, batch: np.ndarray) -> float:
    """CPU seconds a frame through the reader, opening included, as a run does it."""
    begin = time.process_time()
    source = open_source(path)
    n = source.info.n_frames
    slots = batch.view(source.info.dtype)
    for k in range(n):
        source.read_into(k, slots[k % SLOTS])
    source.close()
    return (time.process_time() - begin) / n


def measure(n: int, dtype: str, folder: Path) -> list[str]:
    frames = movie(n, dtype)
    paths = write_all(folder, frames)
    batch = np.zeros((SLOTS, *SHAPE), dtype)
    rows = []
    for name, path in paths.items():
        floors, reads = [], []
        for _ in range(PASSES):
            # the same file where it is as large as its frames, so that page placement is the same for both
            alike = path.is_file() and path.stat().st_size >= frames.nbytes
            floors.append(floor(path if alike else paths["raw + JSON"], frames, batch))
            reads.append(reader(path, batch))
        low, cost = min(floors), min(reads)
        rows.append(f"| {name} | {dtype} | {cost * 1e3:.2f} | {1 / cost:.0f} | {low * 1e3:.2f} | {low / cost:.2f} |")
        print(rows[-1], flush=True)
    judged = min(_judged(frames) for _ in range(PASSES))
    rows.append(f"| `judge` (not a reader) | {dtype} | {judged * 1e3:.4f} | | | |")
    return rows


def _judged(frames: np.ndarray) -> float:
    begin = time.process_time()
    for frame in frames:
        judge(frame)
    return (time.process_time() - begin) / len(frames)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    shared = Path("/dev/shm")
    place = shared if shared.is_dir() and shutil.disk_usage(shared).free > 16 * n * 7 * 2**20 else None
    rows = []
    for dtype in ("u1", "u2"):
        folder = Path(tempfile.mkdtemp(prefix="insitu-reading-", dir=place))
        try:
            rows += measure(n, dtype, folder)
        finally:
            shutil.rmtree(folder)
    where = "files in memory (/dev/shm)" if place else "files on disk, warm cache"
    head = [
        "# Reading",
        "",
        f"`python -m benchmarks.reading {n}`: {n} frames of {SHAPE[0]}×{SHAPE[1]}, each into one of {SLOTS} slots,",
        f"{where}; CPU time, best of {PASSES} passes. The floor is `preadv` of as many bytes from the same file",
        "(from a raw file where the format compresses), the faster of two offsets. Target: floor / reader ≥ 0.7",
        "for uncompressed TIFF and MRC; swapping the bytes of a big-endian uint16 file is not part of the floor.",
        "",
        "| format | dtype | ms CPU a frame | frames/s a core | floor, ms | floor / reader |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    out = Path(__file__).parent / "results" / "reading.md"
    out.write_text("\n".join(head + rows) + "\n")
    print(out)


if __name__ == "__main__":
    main()
