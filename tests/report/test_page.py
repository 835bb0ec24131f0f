from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile
from report_cases import AtEdge, checked, discs, told
from store_cases import UNKNOWN, World

from insitu.errors import CommandError, InputError, ResourceError
from insitu.options import CoarseningOptions
from insitu.report import page as page_module
from insitu.report.material import gather
from insitu.report.page import Content, fitted, render, write_comparison, write_report
from insitu.report.parts import part_of
from insitu.results import open_run
from insitu.statistics import study_of, write
from insitu.types import Calibration

HOSTILE = """a <b>&amp; "q" 'r' $x$ {{ y }}"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    discs(folder, shrink=True, **{"link.memory_frames": 5})
    return folder


@pytest.fixture
def run(world, tmp_path):
    """A run that a test may spoil, its movie beside it."""
    shutil.copytree(world, tmp_path / "w")
    return tmp_path / "w" / "run"


def sections(page):
    return [held["id"] for tag, held in page.tags if tag == "section"]


def test_a_report_says_what_happened_first_and_then_how_far_to_trust_it(run):
    path = write_report(run)
    assert path == run / "report.html"
    page = checked(path)
    assert sections(page) == ["trust", "stills", "figures", "events", "tracks", "absent", "origin", "glossary"]
    text = page.text.replace("\u00a0", " ")
    assert "In 24 frames (2.40 s) the number of particles in view fell from 3 to 2" in text
    assert "0.500 nm/px, from" in text
    assert "All 24 could be used." in page.text
    assert "link.memory_frames" in page.text
    assert "insitu run m.tif -o run-again --nm-per-px 0.5 --fps 10.0" in page.text
    assert "no coarsening statistics have been made: insitu coarsening RUN makes them" in page.text
    assert len([i for i in page.images if "with outlines" in i["alt"]]) == 5
    assert len([t for t, held in page.tags if t == "tr"]) > 3


def test_figures_are_written_beside_it_with_their_numbers(run):
    page = checked(write_report(run))
    names = {p.name for p in (run / "figures").iterdir()}
    for stem in ("counts", "events", "track_map", "kymograph", "event_gallery"):
        assert {f"{stem}.svg", f"{stem}.png", f"{stem}.csv"} <= names
    with (run / "figures" / "counts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert set(rows[0]) == {"frame", "time_s", "n_particles", "mean_radius_nm"}
    assert float(rows[0]["mean_radius_nm"]) == pytest.approx(0.5 * 9.5, rel=0.2)
    assert float(rows[10]["time_s"]) == pytest.approx(1.0)
    assert "figures/counts.svg, .png, .csv" in page.text


def test_writing_again_replaces_a_report_and_nothing_else(run, tmp_path):
    first = write_report(run).read_text(encoding="utf-8")
    assert write_report(run).read_text(encoding="utf-8") == first
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<p>mine</p>", encoding="utf-8")
    with pytest.raises(CommandError, match="is no report of insitu"):
        write_report(run, thesis)
    assert thesis.read_text(encoding="utf-8") == "<p>mine</p>"
    with pytest.raises(CommandError, match="is a folder"):
        write_report(run, tmp_path)
    with pytest.raises(CommandError, match="there is no folder"):
        write_report(run, tmp_path / "no" / "r.html")
    page = checked(write_report(run, tmp_path / "other.html"))
    assert "other_figures/counts.svg" in page.text
    assert (tmp_path / "other_figures" / "counts.svg").is_file()


def test_no_room_on_the_disk_is_a_user_error_and_leaves_no_rest(run, tmp_path, monkeypatch):
    def full(self, *args, **how):
        raise OSError(28, "No space left on device")

    part = Content("t", [part_of(gather(run))])
    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(ResourceError, match="No space left"):
        page_module._write(tmp_path / "r.html", part)
    assert not list(tmp_path.glob("*r.html*"))


def test_names_are_text_wherever_they_stand(world, tmp_path):
    folder = tmp_path / HOSTILE
    shutil.copytree(world / "run", folder)
    shutil.copy(world / "m.tif", tmp_path / "m.tif")
    about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    about["source"]["notes"] = ["<script>alert(1)</script> & so on"]
    about["host"]["python"] = "<img src=x onerror=alert(1)>"
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    time = np.arange(24) / 10
    pd.DataFrame({"time_s": time, "<i>T</i>_C": 20 + time, "$\\frac$": time}).to_parquet(folder / "environment.parquet")
    page = checked(write_report(folder))
    assert HOSTILE in page.text
    assert "<script>alert(1)</script> & so on" in page.text
    assert "<img src=x onerror=alert(1)>" in page.text
    assert "<i>T</i>" in page.text
    both = checked(write_comparison([folder, world / "run"], tmp_path / "c.html"))
    assert HOSTILE in both.text


def test_a_run_that_was_moved_says_so_and_can_be_told_where_its_movie_is(world, tmp_path):
    shutil.copytree(world / "run", tmp_path / "elsewhere" / "run")
    moved = tmp_path / "elsewhere" / "run"
    page = checked(write_report(moved))
    assert "The movie itself could not be read, so only outlines are shown" in page.text
    assert "give --source MOVIE" in page.text
    assert "kymograph" in page.text
    page = checked(write_report(moved, source=world / "m.tif"))
    assert "could not be read" not in page.text
    with pytest.raises(InputError):
        write_report(moved, source=tmp_path / "nowhere.tif")


@pytest.mark.parametrize(("shape", "why"), [((24, 40, 60), "frames of another size"), ((5, 96, 128), "has 5 frames")])
def test_a_movie_that_is_another_one_now_is_not_drawn_on(run, shape, why):
    tifffile.imwrite(run.parent / "m.tif", np.full(shape, 9, np.uint16), photometric="minisblack")
    page = checked(write_report(run))
    assert "is not the movie of the run any more" in page.text
    assert why in page.text
    with pytest.raises(InputError, match=why):
        write_report(run, source=run.parent / "m.tif")


BAD = {
    "no particles": (lambda p: told(p / "r", world=World(empty=True)), "No particle was found in 63 frames"),
    "still being written": (lambda p: told(p / "r", stop=64), "is still being written"),
    "labels behind the tables": (lambda p: told(p / "r", stop=40, unit=16), "is still being written"),
    "labels half way": (lambda p: told(p / "r", frames=140, stop=110, unit=16), "is still being written"),
    "nothing safe yet": (lambda p: told(p / "r", stop=10), "No frame of this movie could be used"),
    "no calibration": (lambda p: told(p / "r", calibration=UNKNOWN), "Unknown: every length on this page is in px."),
    "all at the edge": (lambda p: told(p / "r", world=AtEdge()), "All outlines touch the edge: no size can be given."),
    "one frame": (lambda p: discs(p, frames=1), "In the one frame that was analysed there are 2 particles"),
    "two frames": (lambda p: discs(p, frames=2), "In 2 frames (0.200 s)"),
    "two tracks of constant size": (discs, "the number of particles in view stayed at 2"),
    "no pixel size, no time": (lambda p: discs(p, nm=None, fps=None), "Unknown: time is counted in frames."),
    "no label images": (lambda p: discs(p, **{"store.labels": False}), "No frame can be shown"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_cannot_be_told_is_said_and_why(case, tmp_path):
    make, expected = BAD[case]
    page = checked(write_report(make(tmp_path)))
    assert expected in page.text.replace("\u00a0", " ")


@pytest.mark.parametrize("case", list(BAD))
def test_statistics_of_runs_that_tell_little_are_shown_as_far_as_they_go(case, tmp_path):
    make, expected = BAD[case]
    run = make(tmp_path)
    write(open_run(run).coarsening(CoarseningOptions(bootstrap=50)), run / "coarsening")
    page = checked(write_report(run))
    assert expected in page.text.replace("\u00a0", " ")
    assert "insitu coarsening RUN makes them" not in page.text


def test_statistics_are_shown_with_the_command_that_made_them(run):
    write_report(run)
    (run / "figures" / "mine.svg").write_text("<svg/>", encoding="utf-8")
    command = f"insitu coarsening {run} --bootstrap 60"
    write(open_run(run).coarsening(CoarseningOptions(bootstrap=60)), run / "coarsening", command=command)
    page = checked(write_report(run))
    assert "law" in sections(page)
    assert not (run / "figures" / "counts.svg").exists()
    assert "insitu coarsening run --bootstrap 60" in page.text
    assert (run / "figures" / "mine.svg").is_file()
    assert {"kinetics.svg", "kinetics.csv", "number_balance.svg"} <= {p.name for p in (run / "figures").iterdir()}
    assert "Mean radius (left) and number of particles per area (right)" in page.text
    kinetics = pd.read_parquet(run / "coarsening" / "kinetics.parquet")
    assert np.allclose(pd.read_csv(run / "figures" / "kinetics.csv")["mean_radius_nm"], kinetics["mean_radius_nm"])


def test_statistics_of_another_version_are_not_drawn_and_that_is_said(run):
    write(open_run(run).coarsening(CoarseningOptions(bootstrap=50)), run / "coarsening")
    path = run / "coarsening" / "kinetics.parquet"
    pd.read_parquet(path).drop(columns="mean_radius_nm").to_parquet(path)
    summary = json.loads((run / "coarsening" / "summary.json").read_text(encoding="utf-8"))
    summary["headline"] = {"mean_radius_last": "3 nm", "K": {"value": None}}
    summary["caveats"] = ["<script>alert(2)</script>"]
    (run / "coarsening" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    page = checked(write_report(run))
    assert "the statistics have no column 'mean_radius_nm'" in page.text
    assert "<script>alert(2)</script>" in page.text


def test_statistics_of_another_calibration_are_shown_in_theirs_and_said(tmp_path):
    run = discs(tmp_path, nm=None, fps=None)
    known = Calibration(2.0, "--nm-per-px", 0.1, "--fps")
    write(study_of(open_run(run), CoarseningOptions(bootstrap=50), known), run / "coarsening")
    page = checked(write_report(run))
    assert "made with another pixel size or frame time than the run" in page.text
    assert "mean radius (nm)" in page.text
    assert "µm⁻²" in page.text


def test_without_a_pixel_size_nothing_is_in_nm(tmp_path):
    page = checked(write_report(discs(tmp_path, nm=None, fps=None)))
    assert not re.search(r"\d\s?nm", page.text.replace("0.005–5 nm/px", ""))
    assert "µm" not in page.text


def test_bad_and_missing_frames_are_counted_with_their_reasons(tmp_path):
    page = checked(write_report(told(tmp_path / "r")))
    assert "of 70 could be used" in page.text
    assert "Why: truncated" in page.text
    assert "problems.jsonl: frame" in page.text
    assert page.text.index("look here") < page.text.index("✓" if "✓" in page.text else "fine")


@pytest.mark.parametrize("values", [[np.nan] * 24, [None] * 24, ["off"] * 24])
def test_silent_sensors_are_named(run, values):
    pd.DataFrame({"time_s": np.arange(24) / 10, "pressure_mbar": values}).to_parquet(run / "environment.parquet")
    page = checked(write_report(run))
    assert "no numbers from pressure" in page.text


def test_sensors_stand_under_the_same_time_axis(run):
    time = np.arange(0, 2.4, 0.05)
    temperature = np.where(time > 1, 600 + time, np.nan)
    pd.DataFrame({"time_s": time, "temperature_C": temperature}).to_parquet(run / "environment.parquet")
    page = checked(write_report(run))
    assert "temperature" in page.text
    assert "(°C)" in page.text
    assert (run / "figures" / "sensors.csv").is_file()
    assert "sensor traces" not in page.text


def test_broken_side_files_do_not_break_the_page(run):
    (run / "environment.parquet").write_bytes(b"no parquet")
    (run / "coarsening").mkdir()
    (run / "coarsening" / "summary.json").write_text("{", encoding="utf-8")
    (run / "settings.toml").write_text("[link]\nno_such_setting = 1\n", encoding="utf-8")
    page = checked(write_report(run))
    assert "environment.parquet cannot be read" in page.text
    assert "the coarsening statistics cannot be read" in page.text
    assert "no_such_setting" in page.text


def test_a_page_that_would_be_too_large_leaves_events_out_and_says_how_many(run):
    content = Content("t", [part_of(gather(run))])
    assert content.parts[0].strips
    n = len(content.parts[0].strips)
    whole = len(render(content).encode())
    assert fitted(content, whole) == render(content)
    small = fitted(content, whole // 3)
    assert len(small.encode()) <= whole // 3
    if n > 1:
        assert "more are in events.parquet" in small


def test_many_runs_on_one_page_go_without_frames_rather_than_be_too_large(world):
    brief = part_of(gather(world / "run"), brief=True)
    content = Content("t", [brief] * 3)
    assert len(brief.stills) == 2
    small = fitted(content, len(render(content).encode()) // 3)
    assert len(small.encode()) <= len(render(content).encode()) // 3
    assert small.count("data:image/jpeg") < 6
    assert fitted(content, 10) == fitted(content, 11)


def test_several_runs_side_by_side(world, tmp_path):
    other = discs(tmp_path, frames=12, name="cooler")
    path = write_comparison([world / "run", other, world / "run"], tmp_path / "c.html")
    page = checked(path)
    assert sections(page) == ["together", "run-1", "run-2", "run-3", "glossary"]
    names = {p.name for p in (tmp_path / "c_figures").iterdir()}
    assert names == {"comparison.svg", "comparison.png", "comparison.csv"}
    table = pd.read_csv(tmp_path / "c_figures" / "comparison.csv")
    assert table.groupby("run").size().tolist() == [24, 12, 24]
    assert not (other / "report.html").exists()


def test_statistics_of_several_runs_are_drawn_with_their_intervals(run, tmp_path):
    write(open_run(run).coarsening(CoarseningOptions(bootstrap=50)), run / "coarsening")
    page = checked(write_comparison([run, run], tmp_path / "c.html"))
    table = pd.read_csv(tmp_path / "c_figures" / "comparison.csv")
    assert {"run", "time_s", "mean_radius_nm_low", "number_density_per_um2_high"} <= set(table)
    assert "shaded: 95 % intervals of each run" in page.text
    known = Calibration(2.0, "--nm-per-px", 0.1, "--fps")
    plain = discs(tmp_path, nm=None, fps=None, name="plain")
    write(study_of(open_run(plain), CoarseningOptions(bootstrap=50)), plain / "coarsening")
    page = checked(write_comparison([run, plain], tmp_path / "c.html"))
    assert "their statistics are in different units" in page.text
    write(study_of(open_run(plain), CoarseningOptions(bootstrap=50), known), plain / "coarsening")
    assert "in different units" not in checked(write_comparison([run, plain], tmp_path / "c.html")).text


def test_runs_of_different_units_are_not_drawn_together(world, tmp_path):
    page = checked(write_comparison([world / "run", discs(tmp_path, nm=None)], tmp_path / "c.html"))
    assert "some are calibrated and others are not" in page.text


def test_runs_without_anything_are_compared_all_the_same(tmp_path):
    empty = told(tmp_path / "r", world=World(empty=True))
    page = checked(write_comparison([empty, empty], tmp_path / "c.html"))
    assert "there is nothing to draw" in page.text
