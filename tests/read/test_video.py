from __future__ import annotations

import builtins
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest

from insitu.errors import BadFrame, InputError
from insitu.read.video import LOSSY_NOTE, VideoReader
from insitu.types import Reader

av = pytest.importorskip("av", reason="PYAV ABSENT: pip install 'insitu[video]' to test the video reader")
from fixtures_video import numbers, scene, write  # noqa: E402 - needs PyAV
from mutations import frames, mutations, outcome  # noqa: E402 - kept beside it


def decoded(path):
    """Every frame in order of display, straight through PyAV."""
    with av.open(str(path)) as container:
        return np.array([f.to_ndarray(format="gray") for f in container.decode(video=0)])


def test_real_movie_agrees_with_the_ffmpeg_program(samples):
    import imageio_ffmpeg

    path = samples / "movies" / "bulk_water_optical.mov"
    assert VideoReader.claims(path) is True
    reader = VideoReader(path)
    assert isinstance(reader, Reader)
    assert (reader.info.n_frames, *reader.info.shape) == (480, 424, 640)
    source = imageio_ffmpeg.read_frames(str(path), pix_fmt="gray", bits_per_pixel=8)
    told = next(source)
    out = np.empty(reader.info.shape, np.uint8)
    later = {}
    for index, raw in enumerate(source):
        reader.read_into(index, out)
        assert out.tobytes() == raw, f"frame {index}"
        if index % 100 == 10:
            later[index] = raw
    assert index == 479
    assert reader.info.calibration.s_per_frame == pytest.approx(1 / told["fps"], rel=1e-3)
    assert reader.info.lossy
    assert LOSSY_NOTE in reader.info.notes
    assert any("playback rate" in note for note in reader.info.notes)
    for index in (310, 10, 410, 110, 210):
        reader.read_into(index, out)
        assert out.tobytes() == later[index], f"frame {index}"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b.mp4", "libx264", {"bf": 3}),
        ("open.mp4", "libx264", {"bf": 2, "x264-params": "open-gop=1:keyint=8"}),
        ("one.mp4", "libx264", {"gop": 1000, "bf": 2}),
        ("a.mov", "mpeg4", {"bf": 2}),
        ("x264.avi", "libx264", {"bf": 2}),
        ("m.avi", "mpeg4", {}),
        ("j.avi", "mjpeg", {"pixels": "yuvj420p"}),
        ("l.mkv", "ffv1", {}),
    ],
)
def test_any_order_gives_what_sequential_decoding_gives(tmp_path, name, codec, options):
    path = write(tmp_path / name, scene(), codec, **options)
    expected = decoded(path)
    assert len(expected) == 40
    reader = VideoReader(path)
    assert reader.info.n_frames == 40
    ours = frames(reader)
    if codec == "mjpeg":
        np.testing.assert_array_equal(ours, expected)
    order = np.random.default_rng(1).permutation(40)
    out = np.empty(reader.info.shape, np.uint8)
    for index in [*order, 39, 0, 38, 1]:
        reader.read_into(int(index), out)
        np.testing.assert_array_equal(out, ours[index])
    # what the frames themselves say: none is missing, doubled or out of order
    assert numbers(ours) == list(range(40))


def test_lossless_grey_is_exact_and_not_called_lossy(tmp_path):
    movie = scene()
    reader = VideoReader(write(tmp_path / "a.mkv", movie, "ffv1", "gray"))
    np.testing.assert_array_equal(frames(reader), movie)
    assert not reader.info.lossy
    assert LOSSY_NOTE not in reader.info.notes
    assert not any("colour" in note for note in reader.info.notes)


def test_sixteen_bit_grey_is_kept(tmp_path):
    movie = scene().astype(np.uint16) * 257
    reader = VideoReader(write(tmp_path / "a.mkv", movie, "ffv1", "gray16le"))
    assert reader.info.dtype == np.uint16
    np.testing.assert_array_equal(frames(reader), movie)


