from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from insitu.results import open_run

FAST = ("--set", "store.fsync=false", "--set", "prepare.reference_frames=2")


@pytest.fixture(scope="module")
def analysed(tmp_path_factory, movie):
    """A run of the small simulated movie."""
    from insitu.cli import main

    out = tmp_path_factory.mktemp("export") / "movie.insitu"
    assert main(["run", str(movie), "-o", str(out), "--quiet", *FAST]) == 0
    return out


def test_an_export_ends_with_its_absolute_path(spawn, analysed, tmp_path):
    done = spawn("export", analysed, "trackmate", "-o", "spots.xml", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.lines[-1] == str(tmp_path / "spots.xml")
    spots = ET.parse(tmp_path / "spots.xml").getroot().find("Model/AllSpots")
    assert int(spots.get("nspots")) == len(open_run(analysed).particles) > 12


def test_the_default_name_lies_in_the_present_folder(call, analysed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for form in ("csv", "trackpy", "trackmate", "ctc"):
        assert call("export", analysed, form).code == 0
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["movie.csv", "movie.ctc", "movie.trackmate.xml", "movie.trackpy.csv"]


def test_a_spreadsheet_with_decimal_commas(call, analysed, tmp_path):
    out = tmp_path / "frames.csv"
    assert call("export", analysed, "csv", "-o", out, "--table", "frames", "--decimal", ",").code == 0
    table = pd.read_csv(out, sep=";", decimal=",")
    assert table["area_fraction"].between(0, 1).all()
    assert len(table) == 12


def test_fiji_and_coco_find_the_movie(call, analysed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("export", analysed, "fiji", "--frames", "2:9:2").lines[-1] == str(tmp_path / "movie.fiji")
    assert call("export", analysed, "coco").lines[-1] == str(tmp_path / "movie.coco")
    assert sorted(p.name for p in (tmp_path / "movie.fiji").iterdir()) == [
        "README.txt",
        "RoiSet.zip",
        "images.tif",
        "labels.tif",
    ]
    assert len(list((tmp_path / "movie.coco" / "images").iterdir())) == 12


def test_a_movie_that_is_gone_ends_with_3(call, analysed, tmp_path):
    import shutil

    moved = tmp_path / "elsewhere" / "run.insitu"
    shutil.copytree(analysed, moved)
    said, advice = call("export", moved, "fiji", "-o", tmp_path / "out").refused(3)
    assert "cannot be read" in said
    assert advice == "say where it is now: --source MOVIE"


def test_json(call, analysed, tmp_path):
    done = call("export", analysed, "trackpy", "-o", tmp_path / "t.parquet", "--json")
    (line,) = map(json.loads, done.lines)
    assert (line["type"], line["format"], line["out"]) == ("export", "trackpy", str(tmp_path / "t.parquet"))
    assert line["bytes"] == (tmp_path / "t.parquet").stat().st_size
    listed = json.loads(call("export", "--list", "--json").out)
    assert {"csv", "xlsx", "trackpy", "fiji", "trackmate", "ctc", "coco", "geff"} == set(listed["formats"])
    assert call("export", "--list").lines[0].startswith("csv ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("{run}", "trackmat"), ("no format 'trackmat'", "did you mean 'trackmate'?")),
        (("{run}", "qqq"), ("no format 'qqq'", "formats: csv, xlsx, trackpy, fiji, trackmate, ctc, coco, geff")),
        (("{run}",), ("insitu export needs RUN and FORMAT", "insitu export movie.insitu trackmate")),
        (("{run}", "csv", "-o", ""), ("an empty text is no path", "variables")),
        (("{run}", "csv", "--tabel", "x"), ("unknown option --tabel", "did you mean --table?")),
        (("{run}", "csv", "--table", "track"), ("no table 'track'", "did you mean 'tracks'?")),
        (("{run}", "trackmate", "-o", "{tmp}/a.csv"), ("does not end with .xml", "a.xml")),
        (("{run}", "trackmate", "-o", "{tmp}/there.xml"), ("there.xml' exists", "--overwrite")),
        (("{run}", "trackmate", "--table", "tracks"), ("trackmate takes no --table", "it is for csv and xlsx")),
        (("{run}", "xlsx", "--decimal", ","), ("xlsx takes no --decimal", "it is for csv")),
        (("{run}", "csv", "--frames", "0:4"), ("csv takes no --frames", "it is for fiji and coco")),
        (("{run}", "fiji", "--frames", "90:"), ("no frame of the run lies in 90::1", "0 to 11 in steps of 1")),
        (("{run}", "csv", "-o", "{run}/particles.csv"), ("lies in the run itself", "-o OTHER")),
    ],
)
def test_what_cannot_be_done_ends_with_2(call, analysed, tmp_path, arguments, told):
    (tmp_path / "there.xml").write_text("mine", encoding="utf-8")
    filled = [a.format(run=analysed, tmp=tmp_path) for a in arguments]
    said, advice = call("export", *filled).refused(2)
    assert told[0] in said
    assert told[1] in advice
    assert [p.name for p in tmp_path.iterdir()] == ["there.xml"]
    assert (tmp_path / "there.xml").read_text(encoding="utf-8") == "mine"


def test_what_is_no_run_ends_with_3(call, tmp_path):
    assert "there is no folder" in call("export", tmp_path / "none", "csv").refused(3)[0]
    assert "is not an insitu run" in call("export", tmp_path, "csv").refused(3)[0]


def test_an_export_needs_no_torch(analysed, tmp_path, spawn):
    import subprocess
    import sys

    from cli_cases import environment

    code = (
        "import sys\nfrom insitu.cli import main\n"
        f"assert main(['export', {str(analysed)!r}, 'trackmate', '-o', {str(tmp_path / 't.xml')!r}]) == 0\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines()[-1] == "False"


def test_a_run_is_scored_against_the_truth(call, analysed, simulated):
    done = call("evaluate", analysed, "--truth", simulated, "--min-diameter-px", 8)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0].split() == ["precision", "recall", "F1"]
    rows = {line.split()[0]: line.split()[1:] for line in done.lines[1:]}
    assert float(rows["particles"][0]) > 0.9
    assert float(rows["links"][1]) > 0.9
    line = json.loads(call("evaluate", analysed, "--truth", simulated / "truth", "--json").out)
    assert line["type"] == "scores"
    assert set(line) >= {"objects", "links", "events"}
    assert line["objects"]["settings"]["gate_px"] == 3


def test_scores_of_tracks(call, analysed, simulated):
    pytest.importorskip("traccuracy")
    pytest.importorskip("trackeval")
    done = call("evaluate", analysed, "--truth", simulated, "--tracks", "--json", "--min-diameter-px", 8)
    assert (done.code, done.err) == (0, "")
    (line,) = map(json.loads, done.lines)
    assert line["tracks"]["lnk"] > 0.9
    assert 0.9 < line["tracks"]["hota"] <= 1
    assert "IDF1" in call("evaluate", analysed, "--truth", simulated, "--tracks").out


def test_scores_of_tracks_say_what_to_install(call, analysed, simulated, monkeypatch):
    monkeypatch.setattr("insitu.evaluate.tracks.find_spec", lambda name: None if name == "trackeval" else object())
    said, hint = call("evaluate", analysed, "--truth", simulated, "--tracks").refused(2)
    assert said == "scores of tracks need trackeval, which is not installed"
    assert "insitu[evaluate]" in hint
    assert "--no-deps" in hint


def test_a_truth_that_is_none_ends_with_3(call, analysed, tmp_path):
    said, hint = call("evaluate", analysed, "--truth", tmp_path).refused(3)
    assert "no truth in" in said
    assert "insitu simulate" in hint
