from __future__ import annotations

import errno
import os
import xml.etree.ElementTree as ET

import export_cases
import numpy as np
import pandas as pd
import pytest
import tifffile
from export_cases import BAD, PARTICLES, SHAPE, TREES, links, make_run

from insitu.errors import CommandError, InputError
from insitu.export import ExportOptions, ctc, export, graph, rows
from insitu.types import Calibration, Event


def cut(monkeypatch, size):
    """Let rows come in batches of `size`, from stretches of about as many."""
    monkeypatch.setattr(rows, "STRETCH_ROWS", size)
    whole = rows.batches

    def small(run, columns):
        for batch in whole(run, columns):
            n = len(batch[columns[0]])
            for a in range(0, n, size):
                yield {name: values[a : a + size] for name, values in batch.items()}

    monkeypatch.setattr(rows, "batches", small)
    monkeypatch.setattr(graph, "batches", small)


def read_trackmate(path):
    """Read model, spots, and links by track as TrackMate does: by the names of elements and attributes."""
    root = ET.parse(path).getroot()
    assert (root.tag, root.get("version")) == ("TrackMate", "7.11.1")
    model = root.find("Model")
    spots = {}
    for group in model.find("AllSpots"):
        for spot in group:
            assert spot.get("FRAME") == group.get("frame")
            spots[int(spot.get("ID"))] = spot.attrib
    assert len(spots) == int(model.find("AllSpots").get("nspots"))
    tracks = {}
    for track in model.find("AllTracks"):
        edges = [(int(e.get("SPOT_SOURCE_ID")), int(e.get("SPOT_TARGET_ID"))) for e in track]
        assert int(track.get("NUMBER_SPOTS")) == len(set(sum(edges, ())))
        tracks[int(track.get("TRACK_ID"))] = edges
    shown = [int(t.get("TRACK_ID")) for t in model.find("FilteredTracks")]
    assert shown == list(tracks)
    declared = {f.get("feature") for f in model.find("FeatureDeclarations/SpotFeatures")}
    assert all(set(s) <= declared | {"ID", "name"} for s in spots.values())
    return root, spots, tracks


@pytest.mark.parametrize("size", [1000, 7, 1])
def test_trackmate_holds_every_spot_and_every_link_with_mergers(run, tmp_path, monkeypatch, size):
    cut(monkeypatch, size)
    root, spots, tracks = read_trackmate(export(run, "trackmate", tmp_path / "t.xml"))
    who = {k: (int(s["PARTICLE"]), int(s["FRAME"])) for k, s in spots.items()}
    assert sorted(who.values()) == sorted((p, k) for p, (_, _, seen) in PARTICLES.items() for k in seen)
    found = [(who[a], who[b]) for edges in tracks.values() for a, b in edges]
    assert len(found) == len(set(found))
    assert set(found) == links()
    assert [{who[s][0] for edge in edges for s in edge} for edges in tracks.values()] == TREES
    assert list(tracks) == [0, 2, 6]
    model, image = root.find("Model"), root.find("Settings/ImageData")
    assert (model.get("spatialunits"), model.get("timeunits")) == ("nm", "sec")
    assert image.get("filename") == "film & co.tif"
    assert [image.get(n) for n in ("width", "height", "nframes")] == [str(SHAPE[1]), str(SHAPE[0]), "10"]
    assert (float(image.get("pixelwidth")), float(image.get("timeinterval"))) == (0.5, 0.1)


def test_trackmate_is_in_nm_and_s_from_pixel_centres(run, tmp_path):
    _, spots, _ = read_trackmate(export(run, "trackmate", tmp_path / "t.xml"))
    table = run.particles.to_pandas()
    for k, row in enumerate(table.itertuples()):
        spot = spots[k]
        assert float(spot["POSITION_X"]) == pytest.approx(row.x * 0.5, abs=1e-12)
        assert float(spot["POSITION_Y"]) == pytest.approx(row.y * 0.5, abs=1e-12)
        assert float(spot["RADIUS"]) == pytest.approx(row.equivalent_diameter_nm / 2)
        assert float(spot["AREA"]) == pytest.approx(row.area_nm2)
        assert float(spot["POSITION_T"]) == pytest.approx(row.frame * 0.1)


def test_trackmate_without_calibration_is_in_px_and_frames(tmp_path):
    bare = make_run(tmp_path / "bare", calibration=Calibration(), first=5, step=3)
    root, spots, tracks = read_trackmate(export(bare, "trackmate", tmp_path / "t.xml"))
    assert (root.find("Model").get("spatialunits"), root.find("Model").get("timeunits")) == ("pixel", "frame")
    assert sorted({int(s["FRAME"]) for s in spots.values()}) == [5 + 3 * k for k in range(10) if k != BAD]
    assert sum(map(len, tracks.values())) == len(links())


def test_a_full_disk_is_an_error_and_leaves_nothing(run, tmp_path, monkeypatch):
    def full(_file, _start, size):
        assert size == len(links()) * 16
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="space"):
        export(run, "trackmate", tmp_path / "t.xml")
    assert list(tmp_path.iterdir()) == []


def test_two_that_are_seen_apart_once_more_after_their_merger_are_joined_at_the_end(tmp_path, monkeypatch):
    early = Event("coalescence", 2, 5, 30.0, 30.0, (0, 1), (0,))
    monkeypatch.setattr(export_cases, "EVENTS", (early,))
    _, spots, tracks = read_trackmate(export(make_run(tmp_path / "run"), "trackmate", tmp_path / "t.xml"))
    who = {k: (int(s["PARTICLE"]), int(s["FRAME"])) for k, s in spots.items()}
    across = {(who[a], who[b]) for edges in tracks.values() for a, b in edges if who[a][0] != who[b][0]}
    assert across == {((1, 3), (0, 4))}


