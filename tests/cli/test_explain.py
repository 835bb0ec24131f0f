"""``insitu explain``: the files, the summary, and what a wrong wish is answered with."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from insitu.simulate import random_scene


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("explain") / "scene.npy"
    for seed in range(20):
        scene, mask = random_scene(
            np.random.default_rng(seed), (96, 128), mode="bright-field", radius_px=(8, 14), dose_e_per_px=(90, 120)
        )
        if 0.05 < mask.mean() < 0.3:
            break
    np.save(path, scene[None])
    return path


def test_a_look_writes_what_it_says(call, image, tmp_path):
    out = tmp_path / "look"
    done = call(
        "explain",
        "shallow",
        str(image),
        "-o",
        str(out),
        "--window",
        "48",
        "--polarity",
        "dark",
        "--layer",
        "head",
        "--json",
    )
    assert done.code == 0, done.err
    said = json.loads(done.out.splitlines()[-1])
    kept = json.loads((out / "summary.json").read_text())
    assert kept["receptive_field"]["widest_seen_px"] == kept["receptive_field"]["stated_px"] == 9
    assert sum(kept["kernels"]["families"].values()) == 32
    assert kept["dead"]["filters"] == 34
    assert {k: said[k] for k in kept} == kept
    for name in kept["figures"]:
        assert {p.suffix for p in (out / "figures").glob(f"{name}.*")} == {".png", ".svg", ".csv"}
    with (out / "kernels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["kernel"]) for r in rows] == [*range(32), -1]
    with (out / "channels.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 32 + 32 + 2


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["classical"], "method without weights", "shallow"),
        (["shallow", "--layer", "kernel"], "no layer 'kernel'", "did you mean 'kernels'"),
        (["shallow", "--at", "500,3"], "outside an image of 96×128 px", "y comes first"),
        (["shallow", "--at", "3"], "is not Y,X", "--at 120,84"),
        (["shallow", "--frame", "4"], "has 1 frames", "count from 0"),
    ],
)
def test_wrong_wishes_are_answered_in_two_lines(call, image, tmp_path, *, arguments, message, hint):
    model, *rest = arguments
    done = call("explain", model, str(image), "-o", str(tmp_path / "x"), "--window", "64", *rest)
    error, help_line = done.refused(2)
    assert message in error
    assert hint in help_line
    assert not (tmp_path / "x").exists()


def test_what_is_there_is_not_overwritten(call, image, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        done = call("explain", "shallow", str(image), "-o", str(tmp_path), "--window", "64", *more)
        assert done.code == 2
    assert (tmp_path / "note.txt").read_text() == "mine"
