from __future__ import annotations

import numpy as np
import pytest
from export_cases import BAD, PARTICLES, SHAPE, make_run, write_movie
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.types import Calibration
from insitu.view import layers_of
from insitu.view.genealogy import kept, pieces


def named(found):
    return {about["name"]: (data, about, kind) for data, about, kind in found.layers}


def test_the_layers_of_a_run(filmed):
    run, movie = filmed
    found = layers_of(run)
    assert found.notes == []
    made = named(found)
    assert [(n, made[n][2]) for n in made] == [
        ("image", "image"),
        ("particles", "labels"),
        ("tracks", "tracks"),
        ("events", "points"),
    ]
    image = np.asarray(made["image"][0])
    expected = movie.copy()
    expected[BAD] = 0
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(np.asarray(made["particles"][0]), run.labels_by_particle()[:] + 1)
    for _, about, _ in made.values():
        assert about["scale"] == (0.1, 0.5, 0.5)
        assert about["units"] == ("s", "nm", "nm")
        assert about["translate"] == (0, 0, 0)


def test_planes_are_read_when_they_are_looked_at(filmed, monkeypatch):
    from insitu.view import layers

    read = []
    whole = layers.image_of
    monkeypatch.setattr(layers, "image_of", lambda r, frame, s: read.append(frame) or whole(r, frame, s))
    data, _, _ = layers.image(filmed[0], layers.Axes.of(filmed[0]))
    read.clear()
    np.testing.assert_array_equal(np.asarray(data[3]), filmed[1][3])
    assert read == [3]


def test_tracks_are_cut_where_particles_merge_or_split(filmed):
    data, about, _ = named(layers_of(filmed[0]))["tracks"]
    features = about["features"]
    pieces_of = {}
    for piece in np.unique(data[:, 0]):
        rows = data[:, 0] == piece
        (particle,) = set(features["particle"][rows].tolist())
        pieces_of[int(piece)] = (particle, *data[rows, 1][[0, -1]].astype(int).tolist())
    told = {pieces_of[child]: {pieces_of[p] for p in parents} for child, parents in about["graph"].items()}
    assert set(pieces_of.values()) == {
        (0, 0, 3), (0, 4, 5), (0, 7, 9), (1, 0, 3), (2, 0, 4), (3, 0, 4), (4, 5, 9), (5, 7, 9), (6, 0, 9), (7, 8, 8),
    }  # fmt: skip
    assert told == {
        (0, 4, 5): {(0, 0, 3), (1, 0, 3)},  # 0 lives on through the merger with 1
        (4, 5, 9): {(2, 0, 4), (3, 0, 4)},
        (0, 7, 9): {(0, 4, 5)},
        (5, 7, 9): {(0, 4, 5)},
    }
    for child, parents in about["graph"].items():
        begins = data[data[:, 0] == child, 1].min()
        assert all(data[data[:, 0] == p, 1].max() < begins for p in parents), "no line runs back in time"


def test_every_row_is_in_a_track_at_its_place(filmed):
    data, about, _ = named(layers_of(filmed[0]))["tracks"]
    table = filmed[0].particles.to_pandas().sort_values(["particle", "frame"])
    np.testing.assert_array_equal(data[:, 2:], table[["y", "x"]])
    np.testing.assert_array_equal(data[:, 1], table["frame"])
    np.testing.assert_array_equal(about["features"]["equivalent_diameter_nm"], table["equivalent_diameter_nm"])
    assert (np.diff(data[:, 0]) >= 0).all()


def test_short_tracks_are_left_out_with_their_links(filmed):
    data, about, _ = named(layers_of(filmed[0], min_length=4))["tracks"]
    kept_particles = {p for p, (_, _, seen) in PARTICLES.items() if len(seen) >= 4}
    assert set(about["features"]["particle"].tolist()) == kept_particles == {0, 1, 2, 3, 4, 6}
    assert {p for parents in about["graph"].values() for p in parents} <= set(data[:, 0])
    assert set(about["graph"]) <= set(data[:, 0])
    assert not [about for _, about, kind in layers_of(filmed[0], min_length=99).layers if kind == "tracks"]


def test_events_are_points_where_they_happened(filmed):
    data, about, _ = named(layers_of(filmed[0]))["events"]
    np.testing.assert_array_equal(data[0], [4, 30, 30])
    assert about["features"]["kind"].tolist() == ["coalescence", "coalescence", "splitting", "appearance"]
    assert about["features"]["parents"][1] == "2 3"
    assert len(about["border_color"]) == 4


def test_without_calibration_axes_count_frames_and_pixels(tmp_path):
    write_movie(tmp_path, frames=35)
    made = named(layers_of(make_run(tmp_path / "run", calibration=Calibration(), first=5, step=3)))
    assert all(about["units"] == ("pixel",) * 3 for _, about, _ in made.values())
    assert all(about["scale"] == (3, 1, 1) and about["translate"][0] == 5 for _, about, _ in made.values())
    tracks, points = made["tracks"][0], made["events"][0]
    assert tracks[:, 1].max() == 9
    assert points[0, 0] == 4
    assert "equivalent_diameter_px" in made["tracks"][1]["features"]


def test_a_binned_region_lies_at_its_place(tmp_path):
    run = make_run(tmp_path / "run", origin=(10, 20), side=2)
    write_movie(tmp_path, shape=(2 * SHAPE[0] + 30, 2 * SHAPE[1] + 50))
    _, about, _ = named(layers_of(run))["particles"]
    assert about["scale"] == (0.1, 1.0, 1.0)
    assert about["translate"] == (0, 10.5 * 0.5, 20.5 * 0.5)


def test_what_cannot_be_shown_is_told(tmp_path):
    found = layers_of(make_run(tmp_path / "run", finish=False, labels=False))
    assert [about["name"] for _, about, _ in found.layers] == ["events"]
    told = " · ".join(found.notes)
    assert "without image: the movie of the run" in told
    assert "without labels" in told
    assert "the run is not finished" in told


def test_a_run_that_has_hardly_begun_shows_nothing_yet(tmp_path):
    write_movie(tmp_path)
    found = layers_of(make_run(tmp_path / "run", finish=False, frames=3))
    assert [about["name"] for _, about, _ in found.layers] == ["events"]
    assert "without image: the run" in found.notes[0]
    assert "has no frame yet" in found.notes[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.data())
def test_cut_pieces_never_mix_particles_and_links_join_ends(particles, data):
    particle = np.array(particles, np.int64)
    pairs = [(a, b) for a in range(len(particle)) for b in range(a + 1, len(particle)) if particle[a] != particle[b]]
    links = data.draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True)) if pairs else []
    found = pieces(particle, np.array(links, np.int64).reshape(-1, 2))
    spots = {int(p): found.order[found.piece == p] for p in np.unique(found.piece)}
    assert sorted(found.order.tolist()) == list(range(len(particle)))
    assert all(len(set(particle[s].tolist())) == 1 and (np.diff(s) > 0).all() for s in spots.values())
    of = {int(s): p for p, group in spots.items() for s in group}
    for a, b in links:
        assert spots[of[a]][-1] == a
        assert spots[of[b]][0] == b
        assert of[a] in found.parents[of[b]]
    least = kept(found, particle, 2)
    assert (np.bincount(particle)[particle[least.order]] >= 2).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_pieces_of_next_to_nothing(rows):
    found = pieces(np.zeros(rows, np.int64), np.empty((0, 2), np.int64))
    assert len(found.order) == rows
    assert found.parents == {}
