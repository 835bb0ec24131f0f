"""The head of a report: one sentence and four numbers, from the statistics if there are any, else from the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.report.numbers import (
    UNKNOWN,
    Number,
    counted,
    joined,
    known,
    mean_interval,
    percent,
    poisson_interval,
    said,
    within,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from insitu.report.material import Material

# share of the movie at either end over which "at the beginning" and "at the end" are averaged
_ENDS = 0.05
_FEW = 3


@dataclass(frozen=True, slots=True)
class Ends:
    """Beginning and end of a movie: particles a frame, mean radius of independent particles, and its interval."""

    number: tuple[float, float]
    radius: tuple[float | None, float | None]
    interval: tuple[tuple[float, float] | None, tuple[float, float] | None]
    particles: tuple[int, int]


def ends(material: Material) -> Ends | None:
    """Return the beginning and the end of the movie; None where no frame could be used."""
    used = material.used
    if not len(used):
        return None
    span = max(1, round(_ENDS * len(used)))
    numbers, radii, intervals, counts = [], [], [], []
    for part in (used.iloc[:span], used.iloc[-span:]):
        numbers.append(float(part["n_particles"].mean()))
        per_particle = _sizes(material.rows, int(part["frame"].min()), int(part["frame"].max()))
        radii.append(float(per_particle.mean()) if per_particle.size else None)
        intervals.append(mean_interval(per_particle))
        counts.append(len(per_particle))
    return Ends(_pair(numbers), _pair(radii), _pair(intervals), _pair(counts))


def sentence(material: Material) -> str:
    """Return what happened, in one plain sentence."""
    used = material.used
    if not len(used):
        return "No frame of this movie could be used, so there is nothing to report."
    frames = counted(len(used), "frame")
    step = material.run.calibration.s_per_frame
    lasted = "" if step is None else f" ({said((used['frame'].iloc[-1] - used['frame'].iloc[0] + 1) * step, 's')})"
    both = ends(material)
    if both is None or int(material.run.counts["particles"]) == 0:
        return f"No particle was found in {frames}{lasted}."
    if len(used) == 1:
        size = f" with a mean radius of {said(both.radius[0], material.units.length)}" if known(both.radius[0]) else ""
        return f"In the one frame that was analysed there {_are(int(both.number[0]))}{size}."
    verb = _verb(*both.number)
    first, last = (said(round(number)) for number in both.number)
    change = f"{verb} {first}" if verb == "stayed at" else f"{verb} from {first} to {last}"
    rest = _radius_clause(both, material.units.length) + _event_clause(material.events)
    return f"In {frames}{lasted} the number of particles in view {change}{rest}."


def numbers(material: Material) -> list[Number]:
    """Return four numbers with their intervals; each says what it is compared with."""
    both = ends(material)
    if both is None:
        return []
    return [_density(material, both), _mean_radius(material, both), _rate(material), _mergers(material)]


def _density(material: Material, both: Ends) -> Number:
    table, units = material.statistics.get("kinetics"), material.units
    name = units.name("number_density_per_{area}")
    if table is not None and len(table) > 1 and {f"{name}_low", f"{name}_high"} <= set(table):
        last = table.iloc[-1]
        value, interval = within(last[name], last[f"{name}_low"], last[f"{name}_high"], units.per_area)
        note = f"at the end; {said(table[name].iloc[0], units.per_area)} at the beginning"
        return Number("particles per area", value, interval, note)
    first, end = (said(round(number)) for number in both.number)
    return Number("particles in view", end, "", f"counted at the end; {first} at the beginning")


def _mean_radius(material: Material, both: Ends) -> Number:
    unit = material.units.length
    if both.radius[1] is None:
        return Number("mean radius", UNKNOWN, "", "every particle touches the edge or is in contact with another")
    pair = both.interval[1]
    value, interval = within(both.radius[1], *pair, unit) if pair else (said(both.radius[1], unit), "")
    few = "" if pair else f"; no interval from {counted(both.particles[1], 'particle')}"
    return Number("mean radius", value, interval, f"at the end; {said(both.radius[0], unit)} at the beginning{few}")


def _rate(material: Material) -> Number:
    """Return the rate constant of the law that the statistics prefer, or how fast the mean radius changes."""
    fits, units = material.statistics.get("fits"), material.units
    if fits is not None and len(fits):
        laws = fits[(fits["quantity"] == "mean_radius") & fits["model"].isin(["n2", "n3", "n4"])]
        if len(laws) and laws["decided"].any():
            best = laws[laws["decided"]].iloc[0]
            unit = f"{units.length}{'²³⁴'[int(best['n']) - 2]}/{units.time}"
            value, interval = within(best["K"], best.get("K_low"), best.get("K_high"), unit)
            return Number(
                f"coarsening rate K, n = {best['n']:.0f}", value, interval, "the data decide for this exponent"
            )
    slope = _slope(material)
    unit = f"{units.length}/{units.time}"
    if slope is None:
        return Number("growth of the mean radius", UNKNOWN, "", "needs three frames with particles away from the edge")
    value, interval = within(slope[0], slope[0] - slope[1], slope[0] + slope[1], unit)
    law = "no exponent is decided for" if fits is not None and len(fits) else "slope over the whole movie"
    return Number("growth of the mean radius", value, interval, law)


def _slope(material: Material) -> tuple[float, float] | None:
    """Return slope of the mean radius against time and half its 95 % interval.

    The standard error counts as many independent frames as the lag-1 autocorrelation of the residuals leaves.
    """
    used = material.used[material.used[material.radius].notna()]
    if len(used) < _FEW:
        return None
    time = used[material.units.time_column].to_numpy(np.float64)
    radius = used[material.radius].to_numpy(np.float64)
    centred = time - time.mean()
    spread = float((centred**2).sum())
    if spread <= 0:
        return None
    slope = float((centred * radius).sum()) / spread
    rest = radius - radius.mean() - slope * centred
    total = float((rest**2).sum())
    memory = 0.0 if total == 0 else max(0.0, min(0.99, float((rest[1:] * rest[:-1]).sum()) / total))
    independent = max(3.0, len(rest) * (1 - memory) / (1 + memory))
    return slope, 1.96 * float(np.sqrt(total / (independent - 2) * len(rest) / independent / spread))


def _mergers(material: Material) -> Number:
    share = (material.summary.get("headline") or {}).get("share_of_coalescence")
    if isinstance(share, dict) and known(share.get("value")):
        interval = f"{percent(share.get('low'))} to {percent(share.get('high'))}" if known(share.get("low")) else ""
        return Number("of the loss by coalescence", percent(share["value"]), interval, "the rest dissolved or left")
    count = int((material.events["kind"] == "coalescence").sum())
    low, high = poisson_interval(count)
    gone = int((material.events["kind"] == "dissolution").sum())
    return Number(
        "mergers",
        said(count),
        f"{said(low, digits=2)} to {said(high, digits=2)}",
        f"and {counted(gone, 'dissolution')}",
    )


def _sizes(rows: pd.DataFrame, first: int, last: int) -> NDArray[np.float64]:
    """Return the mean radius of each particle that is wholly in view, over the frames from `first` to `last`."""
    here = rows[(rows["frame"] >= first) & (rows["frame"] <= last) & ~rows["touches_edge"] & ~rows["composite"]]
    sizes: NDArray[np.float64] = here.groupby("particle")["radius"].mean().to_numpy(np.float64)
    return sizes


def _radius_clause(both: Ends, unit: str) -> str:
    first, last = both.radius
    if first is None or last is None:
        return ""
    if both.interval[1] and both.interval[0] and both.interval[1][0] < first < both.interval[1][1]:
        return f", while their mean radius stayed near {said(last, unit)}"
    verb = "grew" if last > first else "shrank"
    return f", while their mean radius {verb} from {said(first)} to {said(last, unit)} ({_change(first, last)})"


def _event_clause(events: pd.DataFrame) -> str:
    kinds = events["kind"].value_counts()
    told = [
        counted(int(kinds.get(kind, 0)), word)
        for kind, word in (("coalescence", "merger"), ("dissolution", "dissolution"), ("nucleation", "nucleation"))
        if kinds.get(kind, 0)
    ]
    if not told:
        return "; no merger and no dissolution was seen"
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    return f"; {listed} {'was' if listed.startswith('1 ') and len(told) == 1 else 'were'} seen"


def _verb(first: float, last: float) -> str:
    if round(first) == round(last):
        return "stayed at"
    return "fell" if last < first else "rose"


def _change(first: float, last: float) -> str:
    change = f"{100 * (last - first) / first:+.0f}".replace("-", "−")
    return joined(change, "%")


def _are(number: int) -> str:
    return f"{'is' if number == 1 else 'are'} {counted(number, 'particle')}"


def _pair(values: list[Any]) -> tuple[Any, Any]:
    return values[0], values[1]
