"""A run as layers of napari: image, labels by particle, tracks with the merger graph, events.

The layers are plain values, made without napari; `plugin` hands them to napari's reader, `insitu view` to its viewer.
"""

from __future__ import annotations

from insitu.view.layers import Layers, layers_of

__all__ = ["Layers", "layers_of"]
