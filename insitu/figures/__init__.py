"""Pictures: the palette, frames with what was found in them, and figures for a paper. The only home of matplotlib.

A figure function takes plain numpy columns and returns a `Drawn`: the matplotlib figure and the table behind it.
`save` writes these as SVG, PNG and CSV. Nothing here knows a run folder.
"""

from __future__ import annotations

from insitu.figures.comparison import compared, compared_windows
from insitu.figures.fates import displacements, number_balance, pair_correlation, survival
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
from insitu.figures.learning import learning
from insitu.figures.maps import Places, Strip, gallery, kymograph, track_map
from insitu.figures.scores import edge_profiles, precision_recall, size_filter, size_histograms, threshold_curves
from insitu.figures.sizes import distributions, growth
from insitu.figures.style import Drawn, Units, inline, save
from insitu.figures.timelines import Trace, counts, events_so_far, kinetics, traces

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
    "compared_windows",
    "count_of",
    "counts",
    "displacements",
    "display_range",
    "distributions",
    "edge_profiles",
    "event_colour",
    "events_so_far",
    "gallery",
    "growth",
    "inline",
    "kinetics",
    "kymograph",
    "learning",
    "number_balance",
    "outline",
    "overlay",
    "pair_correlation",
    "precision_recall",
    "save",
    "size_filter",
    "size_histograms",
    "survival",
    "threshold_curves",
    "traces",
    "track_map",
]
