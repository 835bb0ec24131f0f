"""What identifies a source on disk, so that a resumed run notices another movie."""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path
from typing import Any

from insitu.read.files import split_member


def fingerprint(source: Any, out: Path | None = None) -> dict[str, Any]:  # noqa: ANN401 - whatever can be opened
    """Return what identifies a source on disk: names, sizes and a digest of its first and last 64 KiB.

    Enough to notice that a resumed run was pointed at another movie; not a checksum of the whole file. What lies in
    `out`, the run folder, is no part of a source that contains it. Arrays in memory have no fingerprint.
    """
    given = list(source) if isinstance(source, list | tuple) else [source]
    if not given or not all(isinstance(s, str | os.PathLike) for s in given):
        return {"kind": "memory"}
    files = [pair for s in given for pair in _files(os.fspath(s))]
    if out is not None:
        files = [(file, name) for file, name in files if not file.absolute().is_relative_to(out.absolute())]
    digest = hashlib.sha256()
    size = 0
    for file, name in files:
        stat = file.stat()
        size += stat.st_size
        digest.update(f"{name}\0{stat.st_size}\0".encode("utf-8", "replace"))
    for file, _ in (files[0], files[-1]) if files else ():
        with file.open("rb") as opened:
            digest.update(opened.read(65536))
            opened.seek(max(0, file.stat().st_size - 65536))
            digest.update(opened.read(65536))
    return {
        "kind": "folder" if len(given) == 1 and Path(os.fspath(given[0])).is_dir() else "file",
        "files": len(files),
        "bytes": size,
        "sha256": digest.hexdigest(),
    }


def _files(source: str) -> list[tuple[Path, str]]:
    """Return the files of a path, a pattern or ``file::member``, each with its name in the movie."""
    path = Path(source)
    name, member = split_member(source)
    if path.is_dir():
        return [(p, str(p.relative_to(path))) for p in sorted(path.rglob("*")) if p.is_file()]
    if path.exists():
        return [(path, path.name)]
    if member:
        return [(file, f"{inside}::{member}") for file, inside in _files(name)]
    return [pair for match in sorted(glob.glob(source, recursive=True)) for pair in _files(match)]  # noqa: PTH207 - an absolute pattern is no Path.glob
