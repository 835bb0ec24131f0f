from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from insitu import figures
from insitu.errors import CommandError, ResourceError
from insitu.report import encoding


def pictures(n=6, height=80, width=120):
    """A bar of the first track's colour that wanders to the right over noise."""
    rng = np.random.default_rng(0)
    for k in range(n):
        picture = np.repeat(rng.integers(90, 160, (height, width, 1), np.uint8), 3, axis=2)
        picture[:, 10 * k : 10 * k + 10] = figures.PALETTE[0]
        yield picture


@pytest.mark.parametrize("how", ["ffmpeg", "av"])
def test_both_encoders_write_h264_that_shows_the_pictures(how, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "encoder", lambda: how)
    path = tmp_path / "m.mp4"
    encoding.write_mp4(path, (80, 120), 5, pictures())
    with av.open(str(path)) as movie:
        stream = movie.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == 5
        frames = [f.to_ndarray(format="rgb24").astype(int) for f in movie.decode(stream)]
    assert len(frames) == 6
    for k, frame in enumerate(frames):
        inside = frame[20:60, 10 * k + 3 : 10 * k + 7].reshape(-1, 3).mean(axis=0)
        assert np.abs(inside - figures.PALETTE[0]).max() < 40
    assert [p.name for p in tmp_path.iterdir()] == ["m.mp4"]


def test_the_encoder_is_the_one_that_is_there(monkeypatch):
    assert encoding.encoder() == "ffmpeg"
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: (_ for _ in ()).throw(RuntimeError("none")))
    assert encoding.encoder() == "av"
    monkeypatch.setattr("av.Codec", lambda *a: (_ for _ in ()).throw(ValueError("no such codec")))
    assert encoding.encoder() is None


def test_without_an_encoder_a_gif_is_offered(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "encoder", lambda: None)
    with pytest.raises(CommandError, match="no ffmpeg") as refused:
        encoding.write_mp4(tmp_path / "m.mp4", (80, 120), 5, pictures())
    assert "--gif" in refused.value.hint


def test_a_gif_repeats_keeps_the_colours_of_tracks_and_is_no_larger_than_asked(tmp_path):
    encoding.write_gif(tmp_path / "m.gif", 10, pictures(), 60)
    with Image.open(tmp_path / "m.gif") as movie:
        assert movie.n_frames == 6
        assert movie.size == (60, 40)
        assert movie.info["duration"] == 100
        assert movie.info["loop"] == 0
        movie.seek(2)
        middle = np.asarray(movie.convert("RGB"))[10:30, 12:13]
        assert np.abs(middle.astype(int) - figures.PALETTE[0]).max() <= 20


def test_no_room_leaves_no_rest(tmp_path, monkeypatch):
    def full(*args, **how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ResourceError, match="cannot write"):
        encoding.write_gif(tmp_path / "m.gif", 10, pictures(), 60)
    assert list(tmp_path.iterdir()) == []


def test_the_palette_has_every_colour_that_is_drawn():
    held = io.BytesIO(encoding.gif(5, pictures(1), 200))
    with Image.open(held) as picture:
        flat = np.array(picture.getpalette()).reshape(-1, 3).tolist()
    assert [list(figures.PALETTE[0])] == [c for c in flat if c == list(figures.PALETTE[0])][:1]
