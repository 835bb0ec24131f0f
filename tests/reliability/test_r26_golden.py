"""Run folders of every schema that was ever released are read, and give the numbers they gave then."""

from __future__ import annotations

import json
import shutil

import pytest

import insitu
from benchmarks.soak.golden import AT, FRAMES, GOLDEN, contents, write_run
from benchmarks.soak.world import digest
from insitu.errors import CommandError
from insitu.schema import SCHEMA_VERSION

PLACES = sorted(GOLDEN.glob("schema-*"))


def test_there_is_one_of_the_present_schema_and_they_are_small():
    assert GOLDEN / f"schema-{SCHEMA_VERSION}" in PLACES, "python -m benchmarks.soak golden"
    assert sum(p.stat().st_size for place in PLACES for p in place.rglob("*") if p.is_file()) < 200_000 * len(PLACES)


@pytest.mark.parametrize("name", ["finished", "interrupted"])
@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.name)
def test_it_is_read_as_it_was(place, name):
    then, now = json.loads((place / f"{name}.json").read_text()), contents(place / name)
    for table in ("particles", "tracks", "events", "frames"):
        was, found = then.pop(table), now.pop(table)
        assert found["rows"] == was["rows"]
        assert set(was["columns"]) <= set(found["columns"])  # a later version may add columns, never lose one
        assert {c: found["sums"][c] for c in was["sums"]} == pytest.approx(was["sums"], rel=1e-12, abs=0)
    assert now == then


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.name)
def test_it_is_exported_and_shown(place, tmp_path):
    from insitu.export import export

    shutil.copytree(place / "finished", tmp_path / "run")
    run = insitu.open(tmp_path / "run")
    assert "40 frames" in repr(run)
    export(run, "csv", tmp_path / "golden.csv")
    assert (tmp_path / "golden.csv").stat().st_size > 1000


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.name)
def test_an_interrupted_one_goes_on_or_says_why_not(place, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(place / "interrupted", out)
    assert len(insitu.open(out).frames) == AT
    try:
        write_run(out)
    except CommandError as error:  # other versions give other bytes
        said = error.message
    else:
        said = ""
    if said:
        assert "cannot be resumed" in said
        return
    assert len(insitu.open(out).frames) == FRAMES
    now, then = digest(out), digest(place / "finished")
    assert {k: v for k, v in now.items() if "labels" in k} == {k: v for k, v in then.items() if "labels" in k}
