"""Power cuts: every operation of the store is written down, and after any of them only what was fsynced is sure.

A kill keeps what the program has written; a power cut does not. The model is stricter than a journalling file system:
a file holds what its last fsync saw, and any beginning of what came later, or zeros in its place; a name that was made,
changed or removed since its folder's last fsync is there or not, each by itself. From such a folder the run must go on
with every acknowledged frame, and end with the same bytes (and the same ``problems.jsonl``).
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.world import Engines, Stub, digest, run, write_movie
from insitu.store.disk import Disk

NUMBER = 300
_UNIT = 8
Step = tuple


class Recorder(Disk):
    """The real disk, and the list of what it was asked to do."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__(fsync=False)
        self.steps = steps

    def open(self, path: Path, flags: int) -> int:
        """Open and note."""
        descriptor = super().open(path, flags)
        self.steps.append(("open", descriptor, str(path), flags))
        return descriptor

    def put(self, descriptor: int, data: bytes) -> None:
        """Write and note."""
        super().put(descriptor, data)
        self.steps.append(("put", descriptor, bytes(data)))

    def sync(self, descriptor: int, path: Path) -> None:
        """Note what is sure from here on."""
        self.steps.append(("sync", descriptor, str(path)))

    def rename(self, old: Path, new: Path) -> None:
        """Rename and note."""
        super().rename(old, new)
        self.steps.append(("rename", str(old), str(new)))

    def make_folder(self, path: Path) -> None:
        """Make and note."""
        super().make_folder(path)
        self.steps.append(("folder", str(path)))

    def remove(self, path: Path) -> None:
        """Remove and note."""
        there = path.exists()
        super().remove(path)
        if there:
            self.steps.append(("remove", str(path)))

    def truncate(self, path: Path, size: int) -> None:
        """Cut and note."""
        self.steps.append(("cut", str(path), size))
        super().truncate(path, size)


@dataclass
class _File:
    sure: bytes = b""
    seen: bytes = b""

    def left(self, rng: random.Random) -> bytes:
        """Return what a power cut leaves of it."""
        if self.sure == self.seen:
            return self.sure
        if self.seen.startswith(self.sure):
            more = self.seen[len(self.sure) :]
            kept = more[: rng.randint(0, len(more))]
            return self.sure + rng.choice((b"", kept, more, bytes(len(kept))))
        return rng.choice((self.sure, self.seen, self.seen[: rng.randint(0, len(self.seen))]))


@dataclass
class _Folder:
    sure: dict[str, _File | _Folder] = field(default_factory=dict)
    seen: dict[str, _File | _Folder] = field(default_factory=dict)
    since: list[tuple[str, str, object]] = field(default_factory=list)

    def change(self, what: str, name: str, more: object) -> None:
        """Make, move or remove a name, for the time being."""
        self.since.append((what, name, more))
        _apply(self.seen, what, name, more)

    def left(self, rng: random.Random) -> dict[str, _File | _Folder]:
        """Return the names that a power cut leaves."""
        names = dict(self.sure)
        kept = self.since[: rng.randint(0, len(self.since))] if rng.random() < 0.5 else self.since
        for change in kept:
            if kept is not self.since or rng.random() < 0.6:
                _apply(names, *change)
        return names


def _apply(names: dict, what: str, name: str, more: object) -> None:
    if what == "make":
        names[name] = more
    elif what == "move":
        old, entry = more
        names.pop(old, None)
        names[name] = entry
    else:
        names.pop(name, None)


