"""insitu report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

PAGE = "report.html"


@pytest.fixture(scope="module")
def analysed(simulated, tmp_path_factory):
    from insitu.pipeline import process
    from insitu.settings import Settings

    folder = tmp_path_factory.mktemp("analysed")
    shutil.copy(simulated / "movie.tif", folder / "movie.tif")
    process(folder / "movie.tif", folder / "run", Settings().replace({"store.fsync": False}, "test"))
    return folder


@pytest.fixture
def run(analysed, tmp_path):
    shutil.copytree(analysed, tmp_path / "a")
    return tmp_path / "a" / "run"


def test_the_last_line_is_the_page(call, run):
    done = call("report", run)
    assert (done.code, done.err) == (0, "")
    assert done.lines[-1] == str(run / PAGE)
    assert (run / PAGE).is_file()
    assert (run / "figures" / "counts.svg").is_file()


def test_json_names_what_was_written(call, run, tmp_path):
    lines = [json.loads(line) for line in call("report", run, "--gif", "--movie", "--json").lines]
    assert [line["type"] for line in lines] == ["movie", "movie", "report"]
    assert [Path(line["out"]).name for line in lines] == ["overlay.mp4", "overlay.gif", PAGE]
    assert lines[0]["frames"] == 12
    with Image.open(run / "overlay.gif") as movie:
        assert movie.n_frames == 12
    assert (run / "overlay.gif").stat().st_size <= 5_000_000


def test_a_small_gif_shows_fewer_frames(run, analysed, tmp_path):
    from insitu.report.overlay import source_of, write_gif
    from insitu.results import open_run

    opened = open_run(run)
    reader = source_of(opened)
    whole = write_gif(opened, reader, tmp_path / "whole.gif")
    room = whole.path.stat().st_size // 2
    small = write_gif(opened, reader, tmp_path / "small.gif", most_bytes=room)
    reader.close()
    assert small.path.stat().st_size <= room
    assert small.frames < whole.frames
    assert small.stride > 1


def test_without_an_encoder_the_movie_is_a_gif(call, run, monkeypatch):
    monkeypatch.setattr("insitu.report.encoding.encoder", lambda: None)
    done = call("report", run, "--movie")
    assert done.code == 0
    assert "writing overlay.gif instead" in done.err
    assert (run / "overlay.gif").is_file()
    assert not (run / "overlay.mp4").exists()


def test_several_runs_are_compared_in_the_present_folder(call, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("report", run, run)
    assert done.code == 0
    assert done.lines[-1] == str(tmp_path / "comparison.html")
    assert call("report", run, run, "-o", tmp_path / "other.html").lines[-1] == str(tmp_path / "other.html")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((), "insitu report needs RUN...", "see: insitu report --help"),
        (("nowhere",), "there is no folder", "name the folder that `insitu run` printed last"),
        (("RUN", "RUN", "--movie"), "--movie is for a single run", "insitu report"),
        (("RUN", "RUN", "--source", "m.tif"), "--source is for a single run", "insitu report"),
        (("RUN", "-o", ""), "an empty text is no path", "check the variables"),
        (("RUN", "--movi"), "unknown option --movi", "did you mean --movie?"),
    ],
)
def test_wrong_uses_are_answered(call, run, arguments, message, hint):
    done = call("report", *(str(run) if a == "RUN" else a for a in arguments))
    said, advice = done.refused(3 if arguments == ("nowhere",) else 2)
    assert message in said
    assert hint in advice


def test_a_movie_that_is_gone_cannot_be_drawn_on(call, run):
    (run.parent / "movie.tif").unlink()
    assert call("report", run).code == 0
    done = call("report", run, "--movie")
    assert done.code == 3


def test_report_imports_no_torch(run):
    code = f"import sys; from insitu.cli import main; main(['report', {str(run)!r}]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
