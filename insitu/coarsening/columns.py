"""Every column of every table of ``coarsening/`` once: name, dtype, unit, meaning.

Names carry the unit, and a run without calibration has others: ``{length}`` stands for nm or px, ``{time}`` for s or
frame, ``{area}`` for um2 or mpx (10⁶ px). `columns` fills them in. A nullable column is empty where a value
cannot be computed; NaN is never written. Parquet metadata and the description of the tables come from here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from insitu.coarsening import individual_columns
from insitu.schema import Column

_WINDOW = Column("window", "int32", "", "number of the time window, from 0")
_TIME = Column("time_{time}", "float64", "{time}", "middle of the window, mean time of its used frames")
_L, _V = "{length}", "{length}³"

KINETICS: tuple[Column, ...] = (
    _WINDOW,
    Column("first_frame", "int32", "", "first used frame of the window"),
    Column("last_frame", "int32", "", "last used frame of the window"),
    _TIME,
    Column("n_frames", "int32", "", "used frames"),
    Column("n_rows", "int64", "", "measured sizes: rows that touch no edge and are no composite"),
    Column("n_particles", "int64", "", "different tracks among them"),
    Column("mean_radius_{length}", "float64", _L, "⟨r⟩, r = √(A/π), border-weighted", nullable=True),
    Column("mean_radius_{length}_low", "float64", _L, "lower end of its interval", nullable=True),
    Column("mean_radius_{length}_high", "float64", _L, "upper end of its interval", nullable=True),
    Column("unweighted_mean_radius_{length}", "float64", _L, "⟨r⟩ without border weights: biased small", nullable=True),
    Column("mean_radius_cubed_{length}3", "float64", _V, "⟨r³⟩, border-weighted", nullable=True),
    Column("relative_std", "float64", "", "standard deviation of r over ⟨r⟩", nullable=True),
    Column("skewness", "float64", "", "third standardised moment of r", nullable=True),
    Column("d32_{length}", "float64", _L, "Sauter mean diameter 2Σr³/Σr²", nullable=True),
    Column("d43_{length}", "float64", _L, "volume-weighted mean diameter 2Σr⁴/Σr³", nullable=True),
    Column("critical_radius_n2_{length}", "float64", _L, "r* that conserves Σr³ under n = 2: Σr²/Σr", nullable=True),
    Column("critical_radius_n3_{length}", "float64", _L, "r* under n = 3: Σr/N", nullable=True),
    Column("critical_radius_n4_{length}", "float64", _L, "r* under n = 4: N/Σr⁻¹", nullable=True),
    Column("number_density_per_{area}", "float64", "1/{area}", "border-weighted count of particles over the region"),
    Column("number_density_per_{area}_low", "float64", "1/{area}", "lower end of its interval", nullable=True),
    Column("number_density_per_{area}_high", "float64", "1/{area}", "upper end of its interval", nullable=True),
    Column("coverage", "float64", "", "share of the region under particles, edge and composite rows included"),
    Column("volume_per_area_{length}", "float64", _L, "Σ V/region: mean film thickness for the given contact angle"),
    Column("volume_relative", "float64", "", "the same over that of the first window", nullable=True),
    Column(
        "dispersion_proxy_per_{length}", "float64", "1/{length}", "projected area over volume, ΣA/ΣV", nullable=True
    ),
    Column("share_edge", "float64", "", "share of rows that touch the edge", nullable=True),
    Column(
        "share_composite", "float64", "", "share of rows in which several particles are measured as one", nullable=True
    ),
    Column("share_small", "float64", "", "share of measured sizes below the detection radius", nullable=True),
)


FITS: tuple[Column, ...] = (
    Column("quantity", "string", "", "mean_radius or critical_radius"),
    Column("model", "string", "", "n2, n3, n4 or free"),
    Column("n", "float64", "", "exponent of rⁿ = r₀ⁿ + K t"),
    Column("n_low", "float64", "", "lower end of its interval, free n only", nullable=True),
    Column("n_high", "float64", "", "upper end of its interval, free n only", nullable=True),
    Column("K", "float64", "{length}ⁿ/{time}", "rate"),
    Column("K_low", "float64", "{length}ⁿ/{time}", "lower end of its interval", nullable=True),
    Column("K_high", "float64", "{length}ⁿ/{time}", "upper end of its interval", nullable=True),
    Column("r0_{length}", "float64", _L, "fitted radius at the beginning"),
    Column("growth", "float64", "", "fitted radius at the end over that at the beginning"),
    Column("residual_percent", "float64", "%", "root mean square of the weighted relative residuals"),
    Column("aic", "float64", "", "Akaike's criterion with the effective number of windows", nullable=True),
    Column("delta_aic", "float64", "", "distance to the best of n = 2, 3, 4", nullable=True),
    Column("n_effective", "float64", "", "effective number of windows from the residuals' autocorrelation"),
    Column("support", "float64", "", "share of bootstrap draws in which it is the best of n = 2, 3, 4", nullable=True),
    Column("decided", "bool", "", "the data decide for this model"),
    Column("wording", "string", "", "what may be said"),
)

DISTRIBUTIONS: tuple[Column, ...] = (
    _WINDOW,
    _TIME,
    Column("bin", "int32", "", "number of the bin, from 0"),
    Column("radius_low_{length}", "float64", _L, "lower edge of the bin"),
    Column("radius_high_{length}", "float64", _L, "upper edge of the bin"),
    Column("count", "int64", "", "measured sizes in the bin, summed over the frames of the window"),
    Column("weight", "float64", "", "their border weights, summed"),
    Column("density_per_{length}", "float64", "1/{length}", "probability density from the weights"),
    Column("kde_per_{length}", "float64", "1/{length}", "smooth density at the middle of the bin", nullable=True),
    Column("lognormal_per_{length}", "float64", "1/{length}", "fitted log-normal there", nullable=True),
    Column("n2_per_{length}", "float64", "1/{length}", "LSW-family shape of n = 2 there", nullable=True),
    Column("n3_per_{length}", "float64", "1/{length}", "LSW-family shape of n = 3 there", nullable=True),
    Column("n4_per_{length}", "float64", "1/{length}", "LSW-family shape of n = 4 there", nullable=True),
)

DISTRIBUTION_FITS: tuple[Column, ...] = (
    _WINDOW,
    _TIME,
    Column("n_particles", "int64", "", "particles, each once with its mean radius in the window"),
    Column("mean_radius_{length}", "float64", _L, "weighted mean of these radii"),
    Column("median_radius_{length}", "float64", _L, "weighted median"),
    Column("relative_std", "float64", "", "standard deviation over mean"),
    Column("skewness", "float64", "", "third standardised moment"),
    Column("d32_{length}", "float64", _L, "2Σr³/Σr²"),
    Column("d43_{length}", "float64", _L, "2Σr⁴/Σr³"),
    Column("model", "string", "", "lognormal, n2, n3 or n4"),
    Column("scale_{length}", "float64", _L, "geometric mean (log-normal) or critical radius r*"),
    Column("shape", "float64", "", "geometric standard deviation's logarithm (log-normal)", nullable=True),
    Column("ks", "float64", "", "Kolmogorov–Smirnov distance, weighted"),
    Column("p_value", "float64", "", "share of bootstrap samples of the model at least as far off", nullable=True),
)

RUNS: tuple[Column, ...] = (
    Column("run", "string", "", "name of the run"),
    Column("group", "string", "", "runs of one group repeat each other"),
    Column("temperature_c", "float64", "°C", "temperature, as given", nullable=True),
    Column("sizes", "int64", "", "measured sizes"),
    Column("particles", "int64", "", "tracks with a size"),
    Column("mean_radius_first_{length}", "float64", _L, "⟨r⟩ in the first window", nullable=True),
    Column("mean_radius_last_{length}", "float64", _L, "⟨r⟩ in the last window", nullable=True),
    Column("growth", "float64", "", "fitted radius at the end over that at the beginning", nullable=True),
    Column("decided_n", "float64", "", "exponent that the run decides for by itself", nullable=True),
    Column("n", "int32", "", "exponent that K is taken with, the same for all runs"),
    Column("K", "float64", "{length}ⁿ/{time}", "rate", nullable=True),
    Column("K_low", "float64", "{length}ⁿ/{time}", "lower end of its interval", nullable=True),
    Column("K_high", "float64", "{length}ⁿ/{time}", "upper end of its interval", nullable=True),
    Column("coalescence_share", "float64", "", "share of coalescence in the loss of particles", nullable=True),
)

GROUPS: tuple[Column, ...] = (
    Column("group", "string", "", "name of the group"),
    Column("n_runs", "int32", "", "runs with K above 0"),
    Column("K", "float64", "{length}ⁿ/{time}", "geometric mean over the runs"),
    Column("K_low", "float64", "{length}ⁿ/{time}", "lower end of its interval from their scatter", nullable=True),
    Column("K_high", "float64", "{length}ⁿ/{time}", "upper end of its interval from their scatter", nullable=True),
    Column("spread", "float64", "", "geometric standard deviation between runs", nullable=True),
)

ARRHENIUS: tuple[Column, ...] = (
    Column("quantity", "string", "", "K, or K T (n = 3: what a diffusion-limited rate has 1/T beside its exponential)"),
    Column("activation_energy_kj_per_mol", "float64", "kJ/mol", "apparent activation energy"),
    Column("activation_energy_kj_per_mol_low", "float64", "kJ/mol", "lower end of its interval", nullable=True),
    Column("activation_energy_kj_per_mol_high", "float64", "kJ/mol", "upper end of its interval", nullable=True),
    Column("activation_energy_ev", "float64", "eV", "the same per particle"),
    Column("ln_prefactor", "float64", "", "logarithm of the quantity at 1/T = 0, in the units of K (and kelvin)"),
    Column(
        "scatter_between_runs",
        "float64",
        "",
        "standard deviation of ln K between runs beyond its own error",
        nullable=True,
    ),
    Column("n_runs", "int32", "", "runs"),
    Column("n_temperatures", "int32", "", "different temperatures"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "kinetics": KINETICS,
    "fits": FITS,
    "distributions": DISTRIBUTIONS,
    "distribution_fits": DISTRIBUTION_FITS,
    **individual_columns.TABLES,
    "runs": RUNS,
    "groups": GROUPS,
    "arrhenius": ARRHENIUS,
}


# made of sums that stream: the same to the last bit live, in any batches and merged in any order; all else needs the
# whole run
LIVE: dict[str, tuple[str, ...]] = {
    "kinetics": tuple(c.name for c in KINETICS if not c.name.endswith(("_low", "_high")) and c.name != "n_particles"),
    "distributions": ("bin", "radius_low_{length}", "radius_high_{length}", "count", "weight", "density_per_{length}"),
}


@dataclass(frozen=True, slots=True)
class Units:
    """What lengths and times mean in one study, and how they follow from px and frames.

    Attributes
    ----------
    length, time, area : str
        ``"nm"`` or ``"px"``, ``"s"`` or ``"frame"``, ``"um2"`` or ``"mpx"``, as they stand in column names.
    per_px : float
        Length units per px (nm per px, or 1).
    """

    length: str
    time: str
    area: str
    per_px: float

    @classmethod
    def of(cls, nm_per_px: float | None, s_per_frame: float | None) -> Units:
        """Return the units of a run of this calibration."""
        length, area = ("px", "mpx") if nm_per_px is None else ("nm", "um2")
        return cls(length, "frame" if s_per_frame is None else "s", area, nm_per_px or 1.0)

    def area_of(self, region: tuple[int, int]) -> float:
        """Return the area of a region (h, w) in px as µm² or 10⁶ px."""
        return region[0] * region[1] * self.per_px**2 * 1e-6

    def name(self, template: str) -> str:
        """Fill a column's name: ``mean_radius_{length}`` → ``mean_radius_nm``."""
        return template.format(length=self.length, time=self.time, area=self.area)

    def spelled(self, template: str) -> str:
        """Fill a unit for people: ``1/{area}`` → ``1/µm²``."""
        return template.format(length=self.length, time=self.time, area={"um2": "µm²", "mpx": "10⁶ px²"}[self.area])


def columns(table: str, units: Units) -> tuple[Column, ...]:
    """Return the columns of a table in these units."""
    return tuple(replace(c, name=units.name(c.name), unit=units.spelled(c.unit)) for c in TABLES[table])
