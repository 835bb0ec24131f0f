"""A tiny world for the store: frames whose results depend on all frames before them, through a state like a tracker's.

Run as a program it is the victim of the kill tests (`Victim`).
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

import numpy as np

from insitu.errors import InsituError
from insitu.options import StoreOptions
from insitu.store.commit import RunFolder
from insitu.types import Calibration, Event, Frame, FrameResult, Header, Particles, RunInfo, Runs, SourceInfo

SHAPE = (48, 64)
CELL = 8
SETTINGS = "[segment]\nthreshold = 0.5\n[store]\nunit_frames = 64\n"
ABOUT = {"source": {"size": 10, "fingerprint": "f00d"}, "identity": {"device": "cpu"}}
CALIBRATED = Calibration(0.2, "test", 0.0025, "test")
UNKNOWN = Calibration()


def info(out, *, calibration=CALIBRATED, frames=200, first=0, step=1, binned=1, origin=(0, 0)):
    source = SourceInfo("nowhere.tif", "tiff", 512, 512, np.dtype(np.uint8), frames, calibration)
    region = (SHAPE[0] * binned, SHAPE[1] * binned)
    return RunInfo(Path(out), source, calibration, region, first, step, origin, binned)


def image(k, density=0.3):
    """The label image of frame k: rectangles in cells, numbered in raster order of the first pixel."""
    rng = np.random.default_rng(k)
    mask = np.zeros(SHAPE, np.uint16)
    boxes = []
    for y in range(0, SHAPE[0], CELL):
        for x in range(0, SHAPE[1], CELL):
            if rng.random() < density:
                top, left = rng.integers(0, 3, 2)
                height, width = rng.integers(1, 5, 2)
                boxes.append((y + top, x + left, y + top + height, x + left + width))
    for label, (y0, x0, y1, x1) in enumerate(sorted(boxes), 1):
        mask[y0:y1, x0:x1] = label
    return mask


def runs_of(labels):
    rows = []
    for y, line in enumerate(labels):
        x = 0
        while x < len(line):
            stop = x + 1
            while stop < len(line) and line[stop] == line[x]:
                stop += 1
            if line[x]:
                rows.append((y, x, stop, int(line[x])))
            x = stop
    table = np.array(rows, np.int32).reshape(-1, 4)
    columns = [np.ascontiguousarray(c) for c in table.T]
    return Runs(labels.shape, *columns, n_labels=int(labels.max()))


def particles_of(labels, rng):
    n = int(labels.max())
    area = np.bincount(labels.ravel(), minlength=n + 1)[1:].astype(np.int32)
    rows, cols = np.indices(labels.shape)
    columns = {f: rng.random(n) for f in Particles.__dataclass_fields__}
    columns["y"] = np.array([rows[labels == i].mean() for i in range(1, n + 1)])
    columns["x"] = np.array([cols[labels == i].mean() for i in range(1, n + 1)])
    columns |= {"label": np.arange(1, n + 1, dtype=np.uint16), "area_px": area}
    columns |= {f"bbox_{s}": rng.integers(0, 99, n).astype(np.int32) for s in ("y0", "x0", "y1", "x1")}
    columns |= {"touches_edge": rng.random(n) < 0.2, "composite": rng.random(n) < 0.1}
    return Particles(**columns)


class World:
    """Results of frame after frame; `state` and `restore` as a tracker has them."""

    def __init__(self, *, first=0, step=1, empty=False):
        self.first, self.step, self.empty, self.sum = first, step, empty, 1

    def state(self):
        return {"link/sum": np.array([self.sum]), "kind": np.array("optimal")}

    def restore(self, state):
        self.sum = int(state["link/sum"][0])

    def status(self, k):
        return "bad" if k % 17 == 11 else "missing" if k % 23 == 7 else "ok"

    def labels(self, k):
        return image(k) if self.status(k) == "ok" and not self.empty else np.zeros(SHAPE, np.uint16)

    def result(self, k):
        status, labels = self.status(k), self.labels(k)
        n = int(labels.max())
        self.sum = (self.sum * 31 + n) % 1_000_003
        index = self.first + k * self.step
        header = Header(f"frame_{index}.tif", index, "missing" if status == "missing" else "ok")
        flags = () if status == "ok" else ("truncated",) if status == "bad" else ("gap",)
        time_s = None if self.first else index * 0.0025
        frame = Frame(index, None, status, flags, header, time_s)
        ids = np.arange(n, dtype=np.int64) + self.sum
        events = ()
        if k % 5 == 3 and not self.empty:
            events = tuple(
                Event(
                    "coalescence",
                    max(self.first, index - 2 * self.step),
                    index,
                    1.5,
                    e,
                    (self.sum, e),
                    (self.sum + 1,),
                    (4, 5),
                    (8,),
                )
                for e in range(k % 3)
            )
        return FrameResult(
            frame,
            runs_of(labels),
            particles_of(labels, np.random.default_rng([k, self.sum])),
            ids,
            events,
            n_small=k % 4,
            threshold=None if status != "ok" else 0.5,
            drift_px=(k * 0.1, -k * 0.1),
            flags=flags,
        )

    def last_events(self):
        return () if self.empty else (Event("leaving", self.first, self.first, 0.0, 0.0, (self.sum,)),)


def tracks(n=3):
    columns = {
        "particle": np.arange(n),
        "first_frame": np.zeros(n),
        "last_frame": np.full(n, 9),
        "length": np.full(n, 10),
        "origin": ["start"] * n,
        "fate": ["end"] * n,
        "parents": [()] * n,
        "children": [(5, 7)] * n,
    }
    names = (
        "equivalent_diameter_px_first",
        "equivalent_diameter_px_last",
        "equivalent_diameter_px_mean",
        "growth_px_per_frame",
        "growth_px_per_frame_se",
        "displacement_px",
    )
    return columns | {name: np.linspace(1, 2, n) for name in names}


def analyse(
    run, *, frames, unit=64, shard=64, world=None, resume=False, disk=None, settle=0.0, seen=None, stop=None, **options
):
    """Analyse `frames` frames of the world into ``run.out``; return the folder."""
    world = world or World(first=run.first_frame, step=run.step)
    opened = RunFolder.resume if resume else RunFolder.create
    folder = opened(
        run,
        settings_text=SETTINGS,
        about=ABOUT,
        options=StoreOptions(unit_frames=unit, shard_frames=shard, **options),
        disk=disk,
    )
    with folder:
        if folder.finished:
            return folder
        if folder.committed:
            world.restore(folder.state)
        for k in range(folder.committed, frames if stop is None else stop):
            if seen:
                with Path(seen).open("a") as file:
                    file.write(f"{k}\n")
            time.sleep(settle)
            result = world.result(k)
            folder.add(result)
            if result.frame.status == "bad":
                folder.problem(result.frame.index, result.frame.header.source, "truncated")
            if folder.due:
                folder.commit(world.state())
        if stop is None:
            folder.problem(None, "world", "is small")
            folder.commit(world.state())
            folder.finish(tracks(), about={"metrics": {"fps": 1.0}}, events=world.last_events())
    return folder


def digest(out, *, with_problems=True):
    """Hash of each file that is promised to be the same: tables and label array."""
    names = [p for p in sorted(Path(out).rglob("*")) if p.is_file()]
    names = [
        p
        for p in names
        if p.suffix == ".parquet" or "labels.ome.zarr" in p.parts or (with_problems and p.name == "problems.jsonl")
    ]
    return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in names}


class Victim:
    """Engines that may be killed: one process that has imported everything and forks one engine a request."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.pid = None

    def start(self, out, *, environment=None, limit=None, **how):
        request = {"out": str(out), "environment": environment or {}, "limit": limit, "how": how}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._process.stdout.readline())

    def kill(self):
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self):
        """Exit code of the engine (−9 when killed), and what it said."""
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["said"]

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _engine(request, pipe):
    try:
        os.environ.update(request["environment"])
        if request["limit"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
        how = request["how"]
        analyse(info(request["out"], frames=how["frames"]), **how)
        os._exit(0)
    except InsituError as error:
        os.write(pipe, str(error).encode())
        os._exit(error.exit_code)
    except BaseException:
        os.write(pipe, traceback.format_exc().encode())
        os._exit(1)


def _serve():
    import pandas as pd  # noqa: F401 - imported before the first fork, as pyarrow would
    import pyarrow.parquet  # noqa: F401

    from insitu.runs import paint

    paint(runs_of(image(0)), out=np.zeros(SHAPE, np.uint16))
    for line in sys.stdin:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _engine(json.loads(line), write)
        os.close(write)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        sys.stdout.write(json.dumps({"code": os.waitstatus_to_exitcode(status), "said": said}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
