"""Tables about single particles, from the tables of a run, with the inputs that go wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases_coarsening import CALIBRATED, UNKNOWN, particle_rows, world

from insitu.coarsening.columns import TABLES
from insitu.coarsening.individual_columns import TABLES as INDIVIDUAL
from insitu.coarsening.source import MemoryTables, StudyInfo
from insitu.coarsening.study import study
from insitu.options import CoarseningOptions
from insitu.simulate import Simulation, SimulationSettings

QUICK = CoarseningOptions(bootstrap=40, windows=4)


def simulated(**changes):
    """Exact tables of a small movie."""
    settings = SimulationSettings(
        **{"shape": (500, 560), "frames": 40, "particles": 100, "diffusion_nm2_per_s": 12.0, "ripening_rate": 250.0}
        | changes
    )
    movie = Simulation(settings)
    rows = movie.particles()
    for axis in "yx":
        rows[f"bbox_{axis}0"] = np.floor(rows[axis] - rows["radius_px"]).astype(int)
        rows[f"bbox_{axis}1"] = np.ceil(rows[axis] + rows["radius_px"]).astype(int)
    number = np.arange(settings.frames)
    frames = pd.DataFrame({"frame": number, "time_s": number * settings.s_per_frame, "status": "ok"})
    frames["drift_y_px"], frames["drift_x_px"] = movie.drift_px.T
    names = ("kind", "frame", "parents", "children")
    events = pd.DataFrame([{n: getattr(e, n) for n in names} for e in movie.events], columns=names)
    events["event"] = np.arange(len(events))
    info = StudyInfo(settings.shape, movie.info.calibration)
    return MemoryTables(info, rows, pd.DataFrame(movie.tracks()), events, frames), movie


@pytest.fixture(scope="module")
def coarsened():
    tables, movie = simulated()
    return study(tables, QUICK), tables, movie


def still(n=200, frames=24, *, drift=(0.0, 0.0), seed=0, growth=None, **options):
    """Particles that stand still on a support that drifts, and grow as told (n,) px a frame."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(100, 900, (2, n))
    r = rng.uniform(8, 12, n)
    frame, particle = (v.ravel() for v in np.indices((frames, n)))
    size = r[particle] + (0 if growth is None else np.asarray(growth)[particle] * frame)
    at = y[particle] + drift[0] * frame, x[particle] + drift[1] * frame
    tables = world(particle_rows(frame, particle, size, y=at[0], x=at[1]), frames, **options)
    shift = np.arange(frames)
    table = tables.frames.assign(drift_y_px=drift[0] * shift, drift_x_px=drift[1] * shift)
    return replace(tables, frames=table)


def test_every_table_of_single_particles_is_there_and_described(coarsened):
    result, _, _ = coarsened
    assert set(INDIVIDUAL) <= set(result.tables) | {"critical"}
    assert set(INDIVIDUAL) <= set(TABLES)
    for name in INDIVIDUAL:
        if name in result.tables:
            assert list(result.columns[name]) == [c.name for c in result.described(name)]


def test_events_explain_every_change_of_the_number_of_particles(coarsened):
    result, tables, _ = coarsened
    balance = result["number_balance"]
    assert (balance.loc[balance["term"] == "unexplained", "change"] == 0).all()
    number = np.bincount(tables.particles["frame"])
    assert balance.loc[balance["term"] == "total", "change"].sum() == number[-1] - number[0]
    kinds = tables.events["kind"].value_counts()
    last = result["event_rates"].groupby("kind")["cumulative"].last()
    assert last.to_dict() == kinds[last.index].to_dict()
    # windows reach from their predecessor's last frame to their own last one: 9, 10, 10 and 10 steps
    merged = result["event_rates"].query("kind == 'dissolution'")
    exposure = 500 * 560 * 0.2**2 * 1e-6 * np.array([9, 10, 10, 10]) / 400
    assert merged["rate_per_um2_s"].to_numpy() == pytest.approx(merged["count"].to_numpy() / exposure)


def test_the_share_of_coalescence_is_that_of_the_events(coarsened):
    result, _, movie = coarsened
    merged = sum(len(e.parents) - 1 for e in movie.events if e.kind == "coalescence")
    dissolved = sum(e.kind == "dissolution" for e in movie.events)
    share = result.headline["coalescence_share"]
    assert share["value"] == pytest.approx(merged / (merged + dissolved))
    assert share["low"] < share["value"] < share["high"]


def test_the_critical_radius_of_mean_field_ripening_is_the_mean_of_all(coarsened):
    result, _, movie = coarsened
    table = result["critical"]
    for _, row in table.iterrows():
        world_then = movie.world(int(row["time_s"] * 400))
        assert row["critical_radius_nm"] == pytest.approx(world_then.population.radius.mean(), rel=0.02)


