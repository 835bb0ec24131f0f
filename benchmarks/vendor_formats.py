"""What the vendor formats cost: a frame against plain `preadv`, and opening a real DM file against other libraries.

    INSITU_SAMPLES=... python -m benchmarks.vendor_formats [FRAMES]

CPU time of this process and of its threads; each format in turn with the floor, the fastest of several passes counts.
Writes ``benchmarks/results/vendor_formats.md``.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "read"))

import fixtures_dm  # noqa: E402 - the writers of the tests
import fixtures_emd  # noqa: E402
import fixtures_k2is  # noqa: E402
import fixtures_ser  # noqa: E402
import fixtures_tvips  # noqa: E402

from insitu.read import open_source  # noqa: E402 - after the path
from insitu.read.dm import DmReader  # noqa: E402

SHAPE = (1792, 1920)
PASSES = 5
SLOTS = 8


def cpu(action, repeats: int = 1) -> float:
    """Fewest CPU seconds of an action over several passes."""
    best = float("inf")
    for _ in range(PASSES):
        begin = time.process_time()
        for _ in range(repeats):
            action()
        best = min(best, (time.process_time() - begin) / repeats)
    return best


def floor(path: Path, nbytes: int, n: int) -> float:
    """CPU seconds a frame for plain `preadv` of as many bytes."""
    slots = np.zeros((SLOTS, nbytes), np.uint8)

    def read() -> None:
        descriptor = os.open(path, os.O_RDONLY)
        for k in range(n):
            os.preadv(descriptor, [slots[k % SLOTS].data], k * nbytes)
        os.close(descriptor)

    return cpu(read) / n


def through_reader(path: Path) -> float:
    """CPU seconds a frame through the reader, opening included."""
    info = open_source(path).info
    slots = np.zeros((SLOTS, *info.shape), info.dtype)

    def read() -> None:
        source = open_source(path)
        for k in range(info.n_frames):
            source.read_into(k, slots[k % SLOTS])
        source.close()

    return cpu(read) / info.n_frames


def write_all(folder: Path, n: int) -> dict[str, Path]:
    movie = np.random.default_rng(0).poisson(900, (n, *SHAPE)).astype(np.uint16)
    tree = fixtures_dm.document(fixtures_dm.thumbnail(64), fixtures_dm.image(movie, [(0.1, "nm")] * 2 + [(1, "s")]))
    return {
        "DM4 stack": fixtures_dm.write(folder / "a.dm4", tree),
        "DM3 stack": fixtures_dm.write(folder / "a.dm3", tree, 3),
        "SER": fixtures_ser.write(folder / "a_1.ser", movie),
        "TVIPS": fixtures_tvips.write(folder / "a_000.tvips", movie),
        "Velox EMD (H, W, N), a chunk a frame": fixtures_emd.write_velox(folder / "a.emd", {"s": movie}),
    }


def frames(folder: Path, n: int) -> list[str]:
    rows = []
    for name, path in write_all(folder, n).items():
        low, cost = floor(path, 2 * SHAPE[0] * SHAPE[1], n - 1), through_reader(path)
        rows.append(f"| {name} | {cost * 1e3:.2f} | {1 / cost:.0f} | {low / cost:.2f} |")
    k2 = fixtures_k2is.write(folder, fixtures_k2is.sectors([fixtures_k2is.frame(k) for k in range(4)]))
    cost = through_reader(k2)
    rows.append(f"| K2-IS raw, 1860×2048, 12 bits | {cost * 1e3:.2f} | {1 / cost:.0f} | |")
    return rows


def opening(samples: Path) -> list[str]:
    from ncempy.io import dm
    from rsciio.digitalmicrograph import file_reader

    rows = []
    for path in sorted((samples / "readers" / "dm").glob("*.dm*")):
        ours = cpu(lambda path=path: DmReader(path).close(), 20)
        rsciio = cpu(lambda path=path: file_reader(str(path), lazy=True), 5)
        ncempy = cpu(lambda path=path: dm.fileDM(str(path)).__exit__(None, None, None), 5)
        rows.append(f"| {path.name} | {ours * 1e3:.2f} | {rsciio * 1e3:.2f} | {ncempy * 1e3:.2f} |")
    return rows


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    folder = Path(tempfile.mkdtemp(prefix="insitu-vendor-"))
    samples = Path(os.environ.get("INSITU_SAMPLES", ROOT.parent / "shared" / "data"))
    try:
        lines = [
            "# Vendor formats",
            "",
            f"`python -m benchmarks.vendor_formats {n}`: {n} frames of {SHAPE[0]}×{SHAPE[1]} uint16, {SLOTS} slots,",
            "warm cache; CPU time, one thread. Ratio: plain `preadv` of the same bytes / reader, opening included.",
            "",
            "| format | ms a frame | frames/s and core | ratio |",
            "| --- | --- | --- | --- |",
            *frames(folder, n),
        ]
        if samples.is_dir():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                lines += ["", "Opening a real file, ms of CPU:", "", "| file | insitu | rosettasciio | ncempy |"]
                lines += ["| --- | --- | --- | --- |", *opening(samples)]
    finally:
        shutil.rmtree(folder)
    text = "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks" / "results" / "vendor_formats.md").write_text(text)


if __name__ == "__main__":
    main()
