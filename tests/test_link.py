from __future__ import annotations

import itertools
import logging
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

import insitu.link
from insitu.errors import CommandError
from insitu.link import OptimalLinker, compiled, link, link_iter, plain
from insitu.link import linker as linker_module
from insitu.options import LinkOptions


def table_of(frames: list[np.ndarray]) -> pd.DataFrame:
    """One row a position; `truth` is its place in the frame's array."""
    parts = [
        pd.DataFrame({"frame": t, "y": p[:, 0], "x": p[:, 1], "truth": np.arange(len(p))}) for t, p in enumerate(frames)
    ]
    return pd.concat(parts, ignore_index=True)


def by_iter(f: pd.DataFrame, search_range: float, **options: object) -> pd.DataFrame:
    """The same through `link_iter`: one array for every frame number between the first and the last."""
    f = f.sort_values("frame", kind="stable").copy()
    numbers = range(int(f["frame"].min()), int(f["frame"].max()) + 1)
    arrays = [(t, f.loc[f["frame"] == t, ["y", "x"]].to_numpy()) for t in numbers]
    f["particle"] = [i for _, ids in link_iter(arrays, search_range, **options) for i in ids]
    return f


@pytest.fixture(params=[link, by_iter], ids=["link", "link_iter"])
def linked(request):
    return request.param


def walks(n: int, frames: int, sigma: float, size: float, *, seed: int, births: float = 0.0) -> list[np.ndarray]:
    """Random walkers with a localisation error; a share `births` is replaced by newcomers in each frame."""
    rng = np.random.default_rng(seed)
    at = rng.random((n, 2)) * size
    out = []
    for _ in range(frames):
        out.append(at + rng.normal(0, 0.2, at.shape))
        at = at + rng.normal(0, sigma, at.shape)
        new = rng.random(n) < births
        at[new] = rng.random((int(new.sum()), 2)) * size
    return out


def links_of(f: pd.DataFrame) -> set[tuple[int, int]]:
    """Pairs of rows (by index) that follow each other in one track."""
    out = set()
    for _, rows in f.sort_values("frame", kind="stable").groupby("particle"):
        out |= set(itertools.pairwise(rows.index.tolist()))
    return out


def cost_of(a: np.ndarray, b: np.ndarray, links: np.ndarray, radius: float) -> float:
    on = links >= 0
    return float(((a[on] - b[links[on]]) ** 2).sum() + radius**2 * (~on).sum())


def least_cost(a: np.ndarray, b: np.ndarray, radius: float) -> float:
    """The optimum over the whole frame at once, from scipy."""
    n, m = len(a), len(b)
    square = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    cost = np.full((n, m + n), 1e9)
    cost[:, :m] = np.where(square <= radius**2, square, 1e9)
    cost[np.arange(n), m + np.arange(n)] = radius**2
    return float(cost[linear_sum_assignment(cost)].sum())


def same_links(f: pd.DataFrame, radius: float, memory: int = 0) -> tuple[int, int]:
    """Number of trackpy's links, and of links that only one of the two has."""
    trackpy = pytest.importorskip("trackpy")
    logging.getLogger("trackpy").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = links_of(trackpy.link(f, radius, memory=memory))
    return len(theirs), len(theirs ^ links_of(link(f, radius, memory=memory)))


# --- against trackpy and against the optimum ------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "frames", "sigma", "radius", "memory"),
    [(300, 200, 1.0, 10.0, 0), (300, 60, 1.0, 10.0, 3), (1500, 12, 1.5, 10.0, 0), (800, 15, 4.0, 16.0, 2)],
)
def test_links_are_those_of_trackpy(n, frames, sigma, radius, memory):
    size = 1800.0 * (n / 3000) ** 0.5 if n > 300 else 1800.0
    f = table_of(walks(n, frames, sigma, size, seed=n + memory, births=0.02))
    count, differing = same_links(f, radius, memory)
    assert count > 9000
    assert differing == 0


def points(n_max: int, whole: bool):
    number = st.integers(0, 12).map(float) if whole else st.floats(0, 12, allow_nan=False, width=32)
    return st.lists(st.tuples(number, number), min_size=1, max_size=n_max).map(lambda v: np.array(v, float))


@given(a=points(14, whole=False), b=points(14, whole=False), radius=st.sampled_from([1.0, 2.5, 6.0]))
def test_no_assignment_is_cheaper(a, b, radius):
    links, dropped = compiled.assign(a, b, radius, 200)
    on = links[links >= 0]
    assert dropped == 0
    assert len(set(on.tolist())) == len(on)
    np.testing.assert_allclose(cost_of(a, b, links, radius), least_cost(a, b, radius), rtol=1e-9, atol=1e-9)


