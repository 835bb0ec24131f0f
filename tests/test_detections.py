from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import cases_events as worlds
import numpy as np
import pandas as pd
import pytest

from insitu.discs import discs
from insitu.errors import CommandError
from insitu.link import track_table
from insitu.runs import paint

if TYPE_CHECKING:
    from pathlib import Path


def table_of(movie: worlds.Movie) -> pd.DataFrame:
    """The discs of a named world as somebody else's detections."""
    rows = [(k, *d) for k, frame in enumerate(movie.frames) if frame is not None for d in frame]
    table = pd.DataFrame(rows, columns=["frame", "y", "x", "radius"])
    inside = table[["y", "x"]].ge(0).all(axis=1) & (table["y"] < movie.shape[0]) & (table["x"] < movie.shape[1])
    return table[inside].assign(area_px=np.pi * table["radius"] ** 2)


def test_ids_are_those_of_the_linker_in_any_order_of_rows_and_other_columns_stay():
    table = table_of(worlds.three_merge()).assign(score=1.5).sample(frac=1, random_state=3)
    before = table.copy()
    found = track_table(table, search_range_px=8)
    pd.testing.assert_frame_equal(table, before)
    assert list(found.particles.columns) == [*table.columns, "particle"]
    assert found.particles["frame"].is_monotonic_increasing
    assert not found.particles.duplicated(["frame", "particle"]).any()
    again = track_table(table.sort_values(["frame", "y"]), search_range_px=8)
    columns = ["frame", "y", "x"]
    same = found.particles.merge(again.particles, on=columns)
    assert len(same.groupby(["particle_x", "particle_y"])) == same["particle_x"].nunique()


@pytest.mark.parametrize(
    "name", ["merge_fast", "three_merge", "shrinks_away", "nucleates", "appears", "vanishes", "splits", "flickers"]
)
def test_with_areas_the_events_are_those_of_the_movie(name):
    movie = getattr(worlds, name)()
    found = track_table(table_of(movie), search_range_px=8, shape=movie.shape, options=worlds.EVENTS)
    expected = [(e.kind, e.frame, len(e.parents), len(e.children)) for e in movie.happened()]
    got = [(e.kind, e.frame, len(e.parents), len(e.children)) for e in found.events.itertuples()]
    assert got == expected


def test_without_a_shape_nothing_leaves():
    movie = worlds.leaves()
    with_border = track_table(table_of(movie), search_range_px=8, shape=movie.shape, options=worlds.EVENTS)
    assert list(with_border.events["kind"]) == ["leaving"]
    without = track_table(table_of(movie), search_range_px=8, options=worlds.EVENTS)
    assert list(without.events["kind"]) == ["lost"]


def test_positions_alone_find_a_merger_and_its_reverse_and_doubt_it():
    movie = worlds.Movie(
        [worlds.still(1, (60.0, 60.0 + k, 5.0), (60.0, 80.0 - k, 5.0))[0] for k in range(8)]
        + worlds.still(6, (60.0, 70.0, 6.3))
    )
    table = table_of(movie)[["frame", "y", "x"]]
    found = track_table(table, search_range_px=8, memory_frames=2)
    (event,) = found.events.itertuples()
    assert (event.kind, event.frame, len(event.parents), event.children[0] in event.parents) == (
        "coalescence",
        8,
        2,
        True,
    )
    assert 0.4 < event.confidence <= 0.5
    assert event.decided_frame == 10
    assert (event.y, event.x) == (60.0, 70.0)
    fates = dict(zip(found.tracks["particle"], found.tracks["fate"], strict=True))
    assert sorted(fates.values()) == ["coalescence", "end", "end", "end"]
    backwards = track_table(table.assign(frame=13 - table["frame"]), search_range_px=8, memory_frames=2)
    (event,) = backwards.events.itertuples()
    assert (event.kind, event.frame, len(event.children)) == ("splitting", 6, 2)


