"""One forward pass of a network, 1792×1920, all cores: ``python -m benchmarks.networks``.

*plain*: eager ``model(x)``, fp32, NCHW, default allocator and threads. *engine*: as a run does it, frames on lanes, one
thread each, in the arithmetic that ``auto`` resolves to. *OpenVINO*: bf16, latency and throughput hints, where the
package is installed (it is no dependency). Each in a process of its own, one after the other; wall and CPU ms a frame,
median of the repeats. Writes ``benchmarks/results/networks.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.pipeline import SHAPE, host, movie, plain_module

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results" / "networks.json"
TOGETHER = 4


def image() -> Any:
    import torch

    from insitu.models.inputs import condition
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference

    frame = movie(300, 1)[0]
    options = PrepareOptions()
    return condition(prepare(frame[None], options, reference([(0, frame)], options, "dark")).input[0]).to(torch.float32)


def timed(function: Callable[[], Any], frames: int, repeats: int) -> dict[str, float]:
    """Wall and CPU ms a frame, the first call left out."""
    function()
    spent = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = 1e3 * np.median(spent, axis=0) / frames
    return {"wall_ms": float(wall), "cpu_ms": float(cpu)}


def plain(name: str, repeats: int) -> tuple[dict[str, float], Any]:
    import torch

    x = image()[None, None]
    module, _ = plain_module(name)
    with torch.no_grad():
        return timed(lambda: module(x), 1, repeats), torch.softmax(module(x), dim=1)[0, 1].numpy()


def engine(name: str, repeats: int) -> tuple[dict[str, float], Any]:
    import torch

    from insitu import models
    from insitu.lanes import Lanes, number_of_lanes
    from insitu.models.memory import keep_large_blocks
    from insitu.segment import _arithmetic, resolve_precision

    keep_large_blocks()
    x, model = image()[None, None].contiguous(memory_format=torch.channels_last), models.load(name)
    precision = resolve_precision("auto", "cpu", model)

    def one(_: object) -> Any:
        with torch.inference_mode(), _arithmetic("cpu", precision):
            return model.from_inputs(x)

    crew = Lanes(one, number_of_lanes(0, "cpu"))
    spent = timed(lambda: [f.result() for f in [crew.put(None) for _ in range(TOGETHER)]], TOGETHER, repeats)
    crew.close()
    return spent, one(None)[0].float().numpy()


def openvino(name: str, repeats: int, hint: str) -> tuple[dict[str, float], Any]:
    import openvino as ov
    import torch

    x = image()[None, None]
    module, _ = plain_module(name)
    converted = ov.convert_model(module, example_input=x, input=[1, 1, *SHAPE])
    compiled = ov.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": hint})
    queue = ov.AsyncInferQueue(compiled)
    given = x.numpy()

    def together() -> None:
        for _ in range(TOGETHER):
            queue.start_async({0: given})
        queue.wait_all()

    maps = torch.from_numpy(np.array(compiled({0: given})[0]))
    return timed(together, TOGETHER, repeats), torch.softmax(maps, dim=1)[0, 1].numpy()


SIDES: dict[str, Callable[[str, int], tuple[dict[str, float], Any]]] = {
    "plain": plain,
    "engine": engine,
    "openvino latency": lambda name, repeats: openvino(name, repeats, "LATENCY"),
    "openvino throughput": lambda name, repeats: openvino(name, repeats, "THROUGHPUT"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["shallow", "unet", "resunet"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", nargs=2)
    parser.add_argument("--keep", help="file for the probability")
    chosen = parser.parse_args()
    if chosen.side:
        spent, probability = SIDES[chosen.side[0]](chosen.side[1], chosen.repeats)
        np.save(chosen.keep, probability)
        print(json.dumps(spent))
        return
    rows = []
    free = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_", "MALLOC_"))}
    for name in chosen.models:
        new: dict[str, Any] = {"model": name}
        probability = {}
        for side in SIDES:
            if side.startswith("openvino") and find_spec("openvino") is None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                keep = f"{folder}/probability.npy"
                given = ["--repeats", str(chosen.repeats), "--side", side, name, "--keep", keep]
                command = [sys.executable, "-m", "benchmarks.networks", *given]
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=free)
                if done.returncode:
                    raise SystemExit(done.stderr)
                new[side] = json.loads(done.stdout.splitlines()[-1])
                probability[side] = np.load(keep)
        for side, p in probability.items():
            new[side]["mask_disagreement"] = float(((p > 0.5) != (probability["plain"] > 0.5)).mean())
        rows.append(new)
        print(json.dumps(new), flush=True)
        RESULTS.write_text(json.dumps({"host": host(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
