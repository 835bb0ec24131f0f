"""⟨r⟩, N, coverage and volume in time windows, from closed sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening.families import interval
from insitu.coarsening.intervals import clustered_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns
    from insitu.coarsening.families import FamilyBootstrap
    from insitu.coarsening.gather import Gathered

# field over field that gives each radius, in the sums of `families.FIELDS`
RADII = {
    "mean_radius": ("wr", "w"),
    "critical_radius_n2": ("wr2", "wr"),
    "critical_radius_n3": ("wr", "w"),
    "critical_radius_n4": ("w", "w_r"),
}


def cap_volume(r: NDArray[np.float64] | float, contact_angle_deg: float) -> NDArray[np.float64]:
    """Return the volume of a supported spherical cap seen from above.

    V = π R³/3 · (2 − 3 cos θ + cos³ θ); seen from above, r is the contact line, R = r/sin θ, up to 90°, and the sphere
    itself, R = r, beyond. θ is the contact angle through the particle (Wynblatt & Gjostein 1975,
    doi:10.1016/0079-6786(75)90013-8).

    Parameters
    ----------
    r : array
        Projected radius.
    contact_angle_deg : float
        θ in degrees, above 0, at most 180.

    Returns
    -------
    float64 array
        Volume, in the unit of `r` cubed.
    """
    theta = np.deg2rad(contact_angle_deg)
    sphere = np.asarray(r, np.float64) / np.sin(min(theta, np.pi / 2))
    return np.asarray(np.pi * sphere**3 / 3 * (2 - 3 * np.cos(theta) + np.cos(theta) ** 3))


def kinetics(gathered: Gathered, bootstrap: FamilyBootstrap) -> Columns:
    """Return the table ``kinetics`` (names as in `columns.KINETICS`); NaN where a window holds no size."""
    windows, units, options = gathered.windows, gathered.units, gathered.options
    total = {name: windows.total(values) for name, values in gathered.frames.items()}
    first, last = windows.bounds()
    scale = units.per_px
    moments = _moments(total, scale)
    area = np.asarray(units.area_of(gathered.info.region) * windows.n_frames)
    density = total["w_present"] / area
    volume = float(cap_volume(1.0, options.contact_angle_deg)) * moments["s3"] / _region(gathered)
    table: Columns = {
        "window": np.arange(len(windows)),
        "first_frame": first,
        "last_frame": last,
        "time_{time}": windows.middle,
        "n_frames": windows.n_frames,
        "n_rows": total["n"],
        "n_particles": np.bincount(gathered.records["window"], minlength=len(windows)),
        **_radii(moments),
        "number_density_per_{area}": density,
        "coverage": total["area_all"] / (windows.n_frames * np.prod(gathered.info.region, dtype=np.float64)),
        "volume_per_area_{length}": volume,
        "volume_relative": over(volume, volume[0]),
        "dispersion_proxy_per_{length}": over(np.pi * moments["s2"] / _region(gathered), volume),
        "share_edge": over(total["n_edge"], total["n_all"]),
        "share_composite": over(total["n_composite"], total["n_all"]),
        "share_small": over(total["n_small"], total["n"]),
    }
    mean = over(total["wr1"], total["wr0"])
    shared = frame_scatter(gathered.frames) * mean / np.sqrt(windows.n_frames)
    low, high = _radius_interval(bootstrap, options.confidence, mean, shared)
    ends = {"mean_radius_{length}": (low * scale, high * scale)}
    ends["number_density_per_{area}"] = _density_interval(bootstrap, options.confidence, total, area)
    for name, (low, high) in ends.items():
        table[f"{name}_low"], table[f"{name}_high"] = low, high
    return table


def _region(gathered: Gathered) -> NDArray[np.float64]:
    """Return the analysed area in length units², times the frames of each window."""
    region = np.prod(gathered.info.region, dtype=np.float64) * gathered.units.per_px**2
    return np.asarray(region * gathered.windows.n_frames)


def _moments(total: dict[str, NDArray[Any]], scale: float) -> dict[str, NDArray[np.float64]]:
    """Return the border-weighted sums Σ w rᵏ as ``s-1`` … ``s6``, in length units, and the unweighted mean."""
    sums = {f"s{k}": total[f"wr{k}"] * scale**k for k in range(-1, 7)}
    return sums | {"unweighted": over(total["r"] * scale, total["n"])}


def _radii(s: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    mean = over(s["s1"], s["s0"])
    second, third = over(s["s2"], s["s0"]), over(s["s3"], s["s0"])
    variance = np.maximum(second - mean**2, 0.0)
    # below this the variance is rounding, not scatter
    variance = np.where(variance > 1e-12 * second, variance, 0.0)
    return {
        "mean_radius_{length}": mean,
        "unweighted_mean_radius_{length}": s["unweighted"],
        "mean_radius_cubed_{length}3": third,
        "relative_std": over(np.sqrt(variance), mean),
        "skewness": over(third - 3 * mean * second + 2 * mean**3, variance**1.5),
        "d32_{length}": 2 * over(s["s3"], s["s2"]),
        "d43_{length}": 2 * over(s["s4"], s["s3"]),
        "critical_radius_n2_{length}": over(s["s2"], s["s1"]),
        "critical_radius_n3_{length}": mean,
        "critical_radius_n4_{length}": over(s["s0"], s["s-1"]),
    }


def frame_scatter(frames: dict[str, NDArray[Any]]) -> float:
    """Return by what share ⟨r⟩ of whole frames is off at random (focus, threshold), which no bootstrap over them tells.

    From second differences of neighbouring frames, whose variance is six times that of a frame; their median, so that
    particles that come and go, which the bootstrap does know of, do not count.
    """
    mean = frames["wr1"][frames["wr0"] > 0] / frames["wr0"][frames["wr0"] > 0]
    if len(mean) < 5:
        return 0.0
    bend = np.abs(mean[:-2] - 2 * mean[1:-1] + mean[2:]) / mean[1:-1]
    return float(1.4826 * np.median(bend) / np.sqrt(6))


def _radius_interval(
    bootstrap: FamilyBootstrap, confidence: float, mean: NDArray[np.float64], shared: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the interval of ⟨r⟩: particles drawn anew, and `shared`, the error of whole frames, in quadrature."""
    from scipy.special import ndtri

    if bootstrap.why_none:
        return np.full(len(mean), np.nan), np.full(len(mean), np.nan)
    low, high = interval(bootstrap.ratio("wr", "w"), mean, bootstrap.number, confidence)
    reach = float(ndtri((1 + confidence) / 2)) * shared
    # the shift that corrects a bias may move an end to the other side of the mean
    down, up = (np.where(d > 0, np.hypot(d, reach), np.maximum(d, reach)) for d in (mean - low, high - mean))
    return mean - down, mean + up


def _density_interval(
    bootstrap: FamilyBootstrap, confidence: float, total: dict[str, NDArray[Any]], area: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = clustered_interval(total["wr0"], bootstrap.squares, confidence)
    # composites are counted as one particle each; their number has no interval of its own
    rest = total["w_present"] - total["wr0"]
    return (low + rest) / area, (high + rest) / area


def over(above: NDArray[Any], below: NDArray[Any] | float) -> NDArray[np.float64]:
    """Return a ratio; NaN where there is nothing below."""
    below = np.broadcast_to(np.asarray(below, np.float64), np.shape(above))
    out = np.full(np.shape(above), np.nan)
    return np.asarray(np.divide(above, below, out=out, where=below > 0))
