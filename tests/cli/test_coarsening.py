"""insitu coarsening on runs of simulated movies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from cli_cases import environment

import insitu


@pytest.fixture(scope="module")
def finished(tmp_path_factory, simulated):
    out = tmp_path_factory.mktemp("runs") / "movie.insitu"
    insitu.analyze(simulated / "movie.tif", out, model="classical")
    return out


@pytest.fixture
def run(tmp_path, finished):
    return shutil.copytree(finished, tmp_path / "movie.insitu")


QUICK = ("--bootstrap", 20, "--windows", 6)


def test_a_run_gets_its_tables_and_the_last_line_is_their_place(call, run):
    done = call("coarsening", run, *QUICK)
    assert done.code == 0, done.err
    assert done.lines[-1] == str(run / "coarsening")
    assert done.lines[0].startswith(("Not decided", "No growth law", "⟨r⟩(t) decides"))
    assert any(line.startswith("mean radius last") and " nm" in line for line in done.lines)
    summary = json.loads((run / "coarsening" / "summary.json").read_text())
    assert summary["units"] == {"length": "nm", "time": "s", "area": "µm²"}
    assert summary["command"] == f"insitu coarsening {run} --windows 6 --bootstrap 20"
    assert summary["settings"]["windows"] == 6
    assert summary["calibration"]["nm_per_px"] == pytest.approx(0.2)
    table = pd.read_parquet(run / "coarsening" / "kinetics.parquet")
    assert len(table) == 6
    assert table["n_rows"].sum() == summary["counts"]["sizes"]
    assert insitu.open(run).finished


def test_python_gives_the_same_numbers_as_the_command(call, run):
    from insitu.options import CoarseningOptions

    call("coarsening", run, *QUICK)
    study = insitu.open(run).coarsening(CoarseningOptions(bootstrap=20, windows=6))
    stored = pd.read_parquet(run / "coarsening" / "kinetics.parquet")
    pd.testing.assert_frame_equal(study["kinetics"], stored, check_dtype=False)


def test_statistics_made_again_replace_those_of_the_run_but_not_another_folder(call, run, tmp_path):
    assert call("coarsening", run, *QUICK).code == 0
    assert call("coarsening", run, *QUICK).code == 0
    other = tmp_path / "elsewhere"
    assert call("coarsening", run, "-o", other, *QUICK).code == 0
    again = call("coarsening", run, "-o", other, *QUICK)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert call("coarsening", run, "-o", other, "--overwrite", *QUICK).code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert call("coarsening", run, "-o", tmp_path / "mine", "--overwrite", *QUICK).code == 2
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_calibration_given_here_outranks_that_of_the_run(call, run):
    call("coarsening", run, *QUICK)
    before = pd.read_parquet(run / "coarsening" / "kinetics.parquet")
    assert call("coarsening", run, *QUICK, "--nm-per-px", 0.4, "--fps", 1).code == 0
    after = pd.read_parquet(run / "coarsening" / "kinetics.parquet")
    assert after["mean_radius_nm"].to_numpy() == pytest.approx(2 * before["mean_radius_nm"].to_numpy())
    assert after["time_s"].to_numpy() == pytest.approx(400 * before["time_s"].to_numpy())
    summary = json.loads((run / "coarsening" / "summary.json").read_text())
    assert summary["calibration"]["nm_source"] == "--nm-per-px"


def test_several_runs_are_compared(call, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = shutil.copytree(run, tmp_path / "other.insitu")
    done = call("coarsening", run, other, "--temperature-c", 600, "--temperature-c", 650, *QUICK)
    assert done.code == 0, done.err
    assert done.lines[-1] == str(tmp_path / "coarsening-comparison")
    table = pd.read_parquet(tmp_path / "coarsening-comparison" / "runs.parquet")
    assert table["run"].tolist() == ["movie", "other"]
    assert table["group"].tolist() == ["600 °C", "650 °C"]
    assert (run / "coarsening" / "summary.json").exists()
    assert (other / "coarsening" / "summary.json").exists()
    again = call("coarsening", run, other, *QUICK)
    assert again.code == 2
    summary = json.loads((tmp_path / "coarsening-comparison" / "summary.json").read_text())
    assert list(summary["verdicts"]) == ["movie", "other"]


def test_runs_in_different_units_are_not_compared(call, run, tmp_path):
    bare = shutil.copytree(run, tmp_path / "bare.insitu")
    about = json.loads((bare / "run.json").read_text())
    about["calibration"] |= {"nm_per_px": None, "nm_source": "unknown"}
    (bare / "run.json").write_text(json.dumps(about))
    done = call("coarsening", run, bare, "-o", tmp_path / "both", *QUICK)
    assert done.code == 2
    assert "--nm-per-px" in done.err
    done = call("coarsening", run, bare, "-o", tmp_path / "both", "--nm-per-px", 0.2, *QUICK)
    assert done.code == 0


def test_what_is_safe_of_a_run_that_was_killed(call, movie, tmp_path, monkeypatch):
    folder = tmp_path / "killed.insitu"
    command = ("run", movie, "-o", folder, "--model", "classical", "--set", "store.unit_frames=4")
    killed = subprocess.run(
        [sys.executable, "-m", "insitu", *map(str, command)],
        env=environment() | {"INSITU_FAILPOINT": "after-line:2"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == 137, killed.stderr
    assert not insitu.open(folder).finished
    done = call("coarsening", folder, *QUICK)
    assert done.code == 0, done.err
    assert "not finished" in done.err
    summary = json.loads((folder / "coarsening" / "summary.json").read_text())
    assert not summary["finished"]
    assert summary["counts"]["used_frames"] == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--windows", 0), "too small"),
        (("--contact-angle-deg", 181), "too large"),
        (("--windows", "many"), "not a valid integer"),
        (("--exponent", 5), "5"),
        (("--contact-angel-deg", 90), "did you mean --contact-angle-deg"),
        (("-o", ""), "no path"),
    ],
)
def test_wrong_options_are_refused_with_a_hint(call, run, arguments, said):
    done = call("coarsening", run, *arguments)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 2


def test_wrong_runs_are_refused(call, run, tmp_path):
    assert call("coarsening", tmp_path / "nowhere").code == 3
    assert call("coarsening", run, run).code == 2
    lists = call("coarsening", run, shutil.copytree(run, tmp_path / "b.insitu"), "--temperature-c", 600)
    assert lists.code == 2
    assert "1 --temperature-c for 2 runs" in lists.err


def test_json_has_one_object_a_line(call, run):
    done = call("coarsening", run, "--json", *QUICK)
    lines = [json.loads(line) for line in done.lines]
    assert [line["type"] for line in lines] == ["coarsening"]
    assert lines[0]["out"] == str(run / "coarsening")
    assert "verdict" in lines[0]
