"""Results as an engine gives them, made in a millisecond, and a run folder that says how it is calibrated."""

from __future__ import annotations

import numpy as np

from insitu.live.board import Board
from insitu.measure import measure
from insitu.options import MeasureOptions
from insitu.progress import Progress
from insitu.runs import components, find_runs
from insitu.store.about import begin
from insitu.types import Calibration, Event, Frame, FrameResult, Header, RunInfo, SourceInfo


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def image_of(frame=0, particles=5, shape=(96, 128), seed=0):
    """Dark squares of 8 px on a grid, that creep by a px in ten frames, on a noisy support."""
    rng = np.random.default_rng(seed + frame)
    picture = rng.normal(150, 5, shape).clip(1, 250).astype(np.uint8)
    columns = (shape[1] - 16) // 14
    mask = np.zeros(shape, bool)
    for k in range(particles):
        y, x = 8 + 14 * (k // columns), 8 + 14 * (k % columns)
        mask[y : y + 8 + (k % 3), x + frame // 10 % 4 : x + frame // 10 % 4 + 8] = True
    picture[mask] //= 3
    return picture, mask


def result_of(frame=0, particles=5, shape=(96, 128), *, events=(), status="ok", fps=100.0, **kw):
    image, mask = image_of(frame, particles, shape)
    counts = image if status == "ok" else None
    measured = measure(components(find_runs(mask, image)), MeasureOptions())
    time_s = None if fps is None else frame / fps
    there = Frame(frame, counts, status, (), Header("m.tif", frame), time_s)
    ids = np.arange(len(measured.particles), dtype=np.int64)
    if status != "ok":
        nothing = measure(components(find_runs(np.zeros(shape, bool))), MeasureOptions())
        return FrameResult(there, nothing.runs, nothing.particles, ids[:0], flags=("truncated",))
    return FrameResult(there, measured.runs, measured.particles, ids, tuple(events), **kw)


def event_of(frame, kind="coalescence", y=40.0, x=50.0, **kw):
    return Event(kind, frame, frame + 8, y, x, confidence=0.9, **{"child_areas_px": (80,), **kw})


def progress_of(done, **kw):
    return Progress(None, done=done, used=done, particles=5 * done, frames_per_s=100.0, **kw)


def folder_of(path, nm_per_px=0.5, shape=(96, 128)):
    """A run folder with a ``run.json`` of a run that is going on."""
    import json

    from insitu.options import StoreOptions

    path.mkdir(parents=True)
    info = SourceInfo("m.tif", "tiff", *shape, np.dtype(np.uint8), None)
    calibration = Calibration(nm_per_px, "--nm-per-px", 0.01, "--fps")
    (path / "run.json").write_text(json.dumps(begin(RunInfo(path, info, calibration, shape), StoreOptions(), {})))
    return path


def board_at(path, frames=0, **kw):
    """A board that has seen `frames` frames of a run in `path`."""
    board = Board(**kw)
    board.begin("m.tif", folder_of(path))
    for k in range(frames):
        board.on_result(result_of(k))
        board.on_progress(progress_of(k + 1))
    return board


class Readings:
    """Whoever reads a log of sensors."""

    def __init__(self):
        self.version, self.says, self.traces = 0, "", ()

    def tell(self, *traces, says=""):
        self.version, self.says, self.traces = self.version + 1, says, traces


TEMPERATURE = {"name": "holder temperature", "unit": "°C", "now": 612.0, "x": [0.0, 0.02], "y": [610.0, 612.0]}
PRESSURE = {"name": "tank 1 pressure", "unit": "Torr", "now": 1.5, "x": [0.01], "y": [1.5]}
