"""A folder that is being filled gives the run that the finished folder gives, byte for byte."""

from __future__ import annotations

import json
import time

import pytest
from watch_cases import SETTINGS, camera, digest, watched, write

import insitu
from insitu.pipeline import process


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run of the finished folder."""
    folder = tmp_path_factory.mktemp("finished") / "movie"
    write(folder, range(24))
    out = folder.parent / "out"
    assert process(folder, out, SETTINGS).exit_code == 0
    return out


def test_a_folder_that_is_full_already(tmp_path, whole):
    write(tmp_path / "movie", range(24))
    summary = process(watched(tmp_path / "movie"), tmp_path / "out", SETTINGS)
    assert (summary.exit_code, summary.total, summary.used) == (0, 24, 24)
    assert digest(tmp_path / "out") == digest(whole)


def test_a_folder_being_filled(tmp_path, whole):
    with camera(lambda: write(tmp_path / "movie", range(24), pause=0.03)):
        summary = process(watched(tmp_path / "movie"), tmp_path / "out", SETTINGS)
    assert (summary.exit_code, summary.total, summary.used) == (0, 24, 24)
    assert digest(tmp_path / "out") == digest(whole)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["watched"] == {
        "late": [],
        "differs_from_frame": None,
    }


def test_what_arrived_is_committed_while_nothing_more_arrives(tmp_path):
    """The unit of a burst closes by itself: its rows are there before the next file is."""
    seen = []

    def work():
        write(tmp_path / "movie", range(20))
        time.sleep(2.5)
        seen.append(len(insitu.open(tmp_path / "out").frames))
        write(tmp_path / "movie", range(20, 24))

    with camera(work):
        process(watched(tmp_path / "movie", idle=4.0), tmp_path / "out", SETTINGS)
    assert seen == [20]
