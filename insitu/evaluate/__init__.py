"""Score a run against the truth: truth tables × run tables → numbers that say how they were made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from insitu.errors import InputError
from insitu.evaluate import events, links, objects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True, slots=True)
class Scores:
    """How a run compares with the truth: particles, identities, events by kind."""

    objects: objects.ObjectScores
    links: links.LinkScores
    events: dict[str, events.EventScores]

    @property
    def events_matched(self) -> int:
        """True events found, over all kinds."""
        return sum(e.matched for e in self.events.values())

    @property
    def events_truth(self) -> int:
        """True events, over all kinds."""
        return sum(e.truth for e in self.events.values())

    @property
    def events_false(self) -> int:
        """Events found that are not in the truth, over all kinds."""
        return sum(e.found - e.matched for e in self.events.values())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, NaN as None, ready for JSON."""
        found: dict[str, Any] = {
            "objects": self.objects.as_dict(),
            "links": self.links.as_dict(),
            "events": {kind: e.as_dict() for kind, e in self.events.items()},
        }
        return {key: _without_nan(value) for key, value in found.items()}


def read_truth(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the true particles and events that `insitu simulate` left in its ``truth`` folder.

    Raises
    ------
    InputError
        There are no such tables.
    """
    import pandas as pd

    try:
        return pd.read_parquet(folder / "particles.parquet"), pd.read_parquet(folder / "events.parquet")
    except (OSError, ValueError) as error:
        raise InputError(f"no truth in '{folder}': {error}", "make one with: insitu simulate OUT") from error


def score(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    true_events: pd.DataFrame,
    found_events: pd.DataFrame,
    *,
    gate_px: float = 3.0,
    min_diameter_px: float = 0.0,
    event_frames: int = 5,
    event_distance_px: float = 15.0,
    event_kinds: Sequence[str] | None = None,
    same_kinds: Mapping[str, str] | None = None,
) -> Scores:
    """Score particles, links and events of a run.

    Parameters
    ----------
    truth, found : DataFrame
        True and found particles; columns ``frame, particle, y, x, equivalent_diameter_px, touches_edge`` (px).
    true_events, found_events : DataFrame
        Columns ``kind, frame, y, x``.
    gate_px, min_diameter_px
        As in `objects.match`.
    event_frames, event_distance_px, event_kinds, same_kinds
        As in `events.score`.

    Returns
    -------
    Scores
    """
    matching = objects.match(truth, found, gate_px=gate_px, min_diameter_px=min_diameter_px)
    return Scores(
        objects=objects.score(truth, found, matching),
        links=links.score(truth, found, matching),
        events=events.score(
            true_events,
            found_events,
            frames=event_frames,
            distance_px=event_distance_px,
            kinds=event_kinds,
            same=same_kinds,
        ),
    )


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
