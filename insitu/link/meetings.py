"""Mergers and splittings from positions alone, where a table of detections has no areas.

A particle that ends beside one that goes on may have merged with it. Then the one that goes on lies afterwards between
the two places before, that is, inside the circle that has these two places as ends of a diameter (Thales); a neighbour
that happens to be near does not move there. A splitting is a merger that runs backwards. With ``m`` the distance from
the middle of the two places and ``s`` half the distance between them,

    confidence = (1 - m / s) / 2

which never exceeds 0.5: without areas nothing says that the one took up the other.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MOST_CERTAIN = 0.5


class Meeting(NamedTuple):
    """Particles `guests` that went into `host` or came out of it, in `frame`; y, x of the child in px.

    `frame` is the first one in which the guests are gone, or there. A splitting is placed where its new particle is.
    """

    kind: Literal["coalescence", "splitting"]
    frame: int
    host: int
    guests: tuple[int, ...]
    y: float
    x: float
    confidence: float


def meetings(
    frames: NDArray[np.int64], ids: NDArray[np.int64], positions: NDArray[np.float64], reach_px: float
) -> Iterator[Meeting]:
    """Yield the mergers and splittings of a linked table, in order of frame.

    Parameters
    ----------
    frames, ids : int64 arrays of shape (n,)
        Frame, in increasing order, and track id of each row.
    positions : float64 array of shape (n, 2)
        y, x in px. Rows without a finite position take no part.
    reach_px : float
        Farthest a particle may move between two frames, also into a merger.
    """
    finite = np.isfinite(positions).all(axis=1)
    frames, ids, positions = frames[finite], ids[finite], positions[finite]
    values, first = np.unique(frames, return_index=True)
    bounds = np.append(first, len(frames))
    begin, end = _ends(frames, ids)
    for k in range(1, len(values)):
        before, after = slice(bounds[k - 1], bounds[k]), slice(bounds[k], bounds[k + 1])
        _, there, here = np.intersect1d(ids[before], ids[after], assume_unique=True, return_indices=True)
        stays = ids[before][there], positions[before][there], positions[after][here]
        gone = np.flatnonzero(end[before] == values[k - 1])
        new = np.flatnonzero(begin[after] == values[k])
        for host, guests, near in _grouped(stays[1], stays[2], positions[before][gone], reach_px):
            who = int(stays[0][host]), tuple(ids[before][gone[guests]].tolist())
            y, x = stays[2][host].tolist()
            yield Meeting("coalescence", int(values[k]), *who, y, x, near)
        for host, guests, near in _grouped(stays[2], stays[1], positions[after][new], reach_px):
            who = int(stays[0][host]), tuple(ids[after][new[guests]].tolist())
            y, x = positions[after][new[guests[0]]].tolist()
            yield Meeting("splitting", int(values[k]), *who, y, x, near)


def _ends(frames: NDArray[np.int64], ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last frame of the track of each row."""
    _, first, which = np.unique(ids, return_index=True, return_inverse=True)
    last = np.zeros(len(first), np.int64)
    np.maximum.at(last, which, frames)
    return frames[first][which], last[which]


def _grouped(
    apart: NDArray[np.float64], together: NDArray[np.float64], guests: NDArray[np.float64], reach: float
) -> Iterator[tuple[int, NDArray[np.int64], float]]:
    """Yield host, its guests and the confidence; hosts have places (n, 2) `apart` from the guests, and `together`."""
    if not len(guests) or not len(together):
        return
    home = import_module(f"insitu.link.{'compiled' if find_spec('numba') else 'plain'}")
    guest, near, _ = home.candidates(guests, together, reach)
    half = np.linalg.norm(guests[guest] - apart[near], axis=1) / 2
    off_middle = np.linalg.norm((guests[guest] + apart[near]) / 2 - together[near], axis=1)
    confidence = MOST_CERTAIN * (1 - off_middle / np.where(half > 0, half, np.inf))
    # The most certain host of each guest; of equal ones the first.
    order = np.lexsort((near, -confidence, guest))
    order = order[off_middle[order] < half[order]]
    order = order[np.append(True, guest[order][1:] != guest[order][:-1])[: len(order)]]
    guest, near, confidence = guest[order], near[order], confidence[order]
    by_host = np.lexsort((guest, -confidence, near))
    for members in np.split(by_host, np.flatnonzero(np.diff(near[by_host])) + 1):
        if len(members):
            yield int(near[members[0]]), guest[members], float(confidence[members].min())
