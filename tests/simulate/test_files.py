from __future__ import annotations

import numpy as np
import pytest
import tifffile

from insitu.errors import CommandError
from insitu.read import open_source
from insitu.simulate import (
    Manner,
    Simulation,
    SimulationSettings,
    demo_movie,
    drop_frames,
    grow_file,
    tiff,
    write_tiff,
)
from insitu.types import Reader

SMALL = SimulationSettings(shape=(48, 64), frames=6, particles=3, nm_per_px=0.25, fps=200.0)


def test_the_tiff_holds_every_frame_and_its_calibration(tmp_path):
    movie, seen = Simulation(SMALL), []
    with tifffile.TiffFile(write_tiff(movie, tmp_path / "m.tif", seen.append)) as file:
        assert file.is_imagej
        assert not file.is_bigtiff
        assert file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata["finterval"] == pytest.approx(1 / 200)
        px, um = file.pages[0].tags["XResolution"].value
        assert um / px == pytest.approx(0.25e-3)
        stack = file.asarray()
    assert seen == [1, 2, 3, 4, 5, 6]
    assert stack.dtype == np.uint16
    assert all(np.array_equal(stack[i], movie.frame(i)) for i in range(6))


def test_a_movie_beyond_four_gigabytes_becomes_ome_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "CLASSIC_LIMIT", 1)
    movie = Simulation(SMALL)
    with tifffile.TiffFile(write_tiff(movie, tmp_path / "m.tif")) as file:
        assert file.is_bigtiff
        assert 'PhysicalSizeX="0.00025"' in file.ome_metadata
        assert 'PhysicalSizeXUnit="µm"' in file.ome_metadata
        assert 'TimeIncrement="0.005"' in file.ome_metadata
        px, per = file.pages[0].tags["XResolution"].value
        assert 1e7 * per / px == pytest.approx(0.25)
        assert file.series[0].shape == (6, 48, 64)
        assert np.array_equal(file.asarray(key=5), movie.frame(5))


def test_the_camera_keeps_its_pace_and_writes_every_frame(tmp_path):
    movie, now, waits = Simulation(SMALL), [0.0], []

    def sleep(seconds):
        waits.append(seconds)
        now[0] += seconds

    late = drop_frames(movie, tmp_path / "drop", 50.0, clock=lambda: now[0], sleep=sleep)
    assert late == 0.0
    assert waits == pytest.approx([0.02] * 5)
    files = sorted((tmp_path / "drop").iterdir())
    assert [f.name for f in files] == [f"frame_{i:06d}.tif" for i in range(6)]
    assert all(np.array_equal(tifffile.imread(f), movie.frame(i)) for i, f in enumerate(files))


def test_a_camera_that_cannot_keep_up_says_how_late_it_was(tmp_path):
    ticks = iter(np.arange(0.0, 100.0, 0.5))
    late = drop_frames(Simulation(SMALL), tmp_path / "x", 50.0, clock=lambda: next(ticks), sleep=lambda _: None)
    assert late == pytest.approx(3.0 - 0.1)
    assert len(list((tmp_path / "x").iterdir())) == 6


def test_the_camera_sorts_into_seconds_and_never_mixes_two_movies(tmp_path):
    movie = Simulation(shape=(16, 16), frames=5, particles=0, fps=2.0)
    drop_frames(movie, tmp_path / "s", 1e6, "seconds")
    found = sorted(p.relative_to(tmp_path / "s").as_posix() for p in (tmp_path / "s").rglob("*.tif"))
    assert found == [
        "second_0000/frame_0000.tif",
        "second_0000/frame_0001.tif",
        "second_0001/frame_0000.tif",
        "second_0001/frame_0001.tif",
        "second_0002/frame_0000.tif",
    ]
    with pytest.raises(CommandError, match="not empty"):
        drop_frames(movie, tmp_path / "s")
    with pytest.raises(CommandError, match="pace"):
        drop_frames(movie, tmp_path / "t", 0.0)


def test_a_simulation_is_a_reader():
    movie = Simulation(SMALL)
    assert isinstance(movie, Reader)
    slot = np.zeros(movie.info.shape, movie.info.dtype)
    assert movie.read_into(4, slot) == ()
    assert np.array_equal(slot, movie.frame(4))
    assert movie.header(4).time_s == pytest.approx(0.02)


def test_the_demo_shows_what_it_promises():
    movie = demo_movie()
    inner = [e.kind for e in movie.events if not e.touches_edge]
    assert inner.count("coalescence") >= 2
    assert inner.count("dissolution") >= 2
    assert (len(movie), movie.info.shape, movie.info.dtype) == (400, (512, 512), np.dtype("uint8"))
    assert 45 <= len(movie.view(0)) <= 75
    frame = movie.frame(0)
    assert (frame == 255).mean() < 1e-3
    assert (frame == 0).mean() < 1e-3


@pytest.mark.parametrize("way", ["whole", "slow", "chunked", "rename", "allocated"])
def test_however_a_camera_writes_the_files_are_the_same(way, tmp_path):
    movie = Simulation(SMALL)
    drop_frames(movie, tmp_path / "way", 1e6, manner=Manner(way=way))
    drop_frames(movie, tmp_path / "whole", 1e6)
    for k in range(6):
        name = f"frame_{k:06d}.tif"
        assert (tmp_path / "way" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(list((tmp_path / "way").iterdir())) == 6


def test_a_gatan_camera_makes_folders_by_the_second(tmp_path):
    movie = Simulation(shape=(16, 16), frames=130, particles=0, fps=2.0)
    drop_frames(movie, tmp_path / "m", 1e6, "gatan", Manner(gaps=0.2, disorder=7, seed=3))
    found = sorted(p.relative_to(tmp_path / "m").as_posix() for p in (tmp_path / "m").rglob("*.tif"))
    assert found[0] == "Hour_00/Minute_00/Second_00/m_Hour_00_Minute_00_Second_00_Frame_0000.tif"
    assert found[-1] == "Hour_00/Minute_01/Second_04/m_Hour_00_Minute_01_Second_04_Frame_0001.tif"
    assert 80 < len(found) < 125


def test_disorder_is_bounded_and_repeatable():
    order = Manner(gaps=0.1, disorder=5, seed=1).order(200)
    assert order == Manner(gaps=0.1, disorder=5, seed=1).order(200)
    assert order != sorted(order)
    assert all(abs(k - i) < 5 for i, k in enumerate([sorted(order).index(k) for k in order]))
    assert Manner().order(7) == list(range(7))


@pytest.mark.parametrize("name", ["m.tif", "m.mrc"])
def test_a_file_that_grows_is_the_movie(name, tmp_path):
    movie, sizes = Simulation(SMALL), []
    path = tmp_path / name
    grow_file(movie, path, 10.0, clock=lambda: 0.0, sleep=lambda _: sizes.append(path.stat().st_size))
    assert sizes == sorted(set(sizes))
    reader = open_source(path)
    out = np.empty(reader.info.shape, reader.info.dtype)
    for k in range(6):
        reader.read_into(k, out)
        assert np.array_equal(out, movie.frame(k))
    assert (reader.info.n_frames, reader.info.calibration.nm_per_px) == (6, pytest.approx(0.25))
    if name == "m.tif":
        assert reader.info.calibration.s_per_frame == pytest.approx(1 / 200)
    with pytest.raises(CommandError, match="not empty"):
        grow_file(movie, path, 10.0)
