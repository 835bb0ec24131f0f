"""The place of a run: may it be used, what must go, what is kept."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from insitu.errors import CommandError
from insitu.store import layout
from insitu.store.about import describe, read_about
from insitu.store.disk import TEMPORARY
from insitu.store.lock import Lock
from insitu.store.log import Log, check_files, read_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from insitu.store.disk import Disk


def claim(out: Path, disk: Disk, *, overwrite: bool) -> Lock:
    """Make the folder of a new run, lock it, and empty it of what an earlier run left.

    Only names that a run has are ever removed, so a user's own files beside them survive.

    Raises
    ------
    CommandError
        Something else is there, a run is there and `overwrite` is false, or an engine works in it.
    """
    refuse(out, overwrite=overwrite)
    disk.make_folders(out, Path(out.anchor))
    lock = Lock(out)
    with lock.released_on_error():
        refuse(out, overwrite=overwrite)
        _clear(out, disk)
    return lock


def is_run(out: Path) -> bool:
    """Return whether a folder is a run of insitu, whole or not."""
    return (out / layout.RUN).is_file() or (out / layout.COMMITS).is_file()


def refuse(out: Path, *, overwrite: bool) -> None:
    """Raise CommandError where no run may be made: a run is there and `overwrite` is false, or something else is."""
    if not (out.exists() or out.is_symlink()):
        return
    if not out.is_dir():
        raise CommandError(f"'{out}' is not a folder", "choose another name with -o OTHER")
    if is_run(out):
        if not overwrite:
            state = describe(read_about(out) or {}, read_log(out).planes)
            raise CommandError(f"'{out}' exists ({state})", "--resume to go on, --overwrite to replace, or -o OTHER")
    elif strange := sorted(p.name for p in out.iterdir() if not _ours(p.name)):
        raise CommandError(
            f"'{out}' exists and is not an insitu run (it holds '{strange[0]}')",
            "choose another folder with -o OTHER; --overwrite replaces runs only",
        )


def _ours(name: str) -> bool:
    return name.removesuffix(TEMPORARY) in layout.OURS


def _clear(out: Path, disk: Disk) -> None:
    """Remove a run; ``run.json`` last, so that an interruption leaves something that is still known as a run."""
    names = [p.name for p in out.iterdir() if _ours(p.name) and p.name != layout.LOCK]
    for name in sorted(names, key=lambda n: (n == layout.RUN, n != layout.COMMITS)):
        disk.remove(out / name)
    disk.sync_folder(out)


def live_state(names: Iterable[str], stored: int) -> set[str]:
    """Return the state files that still count: those of the last unit, and planes that are in none of the shards."""
    listed = [n for n in names if n.startswith(f"{layout.STATE}/")]
    tracker = [n for n in listed if n.startswith(f"{layout.STATE}/tracker-")]
    planes = [n for n in listed if n.startswith(f"{layout.STATE}/planes-") and layout.part_plane(n) >= stored]
    return {*tracker[-1:], *planes}


def discard(out: Path, log: Log, stored: int, disk: Disk) -> None:
    """Delete everything of the store that the log does not name, and cut the logs to their valid length."""
    named = {name for unit in log.units for name in unit.files}
    keep = {n for n in named if not n.startswith(f"{layout.STATE}/")} | live_state(_in_order(log), stored)
    for folder in (layout.PARTS, layout.STATE):
        for path in (out / folder).glob("*"):
            if f"{folder}/{path.name}" not in keep:
                disk.remove(path)
    for path in (out / layout.LABEL_ARRAY / "c").glob("*"):
        if not (path.name.isdecimal() and layout.shard(int(path.name)) in keep):
            disk.remove(path)
    for name in (*(layout.table(t) for t in layout.TABLES), *(f"{n}{TEMPORARY}" for n in layout.OURS)):
        disk.remove(out / name)
    _cut(out / layout.COMMITS, log.size, disk)
    _cut(out / layout.PROBLEMS, log.units[-1].problems if log.units else 0, disk)


def _cut(path: Path, size: int, disk: Disk) -> None:
    if path.is_file() and path.stat().st_size > size:
        disk.truncate(path, size)


def _in_order(log: Log) -> list[str]:
    return [name for unit in log.units for name in unit.files]


def verify(out: Path, log: Log, stored: int) -> list[str]:
    """Compare the files of a run with its log and return the state files that still count.

    Content is compared for the tables, the state and the last unit; complete shards of earlier units by their size,
    since reading all label images of a day again would take minutes.
    """
    live = live_state(_in_order(log), stored)
    for unit in log.units:
        there = {n: s for n, s in unit.files.items() if not n.startswith(f"{layout.STATE}/") or n in live}
        last = unit is log.units[-1]
        shards = {n: s for n, s in there.items() if n.startswith(f"{layout.LABELS}/") and not last}
        check_files(out, shards, content=False)
        check_files(out, {n: s for n, s in there.items() if n not in shards}, content=True)
    return [n for n in _in_order(log) if n in live]


def clean(out: Path, disk: Disk, names: Iterable[str]) -> None:
    """Remove what is no longer needed; what cannot be removed now is removed by the next resume."""
    for name in names:
        with suppress(OSError):
            disk.remove(out / name)
