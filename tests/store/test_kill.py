"""Kill the engine anywhere, resume, compare every byte with the run that was never interrupted."""

from __future__ import annotations

import random
import time

import pytest
from store_cases import analyse, digest, info

from insitu.store.disk import FAILPOINTS
from insitu.store.log import read_log

FRAMES, UNIT, SHARD = 240, 7, 16
HOW = {"frames": FRAMES, "unit": UNIT, "shard": SHARD, "resume": True, "fsync": False}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "run"
    analyse(info(out, frames=FRAMES), frames=FRAMES, unit=64, shard=SHARD, fsync=False)
    return digest(out)


def seen_frames(path):
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def kill_at_random(victim, out, log, rng, farthest):
    """Start an engine on `out`, kill it after a random number of further frames; return how it ended."""
    before = len(seen_frames(log))
    victim.start(out, seen=str(log), settle=0.0005, **HOW)
    frames, pause = rng.randint(1, farthest), rng.uniform(0, 0.02)
    deadline = time.monotonic() + 30
    while len(seen_frames(log)) < before + frames and time.monotonic() < deadline:
        time.sleep(0.001)
        if read_log(out).finished is not None:
            break
    time.sleep(pause)
    victim.kill()
    return victim.wait()[0]


def chain_of_kills(victim, tmp_path, kills, seed, farthest):
    """Kill one run `kills` times, each engine going on where the last one fell; finish it."""
    rng = random.Random(seed)
    out, log = tmp_path / "run", tmp_path / "seen"
    killed = between = 0
    while killed < kills and read_log(out).finished is None:
        before = len(seen_frames(log))
        committed = read_log(out).planes
        if kill_at_random(victim, out, log, rng, farthest) == -9:
            killed += 1
            between += 0 < read_log(out).planes < FRAMES
        fresh = seen_frames(log)[before:]
        assert not fresh or fresh[0] == committed, "committed frames were done again, or frames were left out"
    victim.start(out, seen=str(log), **HOW)
    assert victim.wait() == (0, "")
    return out, killed, between


def test_runs_killed_at_random_moments_end_byte_identical(victim, tmp_path, uninterrupted):
    out, killed, between = chain_of_kills(victim, tmp_path, kills=20, seed=1, farthest=20)
    assert killed == 20
    assert between >= 15
    assert digest(out) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_many_more_random_kills(victim, tmp_path, uninterrupted, seed):
    out, killed, _ = chain_of_kills(victim, tmp_path, kills=20, seed=100 + seed, farthest=22)
    assert killed > 5
    assert digest(out) == uninterrupted


# those of merging are passed by runs that commit early: test_merging.py
@pytest.mark.parametrize("name", [n for n in FAILPOINTS if "merged" not in n])
def test_death_at_each_commit_point_is_mended_by_resume(victim, tmp_path, uninterrupted, name):
    once = name.endswith(("-create", "-clean", "closing-line", "-compaction", "finish-line")) or name == "mid-clean"
    out = tmp_path / "run"
    victim.start(out, environment={"INSITU_FAILPOINT": f"{name}:{1 if once else 3}"}, **HOW)
    assert victim.wait()[0] == 137
    victim.start(out, **HOW)
    assert victim.wait() == (0, "")
    assert digest(out) == uninterrupted
    assert sorted(p.name for p in out.iterdir()) == [
        "commits.jsonl", "events.parquet", "frames.parquet", "labels.ome.zarr", "particles.parquet",
        "problems.jsonl", "run.json", "settings.toml", "tracks.parquet",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("passage", [1, 2, 4, 9])
@pytest.mark.parametrize("name", ["after-shard", "after-parts", "after-state", "before-line", "after-line"])
def test_death_at_other_passages(victim, tmp_path, uninterrupted, name, passage):
    out = tmp_path / "run"
    victim.start(out, environment={"INSITU_FAILPOINT": f"{name}:{passage}"}, **HOW)
    assert victim.wait()[0] == 137
    victim.start(out, **HOW)
    assert victim.wait() == (0, "")
    assert digest(out) == uninterrupted


def test_file_size_limit_stops_with_exit_6_and_resumes(victim, tmp_path, uninterrupted):
    # shards hold 16 small planes; the growing log and the final tables are what hits the limit
    out = tmp_path / "run"
    victim.start(out, limit=30_000, **HOW)
    code, said = victim.wait()
    assert code == 6
    safe = read_log(out).planes
    assert f"{safe} frames are safe" in said
    assert "--resume" in said
    assert "Traceback" not in said
    victim.start(out, **HOW)
    assert victim.wait() == (0, "")
    assert digest(out) == uninterrupted
