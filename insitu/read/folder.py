"""A folder of numbered images, or a list of them, as a movie. Each file is read by the reader of its own format."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.errors import BadFrame, InputError
from insitu.read.files import shown, unreadable
from insitu.read.frames import check_index, check_slot
from insitu.read.timeline import NESTED, Timeline, timeline
from insitu.types import Header, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from insitu.types import Reader

# lossless before lossy: the order decides between equally frequent ones
IMAGE_KINDS = {
    ".tif": "tif", ".tiff": "tif", ".dm4": "dm4", ".dm3": "dm3", ".mrc": "mrc", ".npy": "npy", ".png": "png",
    ".bmp": "bmp", ".jpg": "jpg", ".jpeg": "jpg",
}  # fmt: skip
_STORES = ("zarr.json", ".zarray", ".zgroup")


class Images:
    """Files of one image each that are the frames of one movie: all must be like the first.

    Parameters
    ----------
    root : Path
        The folder that names are relative to.
    first : Reader
        The first image, opened.

    Raises
    ------
    InputError
        The file holds a movie of its own.
    """

    def __init__(self, root: Path, first: Reader) -> None:
        info = first.info
        if info.n_frames != 1:
            raise InputError(
                f"'{info.path}' holds {info.n_frames} frames; a folder is a movie only if each file is one image",
                "give the file itself, or several files as several movies",
            )
        self.info, self._root = info, root
        self._reader: Callable[[Path], Reader] = type(first)

    def read_into(self, name: str, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with the image `name`; flags and BadFrame as `FolderReader.read_into`."""
        try:
            reader = self._reader(self._root / name)
        except InputError as error:
            raise BadFrame("unreadable", error.message) from error
        try:
            return self._checked(reader, shown(name)).read_into(0, out) + self._flags(reader)
        finally:
            reader.close()

    def _checked(self, reader: Reader, name: str) -> Reader:
        """Return `reader` if it holds one frame like the first."""
        info = reader.info
        if info.n_frames != 1:
            raise BadFrame("not one frame", f"{name} holds {info.n_frames} frames")
        if info.shape != self.info.shape:
            raise BadFrame("shape changed", f"{name} has {info.shape} px, the first image {self.info.shape}")
        if info.dtype != self.info.dtype:
            raise BadFrame("dtype changed", f"{name} is {info.dtype}, the first image {self.info.dtype}")
        return reader

    def _flags(self, reader: Reader) -> tuple[str, ...]:
        size, first = reader.info.calibration.nm_per_px, self.info.calibration.nm_per_px
        if size is None or first is None or abs(size - first) <= 0.01 * first:
            return ()
        return ("pixel size changed",)


