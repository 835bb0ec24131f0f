"""Spots and links of a run as a graph: a link joins successive rows of a particle, or the rows across a merger.

A spot is a row of the particles table and has its number, from 0. Links are sorted by the tree they belong to
(particles that mergers and splittings connect) in a file on disk, since they do not fit into memory in a long movie.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import CommandError
from insitu.export.rows import batches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.export.rows import Columns
    from insitu.results import Run

_BYTES = 8
_FRAMES = 2**31  # more than any frame number
_NEVER = _FRAMES - 1


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Links of a run.

    Attributes
    ----------
    n_spots : int
    links : int64 array of shape (n, 2), on disk
        Earlier and later spot, sorted by tree.
    trees : int64 array
        Name of each tree that has a link: its smallest particle id.
    bounds : int64 array, one longer than `trees`
        Where the links of each tree begin in `links`.
    """

    n_spots: int
    links: NDArray[np.int64]
    trees: NDArray[np.int64]
    bounds: NDArray[np.int64]


@contextmanager
def graph_of(run: Run, scratch: Path) -> Iterator[Graph]:
    """Gather the graph; its file lies in the folder `scratch` as long as the context."""
    require_finished(run)
    across, tree_of = _across(run)
    counts = _Counts(tree_of)
    for particle, links in _links(run, across):
        counts.add(particle, len(links))
    trees, n = counts.trees()
    bounds = np.concatenate([[0], np.cumsum(n)])
    with TemporaryFile(dir=scratch) as file:
        total = int(bounds[-1])
        # A full disk is an error here; met while a map is written it would be a bus error.
        os.posix_fallocate(file.fileno(), 0, max(total, 1) * 2 * _BYTES)
        store = np.memmap(file, np.int64, "r+", shape=(max(total, 1), 2))
        free = bounds[:-1].copy()
        for particle, links in _links(run, across):
            place = np.searchsorted(trees, tree_of.of(particle))
            order = np.argsort(place, kind="stable")
            sorted_place = place[order]
            first = np.searchsorted(sorted_place, sorted_place, "left")
            store[free[sorted_place] + np.arange(len(order)) - first] = links[order]
            free += np.bincount(place, minlength=len(free))
        yield Graph(len(run.particles), store[:total], trees, bounds)


def event_links(run: Run) -> NDArray[np.int64]:
    """Return the links over mergers and splittings alone, (n, 2): earlier and later spot."""
    require_finished(run)
    across, _ = _across(run)
    *_, (_, links) = _links(run, across)  # they come last, and always
    return links


