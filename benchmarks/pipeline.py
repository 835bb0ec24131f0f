"""From a TIFF to a finished run folder, against the script a user would write: ``python -m benchmarks.pipeline``.

The script: ``TiffFile.asarray(key)`` → float32 → fp32 ``model(x)`` under ``no_grad`` with the default allocator and
threads → threshold → ``skimage.measure.label`` and ten columns of ``regionprops_table`` → ``trackpy.link``. It is given
the conditioned image that the network was trained on, and is not charged for conditioning. For the method without
weights it is what one writes with scikit-image: two Gaussians, their difference, Otsu's threshold.

Both sides run in processes of their own. Writes ``benchmarks/results/pipeline.json``; ``python -m
benchmarks.performance`` makes the tables of ``docs/performance.md`` from it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (1792, 1920)
RESULTS = Path(__file__).parent / "results" / "pipeline.json"
COLUMNS = (
    "label", "area", "centroid", "bbox", "axis_major_length", "axis_minor_length", "eccentricity", "orientation",
    "equivalent_diameter_area", "intensity_mean",
)  # fmt: skip
LEAST_AREA_PX = 20
SEARCH_RANGE_PX = 15
MEMORY_FRAMES = 3


def movie(particles: int, frames: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint16]:
    """Dark discs that wander on a noisy support, in bright field at 400 counts a pixel."""
    rng = np.random.default_rng(particles)
    side = int(np.ceil(np.sqrt(particles * shape[1] / shape[0])))
    pitch = np.array(shape) / (-(-particles // side), side)
    place = np.stack(np.divmod(np.arange(particles), side), axis=1) * pitch + pitch / 2
    radius = rng.uniform(0.25, 0.36, particles) * pitch.min()
    images = np.empty((frames, *shape), np.uint16)
    for image in images:
        place += rng.normal(0.0, 0.4, place.shape)
        level = np.full(shape, 400.0, np.float32)
        for (y, x), r in zip(place, np.minimum(radius, 40.0), strict=True):
            top, left = max(0, int(y - r - 3)), max(0, int(x - r - 3))
            yy, xx = np.ogrid[top : int(y + r + 4), left : int(x + r + 4)]
            level[top : int(y + r + 4), left : int(x + r + 4)] -= (
                120.0 / (1.0 + np.exp(2.0 * (np.hypot(yy - y, xx - x) - r)))
            )[: shape[0] - top, : shape[1] - left]
        image[...] = rng.poisson(level)
    return images


def conditioned(path: Path, model: str, frame: NDArray[Any]) -> Any:
    """Return the image that the network sees, or the normalised frame for the method without weights."""
    import tifffile

    from insitu import models
    from insitu.models.inputs import condition
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference

    options = PrepareOptions()
    with tifffile.TiffFile(path) as file:
        taken = reference([(0, file.asarray(key=0))], options)
    image = prepare(frame[None], options, taken).input[0]
    network = models.load(model)
    return condition(image, network.conditioning) if hasattr(network, "conditioning") else image


def plain_module(name: str) -> Any:
    """Return the network as it was trained: eager, fp32, NCHW, nothing folded."""
    import torch

    from insitu import models
    from insitu.models.architectures import build
    from insitu.models.checkpoint import read_tensors

    loaded = models.load(name)
    module = build(str(loaded.card["architecture"]), loaded.card.get("parameters"))
    file = models.WEIGHTS_FOLDER / f"{loaded.name}.safetensors"
    module.load_state_dict({k: torch.from_numpy(v) for k, v in read_tensors(file).items()})
    return module.eval(), float(loaded.threshold)


def naive(path: Path, model: str, frames: int, out: Path) -> dict[str, Any]:
    """Run the user's script; return wall and CPU ms a frame per stage."""
    import pandas as pd
    import tifffile
    import torch
    import trackpy
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label, regionprops_table

    trackpy.quiet()
    module, threshold = plain_module(model) if model != "classical" else (None, 0.0)
    spent: dict[str, list[tuple[float, float]]] = {}
    tables, masks = [], []

    def timed(name: str, function: Any, *arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*arguments)
        spent.setdefault(name, []).append((time.perf_counter() - wall, time.process_time() - cpu))
        return result

    def by_network(image: Any) -> NDArray[np.bool_]:
        with torch.no_grad():
            probability = torch.softmax(module(image[None, None]), dim=1)[0, 1]
        return (probability > threshold).numpy()

    def by_hand(image: NDArray[np.float32]) -> NDArray[np.bool_]:
        difference = gaussian(image, 2.0) - gaussian(image, 48.0)
        return difference > threshold_otsu(difference)

    def regions(mask: NDArray[np.bool_], raw: NDArray[Any], number: int) -> Any:
        found = pd.DataFrame(regionprops_table(label(mask, connectivity=2), raw, properties=COLUMNS))
        found = found[found["area"] >= LEAST_AREA_PX].rename(columns={"centroid-0": "y", "centroid-1": "x"})
        return found.assign(frame=number)

    def read(file: Any, key: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        raw = file.asarray(key=key)
        return raw, raw.astype(np.float32)

    with tifffile.TiffFile(path) as file:
        for key in range(frames):
            raw, _ = timed("read", read, file, key)
            image = conditioned(path, model, raw)
            mask = timed("network", by_network, image) if module else timed("network", by_hand, image.numpy())
            tables.append(timed("label + regionprops", regions, mask, raw, key))
            pieces = label(mask, connectivity=2)  # not timed: the run folder holds no piece below the least area
            masks.append(np.packbits(mask & (np.bincount(pieces.ravel()) >= LEAST_AREA_PX)[pieces]))
    linked = timed("link", lambda: trackpy.link(pd.concat(tables), search_range=SEARCH_RANGE_PX, memory=MEMORY_FRAMES))
    np.savez(out, masks=np.stack(masks), **{k: linked[k].to_numpy() for k in ("frame", "y", "x", "particle")})
    stages = {}
    for name, values in spent.items():
        steady = np.array(values[1:] if len(values) > 2 else values)
        per = steady.sum(axis=0) / frames if name == "link" else np.median(steady, axis=0)
        stages[name] = {"wall_ms": 1e3 * float(per[0]), "cpu_ms": 1e3 * float(per[1])}
    return {"stages": stages, "threads": torch.get_num_threads()}


def engine(path: Path, model: str, frames: int, out: Path) -> dict[str, Any]:
    """Run the engine once to compile what is compiled, then measure it."""
    from insitu.intake import Selection
    from insitu.pipeline import process
    from insitu.settings import Settings

    given = {
        "segment.model": model, "segment.polarity": "dark", "measure.min_area_px": LEAST_AREA_PX,
        "link.search_range_px": float(SEARCH_RANGE_PX), "link.memory_frames": MEMORY_FRAMES,
    }  # fmt: skip
    settings = Settings().replace(given, "benchmark")
    process(path, out.with_name("warm"), settings, selection=Selection(0, 4), overwrite=True)
    wall, cpu = time.perf_counter(), time.process_time()
    summary = process(path, out, settings, overwrite=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    about = json.loads((out / "run.json").read_text())
    return {
        "frames_per_s": frames / wall,
        "wall_ms": 1e3 * wall / frames,
        "cpu_ms": 1e3 * cpu / frames,
        "particles": summary.particles / frames,
        "precision": about["identity"]["precision"],
        "lanes": about["metrics"]["lanes"],
        "rss_MB": about["metrics"]["rss_MB"],
        "stages": {
            k: {"wall_ms": 1e3 * v["wall_s"] / frames, "cpu_ms": 1e3 * v["cpu_s"] / frames}
            for k, v in about["metrics"]["stages"].items()
        },
    }


def compared(run: Path, other: Path, model: str, frames: int) -> dict[str, Any]:
    """Return how far masks and links of both sides agree in the first `frames` frames."""
    import pyarrow.parquet as pq
    from scipy.spatial import cKDTree

    from insitu.results import open_run

    stored = np.load(other)
    opened = open_run(run)
    wrong, count = [], []
    for k in range(frames):
        mask = np.unpackbits(stored["masks"][k])[: SHAPE[0] * SHAPE[1]].reshape(SHAPE).astype(bool)
        mine = np.asarray(opened.labels[k]) > 0
        wrong.append(float((mine ^ mask).mean()))
        count.append(int((stored["frame"] == k).sum()))
    table = pq.read_table(run / "particles.parquet", columns=["frame", "y", "x", "particle"]).to_pydict()
    own = {k: np.array(v) for k, v in table.items()}
    links = [0, 0, 0]
    for k in range(frames - 1):
        a, b = (_successors(source, k) for source in (own, stored))
        if not len(a[0]) or not len(b[0]):
            continue
        distance, near = cKDTree(b[0]).query(a[0])
        same = distance < 1.0
        links[0] += int(same.sum())
        links[1] += int((np.linalg.norm(a[1][same] - b[1][near[same]], axis=1) < 1.0).sum())
        links[2] += len(a[0])
    mine = [int((own["frame"] == k).sum()) for k in range(frames)]
    return {
        "mask_disagreement": max(wrong), "particles": mine, "particles_naive": count,
        "links": links[2], "links_comparable": links[0], "links_equal": links[1], "model": model,
    }  # fmt: skip


def _successors(source: Any, frame: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Positions of the particles of a frame that are there in the next one, and where they are then."""
    rows = [np.flatnonzero(source["frame"] == k) for k in (frame, frame + 1)]
    _, i, j = np.intersect1d(source["particle"][rows[0]], source["particle"][rows[1]], return_indices=True)
    points = np.column_stack([source["y"], source["x"]])
    return points[rows[0][i]], points[rows[1][j]]


def apart(*arguments: object) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.pipeline", "--side", *map(str, arguments)]
    free = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_", "MALLOC_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=free, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def row(model: str, particles: int, frames: int, plain: int, folder: Path) -> dict[str, Any]:
    import tifffile

    path = folder / f"{particles}.tif"
    if not path.exists():
        few = movie(particles, min(frames, 8))
        order = [k if k < len(few) else 2 * len(few) - 2 - k for k in range(2 * len(few) - 2)]
        tifffile.imwrite(path, few[[order[k % len(order)] for k in range(frames)]], photometric="minisblack")
    theirs = apart("naive", path, model, plain, folder / "naive.npz")
    ours = apart("engine", path, model, frames, folder / "run")
    total = {kind: sum(stage[f"{kind}_ms"] for stage in theirs["stages"].values()) for kind in ("wall", "cpu")}
    return {
        "model": model, "particles": particles, "naive": theirs | {f"{k}_ms": v for k, v in total.items()},
        "engine": ours, "ratio": {k: total[k] / ours[f"{k}_ms"] for k in total},
        "compared": compared(folder / "run", folder / "naive.npz", model, plain),
    }  # fmt: skip


def in_words(new: dict[str, Any]) -> list[str]:
    ours, theirs, both = new["engine"], new["naive"], new["compared"]
    lines = [
        (
            f"{new['model']}, {new['particles']} particles: {ours['frames_per_s']:.1f} frames/s; ratio to the script "
            f"{new['ratio']['wall']:.1f} (wall), {new['ratio']['cpu']:.1f} (CPU)"
        ),
        (
            f"    network: {ours['stages']['segment']['cpu_ms']:.0f} ms CPU, the script's "
            f"{theirs['stages']['network']['cpu_ms']:.0f} ms CPU, {theirs['stages']['network']['wall_ms']:.0f} ms wall"
        ),
        (
            f"    masks differ in {both['mask_disagreement']:.1e} of the pixels; particles {both['particles']} and "
            f"{both['particles_naive']}; {both['links_equal']} of {both['links_comparable']} links equal"
        ),
    ]
    for name, side in (("engine", ours), ("script", theirs)):
        for stage, ms in side["stages"].items():
            lines.append(f"    {name} {stage:22} {ms['cpu_ms']:8.2f} ms CPU {ms['wall_ms']:8.2f} ms wall")
    return lines


def host() -> dict[str, Any]:
    names = ("torch", "numpy", "numba", "scikit-image", "trackpy", "tifffile")
    brand = next(
        (x.partition(":")[2].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x),
        platform.machine(),
    )
    versions = {name: version(name) for name in names}
    return {"processor": brand, "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["default", "shallow", "unet"])
    parser.add_argument("--particles", nargs="*", type=int, default=[300, 3000])
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--plain", type=int, default=3)
    parser.add_argument("--side", nargs=5)
    chosen = parser.parse_args()
    if chosen.side:
        side, path, model, frames, out = chosen.side
        print(json.dumps({"naive": naive, "engine": engine}[side](Path(path), model, int(frames), Path(out))))
        return
    from insitu import models

    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    for name in chosen.models:
        model = models.DEFAULT if name == "default" else name
        for particles in chosen.particles:
            with tempfile.TemporaryDirectory() as folder:
                new = row(model, particles, chosen.frames, chosen.plain, Path(folder))
            print("\n".join(in_words(new)), flush=True)
            kept = [r for r in kept if (r["model"], r["particles"]) != (model, particles)] + [new]
            RESULTS.write_text(json.dumps({"host": host(), "default": models.DEFAULT, "rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
