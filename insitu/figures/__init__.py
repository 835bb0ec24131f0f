"""Pictures: the palette, frames with what was found in them, and figures for a paper. The only home of matplotlib.

A figure function takes plain numpy columns and returns a `Drawn`: the matplotlib figure and the table behind it.
`save` writes these as SVG, PNG and CSV. Nothing here knows a run folder.
"""

from __future__ import annotations

from insitu.figures.frames import (
    EVENT_COLOURS,
    PALETTE,
    Mark,
    Scene,
    bar_length,
    colour,
    count_of,
    display_range,
    event_colour,
    outline,
    overlay,
)
from insitu.figures.maps import Places, Strip, gallery, kymograph, track_map
from insitu.figures.style import Drawn, Units, inline, save
from insitu.figures.timelines import Trace, compared, counts, events_so_far, kinetics, traces

__all__ = [
    "EVENT_COLOURS",
    "PALETTE",
    "Drawn",
    "Mark",
    "Places",
    "Scene",
    "Strip",
    "Trace",
    "Units",
    "bar_length",
    "colour",
    "compared",
    "count_of",
    "counts",
    "display_range",
    "event_colour",
    "events_so_far",
    "gallery",
    "inline",
    "kinetics",
    "kymograph",
    "outline",
    "overlay",
    "save",
    "traces",
    "track_map",
]