def test_survival_starts_with_the_particles_of_the_first_frame_that_are_whole(coarsened):
    result, tables, movie = coarsened
    rows = tables.particles
    whole = (rows["frame"] == 0) & ~rows["touches_edge"] & ~rows["composite"]
    table = result["survival"].query("size_class == -1")
    assert table["at_risk"].iloc[0] == whole.sum()
    lives = movie.history.lives
    ended = [lives[p] for p in rows["particle"][whole] if lives[p].fate in {"dissolution", "coalescence"}]
    assert table["ended"].sum() == len(ended)
    # the end is the first frame without the particle
    first = min(life.last.frame for life in ended) + 1
    assert table.loc[table["ended"] > 0, "time_s"].iloc[0] == pytest.approx(first / 400)
    assert result["incidence"].query("size_class == -1")["ended"].sum() == len(ended)


def test_diffusion_is_that_of_the_simulation():
    tables, _ = simulated(
        ripening_rate=0.0, spread=0.0, diffusion_nm2_per_s=3.0, particles=60, drift_nm_per_s=(40.0, -25.0), frames=100
    )
    result = study(tables, QUICK)
    found = result.headline["diffusion"]
    assert found["unit"] == "nm²/s"
    assert found["value"] == pytest.approx(3.0, rel=0.15)
    assert found["low"] < 3.0 < found["high"]


def test_the_drift_of_the_stage_is_no_motion_of_particles():
    result = study(still(drift=(3.0, -2.0)), QUICK)
    assert result["mobility"]["msd_nm2"].max() == pytest.approx(0, abs=1e-9)
    unknown = still(drift=(3.0, -2.0))
    unknown.frames["drift_y_px"] = np.nan
    moved = study(unknown, QUICK)["mobility"].query("size_class == -1 and lag_frames == 2")
    assert moved["msd_nm2"].iloc[0] == pytest.approx((2 * 3.0 * 0.2) ** 2)


def test_speeds_are_in_units_of_length_and_time():
    growth = np.linspace(-0.02, 0.02, 200)
    known, unknown = (study(still(growth=growth, calibration=c), QUICK) for c in (CALIBRATED, UNKNOWN))
    one, other = known["growth"], unknown["growth"]
    assert other["rate_px_per_frame"].to_numpy() == pytest.approx(growth[other["particle"]], abs=1e-9)
    assert one["rate_nm_per_s"].to_numpy() == pytest.approx(other["rate_px_per_frame"].to_numpy() * 0.2 / 0.1)
    assert known["environment"]["mean_nn_nm"].to_numpy() == pytest.approx(0.2 * unknown["environment"]["mean_nn_px"])
    assert known["environment"]["clark_evans"].to_numpy() == pytest.approx(unknown["environment"]["clark_evans"])
    assert known["pair_correlation"]["g"].to_numpy() == pytest.approx(unknown["pair_correlation"]["g"])


def test_local_critical_radius_is_the_mean_of_the_neighbours():
    from scipy.spatial import Delaunay

    tables = still()
    table = study(tables, QUICK)["growth"].query("window == 0").set_index("particle")
    rows = tables.particles
    first = rows["frame"] == 0
    start, near = Delaunay(np.column_stack([rows["y"][first], rows["x"][first]])).vertex_neighbor_vertices
    radius = 0.2 * 0.5 * rows["equivalent_diameter_px"][first]
    known = table["local_critical_radius_nm"].dropna()
    assert len(known) > 50
    for p, value in known.items():
        assert value == pytest.approx(radius[near[start[p] : start[p + 1]]].mean())


def test_a_crop_changes_nothing():
    tables = still()
    moved = dict(tables.particles)
    for axis, by in (("y", 300), ("x", 40)):
        moved[axis] = moved[axis] + by
        for end in "01":
            moved[f"bbox_{axis}{end}"] = moved[f"bbox_{axis}{end}"] + by
    crop = replace(tables, particles=moved, info=replace(tables.info, origin=(300, 40)))
    one, other = study(tables, QUICK), study(crop, QUICK)
    for name in ("growth", "environment", "pair_correlation"):
        pd.testing.assert_frame_equal(one[name], other[name])


def test_rows_of_unusable_frames_do_not_count():
    tables = still(drift=(0.0, 0.0))
    spoilt = dict(tables.particles)
    spoilt["y"] = np.where(spoilt["frame"] == 5, 1.0, spoilt["y"])
    flagged = tables.frames.assign(status=np.where(tables.frames["frame"] == 5, "bad", "ok"))
    result = study(replace(tables, particles=spoilt, frames=flagged), QUICK)
    assert result["mobility"]["msd_nm2"].max() == pytest.approx(0, abs=1e-9)


def test_more_positions_than_can_be_held_are_drawn_from_and_that_is_said(monkeypatch):
    monkeypatch.setattr("insitu.coarsening.looks.PATH_ROWS", 1000)
    result = study(still(), QUICK)
    assert result["mobility"].query("size_class == -1")["n_particles"].max() == 1000 // 24
    assert any("41 tracks drawn at random from 200" in c for c in result.caveats)


