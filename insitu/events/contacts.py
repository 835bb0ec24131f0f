"""The ends not decided yet: which particles are unseen beside which neighbours, and what they may have merged into."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from insitu.events.evidence import PAIR, follow
from insitu.events.histories import fades, mean_step
from insitu.events.mergers import Lone, Merger, mergers, pairs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.events.histories import Histories
    from insitu.options import EventOptions


def without(pairs: NDArray[np.void], lone: NDArray[np.int64]) -> NDArray[np.void]:
    """Return the pairs of other particles than these."""
    gone = set(lone.tolist())
    return pairs[[p not in gone for p in pairs["lone"].tolist()]] if len(pairs) and gone else pairs


class Contact(NamedTuple):
    """Several particles that are seen as one outline, for a while.

    `members` holds id, y, x (px, when last seen) and area (px²) of each; the place of the one whose track goes on is
    not known (NaN). `only` says that the track that goes on stood for nothing else before, so that it is no member.
    """

    track: int
    begin: int
    larger: int
    only: bool
    members: tuple[tuple[int, float, float, float], ...]


class OpenEnds:
    """Pairs of a particle that is unseen and a neighbour, and the mergers they may stand for.

    Parameters
    ----------
    options : EventOptions
    histories : Histories
        Of all live tracks.

    Attributes
    ----------
    pairs : structured array of `evidence.PAIR`
    smallest : float
        Smallest area seen so far, in px².
    """

    def __init__(self, options: EventOptions, histories: Histories) -> None:
        self._options = options
        self._histories = histories
        self.pairs: NDArray[np.void] = np.zeros(0, PAIR)
        self.smallest = np.inf

    def __len__(self) -> int:
        return len(self.pairs)

    def watch(self, histories: Histories) -> None:
        """Begin anew with other histories."""
        self._histories, self.pairs = histories, np.zeros(0, PAIR)

    def see(self, ids: NDArray[np.int64], area: NDArray[np.float64]) -> None:
        """Note what a frame shows of the neighbours."""
        self.smallest = min(self.smallest, area.min(initial=np.inf))
        follow(self.pairs, ids, area)

    def add(self, pairs: NDArray[np.void]) -> None:
        """Take up the pairs of particles that have just vanished."""
        self.pairs = np.concatenate([self.pairs, pairs])

    def drop(self, lone: NDArray[np.int64]) -> None:
        """Forget the pairs of particles that are back or whose end is decided."""
        self.pairs = without(self.pairs, lone)

    def found(self, rows: NDArray[np.int64]) -> list[Merger]:
        """Return the mergers of the particles in some rows of the histories that are unseen."""
        met = set(self.pairs["lone"].tolist())
        ids = self._histories.tracks["particle"][rows].tolist() if met else []
        # Of those without a neighbour no merger can be found.
        return self.among(self.lone(rows[[k for k, p in enumerate(ids) if p in met]])) if met else []

    def among(self, lone: dict[int, Lone]) -> list[Merger]:
        """Return the mergers of some particles that are unseen into neighbours that have not ended."""
        asked = [k for k, p in enumerate(self.pairs["lone"].tolist()) if p in lone]
        there = [p for p in pairs_of(self.pairs[asked]) if self._histories.row_of(p.other) >= 0]
        return mergers(there, lone, self._options)

    def lone(self, rows: NDArray[np.int64]) -> dict[int, Lone]:
        """Describe the particles in some rows of the histories as they were when last seen."""
        track, lone = self._histories.tracks, {}
        for row in rows.tolist():
            path = self._histories.sightings(row)
            area = float(path[-1, 3])
            fading = fades(path, int(track["absent_frame"][row]), self.smallest)
            shrunk = area / float(track["largest_area"][row])
            lone[int(track["particle"][row])] = Lone(area, shrunk, fading, mean_step(path))
        return lone

    def contacts(self) -> list[Merger]:
        """Return the mergers that would be found now: the contacts that are open."""
        tracks = self._histories.tracks
        return self.found(np.flatnonzero((tracks["absent"] > 0) & ~tracks["void"]))

    def only_together(self, merger: Merger) -> bool:
        """Say whether the track that stands for the particles in contact was never seen before they met."""
        first = self._histories.tracks["first_frame"]
        return merger.fresh and bool(first[self._histories.row_of(merger.other)] == merger.frame)

    def contact(self, merger: Merger) -> Contact:
        """Describe a merger that is, or was, no more than a contact."""
        members = []
        for guest in merger.guests:
            _, _, _, area, y, x = self._histories.sightings(self._histories.row_of(guest), 1)[-1].tolist()
            members.append((guest, y, x, area))
        if not merger.fresh:
            members.append((merger.other, np.nan, np.nan, merger.pairs[0].last))
        # The smaller id on a tie.
        larger = min(members, key=lambda m: (-m[3], m[0]))[0]
        return Contact(merger.other, merger.frame, larger, self.only_together(merger), tuple(members))
