"""Named movies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from insitu.simulate.movie import Simulation
from insitu.simulate.settings import SimulationSettings

DEMO = SimulationSettings(
    shape=(512, 512),
    frames=400,
    nm_per_px=0.2,
    fps=400.0,
    seed=0,
    particles=60,
    mean_diameter_nm=6.0,
    spread=0.3,
    margin_nm=10.0,
    ripening_exponent=3,
    ripening_rate=25.0,
    diffusion_nm2_per_s=2.0,
    drift_nm_per_s=(2.0, -1.5),
    gradient=0.15,
    hot_fraction=2e-5,
    gain=3.0,
    offset=5.0,
    readout_counts=1.0,
    dtype="uint8",
)
"""One second of gold at 400 frames/s: ripening, coalescences and dissolutions in view, a drifting stage."""


def demo_movie(**changes: Any) -> Simulation:  # noqa: ANN401 - fields of the settings
    """Return the movie of ``insitu demo``; `changes` are fields of `SimulationSettings`."""
    return Simulation(replace(DEMO, **changes))
