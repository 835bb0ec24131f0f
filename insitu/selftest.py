"""Whether this machine and this disk keep what they promise: the proofs of the test-suite, in a minute, on the spot.

A commit is only as safe as the disk's own word. What can be seen of that is looked at: room, a lock that holds, a
rename that replaces, a wait that takes as long as a disk needs. Then an engine is killed twice in the middle of a small
movie, goes on, and must end with the same bytes as one that was left alone; and a GPU, where there is one, must find
what the processor finds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from insitu.read.watch.patience import file_system, is_share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

Verdict = Literal["ok", "note", "failed"]
FRAMES, SHAPE, _UNIT = 64, (96, 128), 4
_LITTLE, _TOO_LITTLE = 10 << 30, 200 << 20
_SYNCS = 30
# a flash disk needs some 20 µs to take a block for good; what is faster was not waited for
_NO_WAIT_MS = 0.02
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_MOST_DIFFERING = 1e-4


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    verdict : {"ok", "note", "failed"}
        ``"note"``: works, but the user should know.
    text : str
        What was found, in a sentence.
    """

    name: str
    verdict: Verdict
    text: str


def selftest(folder: Path) -> Iterator[Check]:
    """Yield one check after another; a folder is made in `folder` and removed.

    Raises
    ------
    OSError
        Nothing can be written in `folder`.
    """
    place = Path(tempfile.mkdtemp(prefix="insitu-selftest-", dir=folder))
    try:
        checks: tuple[Callable[[Path], Check], ...] = (room, names, lock, waiting, kill_and_resume, gpu_like_cpu)
        for check in checks:
            yield check(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def room(place: Path) -> Check:
    """Look at the free space."""
    free = shutil.disk_usage(place).free
    verdict: Verdict = "failed" if free < _TOO_LITTLE else "note" if free < _LITTLE else "ok"
    return Check("room", verdict, f"{free / 1e9:.1f} GB free" + ("" if verdict == "ok" else ": a long run needs more"))


def names(place: Path) -> Check:
    """Look at whether a file takes the place of another in one step."""
    old, new = place / "old", place / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    with old.open("rb") as held:
        new.replace(old)
        kept = held.read()
    whole = old.read_bytes() == b"new" and kept == b"old" and not new.exists()
    return Check("rename", "ok" if whole else "failed", "replaces a file in one step" if whole else "loses a file")


def lock(place: Path) -> Check:
    """Look at whether a second engine would be kept out."""
    with (place / "lock").open("w") as first, (place / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Check("lock", "ok", "keeps a second engine out")
    return Check("lock", "failed", "does not keep a second engine out: never give two engines one OUT on this disk")


def waiting(place: Path) -> Check:
    """Look at whether fsync waits for a medium, as far as its duration tells."""
    times = []
    with (place / "block").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(1 << 16))
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(1e3 * (time.perf_counter() - began))
    ms, kind = statistics.median(times), file_system(place)
    took = f"{ms:.3g} ms on {kind or 'this disk'}"
    if kind in _IN_MEMORY:
        return Check("fsync", "note", f"{took}: the folder lies in memory, a power cut takes all of it")
    if ms < _NO_WAIT_MS:
        return Check("fsync", "note", f"{took}: too fast to be true, a power cut may take what was acknowledged")
    if is_share(kind):
        return Check("fsync", "note", f"{took}: a share; the computer that serves it decides what is safe")
    return Check("fsync", "ok", f"{took} a commit")


def kill_and_resume(place: Path) -> Check:
    """Kill an engine at a commit point, kill the next one at a random moment, let a third finish; compare all bytes."""
    movie = place / "movie.npy"
    np.save(movie, frames())
    began = time.monotonic()
    whole, out = place / "whole", place / "killed"
    if code := _engine(movie, whole).wait():
        return Check("kill and resume", "failed", f"a small run ended with exit {code}")
    first = _engine(movie, out, failpoint="before-line:4")
    died = first.wait() == 137
    second = _engine(movie, out)
    _wait_for_lines(out / "commits.jsonl", 6, second)
    second.send_signal(signal.SIGKILL)
    killed = second.wait() == -signal.SIGKILL
    code = _engine(movie, out).wait()
    same = code == 0 and hashes(out) == hashes(whole)
    seconds = time.monotonic() - began
    if not same:
        return Check("kill and resume", "failed", f"the run that was killed differs from the one that was not ({code})")
    deaths = int(died) + int(killed)
    files = len(hashes(out))
    return Check("kill and resume", "ok", f"{deaths} kills, {files} files with the same bytes, {seconds:.0f} s")


def _wait_for_lines(log: Path, lines: int, engine: subprocess.Popen[bytes]) -> None:
    while engine.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < lines):
        time.sleep(0.002)


def _engine(movie: Path, out: Path, *, failpoint: str = "", device: str = "cpu") -> subprocess.Popen[bytes]:
    values = (f"store.unit_frames={_UNIT}", "store.shard_frames=16")
    command = [sys.executable, "-m", "insitu", "run", str(movie), "-o", str(out), "--resume", "--quiet"]
    command += ["--model", "classical", "--device", device, "--nm-per-px", "0.2", "--fps", "400"]
    command += [word for value in values for word in ("--set", value)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=os.environ | {"INSITU_FAILPOINT": failpoint}, **quiet)  # type: ignore[call-overload,no-any-return]  # noqa: S603 - our own program


def gpu_like_cpu(place: Path) -> Check:
    """Find the particles of the same movie on both devices; the outlines may differ in a pixel of ten thousand."""
    import torch

    if not torch.cuda.is_available():
        return Check("GPU like CPU", "ok", "no GPU here: the processor does all of it")
    labels = [_labels(place / "movie.npy", place / device, device) for device in ("cpu", "cuda")]
    if any(planes is None for planes in labels):
        return Check("GPU like CPU", "failed", "a small run did not end")
    share = float(np.mean((labels[0] > 0) != (labels[1] > 0)))  # type: ignore[operator]
    said = f"{torch.cuda.get_device_name(0)}: {share:.2g} of all pixels differ"
    return Check("GPU like CPU", "ok" if share <= _MOST_DIFFERING else "failed", said)


def _labels(movie: Path, out: Path, device: str) -> NDArray[np.uint16] | None:
    from insitu.results import open_run

    if _engine(movie, out, device=device).wait():
        return None
    return np.asarray(open_run(out).labels[:])


def frames() -> NDArray[np.uint8]:
    """Return a movie (64, 96, 128) of five dark discs that wander and breathe on a noisy support."""
    rng = np.random.default_rng(0)
    centre = np.array([[24.0, 30.0], [30.0, 92.0], [70.0, 30.0], [68.0, 95.0], [48.0, 60.0]])
    radius = np.array([7.0, 8.0, 9.0, 10.0, 11.0])
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    movie = np.empty((FRAMES, *SHAPE), np.uint8)
    for image in movie:
        centre = centre + rng.normal(0, 0.3, centre.shape)
        clean = np.full(SHAPE, 150.0)
        for (y, x), r in zip(centre, radius, strict=True):
            clean -= 60 * np.clip(r - np.hypot(yy - y, xx - x) + 0.5, 0, 1)
        image[:] = rng.normal(clean, 6).clip(1, 255)
    return movie


def hashes(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every table and every file of the label image of a run."""
    files = [*out.glob("*.parquet"), *(p for p in (out / "labels.ome.zarr").rglob("*") if p.is_file())]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}