def test_a_neighbour_that_does_not_move_into_the_gap_took_nobody_up():
    frames = [[(50.0, 50.0), (50.0, 57.0)]] * 5 + [[(50.0, 50.0)]] * 5
    table = pd.DataFrame([(t, *p) for t, f in enumerate(frames) for p in f], columns=["frame", "y", "x"])
    found = track_table(table, search_range_px=8)
    assert [(e.kind, e.frame) for e in found.events.itertuples()] == [("lost", 5)]
    assert found.events["confidence"].max() <= 0.5
    near_border = track_table(table, search_range_px=8, shape=(100, 60)).events
    assert list(near_border["kind"]) == ["leaving"]


def test_frames_without_rows_are_missing_unless_they_are_said_to_be_empty():
    table = pd.DataFrame({"frame": [0, 1, 9, 10], "y": 5.0, "x": 5.0})
    assert track_table(table, search_range_px=3, memory_frames=2).particles["particle"].tolist() == [0] * 4
    empty = track_table(table, search_range_px=3, memory_frames=2, frames=range(11))
    assert list(empty.particles["particle"]) == [0, 0, 1, 1]
    assert list(empty.events["kind"]) == ["lost", "appearance"]


def test_a_row_without_a_position_keeps_an_id_of_its_own_and_makes_no_event():
    table = pd.DataFrame({"frame": [0, 0, 1, 1], "y": [5.0, np.nan, 5.0, 9.0], "x": [5.0, 1.0, 5.0, np.inf]})
    for with_area in (table, table.assign(area_px=30.0)):
        found = track_table(with_area, search_range_px=3)
        assert list(found.particles["particle"]) == [0, 1, 0, 2]
        assert len(found.events) == 0


def test_an_empty_table():
    for columns in (["frame", "y", "x"], ["frame", "y", "x", "area_px"]):
        found = track_table(pd.DataFrame({c: np.empty(0) for c in columns}), search_range_px=3)
        assert (len(found.particles), len(found.events), len(found.tracks)) == (0, 0, 0)
        assert {"kind", "confidence", "parents"} <= set(found.events.columns)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"drop": "y"}, {}, r"no column 'y'"),
        ({"frame": 0.5}, {}, r"0\.5"),
        ({"area_px": 0.0}, {}, r"area_px = 0\.0"),
        ({"area_px": np.nan}, {}, r"area_px = nan"),
        ({}, {"search_range_px": -1}, "search_range_px=-1"),
        ({}, {"memory_frames": -1}, "memory_frames=-1"),
        ({}, {"drift_range_px": np.inf}, "drift_range_px=inf"),
    ],
)
def test_what_cannot_be_used_is_refused(change, options, message):
    table = pd.DataFrame({"frame": [0.0, 1.0], "y": 1.0, "x": 2.0})
    table = table.drop(columns=change["drop"]) if "drop" in change else table.assign(**change)
    with pytest.raises(CommandError, match=message):
        track_table(table, **{"search_range_px": 5, **options})


def test_discs_lie_where_and_are_as_large_as_they_should_and_none_is_lost():
    places = np.array([[20.0, 20.0], [20.3, 20.4], [-3.0, 30.0], [45.0, 45.0], [np.nan, 1.0], [300.0, 3.0]])
    area = np.array([700.0, 50.0, 120.0, 0.1, 9.0, 9.0])
    measured, kept = discs(places, area, (60, 60), (0, 0))
    assert sorted(kept.tolist()) == [0, 1, 2, 3]
    image = paint(measured.runs)
    pixels = dict(zip(kept.tolist(), np.bincount(image.ravel())[1:].tolist(), strict=True))
    assert pixels[1] == pytest.approx(50, abs=6)
    assert pixels[0] + pixels[1] == pytest.approx(700, abs=12)
    assert pixels[3] == 1
    p = measured.particles
    assert image[45, 45] == 1 + kept.tolist().index(3)
    assert p.touches_edge.tolist() == [row == 2 for row in kept.tolist()]
    assert p.area_px.tolist() == [{0: 700, 1: 50, 2: 120, 3: 1}[row] for row in kept.tolist()]
    shifted, _ = discs(places[:1] + 100, area[:1], (60, 60), (100, 100))
    assert shifted.runs.origin == (100, 100)
    assert (shifted.particles.bbox_y0[0], shifted.particles.y[0]) == (106, 120.0)


