"""``insitu watch`` as a user calls it: how it ends, how it is killed and goes on, what it says."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time

import pytest
import tifffile
from cases_movies import discs
from cli_cases import environment

SET = ["--model", "classical", "--nm-per-px", "0.2", "--fps", "100", "--set", "store.fsync=false"]


def digest(out):
    files = [*out.glob("*.parquet"), *(p for p in (out / "labels.ome.zarr").rglob("*") if p.is_file())]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


def write(folder, numbers, pause=0.0):
    folder.mkdir(parents=True, exist_ok=True)
    for k in numbers:
        tifffile.imwrite(folder / f"frame_{k:04}.tif", discs(60)[k])
        time.sleep(pause)


def start(*arguments):
    command = [sys.executable, "-m", "insitu", "watch", *(str(a) for a in arguments), *SET]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def commits(out):
    log = out / "commits.jsonl"
    return [json.loads(line)["planes"] for line in log.read_text().splitlines()] if log.exists() else []


def until(condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    from insitu.cli import main

    folder = tmp_path_factory.mktemp("finished")
    write(folder / "movie", range(60))
    assert main(["run", str(folder / "movie"), "-o", str(folder / "out"), "--quiet", *SET]) == 0
    return digest(folder / "out")


def test_a_folder_until_nothing_comes(call, tmp_path, whole):
    thread = threading.Thread(target=write, args=(tmp_path / "movie", range(60), 0.01))
    thread.start()
    ended = call("watch", tmp_path / "movie", "-o", tmp_path / "out", "--until-idle", 1.5, *SET)
    thread.join()
    assert ended.code == 0, ended.err
    assert ended.lines[-1] == str(tmp_path / "out")
    assert "60 of 60 frames used" in ended.out
    assert digest(tmp_path / "out") == whole


def test_after_so_many_frames(call, tmp_path):
    write(tmp_path / "movie", range(20))
    ended = call("watch", tmp_path / "movie", "-o", tmp_path / "out", "--frames", "2::3", "--stop-after", 5, *SET)
    assert ended.code == 0, ended.err
    assert "5 of 5 frames used" in ended.out
    assert call("run", tmp_path / "movie", "-o", tmp_path / "batch", "--frames", "2:17:3", *SET).code == 0
    assert digest(tmp_path / "out") == digest(tmp_path / "batch")


def test_json_lines_tell_the_lag_and_the_end(call, tmp_path):
    write(tmp_path / "movie", range(12))
    ended = call("watch", tmp_path / "movie", "-o", tmp_path / "out", "--until-idle", 2, "--json", *SET)
    lines = [json.loads(line) for line in ended.lines]
    assert [line["type"] for line in lines[:2]] == ["waiting", "start"]
    assert lines[-1]["type"] == "end"
    assert lines[-1]["exit_code"] == ended.code == 0
    assert (lines[-2]["done"], lines[-2]["lag_frames"], lines[-2]["lag_s"]) == (12, 0, 0.0)


def test_ctrl_c_ends_the_movie(tmp_path, whole):
    write(tmp_path / "movie", range(60))
    process = start(tmp_path / "movie", "-o", tmp_path / "out")
    until(lambda: commits(tmp_path / "out"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "no more frames are expected" in err
    assert "60 of 60 frames used" in out
    assert digest(tmp_path / "out") == whole


def test_sigterm_stops_in_good_order_even_while_it_waits(tmp_path):
    write(tmp_path / "movie", range(30))
    process = start(tmp_path / "movie", "-o", tmp_path / "out")
    until(lambda: commits(tmp_path / "out")[-1:] > [5])
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "valid to frame" in err
    assert "--resume" in err
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "interrupted"


def test_killed_while_the_camera_writes_and_resumed(tmp_path, whole):
    """The short form of `python -m benchmarks.watching kills`."""
    out, movie = tmp_path / "out", tmp_path / "movie"
    command = (movie, "-o", out, "--resume", "--quiet", "--until-idle", 3)
    thread = threading.Thread(target=write, args=(movie, range(60), 0.15))
    thread.start()
    for planes in (5, 20):
        process = start(*command)
        until(lambda planes=planes: commits(out)[-1:] >= [planes])
        process.kill()
        process.communicate()
    process = start(*command)
    _, err = process.communicate(timeout=120)
    thread.join()
    assert process.returncode == 0, err
    assert json.loads((out / "run.json").read_text())["metrics"]["frames_analysed"] <= 40
    assert digest(out) == whole


def test_files_that_came_late_are_taken_in(call, tmp_path, whole):
    movie, out = tmp_path / "movie", tmp_path / "out"
    write(movie, [k for k in range(60) if k not in {20, 21}])
    (movie / "frame_0040.tif").write_bytes(b"II*")
    late = threading.Thread(target=lambda: (until(lambda: commits(out)[-1:] >= [30]), write(movie, [20])))
    late.start()
    ended = call("watch", movie, "-o", out, "--until-idle", 4, *SET)
    late.join()
    assert ended.code == 5, ended
    assert "2 missing" in ended.out
    assert "--resume --from-late" in ended.err
    assert "frame_0020.tif" in (out / "problems.jsonl").read_text()
    assert json.loads((out / "run.json").read_text())["watched"] == {
        "late": ["frame_0020.tif"],
        "differs_from_frame": 20,
    }
    write(movie, [21, 40])
    again = call("watch", movie, "-o", out, "--until-idle", 0.5, "--resume", "--from-late", *SET)
    assert again.code == 0, again
    assert digest(out) == whole
    assert "resumed after 60 frames" in call("watch", movie, "-o", out, "--until-idle", 0.5, "--resume", *SET).out


def test_resuming_keeps_what_was_settled_although_files_came_late(call, tmp_path):
    """What came late at the end of a second would shift all later frames."""
    movie, out = tmp_path / "movie", tmp_path / "out"

    def put(k, second):
        path = movie / f"Second_{second:02}" / f"f_{k:04}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, discs(60)[k + 12 * second])

    for second in range(2):
        for k in range(10):
            put(k, second)
    process = start(movie, "-o", out)
    until(lambda: len(list(out.glob("state/tracker*"))) and commits(out)[-1] >= 8)
    process.kill()
    process.communicate()
    put(10, 0)
    (movie / "Second_00" / "f_0001.tif").unlink()
    ended = call("watch", movie, "-o", out, "--until-idle", 1.5, "--resume", *SET)
    if ended.code == 5:  # the kill came after the first second was settled
        log = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
        assert any("came late" in line["what"] for line in log)
        assert "20 of 20 frames used" in ended.out
    else:
        assert (ended.code, "21 of 21" in ended.out) == (0, True), ended


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--resume", "--overwrite"], "exclude each other"),
        (["--from-late"], "takes files into a run"),
        (["--on-event", " "], "names no command"),
        (["--until-idle", "0"], "until-idle"),
        (["--stop-after", "0"], "stop-after"),
    ],
)
def test_wrong_commands(call, tmp_path, arguments, says):
    ended = call("watch", tmp_path, "-o", tmp_path / "out", *arguments)
    message, hint = ended.refused(2)
    assert says in message + hint


def test_an_existing_run_is_refused_before_anything_is_waited_for(call, tmp_path, whole):
    write(tmp_path / "movie", range(5))
    assert call("watch", tmp_path / "movie", "-o", tmp_path / "out", "--until-idle", 0.5, *SET).code == 0
    message, _ = call("watch", tmp_path / "nowhere", "-o", tmp_path / "out").refused(2)
    assert "exists" in message


def test_a_file_that_grows(call, tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", discs(60)[:12])
    ended = call("watch", tmp_path / "movie.tif", "-o", tmp_path / "out", "--until-idle", 0.5, *SET)
    assert ended.code == 0, ended.err
    assert call("run", tmp_path / "movie.tif", "-o", tmp_path / "batch", *SET).code == 0
    assert digest(tmp_path / "out") == digest(tmp_path / "batch")


def test_movies_dropped_into_a_folder(call, tmp_path):
    def work():
        for k in (2, 10):
            time.sleep(0.3)
            tifffile.imwrite(tmp_path / "movies" / f"movie_{k}.tif", discs(60)[k : k + 8])

    (tmp_path / "movies").mkdir()
    thread = threading.Thread(target=work)
    thread.start()
    ended = call("watch", tmp_path / "movies", "-o", tmp_path / "out", "--until-idle", 2, *SET)
    thread.join()
    assert ended.code == 0, ended.err
    assert ended.lines[-1] == str(tmp_path / "out")
    for k in (2, 10):
        movie = tmp_path / "movies" / f"movie_{k}.tif"
        assert call("run", movie, "-o", tmp_path / "batch" / str(k), *SET).code == 0
        assert digest(tmp_path / "out" / f"movie_{k}") == digest(tmp_path / "batch" / str(k))


def test_practising_with_a_simulated_camera(call, tmp_path, monkeypatch):
    monkeypatch.setattr("insitu.cli.practice.practising.__wrapped__.__defaults__", (30,))
    arguments = ("--simulate", "-o", tmp_path / "out", "--stop-after", 25, "--model", "classical")
    ended = call("watch", tmp_path / "practice", *arguments)
    assert ended.code == 0, ended.err
    assert "25 of 25 frames used" in ended.out
