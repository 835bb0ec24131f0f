"""What comes to the linker from real detectors: nothing, far too much, twice, in no order, or without a place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from insitu.link import OptimalLinker, compiled, link, link_iter, track_table
from insitu.link.linker import LARGEST_SUBNET, MOST_NEW, OVERSIZE
from insitu.options import LinkOptions

SIZE = np.array([1792.0, 1920.0])


def scattered(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 2)) * SIZE


def table_of(frames: list[np.ndarray]) -> pd.DataFrame:
    parts = [pd.DataFrame({"frame": t, "y": p[:, 0], "x": p[:, 1]}) for t, p in enumerate(frames)]
    return pd.concat(parts, ignore_index=True)


def through_link(f: pd.DataFrame, radius: float, memory: int) -> pd.DataFrame:
    return link(f, radius, memory=memory)


def through_track_table(f: pd.DataFrame, radius: float, memory: int) -> pd.DataFrame:
    return track_table(f, search_range_px=radius, memory_frames=memory).particles


def through_track_table_with_areas(f: pd.DataFrame, radius: float, memory: int) -> pd.DataFrame:
    return track_table(f.assign(area_px=20.0), search_range_px=radius, memory_frames=memory).particles


@pytest.fixture(params=[through_link, through_track_table, through_track_table_with_areas])
def linked(request):
    return request.param


# --- nothing ------------------------------------------------------------------------------------


def test_empty_frames_use_up_memory_and_no_more():
    # Ten at most: when more vanish at once, it is the beam that is blanked.
    at = scattered(10)
    nothing = np.empty((0, 2))
    for empty, kept in ((2, True), (3, False)):
        linker = OptimalLinker(LinkOptions(memory_frames=2))
        ids = [linker.step(index, p) for index, p in enumerate([at, at, *[nothing] * empty, at])]
        assert [len(i) for i in ids[2:-1]] == [0] * empty
        assert (ids[-1].tolist() == ids[0].tolist()) == kept
        f = table_of([at, at, *[nothing] * empty, at])
        tracked = track_table(f, search_range_px=15, memory_frames=2, frames=range(3 + empty))
        assert tracked.particles["particle"].nunique() == (10 if kept else 20)
        assert len(tracked.frames) == 3 + empty


def test_a_movie_without_particles():
    assert [ids for _, ids in link_iter([np.empty((0, 2))] * 5, 5)] == [[]] * 5
    found = track_table(pd.DataFrame({"frame": [], "y": [], "x": []}), search_range_px=5, frames=range(5))
    assert found.frames["frame"].tolist() == list(range(5))
    assert not found.frames[["drift_y_px", "drift_x_px"]].to_numpy().any()
    assert found.frames["flags"].tolist() == [[]] * 5


# --- far too much -------------------------------------------------------------------------------


def test_a_frame_of_specks_is_flagged_and_ends_nothing():
    at = scattered(300)
    linker = OptimalLinker(LinkOptions())
    flags, ids = [], []
    for index in range(12):
        seen = np.concatenate([at, scattered(50_000, seed=1)]) if index == 5 else at
        ids.append(linker.step(index, seen))
        flags.append(linker.flags)
        assert linker.drift == (0.0, 0.0)
    assert flags == [(MOST_NEW,) if index == 5 else () for index in range(12)]
    assert all(i[:300].tolist() == list(range(300)) for i in ids)
    # The specks are forgotten with the memory.
    assert len(linker.known) == 300


def test_frames_full_of_specks_are_linked_at_bounded_cost():
    seen = [scattered(50_000, seed=k) for k in range(2)]
    source, target, cost = compiled.candidates(*seen, 15.0)
    keep = compiled.kept_edges(50_000, 50_000, (source, target, cost), LARGEST_SUBNET)
    # No subnet that is solved is larger, so that the cost grows with the number of subnets only.
    assert compiled.roots(50_000, 50_000, source, target)[1] > 10 * LARGEST_SUBNET
    assert compiled.roots(50_000, 50_000, source[keep], target[keep])[1] <= LARGEST_SUBNET
    linker = OptimalLinker(LinkOptions())
    linker.step(0, seen[0])
    ids = linker.step(1, seen[1])
    assert linker.flags == (OVERSIZE,)
    assert (ids < 50_000).mean() > 0.8


def test_flags_of_a_table_are_in_its_frames():
    at = scattered(50)
    f = table_of([at, np.concatenate([at, scattered(2000, seed=2)]), at])
    assert track_table(f, search_range_px=5).frames["flags"].tolist() == [[], [MOST_NEW], []]


# --- a range above the spacing ------------------------------------------------------------------


@pytest.mark.parametrize("radius", [60, 400])
def test_a_range_above_the_spacing_is_solved(linked, radius):
    rng = np.random.default_rng(3)
    at = rng.random((400, 2)) * 500
    f = table_of([at, at + rng.normal(0, 1, at.shape)])
    ids = linked(f, radius, 0)["particle"].to_numpy()
    # Spacing 25 px, steps of 1 px: hardly any of the wrong partners is a better one.
    assert (ids[:400] == ids[400:]).mean() > 0.98


# --- twice, in no order -------------------------------------------------------------------------


def test_rows_given_twice_are_two_particles(linked):
    once = table_of([scattered(5)] * 3)
    twice = pd.concat([once, once], ignore_index=True)
    found = linked(twice, 5, 0)
    assert not found.duplicated(["frame", "particle"]).any()
    assert found["particle"].nunique() == 10
    assert found.groupby("particle").size().eq(3).all()


def test_a_frame_number_that_comes_in_two_blocks_is_one_frame(linked):
    at = scattered(6)
    f = table_of([at] * 3)
    blocks = pd.concat([f[f.index % 2 == 0], f[f.index % 2 == 1]])
    found = linked(blocks, 5, 0)
    assert found["particle"].nunique() == 6
    assert found.groupby("frame")["particle"].nunique().eq(6).all()


def test_frames_in_no_order_are_put_in_order(linked):
    rng = np.random.default_rng(4)
    at, frames = scattered(20, seed=4), []
    for _ in range(10):
        frames.append(at)
        at = at + rng.normal(0, 1, at.shape)
    f = table_of(frames)
    mixed = linked(f.sample(frac=1, random_state=5), 10, 0)
    assert mixed["frame"].is_monotonic_increasing
    by_row = linked(f, 10, 0)["particle"]
    names = dict(zip(mixed["particle"], by_row.loc[mixed.index], strict=True))
    assert mixed["particle"].map(names).tolist() == by_row.loc[mixed.index].tolist()


def test_arrays_are_linked_in_the_order_given_whatever_their_times():
    at = np.array([[1.0, 1.0]])
    moved = [(7, at), (3, at + 2), (3, at + 4), (3, at + 6)]
    assert [(t, ids) for t, ids in link_iter(moved, 2.9)] == [(7, [0]), (3, [0]), (3, [0]), (3, [0])]


@pytest.mark.parametrize("predict", [False, True])
def test_an_index_that_does_not_rise_counts_as_the_next_frame(predict):
    at, linker = scattered(8), OptimalLinker(LinkOptions(predict=predict))
    plain = OptimalLinker(LinkOptions(predict=predict))
    for k, index in enumerate((0, 5, 5, 2, 3)):
        assert linker.step(index, at + k).tolist() == plain.step(k, at + k).tolist() == list(range(8))


# --- without a place ----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_without_a_place_disturbs_nobody(linked, bad):
    at = scattered(30)
    f = table_of([at + 0.3 * k for k in range(6)])
    clean = linked(f, 5, 2)
    holes = pd.DataFrame({"frame": [0, 0, 3], "y": [bad, 3.0, bad], "x": [1.0, bad, bad]}, index=[1000, 1001, 1002])
    found = linked(pd.concat([f, holes]), 5, 2)
    others = found.drop(index=holes.index)
    assert len(set(found.loc[holes.index, "particle"])) == 3
    assert not set(found.loc[holes.index, "particle"]) & set(others["particle"])
    assert others.groupby("particle").size().eq(6).all()
    assert others["particle"].nunique() == clean["particle"].nunique()


def test_only_rows_without_a_place():
    f = pd.DataFrame({"frame": [0, 1, 2], "y": np.nan, "x": 1.0})
    assert link(f, 5)["particle"].tolist() == [0, 1, 2]
    found = track_table(f, search_range_px=5)
    assert found.particles["particle"].tolist() == [0, 1, 2]
    assert len(found.events) == 0


# --- gaps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "kept"), [(3, True), (4, False)])
def test_a_gap_longer_than_the_memory_ends_tracks(gap, kept):
    at = scattered(10)
    f = pd.concat([table_of([at] * 3), table_of([at] * 2).assign(frame=lambda t: t["frame"] + 3 + gap)])
    assert link(f, 5, memory=3)["particle"].nunique() == (10 if kept else 20)
    looked = track_table(f, search_range_px=5, memory_frames=3, frames=range(5 + gap))
    assert looked.particles["particle"].nunique() == (10 if kept else 20)
    # Frames that nobody looked at use up no memory.
    assert track_table(f, search_range_px=5, memory_frames=3).particles["particle"].nunique() == 10


def test_a_given_array_may_be_used_again_by_its_owner():
    for n_dim in (1, 2, 3):
        buffer, linker = np.zeros((4, n_dim)), OptimalLinker(LinkOptions(search_range_px=2))
        for k in range(5):
            buffer[:] = 10.0 * np.arange(4)[:, None] + k
            assert linker.step(k, buffer).tolist() == [0, 1, 2, 3]
            buffer[:] = 1e6