def test_gain_of_neighbours_is_a_number_with_a_caveat():
    from scipy.spatial import Delaunay

    tables = still(growth=np.full(200, 0.0))
    rows, gone = tables.particles, np.arange(0, 200, 13)
    first = rows["frame"] == 0
    start, near = Delaunay(np.column_stack([rows["y"][first], rows["x"][first]])).vertex_neighbor_vertices
    volume = (0.5 * rows["equivalent_diameter_px"]) ** 3
    for p in gone:
        ids = near[start[p] : start[p + 1]]
        fed = np.isin(rows["particle"], ids) & (rows["frame"] >= 12)
        volume[fed] += 0.9 * (0.5 * rows["equivalent_diameter_px"][p]) ** 3 / len(ids)
    kept = ~(np.isin(rows["particle"], gone) & (rows["frame"] >= 12))
    radius = np.cbrt(volume)
    made = particle_rows(rows["frame"], rows["particle"], radius, y=rows["y"], x=rows["x"])
    events = [(12, "dissolution", [int(p)], []) for p in gone]
    fed = world({k: v[kept] for k, v in made.items()}, 24, events=events)
    fed = replace(fed, events=fed.events.assign(event=np.arange(len(gone))))
    result = study(fed, QUICK)
    share = result.headline["neighbours_share_of_dissolved"]
    assert 0.5 < share["value"] < 1.1
    assert share["low"] > 0
    assert any("merged unseen" in c for c in result.caveats)
    assert (
        result["neighbour_gain"]["event"] == np.flatnonzero(np.isin(gone, result["neighbour_gain"]["particle"]))
    ).all()


def test_crowded_movies_are_told_of_by_fewer_windows_and_particles(monkeypatch):
    for name, value in {
        "individuals.NEIGHBOURS": 200,
        "speeds.GROWTH_ROWS": 100,
        "speeds.CORRELATED_PARTICLES": 60,
    }.items():
        monkeypatch.setattr(f"insitu.coarsening.{name}", value)
    growth = np.random.default_rng(0).normal(0, 0.02, 200)
    result = study(still(growth=growth), replace(QUICK, distribution_windows=1))
    table = result["growth"]
    assert len(table) == 100
    assert table["particle"].nunique() == 25  # with all their windows
    assert table.loc[table["window"] > 0, "local_critical_radius_nm"].isna().all()
    assert result["growth_correlation"]["n_particles"].max() <= 60
    assert sum("drawn at random" in c or "Neighbours were" in c for c in result.caveats) == 2


ODD_EVENTS = {
    "none": [],
    "of particles that were never seen": [(3, "dissolution", [9999], []), (4, "coalescence", [7777, 8888], [9999])],
    "beyond the end": [(10_000, "dissolution", [3], []), (23, "lost", [4], [])],
    "without particles": [(2, "dissolution", [], []), (2, "coalescence", [], []), (2, "mark", [], [])],
    "all at once": [(7, "dissolution", [p], []) for p in range(200)],
}


@pytest.mark.parametrize("name", ODD_EVENTS)
def test_odd_events_do_not_fail(name):
    tables = still(events=ODD_EVENTS[name])
    tables = replace(tables, events=tables.events.assign(event=np.arange(len(tables.events))))
    result = study(tables, QUICK)
    assert "growth" in result.tables
    absent = {a.what for a in result.absent}
    assert ("share of coalescence" in absent) == (name in {"none", "without particles"})


@pytest.mark.parametrize("n", [1, 2, 3, 11])
def test_few_particles_say_what_they_cannot_tell(n):
    result = study(still(n=n), QUICK)
    why = {a.what: a.why for a in result.absent}
    assert "growth correlation" in why
    assert "critical" not in result.tables
    assert any(what.startswith("critical radius in") for what in why)
    assert ("environment" in why) == (n == 1)
    assert ("mobility of all particles" in why) == (n < 5)
    assert all(np.isfinite(v["value"]) for v in result.headline.values())


def test_particles_that_all_lie_on_one_line_or_in_one_place():
    for y in (np.full(50, 500.0), np.linspace(100, 900, 50)):
        frame, particle = (v.ravel() for v in np.indices((10, 50)))
        rows = particle_rows(frame, particle, 8 + 0.01 * particle, y=y[particle], x=np.full(len(frame), 500.0))
        result = study(world(rows, 10), replace(QUICK, windows=2))
        assert result["growth"]["local_critical_radius_nm"].isna().all()
        assert "environment" in result.tables


def test_a_run_that_is_being_written_has_no_survival_but_all_the_rest():
    tables = still(finished=False)
    result = study(replace(tables, tracks=tables.tracks.iloc[:0]), QUICK)
    assert "survival" not in result.tables
    assert any("not finished" in a.why for a in result.absent)
    assert {"growth", "mobility", "environment"} <= set(result.tables)


def test_frames_that_all_have_one_time():
    tables = still(n=30)
    result = study(replace(tables, frames=tables.frames.assign(time_s=7.0)), QUICK)
    why = {a.what: a.why for a in result.absent}
    assert "times of the frames do not rise" in why["event rates"]
    assert "different times" in why["mobility"]
    assert "environment" in result.tables
