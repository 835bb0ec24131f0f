"""Particles cut where they merge or split, as a viewer of tracks wants them.

A viewer draws the line of a merger from the end of one track to the beginning of another. A particle that lives on
through a merger does not begin there; so it is cut, and its later piece has its earlier piece and the other particle as
parents. Every piece knows which particle it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Rows sorted by piece and time.

    Attributes
    ----------
    order : int64 array (n,)
        Number of the spot (row of the particles table) of each row.
    piece : int64 array (n,)
        Its piece, from 0.
    parents : dict
        Pieces that a piece came from.
    """

    order: NDArray[np.int64]
    piece: NDArray[np.int64]
    parents: dict[int, list[int]]


def pieces(particle: NDArray[np.int64], links: NDArray[np.int64]) -> Pieces:
    """Cut tracks at the links between particles.

    Parameters
    ----------
    particle : int64 array (n,)
        Particle of each spot, in order of frame.
    links : int64 array (m, 2)
        Earlier and later spot of each link over a merger or splitting.
    """
    spots = len(particle)
    order = np.argsort(particle, kind="stable")
    own = particle[order]
    place = np.empty(spots, np.int64)
    place[order] = np.arange(spots)
    cut = np.zeros(spots + 1, bool)
    cut[place[links[:, 1]]] = True
    cut[place[links[:, 0]] + 1] = True
    changed = np.append(True, own[1:] != own[:-1]) if spots else np.zeros(0, bool)
    piece = np.cumsum(changed | cut[:-1]) - 1
    parents: dict[int, list[int]] = {}
    for at in np.flatnonzero(cut[:-1] & ~changed).tolist():
        parents.setdefault(int(piece[at]), []).append(int(piece[at - 1]))
    for earlier, later in links.tolist():
        parents.setdefault(int(piece[place[later]]), []).append(int(piece[place[earlier]]))
    return Pieces(order, piece, {child: sorted(set(p)) for child, p in parents.items()})


def kept(found: Pieces, particle: NDArray[np.int64], least: int) -> Pieces:
    """Leave out particles with fewer than `least` rows."""
    _, inverse, counts = np.unique(particle, return_inverse=True, return_counts=True)
    long = counts[inverse][found.order] >= least
    there = set(found.piece[long].tolist())
    parents = {child: [p for p in before if p in there] for child, before in found.parents.items() if child in there}
    return Pieces(found.order[long], found.piece[long], {c: p for c, p in parents.items() if p})
