"""What a frame costs as pixels, particles and frames grow tenfold, beside what one would use instead.

Labelling and measuring: runs against ``cv2.connectedComponentsWithStats`` and scikit-image. Linking: the engine against
trackpy and laptrack. OpenCV and laptrack are no dependencies: where one is not installed its column says so. CPU time
of this process, one thread, everything in one run. ``python -m benchmarks.growing`` writes ``results/growing.json``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.linking import links_of, tabled
from benchmarks.measuring import COLUMNS
from benchmarks.pipeline import host
from insitu.link import link
from insitu.measure import measure
from insitu.options import MeasureOptions
from insitu.runs import components, find_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results" / "growing.json"
BARE = MeasureOptions(min_area_px=1, perimeter=False)
SHAPES = ((567, 607), (1792, 1920), (5667, 6072))  # ten times as many pixels each
PARTICLES = (30, 300, 3000)
FRAMES = (20, 200, 2000)
RADIUS = (3.0, 10.0)
SEARCH_RANGE_PX = 15.0
SLOW_S = 60.0  # what would take longer by the last row is left out


def discs(shape: tuple[int, int], n: int) -> NDArray[np.bool_]:
    """Draw `n` discs of 3…10 px radius, one somewhere in each cell of a grid."""
    rng = np.random.default_rng(n)
    side = int(np.ceil(np.sqrt(n * shape[1] / shape[0])))
    pitch = np.array(shape) / (-(-n // side), side)
    radius = np.minimum(rng.uniform(*RADIUS, n), pitch.min() / 2 - 2)
    room = pitch / 2 - radius[:, None] - 1
    place = (np.stack(np.divmod(np.arange(n), side), axis=1) + 0.5) * pitch + rng.uniform(-1, 1, (n, 2)) * room
    mask = np.zeros(shape, np.bool_)
    for (y, x), r in zip(place, radius, strict=True):
        box = np.s_[max(0, int(y - r)) : int(y + r) + 2, max(0, int(x - r)) : int(x + r) + 2]
        yy, xx = np.ogrid[box]
        mask[box] |= ((yy - y) ** 2 + (xx - x) ** 2 <= r * r)[: shape[0] - box[0].start, : shape[1] - box[1].start]
    return mask


def walkers(n: int, frames: int) -> Any:
    """Return the table of `n` walkers of 1 px a frame on 1792×1920 px."""
    import pandas as pd

    rng = np.random.default_rng(n)
    start = rng.uniform(0, (1792, 1920), (n, 2))
    flat = (start + np.cumsum(rng.normal(0, 1.0, (frames, n, 2)), axis=0)).reshape(-1, 2)
    return pd.DataFrame({"frame": np.repeat(np.arange(frames), n), "y": flat[:, 0], "x": flat[:, 1]})


def cpu_ms(work: Callable[[], Any], *, least_s: float = 0.3, most: int = 25) -> tuple[float, Any]:
    """Return the least CPU time of some calls in ms, compiled before, and what the last one gave."""
    result = work()
    spent: list[float] = []
    while not spent or (sum(spent) < least_s and len(spent) < most):
        begin = time.process_time()
        result = work()
        spent.append(time.process_time() - begin)
    return 1e3 * min(spent), result


def by_opencv(mask: NDArray[np.bool_]) -> Any:
    """Label; area, box and centroid are all that OpenCV gives."""
    import cv2

    _, _, stats, centre = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return stats[1:, cv2.CC_STAT_AREA], centre[1:]


def by_scikit_image(mask: NDArray[np.bool_], counts: NDArray[Any]) -> Any:
    import skimage.measure

    labels = skimage.measure.label(mask, connectivity=2)
    return skimage.measure.regionprops_table(labels, counts, properties=COLUMNS)


def measuring(shape: tuple[int, int], n: int) -> dict[str, Any]:
    """Time all methods on one mask; they must find the same particles."""
    mask = discs(shape, n)
    counts = np.random.default_rng(0).poisson(400, shape).astype(np.uint16)
    row: dict[str, Any] = {"shape": list(shape), "particles": n, "opencv": None}
    row["engine"], mine = cpu_ms(lambda: measure(components(find_runs(mask, counts)), BARE))
    row["scikit-image"], theirs = cpu_ms(lambda: by_scikit_image(mask, counts), most=2)
    areas = np.sort(mine.particles.area_px)
    if not np.array_equal(areas, np.sort(theirs["area"].astype(int))):
        raise SystemExit("scikit-image found other particles")
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        row["opencv"], found = cpu_ms(lambda: by_opencv(mask))
        if not np.array_equal(areas, np.sort(found[0])):
            raise SystemExit("OpenCV found other particles")
    return row


def by_laptrack(table: Any) -> NDArray[np.int64]:
    from laptrack import LapTrack

    tracker = LapTrack(cutoff=SEARCH_RANGE_PX**2, gap_closing_cutoff=False)
    tracked, _, _ = tracker.predict_dataframe(table, ["y", "x"], frame_col="frame", only_coordinate_cols=False)
    return tracked["track_id"].to_numpy()


def linking(n: int, frames: int, laptrack_ms: float) -> dict[str, Any]:
    """Time all methods on one set of walkers, ms a frame; `laptrack_ms` is what laptrack may take a frame."""
    import trackpy

    trackpy.quiet()
    table = walkers(n, frames)
    row: dict[str, Any] = {"particles": n, "frames": frames, "laptrack": None}
    spent, mine = cpu_ms(lambda: tabled(link, table, SEARCH_RANGE_PX, memory=0), most=3)
    row["engine"] = spent / frames
    begin = time.process_time()
    theirs = tabled(trackpy.link, table, SEARCH_RANGE_PX, memory=0)
    row["trackpy"] = 1e3 * (time.process_time() - begin) / frames
    row["differ from trackpy"] = len(links_of(mine) ^ links_of(theirs))
    if find_spec("laptrack"):
        row["laptrack"] = "left out"
        if laptrack_ms * frames < 1e3 * SLOW_S:
            begin = time.process_time()
            by_laptrack(table)
            row["laptrack"] = 1e3 * (time.process_time() - begin) / frames
    return row


def main() -> None:
    """Measure, print and write."""
    about = host()
    for module, package in (("cv2", "opencv-python-headless"), ("laptrack", "laptrack")):
        if not find_spec(module):
            print(f"NOT INSTALLED: {module}; its column stays empty (pip install {package})", file=sys.stderr)
            continue
        try:
            about["versions"][module] = version(package)
        except PackageNotFoundError:
            about["versions"][module] = "unknown version"
    rows = [measuring(shape, 300) for shape in SHAPES]
    rows += [measuring(SHAPES[1], n) for n in PARTICLES if n != 300]
    links: list[dict[str, Any]] = []
    for n, frames in [(300, f) for f in FRAMES] + [(n, FRAMES[0]) for n in PARTICLES if n != 300]:
        known = [r["laptrack"] for r in links if r["particles"] == n and isinstance(r["laptrack"], float)]
        links.append(linking(n, frames, max(known, default=0.0)))
    result = {"host": about, "measuring": rows, "linking": links}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
