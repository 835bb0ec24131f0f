"""Single particles, their events and surroundings: every table about them, from the tables of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from insitu.coarsening.absent import Absent, Columns
from insitu.coarsening.displacements import displacements, immobile_share, lags_of
from insitu.coarsening.growth import rates
from insitu.coarsening.looks import draws, extent, look, window_of
from insitu.coarsening.mobility import mobility
from insitu.coarsening.neighbours import neighbours
from insitu.coarsening.places import environment, gains
from insitu.coarsening.rates import Happenings, coalescence_share, event_rates, number_balance
from insitu.coarsening.speeds import growth
from insitu.coarsening.survival import CAUSES, size_classes, survival

if TYPE_CHECKING:
    from insitu.coarsening.gather import Gathered
    from insitu.coarsening.looks import Looks
    from insitu.coarsening.neighbours import Neighbours
    from insitu.coarsening.source import Tables


NEIGHBOURS = 500_000
"""Particles, over all windows, whose neighbours are looked for."""


@dataclass(slots=True, eq=False)
class Individuals:
    """Tables about single particles.

    Attributes
    ----------
    columns : dict
        Table → columns under their templates (`individual_columns.TABLES`).
    headline : list of (name, value, unit, low, high)
        NaN for an end that is not known.
    absent, caveats : list
    """

    columns: dict[str, Columns] = field(default_factory=dict)
    headline: list[tuple[str, float, str, float, float]] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    caveats: list[str] = field(default_factory=list)

    def put(self, table: str, values: Columns, why: str = "") -> None:
        """Take a table, or say why it has no rows."""
        if values and len(next(iter(values.values()))):
            self.columns[table] = values
        elif why:
            self.absent.append(Absent(table.replace("_", " "), why))

    def state(self, name: str, value: float, unit: str, low: float = np.nan, high: float = np.nan) -> None:
        """Take a headline number."""
        self.headline.append((name, value, unit, low, high))


def individuals(tables: Tables, gathered: Gathered) -> Individuals:
    """Compute everything about single particles; what cannot be computed is said, never an error.

    Parameters
    ----------
    tables : Tables
        The run, read once more.
    gathered : Gathered
        Its sums; at least one used frame with a row.
    """
    result = Individuals()
    seen = look(tables, gathered)
    around = _around(result, gathered, seen)
    growth(result, gathered, rates(gathered.records, gathered.units.per_px), seen, around)
    _events(result, gathered)
    gains(result, gathered, seen, around)
    environment(result, gathered, seen, around)
    _mobility(result, gathered, seen)
    _survival(result, gathered, seen)
    return result


def _around(result: Individuals, gathered: Gathered, seen: Looks) -> dict[int, Neighbours]:
    """Find the neighbours in the middle frame of every window, or of fewer windows of a crowded movie."""
    windows = gathered.windows
    crowd = sum(len(m) for m in seen.moments.values()) / max(len(seen.moments), 1)
    number = max(int(NEIGHBOURS // max(crowd, 1.0)), 1)
    chosen = set(windows.spread(gathered.options.distribution_windows).tolist())
    if number < len(windows):
        result.caveats.append(
            f"Neighbours were looked for in about {max(number, len(chosen))} of {len(windows)} windows."
        )
        chosen |= set(windows.spread(number).tolist())
    else:
        chosen = set(range(len(windows)))
    return {w: neighbours(seen.moments[w].y, seen.moments[w].x, extent(gathered)) for w in sorted(chosen)}


def _events(result: Individuals, gathered: Gathered) -> None:
    """Put the tables event_rates and number_balance; state the share of coalescence."""
    windows, table = gathered.windows, gathered.events
    if len(windows.frame) < 2:
        result.put("event_rates", {}, "one used frame: nothing can be seen to happen")
        return
    found = Happenings.of(
        table["kind"].tolist(),
        window_of(windows, table["frame"].to_numpy(np.int64)).tolist(),
        [list(ids) for ids in table["parents"]],
        [list(ids) for ids in table["children"]],
    )
    _share(result, found, gathered.options.confidence)
    # what happens between the last frame of a window and the first of the next belongs to the next
    last = np.searchsorted(windows.window, np.arange(len(windows)), side="right") - 1
    duration = np.diff(windows.time[last], prepend=windows.time[0])
    duration = np.where(duration > 0, duration, np.median(np.diff(windows.time)))
    if not (duration > 0).all():
        result.put("event_rates", {}, "the times of the frames do not rise")
        return
    area, confidence = gathered.units.area_of(gathered.info.region), gathered.options.confidence
    number = gathered.frames["n_all"][last].astype(np.int64)
    change = np.diff(number, prepend=int(gathered.frames["n_all"][0]))
    happened = event_rates(found, windows.middle, duration, area, confidence)
    result.put("event_rates", happened, "nothing happened: the run has no events")
    result.put(
        "number_balance", number_balance(found, windows.middle, duration, change, area=area, confidence=confidence)
    )


def _share(result: Individuals, found: Happenings, confidence: float) -> None:
    share = coalescence_share(found, confidence)
    if share is None:
        result.absent.append(Absent("share of coalescence", "no particle dissolved or coalesced"))
        return
    result.state("coalescence_share", share.value, "", share.low, share.high)
    if share.lost:
        result.caveats.append(
            f"{share.lost} tracks were lost without a known end, beside {share.coalesced} particles that coalesced and "
            f"{share.dissolved} that dissolved: the share of coalescence is {share.value:.2f}, and would lie between "
            f"{share.least:.2f} and {share.most:.2f} had all lost ones dissolved, or coalesced."
        )


def _mobility(result: Individuals, gathered: Gathered, seen: Looks) -> None:
    """Put the tables mobility and mobility_fits; state diffusion and the share that stands still."""
    paths, windows, options = seen.paths, gathered.windows, gathered.options
    lags = lags_of(windows.frame)
    if not len(paths.frame) or not len(lags) or windows.time[-1] <= windows.time[0]:
        result.put("mobility", {}, "no track has two positions at different times")
        return
    found = displacements(paths.frame, paths.particle, paths.y, paths.x, lags)
    of = gathered.records
    total = np.bincount(of["particle"], of["r"]) / np.maximum(np.bincount(of["particle"], of["n"]), 1.0)
    size_class, _ = size_classes(total[found.particle] * gathered.units.per_px, options.size_classes)
    seconds = float((windows.time[-1] - windows.time[0]) / (windows.frame[-1] - windows.frame[0]))
    msd, fits, absent = mobility(
        found, size_class, seconds, draws=draws(gathered), confidence=options.confidence, seed=options.seed
    )
    result.put("mobility", msd)
    result.put("mobility_fits", fits)
    result.absent += absent
    if seen.drawn < seen.tracks:
        result.caveats.append(f"Mobility is that of {seen.drawn} tracks drawn at random from {seen.tracks}.")
    if not fits or fits["size_class"][0] != -1:
        return
    name = "D_free_{length}2_per_{time}"
    result.state("diffusion", fits[name][0], "{length}²/{time}", fits[f"{name}_low"][0], fits[f"{name}_high"][0])
    still = immobile_share(found, float(fits["sigma_{length}"][0]), options.confidence)
    if still is None:
        result.absent.append(Absent("immobile share", "the fit leaves no error of position to compare with"))
    else:
        result.state("immobile_share", still.value, "", still.low, still.high)


def _survival(result: Individuals, gathered: Gathered, seen: Looks) -> None:
    """Put the tables survival and incidence of the particles that were there, and whole, in the first frame."""
    table, windows = gathered.tracks, gathered.windows
    if not len(table):
        result.put("survival", {}, "the run is not finished, and has no tracks yet")
        return
    there = np.isin(table["particle"].to_numpy(np.int64), seen.at_start)
    cohort = table[there & (table["first_frame"] == windows.frame[0]).to_numpy(bool)]
    last = cohort["last_frame"].to_numpy(np.int64)
    fate = cohort["fate"].to_numpy(object)
    cause = np.select([fate == c for c in CAUSES], list(range(1, len(CAUSES) + 1)), 0)
    place = np.searchsorted(windows.frame, last, side="right") - 1
    # an end happened in the first frame without the particle
    place = np.clip(np.where(cause > 0, place + 1, place), 0, len(windows.frame) - 1)
    duration = windows.time[place] - windows.time[0]
    radius = 0.5 * cohort["equivalent_diameter_px_first"].to_numpy(np.float64) * gathered.units.per_px
    options = gathered.options
    alive, ends, absent = survival(duration, cause, radius, classes=options.size_classes, confidence=options.confidence)
    result.put("survival", alive)
    result.put("incidence", ends)
    result.absent += absent
    lost = int((fate == "lost").sum())
    if len(cohort) and lost > 0.05 * len(cohort):
        result.caveats.append(
            f"{lost} of {len(cohort)} particles that were there at the start were lost; survival takes their end as "
            "unknown, as if it had nothing to do with their fate."
        )
