"""Who a track of the linker is called in the tables: names change where an event says so, from its frame on.

The linker carries on one of the particles that touch. A decided coalescence ends all of them and begins a new
particle; a contact that ended again was one row with the larger particle's name. Both are written down here, by track
and range of frames, and looked up when a frame is given out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FOR_EVER = np.iinfo(np.int64).max
MOST_NAMES = 8  # of one track: no verdict reaches further back than a few

_NAME = np.dtype(
    [
        ("track", np.int64),  # id from the linker
        ("begin", np.int64),  # first frame
        ("end", np.int64),  # first frame after
        ("particle", np.int64),  # name in the tables; of several in contact, the track whose name it was before
        ("composite", np.bool_),  # several particles in contact
        ("only", np.bool_),  # the track never was a particle of its own
        ("gone", np.int64),  # frame in which the track had ended, -1 before
    ]
)


class Identities:
    """Names of tracks that differ from the linker's, in order of track and first frame; memory O(live tracks)."""

    def __init__(self) -> None:
        self._names: NDArray[np.void] = np.zeros(0, _NAME)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, track: int, begin: int, end: int, particle: int) -> None:
        """Call `track` `particle` in the frames from `begin` to before `end`; a later beginning outranks an earlier."""
        self._write(np.array([(track, begin, end, particle, False, False, -1)], _NAME))

    def contact(self, track: int, begin: int, end: int, larger: int, *, only: bool) -> None:
        """Let `track` stand for several particles in contact and bear the name that the track `larger` had before.

        `only` says that the track was never seen before and was no particle of its own.
        """
        self._write(np.array([(track, begin, end, larger, True, only, -1)], _NAME))

    def _write(self, new: NDArray[np.void]) -> None:
        names = np.concatenate([self._names, new])
        self._names = names[np.lexsort((np.arange(len(names)), names["begin"], names["track"]))]

    def at(self, frame: int, tracks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return names of the tracks in `frame`, and which rows are several particles in contact."""
        composite = np.zeros(len(tracks), np.bool_)
        valid = self._valid(frame, self._names)
        if len(valid) == 0 or len(tracks) == 0:
            return tracks, composite
        for k in np.flatnonzero(valid["composite"]).tolist():
            valid["particle"][k] = self.of(int(valid["particle"][k]), int(valid["begin"][k]) - 1)
        place = np.minimum(np.searchsorted(valid["track"], tracks), len(valid) - 1)
        known = valid["track"][place] == tracks
        composite[known] = valid["composite"][place[known]]
        return np.where(known, valid["particle"][place], tracks), composite

    def of(self, track: int, frame: int) -> int:
        """Return the name of the particle that one track carries on in `frame`, also while it touches others."""
        tracks = self._names["track"]
        own = self._names[tracks.searchsorted(track) : tracks.searchsorted(track, side="right")]
        if not len(own):
            return track
        valid = self._valid(frame, own[~own["composite"]])
        if len(valid):
            return int(valid["particle"][0])
        together = self._valid(frame, own[own["only"]])
        return self.of(int(together["particle"][0]), int(together["begin"][0]) - 1) if len(together) else track

    @staticmethod
    def _valid(frame: int, names: NDArray[np.void]) -> NDArray[np.void]:
        """Return a copy of the names that hold in `frame`, one a track."""
        valid = names[(names["begin"] <= frame) & (frame < names["end"])]
        last = np.append(valid["track"][1:] != valid["track"][:-1], True)[: len(valid)]
        chosen: NDArray[np.void] = valid[last]
        return chosen

    def forget(self, live: NDArray[np.int64], frame: int, oldest: int) -> None:
        """Drop the names of tracks that are no longer `live`, once no frame up to their end is still held.

        `frame` is the present one, `oldest` the oldest that has not been given out.
        """
        if len(self._names) == 0:
            return
        live = np.union1d(live, self._names["particle"][self._names["composite"]])
        ended = (self._names["gone"] < 0) & (~np.isin(self._names["track"], live) | (self._names["end"] <= frame))
        names = self._names.copy()
        names["gone"][ended] = frame
        after = np.searchsorted(names["track"], names["track"], side="right")
        newest = np.arange(len(names)) >= after - MOST_NAMES
        self._names = names[newest & ((names["gone"] < 0) | (names["gone"] >= oldest))]

    def copy(self) -> Identities:
        """Return an independent copy."""
        other = Identities()
        other._names = self._names
        return other

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the names as plain arrays."""
        return {field: self._names[field].copy() for field in _NAME.names or ()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`."""
        self._names = np.zeros(len(state["track"]), _NAME)
        for field in _NAME.names or ():
            self._names[field] = state[field]
