"""The choices of the linker: a range that shrinks in crowds, prediction by velocity, and trackpy's own assignment."""

from __future__ import annotations

import logging
import warnings
from itertools import pairwise

import cases_movies
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import insitu
from insitu.errors import CommandError
from insitu.link import OptimalLinker, adaptive, compiled, link, link_iter, plain
from insitu.link.adaptive import Shrinking
from insitu.options import LinkOptions


def table_of(frames: list[np.ndarray]) -> pd.DataFrame:
    parts = [pd.DataFrame({"frame": t, "y": p[:, 0], "x": p[:, 1]}) for t, p in enumerate(frames)]
    return pd.concat(parts, ignore_index=True)


def links_of(f: pd.DataFrame) -> set[tuple[int, int]]:
    """Pairs of rows (by index) that follow each other in one track."""
    tracks = f.sort_values("frame", kind="stable").groupby("particle")
    return {pair for _, rows in tracks for pair in pairwise(rows.index.tolist())}


@pytest.fixture
def trackpy():
    package = pytest.importorskip("trackpy")
    logging.getLogger("trackpy").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield package


def run(frames: list[np.ndarray], **options: object) -> list[np.ndarray]:
    linker = OptimalLinker(LinkOptions(**options))
    return [linker.step(index, positions) for index, positions in enumerate(frames)]


# --- a range that shrinks -------------------------------------------------------------------------


def crowd(n: int, size: float, sigma: float, frames: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    at, seen = rng.random((n, 2)) * size, []
    for _ in range(frames):
        seen.append(at)
        at = at + rng.normal(0, sigma, at.shape)
    return seen


@pytest.mark.parametrize("search_range", [16.0, 20.0, (20.0, 20.0), (20.0, 16.0)], ids=str)
@pytest.mark.parametrize("step", [0.95, 0.7])
def test_where_it_is_crowded_the_links_are_those_of_trackpy(trackpy, search_range, step):
    f = table_of(crowd(400, 330, 3.0, 8, seed=1))
    ours = links_of(link(f, search_range, adaptive_stop=1.0, adaptive_step=step))
    # The recursive way has no limit on the candidates of one particle; it leaves the subnets to their size alone.
    with pytest.raises(trackpy.SubnetOversizeException):
        trackpy.link(f, search_range, link_strategy="recursive")
    theirs = trackpy.link(f, search_range, adaptive_stop=1.0, adaptive_step=step, link_strategy="recursive")
    assert len(ours) > 1500
    assert ours == links_of(theirs)
    assert ours != links_of(link(f, search_range))


def test_link_iter_shrinks_as_link_does():
    frames = crowd(150, 200, 3.0, 5, seed=2)
    by_table = link(table_of(frames), 20, adaptive_stop=1.0)["particle"].tolist()
    assert [i for _, ids in link_iter(frames, 20, adaptive_stop=1.0) for i in ids] == by_table


def test_where_nobody_competes_nothing_changes():
    f = table_of(crowd(40, 600, 2.0, 10, seed=3))
    pd.testing.assert_frame_equal(link(f, 10), link(f, 10, adaptive_stop=1.0))


def test_at_the_stop_what_is_left_is_solved(trackpy):
    # Twenty in a row, closer than the stop: trackpy gives up.
    row = np.stack([np.zeros(20), np.arange(20.0)], 1)
    f = table_of([row, row + 0.1])
    with pytest.raises(trackpy.SubnetOversizeException):
        trackpy.link(f, 3, adaptive_stop=1.5)
    assert link(f, 3, adaptive_stop=1.5)["particle"].tolist() == [*range(20), *range(20)]


def test_one_that_lost_its_candidates_is_remembered():
    rng = np.random.default_rng(4)
    rest = rng.random((60, 2)) * 30
    odd = np.array([[15.0, 15.0]])
    frames = [np.concatenate([rest, odd]), rest + 0.01, np.concatenate([rest, odd])]
    ids = link(table_of(frames), 12, memory=1, adaptive_stop=0.5)["particle"].tolist()
    assert ids[60] == ids[-1] == 60


@given(seed=st.integers(0, 10**6), whole=st.booleans(), cap=st.sampled_from([5, 200]))
def test_plain_and_compiled_shrink_alike(seed, whole, cap):
    rng = np.random.default_rng(seed)
    a, b = rng.random((50, 2)) * 14, rng.random((45, 2)) * 14
    if whole:
        a, b = np.round(a), np.round(b)
    for stop in (0.8, 3.0):
        found = [adaptive.assign(home, a, b, 4.0, cap, shrinking=Shrinking(stop, 0.9)) for home in (compiled, plain)]
        np.testing.assert_array_equal(found[0][0], found[1][0])
        assert found[0][1] == found[1][1]
        on = found[0][0][found[0][0] >= 0]
        assert len(np.unique(on)) == len(on)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"adaptive_stop": 0}, "adaptive_stop=0"),
        ({"adaptive_stop": np.nan}, "adaptive_stop=nan"),
        ({"adaptive_stop": 2, "adaptive_step": 1.0}, "adaptive_step=1.0"),
        ({"adaptive_stop": 2, "adaptive_step": 0}, "adaptive_step=0"),
    ],
)
def test_a_range_that_cannot_shrink_is_refused(options, said):
    with pytest.raises(CommandError) as caught:
        link(table_of(crowd(3, 10, 1.0, 2, seed=0)), 5, **options)
    assert said in caught.value.message
    assert caught.value.hint