class Forest:
    """Which tree a particle belongs to: mergers and splittings join particles (union-find)."""

    def __init__(self) -> None:
        self._up: dict[int, int] = {}

    def root(self, particle: int) -> int:
        """Return the smallest particle of the tree."""
        up = self._up
        while (above := up.get(particle, particle)) != particle:
            up[particle] = up.get(above, above)
            particle = above
        return particle

    def join(self, a: int, b: int) -> None:
        """Make one tree of those of two particles."""
        low, high = sorted((self.root(a), self.root(b)))
        self._up[high] = low

    def of(self, particles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tree of each particle."""
        known = np.array(sorted(self._up), np.int64)
        found = particles.copy()
        joined = np.isin(particles, known)
        found[joined] = [self.root(p) for p in particles[joined].tolist()]
        return found


class _Counts:
    """Links by tree."""

    def __init__(self, tree_of: Forest) -> None:
        self._tree_of = tree_of
        self._n: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, particle: NDArray[np.int64], n: int) -> None:
        """Count `n` links, each of the particle named."""
        if n:
            more = np.bincount(self._tree_of.of(particle), minlength=len(self._n))
            more[: len(self._n)] += self._n
            self._n = more

    def trees(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return trees and their number of links."""
        trees = np.flatnonzero(self._n)
        return trees, self._n[trees]


@dataclass(slots=True, eq=False)
class _Across:
    """Links over an event: from the last row of `source` before `until`, to the first row of `target` from `since`."""

    source: NDArray[np.int64]
    until: NDArray[np.int64]
    target: NDArray[np.int64]
    since: NDArray[np.int64]


def lineage(run: Run) -> Iterator[tuple[int, list[int], list[int]]]:
    """Yield frame, parents and children of the events that connect particles, in order of decision."""
    for batch in run.events.batches(["kind", "frame", "parents", "children"]):
        for event in batch.to_pylist():
            if event["kind"] in {"coalescence", "splitting"}:
                yield int(event["frame"]), event["parents"], event["children"]


def require_finished(run: Run) -> None:
    """Refuse a run that is still growing: its links are gathered in two passes, and its tracks are not known."""
    if not run.finished:
        raise CommandError(
            f"the run '{run.path}' is not finished",
            "wait for it, or go on with insitu run --resume; csv, xlsx, trackpy, fiji and coco can be written already",
        )


def _across(run: Run) -> tuple[_Across, Forest]:
    """Return the links over mergers and splittings that no track makes, and the trees that they form."""
    pairs: list[tuple[int, int, int, int]] = []
    forest = Forest()
    for frame, before, after in lineage(run):
        for parent, child in ((p, c) for p in before for c in after if p != c):
            # One that lives on is joined at the frame of the event; one that ends or begins, at its end.
            until, since = (frame if parent in after else _NEVER), (frame if child in before else 0)
            if until == _NEVER or not since:
                pairs.append((parent, until, child, since))
                forest.join(parent, child)
    columns = np.array(pairs, np.int64).reshape(-1, 4)
    sources, untils, targets, firsts = (columns[:, k].copy() for k in range(4))
    # Two in contact may be seen apart once more after the frame of their merger.
    tracks = run.tracks.to_arrow(["particle", "last_frame"], particles=np.unique(sources))
    last = dict(zip(tracks["particle"].to_pylist(), tracks["last_frame"].to_pylist(), strict=True))
    ends = np.array([last.get(p, -1) for p in sources.tolist()], np.int64)
    firsts = np.where(untils == _NEVER, np.maximum(firsts, ends + 1), firsts)
    return _Across(sources, untils, targets, firsts), forest


def _links(run: Run, across: _Across) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield, batch by batch, the later particle and both spots of each link."""
    last: NDArray[np.int64] = np.full(0, -1, np.int64)
    source = np.full(len(across.source), -1, np.int64)
    target = source.copy()
    spots = 0
    for rows in batches(run, ("frame", "particle")):
        particle = rows["particle"].astype(np.int64)
        if len(particle) and particle.max() >= len(last):
            grown = np.full(max(int(particle.max()) + 1, 2 * len(last)), -1, np.int64)
            grown[: len(last)] = last
            last = grown
        spot = np.arange(spots, spots + len(particle))
        order = np.lexsort((spot, particle))
        follows = np.append(False, particle[order][1:] == particle[order][:-1])
        before = last[particle]
        before[order[follows]] = spot[order[:-1][follows[1:]]] if len(order) else before[:0]
        last[particle[order]] = spot[order]  # the latest row of each particle is written last
        _resolve(across, rows, spot, source, target)
        spots += len(particle)
        linked = before >= 0
        yield particle[linked], np.column_stack([before[linked], spot[linked]])
    # Rows are in order of frame, so a link that points backwards in time has the greater spot first.
    real = (source >= 0) & (target >= 0) & (source < target)
    yield across.target[real], np.column_stack([source[real], target[real]])


def _resolve(
    across: _Across, rows: Columns, spot: NDArray[np.int64], source: NDArray[np.int64], target: NDArray[np.int64]
) -> None:
    """Note the spots of links over events, as far as these rows tell."""
    if not len(source) or not len(spot):
        return
    key = rows["particle"].astype(np.int64) * _FRAMES + rows["frame"]
    order = np.argsort(key, kind="stable")
    key = key[order]
    owner = rows["particle"][order]
    place = np.searchsorted(key, across.source * _FRAMES + across.until) - 1
    there = (place >= 0) & (owner[np.maximum(place, 0)] == across.source)
    source[there] = spot[order[place[there]]]
    place = np.searchsorted(key, across.target * _FRAMES + across.since)
    place_in = np.minimum(place, len(key) - 1)
    there = (target < 0) & (place < len(key)) & (owner[place_in] == across.target)
    target[there] = spot[order[place_in[there]]]
