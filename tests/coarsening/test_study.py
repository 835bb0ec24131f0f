"""A study as a whole, with the inputs that go wrong."""

import errno
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from cases_coarsening import CALIBRATED, UNKNOWN, growing, particle_rows, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insitu.coarsening.columns import TABLES, columns
from insitu.coarsening.study import study
from insitu.options import CoarseningOptions
from insitu.store.disk import Disk
from insitu.store.study import SUMMARY, study_table, write_study

QUICK = CoarseningOptions(bootstrap=50, window_frames=1)


def good(**options):
    rows, _ = growing(noise=0.005)
    return study(world(rows, 40, **options), QUICK)


def written(result, folder):
    write_study(folder, {n: (v, result.described(n)) for n, v in result.columns.items()}, result.summary)
    return json.loads((folder / SUMMARY).read_text())


def numbers(value):
    """All numbers in nested JSON."""
    if isinstance(value, dict):
        return [x for v in value.values() for x in numbers(v)]
    if isinstance(value, list):
        return [x for v in value for x in numbers(v)]
    return [value] if isinstance(value, int | float) else []


def test_a_good_run_has_its_headline_with_units_and_intervals():
    result = good()
    assert result.verdict.n == 3
    radius = result.headline["mean_radius_last"]
    assert radius["unit"] == "nm"
    assert radius["low"] < radius["value"] < radius["high"]
    assert result.headline["K"]["unit"] == "nm^3/s"
    assert result.headline["growth"]["value"] == pytest.approx(2, rel=0.05)
    assert "K = " not in result.verdict.sentence
    assert {"kinetics", "fits", "distributions", "distribution_fits"} <= set(result.tables)
    assert len(result["kinetics"]["mean_radius_nm"]) == 40


def test_without_calibration_names_and_units_change():
    result = good(calibration=UNKNOWN)
    assert result.summary["units"]["length"] == "px"
    assert result.headline["K"]["unit"] == "px^3/frame"
    assert "mean_radius_px" in result["kinetics"]
    assert "time_frame" in result["kinetics"]
    assert sum("unknown" in c for c in result.caveats) == 2


def test_tables_are_written_as_parquet_and_csv_with_units_and_without_nan(tmp_path):
    import pandas as pd

    result = good()
    summary = written(result, tmp_path / "coarsening")
    assert summary["tables"]["kinetics"] == 40
    for name in result.tables:
        table = pq.read_table(tmp_path / "coarsening" / f"{name}.parquet")
        units = {f.name: f.metadata[b"unit"].decode() for f in table.schema}
        assert list(units) == [c.name for c in columns(name, result.info.units)]
        assert all(np.isfinite(c.drop_null().to_numpy()).all() for c in table.columns if c.type == "double")
        text = pd.read_csv(tmp_path / "coarsening" / f"{name}.csv")
        assert text.columns.tolist() == table.column_names
        assert len(text) == len(table)
        assert "nan" not in (tmp_path / "coarsening" / f"{name}.csv").read_text().lower()
    table = pq.read_table(tmp_path / "coarsening" / "kinetics.parquet")
    assert table.schema.field("mean_radius_nm").metadata[b"unit"] == b"nm"


def test_writing_again_replaces_the_folder_whole(tmp_path):
    folder = tmp_path / "coarsening"
    written(good(), folder)
    (folder / "old.csv").write_text("x")
    written(study(world(particle_rows([0], [0], [9.0]), 1), QUICK), folder)
    assert not (folder / "old.csv").exists()
    assert not (folder / "fits.csv").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["coarsening"]


