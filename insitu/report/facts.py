"""The head of a report: one sentence and four numbers, from the statistics if there are any, else from the tables."""

from __future__ import annotations

import math
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
_SMALL_CHANGE = 0.03  # of the number or the radius: less is not worth a word


@dataclass(frozen=True, slots=True)
class Ends:
    """Beginning and end of a movie: particles a frame, mean radius, and its 95 % interval where there is one."""

    number: tuple[float, float]
    radius: tuple[float | None, float | None]
    interval: tuple[tuple[float, float] | None, tuple[float, float] | None]
    particles: tuple[int, int]


def ends(material: Material) -> Ends | None:
    """Return the beginning and the end of the movie; None where no frame could be used.

    The mean radius is that of the coarsening statistics where these have one, so that a page holds one value for it.
    """
    used = material.used
    if not len(used):
        return None
    span = max(1, round(_ENDS * len(used)))
    numbers, radii, intervals, counts = [], [], [], []
    for part, when in ((used.iloc[:span], "first"), (used.iloc[-span:], "last")):
        numbers.append(float(part["n_particles"].mean()))
        per_particle = _sizes(material.rows, int(part["frame"].min()), int(part["frame"].max()))
        counts.append(len(per_particle))
        told = None if material.recalibrated else headline(material, f"mean_radius_{when}")
        radii.append(told[0] if told else float(per_particle.mean()) if per_particle.size else None)
        intervals.append(told[1] if told else mean_interval(per_particle))
    return Ends(_pair(numbers), _pair(radii), _pair(intervals), _pair(counts))


def headline(material: Material, name: str) -> tuple[float, tuple[float, float] | None, str] | None:
    """Return value, interval and unit of a headline number of the statistics; None where they have none."""
    told = (material.summary.get("headline") or {}).get(name)
    if not isinstance(told, dict) or not known(told.get("value")):
        return None
    low, high = (told.get(end, math.nan) for end in ("low", "high"))
    interval = (float(low), float(high)) if known(low) and known(high) else None
    return float(told["value"]), interval, str(told.get("unit", ""))


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
    change = f"{verb} {last}" if verb.startswith("stayed") else f"{verb} from {first} to {last}"
    rest = _radius_clause(material, both) + _event_clause(material.events)
    return f"In {frames}{lasted} the number of particles in view {change}{rest}."


def numbers(material: Material) -> list[Number]:
    """Return four numbers with their intervals; each says what it is compared with."""
    both = ends(material)
    if both is None:
        return []
    return [_density(material, both), _mean_radius(material, both), _rate(material), _mergers(material)]


def _density(material: Material, both: Ends) -> Number:
    first, last = (headline(material, f"number_density_{when}") for when in ("first", "last"))
    if first and last and last[1]:
        unit = last[2].replace("1/µm²", "µm⁻²").replace("1/10⁶", "per 10⁶")
        value, interval = within(last[0], *last[1], unit)
        start = within(first[0], *first[1], unit)[0] if first[1] else said(first[0], unit)
        return Number("particles per area", value, interval, f"at the end; {start} at the beginning")
    start, end = (said(round(number)) for number in both.number)
    return Number("particles in view", end, "", f"counted at the end; {start} at the beginning")


def _mean_radius(material: Material, both: Ends) -> Number:
    unit = material.units.length
    if both.radius[1] is None:
        return Number("mean radius", UNKNOWN, "", "every particle touches the edge or is in contact with another")
    pair = both.interval[1]
    value, interval = within(both.radius[1], *pair, unit) if pair else (said(both.radius[1], unit), "")
    few = "" if pair else f"; no interval from {counted(both.particles[1], 'particle')}"
    return Number("mean radius", value, interval, f"at the end; {said(both.radius[0], unit)} at the beginning{few}")


def _rate(material: Material) -> Number:
    """Return the rate constant of the law that the statistics decide for, or how fast the mean radius changes."""
    law, exponent = headline(material, "K"), (material.summary.get("verdict") or {}).get("n")
    if law and known(exponent):
        low, high = law[1] or (None, None)
        value, interval = within(law[0], low, high, law[2])
        return Number(f"coarsening rate K, n = {exponent:.0f}", value, interval, "the data decide for this exponent")
    slope = _slope(material)
    unit = f"{material.units.length}/{material.units.time}"
    if slope is None:
        return Number("growth of the mean radius", UNKNOWN, "", "needs three frames with particles away from the edge")
    value, interval = within(slope[0], slope[0] - slope[1], slope[0] + slope[1], unit)
    law_or_not = "slope over the whole movie" + ("; no growth law is decided for" if material.summary else "")
    return Number("growth of the mean radius", value, interval, law_or_not)


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
    events = material.events["kind"].value_counts()
    count, gone = int(events.get("coalescence", 0)), int(events.get("dissolution", 0))
    if share := headline(material, "coalescence_share"):
        interval = f"{percent(share[1][0])} to {percent(share[1][1])}" if share[1] else ""
        both = f"{counted(count, 'merger')}, {counted(gone, 'dissolution')}"
        return Number("of the loss by coalescence", percent(share[0]), interval, both)
    low, high = poisson_interval(count)
    interval = f"{said(low, digits=2)} to {said(high, digits=2)}"
    return Number("mergers", said(count), interval, f"and {counted(gone, 'dissolution')}")


def _sizes(rows: pd.DataFrame, first: int, last: int) -> NDArray[np.float64]:
    """Return the mean radius of each particle that is wholly in view, over the frames from `first` to `last`."""
    here = rows[(rows["frame"] >= first) & (rows["frame"] <= last) & ~rows["touches_edge"] & ~rows["composite"]]
    sizes: NDArray[np.float64] = here.groupby("particle")["radius"].mean().to_numpy(np.float64)
    return sizes


def _radius_clause(material: Material, both: Ends) -> str:
    """Return how the mean radius changed; a slope whose interval holds zero is no trend."""
    (first, last), unit, slope = both.radius, material.units.length, _slope(material)
    if first is None or last is None:
        return ""
    whose = "its radius" if round(both.number[0]) == round(both.number[1]) == 1 else "their mean radius"
    unclear = slope is not None and abs(slope[0]) <= slope[1]
    if unclear and abs(last - first) > _SMALL_CHANGE * first:
        return f", while {whose} went from {said(first)} to {said(last, unit)} without a clear trend"
    if unclear or abs(last - first) <= _SMALL_CHANGE * first:
        return f", while {whose} stayed near {said(last, unit)}"
    verb = "grew" if last > first else "shrank"
    return f", while {whose} {verb} from {said(first)} to {said(last, unit)} ({_change(first, last)})"


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
    if abs(last - first) <= _SMALL_CHANGE * first:
        return "stayed at" if round(first) == round(last) else "stayed near"
    return "fell" if last < first else "rose"


def _change(first: float, last: float) -> str:
    change = f"{100 * (last - first) / first:+.0f}".replace("-", "−")
    return joined(change, "%")


def _are(number: int) -> str:
    return f"{'is' if number == 1 else 'are'} {counted(number, 'particle')}"


def _pair(values: list[Any]) -> tuple[Any, Any]:
    return values[0], values[1]
