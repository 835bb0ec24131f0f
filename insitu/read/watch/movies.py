"""What a camera writes into a place: frames of one movie, one file that grows, or a movie after the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from insitu.errors import InputError, SourceStopped
from insitu.read.folder import IMAGE_KINDS
from insitu.read.timeline import NESTED
from insitu.read.watch.patience import patience_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from insitu.read.watch.until import Until

Kind = Literal["frames", "file", "movies"]

MOVIE_KINDS = frozenset((".mrc", ".mrcs", ".ser", ".emd", ".raw", ".tif", ".tiff", ".dm4", ".dm3", ".h5", ".hdf5"))
_LOOK_S = 0.1


def what_comes(path: Path, until: Until, exclude: Collection[Path] = ()) -> Kind:
    """Return what `path` is, waiting for the first file of a folder: a folder's first file holds one frame, or a movie.

    Raises
    ------
    InputError
        Nothing came.
    SourceStopped
        The user stopped waiting.
    """
    if path.is_file() or (path.suffix.lower() in MOVIE_KINDS and not path.is_dir()):
        return "file"
    clock = _Waiting(path, until)
    while True:
        for file in _files(path, exclude):
            if file.is_dir():
                return "frames"
            frames = _frames_of(file)
            if frames:
                return "frames" if frames == 1 else "movies"
        if any(file.suffix.lower() in IMAGE_KINDS for file in _files(path, exclude)) and clock.long:
            return "frames"  # images that cannot be read: whoever reads the frames says why
        if not clock.wait(begun=False):
            raise InputError(f"nothing came into '{path}'", "is this the folder the camera writes to?")


def movies_in(path: Path, until: Until, exclude: Collection[Path] = ()) -> Iterator[Path]:
    """Yield the movies of a folder in the order of their names, each once, waiting for more until watching ends."""
    done: set[Path] = set()
    clock = _Waiting(path, until)
    while True:
        new = [f for f in _files(path, exclude) if f not in done and f.is_file() and (_frames_of(f) or 0) > 0]
        if new:
            done.add(new[0])
            yield new[0]
            clock.restart()
        elif not clock.wait(begun=True):
            return


class _Waiting:
    """Waits for files, and knows since when nothing came."""

    def __init__(self, path: Path, until: Until) -> None:
        self._until, self._pause = until, max(_LOOK_S, patience_for(path).poll_s)
        self._waited = 0.0

    @property
    def long(self) -> bool:
        """Whether a file that is being written would have been finished."""
        return self._waited >= 1.0 or self._until.finish.is_set()

    def restart(self) -> None:
        """Begin to wait for the next one."""
        self._waited = 0.0

    def wait(self, *, begun: bool) -> bool:
        """Sleep a little; False once watching ends."""
        if self._until.over(self._waited, begun=begun):
            return False
        if self._until.stop.wait(self._pause):
            raise SourceStopped
        self._waited += self._pause
        return True


def _files(path: Path, exclude: Collection[Path]) -> list[Path]:
    """Return the files that may be movies, and the folders by hour, minute and second, in natural order."""
    try:
        inside = [p for p in path.iterdir() if not p.name.startswith(".") and p not in exclude]
    except OSError:
        return []
    kept = [p for p in inside if p.suffix.lower() in MOVIE_KINDS | IMAGE_KINDS.keys() or NESTED.fullmatch(p.name)]
    return sorted(kept, key=lambda p: [(0, int(t), "") if t.isdecimal() else (1, 0, t) for t in _parts(p.name)])


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"([0-9]+)", name) if part]


def _frames_of(file: Path) -> int | None:
    """Return how many frames a file holds so far; None where it cannot be read (yet)."""
    from insitu.read import open_single

    try:
        reader = open_single(file)
    except (InputError, OSError):
        return None
    reader.close()
    return reader.info.n_frames
