"""Simulated images under the conditions that a study asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.simulate.conditions import draw_conditions, log_uniform
from insitu.simulate.lattice import require_resolved
from insitu.simulate.optics import Lens, wavelength_nm
from insitu.simulate.scene import scene_under

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.simulate.conditions import Conditions, Mode
    from insitu.study.config import Range, Simulated

_VOLTAGE_KV = 300.0
_CORRECTED = {"cs_mm": 0.001, "focal_spread_nm": 3.0, "convergence_mrad": 0.1}
# Rad of phase per unit of absorption: a crystal a few nm thick hardly absorbs 300 kV electrons and shifts their phase.
_PHASE_RATIO = 6.0
_MOST_COVERED = 0.55


def scene(options: Simulated, seed: int, number: int) -> tuple[NDArray[Any], NDArray[np.bool_], Mode]:
    """Return image `number` of a set: counts, exact mask and the sign of its contrast; it depends on nothing else."""
    rng = np.random.default_rng([options.seed, seed, number])
    while True:
        mode: Mode = "bright-field" if options.mode == "both" and rng.random() < 0.5 else "dark-field"
        mode = mode if options.mode == "both" else options.mode
        conditions = conditions_of(options, rng, mode)
        image, mask = scene_under(rng, conditions, options.radius_px)
        # where particles cover more, the level of the support cannot be told from an image alone
        if mask.mean() <= _MOST_COVERED:
            return image, mask, mode


def conditions_of(options: Simulated, rng: np.random.Generator, mode: Mode) -> Conditions:
    """Draw the conditions of one image: those of `insitu.simulate`, narrowed to what the options say."""
    side = (options.side_px, options.side_px)
    drawn = draw_conditions(
        rng, side, mode=mode, radius_px=options.radius_px, dose_e_per_px=options.dose_e_per_px, empty=options.empty
    )
    if options.plain:
        detector = replace(
            drawn.detector, dtype="uint16", gain=20.0, offset=100.0, readout_counts=3.0, hot_fraction=0.0
        )
        drawn = replace(
            drawn, lens=None, gradient=0.0, curvature=0.0, patchy_rms=0.0, blur_px=0.0, irregular=0.0, lattice=0.0,
            stretch=False, size_spread=min(drawn.size_spread, 0.25), detector=detector,
        )  # fmt: skip
    if options.nm_per_px is not None:
        drawn = replace(drawn, nm_per_px=options.nm_per_px)
    if options.contrast is not None:
        drawn = replace(drawn, contrast=_between(rng, options.contrast))
    if options.coverage is not None and drawn.coverage > 0.0:
        drawn = replace(drawn, coverage=_between(rng, options.coverage))
    if options.support is not None:
        drawn = replace(drawn, support_rms=_between(rng, options.support))
    if options.hot_fraction is not None:
        drawn = replace(drawn, detector=replace(drawn.detector, hot_fraction=options.hot_fraction))
    if options.lattice_nm is not None:
        require_resolved(options.lattice_nm, drawn.nm_per_px)
        drawn = replace(drawn, lattice=options.lattice_contrast, lattice_nm=options.lattice_nm)
    return _with_optics(options, rng, drawn)


def _with_optics(options: Simulated, rng: np.random.Generator, drawn: Conditions) -> Conditions:
    if options.optics == "absorption":
        return replace(drawn, lens=None)
    if options.optics == "phase":
        spacing = options.lattice_nm or 0.2355
        # the focus that delays the wave of these planes by a quarter: π λ Δf / d² = π / 2
        focus = spacing**2 / (2.0 * wavelength_nm(_VOLTAGE_KV))
        lens = Lens(_VOLTAGE_KV, focus * rng.uniform(0.85, 1.15), **_CORRECTED)
        return replace(drawn, lens=lens, phase_ratio=_PHASE_RATIO, support_phase_rad=rng.uniform(0.06, 0.12))
    return drawn


def _between(rng: np.random.Generator, limits: Range) -> float:
    low, high = limits
    return log_uniform(rng, low, high) if 0.0 < low < high else low
