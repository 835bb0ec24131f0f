"""What is in the folder: a quick look at the newest folders, and now and then an audit of all.

A look costs time that grows with the number of files; whoever calls spaces the looks accordingly.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from insitu.read.files import shown
from insitu.read.folder import IMAGE_KINDS
from insitu.read.timeline import NESTED

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_NEWEST = 3  # a camera writes into the newest folder; files of those before it may still be on their way
_QUIET_S = 2.0


@dataclass(slots=True)
class _Folder:
    """What is known of one folder: what was seen in it, its folders, and since when it has not changed."""

    seen: set[str] = field(default_factory=set)
    folders: dict[str, str] = field(default_factory=dict)
    images: int = 0
    changed_ns: int = -1
    since: float = 0.0
    quiet: bool = False


class Listing:
    """The images of a folder that a camera fills.

    Images lie in the folder itself or, as Gatan cameras write them, in folders by hour, minute and second.

    Parameters
    ----------
    root : Path
    exclude : collection of Path
        Folders that are no part of the recording (the run folder, if it lies inside).

    Attributes
    ----------
    remarks : deque of (str, str)
        Where something is odd, and what; whoever wants them takes them away, from any thread.
    there : bool
        Whether the folder could be listed at the last look.
    """

    def __init__(self, root: Path, exclude: Collection[Path] = ()) -> None:
        self._root = os.fspath(root)
        self._real = os.path.realpath(root) + os.sep
        self._exclude = {os.path.realpath(p) for p in exclude}
        self._folders: dict[str, _Folder] = {"": _Folder()}
        self._told: set[str] = set()
        self.remarks: deque[tuple[str, str]] = deque()
        self.there = True

    def look(self, *, audit: bool = False) -> list[str]:
        """Return the images that were not there before, as paths relative to the root.

        Parameters
        ----------
        audit : bool
            Look into every folder that may have changed, not only into the newest ones.
        """
        new: list[str] = []
        before, self.there = self.there, self._list("", new, skip_quiet=False)
        if before and not self.there and self._folders[""].seen:
            self.remarks.append((shown(self._root), "the folder is gone: waited for it to come back"))
        top = self._folders[""]
        # images beside folders: the folders hold something else
        if not top.images and any(NESTED.fullmatch(name) for name in top.folders):
            self._descend(top, new, audit=audit)
        return new

    def know(self, name: str) -> None:
        """Take a file for seen that was found otherwise."""
        folder, _, file = name.rpartition("/")
        self._folders.setdefault(folder, _Folder()).seen.add(file)

    def forget(self, name: str) -> None:
        """Take a file that has vanished for new if it comes back."""
        folder, _, file = name.rpartition("/")
        self._folders[folder].seen.discard(file)

    def say(self, where: str, what: str) -> None:
        """Remark on a file, once."""
        if where not in self._told:
            self._told.add(where)
            self.remarks.append((shown(where), what))

    def _descend(self, parent: _Folder, new: list[str], *, audit: bool) -> None:
        ordered = sorted(parent.folders, key=_natural)
        for name in ordered if audit else ordered[-_NEWEST:]:
            path = parent.folders[name]
            self._list(path, new, skip_quiet=audit)
            self._descend(self._folders[path], new, audit=audit)

    def _list(self, path: str, new: list[str], *, skip_quiet: bool) -> bool:
        """Take up what is new in one folder; False where it cannot be listed."""
        folder = self._folders.setdefault(path, _Folder())
        place = os.path.join(self._root, path) if path else self._root  # noqa: PTH118 - thousands of times a second
        try:
            if self._unchanged(folder, os.stat(place).st_mtime_ns) and skip_quiet:  # noqa: PTH116 - as above
                return True
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name not in folder.seen and not entry.name.startswith("."):
                        self._take(entry, path, folder, new)
        except OSError as error:
            folder.changed_ns = -1
            if not isinstance(error, FileNotFoundError) or path:
                self.say(path or self._root, f"cannot be listed: {error.strerror or type(error).__name__}")
            return False
        return True

    def _unchanged(self, folder: _Folder, changed_ns: int) -> bool:
        """Whether the folder was listed since it last changed; its clock may tick coarsely, so only after a while."""
        now = time.monotonic()
        if changed_ns != folder.changed_ns:
            folder.changed_ns, folder.since, folder.quiet = changed_ns, now, False
        known = folder.quiet
        folder.quiet = now - folder.since >= _QUIET_S
        return known

    def _take(self, entry: os.DirEntry[str], path: str, folder: _Folder, new: list[str]) -> None:
        """Judge one entry that was not seen before."""
        name = f"{path}/{entry.name}" if path else entry.name
        image = os.path.splitext(entry.name)[1].lower() in IMAGE_KINDS  # noqa: PTH122 - as above
        try:
            if entry.is_file():
                folder.seen.add(entry.name)
                if image:
                    folder.images += 1
                    new.append(name)
                    self._remark_on_link(entry, name)
                return
            if entry.is_dir():
                folder.seen.add(entry.name)
                if os.path.realpath(entry.path) not in self._exclude:
                    folder.folders[entry.name] = name
                if image:
                    self.say(name, "a folder that is named like an image")
            elif image and not entry.is_symlink():
                self.say(name, "no regular file")
            elif image:
                self.say(name, "a link to what is not there")
        except OSError as error:
            self.say(name, f"cannot be looked at: {error.strerror}")

    def _remark_on_link(self, entry: os.DirEntry[str], name: str) -> None:
        if entry.is_symlink() and not os.path.realpath(entry.path).startswith(self._real):
            self.say(name, "a link that leads out of the folder; it was followed")


def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts ``Second_2`` before ``Second_10``."""
    return tuple((0, int(p)) if p.isdecimal() else (1, p.casefold()) for p in re.split(r"([0-9]+)", name) if p)