@given(
    a=points(25, whole=True),
    b=points(25, whole=True),
    radius=st.sampled_from([1.0, 2.0, 3.0]),
    cap=st.sampled_from([3, 8, 200]),
)
def test_plain_and_compiled_agree_ties_included(a, b, radius, cap):
    for mine, theirs in zip(compiled.candidates(a, b, radius), plain.candidates(a, b, radius), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    mine, theirs = compiled.assign(a, b, radius, cap), plain.assign(a, b, radius, cap)
    np.testing.assert_array_equal(mine[0], theirs[0])
    assert mine[1] == theirs[1]


def test_candidates_are_all_pairs_in_range_whatever_the_extent():
    rng = np.random.default_rng(3)
    a, b = rng.random((60, 3)) * 20, rng.random((50, 3)) * 20
    a[0], b[0] = 1e9, -1e9
    square = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    i, j = np.nonzero(square <= 16.0)
    found = compiled.candidates(a, b, 4.0)
    np.testing.assert_array_equal(found[0], i)
    np.testing.assert_array_equal(found[1], j)


def test_without_numba_scipy_takes_over(monkeypatch):
    monkeypatch.setattr(linker_module, "find_spec", lambda name: None)
    assert linker_module.assignment() is plain.assign
    f = table_of(walks(80, 15, 1.0, 150, seed=2))
    with_scipy = link(f, 8, memory=2)
    monkeypatch.undo()
    assert linker_module.assignment() is compiled.assign
    pd.testing.assert_frame_equal(with_scipy, link(f, 8, memory=2))


# --- cases as trackpy has them, written afresh ----------------------------------------------------


def ids_by_truth(f: pd.DataFrame) -> dict[int, set[int]]:
    return {int(k): set(v) for k, v in f.groupby("truth")["particle"]}


def one_id_each(f: pd.DataFrame) -> bool:
    ids = ids_by_truth(f)
    return all(len(v) == 1 for v in ids.values()) and len(set.union(*ids.values())) == len(ids)


@pytest.mark.parametrize("seed", range(3))
def test_near_steppers_keep_apart(linked, seed):
    rng = np.random.default_rng(seed)
    # Two a little more than a search range apart go the same way; the nearest of the second is the first.
    frames = [np.array([[10.0, 10 + 3 * k], [10.0, 15.5 + 3 * k], [60.0, 10 - k]]) for k in range(8)]
    f = table_of(frames).sample(frac=1, random_state=int(rng.integers(1000)))
    assert one_id_each(linked(f, 5))


def test_near_random_walks_keep_apart(linked):
    start = np.stack(np.meshgrid(np.arange(10) * 5.0, np.arange(10) * 5.0), -1).reshape(-1, 2)
    rng = np.random.default_rng(7)
    f = table_of([start + rng.uniform(-1, 1, start.shape) for _ in range(20)])
    assert one_id_each(linked(f, 6))


def test_cost_is_in_quadrature(linked):
    # The sum of distances is 1.9 either way; the sum of squares is 1.81 in order and 3.61 crossed.
    f = table_of([np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 1.9]])])
    assert one_id_each(linked(f, 3))


def test_an_unlinked_source_costs_the_search_range_squared(linked):
    before, after = np.array([[0.0, 0.0], [0.0, 3.0]]), np.array([[0.0, 3.1], [0.0, 6.9]])
    # Range 4: both linked 9.61 + 15.21 = 24.82; the near pair and one unlinked 0.01 + 16 = 16.01.
    ids = linked(table_of([before, after]), 4)["particle"].tolist()
    assert ids == [0, 1, 1, 2]
    # Range 5: 24.82 against 0.01 + 25 = 25.01.
    assert linked(table_of([before, after]), 5)["particle"].tolist() == [0, 1, 0, 1]


