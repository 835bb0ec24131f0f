"""From the paths on the command line to movies and the run folder of each."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

from insitu.errors import CommandError, InputError


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
        movies = _movies(path)
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
                "run them one by one with -o of their own, or rename one",
            )
        placed[place] = movie
    return [Target(movie, place) for place, movie in placed.items()], root


def stem(movie: str) -> str:
    """Return the name a run folder takes from its movie."""
    path = Path(movie.partition("::")[0])
    if path.is_dir() and path.suffix.lower() not in {".zarr", ".insitu"}:
        return path.resolve().name
    return path.resolve().stem


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts ``run2`` before ``run10``."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)


def _movies(path: str) -> list[str]:
    """Return the movies that one path on the command line stands for."""
    if not Path(path).exists() and glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True), key=natural)  # noqa: PTH207 - an absolute pattern is no Path.glob
        if not matches:
            raise InputError(
                f"no file matches '{path}'", "check the pattern; quote it so that the shell leaves it alone"
            )
        return matches
    refusal = _refusal(Path(path)) if Path(path).is_dir() else None
    if refusal is None:
        return [path]
    inside = sorted((p for p in Path(path).iterdir() if not p.name.startswith(".")), key=lambda p: natural(p.name))
    movies = [str(p) for p in inside if (_refusal(p) is None if p.is_dir() else _claimed(p))]
    if not movies:
        raise refusal
    return movies


def _refusal(folder: Path) -> InputError | None:
    """Return why a folder is not itself a movie (of numbered images, or a store), None where it is one."""
    from insitu.read import open_source

    try:
        open_source(folder).close()
    except InputError as error:
        return error
    return None


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
