"""Columns of the tables about single particles, their events and their surroundings (see `columns`)."""

from __future__ import annotations

from insitu.schema import Column

_WINDOW = Column("window", "int32", "", "number of the time window, from 0, as in `kinetics`")
_TIME = Column("time_{time}", "float64", "{time}", "middle of the window, mean time of its used frames")
_PARTICLE = Column("particle", "int64", "", "identity over time (track id)")
_CLASS = Column("size_class", "int32", "", "class of size, from the smallest, 0; −1 = all together")
_L, _SPEED, _RATE = "{length}", "{length}/{time}", "1/({area} {time})"


def _ends(name: str, unit: str, *, nullable: bool = True) -> tuple[Column, Column]:
    return (
        Column(f"{name}_low", "float64", unit, "lower end of its interval", nullable=nullable),
        Column(f"{name}_high", "float64", unit, "upper end of its interval", nullable=nullable),
    )


GROWTH: tuple[Column, ...] = (
    _PARTICLE,
    _WINDOW,
    _TIME,
    Column("radius_{length}", "float64", _L, "mean of its sizes in the window"),
    Column("rate_{length}_per_{time}", "float64", _SPEED, "dr/dt: slope of r against time, least squares"),
    Column(
        "rate_{length}_per_{time}_se",
        "float64",
        _SPEED,
        "its standard error, residuals taken as correlated; n_rows − 2 degrees of freedom",
    ),
    Column("n_rows", "int64", "", "sizes it was taken from, at least 4"),
    Column("radius_over_mean", "float64", "", "radius over ⟨r⟩ of the window"),
    Column("radius_over_critical", "float64", "", "radius over r* of the window (`critical`)", nullable=True),
    Column(
        "local_critical_radius_{length}",
        "float64",
        _L,
        "mean radius of its Delaunay neighbours, its critical radius under n = 3; empty next to the border or to "
        "neighbours without a size",
        nullable=True,
    ),
)

CRITICAL: tuple[Column, ...] = (
    _WINDOW,
    _TIME,
    Column("critical_radius_{length}", "float64", _L, "r*: size at which dr/dt changes its sign"),
    *_ends("critical_radius_{length}", _L),
    Column("critical_over_mean", "float64", "", "the same over ⟨r⟩ of the window; 1 in ripening with n = 3"),
    Column("n_particles", "int64", "", "speeds it was taken from"),
)

GROWTH_CORRELATION: tuple[Column, ...] = (
    Column(
        "quantity",
        "string",
        "",
        "rank correlation of dr/dt with: global = r/r* of the window; local = r over the neighbours' mean radius; "
        "neighbours = the neighbours' mean radius at equal r (partial; 0 when neighbours do not matter, negative when "
        "large ones take)",
    ),
    Column("correlation", "float64", "", "Spearman's, mean over windows"),
    *_ends("correlation", ""),
    Column("n_particles", "int64", "", "particles"),
)

EVENT_RATES: tuple[Column, ...] = (
    _WINDOW,
    _TIME,
    Column("kind", "string", "", "kind of event, as in `events`"),
    Column("count", "int64", "", "events in the window"),
    Column("cumulative", "int64", "", "events until its end"),
    Column("rate_per_{area}_{time}", "float64", _RATE, "events per area and time"),
    *_ends("rate_per_{area}_{time}", _RATE, nullable=False),
)

NUMBER_BALANCE: tuple[Column, ...] = (
    _WINDOW,
    _TIME,
    Column(
        "term",
        "string",
        "",
        "coalescence, dissolution, appearance (nucleation included), splitting, border (entering − leaving), lost; "
        "unexplained = what no event accounts for; total",
    ),
    Column("change", "int64", "", "particles gained (+) or lost (−) by it in the window"),
    Column("rate_per_{area}_{time}", "float64", _RATE, "the same per area and time"),
    *_ends("rate_per_{area}_{time}", _RATE),
)

ENVIRONMENT: tuple[Column, ...] = (
    _WINDOW,
    _TIME,
    Column("frame", "int32", "", "frame that was looked at"),
    Column("n_particles", "int64", "", "particles in it, edge and composite ones included"),
    Column("mean_nn_{length}", "float64", _L, "mean distance to the nearest centre"),
    Column("mean_gap_{length}", "float64", _L, "mean distance to the nearest outline, from outline to outline"),
    Column("closest_{length}", "float64", _L, "smallest distance of two centres"),
    Column("clark_evans", "float64", "", "mean_nn over that of points at random; above 1 = they keep a distance"),
    Column("clark_evans_z", "float64", "", "its distance from 1 in standard errors"),
    Column("hard_core_{length}", "float64", _L, "distance at which g first rises through 1/2", nullable=True),
    Column("size_correlation", "float64", "", "of r with the mean r of Delaunay neighbours", nullable=True),
    Column("size_correlation_p", "float64", "", "share of random exchanges of sizes as far off", nullable=True),
)

