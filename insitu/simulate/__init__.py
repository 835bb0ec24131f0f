"""Movies and images of supported particles with exact truth, from physics (nm, s, e⁻/px).

`random_scene` gives single images for training; `Simulation` gives movies of a coarsening population.
"""

from __future__ import annotations

from insitu.simulate.movie import Simulation
from insitu.simulate.scene import random_scene
from insitu.simulate.settings import SimulationSettings

__all__ = ["Simulation", "SimulationSettings", "random_scene"]