@pytest.mark.parametrize("with_area", [False, True])
def test_a_jump_of_the_stage_is_no_event_and_moves_nobody(with_area):
    rng = np.random.default_rng(1)
    places = rng.uniform(50, 950, (30, 2))
    offsets = np.where(np.arange(12)[:, None] < 6, 0, [25.0, -20.0])
    rows = [(t, y, x) for t, offset in enumerate(offsets) for y, x in places + offset]
    table = pd.DataFrame(rows, columns=["frame", "y", "x"])
    found = track_table(table.assign(area_px=80.0) if with_area else table, search_range_px=8)
    assert found.particles["particle"].tolist() == list(range(30)) * 12
    assert len(found.events) == 0
    np.testing.assert_allclose(found.frames[["drift_y_px", "drift_x_px"]], offsets, atol=1e-9)
    np.testing.assert_allclose(found.tracks["displacement_px"], 0, atol=1e-9)


@pytest.mark.parametrize("with_area", [False, True])
def test_after_a_long_gap_all_are_new(with_area):
    table = pd.DataFrame({"frame": [0, 1, 2, 150, 151], "y": 5.0, "x": 5.0})
    found = track_table(table.assign(area_px=30.0) if with_area else table, search_range_px=3)
    assert found.particles["particle"].tolist() == [0, 0, 0, 1, 1]
    assert (found.events["kind"] == "lost").sum() == 1
    assert "coalescence" not in set(found.events["kind"])
    every_tenth = track_table(table.assign(frame=[0, 10, 20, 120, 130]), search_range_px=3)
    assert every_tenth.particles["particle"].tolist() == [0] * 5


def divisions(table: pd.DataFrame) -> pd.DataFrame:
    """Frame of the daughters, and place of the mother, of every division."""
    rows = table.set_index("id")
    daughters = table.dropna(subset=["parent_id"]).groupby("parent_id")
    mothers = [(int(p), int(g["frame"].min())) for p, g in daughters if len(g) > 1]
    return pd.DataFrame([(f, rows.loc[p, "y"], rows.loc[p, "x"]) for p, f in mothers], columns=["frame", "y", "x"])


@pytest.mark.parametrize("backwards", [False, True], ids=["divisions", "mergers"])
def test_divisions_of_real_cells_forwards_and_as_mergers_backwards(samples, backwards):
    from insitu.evaluate.events import score

    table = pd.read_csv(samples / "tracking" / "hela_tracks_with_divisions.csv").rename(columns={"t": "frame"})
    kind = "coalescence" if backwards else "splitting"
    truth = divisions(table).assign(kind=kind)
    if backwards:
        last = table["frame"].max()
        table["frame"] = last - table["frame"]
        truth["frame"] = last - truth["frame"] + 1
    # No edge of this sample is longer than 20 px. What the cells wander is no drift of the stage.
    tracked = track_table(table[["frame", "y", "x"]], search_range_px=20, memory_frames=0)
    assert not tracked.frames[["drift_y_px", "drift_x_px"]].to_numpy().any()
    found = tracked.events
    scores = score(truth, found, frames=1, distance_px=20)[kind]
    assert scores.truth == 61
    assert scores.precision >= 0.9
    assert scores.recall >= 0.9
    assert found["confidence"].max() <= 0.5


