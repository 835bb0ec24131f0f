"""A search range that shrinks where particles are crowded, as `adaptive_stop` and `adaptive_step` of trackpy have it.

Where more than 15 sources are connected by possible links, the range there is multiplied by the step until they fall
apart into smaller subnets. At the stop trackpy gives up; here what is left is solved as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Edges = tuple[Ints, Ints, Floats]

MOST_SOURCES = 15  # of a subnet before the range shrinks there: trackpy's


class Shrinking(NamedTuple):
    """The least range that is tried, px, and the factor from one to the next."""

    stop: float
    step: float


def assign(
    home: ModuleType, sources: Floats, targets: Floats, radius: float, cap: int, *, shrinking: Shrinking
) -> tuple[Ints, int]:
    """Link two point sets with the kernels of `home` (`compiled` or `plain`); the rest as in `compiled.assign`.

    A source in a subnet whose range has shrunk to r stays unlinked at the cost r².
    """
    n, m = len(sources), len(targets)
    links, dropped = np.full(n, -1, np.int64), 0
    edges: Edges = (links[:0], links[:0], np.empty(0))
    if n and m:
        edges = home.candidates(sources, targets, radius)
    while len(edges[0]):
        last = radius <= shrinking.stop
        if last:
            keep = home.kept_edges(n, m, edges, cap)
            edges, dropped = _where(edges, keep), int(len(keep) - keep.sum())
        root, _ = home.roots(n, m, edges[0], edges[1])
        crowded = _crowded(root, edges[0]) & (not last)
        home.solve_subnets(links, m, _where(edges, ~crowded), root[~crowded], radius * radius)
        radius *= shrinking.step
        edges = _where(edges, crowded & (edges[2] <= radius * radius))
    return links, dropped


def _crowded(root: Ints, source: Ints) -> NDArray[np.bool_]:
    """Mark the edges (sorted by source) of subnets with too many sources."""
    _, subnet = np.unique(root, return_inverse=True)
    first = np.append(True, source[1:] != source[:-1])
    crowded: NDArray[np.bool_] = np.bincount(subnet[first])[subnet] > MOST_SOURCES
    return crowded


def _where(edges: Edges, chosen: NDArray[np.bool_]) -> Edges:
    source, target, cost = edges
    return source[chosen], target[chosen], cost[chosen]
