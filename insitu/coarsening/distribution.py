"""Size distributions at a few times: histogram, smooth density, moments, and how far four shapes are off.

Each particle counts once in a window, with its mean radius there and its border weight; the histogram alone counts
rows, since it is a sum that streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.coarsening import shapes
from insitu.coarsening.absent import Absent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.coarsening.absent import Columns
    from insitu.coarsening.gather import Gathered

DATYE = (
    "A size distribution alone proves no mechanism: distributions left by ripening and by coalescence are both fitted "
    "by a log-normal (Datye et al. 2006, doi:10.1016/j.cattod.2005.10.013)."
)
MIN_PARTICLES = 10
_DRAWS = 999
_SAMPLE = 1000
_KDE_PARTICLES = 20_000


def distributions(gathered: Gathered) -> tuple[Columns, Columns, list[Absent]]:
    """Return the tables ``distributions`` and ``distribution_fits``, and what could not be computed.

    Windows are evenly spread from the first to the last.
    """
    bins: list[Columns] = []
    fits: list[Columns] = []
    without: dict[str, list[str]] = {}
    for window in gathered.windows.spread(gathered.options.distribution_windows).tolist():
        r, weight = particle_sizes(gathered, window)
        fitted: dict[str, shapes.Fitted] = {}
        if len(r) >= MIN_PARTICLES:
            found = {m: shapes.fitted(m, r, weight) for m in shapes.MODELS}
            fitted = {m: f for m, f in found.items() if f is not None}
        if not fitted:
            few = f"fewer than {MIN_PARTICLES} particles" if len(r) < MIN_PARTICLES else "all particles have one size"
            without.setdefault(few, []).append(str(window))
        if len(r):
            bins.append(_bins(gathered, window, r, weight, fitted))
        if fitted:
            fits.append(_fits(gathered, window, r, weight, fitted))
    absent = [Absent(f"size distribution fits, window {', '.join(w)}", why) for why, w in without.items()]
    return _stacked(bins), _stacked(fits), absent


def particle_sizes(gathered: Gathered, window: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean radius (length units) and mean border weight of each particle of a window."""
    records = gathered.records
    mine = slice(*np.searchsorted(records["window"], [window, window + 1]))
    n = records["n"][mine]
    return records["r"][mine] / n * gathered.units.per_px, records["w"][mine] / n


def moments(r: NDArray[np.float64], weight: NDArray[np.float64]) -> dict[str, float]:
    """Return weighted mean, median, relative standard deviation, skewness, D32 and D43; D are diameters."""
    total = weight.sum()
    mean = float((weight * r).sum() / total)
    deviation = r - mean
    std = float(np.sqrt((weight * deviation**2).sum() / total))
    order = np.argsort(r)
    below = np.cumsum(weight[order]) - weight[order] / 2
    s2, s3, s4 = (float((weight * r**k).sum()) for k in (2, 3, 4))
    return {
        "mean_radius_{length}": mean,
        "median_radius_{length}": float(np.interp(total / 2, below, r[order])),
        "relative_std": std / mean,
        "skewness": float((weight * deviation**3).sum() / total) / std**3,
        "d32_{length}": 2 * s3 / s2,
        "d43_{length}": 2 * s4 / s3,
    }


def smooth(r: NDArray[np.float64], weight: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return a Gaussian kernel density at some radii (M,); None where sizes do not scatter.

    Its width is Silverman's, σ (3n/4)^(−1/5), with (Σw)²/Σw² for n (Silverman 1986, doi:10.1201/9781315140919).
    """
    if len(r) < MIN_PARTICLES or r.std() < 1e-9 * r.mean():
        return None
    if len(r) > _KDE_PARTICLES:
        picked = np.linspace(0, len(r) - 1, _KDE_PARTICLES).astype(np.int64)
        order = np.argsort(r)[picked]
        r, weight = r[order], weight[order]
    share = weight / weight.sum()
    effective = 1 / float((share**2).sum())
    variance = float((share * (r - share @ r) ** 2).sum()) / (1 - 1 / effective)
    width = np.sqrt(variance) * (0.75 * effective) ** -0.2
    z = (at[:, None] - r[None]) / width
    return np.asarray(np.exp(-z * z / 2) @ share / (np.sqrt(2 * np.pi) * width))


def _bins(
    gathered: Gathered,
    window: int,
    r: NDArray[np.float64],
    weight: NDArray[np.float64],
    fitted: dict[str, shapes.Fitted],
) -> Columns:
    edges = gathered.histogram.edges_px * gathered.units.per_px
    count, held = gathered.histogram.count[window], gathered.histogram.weight[window]
    filled = np.flatnonzero(count)
    # one empty bin at each end, so that a drawn histogram comes down to zero
    shown = np.arange(max(filled[0] - 1, 0), min(filled[-1] + 2, len(count)))
    low, high = edges[shown], edges[shown + 1]
    middle = np.sqrt(low * high)
    none = np.full(len(shown), np.nan)
    density = smooth(r, weight, middle)
    return {
        "window": np.full(len(shown), window),
        "time_{time}": np.full(len(shown), gathered.windows.middle[window]),
        "bin": np.arange(len(shown)),
        "radius_low_{length}": low,
        "radius_high_{length}": high,
        "count": count[shown],
        "weight": held[shown],
        "density_per_{length}": held[shown] / held.sum() / (high - low),
        "kde_per_{length}": none if density is None else density,
        **{f"{m}_per_{{length}}": fitted[m].pdf(middle) if m in fitted else none for m in shapes.MODELS},
    }


def _fits(
    gathered: Gathered,
    window: int,
    r: NDArray[np.float64],
    weight: NDArray[np.float64],
    fitted: dict[str, shapes.Fitted],
) -> Columns:
    # weights make a sample count for fewer than it has
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    rows: list[dict[str, Any]] = []
    for model, law in fitted.items():
        ks = shapes.distance(law, r, weight)
        # one particle that outweighs all others leaves a sample of one, which has no spread to fit
        size = min(max(2, round(effective)), _SAMPLE)
        null = shapes.null_distances(model, size, _DRAWS, gathered.options.seed)
        above = len(null) - int(np.searchsorted(null, ks * np.sqrt(effective)))
        rows.append({
            "window": window,
            "time_{time}": gathered.windows.middle[window],
            "n_particles": len(r),
            **moments(r, weight),
            "model": model,
            "scale_{length}": law.scale,
            "shape": law.shape,
            "ks": ks,
            "p_value": (1 + above) / (1 + len(null)),
        })  # fmt: skip
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _stacked(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} if parts else {}
