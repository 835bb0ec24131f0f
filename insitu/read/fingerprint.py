"""What identifies a source on disk, so that a resumed run notices another movie."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def fingerprint(source: object) -> dict[str, Any]:
    """Return what identifies a source on disk: names, sizes and a digest of its first and last 64 KiB.

    Enough to notice that a resumed run was pointed at another movie; not a checksum of the whole file.
    """
    if not isinstance(source, str | Path) or not Path(source).exists():
        return {"kind": "memory"}
    path = Path(source)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    size = 0
    for file in files:
        stat = file.stat()
        size += stat.st_size
        digest.update(
            f"{file.relative_to(path) if path.is_dir() else file.name}\0{stat.st_size}\0".encode("utf-8", "replace")
        )
    for file in (files[0], files[-1]) if files else ():
        with file.open("rb") as opened:
            digest.update(opened.read(65536))
            opened.seek(max(0, file.stat().st_size - 65536))
            digest.update(opened.read(65536))
    return {
        "kind": "folder" if path.is_dir() else "file",
        "files": len(files),
        "bytes": size,
        "sha256": digest.hexdigest(),
    }
