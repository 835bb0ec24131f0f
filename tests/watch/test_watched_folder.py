"""A file is used once it is complete and never before; what goes wrong is told and stops nothing."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time

import numpy as np
import pytest
import tifffile
from cases_movies import discs
from watch_cases import QUICK, camera, watched, write

from insitu.errors import BadFrame, EndOfSource, InputError, SourceStopped
from insitu.read import open_source
from insitu.read.watch import Until, WatchedFolder
from insitu.read.watch.complete import released
from insitu.read.watch.live import Live


def tiff_bytes(k, **how):
    file = io.BytesIO()
    tifffile.imwrite(file, discs()[k], **how)
    return file.getvalue()


def outcomes(reader):
    """Read to the end: which frame of the discs movie each frame is, or why it is none."""
    got, out = [], np.empty(reader.info.shape, reader.info.dtype)
    for k in range(10_000):
        try:
            status = reader.header(k).status
            reader.read_into(k, out)
        except EndOfSource:
            return got
        except BadFrame as bad:
            got.append(bad.reason if status == "ok" else status)
        else:
            got.append(next((n for n, image in enumerate(discs()) if (image == out).all()), "other pixels"))
    raise AssertionError("no end")


def told(reader):
    return {where: what for _, where, what in reader.remarks()}


def slow(path, data):
    with path.open("wb") as file:
        for part in (data[: len(data) // 3], data[len(data) // 3 : -200], data[-200:]):
            file.write(part)
            file.flush()
            time.sleep(0.1)


def in_chunks(path, data):
    """Opened and closed for each chunk: nobody has it open in between."""
    for k in range(0, len(data), 3000):
        with path.open("ab") as file:
            file.write(data[k : k + 3000])
        time.sleep(0.02)


def allocated_first(path, data):
    with path.open("wb") as file:
        file.truncate(len(data))
        file.flush()
        for k in range(0, len(data), 3000):
            file.write(data[k : k + 3000])
            file.flush()
            time.sleep(0.02)


def allocated_and_closed(path, data):
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.truncate(len(data))
    time.sleep(0.1)
    with path.open("r+b") as file:
        file.write(data)


def renamed(path, data):
    part = path.with_suffix(".part")
    slow(part, data)
    part.rename(path)


@pytest.mark.parametrize("how", [slow, in_chunks, allocated_first, allocated_and_closed, renamed])
@pytest.mark.parametrize("form", [{}, {"compression": "zlib"}])
def test_no_file_is_read_before_it_is_whole(how, form, tmp_path):
    def work():
        for k in range(5):
            how(tmp_path / f"frame_{k}.tif", tiff_bytes(k, **form))

    with camera(work):
        reader = watched(tmp_path, idle=0.8)
        assert isinstance(reader, Live)
        assert outcomes(reader) == [0, 1, 2, 3, 4]
    assert not told(reader)


def test_two_writers_side_by_side(tmp_path):
    """The next file exists long before this one is whole."""

    def work():
        threads = [threading.Thread(target=slow, args=(tmp_path / f"frame_{k}.tif", tiff_bytes(k))) for k in range(6)]
        for thread in threads:
            thread.start()
            time.sleep(0.03)
        for thread in threads:
            thread.join()

    with camera(work):
        assert outcomes(watched(tmp_path, idle=0.8)) == list(range(6))


def test_a_file_that_never_completes_is_a_bad_frame(tmp_path):
    write(tmp_path, [0, 1, 3])
    (tmp_path / "frame_0002.tif").write_bytes(tiff_bytes(2)[:5000])
    reader = watched(tmp_path)
    assert outcomes(reader) == [0, 1, "truncated", 3] == outcomes_of_batch(tmp_path)


def outcomes_of_batch(folder):
    reader, got = open_source(folder), []
    out = np.empty(reader.info.shape, reader.info.dtype)
    for k in range(reader.info.n_frames):
        try:
            reader.read_into(k, out)
            got.append(next(n for n, image in enumerate(discs()) if (image == out).all()))
        except BadFrame as bad:
            got.append(bad.reason)
    return got


@pytest.mark.parametrize("cut", [0, 4, 100])
def test_a_first_file_that_never_completes(cut, tmp_path):
    write(tmp_path, range(1, 4))
    (tmp_path / "frame_0000.tif").write_bytes(tiff_bytes(0)[:cut])
    assert outcomes(watched(tmp_path)) == ["unreadable", 1, 2, 3]


def test_a_blanked_beam_is_waited_for_once_and_is_a_frame(tmp_path):
    write(tmp_path, range(10))
    for k in range(10, 14):
        tifffile.imwrite(tmp_path / f"frame_{k:04}.tif", np.zeros_like(discs()[0]))
    write(tmp_path, range(14, 24))
    assert outcomes(watched(tmp_path)) == [*range(10), *["other pixels"] * 4, *range(14, 24)]


def test_gaps_and_vanished_files_are_missing_frames(tmp_path):
    write(tmp_path, [0, 1, 4])
    (tmp_path / "frame_0005.tif").write_bytes(tiff_bytes(5)[:5000])

    def work():
        time.sleep(0.2)
        (tmp_path / "frame_0005.tif").unlink()
        write(tmp_path, [6])

    with camera(work):
        reader = watched(tmp_path, idle=1.0)
        assert outcomes(reader) == [0, 1, "missing", "missing", 4, "missing", 6]
    assert told(reader) == {"frame_0005.tif": "vanished before it was read"}
    assert reader.account() == {"late": [], "differs_from_frame": None}


def test_a_late_file_is_listed_and_not_used(tmp_path):
    def work():
        write(tmp_path, [0, 1, 3, 4])
        time.sleep(0.8)
        write(tmp_path, [2])

    with camera(work):
        reader = watched(tmp_path, idle=1.0)
        assert outcomes(reader) == [0, 1, "missing", 3, 4]
    assert "came late" in told(reader)["frame_0002.tif"]
    assert reader.account() == {"late": ["frame_0002.tif"], "differs_from_frame": 2}


def test_a_file_changed_after_its_use_is_told(tmp_path):
    write(tmp_path, range(3))

    def work():
        time.sleep(0.5)
        write(tmp_path, [1], frames=2)

    with camera(work):
        reader = watched(tmp_path, idle=1.0)
        assert outcomes(reader) == [0, 1, 2]
    assert reader.remarks() == [(1, "frame_0001.tif", "changed after it was used")]


def test_what_is_no_image_file_is_told(tmp_path):
    folder, outside = tmp_path / "movie", tmp_path / "outside.tif"
    write(folder, range(4))
    (folder / "frame_0009.tif").mkdir()
    os.mkfifo(folder / "frame_0010.tif")
    (folder / "frame_0011.tif").symlink_to(folder / "nowhere.tif")
    outside.write_bytes(tiff_bytes(4))
    (folder / "frame_0004.tif").symlink_to(outside)
    (folder / "notes.txt").write_text("300 °C")
    reader = watched(folder)
    assert outcomes(reader) == [0, 1, 2, 3, 4]
    assert told(reader) == {
        "frame_0009.tif": "a folder that is named like an image",
        "frame_0010.tif": "no regular file",
        "frame_0011.tif": "a link to what is not there",
        "frame_0004.tif": "a link that leads out of the folder; it was followed",
    }


def test_names_of_any_bytes(tmp_path):
    write(tmp_path, range(4), name="a\nb\udcff_{:03}.tif")
    reader = watched(tmp_path)
    assert reader.header(1).source == "a\\nb\\xff_001.tif"
    assert outcomes(reader) == [0, 1, 2, 3]


def test_a_folder_that_does_not_exist_yet(tmp_path):
    def work():
        time.sleep(0.3)
        write(tmp_path / "later" / "movie", range(4))

    with camera(work):
        assert outcomes(watched(tmp_path / "later" / "movie")) == [0, 1, 2, 3]


def test_a_folder_that_is_removed_and_comes_back(tmp_path):
    def work():
        write(tmp_path / "movie", range(4))
        time.sleep(1.5)
        shutil.rmtree(tmp_path / "movie")
        time.sleep(0.2)
        write(tmp_path / "movie", range(4, 8))

    with camera(work):
        assert outcomes(watched(tmp_path / "movie", idle=2.0)) == list(range(8))


@pytest.mark.parametrize(
    "name", ["Hour_00/Minute_00/Second_{:02}/X_Hour_00_Minute_00_Second_{:02}_Frame_{:04}.tif",
             "hour00/minute 00/SECOND-{:02}/x_{:02}_{:04}.tif"]
)  # fmt: skip
def test_folders_by_the_second(name, tmp_path):
    def work():
        for k in range(24):
            path = tmp_path / "movie" / name.format(k // 6, k // 6, k % 6)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tiff_bytes(k))
            time.sleep(0.02)

    with camera(work):
        reader = watched(tmp_path / "movie", idle=1.0)
        assert outcomes(reader) == list(range(24))
    assert reader.header(7).source_number == 1
    assert not told(reader)
    assert reader.account()["differs_from_frame"] is None
    assert outcomes_of_batch(tmp_path / "movie") == list(range(24))


def test_an_empty_folder_ends_with_an_error_when_the_user_says_so(tmp_path):
    until = Until()
    until.finish.set()
    with pytest.raises(InputError, match="no image"):
        WatchedFolder(tmp_path, until, patience=QUICK)


def test_waiting_can_be_stopped(tmp_path):
    write(tmp_path, range(2))
    until = Until()
    reader = WatchedFolder(tmp_path, until, patience=QUICK)
    assert reader.ready(1, 1.0)
    assert not reader.ready(2, 0.05)
    until.stop.set()
    with pytest.raises(SourceStopped):
        reader.header(2)


def test_movies_in_the_folder_are_no_frames(tmp_path):
    tifffile.imwrite(tmp_path / "movie_1.tif", np.stack(discs()))
    with pytest.raises(InputError, match="holds 24 frames"):
        watched(tmp_path)


def test_other_shapes_are_bad_frames_at_once(tmp_path):
    write(tmp_path, range(4))
    tifffile.imwrite(tmp_path / "frame_0002.tif", np.ones((5, 5), np.uint8))
    began = time.monotonic()
    assert outcomes(watched(tmp_path, idle=0.2)) == [0, 1, "shape changed", 3]
    assert time.monotonic() - began < 5


def test_the_system_tells_whether_a_file_is_being_written(tmp_path):
    path = tmp_path / "f"
    with path.open("wb"):
        assert not released(path)
    assert released(path)
    assert not released(tmp_path / "absent")


def test_only_frames_that_are_asked_for_are_read(tmp_path, monkeypatch):
    write(tmp_path, range(20))
    reader = watched(tmp_path)
    read = []
    own = WatchedFolder._try
    monkeypatch.setattr(WatchedFolder, "_try", lambda self, name, slot: read.append(name) or own(self, name, slot))
    for k in (5, 10, 15):
        reader.header(k)
    assert len(read) == 3


def test_a_clock_that_jumps_makes_no_half_file_complete(tmp_path):
    """After a jump back all files that follow are an hour older than the newest one."""

    def work():
        write(tmp_path, range(2))
        ahead = tmp_path / "frame_0002.part"
        ahead.write_bytes(tiff_bytes(2))
        os.utime(ahead, (time.time() + 3600,) * 2)
        ahead.rename(tmp_path / "frame_0002.tif")
        time.sleep(0.2)
        for k in range(3, 8):
            in_chunks(tmp_path / f"frame_{k:04}.tif", tiff_bytes(k))

    with camera(work):
        reader = watched(tmp_path, idle=1.0)
        assert outcomes(reader) == list(range(8))
    assert any("jumped back by 36" in what for what in told(reader).values())


def test_a_folder_that_is_removed_is_told(tmp_path):
    def work():
        write(tmp_path / "movie", range(4))
        time.sleep(1.5)
        shutil.rmtree(tmp_path / "movie")

    with camera(work):
        reader = watched(tmp_path / "movie", idle=2.0)
        assert outcomes(reader) == [0, 1, 2, 3]
    assert told(reader)[str(tmp_path / "movie")] == "the folder is gone: waited for it to come back"
