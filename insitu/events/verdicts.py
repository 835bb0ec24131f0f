"""The wording of a verdict: from what is known of a track or a merger to one `Event`.

Confidence of each kind, all within 0…1 (`mergers` has that of a coalescence and of a splitting):

- dissolution: 1 - last area / largest area
- leaving, entering: 1 / (1 + gap to the border / (1 px + 2 mean steps)); entering times the presence
- appearance: the presence, the share of the frames watched in which the new particle was seen
- nucleation: presence · (1 - first area / last area)
- lost: 0.5, as nothing speaks for anything else; times seen / birth_frames for what was seen in fewer frames
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from insitu.events.histories import declines, mean_step, median
from insitu.types import Event

if TYPE_CHECKING:
    from insitu.events.histories import Histories
    from insitu.events.mergers import Lone, Merger, Pair
    from insitu.options import EventOptions
    from insitu.types import EventKind


def coalescence(found: Merger, lone: dict[int, Lone], histories: Histories, index: int) -> Event:
    """Word a merger: all that went in are parents, the one that is there afterwards is the child."""
    pairs, tracks = found.pairs, histories.tracks
    frame, child = found.frame, found.other
    parents = {p: lone[p].area for p in found.guests}
    if not found.fresh:
        parents[child] = pairs[0].last
    order = sorted(parents, key=lambda p: (-parents[p], p))
    area = pairs[0].after[0]
    y, x = place(histories, child, frame)
    volume = sum(a**1.5 for a in parents.values())
    rows = histories.rows_of(np.array([*order, child]))
    approach = [p.approach for p in pairs if math.isfinite(p.approach)]
    return Event(
        kind="coalescence",
        frame=frame,
        decided_frame=index,
        y=y,
        x=x,
        parents=tuple(order),
        children=(child,),
        parent_areas_px=tuple(int(parents[p]) for p in order),
        child_areas_px=(int(area),),
        contact_frame=frame,
        gap_px=min(p.gap for p in pairs),
        approach_px_per_frame=max(approach, default=None),
        volume_balance=(area**1.5 - volume) / volume,
        touches_edge=bool((tracks["border"][rows] <= 0).any()),
        confidence=found.confidence,
    )


def end(row: int, lone: Lone, histories: Histories, options: EventOptions, index: int) -> Event:
    """Word the end of one track that did not merge: leaving at the border, dissolution if it shrank, lost otherwise."""
    track = {name: values[row] for name, values in histories.tracks.items()}
    path = histories.sightings(row)
    reach = 1 + 2 * mean_step(path) + float(track["slip"])
    border = float(track["border"])
    # Seen too shortly to have lost that much, a particle has shrunk if it did so surely until it went out of sight.
    shrunk = lone.shrunk < options.shrink_fraction or (lone.fading and lone.shrunk < 1 and declines(path))
    kind: EventKind = "lost"
    confidence = 0.5 * min(1.0, float(track["seen"]) / max(options.birth_frames, 1))
    if track["swept"]:
        pass
    elif border <= 0 or (border <= reach and not shrunk):
        kind, confidence = "leaving", 1 / (1 + border / reach)
    elif shrunk:
        kind, confidence = "dissolution", 1 - lone.shrunk
    return Event(
        kind=kind,
        frame=int(track["absent_frame"]),
        decided_frame=index,
        y=float(path[-1, 4]),
        x=float(path[-1, 5]),
        parents=(int(track["particle"]),),
        parent_areas_px=(int(path[-1, 3]),),
        touches_edge=border <= 0,
        confidence=confidence,
        note="together with most others" if track["swept"] else "",
    )


def interrupted(row: int, histories: Histories, index: int) -> Event:
    """Word the end of a track at a gap that was too long."""
    track = {name: values[row] for name, values in histories.tracks.items()}
    path = histories.sightings(row)
    return Event(
        kind="lost",
        frame=index,
        decided_frame=index,
        y=float(path[-1, 4]),
        x=float(path[-1, 5]),
        parents=(int(track["particle"]),),
        parent_areas_px=(int(path[-1, 3]),),
        touches_edge=float(track["border"]) <= 0,
        note=f"nothing was seen between frames {int(path[-1, 0])} and {index}",
    )


def beginning(row: int, histories: Histories, options: EventOptions, index: int) -> Event:
    """Word the beginning of one track that did not come out of a merger or a splitting."""
    track = {name: values[row] for name, values in histories.tracks.items()}
    path = histories.sightings(row)
    presence = min(1.0, float(track["seen"]) / (float(track["watched"]) + 1))
    reach = 1 + 2 * mean_step(path) + float(track["first_slip"])
    border, area = float(track["first_border"]), float(track["first_area"])
    grown = median(path[-3:, 3].tolist()) / area
    kind: EventKind = "appearance"
    confidence = presence
    if border <= reach:
        kind, confidence = "entering", presence / (1 + border / reach)
    elif track["seen"] > 3 and grown * options.shrink_fraction >= 1:
        kind, confidence = "nucleation", presence * (1 - 1 / grown)
    return Event(
        kind=kind,
        frame=int(track["first_frame"]),
        decided_frame=index,
        y=float(track["first_y"]),
        x=float(track["first_x"]),
        children=(int(track["particle"]),),
        child_areas_px=(int(area),),
        touches_edge=border <= 0,
        confidence=confidence,
    )


def splitting(row: int, pair: Pair, confidence: float, histories: Histories, index: int) -> Event:
    """Word the beginning of a track that came out of another one, which goes on."""
    track = {name: values[row] for name, values in histories.tracks.items()}
    particle, parent = int(track["particle"]), pair.other
    areas = {parent: pair.after[0], particle: float(track["first_area"])}
    children = tuple(sorted(areas, key=lambda p: (-areas[p], p)))
    volume = pair.last**1.5
    return Event(
        kind="splitting",
        frame=int(track["first_frame"]),
        decided_frame=index,
        y=float(track["first_y"]),
        x=float(track["first_x"]),
        parents=(parent,),
        children=children,
        parent_areas_px=(int(pair.last),),
        child_areas_px=tuple(int(areas[p]) for p in children),
        gap_px=pair.gap,
        volume_balance=(sum(a**1.5 for a in areas.values()) - volume) / volume,
        touches_edge=float(track["first_border"]) <= 0,
        confidence=confidence,
    )


def place(histories: Histories, particle: int, frame: int) -> tuple[float, float]:
    """Return where a live track was in `frame`, or at the earliest sighting still remembered."""
    path = histories.sightings(histories.row_of(particle))
    at = path[np.argmin(np.abs(path[:, 0] - frame))]
    return float(at[4]), float(at[5])
