from __future__ import annotations

import shlex
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from report_cases import discs

from insitu.cli import main
from insitu.figures import Units
from insitu.report import facts
from insitu.report.material import gather
from insitu.report.origin import command, versions
from insitu.report.tracked import longest
from insitu.report.trust import FINE, LOOK, PROBLEM, trust

NM = Units("nm", "s", "um2")


def material(number=(10, 10), radius=(2.0, 2.0), *, n=40, noise=0.001, summary=None, kinds=(), particles=6):
    """What facts ask of a run: linear number and radius over time."""
    rng = np.random.default_rng(0)
    frames = pd.DataFrame({"frame": np.arange(n), "time_s": np.arange(n) * 0.1})
    frames["n_particles"] = np.linspace(*number, n).round().astype(int)
    frames["mean_radius_nm"] = np.linspace(*radius, n) + rng.normal(0, noise, n)
    rows = pd.DataFrame({"frame": np.repeat(np.arange(n), particles), "particle": np.tile(np.arange(particles), n)})
    spread = np.linspace(-0.2, 0.2, particles) if particles > 1 else np.zeros(1)
    rows["radius"] = np.repeat(np.linspace(*radius, n), particles) + np.tile(spread, n)
    rows["touches_edge"] = rows["composite"] = False
    run = SimpleNamespace(calibration=SimpleNamespace(s_per_frame=0.1), counts={"particles": len(rows)})
    events = pd.DataFrame({"kind": list(kinds)})
    return SimpleNamespace(
        used=frames,
        frames=frames,
        rows=rows,
        run=run,
        events=events,
        units=NM,
        summary=summary or {},
        recalibrated=False,
        radius="mean_radius_nm",
    )


def plain(text):
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (material((50, 30), (2, 3)), "fell from 50 to 30, while their mean radius grew from 2.01 to 2.99 nm (+48 %)"),
        (material((30, 50), (3, 2)), "rose from 30 to 50, while their mean radius shrank from 2.99 to 2.01 nm (−33 %)"),
        (material((400, 396)), "stayed near 396, while their mean radius stayed near 2.00 nm"),
        (material((1, 1), (2, 3), particles=1), "stayed at 1, while its radius grew from 2.01 to 2.99 nm"),
        (material(radius=(2, 2.02), noise=0.3), "while their mean radius stayed near"),
        (material(radius=(2, 2.2), noise=0.6), "went from 2.00 to 2.20 nm without a clear trend"),
        (material(radius=(2, 2.03)), "while their mean radius stayed near 2.03 nm"),
        (material(kinds=["coalescence"]), "; 1 merger was seen."),
        (material(kinds=["dissolution"] * 3 + ["coalescence"] * 2), "; 2 mergers and 3 dissolutions were seen."),
        (material(), "; no merger and no dissolution was seen."),
    ],
)
def test_the_sentence_says_what_happened(made, expected):
    assert expected in plain(facts.sentence(made))


def test_the_slope_and_its_interval_are_those_of_the_line():
    slopes = []
    for seed in range(200):
        made = material(radius=(2, 3), n=60)
        noise = np.random.default_rng(seed).normal(0, 0.2, 60)
        made.used["mean_radius_nm"] = np.linspace(2, 3, 60) + noise
        slopes.append(facts._slope(made))
    true = 1 / 5.9
    inside = np.mean([abs(s - true) < half for s, half in slopes])
    assert 0.9 < inside < 0.99
    assert facts._slope(material(n=2)) is None


def test_memory_in_the_residuals_widens_the_interval():
    made, walk = material(n=200), np.random.default_rng(1).normal(0, 0.05, 200)
    made.used["mean_radius_nm"] = 2 + walk
    alone = facts._slope(made)[1]
    made.used["mean_radius_nm"] = 2 + np.repeat(walk[:20], 10)
    assert facts._slope(made)[1] > 2 * alone


def test_four_numbers_come_from_the_statistics_where_there_are_any():
    headline = {
        "mean_radius_first": {"value": 2.5, "low": 2.4, "high": 2.6, "unit": "nm"},
        "mean_radius_last": {"value": 3.5, "low": 3.4, "high": 3.6, "unit": "nm"},
        "number_density_first": {"value": 900.0, "low": 800.0, "high": 1000.0, "unit": "1/µm²"},
        "number_density_last": {"value": 400.0, "low": 300.0, "high": 500.0, "unit": "1/µm²"},
        "K": {"value": 4.25, "low": 4.0, "high": 4.5, "unit": "nm³/s"},
        "coalescence_share": {"value": 0.25, "low": 0.2, "high": 0.31, "unit": ""},
    }
    made = material((90, 40), (1, 2), summary={"headline": headline, "verdict": {"n": 3}}, kinds=["coalescence"])
    told = [(n.label, plain(n.value), plain(n.interval)) for n in facts.numbers(made)]
    assert told == [
        ("particles per area", "400 µm⁻²", "300 to 500"),
        ("mean radius", "3.50 nm", "3.40 to 3.60"),
        ("coarsening rate K, n = 3", "4.25 nm³/s", "4.00 to 4.50"),
        ("of the loss by coalescence", "25 %", "20 % to 31 %"),
    ]
    assert "from 2.50 to 3.50 nm" in plain(facts.sentence(made))
    made.recalibrated = True
    assert "from 1.01 to 1.99 nm" in plain(facts.sentence(made))


def test_four_numbers_without_statistics_have_what_intervals_there_are():
    told = facts.numbers(material((90, 40), (1, 2), kinds=["coalescence"] * 10))
    assert [plain(n.value) for n in told] == ["40", "1.99 nm", "0.2565 nm/s", "10"]
    assert told[0].interval == ""
    assert told[3].interval == "4.8 to 18"
    few = facts.numbers(material(particles=2))
    assert "no interval from 2 particles" in few[1].note


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facts")
    settings = {"link.memory_frames": 5, "segment.polarity": "dark", "prepare.crop": (4, 6, 92, 126)}
    return discs(folder, shrink=True, **settings)


def test_the_command_gives_the_same_tables_again(run, monkeypatch, capfd):
    words = shlex.split(command(gather(run)))
    assert words[:5] == ["insitu", "run", "m.tif", "-o", "run-again"]
    monkeypatch.chdir(run.parent)
    assert main(words[1:]) == 0
    for name in ("particles", "tracks", "events", "frames"):
        again = pd.read_parquet(run.parent / "run-again" / f"{name}.parquet")
        pd.testing.assert_frame_equal(again, pd.read_parquet(run / f"{name}.parquet"))


def test_versions_name_program_libraries_and_movie(run):
    told = dict(versions(gather(run)))
    assert {"insitu", "Python", "numpy", "device", "movie sha-256"} <= set(told)
    assert all(told.values())


def test_longest_tracks_come_first_with_radii_and_growth(run):
    rows = longest(gather(run))
    assert [int(t.length) for t in rows] == sorted((int(t.length) for t in rows), reverse=True)
    assert len(rows) == 3
    assert rows[0].length == "24"
    shrinking = rows[-1]
    assert shrinking.growth.startswith("−")
    assert shrinking.growth.endswith("nm/s")
    assert shrinking.fate == "dissolution"
    assert " → " in shrinking.radius
    points = [tuple(map(float, p.split(","))) for p in rows[0].spark.split()]
    assert len(points) == 24
    assert all(0 <= x <= 96 and 0 <= y <= 22 for x, y in points)
    assert points[0][0] < points[-1][0]


def test_the_worst_stands_first(run):
    order = [PROBLEM, LOOK, FINE]
    states = [order.index(line.state) for line in trust(gather(run))]
    assert states == sorted(states)
