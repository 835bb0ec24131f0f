"""``--log`` as a user gives it: readings beside a movie, refusals before any time is spent, and a log that grows."""

from __future__ import annotations

import threading
import time

import pytest
import tifffile
from cases_movies import discs

from insitu.results import open_run

FAST = ("--model", "classical", "--set", "store.fsync=false")
TIMED = (*FAST, "--fps", "10")
LOG = "time_s,temperature_C,pressure_mbar\n" + "".join(f"{0.3 * k},{20 + k},{5 * k}\n" for k in range(10))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "gas.csv"
    path.write_text(LOG)
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "movie").mkdir()
    for k in range(12):
        tifffile.imwrite(tmp_path / "movie" / f"f_{k:04}.tif", discs(60)[k])
    return tmp_path / "movie"


def test_a_run_has_its_readings(call, folder, tmp_path, log):
    done = call("run", folder, "-o", tmp_path / "out", "--log", log, "--log-offset", "0.6", *TIMED)
    assert done.code == 0, done
    table = open_run(tmp_path / "out").environment
    assert table["time_s"].round(6).tolist() == [0.0, 0.3, 0.6, 0.9, 1.2]
    assert table["frame"].fillna(-1).tolist() == [0, 3, 6, 9, -1]
    assert table["temperature_C"].tolist() == [22, 23, 24, 25, 26]


def test_a_log_can_be_added_to_a_run_that_is_finished(call, folder, tmp_path, log):
    assert call("run", folder, "-o", tmp_path / "out", *TIMED).code == 0
    assert not (tmp_path / "out" / "environment.parquet").exists()
    done = call("run", folder, "-o", tmp_path / "out", "--resume", "--log", log, "--log-offset", "0", *TIMED)
    assert done.code == 0, done
    assert len(open_run(tmp_path / "out").environment) == 5
    assert call("run", folder, "-o", tmp_path / "out", "--overwrite", *TIMED).code == 0
    assert not (tmp_path / "out" / "environment.parquet").exists()


def test_a_log_that_grows_while_the_movie_does_gives_the_bytes_of_the_finished_one(call, folder, tmp_path, log):
    log.unlink()

    def work():
        for k in range(0, len(LOG), 20):
            with log.open("a") as file:
                file.write(LOG[k : k + 20])
            time.sleep(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    options = ("--log", log, "--log-offset", "0.6", *TIMED)
    watched = call("watch", folder, "-o", tmp_path / "watched", "--until-idle", 2, "--live", "0", *options)
    thread.join()
    assert watched.code == 0, watched
    assert call("run", folder, "-o", tmp_path / "batch", *options).code == 0
    name = "environment.parquet"
    assert (tmp_path / "watched" / name).read_bytes() == (tmp_path / "batch" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (("--log-offset", "3"), (2, "--log-offset is of a log")),
        (("--log", ""), (2, "an empty text is no path")),
        (("--log", "{log}", "--log-offset", "soon"), (2, "not a number of seconds")),
        (("--log", "{log}", "--log-offset", "nan"), (2, "not a number of seconds")),
        (("--log", "{log}x", "--log-offset", "0"), (3, "there is no")),
        (("--log", "{log}"), (4, "no common clock")),
        (("--log", "{log}", "--dry-run"), (4, "no common clock")),
    ],
)
def test_what_cannot_be_joined_is_refused_before_a_frame_is_read(call, folder, log, options, refusal):
    options = [option.replace("{log}", str(log)) for option in options]
    out = folder.parent / "out"
    message, _ = call("run", folder, "-o", out, "--quiet", *options, *TIMED).refused(refusal[0])
    assert refusal[1] in message
    assert not out.exists()


def test_a_movie_without_a_frame_time_is_refused(call, folder, tmp_path, log):
    options = ("--quiet", "--log", log, "--log-offset", "0", *FAST)
    for verb, more in (("run", ()), ("watch", ("--until-idle", 1))):
        message, hint = call(verb, folder, "-o", tmp_path / verb, *more, *options).refused(4)
        assert "frame time" in message
        assert "--fps" in hint


def test_an_offset_is_of_one_movie(call, folder, tmp_path, log):
    tifffile.imwrite(tmp_path / "a.tif", discs(60)[:5])
    options = ("--log", log, "--log-offset", "0", *TIMED)
    message, _ = call("run", folder, tmp_path / "a.tif", "-o", tmp_path / "out", *options).refused(2)
    assert "is of one movie" in message


def test_a_log_that_never_comes_is_told_and_harms_nothing(call, folder, tmp_path):
    options = ("--log", tmp_path / "never.csv", "--log-offset", "0", *TIMED)
    done = call("watch", folder, "-o", tmp_path / "out", "--until-idle", 1, *options)
    assert done.code == 0, done
    assert "no environment.parquet was written" in done.err
    assert "never.csv" in (tmp_path / "out" / "problems.jsonl").read_text()


def test_the_report_shows_the_readings(call, folder, tmp_path, log):
    assert call("run", folder, "-o", tmp_path / "out", "--log", log, "--log-offset", "0", *TIMED).code == 0
    assert call("report", tmp_path / "out").code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "temperature" in page
    assert "mbar" in page
