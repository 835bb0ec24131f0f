"""What a simulated movie is made of: physical parameters (nm, s, e⁻/px), each with its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Annotated, Literal

from insitu.errors import CommandError
from insitu.options import Doc
from insitu.simulate.lattice import require_resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSettings:
    """Specimen, its physics, the microscope and the camera.

    A particle is seen from above as a disc; lengths of particles are diameters of that disc.
    """

    shape: Annotated[tuple[int, int], Doc("Height and width of a frame in px.")] = (512, 512)
    frames: Annotated[int, Doc("Number of frames.", ge=1)] = 400
    nm_per_px: Annotated[float, Doc("Pixel size in nm.", gt=0.0)] = 0.2
    fps: Annotated[float, Doc("Frames per second.", gt=0.0)] = 400.0
    seed: Annotated[int, Doc("Same seed, same movie.", ge=0)] = 0

    particles: Annotated[int, Doc("Particles per frame area at the start (others lie beyond the border).", ge=0)] = 60
    mean_diameter_nm: Annotated[float, Doc("Mean diameter.", gt=0.0)] = 6.0
    spread: Annotated[float, Doc("Standard deviation over mean of a log-normal size distribution.", ge=0.0)] = 0.25
    distribution: Annotated[
        Literal["log-normal", "self-similar"],
        Doc("Log-normal, or the distribution that ripening tends to (then `spread` has no meaning)."),
    ] = "log-normal"
    gap_nm: Annotated[float, Doc("Smallest gap between outlines at the start.", ge=0.0)] = 1.0
    contact_angle_deg: Annotated[float, Doc("Contact angle through the particle; 180 = sphere.", gt=0.0, le=180.0)] = (
        120.0
    )
    margin_nm: Annotated[
        float | None, Doc("Width of populated support beyond the frame; none = as far as the drift carries it.", ge=0.0)
    ] = None

    ripening_exponent: Annotated[int, Doc("n of dr/dt = k r^-(n-1) (r/r* − 1).", ge=2, le=4)] = 3
    ripening_rate: Annotated[float, Doc("k in nmⁿ/s; 0 = no ripening.", ge=0.0)] = 25.0
    evaporation_nm_per_s: Annotated[float, Doc("Speed at which every radius shrinks besides ripening.", ge=0.0)] = 0.0
    deposition_nm_per_s: Annotated[float, Doc("Speed at which every radius grows besides ripening.", ge=0.0)] = 0.0
    dissolution_diameter_nm: Annotated[float, Doc("Diameter at which a particle dissolves.", gt=0.0)] = 0.6
    nucleation_per_um2_s: Annotated[float, Doc("Particles born per µm² and s, at `nucleus_diameter_nm`.", ge=0.0)] = 0.0
    nucleus_diameter_nm: Annotated[float, Doc("Diameter of a nucleus.", gt=0.0)] = 0.8
    diffusion_nm2_per_s: Annotated[
        float, Doc("Diffusion constant of a particle of the mean diameter (⟨Δr²⟩ = 4 D t).", ge=0.0)
    ] = 2.0
    diffusion_exponent: Annotated[float, Doc("m of D ∝ r^−m; 4 for surface diffusion.", ge=0.0, le=8.0)] = 2.0
    relax_frames: Annotated[int, Doc("Frames a touching pair takes to become round; 0 = at once.", ge=0)] = 6

    drift_nm_per_s: Annotated[tuple[float, float], Doc("Steady stage drift (y, x).")] = (0.0, 0.0)
    drift_jump_nm: Annotated[float, Doc("Rms length of a sudden stage jump.", ge=0.0)] = 0.0
    drift_jump_every: Annotated[int, Doc("Frames between stage jumps; 0 = never.", ge=0)] = 0
    vibration_nm: Annotated[float, Doc("Rms displacement (y and x each) of a frame as a whole.", ge=0.0)] = 0.0

    mode: Annotated[Literal["bright-field", "dark-field"], Doc("Dark or bright particles.")] = "bright-field"
    optics: Annotated[
        Literal["wave", "amplitude"], Doc("Bright field with interference (fringes, grain), or absorption alone.")
    ] = "wave"
    voltage_kv: Annotated[float, Doc("Acceleration voltage.", gt=0.0)] = 300.0
    defocus_nm: Annotated[float, Doc("Defocus, positive = underfocus.")] = 300.0
    cs_mm: Annotated[float, Doc("Spherical aberration.", ge=0.0)] = 1.2
    focal_spread_nm: Annotated[float, Doc("Rms focal spread.", ge=0.0)] = 5.0
    convergence_mrad: Annotated[float, Doc("Semi-angle of the illumination.", ge=0.0)] = 0.1
    mean_free_path_nm: Annotated[
        float, Doc("Path in the particle after which 1/e of the beam is left (bright) or unscattered (dark).", gt=0.0)
    ] = 15.0
    inner_potential_v: Annotated[float, Doc("Mean inner potential of the particle.")] = 28.0
    contrast_spread: Annotated[
        float, Doc("Relative spread of absorption between particles (crystal orientation).", ge=0.0, le=1.0)
    ] = 0.1
    lattice_nm: Annotated[
        float | None,
        Doc("Distance of the crystal planes whose fringes are drawn (Au 111: 0.2355); none = none.", gt=0.0),
    ] = None
    lattice_contrast: Annotated[
        float,
        Doc("Amplitude of the fringes relative to the thickness; each particle has its direction.", ge=0.0, le=1.0),
    ] = 0.3
    support_phase_rad: Annotated[float, Doc("Rms phase grain of the amorphous support (wave).", ge=0.0)] = 0.08
    support_rms: Annotated[float, Doc("Rms relative intensity grain of the support.", ge=0.0)] = 0.01
    support_grain_nm: Annotated[float, Doc("Size of the grain.", gt=0.0)] = 0.4
    support_scattering: Annotated[
        float, Doc("Share of the beam the support sends to the dark-field detector.", ge=0.0, le=0.9)
    ] = 0.03

    dose_e_per_px: Annotated[float, Doc("Electrons per px and frame without specimen.", gt=0.0)] = 40.0
    gradient: Annotated[float, Doc("Difference of illumination between opposite sides over its mean.", ge=0.0)] = 0.1
    flicker: Annotated[float, Doc("Rms relative change of the dose from frame to frame.", ge=0.0, le=0.3)] = 0.01
    mtf_nyquist: Annotated[float, Doc("Camera's modulation transfer at Nyquist; 1 = perfect.", gt=0.0, le=1.0)] = 0.4
    gain: Annotated[float, Doc("Counts per electron.", gt=0.0)] = 25.0
    offset: Annotated[float, Doc("Counts of an unexposed pixel.", ge=0.0)] = 100.0
    readout_counts: Annotated[float, Doc("Rms readout noise in counts.", ge=0.0)] = 3.0
    hot_fraction: Annotated[float, Doc("Share of hot pixels.", ge=0.0, le=0.1)] = 0.0
    dtype: Annotated[Literal["uint8", "uint16"], Doc("Type of a pixel; values are clipped to its range.")] = "uint16"

    visible_diameter_px: Annotated[
        float, Doc("Smaller particles are drawn but stand in no truth: no row, no mask, no event.", ge=0.0)
    ] = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        check(self)

    @property
    def visible_pixels(self) -> int:
        """Pixels of a particle that must lie in the frame for it to be seen."""
        return max(1, int(0.25 * pi * self.visible_diameter_px**2))

    @property
    def s_per_frame(self) -> float:
        """Time from frame to frame in s."""
        return 1.0 / self.fps


def check(settings: SimulationSettings) -> None:
    """Raise `CommandError` for a value outside its range, naming both."""
    from typing import get_type_hints

    for name, hint in get_type_hints(SimulationSettings, include_extras=True).items():
        doc: Doc = hint.__metadata__[0]
        value = getattr(settings, name)
        if not isinstance(value, int | float):
            continue
        low = value < doc.ge if doc.ge is not None else doc.gt is not None and value <= doc.gt
        if low or (doc.le is not None and value > doc.le) or value != value:  # noqa: PLR0124 - NaN is no setting
            raise CommandError(f"simulation setting {name} = {value} is outside its range", f"{name}: {doc.text}")
    if settings.lattice_nm is not None:
        require_resolved(settings.lattice_nm, settings.nm_per_px)
    if min(settings.shape) < 8:
        raise CommandError(f"frames of {settings.shape} px are too small", "give at least 8×8 px")
    if settings.mean_diameter_nm <= settings.dissolution_diameter_nm:
        raise CommandError(
            f"mean diameter {settings.mean_diameter_nm} nm is not above the dissolution diameter "
            f"{settings.dissolution_diameter_nm} nm",
            "lower dissolution_diameter_nm or raise mean_diameter_nm",
        )
    if settings.nucleation_per_um2_s and settings.nucleus_diameter_nm <= settings.dissolution_diameter_nm:
        raise CommandError(
            f"nucleus diameter {settings.nucleus_diameter_nm} nm is not above the dissolution diameter "
            f"{settings.dissolution_diameter_nm} nm",
            "raise nucleus_diameter_nm",
        )
