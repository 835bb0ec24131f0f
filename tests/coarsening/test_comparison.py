import numpy as np
import pytest
from cases_coarsening import growing, info, world

from insitu.coarsening.comparison import GAS_CONSTANT, KELVIN, compare, line
from insitu.coarsening.study import Study, study
from insitu.options import CoarseningOptions


def run(rate=1.0, noise=0.005, seed=0, exponent=3):
    """A run whose r³ grows by `rate` times its first value."""
    rows, _ = growing(n=40, exponent=exponent, growth=(1 + rate) ** (1 / exponent), noise=noise, seed=seed)
    return study(world(rows, 40), CoarseningOptions(bootstrap=60, window_frames=1))


def test_the_activation_energy_of_a_temperature_series():
    energy = 120.0
    temperatures = {"a": 600.0, "b": 650.0, "c": 700.0, "d": 750.0}
    studies = {}
    for i, (name, celsius) in enumerate(temperatures.items()):
        kelvin, reference = celsius + KELVIN, 750.0 + KELVIN
        rate = 12.0 * np.exp(-energy / GAS_CONSTANT * (1 / kelvin - 1 / reference))
        studies[name] = run(rate, seed=10 + 0 * i)
    result = compare(studies, {n: n for n in studies}, temperatures, 3)
    table = result.columns["arrhenius"]
    assert table["quantity"].tolist() == ["K", "K T"]
    assert table["activation_energy_kj_per_mol"][0] == pytest.approx(energy, rel=0.03)
    # K·T: the mean temperature adds about R T to the slope
    assert table["activation_energy_kj_per_mol"][1] == pytest.approx(energy + GAS_CONSTANT * 945, rel=0.03)
    assert table["activation_energy_kj_per_mol_low"][0] < energy < table["activation_energy_kj_per_mol_high"][0]
    assert "kJ/mol" in result.sentences[-1]


def test_a_line_with_scatter_between_runs_covers_the_truth():
    rng = np.random.default_rng(0)
    x = np.repeat([1.0, 1.2, 1.4], 3)
    covered = narrow = 0
    for _ in range(400):
        own = rng.uniform(0.01, 0.03, 9)
        y = 2 - 5 * x + rng.normal(0, 0.2, 9) + rng.normal(size=9) * own
        found = line(x, y, own)
        covered += found.low < -5 < found.high
        narrow += found.high - found.low < 0.2
    assert 0.9 < covered / 400 < 0.99
    # the small error of each run alone would give this
    assert narrow == 0


def test_runs_of_a_group_repeat_each_other():
    studies = {"a": run(3.0, seed=1), "b": run(3.6, seed=2), "c": run(7.0, seed=3), "d": run(8.0, seed=4)}
    result = compare(studies, {"a": "cold", "b": "cold", "c": "hot", "d": "hot"}, None, 3)
    groups, runs = result.columns["groups"], result.columns["runs"]
    assert groups["group"].tolist() == ["cold", "hot"]
    assert groups["n_runs"].tolist() == [2, 2]
    assert groups["K"][0] == pytest.approx(np.sqrt(runs["K"][0] * runs["K"][1]))
    # two runs tell little, however many particles they have: t with one degree of freedom
    assert groups["K_high"][0] / groups["K"][0] == pytest.approx(
        np.exp(12.706 * abs(np.log(runs["K"][1] / runs["K"][0])) / np.sqrt(2) / np.sqrt(2)), rel=1e-3
    )
    assert [a.why for a in result.absent] == ["no temperatures were given"]


def test_a_single_run_of_a_group_has_no_interval():
    result = compare({"a": run(3.0)}, {"a": "x"})
    assert np.isnan(result.columns["groups"]["K_low"]).all()


def test_the_exponent_is_that_which_fits_all_runs_best():
    studies = {str(i): run(7.0, exponent=2, seed=i) for i in range(2)}
    result = compare(studies, dict.fromkeys(studies, "x"))
    assert result.n == 2
    assert "n = 2" in result.sentences[0]


def test_runs_without_growth_or_without_fit_are_named_and_left_out():
    rows, _ = growing(growth=0.7)
    shrinking = study(world(rows, 40), CoarseningOptions(bootstrap=20))
    empty = Study(info(), CoarseningOptions())
    studies = {"good": run(3.0), "shrinks": shrinking, "empty": empty}
    result = compare(studies, dict.fromkeys(studies, "x"), {"good": 1.0, "shrinks": 2.0, "empty": 3.0}, 3)
    why = {a.what: a.why for a in result.absent}
    assert "nothing grows" in why["the run 'shrinks' in the comparison of K"]
    assert why["the run 'empty' in the comparison of K"] == "it has no fit"
    assert "1 temperature(s)" in why["Arrhenius fit"]
    assert result.columns["runs"]["run"].tolist() == ["good", "shrinks", "empty"]


def test_two_runs_give_an_energy_without_an_interval():
    studies = {"a": run(3.0), "b": run(8.0)}
    result = compare(studies, {n: n for n in studies}, {"a": 600.0, "b": 700.0}, 2)
    table = result.columns["arrhenius"]
    assert table["quantity"].tolist() == ["K"]
    assert np.isnan(table["activation_energy_kj_per_mol_low"]).all()
    assert "no interval" in result.sentences[-1]
