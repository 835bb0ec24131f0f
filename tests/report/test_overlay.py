from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import tifffile

from insitu import figures
from insitu.errors import CommandError, InputError, ResourceError
from insitu.figures import Mark, Scene
from insitu.intake import Selection
from insitu.pipeline import process
from insitu.read import open_source
from insitu.report import encoding
from insitu.report import overlay as overlay_module
from insitu.report.overlay import Overlay, Painter, write_movie, write_still
from insitu.results import open_run
from insitu.settings import Settings


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A movie of two discs, one of which moves to the right by 2 px a frame; frame 5 is unusable."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:90, :121]
    images = []
    for k in range(12):
        dark = ((y - 30) ** 2 + (x - 30 - 2 * k) ** 2 < 100) | ((y - 65) ** 2 + (x - 80) ** 2 < 150)
        images.append(rng.poisson(np.where(dark, 80, 200)).astype(np.uint16))
    images[5][:] = 0
    tifffile.imwrite(folder / "m.tif", np.stack(images), photometric="minisblack", metadata={"axes": "TYX"})
    settings = Settings().replace({"store.fsync": False, "calibration.nm_per_px": 0.5, "calibration.fps": 10}, "test")
    process(folder / "m.tif", folder / "run", settings)
    return folder


@pytest.fixture
def run(world):
    return open_run(world / "run")


@pytest.fixture
def reader(world):
    opened = open_source(world / "m.tif")
    yield opened
    opened.close()


def decoded(path):
    """The frames of a movie as an array, by ffmpeg itself."""
    frames, size = imageio_ffmpeg.count_frames_and_secs(str(path))[0], None
    stream = imageio_ffmpeg.read_frames(str(path))
    size = next(stream)["source_size"]
    pictures = [np.frombuffer(data, np.uint8).reshape(size[1], size[0], 3) for data in stream]
    assert len(pictures) == frames
    return np.stack(pictures)


def test_the_movie_shows_every_frame_with_coloured_outlines(run, reader, tmp_path):
    made = write_movie(run, reader, tmp_path / "o.mp4")
    assert (made.frames, made.stride) == (12, 1)
    pictures = decoded(made.path).astype(int)
    assert len(pictures) == 12
    height, width = pictures.shape[1:3]
    assert height % 2 == width % 2 == 0
    coloured = (pictures.max(axis=3) - pictures.min(axis=3) > 60).sum(axis=(1, 2))
    assert (np.delete(coloured, 5) > 50).all()
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]


def test_a_long_run_is_shown_with_a_stride_that_is_said(run, reader, tmp_path):
    made = write_movie(run, reader, tmp_path / "o.mp4", max_frames=5)
    assert (made.frames, made.stride) == (4, 3)
    assert len(decoded(made.path)) == 4


def test_progress_is_told(run, reader, tmp_path):
    told = []
    write_movie(run, reader, tmp_path / "o.mp4", progress=told.append)
    assert told == list(range(1, 13))


def test_the_scene_is_that_of_the_frame(run, reader, world):
    shown = Overlay(run, reader, range(12))
    scene = shown.scene(8)
    assert np.array_equal(scene.image, tifffile.imread(world / "m.tif")[8])
    rows = run.particles.to_pandas(frames=8)
    assert scene.labels.max() == len(rows) == 2
    for row in rows.itertuples():
        assert scene.ids[row.label - 1] == row.particle
        assert scene.tails[row.particle][-1].tolist() == [row.y, row.x]
    moving = rows.loc[rows["y"] < 50, "particle"].item()
    assert np.diff(scene.tails[moving][:, 1]).min() > 1
    assert scene.caption == "frame 8 · 0.800 s"
    assert scene.nm_per_px == 0.5


def test_an_unusable_frame_is_black_and_says_so(run, reader, monkeypatch):
    scene = Overlay(run, reader, range(12)).scene(5)
    assert not scene.labels.any()
    assert len(scene.ids) == 0

    def fails(index, out):
        from insitu.errors import BadFrame

        out[:] = 7
        raise BadFrame("truncated")

    monkeypatch.setattr(reader, "read_into", fails)
    scene = Overlay(run, reader, range(12)).scene(4)
    assert not scene.image.any()
    assert scene.caption.endswith("truncated")


@pytest.mark.parametrize(("bin_px", "crop"), [(1, None), (2, None), (1, (10, 20, 80, 115)), (2, (10, 20, 80, 116))])
def test_binned_and_cropped_runs_are_drawn_where_the_particles_are(world, reader, tmp_path, bin_px, crop):
    values = {"store.fsync": False, "prepare.bin": bin_px, "prepare.crop": crop}
    process(world / "m.tif", tmp_path / "run", Settings().replace(values, "test"), selection=Selection(1, 8, 2))
    shown = Overlay(open_run(tmp_path / "run"), reader, range(1, 8, 2))
    scene = shown.scene(7)
    assert scene.image.shape == scene.labels.shape
    dark = scene.image < 140
    assert (dark & (scene.labels > 0)).sum() > 0.85 * dark.sum()
    last = [tail[-1] for tail in scene.tails.values()]
    assert all(scene.labels[round(y), round(x)] for y, x in last)


