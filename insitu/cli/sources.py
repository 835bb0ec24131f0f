"""From the paths on the command line to movies and the run folder of each."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from insitu.errors import CommandError, InputError
from insitu.read.files import unreadable
from insitu.read.folder import IMAGE_KINDS
from insitu.store.place import is_run
from insitu.types import SourceInfo


@dataclass(frozen=True, slots=True)
class Target:
    """One movie (a path, with ``::member`` where one was named) and where its run goes."""

    source: str
    out: Path


def targets(paths: tuple[str, ...], out: str | None) -> tuple[list[Target], Path | None]:
    """Return the movies named by `paths` and their run folders, and the folder above them when there may be many.

    One path that is one movie goes into OUT itself (default ``./<stem>.insitu``). Several paths, a pattern, or a folder
    of movies always go into ``OUT/<stem>``, however many movies there are.

    Raises
    ------
    InputError
        A pattern matches nothing, or a folder holds no movie.
    CommandError
        Two movies would go into one folder.
    """
    if not all(paths) or out == "":
        raise CommandError("an empty text is no path", "check the variables of your shell: one of them may be empty")
    found: list[str] = []
    many = len(paths) > 1
    for path in paths:
        movies = movies_of(path)
        many = many or movies != [path]
        found += movies
    if not many:
        return [Target(found[0], Path(out) if out else Path(f"{stem(found[0])}.insitu"))], None
    root = Path(out) if out else Path()
    placed: dict[Path, str] = {}
    for movie in found:
        place = root / stem(movie) if out else root / f"{stem(movie)}.insitu"
        if place in placed:
            raise CommandError(
                f"'{placed[place]}' and '{movie}' would both be written to '{place}'",
                f"choose with a pattern like '*{Path(movie).suffix}', give each its own -o, or rename one",
            )
        placed[place] = movie
    return [Target(movie, place) for place, movie in placed.items()], root


def stem(movie: str) -> str:
    """Return the name a run folder takes from its movie."""
    # not resolved: the name that the user sees is that of a link, not of what it points to
    path = Path(os.path.abspath(movie.partition("::")[0]))  # noqa: PTH100 - Path.absolute keeps a/.. as it is
    if path.is_dir() and path.suffix.lower() not in {".zarr", ".insitu"}:
        return path.name
    return path.stem


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts ``run2`` before ``run10``."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)


def movies_of(path: str) -> list[str]:
    """Return the movies that one path on the command line stands for.

    A folder is one movie where it holds numbered images, else the movies in it. Single pictures among movies, and runs
    of insitu, are no movies.

    Raises
    ------
    InputError
        A pattern matches nothing, a folder holds no movie, or the path is a run or may not be looked at.
    """
    try:
        return _movies(Path(path), path)
    except OSError as error:
        raise unreadable(Path(path), error) from error


def single_images(wanted: list[Target]) -> str:
    """Return the folder of the images that were given one by one as if each were a movie; empty where they are not."""
    from insitu.read import open_source

    files = [Path(target.source) for target in wanted]
    alike = {(file.parent, file.suffix.lower()) for file in files}
    if len(files) < 2 or len(alike) != 1 or files[0].suffix.lower() not in IMAGE_KINDS or files[0].is_dir():
        return ""
    try:
        reader = open_source(files[0])
    except InputError:
        return ""
    reader.close()
    return str(files[0].parent) if reader.info.n_frames == 1 else ""


def _movies(place: Path, path: str) -> list[str]:
    if not place.exists() and glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True), key=natural)  # noqa: PTH207 - an absolute pattern is no Path.glob
        if not matches:
            raise InputError(
                f"no file matches '{path}'", "check the pattern; quote it so that the shell leaves it alone"
            )
        return matches
    if not place.is_dir():
        return [path]
    if is_run(place):
        raise InputError(f"'{path}' is a run of insitu, not a movie", f"look at it in Python: insitu.open('{path}')")
    opened = _opened(place)
    if isinstance(opened, SourceInfo) and not opened.format.startswith("folder of"):
        return [path]
    inside = sorted((p for p in place.iterdir() if not p.name.startswith(".")), key=lambda p: natural(p.name))
    if isinstance(opened, SourceInfo):
        return [str(p) for p in _movies_beside(inside)] or [path]
    movies = [str(p) for p in inside if (_is_folder_movie(p) if p.is_dir() else _claimed(p))]
    if not movies:
        raise opened
    return movies


def _opened(path: Path) -> SourceInfo | InputError:
    """Return what a path is as one movie, or why it is none."""
    from insitu.read import open_source

    try:
        reader = open_source(path)
    except InputError as error:
        return error
    reader.close()
    return reader.info


def _is_folder_movie(folder: Path) -> bool:
    return not is_run(folder) and isinstance(_opened(folder), SourceInfo)


def _movies_beside(inside: list[Path]) -> list[Path]:
    """Return the movies of a folder whose images are no movie: without numbers, or no more than there are movies.

    One file of each kind is opened, not each of a hundred thousand.
    """
    kinds: dict[str, list[Path]] = {}
    for file in inside:
        if file.is_file():
            kinds.setdefault(file.suffix.lower(), []).append(file)
    single = [kind for kind, files in kinds.items() if kind in IMAGE_KINDS and not _is_movie(files[0])]
    movies = [file for kind, files in kinds.items() if kind not in single and _is_movie(files[0]) for file in files]
    images = max((kinds[kind] for kind in single), key=len, default=[])
    numbered = all(re.search(r"\d", file.stem) for file in images)
    return sorted(movies, key=lambda p: natural(p.name)) if len(movies) >= len(images) or not numbered else []


def _is_movie(file: Path) -> bool:
    """Whether a file beside images is claimed by a reader and is not itself a single image."""
    if not _claimed(file):
        return False
    info = _opened(file) if file.suffix.lower() in IMAGE_KINDS else None
    return not isinstance(info, SourceInfo) or info.n_frames != 1


def _claimed(file: Path) -> bool:
    """Whether a reader calls `file` its own."""
    from insitu.registry import entries

    for entry in entries("readers"):
        try:
            if entry.load().claims(file) is True:
                return True
        except (ImportError, AttributeError, OSError):
            continue  # a reader that is not installed claims nothing; `insitu info` says so
    return False
