"""From the discs of a world to camera frames: the microscope and camera of one movie, set up once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.simulate.detector import Detector, expose, hot_pixels, illumination, modulation
from insitu.simulate.lattice import Lattice, drawn, modulation_of
from insitu.simulate.optics import (
    Lens,
    amplitude_image,
    dark_field_image,
    grain,
    interaction_rad_per_v_nm,
    padded_shape,
    padding_px,
    shifted,
    transfer,
    wave_image,
)
from insitu.simulate.shapes import patch, window
from insitu.simulate.world import CRYSTAL, IMAGING, STAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from insitu.simulate.settings import SimulationSettings
    from insitu.simulate.shapes import Shape


class Imaging:
    """The microscope and camera of one movie.

    Parameters
    ----------
    settings : SimulationSettings
    """

    def __init__(self, settings: SimulationSettings) -> None:
        self.settings = s = settings
        rng = np.random.default_rng([s.seed, IMAGING])
        self.lens = Lens(s.voltage_kv, s.defocus_nm, s.cs_mm, s.focal_spread_nm, s.convergence_mrad)
        self.waves = s.mode == "bright-field" and s.optics == "wave"
        self.padding = padding_px(self.lens, s.nm_per_px) if self.waves else 2
        self.size = padded_shape(s.shape, self.padding)
        self.detector = Detector(s.gain, s.offset, s.readout_counts, s.mtf_nyquist, s.hot_fraction, s.dtype)
        self.beam = illumination(s.shape, s.gradient, float(rng.uniform(0.0, 2.0 * np.pi)))
        self.hot = hot_pixels(rng, s.shape, self.detector)
        self.spread = modulation(s.mtf_nyquist, s.shape) if s.mtf_nyquist < 1.0 else None
        self.grain = grain(rng, self.size, s.support_grain_nm / s.nm_per_px)
        self.transfer = transfer(self.lens, self.size, s.nm_per_px) if self.waves else None
        # radians of phase per unit of absorption: both are proportional to the thickness
        self.phase_ratio = interaction_rad_per_v_nm(s.voltage_kv) * s.inner_potential_v * s.mean_free_path_nm
        self._crystals: dict[int, float] = {}
        self._planes: dict[int, Lattice] = {}
        self._still: NDArray[np.float32] | None = None

    def absorption(self, outlines: Sequence[Sequence[Shape]], particles: Sequence[int]) -> NDArray[np.float32]:
        """Return thickness over mean free path on the padded area, from the discs of each particle in frame px."""
        s = self.settings
        total = np.zeros(self.size, np.float32)
        for parts, particle in zip(outlines, particles, strict=True):
            scale = np.float32(s.nm_per_px / s.mean_free_path_nm * self.crystal(particle))
            for part in parts:
                moved = replace(part, y=part.y + self.padding, x=part.x + self.padding)
                where = window(moved, self.size)
                if where is not None:
                    thickness = scale * patch(moved, where)
                    if (planes := self.lattice(particle)) is not None:
                        thickness *= modulation_of(planes, (moved.y, moved.x), where)
                    # the two halves of a pair share volume: the thicker one counts
                    np.maximum(total[where], thickness, out=total[where])
        return total

    def lattice(self, particle: int) -> Lattice | None:
        """Return the crystal planes of this particle, always the same; None where no fringes are asked for."""
        s = self.settings
        if s.lattice_nm is None:
            return None
        if particle not in self._planes:
            rng = np.random.default_rng([s.seed, CRYSTAL, particle, 1])
            self._planes[particle] = drawn(rng, s.lattice_nm / s.nm_per_px, s.lattice_contrast)
        return self._planes[particle]

    def crystal(self, particle: int) -> float:
        """Return how much more than the mean this particle absorbs (its orientation): 1 on average, always the same."""
        if particle not in self._crystals:
            draw = np.random.default_rng([self.settings.seed, CRYSTAL, particle]).standard_normal()
            self._crystals[particle] = float(np.exp(np.clip(self.settings.contrast_spread * draw, -1.0, 1.0)))
        return self._crystals[particle]

    def support(self, drift_px: tuple[float, float]) -> NDArray[np.float32]:
        """Return the grain of the support, of unit variance, moved with the stage."""
        if drift_px != (0.0, 0.0):
            return shifted(self.grain, self.size, drift_px)
        if self._still is None:
            self._still = shifted(self.grain, self.size, drift_px)
        return self._still

    def expected(
        self, outlines: Sequence[Sequence[Shape]], particles: Sequence[int], drift_px: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float32]:
        """Return the expected electrons per px, without flicker and before the camera: float32 of shape (H, W)."""
        s = self.settings
        absorption = self.absorption(outlines, particles)
        grains = self.support(drift_px)
        if s.mode == "dark-field":
            image = dark_field_image(
                absorption, np.float32(s.support_scattering) * (1 + np.float32(s.support_rms) * grains)
            )
        elif self.transfer is None:
            image = amplitude_image(absorption, np.float32(s.support_rms) * grains)
        else:
            phase = np.float32(self.phase_ratio) * absorption + np.float32(s.support_phase_rad) * grains
            image = wave_image(absorption - np.float32(s.support_rms) * grains, phase, self.transfer)
        p = self.padding
        inner = image[p : p + s.shape[0], p : p + s.shape[1]]
        return np.asarray(inner * self.beam * np.float32(s.dose_e_per_px), np.float32)

    def expose(self, expected: NDArray[np.float32], frame: int) -> NDArray[Any]:
        """Return the camera's frame for the `expected` electrons; noise depends on seed and frame number alone."""
        s = self.settings
        rng = np.random.default_rng([s.seed, IMAGING, frame])
        beam = max(0.0, 1.0 + s.flicker * float(rng.standard_normal()))
        return expose(rng, expected * np.float32(beam), self.detector, self.spread, self.hot)


def stage_drift(s: SimulationSettings) -> NDArray[np.float64]:
    """Return the shift (y, x) of the stage in px at every frame, shape (frames, 2)."""
    rng = np.random.default_rng([s.seed, STAGE])
    steady = np.arange(s.frames)[:, None] * s.s_per_frame * np.array(s.drift_nm_per_s)
    jumps = np.zeros((s.frames, 2))
    if s.drift_jump_every and s.drift_jump_nm:
        at = np.arange(s.drift_jump_every, s.frames, s.drift_jump_every)
        jumps[at] = s.drift_jump_nm / np.sqrt(2.0) * rng.standard_normal((len(at), 2))
    shift = steady + np.cumsum(jumps, axis=0)
    if s.vibration_nm:
        shift = shift + s.vibration_nm * rng.standard_normal((s.frames, 2))
    return np.asarray(shift / s.nm_per_px)
