"""The tables about how particles lie, and who gains when one dissolves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.environment import hard_core, pair_correlation, size_correlation, spacing
from insitu.coarsening.gains import Snapshot, excess_share, neighbour_gain
from insitu.coarsening.looks import draws, extent, window_of

if TYPE_CHECKING:
    from insitu.coarsening.gather import Gathered
    from insitu.coarsening.individuals import Individuals
    from insitu.coarsening.looks import Looks
    from insitu.coarsening.neighbours import Neighbours

DISTANCE_BINS = 32


def gains(result: Individuals, gathered: Gathered, seen: Looks, around: dict[int, Neighbours]) -> None:
    """Put the table neighbour_gain."""
    table = gathered.events
    rows = table[(table["kind"] == "dissolution").to_numpy(bool) & (table["parents"].map(len) == 1).to_numpy(bool)]
    if not len(rows):
        result.put("neighbour_gain", {}, "no particle dissolved")
        return
    window = window_of(gathered.windows, rows["frame"].to_numpy(np.int64))
    gone = zip(rows["event"].tolist(), window.tolist(), [int(ids[0]) for ids in rows["parents"]], strict=True)
    of = gathered.records
    size = of["r"] / of["n"] * gathered.units.per_px
    sizes = {int(w): (of["particle"][of["window"] == w], size[of["window"] == w]) for w in np.unique(of["window"])}
    snapshots = {w: Snapshot(seen.moments[w].particle, found) for w, found in around.items()}
    gain = neighbour_gain(list(gone), snapshots, sizes)
    gain["time_{time}"] = gathered.windows.middle[gain["window"]]
    result.put("neighbour_gain", gain, "no dissolution away from the border and from both ends of the movie")
    options = gathered.options
    excess = excess_share(gain, draws=options.bootstrap, confidence=options.confidence, seed=options.seed)
    if excess is not None:
        result.state("neighbours_share_of_dissolved", excess.value, "", excess.low, excess.high)
        # mean-field ripening of 40 000 particles gives 0.017: the expected gain is a parabola only
        if excess.low > 0.05:
            result.caveats.append(
                "Neighbours of dissolved particles gained more than others of their size. Exchange over short "
                "distances does that, and so do small particles that went out of sight and then merged unseen: look "
                "whether particles move (`mobility`) before naming a cause."
            )


def environment(result: Individuals, gathered: Gathered, seen: Looks, around: dict[int, Neighbours]) -> None:
    """Put the tables environment and pair_correlation, for the windows that distributions are shown for."""
    region, options = extent(gathered), gathered.options
    rows, parts = [], []
    shown = {w: seen.moments[w] for w in gathered.windows.spread(options.distribution_windows).tolist()}
    shown = {w: moment for w, moment in shown.items() if len(moment) >= 2}
    # one set of bins for all: to a quarter of the region, or to eight times the distance of points at random
    density = max((len(m) for m in shown.values()), default=0) / (region[0] * region[1])
    for w, moment in shown.items():
        reach = min(0.25 * min(region), 4.0 / np.sqrt(density))
        pairs = pair_correlation(
            moment.y, moment.x, region, np.linspace(0.0, reach, DISTANCE_BINS + 1), options.confidence
        )
        near = spacing(moment.y, moment.x, moment.radius, region)
        if pairs is None or near is None:
            continue
        time = gathered.windows.middle[w]
        bins = len(pairs["g"])
        parts.append({"window": np.full(bins, w), "time_{time}": np.full(bins, time), **pairs})
        like = size_correlation(
            around[w],
            np.where(moment.sized, moment.radius, np.nan),
            draws=draws(gathered),
            seed=options.seed,
        )
        core = hard_core(pairs)
        rows.append(
            {
                "window": w,
                "time_{time}": time,
                "frame": moment.frame,
                "n_particles": near.n,
                "mean_nn_{length}": near.mean_centre,
                "mean_gap_{length}": near.mean_gap,
                "closest_{length}": near.closest,
                "clark_evans": near.clark_evans,
                "clark_evans_z": near.z,
                "hard_core_{length}": np.nan if core is None else core,
                "size_correlation": np.nan if like is None else like.correlation,
                "size_correlation_p": np.nan if like is None else like.p_value,
            }
        )
    why = "fewer than two particles in the middle frame of every window"
    result.put("environment", {n: np.array([r[n] for r in rows]) for n in rows[0]} if rows else {}, why)
    result.put("pair_correlation", {n: np.concatenate([p[n] for p in parts]) for n in parts[0]} if parts else {})
