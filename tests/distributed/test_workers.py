"""Real workers: processes of this machine and of dask, killed in the middle; where they listen; what is refused."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from distributed_cases import SETTINGS, Here, digest, with_, write_movie

from insitu.distributed.dasked import Dask
from insitu.distributed.processes import Processes, check_jobs
from insitu.distributed.team import Orders, Team
from insitu.distributed.work import Task
from insitu.errors import CommandError, InputError, InsituError, ResourceError
from insitu.pipeline import process
from insitu.store.disk import Disk

# not the number of threads: the last bits of sums depend on it, and the runs are compared with one of this process
WARNED = {**os.environ, "PYTHONWARNINGS": "error"}


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return write_movie(tmp_path_factory.mktemp("movie") / "movie.tif")


@pytest.fixture(scope="module")
def whole(movie, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    process(movie, out, SETTINGS)
    return out


@pytest.fixture
def killed(tmp_path):
    """Kill the first worker that is seen writing a range in OUT, as the kernel does when memory is short."""
    victims, over = [], threading.Event()

    def hunt():
        while not over.is_set() and not victims:
            for path in (tmp_path / "out" / "ranges").glob("*.tmp"):
                found = re.search(r"-(\d+)\.tmp$", path.name)
                if found:
                    os.kill(int(found[1]), signal.SIGKILL)
                    victims.append(int(found[1]))
                    break
            time.sleep(0.0005)

    thread = threading.Thread(target=hunt)
    thread.start()
    yield victims
    over.set()
    thread.join()


def test_a_killed_process_costs_one_range(movie, whole, tmp_path, killed):
    workers = Processes(2)
    try:
        summary = Team(workers, Orders(SETTINGS)).process(str(movie), tmp_path / "out")
    finally:
        workers.close()
    assert len(killed) == 1
    assert workers.lost == 1
    assert digest(tmp_path / "out") == digest(whole)
    assert summary.notes[-1] == "ranges: 5 analysed, 0 found from before; workers: 2, 1 lost"
    assert not any(t.name.startswith("insitu-worker") for t in threading.enumerate())


def listening():
    """Addresses that this process and its children listen on."""
    here = psutil.Process()
    return {
        (connection.laddr.ip, connection.laddr.port)
        for one in (here, *here.children(recursive=True))
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.filterwarnings("ignore")
def test_a_killed_dask_worker_changes_nothing_and_nobody_listens_outside(movie, whole, tmp_path, killed):
    before = listening()
    workers = Dask("local", 2)
    try:
        opened = listening() - before
        assert len(opened) >= 3  # scheduler, its dashboard, a nanny: had nothing listened, this test would be blind
        assert {ip for ip, _ in opened} == {"127.0.0.1"}
        assert re.fullmatch(r"dask: 2 workers; dashboard http://127\.0\.0\.1:\d+/status", workers.about())
        summary = Team(workers, Orders(SETTINGS)).process(str(movie), tmp_path / "out")
        assert {ip for ip, _ in listening() - before} == {"127.0.0.1"}
        task = Task(str(tmp_path / "nowhere"), "0" * 12, 0, 4)
        workers.submit(task)
        with pytest.raises(InputError, match="does not find the plan"):
            workers.outcome(task, 60.0)
    finally:
        workers.close()
    assert len(killed) == 1
    assert digest(tmp_path / "out") == digest(whole)
    assert summary.total == 40


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr("insitu.distributed.dasked._CONNECT_S", 0.2)
    with pytest.raises(CommandError, match=r"no dask scheduler answers at 'tcp://127.0.0.1:1'"):
        Dask("tcp://127.0.0.1:1", 1)


def test_a_killed_parent_takes_its_workers_with_it_and_the_run_goes_on(movie, whole, tmp_path):
    settings = tmp_path / "own.toml"
    settings.write_text(SETTINGS.to_toml())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "insitu", "run", movie, "-o", out, "--config", settings, "--jobs", "2", "--json"]
    parent = subprocess.Popen(command, env=WARNED, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while len(list((out / "ranges").glob("*.zip"))) < 1 and time.monotonic() < deadline and parent.poll() is None:
        time.sleep(0.001)
    workers = psutil.Process(parent.pid).children() if parent.poll() is None else []
    parent.kill()
    parent.wait()
    assert workers, "the run was over before it could be killed"
    psutil.wait_procs(workers, timeout=30)
    assert not [w for w in workers if w.is_running()]
    done = len(list((out / "ranges").glob("*.zip")))
    again = subprocess.run([*command, "--resume"], env=WARNED, capture_output=True, text=True, check=False)
    assert again.returncode == 5, again.stderr
    assert digest(out) == digest(whole)
    counted = json.loads((out / "run.json").read_text())["metrics"]["workers"]
    assert counted["found"] >= done - 1 >= 0
    assert counted["found"] + counted["analysed"] <= 5
    kinds = [json.loads(line)["type"] for line in again.stdout.splitlines()]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"


def test_a_range_that_ends_every_worker_is_given_up(monkeypatch):
    monkeypatch.setattr("insitu.distributed.processes.sys.executable", "/bin/false")
    workers = Processes(5)
    task = Task("out", "0" * 12, 0, 4)
    workers.submit(task)
    with pytest.raises(ResourceError, match=r"frames 0…3 of 'out' ended their worker 3 times: it ended with 1"):
        workers.outcome(task, 60.0)
    workers.close()
    assert workers.lost == 3  # not more: no worker is started for whom there is no range


def test_a_full_disk_at_a_worker(movie, whole, tmp_path, monkeypatch):
    put = Disk.put

    def full(disk, descriptor, data):
        if ".zip." in Path(f"/proc/self/fd/{descriptor}").readlink().name:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(disk, descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "put", full)
        with pytest.raises(ResourceError, match=r"cannot write .*ranges': No space left on device"):
            Team(Here(), Orders(SETTINGS)).process(str(movie), tmp_path / "out")
    assert [p.name for p in (tmp_path / "out" / "ranges").iterdir()] == ["plan.json"]
    Team(Here(), Orders(SETTINGS, resume=True)).process(str(movie), tmp_path / "out")
    assert digest(tmp_path / "out") == digest(whole)


def test_a_damaged_range_is_named(movie, tmp_path):
    class Spoils(Here):
        def outcome(self, task, timeout_s):
            ended = super().outcome(task, timeout_s)
            for path in (tmp_path / "out" / "ranges").glob("*.zip"):
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 255
                path.write_bytes(data)
            return ended

    with pytest.raises(InputError, match="is damaged"):
        Team(Spoils(), Orders(SETTINGS)).process(str(movie), tmp_path / "out")


def test_errors_cross_the_line_with_their_hints():
    import pickle

    for kind in (InsituError, CommandError, ResourceError):
        error = pickle.loads(pickle.dumps(kind("what", "how", 6)))
        assert (type(error), error.message, error.hint, error.exit_code) == (kind, "what", "how", 6)


def test_more_jobs_than_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(CommandError, match="--jobs 3 is more than the 2 GPUs"):
        check_jobs(3, "cuda:0")
    check_jobs(2, "cuda:0")
    check_jobs(30, "cpu")
    with pytest.raises(CommandError, match="--jobs 0"):
        check_jobs(0, "cpu")


def test_settings_of_the_disk_and_of_bad_frames_do_not_change_the_key(movie, tmp_path):
    keys = {}
    for name, settings in {
        "a": SETTINGS,
        "b": with_(store__unit_frames=8, read__on_bad="stop", read__prefetch_frames=3),
        "c": with_(measure__min_area_px=21),
    }.items():
        workers = Here()
        with Team(workers, Orders(settings), [(str(movie), tmp_path / name)]) as team:
            team._begin_more()
        keys[name] = workers.tasks[0].key
    assert keys["a"] == keys["b"] != keys["c"]
