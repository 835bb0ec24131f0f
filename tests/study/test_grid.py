"""A study goes on where it was stopped, with the same numbers as one that was not; what has changed is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from insitu.errors import CommandError, InputError
from insitu.study.grid import run

TEXT = """
seeds = [1, 2]
train = ["a", "half"]
min_area_px = 20
[training]
steps = 4
batch = 2
crop_px = 32
[models.net]
architecture = "resunet"
parameters = { pools = [2], base = 2 }
[models.plain]
method = "classical"
[data.a]
kind = "simulated"
images = 3
held_out = 3
side_px = 64
radius_px = [6, 10]
plain = true
empty = 0.3
dose_e_per_px = [100, 200]
contrast = [0.3, 0.5]
[data.half]
kind = "changed"
from = "a"
shrink = 2
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def plain(config):
    """The same study without figures, which cost most of its time."""
    path = config.with_name("plain.toml")
    path.write_text(f"figures = []\n{TEXT}")
    return path


@pytest.fixture(scope="module")
def done(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "out"
    return out, run(config, out)


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def without_time(rows):
    return [{k: v for k, v in r.items() if not k.startswith("cpu_s")} for r in rows]


def test_every_cell_is_scored_on_every_set(done):
    out, outcome = done
    assert (outcome.cells, outcome.before, outcome.now) == (5, 0, 5)
    rows = table(out / "scores.csv")
    assert len(rows) == 5 * 2
    assert {(r["model"], r["trained_on"], r["tested_on"], r["seed"]) for r in rows} == {
        *(("net", d, t, s) for d in ("a", "half") for t in ("a", "half") for s in ("1", "2")),
        ("plain", "-", "a", "0"),
        ("plain", "-", "half", "0"),
    }
    for r in rows:
        counts = [int(r[n]) for n in ("true_negative", "false_positive", "false_negative", "true_positive")]
        assert sum(counts) == 3 * 64 * 64
        assert float(r["dice"] or "nan") == pytest.approx(
            2 * counts[3] / (2 * counts[3] + counts[1] + counts[2]), nan_ok=True
        )
    net = next(r for r in rows if r["model"] == "net")
    assert (net["receptive_field_px"], net["parameters"]) == ("18", str(int(net["parameters"])))
    assert next(r for r in rows if r["model"] == "plain")["receptive_field_px"] == ""


def test_summary_and_figures_follow_from_the_scores(done):
    out, outcome = done
    rows = table(out / "scores.csv")
    mine = [float(r["dice"]) for r in rows if (r["model"], r["trained_on"], r["tested_on"]) == ("net", "a", "a")]
    kept = next(r for r in outcome.summary if (r["model"], r["trained_on"], r["tested_on"]) == ("net", "a", "a"))
    assert kept["seeds"] == 2
    assert kept["dice"] == pytest.approx(np.mean(mine))
    assert kept["dice_sd"] == pytest.approx(np.std(mine, ddof=1))
    assert json.loads((out / "summary.json").read_text())["rows"][0]["model"] == outcome.summary[0]["model"]
    names = {p.stem for p in (out / "figures").glob("*.png")}
    assert {"spread", "field", "threshold_a", "contours_a", "sizes_a", "confusion_net"} <= names
    assert all((out / "figures" / f"{n}.svg").is_file() and (out / "figures" / f"{n}.csv").is_file() for n in names)


def test_a_stopped_study_goes_on_and_comes_to_the_same(plain, done, tmp_path):
    out = tmp_path / "again"
    first = run(plain, out, least=2)
    assert (first.before, first.now) == (0, 2)
    kept = {p: p.stat().st_mtime_ns for p in (out / "cells").rglob("*.json")}
    # a cell that was killed while it wrote leaves only what is not counted
    (out / "cells" / "net" / "half" / "seed-1").mkdir(parents=True)
    (out / "cells" / "net" / "half" / "seed-1" / "trained.part").write_text("{")
    second = run(plain, out)
    assert (second.before, second.now) == (2, 3)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert without_time(table(out / "scores.csv")) == without_time(table(done[0] / "scores.csv"))
    third = run(plain, out)
    assert (third.before, third.now) == (5, 0)


def test_what_was_done_with_other_settings_is_refused_or_done_again(done, tmp_path):
    import shutil

    out = tmp_path / "changed"
    shutil.copytree(done[0], out)
    other = tmp_path / "other.toml"
    other.write_text("figures = []\n" + TEXT.replace("steps = 4", "steps = 5"))
    with pytest.raises(CommandError, match="other settings") as caught:
        run(other, out)
    assert "--overwrite" in caught.value.hint
    outcome = run(other, out, redo=True)
    assert (outcome.before, outcome.now) == (1, 4)
    (out / "cells" / "plain" / "a.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        run(other, out)


def test_a_further_test_set_costs_no_training(done, tmp_path):
    import shutil

    out = tmp_path / "more"
    shutil.copytree(done[0], out)
    before = {p: p.stat().st_mtime_ns for p in (out / "cells").rglob("weights.safetensors")}
    more = tmp_path / "more.toml"
    more.write_text(f'figures = []\n{TEXT}\n[data.eight]\nkind = "changed"\nfrom = "a"\nbits = 8\n')
    assert run(more, out).now == 5
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(table(out / "scores.csv")) == 5 * 3


def test_folders_of_something_else_are_left_alone(config, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(CommandError, match="is no study"):
        run(config, tmp_path)
    with pytest.raises(CommandError, match="not a folder"):
        run(config, tmp_path / "note.txt")


def test_crops_too_small_for_the_network_are_refused(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TEXT.replace("pools = [2]", "pools = [8, 8]"))
    with pytest.raises(CommandError, match="smaller than the 64 px"):
        run(path, tmp_path / "out")
