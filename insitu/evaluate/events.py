"""Were the events found: per kind, within a number of frames and a distance, each true event at most once.

Events at the border of the image are set aside as particles there are, but for `entering` and `leaving`, which happen
nowhere else: where a particle is that lies half outside, and when it touches another one there, cannot be seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.evaluate.objects import ratios

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EventScores:
    """One kind of event; `delay_frames` is the mean of found − true frame over the matched ones.

    `truth` and `found` are without the events that were set aside, true or found, because they touch the border.
    """

    kind: str
    truth: int
    found: int
    matched: int
    aside: int
    precision: float
    recall: float
    f1: float
    delay_frames: float
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return asdict(self)


def score(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    *,
    frames: int = 5,
    distance_px: float = 15.0,
    kinds: Sequence[str] | None = None,
    same: Mapping[str, str] | None = None,
) -> dict[str, EventScores]:
    """Match events of equal kind greedily, the nearest in time and place first.

    Parameters
    ----------
    truth, found : DataFrame
        Columns ``kind, frame, y, x`` (px), and ``touches_edge`` where the border is to be set aside.
    frames : int
        A found event lies at most so many frames from the true one, before or after.
    distance_px : float
        And at most so far away.
    kinds : sequence of str, optional
        Kinds to score; by default those that occur in the truth. Of a kind that the truth does not record, every found
        event counts as false.
    same : mapping, optional
        Kinds that count as another one, in both tables (``{"nucleation": "appearance"}``).

    Returns
    -------
    dict
        Kind → `EventScores`.
    """
    settings = {"frames": frames, "distance_px": distance_px, "same": dict(same or {}), "edge": "set aside"}
    kind_truth, kind_found = _kinds(truth, same or {}), _kinds(found, same or {})
    edge_truth, edge_found = _at_edge(truth, kind_truth), _at_edge(found, kind_found)
    if kinds is None:
        kinds = sorted(set(kind_truth[~edge_truth]))
    scores: dict[str, EventScores] = {}
    for kind in kinds:
        true, made = truth[kind_truth == kind], found[kind_found == kind]
        aside_true, aside_made = edge_truth[kind_truth == kind], edge_found[kind_found == kind]
        pairs = _greedy(true, made, frames, distance_px)
        right = [(i, j) for i, j in pairs if not aside_true[i]]
        missed = int((~aside_true).sum()) - len(right)
        alone = np.setdiff1d(np.arange(len(made)), [j for _, j in pairs])
        false = int((~aside_made[alone]).sum())
        precision, recall, f1 = ratios(len(right), false, missed)
        delays = [int(made["frame"].iloc[j]) - int(true["frame"].iloc[i]) for i, j in right]
        scores[kind] = EventScores(
            kind=kind,
            truth=len(right) + missed,
            found=len(right) + false,
            matched=len(right),
            aside=int(aside_true.sum()) + len(pairs) - len(right) + int(aside_made[alone].sum()),
            precision=precision,
            recall=recall,
            f1=f1,
            delay_frames=float(np.mean(delays)) if delays else float("nan"),
            settings=settings,
        )
    return scores


def _greedy(true: pd.DataFrame, made: pd.DataFrame, frames: int, distance_px: float) -> list[tuple[int, int]]:
    """Return pairs of positions (in `true`, in `made`), nearest first; ties go to the earlier rows."""
    if not len(true) or not len(made):
        return []
    late = np.abs(true["frame"].to_numpy(float)[:, None] - made["frame"].to_numpy(float)[None, :])
    far = np.hypot(
        true["y"].to_numpy(float)[:, None] - made["y"].to_numpy(float)[None, :],
        true["x"].to_numpy(float)[:, None] - made["x"].to_numpy(float)[None, :],
    )
    i, j = np.nonzero((late <= frames) & (far <= distance_px))
    cost = late[i, j] / max(frames, 1) + far[i, j] / distance_px
    taken_true: set[int] = set()
    taken_made: set[int] = set()
    pairs: list[tuple[int, int]] = []
    for k in np.argsort(cost, kind="stable"):
        a, b = int(i[k]), int(j[k])
        if a not in taken_true and b not in taken_made:
            taken_true.add(a)
            taken_made.add(b)
            pairs.append((a, b))
    return pairs


def _kinds(table: pd.DataFrame, same: Mapping[str, str]) -> NDArray[Any]:
    """Return the kind of every row, with those of `same` replaced."""
    return np.array([same.get(k, k) for k in table["kind"]], dtype=object)


def _at_edge(table: pd.DataFrame, kinds: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which events are set aside because they touch the border."""
    if "touches_edge" not in table:
        return np.zeros(len(table), bool)
    at_edge: NDArray[np.bool_] = table["touches_edge"].to_numpy(bool) & ~np.isin(kinds, ("entering", "leaving"))
    return at_edge