def test_where_many_events_crowd_the_telling_ones_are_shown(run, reader):
    shown = Overlay(run, reader, range(12))
    many = [(3, kind, 1.0 * k, 2.0 * k) for k in range(15) for kind in ("entering", "coalescence")]
    shown._events = sorted(many)
    scene = shown.scene(3)
    assert len(scene.marks) == len(shown.ages(3)) == 20
    assert sum(mark.kind == "coalescence" for mark in scene.marks) == 15
    assert shown.scene(2).marks == []


def test_the_still_prefers_a_coalescence_and_else_takes_the_middle(run, reader, tmp_path):
    class Told:
        """A run that tells of other events."""

        def __init__(self, *rows):
            self.events, self._rows = (
                self,
                [dict(zip(("frame", "kind", "touches_edge", "y", "x"), r, strict=True)) for r in rows],
            )

        def __getattr__(self, name):
            return getattr(run, name)

        def to_arrow(self, columns):
            return self

        def to_pylist(self):
            return self._rows

    path = tmp_path / "o.png"
    lost, at_edge, inside = (2, "lost", False, 9, 9), (3, "coalescence", True, 9, 9), (7, "coalescence", False, 9, 9)
    assert write_still(Told(lost), reader, path) == 6
    assert write_still(Told(lost, at_edge), reader, path) == 3
    assert write_still(Told(lost, at_edge, inside), reader, path) == 7
    assert write_still(run, reader, tmp_path / "o.png", 3) == 3
    assert (tmp_path / "o.png").stat().st_size > 5000


def test_another_movie_is_refused(run, tmp_path):
    tifffile.imwrite(tmp_path / "other.tif", np.zeros((12, 20, 20), np.uint16), photometric="minisblack")
    other = open_source(tmp_path / "other.tif")
    with pytest.raises(InputError, match="another size"):
        write_movie(run, other, tmp_path / "o.mp4")
    other.close()


def test_no_ffmpeg_and_no_room_are_user_errors(run, reader, tmp_path, monkeypatch):
    def full(self, scene, ages=None):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(overlay_module.Painter, "__call__", full)
        with pytest.raises(ResourceError, match="cannot write"):
            write_movie(run, reader, tmp_path / "o.mp4")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(encoding, "encoder", lambda: None)
    with pytest.raises(CommandError, match="no ffmpeg"):
        write_movie(run, reader, tmp_path / "o.mp4")


def square(side=100, **changes):
    image = np.full((side, side), 200, np.uint16)
    image[20:40, 30:60] = 100
    labels = (image == 100).astype(np.uint16)
    return Scene(**({"image": image, "labels": labels, "ids": np.array([2])} | changes))


def test_outlines_are_two_pixels_wide_astride_the_border():
    painter = Painter(square(500))
    picture = painter(square(500)).astype(int)
    coloured = np.abs(picture - figures.colour(2)).max(axis=2) == 0
    assert coloured[19:21, 30:60].all()
    assert coloured[39:41, 30:60].all()
    assert coloured[20:40, 29:31].all()
    assert not coloured[22:38, 32:58].any()
    assert not coloured[:18].any()


@pytest.mark.parametrize(("side", "zoom"), [(100, 4), (399, 2), (400, 1), (1280, 1), (1281, 0.5), (3000, 1 / 3)])
def test_pictures_are_enlarged_or_reduced_to_a_size_one_can_see(side, zoom):
    scene = square(side)
    painter = Painter(scene)
    picture = painter(scene)
    assert painter.zoom == pytest.approx(zoom)
    assert picture.shape == (*painter.size, 3)
    assert all(length % 2 == 0 for length in painter.size)
    assert picture.shape[1] == pytest.approx(side * zoom, abs=2)


def test_events_flash_where_they_happened_and_words_do_not_overlap():
    far = [Mark("lost", 300.0, 300.0)]
    near = [Mark("coalescence", 300.0, 300.0), Mark("coalescence", 302.0, 301.0)]
    painter = Painter(square(500))
    plain, one, two = (painter(square(500, marks=m)).astype(int) for m in ((), far, near))
    changed = np.argwhere((plain != one).any(axis=2))
    assert np.abs(changed.mean(axis=0) - 300).max() < 40
    words = [painter(square(500, marks=near[:1])), painter(square(500, marks=near))]
    shade = np.array(figures.event_colour("coalescence"))
    count = [(np.abs(w.astype(int) - shade).max(axis=2) == 0).sum() for w in words]
    assert count[1] < 1.9 * count[0]
    assert (two != one).any()


def test_the_strip_has_a_bar_only_when_calibrated():
    bare, barred = (Painter(square(500))(square(500, nm_per_px=nm)) for nm in (None, 0.2))
    assert bare[-34:, :100].max() == 0
    assert barred[-34:, :100].max() == 255


def test_it_plays_in_ordinary_players(run, reader, tmp_path):
    made = write_movie(run, reader, tmp_path / "o.mp4")
    told = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(made.path)],
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    assert "h264" in told
    assert "yuv420p" in told
