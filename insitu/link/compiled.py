"""Optimal assignment of two point sets within a radius, compiled.

Candidates come from a grid, subnets from a union-find, and every subnet is solved exactly by shortest augmenting paths
(Jonker and Volgenant, Computing 38, 325 (1987), 10.1007/BF02278710). The cost is that of Crocker and Grier, J. Colloid
Interface Sci. 179, 298 (1996), 10.1006/jcis.1996.0217, as trackpy has it: the sum of squared displacements, and radius²
for every source that stays unlinked. `plain` does the same with numpy and scipy, link for link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Edges = tuple[Ints, Ints, Floats]


@kernel
def _grid(targets: Floats, radius: float, box: Floats) -> tuple[float, int, int, Ints, Ints]:
    """Sort targets into square cells at least a radius wide; return 1 / side, cells in y and x, starts, members.

    `box` holds the least and the largest y and x.
    """
    side = radius
    limit = 4.0 * targets.shape[0] + 64.0
    # Far outliers must not make a huge grid: wider cells cost a few more comparisons, never a link.
    while ((box[1, 0] - box[0, 0]) / side + 1.0) * ((box[1, 1] - box[0, 1]) / side + 1.0) > limit:
        side *= 2.0
    # A hair wider, so that rounding never puts two within a radius of each other more than a cell apart.
    scale = (1.0 - 1e-12) / side
    n_y, n_x = int((box[1, 0] - box[0, 0]) * scale) + 1, int((box[1, 1] - box[0, 1]) * scale) + 1
    wide = min(1, targets.shape[1] - 1)
    cell = np.empty(targets.shape[0], np.int64)
    start = np.zeros(n_y * n_x + 1, np.int64)
    for j in range(targets.shape[0]):
        row, column = int((targets[j, 0] - box[0, 0]) * scale), int((targets[j, wide] - box[0, 1]) * scale)
        cell[j] = row * n_x + column
        start[cell[j] + 1] += 1
    for k in range(n_y * n_x):
        start[k + 1] += start[k]
    member = np.empty(targets.shape[0], np.int64)
    filled = start[:-1].copy()
    for j in range(targets.shape[0]):
        member[filled[cell[j]]] = j
        filled[cell[j]] += 1
    return scale, n_y, n_x, start, member


@kernel
def _box(sources: Floats, targets: Floats) -> Floats:
    """Return the least and the largest y and x of all; in one dimension, x is y."""
    wide = min(1, targets.shape[1] - 1)
    box = np.empty((2, 2))
    box[:, 0], box[:, 1] = targets[0, 0], targets[0, wide]
    for points in (sources, targets):
        for i in range(points.shape[0]):
            box[0, 0], box[1, 0] = min(box[0, 0], points[i, 0]), max(box[1, 0], points[i, 0])
            box[0, 1], box[1, 1] = min(box[0, 1], points[i, wide]), max(box[1, 1], points[i, wide])
    return box


@kernel
def _fill(sources: Floats, targets: Floats, radius: float, edges: Edges) -> int:
    """Write all pairs within `radius` to `edges` as far as they go; return how many there are."""
    source, target, cost = edges
    n_dim, wide = sources.shape[1], min(1, sources.shape[1] - 1)
    box = _box(sources, targets)
    scale, n_y, n_x, start, member = _grid(targets, radius, box)
    n = 0
    for i in range(sources.shape[0]):
        first = n
        y, x = int((sources[i, 0] - box[0, 0]) * scale), int((sources[i, wide] - box[0, 1]) * scale)
        for row in range(max(0, y - 1), min(n_y, y + 2)):
            for at in range(start[row * n_x + max(0, x - 1)], start[row * n_x + min(n_x, x + 2)]):
                j = member[at]
                square = (sources[i, 0] - targets[j, 0]) ** 2
                for k in range(1, n_dim):
                    square += (sources[i, k] - targets[j, k]) ** 2
                if square <= radius * radius:
                    if n < len(cost):
                        # Insertion keeps a source's few candidates in order of target: it must not depend on cells.
                        place = n
                        while place > first and target[place - 1] > j:
                            target[place], cost[place] = target[place - 1], cost[place - 1]
                            place -= 1
                        source[n], target[place], cost[place] = i, j, square
                    n += 1
    return n


@kernel
def candidates(sources: Floats, targets: Floats, radius: float) -> Edges:
    """Return all pairs (source, target, squared distance) within `radius` (inclusive), sorted by source and target."""
    capacity = 4 * sources.shape[0] + 64
    while True:
        edges = np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity)
        n = _fill(sources, targets, radius, edges)
        if n <= capacity:
            return edges[0][:n], edges[1][:n], edges[2][:n]
        capacity = n


@kernel
def _find(parent: Ints, node: int) -> int:
    """Root of `node`, halving the path on the way."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@kernel
def kept_edges(n_sources: int, n_targets: int, edges: Edges, cap: int) -> NDArray[np.bool_]:
    """Mark the edges to keep so that no subnet has more than `cap` sources or targets.

    Edges are taken from the shortest up; one that would join two subnets into a larger one than `cap` is left out.
    """
    source, target, cost = edges
    parent = np.arange(n_sources + n_targets)
    size = np.zeros((n_sources + n_targets, 2), np.int64)
    size[:n_sources, 0] = 1
    size[n_sources:, 1] = 1
    keep = np.zeros(len(source), np.bool_)
    for edge in np.argsort(cost, kind="mergesort"):
        a, b = _find(parent, source[edge]), _find(parent, n_sources + target[edge])
        if a != b:
            if size[a, 0] + size[b, 0] > cap or size[a, 1] + size[b, 1] > cap:
                continue
            parent[max(a, b)] = min(a, b)
            size[min(a, b)] = size[a] + size[b]
        keep[edge] = True
    return keep