class FolderReader:
    """Numbered single images as a movie.

    The first readable image gives shape, dtype and calibration; an image that differs from it, or cannot be read, is a
    bad frame; a missing number is a missing frame.

    Parameters
    ----------
    path : Path
        The folder.
    pattern : str, optional
        Which files to take, as a glob pattern relative to the folder (``"**/*.dm4"`` looks into its folders).
    names : sequence of str, optional
        The files themselves, relative to the folder, in any order.

    Raises
    ------
    InputError
        No image, two images of the same number, or files that hold movies of their own.
    """

    def __init__(self, path: Path, *, pattern: str | None = None, names: Sequence[str] | None = None) -> None:
        if names is None:
            names = _scan(path) if pattern is None else _glob(path, pattern)
        if not names:
            raise _no_images(path, pattern)
        names, note = one_kind(names)
        line = timeline(names)
        self._root = path
        self._line = Timeline(line.names, line.numbers, note + line.notes)
        first = self._first_readable()
        self._images = Images(path, first)
        info = first.info
        first.close()
        self.info = SourceInfo(
            shown(path), f"folder of {info.format}", info.height, info.width, info.dtype, len(self._line.names),
            info.calibration, (*self._line.notes, *info.notes), info.lossy,
        )  # fmt: skip

    @classmethod
    def from_files(cls, files: Sequence[Path]) -> FolderReader:
        """Return the movie made of these files, ordered by their numbers."""
        root = Path(os.path.commonpath([file.parent.absolute() for file in files]))
        return cls(root, names=[os.path.relpath(file.absolute(), root) for file in files])

    @classmethod
    def claims(cls, path: Path) -> bool | str:
        """Whether `path` is a folder, and no zarr store."""
        if not path.is_dir():
            return "not a folder"
        return "a zarr store" if any((path / name).is_file() for name in _STORES) else True

    def _first_readable(self) -> Reader:
        """Open the first image that can be opened: one broken file does not make a movie unreadable."""
        from insitu.read import open_single

        failure: InputError | None = None
        for name in [n for n in self._line.names if n is not None][:8]:
            try:
                return open_single(self._root / name)
            except InputError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def header(self, index: int) -> Header:
        """Return file and number of frame `index`; ``"missing"`` where the number is not there."""
        check_index(index, self.info.n_frames)
        name = self._line.names[index]
        status = "missing" if name is None else "ok"
        return Header("" if name is None else shown(name), self._line.numbers[index], status)  # type: ignore[arg-type]

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`.

        Returns
        -------
        flags : tuple of str
            ``"pixel size changed"`` where the image states another one than the first.

        Raises
        ------
        BadFrame
            ``"missing"``, ``"unreadable"``, ``"truncated"``, ``"not one frame"``, ``"shape changed"``,
            ``"dtype changed"``.
        """
        check_index(index, self.info.n_frames)
        check_slot(out, self.info)
        name = self._line.names[index]
        if name is None:
            raise BadFrame("missing", f"number {self._line.numbers[index]} is not in {self.info.path}")
        return self._images.read_into(name, out)

    def close(self) -> None:
        """Nothing stays open between frames."""


def _scan(path: Path) -> list[str]:
    """Return the images of a folder; of Hour_/Minute_/Second_ folders, as Gatan cameras write them, all within."""
    try:
        entries = [e for e in os.scandir(path) if not e.name.startswith(".")]
        names = [e.name for e in entries if Path(e.name).suffix.lower() in IMAGE_KINDS and e.is_file()]
    except OSError as error:
        raise unreadable(path, error) from error
    if not names and any(NESTED.fullmatch(e.name) and e.is_dir() for e in entries):
        return _glob(path, "**/*")
    return names


def _glob(path: Path, pattern: str) -> list[str]:
    try:
        matches: Iterable[Path] = list(path.glob(pattern))
    except (ValueError, NotImplementedError, OSError) as error:
        raise InputError(
            f"'{shown(pattern)}' is no pattern: {error}", 'give for example "*.tif" or "**/*.dm4"'
        ) from error
    relative = (m.relative_to(path) for m in matches if m.suffix.lower() in IMAGE_KINDS)
    return [str(m) for m in relative if not any(p.startswith(".") for p in m.parts) and (path / m).is_file()]


def one_kind(names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the files of the most frequent kind, and a note on the others."""
    kinds = {name: IMAGE_KINDS.get(Path(name).suffix.lower(), Path(name).suffix.lower()) for name in names}
    counts = Counter(kinds.values())
    rank = {kind: k for k, kind in enumerate(dict.fromkeys(IMAGE_KINDS.values()))}
    chosen = min(counts, key=lambda kind: (-counts[kind], rank.get(kind, len(rank))))
    rest = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()) if kind != chosen)
    note = (f"several kinds of files: the {counts[chosen]} {chosen} are read, ignored {rest}",) if rest else ()
    return [name for name in names if kinds[name] == chosen], note


def _no_images(path: Path, pattern: str | None) -> InputError:
    kinds = ", ".join(dict.fromkeys(IMAGE_KINDS.values()))
    if pattern is not None:
        return InputError(f"no image in '{shown(path)}' matches '{shown(pattern)}' ({kinds})", "check the pattern")
    inside = sorted(e.name for e in path.iterdir() if not e.name.startswith("."))
    folders = [name for name in inside if (path / name).is_dir()]
    if folders and len(folders) == len(inside):
        hint = f"give one of its folders, like '{shown(path / folders[0])}', or the pattern '{shown(path)}/**/*.tif'"
    elif inside:
        hint = f"give a movie file, for example '{shown(path / inside[0])}'"
    else:
        hint = "it is empty; is this the folder the camera writes to?"
    return InputError(f"'{shown(path)}' holds no images ({kinds})", hint)
