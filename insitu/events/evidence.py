"""What two successive frames show of particles that vanish or begin: cover, gap, approach and the area of neighbours.

A *lone* particle is one that vanished (or began) between two frames; an *other* is one that was there after (or before)
and overlaps it or lies within the contact gap. One row a pair; what the row means is decided later, when the linker's
memory has run out and the area of the other after the event is known from up to three frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.events.histories import OUTLINE_ERROR, median, slope
from insitu.runs import overlaps
from insitu.types import Runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from insitu.events.histories import Histories

AFTER = 3

PAIR = np.dtype(
    [
        ("lone", np.int64),  # id of the particle that vanished or began
        ("other", np.int64),  # id of its neighbour
        ("frame", np.int32),  # the frame in which it was absent for the first time, or began
        ("cover", np.float64),  # share of the lone outline that the other's outline covers in the other frame
        ("gap", np.float64),  # px between the outlines in the same frame (in two frames where they never shared one)
        ("approach", np.float64),  # closing speed of the centres before, px/frame; NaN if never seen together
        ("fresh", np.bool_),  # the other began in this very frame
        ("before", np.float64),  # area of the other before, median of the last sightings, px²; 0 if fresh
        ("last", np.float64),  # area of the other when last seen before, px²; 0 if fresh
        ("largest", np.float64),  # largest area the other had before, px²; 0 if fresh
        ("noise", np.float64),  # scatter of that area from frame to frame, px²
        ("after", np.float64, (AFTER,)),  # areas of the other from `frame` on; NaN until seen
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """The outlines of one frame: labelled runs, and id, area and box of each label."""

    runs: Runs
    ids: NDArray[np.int64]
    area: NDArray[np.float64]
    box: NDArray[np.int64]

    def moved(self, shift: tuple[float, float]) -> Outlines:
        """Return the outlines shifted by `shift` (y, x in px) to the nearest mask px, cut at the region."""
        r = self.runs
        dy, dx = (round(s / r.bin) for s in shift)
        if dy == 0 and dx == 0:
            return self
        row, start, stop = r.row + dy, np.maximum(r.start + dx, 0), np.minimum(r.stop + dx, r.shape[1])
        keep = (row >= 0) & (row < r.shape[0]) & (start < stop)
        row, start, stop = (v[keep].astype(np.int32) for v in (row, start, stop))
        runs = Runs(r.shape, row, start, stop, r.label[keep], r.n_labels, origin=r.origin, bin=r.bin)
        return Outlines(runs, self.ids, self.area, self.box + np.array([dy, dx, dy, dx]) * r.bin)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the outlines as plain arrays."""
        r = self.runs
        grid = np.array([*r.shape, *r.origin, r.bin, r.n_labels], np.int64)
        runs = {"row": r.row, "start": r.start, "stop": r.stop, "label": r.label}
        return {**runs, "grid": grid, "ids": self.ids, "area": self.area, "box": self.box}

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[Any]]) -> Outlines:
        """Return the outlines that `state` describes."""
        height, width, y, x, side, n_labels = (int(v) for v in state["grid"])
        row, start, stop, label = (np.asarray(state[name], np.int32) for name in ("row", "start", "stop", "label"))
        runs = Runs((height, width), row, start, stop, label, n_labels, origin=(y, x), bin=side)
        return cls(runs, np.asarray(state["ids"]), np.asarray(state["area"]), np.asarray(state["box"]))


