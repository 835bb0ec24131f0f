"""Reading a run back: lazily, moved, selected, and while an engine writes it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import zarr
from store_cases import CALIBRATED, UNKNOWN, World, analyse, info

from insitu.errors import CommandError, InputError
from insitu.results import open_run
from insitu.store.log import read_log

FRAMES = 120


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "run"
    analyse(info(path, frames=FRAMES), frames=FRAMES, unit=10, shard=16, fsync=False)
    return path


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "half"
    analyse(info(path, frames=FRAMES), frames=FRAMES, unit=10, shard=16, fsync=False, stop=57)
    return path


def test_finished_run(out):
    run = open_run(out)
    assert run.finished
    assert run.info["status"] == "finished"
    assert run.calibration == CALIBRATED
    assert run.counts["ok"] + run.counts["bad"] + run.counts["missing"] == FRAMES
    for name in ("particles", "tracks", "events", "frames"):
        table, expected = getattr(run, name), pd.read_parquet(out / f"{name}.parquet")
        assert len(table) == len(expected)
        assert table.columns == tuple(expected.columns)
        pd.testing.assert_frame_equal(table.to_pandas(), expected)
    assert repr(run) == f"Run('{out}', finished, {FRAMES} frames, {len(run.particles)} particle rows)"
    assert repr(run.tracks) == "<tracks: 3 rows × 20 columns>"
    assert (run.particles.units["y_nm"], run.particles.units["particle"]) == ("nm", "")


def test_run_that_is_being_written(half, out):
    run, whole = open_run(half), open_run(out)
    assert not run.finished
    assert len(run.frames) == 50
    pd.testing.assert_frame_equal(run.particles.to_pandas(), whole.particles.to_pandas(frames=slice(0, 50)))
    pd.testing.assert_frame_equal(run.frames.to_pandas(), whole.frames.to_pandas(frames=slice(0, 50)))
    assert len(run.tracks.to_pandas()) == len(run.tracks) == 0
    assert run.labels.shape[0] == 48
    assert np.array_equal(run.labels[:], whole.labels[:48])
    assert "interrupted, 50 frames" in repr(run)


def test_run_without_a_committed_frame(tmp_path):
    analyse(info(tmp_path / "run"), frames=9, stop=3, fsync=False)
    run = open_run(tmp_path / "run")
    assert len(run.particles) == 0
    assert run.particles.to_pandas().columns.tolist() == list(run.particles.columns)
    assert run.labels.shape[0] == 0
    assert len(run.labels_by_particle()) == 0


def test_reader_that_is_overtaken_by_the_end_of_the_run(tmp_path, out):
    # the parts vanish while they are read; the final table has the same rows in the same order
    path = tmp_path / "run"
    analyse(info(path, frames=FRAMES), frames=FRAMES, unit=10, shard=16, fsync=False, stop=100)
    run = open_run(path)
    batches = run.particles.batches(("frame", "particle"), frames=slice(3, None))
    read = [next(batches)]
    assert read[0].num_rows
    analyse(info(path, frames=FRAMES), frames=FRAMES, unit=10, shard=16, fsync=False, resume=True)
    assert run.finished
    read += list(batches)
    rows = pd.concat([b.to_pandas() for b in read], ignore_index=True)
    expected = open_run(out).particles.to_pandas(("frame", "particle"), frames=slice(3, None))
    pd.testing.assert_frame_equal(rows, expected.iloc[: len(rows)])
    # at least the 100 frames that were safe when reading began
    assert len(rows) >= (expected.frame < 100).sum()


def test_vanished_part_of_an_unfinished_run_is_an_error(tmp_path):
    analyse(info(tmp_path / "run"), frames=30, unit=10, fsync=False, stop=20)
    (tmp_path / "run/parts/frames-00000010.parquet").unlink()
    with pytest.raises(InputError, match=r"damaged: a part of frames is missing .*frames-00000010.parquet"):
        open_run(tmp_path / "run").frames.to_pandas()


SELECTIONS = {
    "int": (5, [5]),
    "numpy": (np.int64(5), [5]),
    "range": (range(3, 9), range(3, 9)),
    "steps": (range(0, 50, 7), range(0, 50, 7)),
    "from": (slice(100, None), range(100, 10**6)),
    "to": (slice(None, 4), range(4)),
    "list": ([1, 99, 5], [1, 99, 5]),
    "set": ({2}, [2]),
    "array": (np.array([8, 9, 10]), [8, 9, 10]),
    "nothing": ([], []),
    "beyond": (10**6, []),
}


@pytest.mark.parametrize("way", SELECTIONS)
@pytest.mark.parametrize("name", ["particles", "events", "frames"])
def test_selected_frames(out, name, way):
    frames, wanted = SELECTIONS[way]
    table = getattr(open_run(out), name)
    everything = table.to_pandas()
    expected = everything[everything.frame.isin(wanted)].reset_index(drop=True)
    pd.testing.assert_frame_equal(table.to_pandas(frames=frames), expected)


@pytest.mark.parametrize("way", SELECTIONS)
def test_tracks_alive_in_frames(out, way):
    # the three tracks live from frame 0 to frame 9
    frames, wanted = SELECTIONS[way]
    alive = any(frame <= 9 for frame in wanted)
    assert len(open_run(out).tracks.to_pandas(frames=frames)) == (3 if alive else 0)


def test_selected_particles(out):
    run = open_run(out)
    everything = run.particles.to_pandas()
    ids = everything.particle.drop_duplicates().sample(5, random_state=0).tolist()
    read = run.particles.to_pandas(("y", "particle"), particles=ids)
    assert read.columns.tolist() == ["y", "particle"]
    pd.testing.assert_frame_equal(
        read, everything.loc[everything.particle.isin(ids), ["y", "particle"]].reset_index(drop=True)
    )
    both = run.particles.to_pandas(particles=ids, frames=range(60))
    assert both.particle.isin(ids).all()
    assert (both.frame < 60).all()
    assert len(run.tracks.to_pandas(particles=[0, 2, 77])) == 2


def test_events_of_a_particle(out):
    run = open_run(out)
    events = run.events.to_pandas()
    particle = int(events.children[3][0])
    expected = events[[particle in (*p, *c) for p, c in zip(events.parents, events.children, strict=True)]]
    read = run.events.to_pandas(("kind", "frame"), particles=particle)
    assert len(read) == len(expected) > 0
    assert read.frame.tolist() == expected.frame.tolist()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"columns": ["radius"]}, "particles has no column 'radius'"),
        ({"frames": slice(-5, None)}, "cannot be selected"),
        ({"frames": slice(0, 9, 2)}, "cannot be selected"),
        ({"particles": [1.5]}, "not whole numbers"),
    ],
)
def test_selection_that_makes_no_sense(out, what, message):
    with pytest.raises(CommandError) as refused:
        open_run(out).particles.to_pandas(**what)
    assert message in refused.value.message


def test_frames_cannot_be_selected_by_particle(out):
    with pytest.raises(CommandError, match="frames cannot be selected by particle"):
        open_run(out).frames.to_pandas(particles=3)


def test_a_table_cut_short_is_damage(tmp_path):
    analyse(info(tmp_path / "a"), frames=20, fsync=False)
    table = tmp_path / "a" / "particles.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged: particles is no whole parquet file"):
        open_run(tmp_path / "a").particles.to_pandas()


def test_labels_by_particle_are_the_labels_with_track_ids(out):
    painted, world = open_run(out).labels_by_particle(), World()
    assert painted.shape == (FRAMES, 48, 64)
    for k in range(FRAMES):
        result = world.result(k)
        if k in {0, 3, 11, 30, 119}:
            expected = np.concatenate([[-1], result.ids])[world.labels(k)]
            assert np.array_equal(painted[k], expected)
    assert np.array_equal(painted[-1], painted[FRAMES - 1])
    assert np.array_equal(painted[3:12:8], np.stack([painted[3], painted[11]]))
    assert painted[5:5].shape == (0, 48, 64)
    with pytest.raises(IndexError):
        painted[FRAMES]


def test_labels_by_particle_of_every_third_frame(tmp_path):
    run = info(tmp_path / "run", frames=20, first=5, step=3)
    analyse(run, frames=20, fsync=False)
    painted, world = open_run(run.out).labels_by_particle(), World(first=5, step=3)
    results = [world.result(k) for k in range(20)]
    assert results[4].frame.index == 17
    assert np.array_equal(painted[4], np.concatenate([[-1], results[4].ids])[world.labels(4)])


def test_moved_run(tmp_path, monkeypatch):
    analyse(info(tmp_path / "a"), frames=20, fsync=False)
    (tmp_path / "a").rename(tmp_path / "b c")
    monkeypatch.chdir(tmp_path)
    run = open_run("b c")
    assert len(run.frames.to_pandas()) == 20
    assert run.labels.shape[0] == 20


def test_uncalibrated_run_reads_without_physical_columns(tmp_path):
    analyse(info(tmp_path / "run", calibration=UNKNOWN), frames=12, unit=5, fsync=False, stop=11)
    run = open_run(tmp_path / "run")
    assert run.calibration.nm_per_px is None
    assert not [c for c in run.particles.to_pandas().columns if "nm" in c]


def test_run_without_labels(tmp_path):
    analyse(info(tmp_path / "run"), frames=5, labels=False, fsync=False)
    with pytest.raises(InputError, match="no label images"):
        open_run(tmp_path / "run").labels  # noqa: B018 - the property raises


def test_folders_that_are_no_runs(tmp_path):
    for path, says in ((tmp_path / "nowhere", "there is no folder"), (tmp_path, "is not an insitu run")):
        with pytest.raises(InputError, match=says) as error:
            open_run(path)
        assert str(error.value).count("\n") == 1
        assert str(path) in error.value.message


def test_run_of_a_newer_schema(tmp_path):
    analyse(info(tmp_path / "run"), frames=3, fsync=False)
    about = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(about | {"schema": 9}))
    with pytest.raises(InputError, match="schema 9"):
        open_run(tmp_path / "run")


KNOWN = {"nm_per_px": 0.2, "nm_source": "t", "s_per_frame": None, "s_source": "unknown"}


@pytest.mark.parametrize(
    "known", [None, {}, "0.2", {"nm_per_px": 0.2}, KNOWN | {"nm_per_px": "0.2"}, KNOWN | {"s_per_frame": -1}]
)
def test_a_calibration_that_cannot_be_understood_is_damage(tmp_path, known):
    about = {"schema": 1, "insitu": "0.1.0", "calibration": KNOWN}
    (tmp_path / "run.json").write_text(json.dumps(about))
    assert open_run(tmp_path).calibration.nm_per_px == 0.2
    (tmp_path / "run.json").write_text(json.dumps(about | {"calibration": known}))
    with pytest.raises(InputError, match=r"is damaged: run\.json says no calibration"):
        open_run(tmp_path)


def test_everything_opens_without_insitu(out):
    assert len(pd.read_parquet(out / "particles.parquet", filters=[("frame", "<", 5)])) > 0
    group = zarr.open_group(out / "labels.ome.zarr", mode="r")
    assert group["0"].shape[0] == read_log(out).planes