# --- prediction by velocity -----------------------------------------------------------------------


def convoys(frames: int = 30) -> list[np.ndarray]:
    """Two rows of particles 10 px apart that speed up in opposite directions, to 12 px a frame."""
    speed = np.minimum(0.8 * np.arange(frames), 12.0)
    way = np.concatenate([[0.0], np.cumsum(speed)[:-1]])
    row = np.arange(8) * 10.0
    one, two = np.stack([np.zeros(8), row], 1), np.stack([np.full(8, 40.0), row], 1)
    return [np.concatenate([one + np.array([0, w]), two - np.array([0, w])]) for w in way]


def test_fast_parallel_movers_need_prediction():
    frames = convoys()
    options = {"search_range_px": 6, "memory_frames": 0, "drift_range_px": 0}
    assert not (run(frames, **options)[-1] == np.arange(16)).any()
    for ids in run(frames, predict=True, **options):
        assert ids.tolist() == list(range(16))


def test_prediction_agrees_with_that_of_trackpy(trackpy):
    frames = convoys()
    rng = np.random.default_rng(5)
    frames = [p + rng.normal(0, 0.1, p.shape) for p in frames]
    f = table_of(frames)
    theirs = pd.concat(trackpy.predict.NearestVelocityPredict().link_df_iter((g for _, g in f.groupby("frame")), 6))
    mine = f.assign(
        particle=np.concatenate(run(frames, search_range_px=6, memory_frames=0, drift_range_px=0, predict=True))
    )
    assert len(links_of(mine)) == 16 * (len(frames) - 1)
    assert links_of(mine) == links_of(theirs)


@pytest.mark.parametrize("blank", [False, True])
def test_the_velocity_bridges_frames_unseen_missing_and_blanked(blank):
    frames = convoys(40)
    linker = OptimalLinker(LinkOptions(search_range_px=6, memory_frames=3, drift_range_px=0, predict=True))
    for index in range(30):
        linker.step(index, frames[index])
    if blank:
        # Every second one is not seen in two frames (more than half: a blanked beam does not use up memory).
        linker.step(30, frames[30][:3])
        linker.step(31, frames[31][:3])
    assert linker.step(32, frames[32]).tolist() == list(range(16))


def test_a_predicting_linker_cut_anywhere_is_the_same():
    frames = convoys(16)
    whole = run(frames, search_range_px=6, predict=True)
    for cut in range(1, 16):
        first, then = (OptimalLinker(LinkOptions(search_range_px=6, predict=True)) for _ in range(2))
        for index in range(cut):
            first.step(index, frames[index])
        then.restore({name: values.copy() for name, values in first.state().items()})
        for index in range(cut, 16):
            assert then.step(index, frames[index]).tolist() == whole[index].tolist()


# --- trackpy's assignment -------------------------------------------------------------------------


@pytest.mark.parametrize(("memory", "stop"), [(0, None), (2, None), (0, 2.0)])
def test_with_method_trackpy_the_linker_gives_the_same_ids(trackpy, memory, stop):
    frames = crowd(60, 250, 1.5, 25, seed=6)
    rng = np.random.default_rng(6)
    frames = [p[rng.random(len(p)) < 0.95] + 25.0 * (k > 12) for k, p in enumerate(frames)]
    options = {"search_range_px": 9, "memory_frames": memory, "adaptive_stop_px": stop}
    for mine, theirs in zip(run(frames, **options), run(frames, method="trackpy", **options), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_engine_links_with_the_chosen_method_from_images_to_ids(trackpy):
    movie = cases_movies.discs(frames=8)
    chosen = {"link.search_range_px": 6.0, "link.predict": True, "link.adaptive_stop_px": 2.0}
    ids = []
    for method in ("optimal", "trackpy"):
        settings = {**chosen, "link.method": method}
        ids.append([r.ids.tolist() for r in insitu.stream(movie, model="classical", settings=settings)])
    assert ids[0] == ids[1]
    assert sorted(ids[0][0]) == sorted(ids[0][-1]) == list(range(5))


def test_what_trackpy_gives_up_is_refused_with_a_way_out(trackpy):
    frames = crowd(300, 100, 1.0, 2, seed=7)
    with pytest.raises(CommandError) as caught:
        run(frames, search_range_px=40, method="trackpy")
    assert "300 particles within 40 px" in caught.value.message
    assert "link.method = 'optimal'" in caught.value.hint
    assert len(run(frames, search_range_px=40)[1]) == 300


def test_without_trackpy_the_method_says_what_to_install(monkeypatch):
    import builtins

    real = builtins.__import__

    def missing(name, *arguments, **keywords):
        if name.startswith("trackpy"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(CommandError) as caught:
        run(crowd(5, 50, 1.0, 2, seed=8), method="trackpy")
    assert "pip install trackpy" in caught.value.hint
