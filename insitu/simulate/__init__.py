"""Movies and images of supported particles with exact truth, from physics (nm, s, e⁻/px).

`random_scene` gives single images for training; `Simulation` gives movies of a coarsening population, frame by frame,
with their masks, tracks and events; `write_tiff` and `drop_frames` put them on disk as a file or as a camera does.
"""

from __future__ import annotations

from insitu.simulate.camera import Manner, drop_frames, grow_file
from insitu.simulate.movie import Simulation
from insitu.simulate.presets import demo_movie
from insitu.simulate.scene import random_scene
from insitu.simulate.settings import SimulationSettings
from insitu.simulate.tiff import write_tiff

__all__ = [
    "Manner",
    "Simulation",
    "SimulationSettings",
    "demo_movie",
    "drop_frames",
    "grow_file",
    "random_scene",
    "write_tiff",
]
