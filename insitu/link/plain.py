"""The assignment of `compiled` with numpy and scipy, where numba is missing: slower, the same links, ties included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Edges = tuple[Ints, Ints, Floats]


def candidates(sources: Floats, targets: Floats, radius: float) -> Edges:
    """Return all pairs (source, target, squared distance) within `radius` (inclusive), sorted by source and target."""
    from scipy.spatial import cKDTree

    # The tree looks a hair too far; the squares decide, computed in the same order as in the compiled kernel.
    near = cKDTree(sources).sparse_distance_matrix(cKDTree(targets), radius * (1 + 1e-9), output_type="ndarray")
    source, target = near["i"].astype(np.int64), near["j"].astype(np.int64)
    cost = np.zeros(len(source))
    for axis in range(sources.shape[1]):
        step = sources[source, axis] - targets[target, axis]
        cost += step * step
    order = np.lexsort((target, source))
    order = order[cost[order] <= radius * radius]
    return source[order], target[order], cost[order]


def kept_edges(n_sources: int, n_targets: int, edges: Edges, cap: int) -> NDArray[np.bool_]:
    """Mark the edges to keep so that no subnet has more than `cap` sources or targets (see `compiled.kept_edges`)."""
    source, target, cost = edges
    parent = list(range(n_sources + n_targets))
    size = [(1, 0)] * n_sources + [(0, 1)] * n_targets

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    keep = np.zeros(len(source), np.bool_)
    for edge in np.argsort(cost, kind="stable"):
        a, b = find(int(source[edge])), find(n_sources + int(target[edge]))
        if a != b:
            joined = (size[a][0] + size[b][0], size[a][1] + size[b][1])
            if max(joined) > cap:
                continue
            parent[max(a, b)] = min(a, b)
            size[min(a, b)] = joined
        keep[edge] = True
    return keep


def solve(cost: Floats, penalty: float) -> Ints:
    """Return for each row of `cost` its column or -1 (see `compiled.solve`: the same steps, a whole row at a time)."""
    k, m = cost.shape
    link, owner, came = np.full(k, -1, np.int64), np.full(m, -1, np.int64), np.empty(m, np.int64)
    u, v = np.zeros(k), np.zeros(m)
    for i in range(k):
        distance, done = np.full(m, np.inf), np.zeros(m, np.bool_)
        row, reach, leave, leaver = i, 0.0, np.inf, -1
        while True:
            if reach + (penalty - u[row]) < leave:
                leave, leaver = reach + (penalty - u[row]), row
            through = reach + (cost[row] - u[row] - v)
            better = ~done & (through < distance)
            distance[better], came[better] = through[better], row
            open_distance = np.where(done, np.inf, distance)
            at = int(np.argmin(open_distance))
            if not np.isfinite(open_distance[at]) or open_distance[at] > leave:
                reach = leave
                column, link[leaver] = int(link[leaver]), -1
                break
            reach = float(open_distance[at])
            if owner[at] < 0:
                column = at
                break
            done[at] = True
            row = int(owner[at])
        u[i] += reach
        u[owner[done]] += reach - distance[done]
        v[done] -= reach - distance[done]
        while column >= 0:
            row = int(came[column])
            owner[column] = row
            column, link[row] = int(link[row]), column
    return link


def roots(n_sources: int, n_targets: int, source: Ints, target: Ints) -> tuple[Ints, int]:
    """Return the subnet of each edge and the size of the largest (the larger of sources and targets)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = n_sources + n_targets
    graph = coo_matrix((np.ones(len(source), np.int8), (source, n_sources + target)), shape=(n, n))
    count, component = connected_components(graph, directed=False)
    sizes = np.bincount(component[:n_sources], minlength=count), np.bincount(component[n_sources:], minlength=count)
    return component[source].astype(np.int64), int(max(sizes[0].max(), sizes[1].max()))


def assign(sources: Floats, targets: Floats, radius: float, cap: int) -> tuple[Ints, int]:
    """Link two point sets; parameters and returns as in `compiled.assign`."""
    n, m = len(sources), len(targets)
    links = np.full(n, -1, np.int64)
    if n == 0 or m == 0:
        return links, 0
    source, target, cost = candidates(sources, targets, radius)
    if len(source) == 0:
        return links, 0
    root, largest = roots(n, m, source, target)
    dropped = 0
    if largest > cap:
        keep = kept_edges(n, m, (source, target, cost), cap)
        dropped = int(len(keep) - keep.sum())
        source, target, cost = source[keep], target[keep], cost[keep]
        root, _ = roots(n, m, source, target)
    solve_subnets(links, m, (source, target, cost), root, radius * radius)
    return links, dropped


def solve_subnets(links: Ints, n_targets: int, edges: Edges, root: Ints, penalty: float) -> None:
    """Solve every subnet by itself and write its links; lone pairs are linked directly."""
    source, target, cost = edges
    of_source, of_target = np.bincount(source, minlength=len(links)), np.bincount(target, minlength=n_targets)
    lone = (of_source[source] == 1) & (of_target[target] == 1)
    links[source[lone]] = target[lone]
    source, target, cost, root = source[~lone], target[~lone], cost[~lone], root[~lone]
    order = np.argsort(root, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(root[order])) + 1):
        if len(rows):
            _links_of_subnet(links, source[rows], target[rows], cost[rows], penalty)


def _links_of_subnet(links: Ints, source: Ints, target: Ints, cost: Floats, penalty: float) -> None:
    """Solve one subnet and write its links; columns are numbered by first appearance, as in the compiled kernel."""
    rows, row = np.unique(source, return_inverse=True)
    names, first, inverse = np.unique(target, return_index=True, return_inverse=True)
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(first)] = np.arange(len(names))
    matrix = np.full((len(rows), len(names)), np.inf)
    matrix[row, rank[inverse]] = cost
    found = solve(matrix, penalty)
    columns = names[np.argsort(first)]
    links[rows[found >= 0]] = columns[found[found >= 0]]
