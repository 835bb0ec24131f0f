"""What a reader must know before believing the numbers; each sentence is there only where it applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.distribution import DATYE

if TYPE_CHECKING:
    from insitu.coarsening.absent import Columns
    from insitu.coarsening.gather import Gathered

OUTLINES = (
    "Sizes are as the outlines were drawn, and K goes with their n-th power: radii 1 % too small make K of n = 3 "
    "3 % too small. Exponents and ratios of sizes hardly change."
)
EDGE, COMPOSITE, SMALL, VOLUME, IRREGULAR = 0.3, 0.05, 0.02, 0.1, 0.01
GIBBS_THOMSON_NM = 3.0


def caveats(gathered: Gathered, table: Columns, *, has_shapes: bool) -> list[str]:
    """Return the caveats of a run, the most basic first."""
    return [
        *_calibration(gathered),
        *_sizes(gathered),
        *([OUTLINES] if (table["n_rows"] > 0).sum() > 1 else []),
        *_volume(gathered, table),
        *_small_crystals(gathered, table),
        *([DATYE] if has_shapes else []),
    ]


def _calibration(gathered: Gathered) -> list[str]:
    info, said = gathered.info, []
    if not info.finished:
        said.append("The run is not finished: these are the statistics of the frames that are safe so far.")
    if info.calibration.nm_per_px is None:
        said.append("The pixel size is unknown: lengths are in px and areas in 10⁶ px². Give it with --nm-per-px.")
    if info.calibration.s_per_frame is None:
        said.append("The time of a frame is unknown: times are in frames and rates per frame. Give it with --fps.")
    steps = np.diff(gathered.windows.time) / np.maximum(np.diff(gathered.windows.frame), 1)
    if len(steps) and info.calibration.s_per_frame is not None and np.ptp(steps) > IRREGULAR * abs(np.median(steps)):
        said.append(
            f"The time base is irregular: frames are {steps.min():.4g} to {steps.max():.4g} s apart; "
            "the recorded times are used."
        )
    return said


def _sizes(gathered: Gathered) -> list[str]:
    total = {name: float(gathered.frames[name].sum()) for name in ("n_all", "n_edge", "n_composite", "n", "n_small")}
    said = []
    if (share := total["n_edge"] / total["n_all"]) > EDGE:
        said.append(
            f"{100 * share:.0f} % of all rows touch the edge. Border weights mend the mean only for sizes that fit "
            "into the region."
        )
    if (share := total["n_composite"] / total["n_all"]) > COMPOSITE:
        said.append(
            f"{100 * share:.0f} % of all rows are composites, several particles measured as one: they have no size and "
            "count as one particle."
        )
    if (share := total["n_small"] / total["n"]) > SMALL:
        said.append(
            f"{100 * share:.0f} % of all sizes have a radius below {gathered.options.detection_radius_px:g} px, near "
            "the detection limit: small particles vanish from the tables before they vanish from the support."
        )
    return said


def _volume(gathered: Gathered, table: Columns) -> list[str]:
    angle = gathered.options.contact_angle_deg
    said = [f"Volumes are those of spherical caps with a contact angle of {angle:g}°, the same at all sizes and times."]
    volume = table["volume_relative"][np.isfinite(table["volume_relative"])]
    if len(volume) and abs(change := volume[-1] - 1) > VOLUME:
        said.append(
            f"The volume proxy changed by {100 * change:+.0f} % over the movie: material is lost or gained "
            "(evaporation, exchange with what is out of view), or sizes are biased. "
            "The growth laws n = 2, 3, 4 assume that it is conserved."
        )
    return said


def _small_crystals(gathered: Gathered, table: Columns) -> list[str]:
    radius = table["mean_radius_{length}"]
    if gathered.units.length != "nm" or not (smallest := float(np.nanmin(radius))) < GIBBS_THOMSON_NM:
        return []
    said = (
        f"⟨r⟩ is as small as {smallest:.1f} nm: below about {GIBBS_THOMSON_NM:g} nm the linearised Gibbs–Thomson "
        "relation behind n = 2, 3, 4 fails, and small particles dissolve faster than these laws say."
    )
    return [said]