def test_a_step_of_exactly_the_search_range_is_linked(linked):
    frames = [np.array([[0.0, 5.0 * k]]) for k in range(4)]
    assert linked(table_of(frames), 5)["particle"].tolist() == [0, 0, 0, 0]
    assert linked(table_of(frames), 4.999)["particle"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("shift", [0.3, 0.45, 0.55, 0.7])
def test_the_comb_is_solved_at_least_cost(shift):
    a = np.stack([np.zeros(60), np.arange(60.0)], 1)
    b = a + np.array([0.0, shift])
    links, dropped = compiled.assign(a, b, 1.2, 200)
    assert dropped == 0
    np.testing.assert_allclose(cost_of(a, b, links, 1.2), least_cost(a, b, 1.2), rtol=1e-12)


@pytest.mark.parametrize(
    ("memory", "gone", "tracks"), [(0, 1, 2), (1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 3, 2), (5, 6, 2)]
)
def test_memory_counts_the_frames_unseen(linked, memory, gone, tracks):
    other = np.array([[50.0, 50.0]])
    there = np.array([[10.0, 10.0], [50.0, 50.0]])
    f = table_of([there] * 3 + [other] * gone + [there] * 3)
    near = f["y"] == 10
    assert linked(f, 3, memory=memory).loc[near, "particle"].nunique() == tracks


def test_memory_prefers_the_nearer_of_seen_and_remembered(linked):
    frames = [np.array([[0.0, 0.0], [0.0, 20.0]]), np.array([[0.0, 20.0]]), np.array([[0.0, 1.0], [0.0, 20.5]])]
    ids = linked(table_of(frames), 5, memory=1)["particle"].tolist()
    assert ids == [0, 1, 1, 0, 1]


def test_a_remembered_particle_does_not_return_twice(linked):
    frames = [np.array([[0.0, 0.0]]), np.empty((0, 2)), np.array([[0.0, 1.0], [0.0, -1.5]])]
    f = table_of(frames)
    assert linked(f, 5, memory=1)["particle"].tolist() == [0, 0, 1]


def test_row_order_changes_nothing(linked):
    f = table_of(walks(40, 12, 1.0, 100, seed=4, births=0.05))
    first, second = linked(f, 7, memory=2), linked(f.sample(frac=1, random_state=1), 7, memory=2)
    assert links_of(first) == links_of(second)


def test_frames_may_start_anywhere_be_absent_and_be_floats():
    f = table_of(walks(10, 9, 0.5, 200, seed=5))
    moved = f.assign(frame=(f["frame"] + 700).astype(float))
    out = link(moved, 5)
    assert out["frame"].dtype == np.int64
    assert out["particle"].tolist() == link(f, 5)["particle"].tolist()
    gap = f[f["frame"] != 4]
    assert link(gap, 5)["particle"].nunique() == 20
    assert link(gap, 5, memory=1)["particle"].nunique() == 10


def test_a_huge_gap_costs_nothing():
    f = pd.DataFrame({"frame": [0, 10**15], "y": [1.0, 1.0], "x": [1.0, 1.0]})
    assert link(f, 5, memory=3)["particle"].tolist() == [0, 1]


def test_the_given_table_is_left_alone_and_its_index_kept():
    f = table_of(walks(5, 4, 0.5, 100, seed=6)).sample(frac=1, random_state=0)
    f.index = f.index + 1000
    copy = f.copy()
    out = link(f, 5)
    pd.testing.assert_frame_equal(f, copy)
    assert sorted(out.index) == sorted(f.index)
    assert (out.loc[f.index, "x"] == f["x"]).all()
    assert (np.diff(out["frame"]) >= 0).all()


def test_rows_of_one_frame_are_numbered_in_order():
    f = table_of([np.array([[50.0, 50.0], [0.0, 0.0], [20.0, 0.0]])])
    assert link(f, 5)["particle"].tolist() == [0, 1, 2]


# --- dimensions and scales ------------------------------------------------------------------------


def test_one_three_and_unequal_dimensions():
    f = table_of(walks(30, 10, 0.5, 100, seed=8))
    assert link(f, 4, pos_columns=["x"]).groupby("frame")["particle"].nunique().eq(30).all()
    flat = link(f.assign(z=0.0), 4)
    assert flat["particle"].tolist() == link(f, 4)["particle"].tolist()
    far = f.assign(z=np.where(f["frame"] % 2 == 0, 0.0, 50.0))
    assert link(far, 4)["particle"].nunique() == len(f)
    assert link(far, (60, 4, 4))["particle"].nunique() < len(f)
    stretched = f.assign(x=f["x"] * 10)
    assert link(stretched, (4, 40))["particle"].tolist() == link(f, 4)["particle"].tolist()
    eucl = link(stretched, 4, to_eucl=lambda p: p / [1, 10])
    assert eucl["particle"].tolist() == link(f, 4)["particle"].tolist()


# --- bad input ------------------------------------------------------------------------------------


def test_nan_positions_never_link(linked):
    frames = [np.array([[0.0, 0.0], [np.nan, 5.0], [9.0, np.inf]])] * 3
    ids = linked(table_of(frames), 5, memory=2)["particle"].tolist()
    assert ids == [0, 1, 2, 0, 3, 4, 0, 5, 6]


def test_missing_values_of_pandas_are_no_positions():
    f = pd.DataFrame({"frame": [0, 0, 1], "y": [0.0, 1.0, 0.0], "x": [0.0, None, 0.0]}).convert_dtypes()
    assert link(f, 5)["particle"].tolist() == [0, 1, 0]


def test_an_empty_table_gives_an_empty_table():
    out = link(pd.DataFrame({"frame": [], "y": [], "x": []}), 5)
    assert out["particle"].dtype == np.int64
    assert len(out) == 0
    assert list(link_iter([], 5)) == []


def test_empty_frames_are_fine():
    arrays = [np.empty((0, 2)), np.empty(0), np.array([[1.0, 1.0, 0.0]])[:, :2], np.empty((0, 2)), np.ones((1, 2))]
    assert [ids for _, ids in link_iter(arrays, 5, memory=1)] == [[], [], [0], [], [0]]
    f = pd.DataFrame({"frame": [0, 3], "y": [1.0, 1.0], "x": [1.0, 1.0]})
    assert link(f, 5, memory=2)["particle"].tolist() == [0, 0]


def test_link_iter_takes_times_and_keeps_them():
    arrays = [(0.5, np.zeros((1, 2))), (7.25, np.zeros((1, 2)))]
    assert list(link_iter(iter(arrays), 5)) == [(0.5, [0]), (7.25, [0])]
    assert [t for t, _ in link_iter([np.zeros((1, 2))] * 3, 5)] == [0, 1, 2]


GOOD = pd.DataFrame({"frame": [0, 1], "y": [0.0, 0.0], "x": [0.0, 0.0]})


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (GOOD.drop(columns="x"), {}, "'x'"),
        (GOOD.rename(columns={"frame": "t"}), {}, "'frame'"),
        (GOOD.assign(x=["a", "b"]), {}, "'x'"),
        (GOOD.assign(frame=[0.0, 0.5]), {}, "0.5"),
        (GOOD.assign(frame=[0.0, np.nan]), {}, "nan"),
        (GOOD.assign(frame=["a", "b"]), {}, "'frame'"),
        (GOOD, {"search_range": -1}, "-1"),
        (GOOD, {"search_range": (1, 2, 3)}, "(1, 2, 3)"),
        (GOOD, {"search_range": np.nan}, "nan"),
        (GOOD, {"search_range": (1, 2), "to_eucl": abs}, "to_eucl"),
        (GOOD, {"memory": -1}, "-1"),
        (GOOD, {"memory": 1.5}, "1.5"),
        (GOOD, {"predictor": abs}, "predictor"),
        (GOOD, {"link_strategy": "drop"}, "drop"),
        (GOOD, {"dist_func": abs}, "dist_func"),
        (GOOD, {"speed": 3}, "speed"),
    ],
)
def test_errors_name_the_value_and_the_remedy(table, options, said):
    with pytest.raises(CommandError) as caught:
        link(table, **{"search_range": 5, **options})
    assert said in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_ways_to_the_same_optimum_are_accepted():
    expected = link(GOOD, 5)["particle"].tolist()
    for strategy in ("auto", "recursive", "nonrecursive", "numba", "hybrid"):
        assert link(GOOD, 5, link_strategy=strategy, neighbor_strategy="KDTree")["particle"].tolist() == expected


