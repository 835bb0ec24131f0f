from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import tifffile

from insitu.errors import InputError
from insitu.read import describe, open_source
from insitu.read.files import OpenFile, shown
from insitu.registry import Entry, entries

FRAMES = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, FRAMES)
    return path


def refused(source, **kw) -> InputError:
    with pytest.raises(InputError) as caught:
        open_source(source, **kw)
    assert len(str(caught.value).splitlines()) == 2
    assert caught.value.exit_code == 3
    return caught.value


def pixels(reader) -> np.ndarray:
    out = np.empty((reader.info.n_frames, *reader.info.shape), reader.info.dtype)
    for k in range(len(out)):
        reader.read_into(k, out[k])
    return out


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_path_is_opened_whatever_its_type(movie, as_type):
    assert (pixels(open_source(as_type(movie))) == FRAMES).all()


def test_content_decides_where_the_suffix_says_nothing(movie):
    nameless = movie.rename(movie.with_name("acquisition"))
    assert open_source(nameless).info.format == "TIFF"
    wrong = nameless.rename(nameless.with_name("movie.mrc"))
    assert open_source(wrong).info.format == "TIFF"


def test_a_missing_file_names_the_one_that_was_meant(movie):
    error = refused(movie.with_name("mvoie.tif"))
    assert "mvoie.tif" in error.message
    assert str(movie) in error.hint


def test_a_missing_folder_does_not_crash(tmp_path):
    assert "there is no" in refused(tmp_path / "a" / "b" / "c.tif").message


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "empty.tif").touch()
    assert "empty (0 bytes)" in refused(tmp_path / "empty.tif").message


def test_an_empty_folder_and_a_folder_without_images(tmp_path):
    assert "no images" in refused(tmp_path).message
    (tmp_path / "notes.txt").write_text("x")
    assert "notes.txt" in refused(tmp_path).hint


def test_an_unknown_format_names_the_reason_of_each_reader(tmp_path):
    (tmp_path / "notes.xyz").write_text("this is no movie")
    message = refused(tmp_path / "notes.xyz").message
    for entry in entries("readers"):
        assert entry.name in message
    assert "tiff: no TIFF signature" in message


def test_a_file_that_claims_to_be_tiff_gets_the_tiff_readers_reason_first(tmp_path):
    path = tmp_path / "movie.tif"
    path.write_bytes(b"not a tiff at all")
    assert refused(path).message.startswith(f"'{path}' has no TIFF signature")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_says_how_to_allow_it(movie):
    movie.chmod(0)
    try:
        assert "chmod u+r" in refused(movie).hint
    finally:
        movie.chmod(stat.S_IRUSR | stat.S_IWUSR)


def test_permission_denied_is_explained_even_where_root_runs_the_tests(movie, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("insitu.read.files.os.open", denied)
    error = refused(movie)
    assert "Permission denied" in error.message
    assert "chmod u+r" in error.hint


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    assert "not a regular file" in refused(tmp_path / "pipe.tif").message


@pytest.mark.parametrize(
    "name", [b"bad\xff\xfe.tif", b"two\nlines.tif", "größe µ Å.tif".encode(), b"tab\t\x1b[31m.tif"]
)
def test_names_that_are_no_utf8_or_hold_line_breaks(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    tifffile.imwrite(path, FRAMES)
    reader = open_source(path)
    assert (pixels(reader) == FRAMES).all()
    for text in (reader.info.path, reader.header(0).source):
        text.encode("utf-8")
        assert text.isprintable()
    path.write_bytes(b"damaged")
    refused(path)
    path.unlink()
    refused(path)
    refused(str(path))


def test_a_zero_byte_in_a_name_is_an_input_error():
    refused("movie\0.tif")


def test_shown_keeps_ordinary_names_as_they_are():
    assert shown("/data/größe µ.tif") == "/data/größe µ.tif"
    assert shown("a\nb") == "a\\nb"
    assert shown(os.fsdecode(b"\xff")) == "\\xff"


def test_a_glob_and_a_list_give_the_same_movie(tmp_path):
    for k in (10, 2, 1):
        tifffile.imwrite(tmp_path / f"f_{k}.tif", np.full((4, 4), k, np.uint8))
    listed = [tmp_path / f"f_{k}.tif" for k in (2, 10, 1)]
    for source in (tmp_path / "f_*.tif", str(tmp_path / "f_*.tif"), listed, [str(p) for p in listed], tmp_path):
        reader = open_source(source)
        assert reader.info.n_frames == 10
        assert [reader.header(k).status for k in range(10)].count("missing") == 7
    assert "no image" in refused(tmp_path, pattern="*.dm4").message
    assert open_source(tmp_path, pattern="f_1*.tif").info.n_frames == 2
    assert "there is no" in refused(tmp_path / "g_*.tif").message


def test_a_list_of_one_movie_is_that_movie(movie):
    assert open_source([movie]).info.n_frames == 5


def test_a_failing_plug_in_is_a_reason_not_a_crash(movie, monkeypatch):
    broken = Entry("broken", "insitu.read.does_not_exist:Reader", "raises on import")
    monkeypatch.setattr("insitu.read.entries", lambda group: (broken, *entries(group)))
    assert open_source(movie).info.format == "TIFF"
    movie.write_text("no movie")
    movie = movie.rename(movie.with_suffix(".xyz"))
    assert "broken: not available" in refused(movie).message


def test_a_reader_whose_library_is_absent_says_how_to_install_it(tmp_path, monkeypatch):
    class Video:
        @classmethod
        def claims(cls, path):
            return True

    video = Entry("video", "somewhere:Video", "video", ("surely_not_installed",), "video")
    monkeypatch.setattr(Entry, "load", lambda self: Video)
    monkeypatch.setattr("insitu.read.entries", lambda group: (video,))
    (tmp_path / "movie.mp4").write_bytes(b"x")
    error = refused(tmp_path / "movie.mp4")
    assert "surely_not_installed" in error.message
    assert error.hint == 'pip install "insitu[video]"'


def test_describe_counts_gaps_and_names_sources(tmp_path):
    for k in (1, 2, 4):
        tifffile.imwrite(tmp_path / f"f_{k}.tif", np.full((4, 4), k, np.uint8))
    told = describe(open_source(tmp_path))
    assert told["n_frames"] == 4
    assert told["n_missing"] == 1
    assert told["nm_per_px"] is None
    assert told["nm_source"] == "unknown"
    assert told["problem"] is None


def test_describe_warns_and_names_the_problem(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, resolution=(1 / 20, 1 / 20), metadata={"unit": "nm", "axes": "TYX"})
    told = describe(open_source(path))
    assert told["problem"] is None
    assert any("20 nm/px is unusual" in note for note in told["notes"])
    tifffile.imwrite(path, FRAMES, imagej=True, resolution=(1, 2), metadata={"unit": "nm", "axes": "TYX"})
    assert "along y" in describe(open_source(path))["problem"]


def test_a_closed_file_cannot_be_read_by_accident(movie):
    file = OpenFile(movie)
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.fill(np.empty(4, np.uint8), 0)


def test_no_descriptor_leaks_when_readers_are_forgotten(movie):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        open_source(movie)
    for _ in range(20):
        refused(movie.with_suffix(".nothing"))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_opening_a_tiff_imports_nothing_heavy(movie):
    import subprocess
    import sys

    code = (
        "import sys; from insitu.read import open_source, describe; describe(open_source(sys.argv[1]));"
        "heavy = ('torch', 'pandas', 'zarr', 'h5py', 'matplotlib', 'tifffile', 'av', 'rsciio');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(movie)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
