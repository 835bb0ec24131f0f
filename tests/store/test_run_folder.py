"""What a run folder promises: same bytes for any units, clear refusals, no loss, no duplicates."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_cases import ABOUT, CALIBRATED, SETTINGS, UNKNOWN, World, analyse, digest, image, info, tracks

from insitu.errors import CommandError, InputError, ResourceError
from insitu.options import StoreOptions
from insitu.store.commit import RunFolder
from insitu.store.disk import Disk
from insitu.store.log import read_log
from insitu.store.rows import Clock
from insitu.types import Calibration, Sink

FRAMES = 150


def create(out, *, text=SETTINGS, about=ABOUT, overwrite=False, run=None, **options):
    return RunFolder.create(
        run or info(out), settings_text=text, about=about, options=StoreOptions(**options), overwrite=overwrite
    )


def resume(out, *, text=SETTINGS, about=ABOUT, run=None, **options):
    return RunFolder.resume(run or info(out), settings_text=text, about=about, options=StoreOptions(**options))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "run"
    analyse(info(out, frames=FRAMES), frames=FRAMES, unit=64, shard=64, fsync=False)
    return out


@pytest.mark.parametrize("unit", [1, 7, 100, 4096])
def test_unit_length_changes_no_byte(tmp_path, reference, unit):
    analyse(info(tmp_path / "run", frames=FRAMES), frames=FRAMES, unit=unit, shard=64, fsync=False)
    assert digest(tmp_path / "run") == digest(reference)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    unit=st.integers(1, 30),
    shard=st.integers(1, 30),
    stops=st.lists(st.integers(0, 40), max_size=3).map(sorted),
    first=st.sampled_from([0, 5]),
    step=st.sampled_from([1, 3]),
)
def test_any_units_shards_and_interruptions(tmp_path_factory, *, unit, shard, stops, first, step):
    base = tmp_path_factory.mktemp("any")
    whole, cut = (info(base / n, frames=40, first=first, step=step) for n in ("whole", "cut"))
    analyse(whole, frames=40, unit=40, shard=shard, fsync=False)
    for stop in stops:
        analyse(cut, frames=40, unit=unit, shard=shard, fsync=False, stop=stop, resume=True)
    analyse(cut, frames=40, unit=unit, shard=shard, fsync=False, resume=True)
    assert digest(cut.out) == digest(whole.out)
    labels = zarr.open_array(cut.out / "labels.ome.zarr/0", mode="r")
    assert labels.shape[0] == 40
    assert np.array_equal(labels[:], np.stack([World().labels(k) for k in range(40)]))
    shutil.rmtree(base)


def test_tables_hold_what_was_added(reference):
    world = World()
    results = [world.result(k) for k in range(FRAMES)]
    particles = pd.read_parquet(reference / "particles.parquet")
    assert particles.particle.tolist() == np.concatenate([r.ids for r in results]).tolist()
    assert particles.frame.tolist() == [r.frame.index for r in results for _ in r.ids]
    for name in ("y", "area_px", "bbox_x1", "mean_intensity", "touches_edge"):
        assert np.array_equal(particles[name], np.concatenate([getattr(r.particles, name) for r in results]))
    assert np.array_equal(particles.area_nm2, particles.area_px * (0.2 * 0.2))
    assert np.array_equal(particles.time_s, particles.frame * 0.0025)
    frames = pd.read_parquet(reference / "frames.parquet")
    assert frames.frame.tolist() == list(range(FRAMES))
    assert frames.status.tolist() == [r.frame.status for r in results]
    assert [list(f) for f in frames["flags"]] == [list(r.flags) for r in results]
    assert frames.n_particles.tolist() == [len(r.ids) for r in results]
    assert frames.threshold.isna().tolist() == [r.frame.status != "ok" for r in results]
    used = frames.status == "ok"
    filled = np.array([(World().labels(k) > 0).mean() for k in range(FRAMES)])
    assert np.allclose(frames.area_fraction[used], filled[used], rtol=0, atol=1e-15)
    assert frames.area_fraction[~used].isna().all()


def test_events_are_numbered_in_order_of_decision_and_keep_their_lists(reference):
    world = World()
    expected = [e for k in range(FRAMES) for e in world.result(k).events] + list(world.last_events())
    events = pd.read_parquet(reference / "events.parquet")
    assert events.event.tolist() == list(range(len(expected)))
    assert [tuple(p) for p in events.parents] == [e.parents for e in expected]
    assert [tuple(c) for c in events.children] == [e.children for e in expected]
    assert [tuple(c) for c in events.parent_areas_px] == [e.parent_areas_px for e in expected]
    assert np.allclose(events.time_s, [e.frame * 0.0025 for e in expected])
    assert events.contact_frame.isna().all()
    assert events.gap_px.isna().all()


def test_events_take_the_recorded_time_of_their_frame(tmp_path):
    # an irregular time base: the time of an earlier frame, committed before a resume, is still known
    out, world = tmp_path / "run", World()

    def result(k):
        plain = world.result(k)
        return dataclasses.replace(plain, frame=dataclasses.replace(plain.frame, time_s=k * k / 8))

    with create(out, unit_frames=4, shard_frames=4) as folder:
        for k in range(8):
            folder.add(result(k))
        folder.commit(world.state())
    with resume(out, unit_frames=4, shard_frames=4) as folder:
        for k in range(8, 9):
            folder.add(result(k))
        folder.finish({}, events=world.last_events())
    events = pd.read_parquet(out / "events.parquet")
    assert np.array_equal(events.time_s, events.frame**2 / 8)


def test_times_of_frames_far_apart_are_kept_as_long_as_those_of_neighbours():
    clock = Clock(CALIBRATED, memory=4, step=1000)
    for k in range(6):
        clock.remember(1000 * k, k / 8)
    assert [clock.time(1000 * k) for k in range(2, 6)] == [k / 8 for k in range(2, 6)]
    assert clock.time(1000) == 1000 * CALIBRATED.s_per_frame


def test_unknown_calibration_gives_no_physical_columns(tmp_path):
    run = info(tmp_path / "run", calibration=UNKNOWN, frames=20)
    analyse(run, frames=20, fsync=False, world=World(first=0))
    for table in ("particles", "events", "tracks"):
        columns = pd.read_parquet(run.out / f"{table}.parquet").columns
        assert not [c for c in columns if "_nm" in c or c.endswith("_s")]
    frames = pd.read_parquet(run.out / "frames.parquet")
    assert {"time_s", "exposure_s"} == {c for c in frames.columns if c.endswith("_s")}


def test_pixel_size_alone_gives_lengths_but_no_speeds(tmp_path):
    run = info(tmp_path / "run", calibration=Calibration(nm_per_px=2.0), frames=20)
    analyse(run, frames=20, fsync=False)
    read = pd.read_parquet(run.out / "tracks.parquet")
    assert np.array_equal(read.displacement_nm, read.displacement_px * 2)
    assert "growth_nm_per_s" not in read.columns
    assert "time_s" not in pd.read_parquet(run.out / "particles.parquet").columns


def test_no_particles_at_all(tmp_path):
    out = tmp_path / "run"
    analyse(info(out, frames=70), frames=70, fsync=False, world=World(empty=True))
    assert len(pd.read_parquet(out / "particles.parquet")) == 0
    assert len(pd.read_parquet(out / "events.parquet")) == 0
    assert "equivalent_diameter_nm" in pd.read_parquet(out / "particles.parquet").columns
    frames = pd.read_parquet(out / "frames.parquet")
    assert len(frames) == 70
    assert frames.mean_equivalent_diameter_px.isna().all()
    assert not zarr.open_array(out / "labels.ome.zarr/0", mode="r")[:].any()


def test_no_frames_at_all(tmp_path):
    folder = create(tmp_path / "run")
    folder.finish({})
    assert len(pd.read_parquet(tmp_path / "run" / "frames.parquet")) == 0
    assert zarr.open_array(tmp_path / "run" / "labels.ome.zarr/0", mode="r").shape == (0, 48, 64)


def test_without_labels(tmp_path, reference):
    out = tmp_path / "run"
    analyse(info(out, frames=FRAMES), frames=FRAMES, unit=9, labels=False, fsync=False, stop=50)
    analyse(info(out, frames=FRAMES), frames=FRAMES, unit=9, labels=False, fsync=False, resume=True)
    assert not (out / "labels.ome.zarr").exists()
    assert digest(out).items() <= digest(reference).items()


def test_frame_out_of_order_is_refused(tmp_path):
    with create(tmp_path / "run") as folder:
        folder.add(World().result(0))
        with pytest.raises(ValueError, match="frame 2 given where frame 1 is next"):
            folder.add(World().result(2))


def test_runs_of_another_shape_are_refused(tmp_path):
    with create(tmp_path / "run") as folder:
        result = World().result(0)
        result = dataclasses.replace(result, runs=dataclasses.replace(result.runs, shape=(4, 4)))
        with pytest.raises(ValueError, match="do not fit"):
            folder.add(result)


def test_only_committed_frames_are_kept_on_close(tmp_path):
    out, world = tmp_path / "run", World()
    with create(out, unit_frames=4) as folder:
        assert isinstance(folder, Sink)
        for k in range(6):
            folder.write(world.result(k))
            if folder.due:
                assert folder.commit(world.state()) == 4
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    with resume(out, unit_frames=4) as folder:
        assert (folder.committed, folder.next_frame) == (4, 4)
        assert json.loads((out / "run.json").read_text())["status"] == "running"
        assert sum(len(rows["frame"]) for rows in folder.rows("frames")) == 4
        assert folder.state["kind"] == "optimal"


def test_state_of_the_tracker_comes_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    state = {
        "float/values": rng.random((3, 4)), "ids": np.arange(5, dtype=np.int64), "none": np.empty((0, 2), np.int32),
        "flag": np.ones((), bool), "text": np.array("dark"), "file": np.float32(1.5) * np.ones(2, np.float32),
    }  # fmt: skip
    with create(tmp_path / "run") as folder:
        folder.add(World().result(0))
        folder.commit(state)
    with resume(tmp_path / "run") as folder:
        assert folder.state.keys() == state.keys()
        for name, value in state.items():
            assert folder.state[name].dtype == value.dtype
            assert np.array_equal(folder.state[name], value)


def test_run_json_says_how_it_went(reference):
    about = json.loads((reference / "run.json").read_text())
    statuses = [World().status(k) for k in range(FRAMES)]
    assert {s: about["counts"][s] for s in ("ok", "bad", "missing")} == {
        s: statuses.count(s) for s in ("ok", "bad", "missing")
    }
    assert about["counts"]["particles"] == len(pd.read_parquet(reference / "particles.parquet"))
    assert (about["status"], about["exit"], about["schema"]) == ("finished", 5, 1)
    assert about["calibration"]["nm_source"] == "test"
    assert about["metrics"] == {"fps": 1.0}
    assert (reference / "settings.toml").read_text() == SETTINGS


@pytest.mark.parametrize("member", ["", "::/a/b"])
def test_source_path_is_kept_relative(tmp_path, member):
    movie = tmp_path / "data" / "movie.tif"
    movie.parent.mkdir()
    movie.touch()
    run = info(tmp_path / "out")
    run = dataclasses.replace(run, source=dataclasses.replace(run.source, path=f"{movie}{member}"))
    create(run.out, run=run).close()
    assert json.loads((run.out / "run.json").read_text())["source"]["path"] == f"../data/movie.tif{member}"


def test_values_json_cannot_hold(tmp_path):
    about = ABOUT | {"host": {"speed": float("nan"), "cores": np.int64(2), "shape": (1, 2)}, "status": "mine"}
    create(tmp_path / "run", about=about).close()
    read = json.loads((tmp_path / "run/run.json").read_text())
    assert read["host"] == {"speed": None, "cores": 2, "shape": [1, 2]}
    assert read["status"] == "interrupted"


class TestRefusals:
    def test_finished_run_is_not_replaced(self, tmp_path):
        out = tmp_path / "run"
        analyse(info(out), frames=12, fsync=False)
        before = digest(out)
        with pytest.raises(CommandError) as refused:
            create(out)
        assert "exists (finished 20" in refused.value.message
        assert "12 frames" in refused.value.message
        assert "--resume" in refused.value.hint
        assert "--overwrite" in refused.value.hint
        assert digest(out) == before
        assert not (out / "lock").exists()

    def test_unfinished_run_is_not_replaced(self, tmp_path):
        analyse(info(tmp_path / "run"), frames=20, unit=8, fsync=False, stop=17)
        with pytest.raises(CommandError, match="interrupted, not finished, 16 frames safe"):
            create(tmp_path / "run")

    def test_overwrite_replaces_a_run_and_keeps_what_it_does_not_know(self, tmp_path):
        out = tmp_path / "run"
        analyse(info(out), frames=20, unit=8, fsync=False, stop=17)
        (out / "my notes.txt").write_text("precious")
        (out / "figures").mkdir()
        create(out, overwrite=True).close()
        assert read_log(out).planes == 0
        assert not (out / "parts").exists()
        assert not (out / "figures").exists()
        assert (out / "my notes.txt").read_text() == "precious"

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_that_is_no_run_is_left_alone(self, tmp_path, overwrite):
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(CommandError, match="not an insitu run"):
            create(tmp_path, overwrite=overwrite)
        assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]

    def test_resume_of_a_folder_that_is_no_run(self, tmp_path):
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(CommandError, match="not an insitu run"):
            resume(tmp_path)

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "out").write_text("")
        with pytest.raises(CommandError, match="not a folder"):
            create(tmp_path / "out")
        with pytest.raises(CommandError):
            create(tmp_path / "out" / "deeper")

    def test_an_empty_folder_is_used(self, tmp_path):
        create(tmp_path).close()
        assert (tmp_path / "run.json").exists()

    def test_resume_without_a_run_begins_one_and_says_so(self, tmp_path):
        with resume(tmp_path / "run") as folder:
            assert folder.committed == 0
            assert "began a new run" in folder.notes[0]

    def test_finished_run_is_resumed_as_a_no_op(self, tmp_path):
        out = tmp_path / "run"
        analyse(info(out), frames=12, fsync=False)
        before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
        folder = resume(out)
        assert folder.finished
        assert "is finished (12 frames)" in folder.notes[0]
        folder.finish({})
        folder.close()
        assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"text": SETTINGS.replace("0.5", "0.4")}, "segment.threshold was 0.5, now 0.4"),
            ({"about": ABOUT | {"source": {"fingerprint": {"sha256": "b", "bytes": 9}}}}, "source fingerprint"),
            ({"about": ABOUT | {"identity": {"device": "cuda"}}}, "identity device was cpu, now cuda"),
            ({"step": 2}, "geometry step was 1, now 2"),
            ({"calibration": Calibration(0.3, "test", 0.0025, "test")}, "calibration nm_per_px was 0.2, now 0.3"),
        ],
    )
    def test_resume_of_another_run_says_what_differs(self, tmp_path, change, says):
        out = tmp_path / "run"
        analyse(info(out), frames=20, unit=8, fsync=False, stop=17)
        before = digest(out)
        run = info(out, **{k: v for k, v in change.items() if k in {"step", "calibration"}})
        with pytest.raises(CommandError) as refused:
            resume(out, run=run, **{k: v for k, v in change.items() if k in {"text", "about"}})
        assert says in refused.value.message
        assert ("movie" in refused.value.hint) == (says == "source fingerprint")
        assert digest(out) == before
        assert not (out / "lock").exists()

    def test_settings_that_change_no_result_may_differ(self, tmp_path):
        analyse(info(tmp_path / "run"), frames=20, unit=8, fsync=False, stop=17)
        resume(tmp_path / "run", text=SETTINGS.replace("64", "3")).close()

    def test_run_of_a_newer_schema(self, tmp_path):
        out = tmp_path / "run"
        create(out).close()
        about = json.loads((out / "run.json").read_text()) | {"schema": 3, "insitu": "0.3"}
        (out / "run.json").write_text(json.dumps(about))
        with pytest.raises(InputError, match=r"written by insitu 0.3 \(schema 3\); this is .* \(schema 1\)") as refused:
            resume(out)
        assert "pip install -U insitu" in refused.value.hint

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_place_without_permission(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(CommandError, match="cannot write"):
            create(tmp_path / "run")

    def test_second_engine_is_kept_out(self, tmp_path):
        with create(tmp_path / "run"):
            with pytest.raises(CommandError, match=f"another engine is working.*process {os.getpid()}"):
                resume(tmp_path / "run")
            with pytest.raises(CommandError, match="another engine"):
                create(tmp_path / "run", overwrite=True)
        resume(tmp_path / "run").close()

    def test_stale_lock_is_taken_over_with_a_message(self, tmp_path):
        out = tmp_path / "run"
        create(out).close()
        (out / "lock").write_text(json.dumps({"pid": 4_000_000, "boot": "another"}))
        with resume(out) as folder:
            assert "took over the lock of process 4000000 of an earlier boot" in folder.notes[0]
            with (out / "lock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not (out / "lock").exists()


class TestDamage:
    @pytest.fixture
    def half(self, tmp_path):
        analyse(info(tmp_path / "run", frames=FRAMES), frames=FRAMES, unit=9, shard=64, fsync=False, stop=80)
        return tmp_path / "run"

    def finish(self, out):
        return analyse(info(out, frames=FRAMES), frames=FRAMES, unit=9, shard=64, fsync=False, resume=True)

    @pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99, 1.0])
    def test_torn_last_line(self, tmp_path, reference, kept):
        class Killed(BaseException):
            pass

        class TearingDisk(Disk):
            lines = 0

            def append(self, path, data):
                if path.name == "commits.jsonl":
                    self.lines += 1
                    if self.lines == 6:
                        super().append(path, data[: int(kept * (len(data) - 1)) + (kept == 1.0)])
                        raise Killed
                super().append(path, data)

        out = tmp_path / "run"
        with pytest.raises(Killed):
            analyse(info(out), frames=FRAMES, unit=9, disk=TearingDisk(fsync=False))
        assert read_log(out).planes == (54 if kept == 1.0 else 45)
        assert self.finish(out).committed == FRAMES
        assert digest(out) == digest(reference)

    def test_half_a_line_more(self, half, reference):
        with (half / "commits.jsonl").open("ab") as file:
            file.write(b'{"schema": 1, "first": 81, "pl')
        self.finish(half)
        assert digest(half) == digest(reference)

    def test_everything_unnamed_is_discarded(self, half, reference):
        (half / "parts" / "particles-00000090.parquet").write_bytes(b"junk")
        (half / "parts" / "particles-00000072.parquet.tmp").write_bytes(b"junk")
        (half / "particles.parquet").write_bytes(b"junk")
        (half / "run.json.tmp").write_bytes(b"junk")
        (half / "state" / "tracker-00000090.npz").write_bytes(b"junk")
        shard = half / "labels.ome.zarr" / "0" / "c" / "1" / "0"
        shard.mkdir(parents=True)
        (shard / "0").write_bytes(b"junk")
        with (half / "problems.jsonl").open("ab") as file:
            file.write(b"junk\n")
        self.finish(half)
        assert digest(half) == digest(reference)

    @pytest.mark.parametrize(
        "name", ["parts/particles-00000009.parquet", "state/planes-00000064.npz", "labels.ome.zarr/0/c/0/0/0"]
    )
    def test_missing_file_that_the_log_names(self, half, name):
        (half / name).unlink()
        with pytest.raises(InputError, match="damaged") as error:
            self.finish(half)
        assert f"{name}, named in commits.jsonl, is missing" in error.value.message
        assert "--overwrite" in error.value.hint

    def test_changed_byte_in_a_part(self, half):
        part = half / "parts" / "frames-00000009.parquet"
        data = bytearray(part.read_bytes())
        data[100] ^= 1
        part.write_bytes(data)
        with pytest.raises(InputError, match=r"frames-00000009.parquet is not the file that commits.jsonl names"):
            self.finish(half)

    def test_unreadable_line_in_the_middle(self, half):
        lines = (half / "commits.jsonl").read_bytes().splitlines(keepends=True)
        lines[1] = b"{}\n"
        (half / "commits.jsonl").write_bytes(b"".join(lines))
        with pytest.raises(InputError, match=r"line 2 of commits.jsonl cannot be read"):
            self.finish(half)

    def test_lost_run_json(self, half):
        (half / "run.json").unlink()
        with pytest.raises(InputError, match=r"lost its run.json"):
            self.finish(half)

    def test_lost_settings(self, half):
        (half / "settings.toml").unlink()
        with pytest.raises(InputError, match=r"settings.toml cannot be read"):
            self.finish(half)

    def test_foreign_settings(self, half):
        (half / "settings.toml").write_text("[[")
        with pytest.raises(InputError, match=r"settings.toml cannot be read"):
            self.finish(half)

    def test_foreign_run_json(self, half):
        (half / "run.json").write_text("[]")
        with pytest.raises(InputError, match=r"not the run.json of an insitu run"):
            self.finish(half)


class TestProblems:
    def lines(self, out):
        return [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]

    def test_each_problem_once_whatever_is_resumed(self, tmp_path):
        out, world = tmp_path / "run", World()
        with create(out, unit_frames=2) as folder:
            folder.problem(None, "movie.tif", "no pixel size")
            folder.problem(1, "b.tif", "truncated")
            folder.problem(3, "d.tif", "read ahead, not committed")
            for k in (0, 1):
                folder.add(world.result(k))
            folder.commit(world.state())
        assert [p["frame"] for p in self.lines(out)] == [None, 1]
        with resume(out, unit_frames=2) as folder:
            folder.problem(None, "movie.tif", "no pixel size")
            folder.problem(3, "d.tif", "read ahead, not committed")
            for k in (2, 3):
                folder.add(world.result(k))
            folder.finish({})
        assert [p["frame"] for p in self.lines(out)] == [None, 1, 3]
        assert self.lines(out)[2]["what"] == "read ahead, not committed"


def test_moved_run_goes_on(tmp_path, reference):
    analyse(info(tmp_path / "a", frames=FRAMES), frames=FRAMES, unit=9, fsync=False, stop=80)
    (tmp_path / "a").rename(tmp_path / "b")
    analyse(info(tmp_path / "b", frames=FRAMES), frames=FRAMES, unit=9, fsync=False, resume=True)
    assert digest(tmp_path / "b") == digest(reference)


def test_memory_of_a_unit_does_not_hold_runs_or_pixels(tmp_path):
    with create(tmp_path / "run", unit_frames=100) as folder:
        result = World().result(0)
        result = dataclasses.replace(result, frame=dataclasses.replace(result.frame, image=image(0)))
        folder.add(result)
        held = folder._unit.waiting.results[0]
        assert held.frame.image is None
        assert len(held.runs) == 0


def test_tracks_get_their_twins(reference):
    read = pd.read_parquet(reference / "tracks.parquet")
    given = tracks()
    assert read.particle.tolist() == [0, 1, 2]
    assert [tuple(c) for c in read.children] == given["children"]
    assert np.allclose(read.growth_nm_per_s, given["growth_px_per_frame"] * 0.2 / 0.0025)


def test_disk_error_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("insitu.store.lock.fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks")))
    with pytest.raises(ResourceError, match="No locks"):
        create(tmp_path / "run")