def test_colour_becomes_grey_and_says_so(tmp_path):
    colour = np.stack([scene()] * 3, axis=-1)
    reader = VideoReader(write(tmp_path / "a.mov", colour, "png", "rgb24"))
    assert any("colour" in note for note in reader.info.notes)
    np.testing.assert_allclose(frames(reader).astype(int), scene().astype(int), atol=1)


def test_stamps(tmp_path):
    reader = VideoReader(write(tmp_path / "a.mp4", scene(), rate=50))
    assert reader.info.calibration.s_per_frame == pytest.approx(0.02)
    assert reader.header(10).time_s == pytest.approx(0.2)
    with pytest.raises(IndexError):
        reader.header(40)


def test_threads_a_little_out_of_order(tmp_path):
    path = write(tmp_path / "a.mp4", scene(), bf=2)
    expected = frames(VideoReader(path))
    reader = VideoReader(path)
    out = np.empty_like(expected)
    order = [k ^ 1 for k in range(40)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda k: reader.read_into(k, out[k]), order))
    np.testing.assert_array_equal(out, expected)


def test_damaged_packets_spoil_their_frames_only(tmp_path):
    path = write(tmp_path / "a.mov", scene(), "png", "gray", gop=1)
    expected = frames(VideoReader(path))
    with av.open(str(path)) as container:
        place = [(p.pos, p.size) for p in container.demux(video=0) if p.size][20]
    with path.open("r+b") as file:
        file.seek(place[0] + 12)
        file.write(b"\xff" * (place[1] - 16))
    reader = VideoReader(path)
    assert reader.info.n_frames == 40
    out = np.empty(reader.info.shape, np.uint8)
    with pytest.raises(BadFrame, match="unreadable"):
        reader.read_into(20, out)
    for index in (19, 21, 39):
        reader.read_into(index, out)
        np.testing.assert_array_equal(out, expected[index])


def test_a_video_that_changes_its_size_has_bad_frames(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        other = av.CodecContext.create("mjpeg", "w")
        other.width, other.height, other.pix_fmt, other.time_base = 32, 32, "yuvj420p", Fraction(1, 25)
        for index, image in enumerate(scene(6)):
            cut = image[:32, :32].copy() if index == 3 else image
            frame = av.VideoFrame.from_ndarray(cut, format="gray").reformat(format="yuvj420p")
            frame.pts = index
            for packet in (other if index == 3 else stream).encode(frame):
                packet.stream = stream
                packet.pts = packet.dts = index
                container.mux(packet)
        container.mux(stream.encode())
    reader = VideoReader(path)
    out = np.empty(reader.info.shape, np.uint8)
    with pytest.raises(BadFrame, match="shape changed"):
        reader.read_into(3, out)
    for index in (2, 4, 5):
        assert reader.read_into(index, out) == ()


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", scene(3))
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "av")
    monkeypatch.setattr(builtins, "__import__", without)
    assert VideoReader.claims(path) is True
    with pytest.raises(InputError) as caught:
        VideoReader(path)
    assert caught.value.hint == 'pip install "insitu[video]"'


def test_refusals(tmp_path):
    fake = tmp_path / "a.mp4"
    fake.write_bytes(bytes(5000))
    assert isinstance(VideoReader.claims(fake), str)
    with pytest.raises(InputError):
        VideoReader(fake)
    whole = write(tmp_path / "b.mp4", scene()).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        VideoReader(tmp_path / "cut.mp4")
    assert VideoReader.claims(tmp_path / "a.tif") is False


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_damaged_files_raise_only_the_errors_of_the_house(tmp_path, name, codec):
    path = write(tmp_path / name, scene(6, 32, 32), codec)
    seen = Counter()
    for copy in mutations(path.read_bytes(), 200):
        path.write_bytes(copy)
        seen[outcome(VideoReader, path)] += 1
    assert min(seen["refused"], seen["frames"]) > 5