def labels_at(outlines: Outlines, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label of each id in a frame, 0 for an id that is not there."""
    if len(outlines.ids) == 0:
        return np.zeros(len(ids), np.int64)
    order = np.argsort(outlines.ids)
    place = order[np.minimum(np.searchsorted(outlines.ids, ids, sorter=order), len(order) - 1)]
    return np.where(outlines.ids[place] == ids, place + 1, 0).astype(np.int64)


def runs_of(runs: Runs, labels: NDArray[np.int64]) -> Runs:
    """Return only the runs of some labels; the numbering stays."""
    wanted = np.zeros(runs.n_labels + 1, np.bool_)
    wanted[labels] = True
    keep = np.flatnonzero(wanted[runs.label])
    row, start, stop, label = (v[keep] for v in (runs.row, runs.start, runs.stop, runs.label))
    return Runs(runs.shape, row, start, stop, label, runs.n_labels, origin=runs.origin, bin=runs.bin)


def _run_of(outlines: Outlines, label: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return row, start and stop of the runs of one label, looked for in the rows of its box only."""
    runs = outlines.runs
    top, bottom = ((int(outlines.box[label - 1, k]) - runs.origin[0]) / runs.bin for k in (0, 2))
    low, high = np.searchsorted(runs.row, (np.floor(top), np.ceil(bottom)))
    keep = low + np.flatnonzero(runs.label[low:high] == label)
    return runs.row[keep], runs.start[keep], runs.stop[keep]


def outline_gap(a: Outlines, label_a: int, b: Outlines, label_b: int) -> float:
    """Return the px between two outlines: 0 when they share or touch pixels (also across a corner)."""
    row_a, start_a, stop_a = _run_of(a, label_a)
    row_b, start_b, stop_b = _run_of(b, label_b)
    if len(row_a) == 0 or len(row_b) == 0:
        return float("inf")
    dy = np.maximum(np.abs(row_a[:, None] - row_b) - 1, 0)
    dx = np.maximum(np.maximum(start_b - stop_a[:, None], start_a[:, None] - stop_b), 0)
    return float(np.sqrt((dy * dy + dx * dx).min())) * a.runs.bin


def near(lone: Outlines, labels: NDArray[np.int64], other: Outlines, reach: float) -> set[tuple[int, int]]:
    """Return the pairs of labels whose boxes lie within `reach` px of each other."""
    found: set[tuple[int, int]] = set()
    y0, x0, y1, x1 = other.box.T
    most = max(1, 1_000_000 // max(1, len(other.ids)))
    for some in (labels[k : k + most] for k in range(0, len(labels), most)):
        top, left, bottom, right = lone.box[some - 1].T[:, :, None]
        close = (y0 <= bottom + reach) & (y1 >= top - reach) & (x0 <= right + reach) & (x1 >= left - reach)
        row, q = np.nonzero(close)
        found.update(zip(some[row].tolist(), (q + 1).tolist(), strict=True))
    return found


def gather(
    frame: int, *, lone: Outlines, labels: NDArray[np.int64], other: Outlines, histories: Histories, reach: float
) -> NDArray[np.void]:
    """Pair the lone particles (`labels` of `lone`) with their neighbours in the other frame.

    For particles that vanished `lone` is the earlier frame and `other` the later one, for particles that began the
    reverse. `histories` must stand before the later frame. Neighbours overlap, or lie within `reach` px.
    """
    shared = zip(*overlaps(runs_of(lone.runs, labels), other.runs), strict=True)
    pixels = {(int(p), int(q)): float(n) * lone.runs.bin**2 for p, q, n in shared}
    # A neighbour that moved is still a neighbour: nearness is judged in the frame that shows both, if there is one.
    beside = sorted(near(lone, labels, lone, reach))
    there = labels_at(other, lone.ids[[q - 1 for _, q in beside]])
    found = {(p, q) for (p, _), q in zip(beside, there.tolist(), strict=True) if q}
    found |= set(pixels) | near(lone, labels, other, reach)
    pairs = np.zeros(len(found), PAIR)
    pairs["frame"], pairs["after"], pairs["approach"] = frame, np.nan, np.nan
    place = np.array(sorted(found), np.int64).reshape(-1, 2)
    pairs["lone"], pairs["other"] = lone.ids[place[:, 0] - 1], other.ids[place[:, 1] - 1]
    together = labels_at(lone, pairs["other"])
    rows = histories.rows_of(pairs["other"])
    # One that began a moment ago, went and is back (a flicker of contact) counts as beginning now.
    pairs["fresh"] = (rows < 0) | ((together == 0) & histories.tracks["unnamed"][rows])
    # What a new particle split off from must still be there.
    keep = (pairs["lone"] != pairs["other"]) & ((histories.rows_of(pairs["lone"]) >= 0) | (together > 0))
    for k in np.flatnonzero(keep):
        p, q = place[k].tolist()
        pairs["gap"][k] = outline_gap(lone, p, *((lone, int(together[k])) if together[k] else (other, q)))
        pairs["cover"][k] = pixels.get((p, q), 0.0) / lone.area[p - 1]
    pairs = np.asarray(pairs[keep & ((pairs["cover"] > 0) | (pairs["gap"] <= reach))])
    _describe(pairs, histories)
    _meet(pairs, lone, histories)
    return pairs


def _meet(pairs: NDArray[np.void], lone: Outlines, histories: Histories) -> None:
    """Give pairs with a fresh particle the gap and approach of the vanished ones among each other, which formed it."""
    label = labels_at(lone, pairs["lone"])
    for child in np.unique(pairs["other"][pairs["fresh"]]):
        group = np.flatnonzero(pairs["other"] == child)
        for k in group:
            others = group[group != k]
            if len(others):
                gaps = [outline_gap(lone, int(label[k]), lone, int(label[o])) for o in others]
                partner = others[int(np.argmin(gaps))]
                rows = histories.rows_of(pairs["lone"][[k, partner]])
                pairs["gap"][k] = min(gaps)
                pairs["approach"][k] = closing_speed(*(histories.sightings(int(r), 5) for r in rows))


def _describe(pairs: NDArray[np.void], histories: Histories) -> None:
    """Fill in what the histories say of the others before the event, and how the two approached."""
    lone, other = histories.rows_of(pairs["lone"]), histories.rows_of(pairs["other"])
    for k in np.flatnonzero(~pairs["fresh"]):
        past = histories.sightings(int(other[k]))
        areas = past[:, 3].tolist()
        # From the median step: one jump (an earlier merger) is no scatter. 1.4826 makes it a standard deviation.
        steps = [abs(b - a) for a, b in pairwise(areas)]
        scatter = 1.4826 * median(steps) / math.sqrt(2) if len(areas) > 2 else 0.0
        pairs["noise"][k] = max(scatter, OUTLINE_ERROR * math.sqrt(areas[-1]))
        pairs["last"][k], pairs["before"][k] = areas[-1], median(areas[-5:])
        pairs["largest"][k] = histories.tracks["largest_area"][other[k]]
        if lone[k] >= 0:
            pairs["approach"][k] = closing_speed(histories.sightings(int(lone[k]), 5), past)


def closing_speed(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return by how many px per frame two centres came closer over their common frames; NaN below two."""
    place = {frame: (y, x) for frame, y, x in b[:, :3].tolist()}
    common = [(frame, math.dist((y, x), place[frame])) for frame, y, x in a[:, :3].tolist() if frame in place]
    if len(common) < 2:
        return float("nan")
    return 0.0 - slope(*zip(*common, strict=True))[0]  # no minus zero


def follow(pairs: NDArray[np.void], ids: NDArray[np.int64], area: NDArray[Any]) -> None:
    """Record the area of the others in the present frame, for the first frames after the event."""
    if len(pairs) == 0 or len(ids) == 0:
        return
    order = np.argsort(ids)
    place = order[np.minimum(np.searchsorted(ids, pairs["other"], sorter=order), len(ids) - 1)]
    filled = np.isfinite(pairs["after"]).sum(axis=1)
    due = np.flatnonzero((ids[place] == pairs["other"]) & (filled < AFTER))
    pairs["after"][due, filled[due]] = area[place[due]]
