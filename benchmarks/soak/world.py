"""A movie small enough to be analysed a thousand times, and engines that may be killed while they do it.

An engine is the command line itself (`insitu run …`), forked from a process that has imported everything, so that a
start costs milliseconds. Its network is a stub that thresholds the normalised frame: what is proved here is the
account of frames and bytes, not the segmentation.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import tifffile

SIDE = 48
FRAMES = 96
MISSING = (30, 31)
BLANK = (20, 61)
CUT = 45


def discs(frames: int, side: int = SIDE, seed: int = 0):
    """Yield uint8 frames of a few dark discs that wander, shrink and grow on a noisy support."""
    rng = np.random.default_rng(seed)
    count = max(4, side // 12)
    centre = rng.uniform(6, side - 6, (count, 2))
    radius = rng.uniform(2.5, side / 10, count)
    yy, xx = np.mgrid[:side, :side]
    for _ in range(frames):
        centre = np.clip(centre + rng.normal(0, 0.6, centre.shape), 3, side - 4)
        radius = np.clip(radius + rng.normal(0, 0.05, count), 0, side / 8)
        image = np.full((side, side), 150.0)
        for (y, x), r in zip(centre, radius, strict=True):
            image -= 60 * np.clip(r - np.hypot(yy - y, xx - x) + 0.5, 0, 1)
        yield rng.normal(image.clip(20), 5).clip(1, 255).astype(np.uint8)


def write_movie(folder: Path, frames: int = FRAMES) -> Path:
    """Write numbered images with a gap, blank frames and a file cut short."""
    folder.mkdir(parents=True)
    for k, image in enumerate(discs(frames)):
        path = folder / f"frame_{k:04}.tif"
        if k not in MISSING:
            tifffile.imwrite(path, np.zeros_like(image) if k in BLANK else image)
        if k == CUT:
            path.write_bytes(path.read_bytes()[:1000])
    return folder


def run(source: Path, out: Path, *more: str, verb: str = "run", unit: int = 4, fsync: bool = False) -> list[str]:
    """Return the arguments of `insitu` for one engine; it begins or goes on, whichever is possible."""
    settings = {"store.unit_frames": unit, "store.shard_frames": 16, "store.fsync": str(fsync).lower()}
    options = ["--nm-per-px", "0.2", "--fps", "400", "--model", "classical", "--resume", "--device", "cpu"]
    pairs = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return [verb, str(source), "-o", str(out), *options, *pairs, *more]


def digest(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every table and every file of the label image of a run."""
    files = [*out.glob("*.parquet"), *(p for p in (out / "labels.ome.zarr").rglob("*") if p.is_file())]
    return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


class Engines:
    """One process that has imported everything and forks an engine a request."""

    def __init__(self, *, stub: bool = True) -> None:
        self.pid = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.soak.world", *(["stub"] if stub else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        )

    def start(self, arguments: list[str], *, failpoint: str = "", file_limit: int = 0, memory_limit: int = 0) -> None:
        """Fork an engine; the limits are the largest file and the address space, in bytes."""
        request = {"arguments": arguments, "failpoint": failpoint, "file": file_limit, "memory": memory_limit}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._process.stdout.readline())

    def kill(self) -> None:
        """End the engine as a power button would."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Return the engine's exit code (-9 when killed) and what it printed."""
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["said"]

    def call(self, arguments: list[str], **limits) -> tuple[int, str]:
        """Run an engine to its end."""
        self.start(arguments, **limits)
        return self.wait()

    def close(self) -> None:
        """End the process that forks."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()


class Stub:
    """A model that knows dark from bright."""

    name, threshold, seed, multiple = "stub", 0.5, 0.0, 1

    def probabilities(self, images):
        """Return (B, H, W): 1 where the frame is five times its noise away from the support."""
        return (images > 5).float()


def _engine(request: dict, pipe: int) -> None:
    from insitu.cli import main

    os.environ["INSITU_FAILPOINT"] = request["failpoint"]
    if "watch" in request["arguments"]:
        from insitu.following import Following

        # as on a disk so fast that every second frame is committed: small units are merged again and again
        Following.due = lambda self: self._folder.uncommitted >= 2
    for kind, limit in ((resource.RLIMIT_FSIZE, request["file"]), (resource.RLIMIT_AS, request["memory"])):
        if limit:
            resource.setrlimit(kind, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.dup2(pipe, 1)
    os.dup2(pipe, 2)
    code = 1
    try:
        code = main(request["arguments"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _serve(*, stub: bool) -> None:
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401 - imported before the first fork

    import insitu.cli.run
    import insitu.cli.watch  # noqa: F401
    from insitu import models, pipeline
    from insitu.settings import Settings

    if stub:
        models.load = lambda *_, **__: Stub()
    # compiles what numba compiles; leaves no thread behind
    list(pipeline.stream(discs(12), settings=Settings().replace({"segment.model": "classical"}, "soak")))
    for line in sys.stdin:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _engine(json.loads(line), write)
        os.close(write)
        print(pid, flush=True)
        with os.fdopen(read, errors="replace") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "said": said}), flush=True)


if __name__ == "__main__":
    _serve(stub="stub" in sys.argv)
