"""Optimal assignment of two point sets within a radius, compiled.

Candidates come from a grid, subnets from a union-find, and every subnet is solved exactly by shortest augmenting paths
(Jonker and Volgenant, Computing 38, 325 (1987), 10.1007/BF02278710). The cost is that of Crocker and Grier, J. Colloid
Interface Sci. 179, 298 (1996), 10.1006/jcis.1996.0217, as trackpy has it: the sum of squared displacements, and radius²
for every source that stays unlinked. `plain` does the same with numpy and scipy, link for link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.runs.compiling import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Edges = tuple[Ints, Ints, Floats]


@kernel
def _grid(targets: Floats, radius: float, low: Floats, high: Floats) -> tuple[float, int, int, Ints, Ints]:
    """Sort targets into square cells at least a radius wide; return cell side, cells in y and x, starts, members."""
    side = radius
    wide = 1 if low.shape[0] > 1 else 0
    limit = 4.0 * targets.shape[0] + 64.0
    # Far outliers must not make a huge grid: wider cells cost a few more comparisons, never a link.
    while ((high[0] - low[0]) / side + 1.0) * ((high[wide] - low[wide]) / side + 1.0) > limit:
        side *= 2.0
    n_y = int((high[0] - low[0]) / side) + 1
    n_x = int((high[wide] - low[wide]) / side) + 1 if wide else 1
    cell = np.empty(targets.shape[0], np.int64)
    start = np.zeros(n_y * n_x + 1, np.int64)
    for j in range(targets.shape[0]):
        column = int((targets[j, wide] - low[wide]) / side) if wide else 0
        cell[j] = int((targets[j, 0] - low[0]) / side) * n_x + column
        start[cell[j] + 1] += 1
    start = np.cumsum(start)
    member = np.empty(targets.shape[0], np.int64)
    filled = start[:-1].copy()
    for j in range(targets.shape[0]):
        member[filled[cell[j]]] = j
        filled[cell[j]] += 1
    return side, n_y, n_x, start, member


@kernel
def candidates(sources: Floats, targets: Floats, radius: float) -> Edges:
    """Return all pairs (source, target, squared distance) within `radius` (inclusive), sorted by source and target."""
    n_dim = sources.shape[1]
    low, high = np.empty(n_dim), np.empty(n_dim)
    for k in range(n_dim):
        low[k] = min(sources[:, k].min(), targets[:, k].min())
        high[k] = max(sources[:, k].max(), targets[:, k].max())
    side, n_y, n_x, start, member = _grid(targets, radius, low, high)
    capacity = 8 * sources.shape[0] + 64
    source, target, cost = np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity)
    n = 0
    for i in range(sources.shape[0]):
        first = n
        y = int((sources[i, 0] - low[0]) / side)
        x = int((sources[i, 1] - low[1]) / side) if n_dim > 1 else 0
        for row in range(max(0, y - 1), min(n_y, y + 2)):
            for at in range(start[row * n_x + max(0, x - 1)], start[row * n_x + min(n_x, x + 2)]):
                square = 0.0
                for k in range(n_dim):
                    step = sources[i, k] - targets[member[at], k]
                    square += step * step
                if square <= radius * radius:
                    if n == capacity:
                        source, target = np.append(source, source), np.append(target, target)
                        cost = np.append(cost, cost)
                        capacity *= 2
                    # Insertion keeps a source's few candidates in order of target: the order must not depend on cells.
                    place = n
                    while place > first and target[place - 1] > member[at]:
                        target[place], cost[place] = target[place - 1], cost[place - 1]
                        place -= 1
                    source[n], target[place], cost[place] = i, member[at], square
                    n += 1
    return source[:n], target[:n], cost[:n]


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
def _roots(n_sources: int, n_targets: int, source: Ints, target: Ints) -> tuple[Ints, int]:
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
def _solve_subnets(n_sources: int, n_targets: int, edges: Edges, root: Ints, penalty: float) -> Ints:
    """Solve every subnet by itself; lone pairs are linked directly."""
    source, target, cost = edges
    links = np.full(n_sources, -1, np.int64)
    row_of, column_of = np.full(n_sources, -1, np.int64), np.full(n_targets, -1, np.int64)
    order = np.argsort(root, kind="mergesort")
    begin = 0
    while begin < len(order):
        end, k, m = begin, 0, 0
        rows, columns = [0], [0]
        while end < len(order) and root[order[end]] == root[order[begin]]:
            i, j = source[order[end]], target[order[end]]
            if row_of[i] < 0:
                row_of[i] = k
                rows.append(i)
                k += 1
            if column_of[j] < 0:
                column_of[j] = m
                columns.append(j)
                m += 1
            end += 1
        if k == 1 and m == 1:
            links[rows[1]] = columns[1]
        else:
            matrix = np.full((k, m), np.inf)
            for e in order[begin:end]:
                matrix[row_of[source[e]], column_of[target[e]]] = cost[e]
            found = solve(matrix, penalty)
            for r in range(k):
                if found[r] >= 0:
                    links[rows[r + 1]] = columns[found[r] + 1]
        begin = end
    return links


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
    if n == 0 or m == 0:
        return np.full(n, -1, np.int64), 0
    source, target, cost = candidates(sources, targets, radius)
    if len(source) == 0:
        return np.full(n, -1, np.int64), 0
    root, largest = _roots(n, m, source, target)
    dropped = 0
    if largest > cap:
        keep = kept_edges(n, m, (source, target, cost), cap)
        dropped = len(keep) - keep.sum()
        source, target, cost = source[keep], target[keep], cost[keep]
        root, largest = _roots(n, m, source, target)
    return _solve_subnets(n, m, (source, target, cost), root, radius * radius), dropped