def test_a_disk_that_fills_up_leaves_the_old_folder_whole(tmp_path):
    folder = tmp_path / "coarsening"
    written(good(), folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    class Full(Disk):
        writes = 0

        def put(self, descriptor, data):
            self.writes += 1
            if self.writes > 6:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().put(descriptor, data)

    result = good()
    tables = {n: (v, result.described(n)) for n, v in result.columns.items()}
    with pytest.raises(OSError, match="No space"):
        write_study(folder, tables, result.summary, Full())
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["coarsening"]


def test_a_value_that_must_be_known_is_never_written_as_nan(tmp_path):
    result = good()
    result.columns["fits"]["K"][0] = np.nan
    with pytest.raises(ValueError, match="column K"):
        written(result, tmp_path / "coarsening")
    assert not list(tmp_path.iterdir())


def nothing(n=0):
    return particle_rows(np.zeros(n), np.zeros(n), np.zeros(n))


ODD = {
    "no particles": (world(nothing(), 10), "no particle was found"),
    "no used frame": (world(nothing(), 3, bad=(0, 1, 2)), "no frame of the run could be used"),
    "no frames": (world(nothing(), 0), "no frame of the run could be used"),
    "one frame": (world(particle_rows([0] * 30, range(30), np.linspace(9, 12, 30)), 1), "1 time windows"),
    "two tracks": (world(growing(n=2)[0], 40), "2 merge families"),
    "one particle in one frame": (world(particle_rows([3], [0], [9.0]), 10), "1 time windows"),
    "all at the edge": (
        world(particle_rows([0, 1], [0, 0], [9.0, 9.0], edge=np.ones(2, bool)), 2),
        "no row tells a size: 2 touch the edge",
    ),
    "all composites": (
        world(particle_rows([0, 1], [0, 0], [9.0, 9.0], composite=np.ones(2, bool)), 2),
        "0 touch the edge, 2 are composites",
    ),
    "constant size": (
        world(particle_rows(np.repeat(np.arange(20), 30), np.tile(np.arange(30), 20), np.full(600, 9.0)), 20),
        "all particles have one size",
    ),
    "still being written": (world(growing()[0], 40, finished=False), None),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_input_says_what_cannot_be_computed_and_why(name, tmp_path):
    tables, why = ODD[name]
    if name == "still being written":
        tables = type(tables)(tables.info, tables.particles, tables.tracks.iloc[:0], tables.events, tables.frames)
    result = study(tables, QUICK)
    summary = written(result, tmp_path / "coarsening")
    if why:
        assert any(why in a["why"] for a in summary["not_computed"]), summary["not_computed"]
    else:
        assert any("not finished" in c for c in summary["caveats"])
    assert all(np.isfinite(x) for x in numbers(summary))
    assert "nan" not in repr(result).lower()
    assert all(a["why"] for a in summary["not_computed"])


def test_every_column_of_every_table_has_a_unit_and_a_meaning():
    for name, described in TABLES.items():
        assert len({c.name for c in described}) == len(described), name
        assert all(c.meaning for c in described), name


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    rows, _ = growing(noise=0.01)
    again = [study(world(rows, 40), CoarseningOptions(bootstrap=50, seed=s))["fits"]["K_low"][1] for s in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_volume_that_changes_and_small_sizes_are_caveats():
    rows, _ = growing(growth=0.4, r0=6.0)
    said = " ".join(study(world(rows, 40), QUICK).caveats)
    assert "volume proxy changed by -9" in said
    assert "detection limit" in said
    assert "contact angle of 90°" in said
    assert "Gibbs–Thomson" in said
    in_px = " ".join(study(world(rows, 40, calibration=UNKNOWN), QUICK).caveats)
    assert "Gibbs–Thomson" not in in_px
    assert "Datye" in said


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_table_however_odd_is_an_error_or_gives_nan(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    n_frames, n = data.draw(st.integers(1, 25)), data.draw(st.integers(0, 60))
    share = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    frame = np.sort(rng.integers(0, n_frames, n))
    # a particle is in a frame once
    particle = np.concatenate([[], *(rng.permutation(40)[: (frame == f).sum()] for f in range(n_frames))]).astype(int)
    frame = np.concatenate([[], *(np.full(min(40, (frame == f).sum()), f) for f in range(n_frames))]).astype(int)
    radius = rng.choice([1.0, 9.0, 9.0, 300.0], len(frame)) if rng.random() < 0.3 else rng.lognormal(2, 0.4, len(frame))
    flags = [rng.random(len(frame)) < share * rng.random() for _ in range(2)]
    rows = particle_rows(frame, particle, radius, edge=flags[0], composite=flags[1])
    kinds = ("coalescence", "splitting", "dissolution", "appearance", "lost", "entering", "leaving")
    events = [
        (
            int(rng.integers(0, n_frames)),
            str(rng.choice(kinds)),
            rng.integers(0, 40, 2).tolist(),
            [int(rng.integers(40))],
        )
        for _ in range(data.draw(st.integers(0, 6)))
    ]
    bad = tuple(np.flatnonzero(rng.random(n_frames) < 0.2 * share).tolist())
    calibration = data.draw(st.sampled_from([CALIBRATED, UNKNOWN]))
    tables = world(rows, n_frames, calibration=calibration, events=sorted(events), bad=bad)
    result = study(tables, CoarseningOptions(bootstrap=data.draw(st.sampled_from([0, 25])), contact_angle_deg=120.0))
    for name in result.tables:
        study_table(name, result.columns[name], result.described(name))  # refuses NaN where a value must be known
    assert all(np.isfinite(x) for x in numbers(result.summary))
