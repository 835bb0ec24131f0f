"""What a GPU does, with numpy and torch alone: ``python -m benchmarks.device``.

Frames of 1792×1920 in page-locked memory → run lists with sums on the host: uploaded in the camera's dtype, normalised,
segmented, cut and searched for runs on the device. Prints one table with the device's name, clock and versions, and
writes it to ``benchmarks/results/device.md`` when it ran on a GPU. The times of the parts are taken one by one, each
waited for; frames/s are those of all together, on as many lanes as the column says.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from insitu import models
from insitu.lanes import Lanes
from insitu.options import PrepareOptions, SegmentOptions
from insitu.prepare import pinned, prepare, reference, uploaded
from insitu.segment import own_stream, resolve_device, resolve_precision, segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HEAD = (
    "model",
    "dtype",
    "batch",
    "upload ms",
    "prepare ms",
    "segment + runs ms",
    "frames/s, 1 lane",
    "2 lanes",
    "3 lanes",
)
RESULT = Path(__file__).parent / "results" / "device.md"


def frames(number: int, shape: tuple[int, int], dtype: str) -> NDArray[Any]:
    """Discs on a noisy support, in page-locked memory."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    discs = ((y % 96 - 48) ** 2 + (x % 96 - 48) ** 2 < 20**2).astype(np.float32)
    slots = pinned((number, *shape), np.dtype(dtype))
    for slot in slots:
        slot[...] = np.clip(rng.normal(120.0 - 40.0 * discs, 11.0), 0, 255)
    return slots


def milliseconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time, everything on the device waited for."""
    spent = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return 1e3 * float(np.median(spent[1:]))


def rate(work: Callable[[Any], Any], batches: list[Any], lanes: int) -> float:
    """Batches per second on so many lanes, each warmed up before."""
    crew = Lanes(work, lanes)
    for done in [crew.put(batches[0]) for _ in range(2 * lanes)]:
        done.result()
    began = time.perf_counter()
    for done in [crew.put(one) for one in batches]:
        done.result()
    seconds = time.perf_counter() - began
    crew.close()
    return len(batches) / seconds


def row(name: str, images: NDArray[Any], batch: int, device: str) -> list[str]:
    options, model = PrepareOptions(), models.load(name, device)
    taken = reference([(0, images[0])], options, "dark")
    settings = SegmentOptions(batch=batch)
    first = images[:batch]
    ready = prepare(first, options, taken, device)

    def work(part: NDArray[Any]) -> Any:
        with own_stream(device):
            return segment(prepare(part, options, taken, device), model, settings)

    parts = [images[k : k + batch] for k in range(0, len(images) - batch + 1, batch)]
    times = [
        milliseconds(lambda: uploaded(first, device)) / batch,
        milliseconds(lambda: prepare(first, options, taken, device)) / batch,
        milliseconds(lambda: segment(ready, model, settings)) / batch,
    ]
    rates = [batch * rate(work, parts * max(1, 8 // len(parts)), lanes) for lanes in (1, 2, 3)]
    return [name, str(images.dtype), str(batch), *(f"{t:.2f}" for t in times), *(f"{r:.0f}" for r in rates)]


def about(device: str) -> str:
    """Return the device's name, clock and versions."""
    versions = f"torch {torch.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    if not device.startswith("cuda"):
        return f"GPU not measured: this ran on {platform.machine()} ({versions})"
    ask = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm,pcie.link.gen.current,pcie.link.width.current",
    ]
    try:
        said = subprocess.run(
            [*ask, "--format=csv,noheader"], capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        said = torch.cuda.get_device_name(device)
    return f"{said}; CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", nargs="*", default=["default", "shallow", "unet", "resunet", "classical"])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--dtypes", nargs="*", default=["uint8", "uint16"])
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--shape", nargs=2, type=int, default=[1792, 1920])
    chosen = parser.parse_args()
    device = resolve_device(chosen.device)
    names = list(dict.fromkeys(models.DEFAULT if n == "default" else n for n in chosen.models))
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for dtype in chosen.dtypes:
        images = frames(chosen.frames, tuple(chosen.shape), dtype)
        for name in names:
            for batch in chosen.batches:
                lines.append(f"| {' | '.join(row(name, images, batch, device))} |")
                print(lines[-1], flush=True)
    precision = resolve_precision("auto", device, models.load(names[0]))
    size = f"{chosen.shape[0]}×{chosen.shape[1]}"
    said = f"{size}, networks in {precision}. {about(device)}."
    text = "\n".join(["# One GPU", "", said, "", *lines, "", "`python -m benchmarks.device`", ""])
    print(text)
    if device.startswith("cuda"):
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
