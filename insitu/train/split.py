"""Set images aside for validation so that nothing learned is tested on itself, and say so where it may be.

Neighbouring frames of a movie show the same particles. Whole movies are set aside where there are several; of a single
one a strip of the field is, in all frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from insitu.train.gather import Movie

_GRID = 24  # side of the reduced images that are compared
_ALIKE = 0.8  # correlation from which two images are taken to show the same field
_COMPARED = 12  # images of each movie


@dataclass(frozen=True, slots=True)
class Split:
    """Which part of which movie is for validation.

    Attributes
    ----------
    movies : tuple of int
        Numbers of movies that are set aside whole.
    strip : float
        Share of the rows, from below, that is set aside in all frames of the only movie; 0: none.
    about : str
        In words, for the model card.
    leaks : tuple of str
        Suspicions, in words.
    """

    movies: tuple[int, ...]
    strip: float
    about: str
    leaks: tuple[str, ...] = ()


def split(movies: Sequence[Movie], share: float, seed: int) -> Split:
    """Choose what is set aside.

    Parameters
    ----------
    movies : sequence of Movie
    share : float
        Wanted share of the images, 0 for none.
    seed : int
        Which movies, where there are several.
    """
    if share <= 0:
        return Split((), 0.0, "none")
    if len(movies) == 1:
        percent = round(100 * share)
        return Split((), share, f"the lowest {percent} % of the rows of every image of '{movies[0].name}'")
    order = np.random.default_rng([seed, 11]).permutation(len(movies))
    total, taken, chosen = sum(len(m.images) for m in movies), 0, []
    for number in order[:-1].tolist():
        if taken and taken + len(movies[number].images) > share * total:
            continue
        chosen.append(number)
        taken += len(movies[number].images)
        if taken >= share * total:
            break
    names = ", ".join(f"'{movies[k].name}'" for k in sorted(chosen))
    return Split(tuple(sorted(chosen)), 0.0, f"whole movies: {names}", tuple(leaks(movies, chosen)))


def leaks(movies: Sequence[Movie], held: Sequence[int]) -> list[str]:
    """Return pairs of movies, one on either side, that seem to show the same field."""
    found = []
    for a in held:
        for b in (k for k in range(len(movies)) if k not in held):
            alike, i, j = _most_alike(movies[a].images, movies[b].images)
            if alike > _ALIKE:
                found.append(
                    f"a leak is suspected: frame {movies[a].frames[i]} of '{movies[a].name}' (validation) looks like "
                    f"frame {movies[b].frames[j]} of '{movies[b].name}' (training), correlation {alike:.2f}"
                )
    return found


def _most_alike(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> tuple[float, int, int]:
    """Return the largest correlation between images of two movies, and which images these are."""
    picks = [np.linspace(0, len(s) - 1, min(len(s), _COMPARED)).round().astype(int) for s in (first, second)]
    a, b = (np.stack([_reduced(s[k]) for k in p]) for s, p in zip((first, second), picks, strict=True))
    table = a @ b.T
    i, j = np.unravel_index(int(table.argmax()), table.shape)
    return float(table[i, j]), int(picks[0][i]), int(picks[1][j])


def _reduced(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return block means of an image less a plane, of unit length: what it shows, not how it is lit."""
    rows, columns = (np.array_split(np.arange(n), _GRID) for n in image.shape)
    means = np.add.reduceat(image.astype(np.float64), [r[0] for r in rows], axis=0)
    means = np.add.reduceat(means, [c[0] for c in columns], axis=1)
    means /= np.array([len(r) for r in rows])[:, None] * np.array([len(c) for c in columns])
    y, x = np.mgrid[:_GRID, :_GRID].reshape(2, -1)
    design = np.stack([np.ones_like(y), y, x], axis=1).astype(np.float64)
    flat = means.ravel() - design @ np.linalg.lstsq(design, means.ravel(), rcond=None)[0]
    return np.asarray(flat / (np.linalg.norm(flat) or 1.0))
