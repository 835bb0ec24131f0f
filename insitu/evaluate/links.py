"""Did the particles keep their identity: links of the truth against links that were made.

A link joins two successive positions of one identity. Only positions that were matched one to one count, so that a
particle that was not found is a matter of detection and is not charged twice: the positions before and after it are
successive then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.evaluate.objects import ratios

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from insitu.evaluate.objects import Matching


@dataclass(frozen=True, slots=True)
class LinkScores:
    """Links that are in the truth, were made, and are in both; `switches` are truth links whose two ends got two ids.

    `whole_tracks` is the share of true particles (with two positions or more) whose every link was made.
    """

    truth: int
    found: int
    right: int
    switches: int
    precision: float
    recall: float
    f1: float
    whole_tracks: float
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return asdict(self)


def score(truth: pd.DataFrame, found: pd.DataFrame, matching: Matching) -> LinkScores:
    """Compare identities (column ``particle`` of both tables) over the counted pairs of `matching`.

    Parameters
    ----------
    truth, found : DataFrame
        The tables that were matched; columns ``frame, particle``.
    matching : Matching
        From `insitu.evaluate.objects.match`.

    Returns
    -------
    LinkScores
    """
    rows, counterpart = matching.truth[matching.counted], matching.found[matching.counted]
    frames = truth["frame"].to_numpy()[rows]
    true_ids = truth["particle"].to_numpy()[rows]
    found_ids = found["particle"].to_numpy()[counterpart]
    true_links, found_links = _links(true_ids, frames), _links(found_ids, frames)
    right = true_links & found_links
    precision, recall, f1 = ratios(len(right), len(found_links) - len(right), len(true_links) - len(right))
    broken = true_links - right
    tracks = {int(true_ids[a]) for a, _ in true_links}
    spoiled = {int(true_ids[a]) for a, _ in broken}
    return LinkScores(
        truth=len(true_links),
        found=len(found_links),
        right=len(right),
        switches=sum(int(found_ids[a]) != int(found_ids[b]) for a, b in broken),
        precision=precision,
        recall=recall,
        f1=f1,
        whole_tracks=1 - len(spoiled) / len(tracks) if tracks else float("nan"),
        settings=matching.settings | {"links": "between successive matched positions"},
    )


def _links(ids: NDArray[np.int64], frames: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Return the pairs (earlier, later) of successive positions of every id, as positions in the arrays."""
    order = np.lexsort((frames, ids))
    same = ids[order[1:]] == ids[order[:-1]]
    return set(zip(order[:-1][same].tolist(), order[1:][same].tolist(), strict=True))