@pytest.mark.parametrize(
    ("name", "n_edges", "told"),
    [
        ("gap_closing", 128, set()),
        ("merging", 129, {"coalescence"}),
        ("splitting_merging", 180, {"coalescence", "splitting"}),
    ],
)
def test_links_mergers_and_splittings_of_trackmate(samples, name, n_edges, told):
    stem = samples / "tracking" / "trackmate_reference" / f"trackmate_tracks_with_{name}"
    spots = pd.read_csv(f"{stem}_spots.csv", index_col=0).rename(columns={"position_x": "x", "position_y": "y"})
    edges = pd.read_csv(f"{stem}_edges.csv", index_col=0)
    theirs = set(zip(edges["spot_source_id"], edges["spot_target_id"], strict=True))
    found = track_table(spots, search_range_px=15, memory_frames=1)
    tracks = {p: list(zip(t["frame"], t["id"], strict=True)) for p, t in found.particles.groupby("particle")}
    links = {(a, b) for spots in tracks.values() for (_, a), (_, b) in pairwise(spots)}
    assert (len(theirs), links - theirs) == (n_edges, set())
    # Every edge of TrackMate that is no link here is an event, and only events it was not told to look for are more.
    through: dict[tuple[int, int], str] = {}
    for e in found.events[found.events["kind"].isin(["coalescence", "splitting"])].itertuples():
        (parent,) = set(e.parents) - set(e.children) or set(e.parents)
        (child,) = set(e.children) - set(e.parents) or set(e.children)
        last = [i for f, i in tracks[parent] if f < e.frame][-1]
        through[last, next(i for f, i in tracks[child] if f >= e.frame)] = e.kind
    assert theirs - links == {edge for edge, kind in through.items() if kind in told}


def voids(samples: Path) -> list[dict[str, list]]:
    path = samples / "tracking" / "insitu_tem_void_detections_Ni_600C_650C.jsonl"
    # The lines of the file are in no order; the time stands in the name of each frame.
    return sorted(map(json.loads, path.read_text(encoding="utf-8").splitlines()), key=lambda v: v["mask-path"])


def test_the_drift_of_a_real_stage_is_what_the_detections_have_in_common(samples):
    """Frames 915-945: the foil moves by more than the search range, and many voids vanish at once meanwhile."""
    frames = [np.array(v["positions"], float).reshape(-1, 2) for v in voids(samples)[915:946]]
    table = pd.DataFrame([(k, *p) for k, f in enumerate(frames) for p in f], columns=["frame", "y", "x"])
    found = track_table(table, search_range_px=15, frames=range(len(frames)))
    steps = found.frames[["drift_y_px", "drift_x_px"]].diff().to_numpy()
    assert (np.hypot(*steps[18:26].T) > 18).all()
    for k in range(18, 27):
        away = np.linalg.norm(frames[k - 1][:, None] + steps[k] - frames[k], axis=2)
        mutual = (away == away.min(axis=1)[:, None]) & (away == away.min(axis=0)) & (away <= 5)
        assert mutual.sum() >= 0.75 * min(away.shape)


def test_real_detections_with_areas(samples):
    lines = voids(samples)[:120]
    rows = [
        (k, *p, np.pi * r * r) for k, v in enumerate(lines) for p, r in zip(v["positions"], v["radii"], strict=True)
    ]
    table = pd.DataFrame(rows, columns=["frame", "y", "x", "area_px"])
    found = track_table(table, search_range_px=25, frames=range(len(lines)), shape=(1024, 1024))
    lengths = found.particles.groupby("particle").size()
    assert len(found.particles) == len(table)
    assert (lengths >= 88).sum() >= 3
    # The stage jumps by more than the search range in frame 91.
    jump = np.hypot(*found.frames[["drift_y_px", "drift_x_px"]].diff().to_numpy().T)
    assert np.nanargmax(jump) == 91
    assert jump[91] > 25
    told = found.tracks.set_index("particle")
    ended = found.tracks[(found.tracks["fate"] != "end")]
    assert set(ended["fate"]) <= {"coalescence", "dissolution", "leaving", "lost"}
    for event in found.events.itertuples():
        assert set(event.parents) | set(event.children) <= set(told.index)
        assert event.frame <= event.decided_frame < len(lines)
