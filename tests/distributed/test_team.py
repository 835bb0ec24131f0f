"""Frames that workers analysed, linked in one place: the bytes of a run in one process, whatever the order."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time

import pytest
import tifffile
from distributed_cases import FRAMES, SETTINGS, Here, digest, touching, with_, write_movie

import insitu
from insitu.distributed import work
from insitu.distributed.plan import range_frames, read_plan
from insitu.distributed.stages import plan_run, planned_tasks
from insitu.distributed.team import Orders, Team
from insitu.distributed.work import Task, analyse_range
from insitu.errors import CommandError, InputError
from insitu.intake import Selection
from insitu.pipeline import process
from insitu.store.ranges import range_path


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return write_movie(tmp_path_factory.mktemp("movie") / "movie.tif")


@pytest.fixture(scope="module")
def whole(movie, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    process(movie, out, SETTINGS)
    return out


def by_team(movie, out, settings=SETTINGS, workers=None, *, stop=None, progress=None, **orders):
    team = Team(workers or Here(), Orders(settings, **orders))
    return team.process(str(movie), out, stop=stop, progress=progress)


def about(out):
    return json.loads((out / "run.json").read_text())


def test_the_movie_has_what_could_go_wrong(whole):
    run = insitu.open(whole)
    assert {"coalescence"} <= set(run.events.to_pandas()["kind"])
    assert run.frames.to_pandas()["status"].tolist().count("bad") == 1
    assert run.particles.to_pandas()["composite"].any()


def test_tables_and_labels_are_those_of_one_process(movie, whole, tmp_path):
    summary = by_team(movie, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(whole)
    assert (summary.exit_code, summary.total, summary.bad) == (5, FRAMES, 1)
    assert about(tmp_path / "out")["metrics"]["workers"]["analysed"] == 5
    assert not (tmp_path / "out" / "ranges").exists()
    assert (tmp_path / "out" / "problems.jsonl").read_bytes() == (whole / "problems.jsonl").read_bytes()


def test_particles_that_are_cut_apart_are_painted_again(movie, whole, tmp_path):
    settings = with_(events__in_contact="split")
    process(movie, tmp_path / "one", settings)
    by_team(movie, tmp_path / "many", settings)
    assert digest(tmp_path / "many") == digest(tmp_path / "one")
    assert digest(tmp_path / "one") != digest(whole)


def test_every_third_frame(movie, tmp_path):
    chosen = Selection(4, 38, 3)
    process(movie, tmp_path / "one", SETTINGS, selection=chosen)
    by_team(movie, tmp_path / "many", selection=chosen)
    assert digest(tmp_path / "many") == digest(tmp_path / "one")


def test_numbered_images_with_a_gap(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for k, image in enumerate(touching()):
        if k not in (5, 6, 20):
            tifffile.imwrite(folder / f"image_{k:04d}.tif", image)
    settings = with_(link__max_gap_frames=1)
    process(folder, tmp_path / "one", settings)
    summary = by_team(folder, tmp_path / "many", settings)
    assert digest(tmp_path / "many") == digest(tmp_path / "one")
    assert (summary.missing, summary.bad) == (3, 1)


def test_without_labels(movie, tmp_path):
    settings = with_(store__labels=False, prepare__bin=2)
    process(movie, tmp_path / "one", settings)
    by_team(movie, tmp_path / "many", settings)
    assert digest(tmp_path / "many") == digest(tmp_path / "one")


def test_a_bad_frame_stops_the_run_where_it_shall(movie, whole, tmp_path):
    settings = with_(read__on_bad="stop")
    with pytest.raises(InputError, match="frame 17 of"):
        by_team(movie, tmp_path / "out", settings)
    assert about(tmp_path / "out")["exit"] == 3
    by_team(movie, tmp_path / "out", SETTINGS, resume=True)
    assert digest(tmp_path / "out") == digest(whole)


def test_what_is_analysed_is_not_analysed_again(movie, whole, tmp_path):
    stop = threading.Event()

    def halfway(seen):
        if seen.done == 15:
            stop.set()

    first = by_team(movie, tmp_path / "out", stop=stop, progress=halfway)
    assert first.interrupted
    assert about(tmp_path / "out")["status"] == "interrupted"
    frames = read_plan(tmp_path / "out").range_frames
    workers = Here(jobs=1)  # other ranges would be fair for one worker: those of the plan stay
    by_team(movie, tmp_path / "out", workers=workers, resume=True)
    assert {t.stop - t.first for t in workers.tasks} == {frames}
    assert digest(tmp_path / "out") == digest(whole)
    done = about(tmp_path / "out")["metrics"]["workers"]
    assert (done["analysed"], done["found"]) == (0, len(workers.tasks))


def test_a_run_of_one_process_goes_on_with_workers_and_back(movie, whole, tmp_path):
    def stopped_at(frame):
        stop = threading.Event()
        return {"stop": stop, "progress": lambda seen: seen.done == frame and stop.set()}

    assert process(movie, tmp_path / "out", SETTINGS, **stopped_at(9)).interrupted
    assert by_team(movie, tmp_path / "out", resume=True, **stopped_at(22)).interrupted
    assert not process(movie, tmp_path / "out", SETTINGS, resume=True).interrupted
    assert digest(tmp_path / "out") == digest(whole)
    assert not (tmp_path / "out" / "ranges").exists()


def test_a_range_may_be_done_twice(movie, tmp_path, monkeypatch):
    workers = Here()
    team = Team(workers, Orders(SETTINGS), [(str(movie), tmp_path / "out")])
    team._begin_more()
    task = workers.tasks[1]
    path = range_path(tmp_path / "out", task.key, task.first, task.stop)
    assert not analyse_range(task).found
    once = path.read_bytes()
    monkeypatch.setattr("time.localtime", lambda *_: time.gmtime(0))  # archives like to know the time
    assert analyse_range(task).found
    path.unlink()
    analyse_range(task)
    assert path.read_bytes() == once
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".tmp"] == []
    team.close()


def test_what_killed_workers_left_is_removed(movie, whole, tmp_path):
    task = planned(movie, tmp_path / "out")
    folder = tmp_path / "out" / "ranges"
    for name, age in (("old", 3600), ("new", 0)):
        (folder / f"{name}.tmp").write_text("half")
        os.utime(folder / f"{name}.tmp", (time.time() - age,) * 2)
    plan_run(str(movie), tmp_path / "out", Orders(SETTINGS, resume=True))
    assert sorted(p.name for p in folder.iterdir()) == ["new.tmp", "plan.json"]
    assert planned_tasks(tmp_path / "out")[0] == task


def planned(movie, out, settings=SETTINGS):
    workers = Here()
    with Team(workers, Orders(settings), [(str(movie), out)]) as team:
        team._begin_more()
    return workers.tasks[0]


def change_plan(out, **changes):
    path = out / "ranges" / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return read_plan(out).key


def test_a_worker_of_another_version_refuses(movie, tmp_path):
    task = planned(movie, tmp_path / "out")
    same = read_plan(tmp_path / "out").same
    key = change_plan(tmp_path / "out", same={**same, "versions": {**same["versions"], "torch": "1.0"}})
    with pytest.raises(CommandError, match=r"versions\.torch is .* there and 1\.0 in the run"):
        analyse_range(task._replace(key=key))


def test_a_worker_of_another_kind_refuses(movie, tmp_path):
    task = planned(movie, tmp_path / "out")
    worker = read_plan(tmp_path / "out").worker
    key = change_plan(tmp_path / "out", worker={**worker, "kernels": "AVX9"})
    with pytest.raises(CommandError, match=r"kernels is .* there and AVX9 in the run"):
        analyse_range(task._replace(key=key))


def test_a_worker_without_the_gpu_of_the_run_refuses(movie, tmp_path):
    task = planned(movie, tmp_path / "out")
    same = read_plan(tmp_path / "out").same
    key = change_plan(tmp_path / "out", same={**same, "device": "cuda"})
    with pytest.raises(CommandError, match="device 'cuda:0' is not there"):
        analyse_range(task._replace(key=key))


def test_each_worker_takes_the_gpu_of_its_number(movie, tmp_path, monkeypatch):
    planned(movie, tmp_path / "out", with_(segment__lanes=0))
    plan = read_plan(tmp_path / "out")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    on_gpus = dataclasses.replace(plan, same={**plan.same, "device": "cuda"})
    settings = [work._settings(on_gpus, work.Place(slot, 1)) for slot in range(3)]
    assert [s.segment.device for s in settings] == ["cuda:0", "cuda:1", "cuda:0"]
    assert {s.segment.lanes for s in settings} == {0}  # the lanes of a GPU are not those of cores
    on_cpu = work._settings(plan, work.Place(3, 4))
    assert (on_cpu.segment.device, on_cpu.segment.lanes) == ("cpu", 4)


def test_a_worker_that_does_not_see_the_disk_refuses(movie, tmp_path):
    with pytest.raises(InputError, match="does not find the plan"):
        analyse_range(Task(str(tmp_path / "elsewhere"), "0" * 12, 0, 4))
    task = planned(movie, tmp_path / "out")
    key = change_plan(tmp_path / "out", source=str(tmp_path / "gone.tif"))
    assert key == task.key  # the same movie under another path is the same movie
    with pytest.raises(InputError, match=r"does not find the movie '.*gone.tif'"):
        analyse_range(task)


def test_a_movie_that_grows_meanwhile_is_refused(tmp_path):
    movie = write_movie(tmp_path / "movie.tif", frames=8)
    task = planned(movie, tmp_path / "out")
    write_movie(movie, frames=9)
    with pytest.raises(InputError, match=r"is not, on .*, the movie that the run began with \(\d+ bytes then"):
        analyse_range(task)


def test_movies_that_are_no_files_cannot_be_divided(tmp_path):
    with pytest.raises(CommandError, match="only a movie on disk"):
        Team(Here(), Orders(SETTINGS)).process([1, 2], tmp_path / "out")


def test_ranges_are_whole_shards_and_never_longer_than_a_thousand_frames():
    for planes in (1, 63, 64, 65, 1000, 100_000):
        for jobs in (1, 2, 7, 1000):
            for shard in (1, 8, 64, 2000):
                frames = range_frames(planes, jobs, shard)
                assert frames % shard == 0
                assert shard <= frames <= max(shard, 1024)