def test_link_iter_refuses_at_the_call_and_names_the_frame():
    with pytest.raises(CommandError):
        link_iter([], 5, predictor=abs)
    with pytest.raises(CommandError) as caught:
        list(link_iter([(3, np.zeros((1, 2))), (4, np.zeros((1, 3)))], 5))
    assert "frame 4" in caught.value.message


def test_the_package_gives_its_names_lazily():
    assert insitu.link.OptimalLinker is OptimalLinker
    with pytest.raises(AttributeError):
        insitu.link.nothing  # noqa: B018 - the access is the test


# --- the streaming linker -------------------------------------------------------------------------


def run(frames: list[np.ndarray], options: LinkOptions, cut: int | None = None) -> list[np.ndarray]:
    linker, out = OptimalLinker(options), []
    for index, positions in enumerate(frames):
        if index == cut:
            state = {k: v.copy() for k, v in linker.state().items()}
            linker = OptimalLinker(options)
            linker.restore(state)
        out.append(linker.step(index, positions))
    return out


@given(seed=st.integers(0, 10**6), cut=st.integers(0, 11), memory=st.integers(0, 3), whole=st.booleans())
def test_wherever_the_movie_is_cut_the_ids_are_the_same(seed, cut, memory, whole):
    frames = walks(30, 12, 1.5, 60, seed=seed, births=0.1)
    rng = np.random.default_rng(seed)
    frames = [p[rng.random(len(p)) < rng.choice([0.2, 0.8, 1.0])] for p in frames]
    if whole:  # many ties
        frames = [np.round(p) for p in frames]
    options = LinkOptions(search_range_px=6, memory_frames=memory, blank_frames=2)
    for mine, theirs in zip(run(frames, options), run(frames, options, cut), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_ids_within_a_frame_are_unique_and_new_ones_count_up():
    seen = -1
    for ids in run(walks(200, 30, 3.0, 300, seed=9, births=0.1), LinkOptions(search_range_px=10, memory_frames=2)):
        assert len(set(ids.tolist())) == len(ids)
        new = ids[ids > seen]
        np.testing.assert_array_equal(new, np.arange(seen + 1, seen + 1 + len(new)))
        seen = max(seen, int(ids.max()))


def test_a_search_range_above_the_spacing_is_solved_and_flagged():
    frames = walks(3000, 3, 4.0, 1800, seed=10)
    linker = OptimalLinker(LinkOptions(search_range_px=40))
    first = linker.step(0, frames[0])
    assert linker.flags == ()
    second = linker.step(1, frames[1])
    assert linker.flags == (linker_module.OVERSIZE,)
    assert (first == second).mean() > 0.9


def test_after_dropping_no_subnet_is_above_the_cap_and_short_links_are_kept():
    rng = np.random.default_rng(11)
    a, b = rng.random((300, 2)) * 60, rng.random((300, 2)) * 60
    edges = compiled.candidates(a, b, 8.0)
    keep = compiled.kept_edges(300, 300, edges, 20)
    graph = coo_matrix((np.ones(keep.sum()), (edges[0][keep], 300 + edges[1][keep])), shape=(600, 600))
    _, part = connected_components(graph, directed=False)
    assert np.bincount(part[:300]).max() <= 20
    assert np.bincount(part[300:]).max() <= 20
    assert 0 < keep.sum() < len(keep)
    assert keep[np.argsort(edges[2])[:10]].all()
    # Whatever was left out would have made a subnet too large.
    for e in np.flatnonzero(~keep)[:50]:
        joined = (part == part[edges[0][e]]) | (part == part[300 + edges[1][e]])
        assert max(joined[:300].sum(), joined[300:].sum()) > 20


def test_bad_frames_are_not_given_and_end_nothing():
    frames = walks(20, 6, 0.5, 100, seed=12)
    linker = OptimalLinker(LinkOptions(search_range_px=6, memory_frames=0))
    ids = [linker.step(index, p) for index, p in zip((0, 1, 9, 10, 500, 501), frames, strict=True)]
    assert all((i == ids[0]).all() for i in ids)


@pytest.mark.parametrize(("blank", "kept"), [(1, True), (5, True), (9, False)])
def test_a_blanked_beam_does_not_use_up_memory(blank, kept):
    frames = walks(40, 12, 0.3, 400, seed=13)
    linker = OptimalLinker(LinkOptions(search_range_px=8, memory_frames=1, blank_frames=6))
    first = linker.step(0, frames[0])
    linker.step(1, frames[1])
    for k in range(blank):
        linker.step(2 + k, np.empty((0, 2)))
    assert (linker.step(2 + blank, frames[2]) == first).all() == kept


def test_a_new_field_of_view_is_not_taken_for_a_blanked_beam_for_ever():
    options = LinkOptions(search_range_px=8, memory_frames=1, blank_frames=6)
    linker = OptimalLinker(options)
    for index, positions in enumerate(walks(40, 2, 0.3, 400, seed=14)):
        linker.step(index - 2, positions)
    elsewhere = walks(20, 1, 0.3, 400, seed=15)[0] + 1000
    for index in range(20):
        linker.step(index, elsewhere)
    assert len(linker.state()["ids"]) == 20


def test_the_state_stays_small():
    linker = OptimalLinker(LinkOptions(search_range_px=5, memory_frames=3))
    rng = np.random.default_rng(16)
    sizes = []
    for index in range(300):
        linker.step(index, rng.random((30, 2)) * 1000)
        sizes.append(sum(v.nbytes for v in linker.state().values()))
    assert max(sizes[150:]) <= max(sizes[:150])
