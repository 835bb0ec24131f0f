"""Units that were closed early are merged while the run goes on: fewer files, the same tables, whatever happens."""

from __future__ import annotations

import random

import numpy as np
import pytest
from store_cases import ABOUT, SETTINGS, World, analyse, digest, info, tracks

from insitu.options import StoreOptions
from insitu.results import open_run
from insitu.store import unit as units
from insitu.store.commit import RunFolder
from insitu.store.log import read_log

FRAMES = 200
OPTIONS = StoreOptions(unit_frames=16, shard_frames=16, fsync=False)


class KilledError(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "run"
    analyse(info(out, frames=FRAMES), frames=FRAMES, unit=64, shard=16, fsync=False)
    return digest(out)


def opened(out, *, resume):
    how = RunFolder.resume if resume else RunFolder.create
    return how(info(out, frames=FRAMES), settings_text=SETTINGS, about=ABOUT, options=OPTIONS)


def go_on(out, rng, *, resume=False, look=lambda: None):
    """Analyse to the end, a commit every few frames."""
    folder, world = opened(out, resume=resume), World()
    if folder.finished:
        return
    if folder.committed:
        world.restore(folder.state)
    due = 0
    for k in range(folder.committed, FRAMES):
        result = world.result(k)
        folder.add(result)
        if result.frame.status == "bad":
            folder.problem(result.frame.index, result.frame.header.source, "truncated")
        due = due or rng.randint(1, 7)
        due -= 1
        if not due:
            folder.commit(world.state())
            look()
    folder.problem(None, "world", "is small")
    folder.commit(world.state())
    folder.finish(tracks(), about={"metrics": {"fps": 1.0}}, events=world.last_events())


def test_the_tables_are_the_same_and_the_parts_few(tmp_path, uninterrupted):
    out, parts, rows = tmp_path / "run", [], []

    def look():
        parts.append(len(list((out / "parts").iterdir())))
        frames = open_run(out).frames.to_pandas()["frame"]
        rows.append(len(frames))
        assert frames.tolist() == list(range(len(frames)))

    go_on(out, random.Random(0), look=look)
    assert rows == sorted(set(rows))
    assert len(rows) > 40
    assert max(parts) <= 3 * (FRAMES // 16 + 16)
    assert digest(out) == uninterrupted


def test_full_units_are_left_alone(tmp_path):
    folder, world = opened(tmp_path / "run", resume=False), World()
    for k in range(64):
        folder.add(world.result(k))
        if folder.due:
            folder.commit(world.state())
    assert [u.planes for u in read_log(tmp_path / "run").units] == [16, 32, 48, 64]
    assert (tmp_path / "run" / "commits.jsonl").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("point", ["before-merged-line", "after-merged-line"])
@pytest.mark.parametrize("passage", [1, 2, 5])
def test_killed_while_merging(point, passage, tmp_path, uninterrupted, monkeypatch):
    out, passed = tmp_path / "run", []

    def die(name):
        if name == point:
            passed.append(name)
            if len(passed) == passage:
                raise KilledError

    monkeypatch.setattr(units, "failpoint", die)
    with pytest.raises(KilledError):
        go_on(out, random.Random(passage))
    (out / "lock").unlink(missing_ok=True)
    assert len(open_run(out).frames) == read_log(out).planes
    go_on(out, random.Random(1), resume=True)
    assert digest(out) == uninterrupted


def test_a_table_that_is_read_while_its_parts_are_merged(tmp_path):
    folder, world = opened(tmp_path / "run", resume=False), World()
    for k in range(15):
        folder.add(world.result(k))
        folder.commit(world.state())
    run = open_run(tmp_path / "run")
    batches = run.particles.batches(("frame",))
    seen = [next(batches)["frame"].to_numpy()]
    folder.add(world.result(15))
    folder.commit(world.state())
    assert len(list((tmp_path / "run" / "parts").glob("frames-*"))) == 1
    seen += [batch["frame"].to_numpy() for batch in batches]
    whole = run.particles.to_pandas()["frame"].to_numpy()
    np.testing.assert_array_equal(np.concatenate(seen), whole[: len(np.concatenate(seen))])
    assert len(np.concatenate(seen)) >= (whole < 15).sum()


def test_the_log_is_shortened(tmp_path, uninterrupted, monkeypatch):
    monkeypatch.setattr(units, "_REPLACED_LINES", 20)
    out, lines = tmp_path / "run", []
    go_on(out, random.Random(3), look=lambda: lines.append((out / "commits.jsonl").read_bytes().count(b"\n")))
    assert max(lines) < 45
    assert digest(out) == uninterrupted