PAIR_CORRELATION: tuple[Column, ...] = (
    _WINDOW,
    _TIME,
    Column("distance_low_{length}", "float64", _L, "lower end of the bin"),
    Column("distance_high_{length}", "float64", _L, "upper end of the bin"),
    Column("pairs", "int64", "", "pairs of particles in it"),
    Column("g", "float64", "", "density at this distance from a particle over the mean density, border-corrected"),
    *_ends("g", "", nullable=False),
)

NEIGHBOUR_GAIN: tuple[Column, ...] = (
    Column("event", "int64", "", "number of the dissolution in `events`"),
    _PARTICLE,
    _WINDOW,
    _TIME,
    Column("n_neighbours", "int64", "", "Delaunay neighbours with a size before and after"),
    Column("lost_{length}3", "float64", "{length}³", "r³ of the dissolved particle one window before"),
    Column("gain_{length}3", "float64", "{length}³", "Σ r³ of its neighbours one window after less one window before"),
    Column("expected_{length}3", "float64", "{length}³", "the same for particles of these sizes elsewhere"),
)

MOBILITY: tuple[Column, ...] = (
    _CLASS,
    Column("lag_frames", "int64", "", "frames between two positions"),
    Column("lag_{time}", "float64", "{time}", "time between them"),
    Column("msd_{length}2", "float64", "{length}²", "mean squared displacement, drift subtracted"),
    *_ends("msd_{length}2", "{length}²"),
    Column("n", "int64", "", "displacements"),
    Column("n_particles", "int64", "", "particles"),
)

MOBILITY_FITS: tuple[Column, ...] = (
    _CLASS,
    Column("n_particles", "int64", "", "particles"),
    Column("D_alpha", "float64", "{length}²/{time}^α", "of MSD = 4 D_α τ^α + 4 σ²"),
    *_ends("D_alpha", "{length}²/{time}^α"),
    Column("alpha", "float64", "", "its exponent; 1 = free diffusion; empty where nothing moves", nullable=True),
    *_ends("alpha", ""),
    Column("sigma_{length}", "float64", _L, "error of a position (y and x each)"),
    *_ends("sigma_{length}", _L),
    Column("D_free_{length}2_per_{time}", "float64", "{length}²/{time}", "D of the same with α = 1"),
    *_ends("D_free_{length}2_per_{time}", "{length}²/{time}"),
)

_SPAN = (
    _CLASS,
    Column("radius_low_{length}", "float64", _L, "smallest initial radius of the class"),
    Column("radius_high_{length}", "float64", _L, "largest; the next class begins there"),
)

SURVIVAL: tuple[Column, ...] = (
    *_SPAN,
    Column("time_{time}", "float64", "{time}", "time since the first frame"),
    Column("survival", "float64", "", "share that has neither dissolved nor coalesced (Kaplan–Meier)"),
    *_ends("survival", ""),
    Column("at_risk", "int64", "", "particles under observation just before"),
    Column("ended", "int64", "", "dissolved or coalesced then"),
    Column("censored", "int64", "", "out of sight from then on: end of the movie, left, lost"),
)

INCIDENCE: tuple[Column, ...] = (
    *_SPAN,
    Column("cause", "string", "", "dissolution or coalescence"),
    Column("time_{time}", "float64", "{time}", "time since the first frame"),
    Column("incidence", "float64", "", "share that has ended this way (Aalen–Johansen)"),
    *_ends("incidence", ""),
    Column("at_risk", "int64", "", "particles under observation just before"),
    Column("ended", "int64", "", "ended this way then"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "growth": GROWTH,
    "critical": CRITICAL,
    "growth_correlation": GROWTH_CORRELATION,
    "event_rates": EVENT_RATES,
    "number_balance": NUMBER_BALANCE,
    "environment": ENVIRONMENT,
    "pair_correlation": PAIR_CORRELATION,
    "neighbour_gain": NEIGHBOUR_GAIN,
    "mobility": MOBILITY,
    "mobility_fits": MOBILITY_FITS,
    "survival": SURVIVAL,
    "incidence": INCIDENCE,
}
