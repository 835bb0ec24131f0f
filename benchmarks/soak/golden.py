"""Run folders that every later version must read: `python -m benchmarks.soak golden`, once for each schema.

A small run that was finished and the same run interrupted, with what their tables hold beside them. They are written
when the schema changes, and never again.
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np

from benchmarks.soak.world import Stub, discs

GOLDEN = Path(__file__).parents[2] / "tests" / "reliability" / "golden"
FRAMES, AT = 40, 24


def images() -> list[np.ndarray]:
    """Return the movie: 40 frames of 32×32 px, two of them blank."""
    return [np.zeros_like(image) if k in {11, 30} else image for k, image in enumerate(discs(FRAMES, side=32))]


def write_run(out: Path, *, stop_at: int | None = None) -> None:
    """Analyse the movie into `out`, to the end or to a stop."""
    from insitu import models, pipeline
    from insitu.settings import Settings

    stop, load = threading.Event(), models.load
    models.load = lambda *_, **__: Stub()
    values = {
        "segment.model": "classical", "segment.device": "cpu", "calibration.nm_per_px": 0.2, "calibration.fps": 400.0,
        "store.unit_frames": 8, "store.shard_frames": 16,
    }  # fmt: skip

    def look(progress) -> None:
        if stop_at is not None and progress.done >= stop_at:
            stop.set()

    try:
        settings = Settings().replace(values, "golden")
        pipeline.process(images(), out, settings, resume=True, progress=look, stop=stop)
    finally:
        models.load = load


def contents(out: Path) -> dict:
    """Return what a reader sees of a run, small enough to be compared by eye."""
    import insitu

    run = insitu.open(out)
    found: dict = {"counts": run.counts, "finished": run.finished, "nm_per_px": run.calibration.nm_per_px}
    for name in ("particles", "tracks", "events", "frames"):
        table = getattr(run, name).to_pandas()
        numbers = table.select_dtypes("number")
        sums = {column: float(np.nansum(numbers[column].to_numpy(np.float64))) for column in numbers}
        found[name] = {"rows": len(table), "columns": list(table.columns), "sums": sums}
    found["status"] = run.frames.to_pandas()["status"].tolist()
    found["kinds"] = run.events.to_pandas()["kind"].tolist()
    labels = np.asarray(run.labels[:])
    found["labels"] = [list(labels.shape), int(labels.sum())]
    return found


def write() -> None:
    """Write the golden runs of the present schema."""
    from insitu.schema import SCHEMA_VERSION

    place = GOLDEN / f"schema-{SCHEMA_VERSION}"
    if place.exists():
        raise SystemExit(f"{place} is there already, and golden runs are never written again")
    for name, at in {"finished": None, "interrupted": AT}.items():
        write_run(place / name, stop_at=at)
        about = contents(place / name)
        (place / f"{name}.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(place / "finished" / "parts", ignore_errors=True)
    print(sum(p.stat().st_size for p in place.rglob("*") if p.is_file()), "bytes in", place)