def read_ctc(folder, stem, table):
    lines = pd.read_csv(folder / table, sep=" ", header=None, names=list("LBEP"))
    images = [tifffile.imread(p) for p in sorted(folder.glob(f"{stem}*.tif"))]
    return lines, images


@pytest.mark.parametrize("size", [1000, 5])
def test_ctc_tracks_have_no_gap_and_one_parent_that_has_ended(run, tmp_path, monkeypatch, size):
    cut(monkeypatch, size)
    lines, images = read_ctc(export(run, "ctc", tmp_path / "TRA"), "man_track", "man_track.txt")
    assert [i.shape for i in images] == [SHAPE] * 10
    assert {i.dtype for i in images} == {np.dtype(np.uint16)}
    assert lines["L"].tolist() == list(range(1, len(lines) + 1))
    painted = run.labels_by_particle()
    owner = {}
    for k, image in enumerate(images):
        alive = lines[(lines["B"] <= k) & (lines["E"] >= k)]["L"]
        assert set(np.unique(image)) - {0} == set(alive)
        assert ((image > 0) == (painted[k] >= 0)).all()
        for label in alive:
            (particle,) = set(painted[k][image == label].tolist())
            assert owner.setdefault(label, particle) == particle
    told = {(owner[r.L], r.B, r.E, owner.get(r.P)) for r in lines.itertuples()}
    assert told == {
        (0, 0, 5, None),  # goes on through the merger with 1
        (1, 0, 3, None),
        (2, 0, 4, None),
        (3, 0, 4, None),
        (4, 5, 5, 2),  # of its two parents the larger one
        (4, 7, 9, 4),  # frame 6 is bad
        (6, 0, 2, None),
        (6, 4, 5, 6),
        (6, 7, 9, 6),
        (0, 7, 9, 0),
        (5, 7, 9, 0),
        (7, 8, 8, None),
    }
    parents = lines.set_index("L").loc[lines[lines["P"] > 0]["P"]]
    assert (parents["E"].to_numpy() < lines[lines["P"] > 0]["B"].to_numpy()).all()


def test_a_mother_that_lives_on_begins_a_new_track_when_a_daughter_splits_off():
    tracks = ctc.Tracks({5: 0}, {5: 0})
    assert [tracks.step(0, [0]), tracks.step(1, [0]), tracks.step(2, [5, 0]), tracks.step(3, [0, 5])] == [
        [1],
        [1],
        [2, 3],
        [3, 2],
    ]
    assert (tracks.first, tracks.last, tracks.parent) == ([0, 2, 2], [1, 3, 3], [0, 1, 1])


def test_ctc_of_a_result_folder_and_of_every_third_frame(tmp_path):
    every = make_run(tmp_path / "every", first=5, step=3)
    lines, images = read_ctc(export(every, "ctc", tmp_path / "01_RES"), "mask", "res_track.txt")
    assert len(images) == 10
    assert lines["E"].max() == 9
    assert not images[BAD].any()


def test_ctc_as_another_program_reads_it(run, tmp_path):
    loaders = pytest.importorskip("traccuracy.loaders")
    read = loaders.load_ctc_data(str(export(run, "ctc", tmp_path / "01_RES")), run_checks=True)
    assert read.graph.number_of_nodes() == len(run.particles)
    # One parent of each merger is all that the format holds.
    assert read.graph.number_of_edges() == len(links()) - 2


def test_ctc_replaces_only_what_it_wrote(run, tmp_path):
    out = export(run, "ctc", tmp_path / "TRA")
    (out / "man_track099.tif").write_bytes(b"old")
    with pytest.raises(CommandError, match="exists"):
        export(run, "ctc", out)
    export(run, "ctc", out, ExportOptions(overwrite=True))
    assert len(list(out.iterdir())) == 11
    (out / "thesis.tex").write_text("words", encoding="utf-8")
    with pytest.raises(CommandError, match=r"holds 'thesis\.tex'"):
        export(run, "ctc", out, ExportOptions(overwrite=True))
    assert len(list(out.iterdir())) == 12
    assert [p.name for p in tmp_path.iterdir()] == ["TRA"]


def test_more_tracks_than_labels_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(ctc, "MOST_TRACKS", 6)
    with pytest.raises(CommandError, match="more than 6 tracks by image 5"):
        export(run, "ctc", tmp_path / "TRA")
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_label_images_has_no_ctc(tmp_path):
    bare = make_run(tmp_path / "bare", labels=False)
    with pytest.raises(InputError, match="no label images"):
        export(bare, "ctc", tmp_path / "TRA")
    assert export(bare, "trackmate", tmp_path / "t.xml").is_file()


def test_geff_holds_the_same_graph(run, tmp_path):
    geff = pytest.importorskip("geff")
    path = export(run, "geff", tmp_path / "film.geff")
    geff.validate_structure(path)
    read, metadata = geff.read(path)
    who = {n: (int(d["track_id"]), int(d["t"])) for n, d in read.nodes(data=True)}
    assert {(who[a], who[b]) for a, b in read.edges} == links()
    assert [(a.name, a.scale, a.scaled_unit) for a in metadata.axes] == [
        ("t", 0.1, "second"),
        ("y", 0.5, "nanometer"),
        ("x", 0.5, "nanometer"),
    ]
    with pytest.raises(CommandError, match="exists"):
        export(run, "geff", path)
    assert export(run, "geff", path, ExportOptions(overwrite=True)) == path


def test_geff_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setattr("insitu.export.find_spec", lambda _name: None)
    with pytest.raises(CommandError, match="needs the package geff") as error:
        export(run, "geff", tmp_path / "film.geff")
    assert error.value.hint == "install it: pip install 'insitu[geff]'"