@kernel
def solve(cost: Floats, penalty: float) -> Ints:
    """Return for each row of `cost` (k, m; inf = forbidden) its column, or -1 where leaving it unlinked is cheaper.

    Rows enter one by one; each extends a shortest-path tree over reduced costs until it meets a free column, or a row
    of the tree that is better left unlinked. On a tie the link wins, then the lower column.
    """
    k, m = cost.shape
    link, owner, came = np.full(k, -1, np.int64), np.full(m, -1, np.int64), np.empty(m, np.int64)
    u, v, distance, done = np.zeros(k), np.zeros(m), np.empty(m), np.empty(m, np.bool_)
    for i in range(k):
        distance[:] = np.inf
        done[:] = False
        row, reach, leave, leaver, column = i, 0.0, np.inf, -1, -1
        while True:
            if reach + (penalty - u[row]) < leave:
                leave, leaver = reach + (penalty - u[row]), row
            nearest, at = np.inf, -1
            for j in range(m):
                if not done[j]:
                    through = reach + (cost[row, j] - u[row] - v[j])
                    if through < distance[j]:
                        distance[j], came[j] = through, row
                    if distance[j] < nearest:
                        nearest, at = distance[j], j
            if at < 0 or nearest > leave:
                reach = leave
                column, link[leaver] = link[leaver], -1
                break
            reach = nearest
            if owner[at] < 0:
                column = at
                break
            done[at] = True
            row = owner[at]
        u[i] += reach
        for j in range(m):
            if done[j]:
                u[owner[j]] += reach - distance[j]
                v[j] -= reach - distance[j]
        while column >= 0:
            row = came[column]
            owner[column] = row
            link[row], column = column, link[row]
    return link


@kernel
def roots(n_sources: int, n_targets: int, source: Ints, target: Ints) -> tuple[Ints, int]:
    """Return the subnet of each edge (its root node) and the size of the largest (sources or targets)."""
    parent = np.arange(n_sources + n_targets)
    for e in range(len(source)):
        a, b = _find(parent, source[e]), _find(parent, n_sources + target[e])
        if a != b:
            parent[max(a, b)] = min(a, b)
    size = np.zeros((n_sources + n_targets, 2), np.int64)
    for node in range(n_sources + n_targets):
        size[_find(parent, node), 0 if node < n_sources else 1] += 1
    root = np.empty(len(source), np.int64)
    for e in range(len(source)):
        root[e] = _find(parent, source[e])
    return root, size.max()


@kernel
def _link_lone(links: Ints, n_targets: int, edges: Edges) -> Ints:
    """Link the pairs that have no other candidate (in place); return the other edges."""
    source, target, _ = edges
    of_source, of_target = np.zeros(len(links), np.int64), np.zeros(n_targets, np.int64)
    for e in range(len(source)):
        of_source[source[e]] += 1
        of_target[target[e]] += 1
    rest, n = np.empty(len(source), np.int64), 0
    for e in range(len(source)):
        if of_source[source[e]] == 1 and of_target[target[e]] == 1:
            links[source[e]] = target[e]
        else:
            rest[n] = e
            n += 1
    return rest[:n]


@kernel
def solve_subnets(links: Ints, n_targets: int, edges: Edges, root: Ints, penalty: float) -> None:
    """Solve every subnet by itself and write its links."""
    source, target, cost = edges
    rest = _link_lone(links, n_targets, edges)
    row_of, column_of = np.full(len(links), -1, np.int64), np.full(n_targets, -1, np.int64)
    order = rest[np.argsort(root[rest], kind="mergesort")]
    rows, columns = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    begin = 0
    while begin < len(order):
        end, k, m = begin, 0, 0
        while end < len(order) and root[order[end]] == root[order[begin]]:
            i, j = source[order[end]], target[order[end]]
            if row_of[i] < 0:
                row_of[i], rows[k] = k, i
                k += 1
            if column_of[j] < 0:
                column_of[j], columns[m] = m, j
                m += 1
            end += 1
        matrix = np.full((k, m), np.inf)
        for e in order[begin:end]:
            matrix[row_of[source[e]], column_of[target[e]]] = cost[e]
        found = solve(matrix, penalty)
        for r in range(k):
            if found[r] >= 0:
                links[rows[r]] = columns[found[r]]
        begin = end


@kernel
def assign(sources: Floats, targets: Floats, radius: float, cap: int) -> tuple[Ints, int]:
    """Link two point sets.

    Parameters
    ----------
    sources, targets : float64 arrays of shape (n, d) and (m, d)
        Finite positions in px.
    radius : float
        Search range in px.
    cap : int
        Largest subnet solved exactly.

    Returns
    -------
    links : int64 array of shape (n,)
        Target of each source, or -1.
    dropped : int
        Candidate pairs left out because their subnet was above `cap`.
    """
    n, m = sources.shape[0], targets.shape[0]
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
        dropped = len(keep) - keep.sum()
        source, target, cost = source[keep], target[keep], cost[keep]
        root, largest = roots(n, m, source, target)
    solve_subnets(links, m, (source, target, cost), root, radius * radius)
    return links, dropped