class Medium:
    """A folder on a disk, as its operations are done one after another."""

    def __init__(self, root: Path) -> None:
        self._root, self._top = root, _Folder()
        self._open: dict[int, _File] = {}

    def _at(self, path: str) -> tuple[_Folder, str]:
        folder = self._top
        parts = Path(path).relative_to(self._root).parts
        for name in parts[:-1]:
            folder = folder.seen[name]
        return folder, parts[-1]

    def _folder(self, path: str) -> _Folder | None:
        if Path(path) == self._root:
            return self._top
        if self._root not in Path(path).parents:
            return None
        folder, name = self._at(path)
        entry = folder.seen.get(name)
        return entry if isinstance(entry, _Folder) else None

    def do(self, step: Step) -> None:
        """Do one operation."""
        if step[0] in {"put", "sync"}:
            self._data(step)
            return
        if self._root not in Path(step[2] if step[0] == "open" else step[1]).parents:
            return
        folder, name = self._at(step[2] if step[0] in {"open", "rename"} else step[1])
        if step[0] == "open":
            if name not in folder.seen:
                folder.change("make", name, _File())
            self._open[step[1]] = folder.seen[name]
            if step[3] & os.O_TRUNC:
                self._open[step[1]].seen = b""
        elif step[0] == "rename":
            old = Path(step[1]).name
            folder.change("move", name, (old, folder.seen[old]))
        elif step[0] == "folder":
            folder.change("make", name, folder.seen.get(name, _Folder()))
        elif step[0] == "remove":
            folder.change("remove", name, None)
        else:
            folder.seen[name].seen = folder.seen[name].seen[: step[2]]

    def _data(self, step: Step) -> None:
        if step[0] == "put":
            self._open[step[1]].seen += step[2]
        elif (folder := self._folder(step[2])) is not None:
            folder.sure, folder.since = dict(folder.seen), []
        elif step[1] in self._open:
            self._open[step[1]].sure = self._open[step[1]].seen

    def acknowledged(self) -> int:
        """Return how many frames the sure part of the commit log makes safe."""
        log = self._top.sure.get("commits.jsonl")
        lines = log.sure.splitlines() if isinstance(log, _File) else []
        return max((json.loads(line).get("planes", 0) for line in lines), default=0)

    def survive(self, into: Path, rng: random.Random) -> None:
        """Write what a power cut now would leave."""
        self._write(self._top, into, rng)

    def _write(self, folder: _Folder, into: Path, rng: random.Random) -> None:
        into.mkdir()
        for name, entry in folder.left(rng).items():
            if isinstance(entry, _Folder):
                self._write(entry, into / name, rng)
            else:
                (into / name).write_bytes(entry.left(rng))


def recorded(movie: Path, out: Path) -> list[Step]:
    """Analyse a movie and return every operation of the store."""
    from insitu import models, pipeline, settings
    from insitu.store import commit

    steps: list[Step] = []
    arguments = run(movie, out, unit=_UNIT)
    pairs = [arguments[k + 1] for k, word in enumerate(arguments) if word == "--set"]
    given = {"calibration.nm_per_px": (0.2, "t"), "calibration.fps": (400.0, "t"), "segment.model": ("classical", "t")}
    given["segment.device"] = ("cpu", "t")
    real, load = commit.Disk, models.load
    commit.Disk, models.load = (lambda **_: Recorder(steps)), (lambda *_, **__: Stub())
    try:
        pipeline.process(str(movie), out, settings.load(overrides=pairs, given=given))
    finally:
        commit.Disk, models.load = real, load
    return steps


def power(number: int = NUMBER, seed: int = 3, engines: Engines | None = None) -> dict[str, int]:
    """Cut the power after `number` of the operations, evenly spread; resume, compare every byte."""
    rng = random.Random(seed)
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, _given(engines) as forks:
        root = Path(folder)
        movie = write_movie(root / "movie")
        steps = recorded(movie, root / "whole")
        whole = _told(root / "whole")
        wanted = {round(k * len(steps) / number) for k in range(number)}
        medium = Medium(root / "whole")
        for k, step in enumerate(steps):
            medium.do(step)
            if k not in wanted:
                continue
            acknowledged, out = medium.acknowledged(), root / f"cut{k}"
            medium.survive(out, rng)
            count["acknowledged frames lost"] += _lost(out, acknowledged)
            code, said = forks.call(run(movie, out, unit=_UNIT))
            count["power cuts"] += 1
            count["tracebacks"] += "Traceback" in said
            differs = code not in {0, 5} or _told(out) != whole
            count["runs that differ"] += differs
            if differs:
                print(k, step[0], "" if step[0] == "put" else step[1:3], code, said[-300:], flush=True)
    return {**count, "operations of the store": len(steps)}


def _given(engines: Engines | None) -> AbstractContextManager[Engines]:
    return Engines() if engines is None else nullcontext(engines)


def _told(out: Path) -> dict[str, str]:
    return digest(out) | {"problems": (out / "problems.jsonl").read_text() if (out / "problems.jsonl").exists() else ""}


def _lost(out: Path, acknowledged: int) -> int:
    from insitu.store.log import read_log

    return max(0, acknowledged - read_log(out).planes)
