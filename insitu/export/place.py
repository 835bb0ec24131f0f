"""Where an export goes: never over something else, and never half written."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PARTIAL = ".partial"


@contextmanager
def new_file(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give the path to write to; it takes its name when all went well, and is removed otherwise.

    Raises
    ------
    CommandError
        `out` exists (and is not to be overwritten, or is a folder), or its folder does not.
    """
    if out.is_dir():
        raise CommandError(f"'{out}' is a folder", "name a file with -o")
    if out.exists() and not overwrite:
        raise CommandError(f"'{out}' exists", "--overwrite to replace it, or -o OTHER")
    partial = _partial(out)
    try:
        yield partial
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path, ours: Callable[[Path], bool], *, overwrite: bool) -> Iterator[Path]:
    """Give the folder to write to; it takes its name when all went well, and is removed otherwise.

    `ours` says of a path inside whether this format wrote it: a folder that holds anything else is never replaced.

    Raises
    ------
    CommandError
        `out` exists and is not to be overwritten, or holds something else.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise CommandError(f"'{out}' is not a folder", "choose another name with -o OTHER")
    there = sorted(out.iterdir()) if out.exists() else []
    if there and not overwrite:
        raise CommandError(f"'{out}' exists", "--overwrite to replace it, or -o OTHER")
    strange = [p for p in there if not ours(p)]
    if strange:
        raise CommandError(
            f"'{out}' holds '{strange[0].name}', which is no part of such an export", "choose another folder with -o"
        )
    partial = _partial(out)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if out.exists():
            shutil.rmtree(out)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(out: Path) -> Path:
    """Return the name used while writing, beside `out`."""
    if not out.parent.is_dir():
        raise CommandError(f"there is no folder '{out.parent}'", f"make it first: mkdir -p '{out.parent}'")
    # The suffix stays at the end: some writers choose the form of a file by it.
    return out.with_name(f".{out.stem}{_PARTIAL}{out.suffix}")
