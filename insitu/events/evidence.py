"""What two successive frames show of particles that vanish or begin: cover, gap, approach and the area of neighbours.

A *lone* particle is one that vanished (or began) between two frames; an *other* is one that was there after (or before)
and overlaps it or lies within the contact gap. One row a pair; what the row means is decided later, when the linker's
memory has run out and the area of the other after the event is known from up to three frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

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


def runs_of(runs: Runs, labels: NDArray[np.int64]) -> Runs:
    """Return only the runs of some labels; the numbering stays."""
    wanted = np.zeros(runs.n_labels + 1, np.bool_)
    wanted[labels] = True
    keep = wanted[runs.label]
    return replace(
        runs,
        row=runs.row[keep],
        start=runs.start[keep],
        stop=runs.stop[keep],
        label=runs.label[keep],
        intensity_sum=None,
        probability_sum=None,
    )


def outline_gap(a: Runs, label_a: int, b: Runs, label_b: int) -> float:
    """Return the px between two outlines: 0 when they share or touch pixels (also across a corner)."""
    p, q = runs_of(a, np.array([label_a])), runs_of(b, np.array([label_b]))
    dy = np.abs(p.row[:, None] - q.row[None, :])
    dx = np.maximum(q.start[None, :] - p.stop[:, None], p.start[:, None] - q.stop[None, :]) + 1
    between = np.hypot(np.maximum(dy - 1, 0), np.maximum(dx - 1, 0))
    return float(between.min()) * a.bin


def near(lone: Outlines, labels: NDArray[np.int64], other: Outlines, reach: float) -> set[tuple[int, int]]:
    """Return the pairs of labels whose boxes lie within `reach` px of each other."""
    found = set()
    for label in labels.tolist():
        y0, x0, y1, x1 = lone.box[label - 1]
        box = other.box
        apart = np.maximum.reduce([box[:, 0] - y1, y0 - box[:, 2], box[:, 1] - x1, x0 - box[:, 3]])
        found |= {(label, q) for q in (np.flatnonzero(apart <= reach) + 1).tolist()}
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
    label_of = {i: k + 1 for k, i in enumerate(other.ids.tolist())}
    inside = {i: k + 1 for k, i in enumerate(lone.ids.tolist())}
    # A neighbour that moved is still a neighbour: nearness is judged in the frame that shows both, if there is one.
    found = {(p, label_of[i]) for p, q in near(lone, labels, lone, reach) if (i := int(lone.ids[q - 1])) in label_of}
    found |= set(pixels) | near(lone, labels, other, reach)
    known = histories.rows_of(lone.ids) >= 0
    rows: list[NDArray[np.void]] = []
    for p, q in sorted(found):
        row = np.zeros((), PAIR)
        row["lone"], row["other"], row["frame"], row["after"] = lone.ids[p - 1], other.ids[q - 1], frame, np.nan
        together = inside.get(int(row["other"]), 0)
        row["fresh"] = histories.rows_of(np.array([row["other"]]))[0] < 0
        # What a new particle split off from must still be there.
        if row["lone"] == row["other"] or not (known[p - 1] or together):
            continue
        row["gap"] = outline_gap(lone.runs, p, *((lone.runs, together) if together else (other.runs, q)))
        row["cover"] = pixels.get((p, q), 0.0) / lone.area[p - 1]
        if row["cover"] > 0 or row["gap"] <= reach:
            describe(row, histories)
            rows.append(row)
    pairs = np.array(rows, PAIR) if rows else np.zeros(0, PAIR)
    _meet(pairs, lone, histories)
    return pairs


def _meet(pairs: NDArray[np.void], lone: Outlines, histories: Histories) -> None:
    """Give pairs with a fresh particle the gap and approach of the vanished ones among each other, which formed it."""
    label = {i: k + 1 for k, i in enumerate(lone.ids.tolist())}
    for child in np.unique(pairs["other"][pairs["fresh"]]):
        group = np.flatnonzero(pairs["other"] == child)
        for k in group:
            others = [int(pairs["lone"][m]) for m in group if m != k]
            me = int(pairs["lone"][k])
            if others:
                gaps = [outline_gap(lone.runs, label[me], lone.runs, label[o]) for o in others]
                pairs["gap"][k] = min(gaps)
                partner = others[int(np.argmin(gaps))]
                rows = histories.rows_of(np.array([me, partner]))
                pairs["approach"][k] = closing_speed(*(histories.sightings(int(r), 5) for r in rows))


def describe(pair: NDArray[np.void], histories: Histories) -> None:
    """Fill in what the histories say of the other before the event, and how the two approached."""
    lone, other = (int(r) for r in histories.rows_of(np.array([pair["lone"], pair["other"]])))
    pair["approach"] = np.nan
    if other < 0:
        return
    past = histories.sightings(other)
    areas = past[:, 3]
    pair["last"], pair["before"] = areas[-1], np.median(areas[-5:])
    scatter = np.sqrt(np.mean(np.diff(areas) ** 2) / 2) if len(areas) > 2 else 0.0
    # A digitised outline is never surer than a fraction of a pixel along its perimeter (about 3.5 √area px long).
    pair["noise"] = max(scatter, 0.05 * 3.5 * np.sqrt(areas[-1]))
    if lone >= 0:
        pair["approach"] = closing_speed(histories.sightings(lone, 5), past)


def closing_speed(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return by how many px per frame two centres came closer over their common frames; NaN below two."""
    _, i, j = np.intersect1d(a[:, 0], b[:, 0], return_indices=True)
    if len(i) < 2:
        return float("nan")
    frame = a[i, 0] - a[i, 0].mean()
    distance = np.hypot(a[i, 1] - b[j, 1], a[i, 2] - b[j, 2])
    return float(-(frame * distance).sum() / (frame * frame).sum()) + 0.0  # no minus zero


def follow(pairs: NDArray[np.void], ids: NDArray[np.int64], area: NDArray[Any]) -> None:
    """Record the area of the others in the present frame, for the first frames after the event."""
    if len(pairs) == 0 or len(ids) == 0:
        return
    order = np.argsort(ids)
    place = order[np.minimum(np.searchsorted(ids, pairs["other"], sorter=order), len(ids) - 1)]
    filled = np.isfinite(pairs["after"]).sum(axis=1)
    due = np.flatnonzero((ids[place] == pairs["other"]) & (filled < AFTER))
    pairs["after"][due, filled[due]] = area[place[due]]
