"""A disk or share that fails while a movie is read: said in words, the frames around it still count."""

from __future__ import annotations

import errno
import os

import fixtures_ser as ser
import h5py
import numpy as np
import pytest
from PIL import Image

from insitu.errors import BadFrame, InputError
from insitu.read import emd, folder, k2is, open_source
from insitu.read.dm import DmReader
from insitu.read.files import OpenFile
from insitu.read.npy import NpyReader
from insitu.read.picture import PictureReader
from insitu.read.sensors import SensorLog
from insitu.read.ser import SerReader
from insitu.read.untrusted import exactly

FRAMES = np.random.default_rng(0).integers(1, 60000, (3, 6, 7), dtype=np.uint16)


def fails(*_, **__):
    raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def npy(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES)
    return tmp_path / "m.npy"


def test_a_frame_that_cannot_be_read_is_a_bad_frame(npy, monkeypatch):
    reader, out = NpyReader(npy), np.empty((6, 7), np.uint16)
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", fails)
        with pytest.raises(BadFrame, match="Input/output error at byte") as caught:
            reader.read_into(1, out)
    assert caught.value.reason == "unreadable"
    reader.read_into(2, out)
    assert (out == FRAMES[2]).all()


def test_a_header_that_cannot_be_read(npy, monkeypatch):
    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(InputError, match="cannot be read: Input/output error") as caught:
        OpenFile(npy).read(0, 10)
    assert "check the disk or share" in caught.value.hint


def test_a_file_that_becomes_shorter_while_its_header_is_read(npy):
    file = OpenFile(npy)
    npy.write_bytes(npy.read_bytes()[:50])
    with pytest.raises(InputError, match="became shorter while it was read"):
        exactly(file, 40, 20)


def test_a_picture_that_cannot_be_read_any_more(tmp_path, monkeypatch):
    Image.fromarray(np.arange(42, dtype=np.uint8).reshape(6, 7)).save(tmp_path / "a.png")
    reader = PictureReader(tmp_path / "a.png")
    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(BadFrame, match="cannot be read") as caught:
        reader.read_into(0, np.empty((6, 7), np.uint8))
    assert caught.value.reason == "unreadable"


def test_a_picture_that_was_replaced_by_another_one(tmp_path):
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(tmp_path / "a.bmp")
    reader = PictureReader(tmp_path / "a.bmp")
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "b.bmp")
    (tmp_path / "a.bmp").write_bytes((tmp_path / "b.bmp").read_bytes())  # the same file, with another picture in it
    with pytest.raises(BadFrame, match=r"decodes to \(5, 7"):
        reader.read_into(0, np.empty((6, 7), np.uint8))


@pytest.mark.parametrize("damage", ["a folder", "empty"])
def test_an_emi_that_cannot_be_read_leaves_the_series_as_it_is(tmp_path, damage):
    ser.write(tmp_path / "a_1.ser", FRAMES)
    emi = tmp_path / "a.emi"
    emi.mkdir() if damage == "a folder" else emi.write_bytes(b"")
    assert SerReader(tmp_path / "a_1.ser").info.n_frames == 3


def test_an_emi_that_describes_fewer_series(tmp_path):
    ser.write(tmp_path / "a_3.ser", FRAMES)
    ser.write_emi(tmp_path / "a.emi", FrameTime="2.5")
    reader = SerReader(tmp_path / "a_3.ser")
    assert reader.info.n_frames == 3
    assert reader.info.calibration.exposure_s is None


def test_an_emi_with_a_time_that_is_none(tmp_path):
    ser.write(tmp_path / "a_1.ser", FRAMES)
    ser.write_emi(tmp_path / "a.emi", FrameTime="1e5e5", DwellTimePath="0.5")
    assert SerReader(tmp_path / "a_1.ser").info.calibration.exposure_s == 0.5


def test_an_emi_with_several_series_says_which_one_is_read(tmp_path):
    for k in (1, 2):
        ser.write(tmp_path / f"a_{k}.ser", FRAMES)
    ser.write_emi(tmp_path / "a.emi")
    assert any("2 series belong to this .emi; this is a_1.ser" in n for n in open_source(tmp_path / "a.emi").info.notes)


def test_hdf5_on_a_share_without_locks_is_opened_without_one(tmp_path):
    asked = []

    def opener(path, mode, **how):
        asked.append(how)
        if not how:
            raise BlockingIOError(errno.EAGAIN, "unable to lock file")
        return h5py.File(path, mode, **how)

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = FRAMES
    with emd._open_hdf5(opener, tmp_path / "a.h5") as file:
        assert (file["data"][:] == FRAMES).all()
    assert asked == [{}, {"locking": False}]


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    monkeypatch.setattr(folder.os, "scandir", fails)
    with pytest.raises(InputError, match="cannot be read: Input/output error"):
        folder.FolderReader(tmp_path / "m")


def test_sectors_that_cannot_be_listed_are_no_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(k2is, "_sector_files", fails)
    assert k2is.K2ISReader.claims(tmp_path / "m_.gtg") == "not readable (Input/output error)"


def test_a_dm_file_that_is_gone_when_it_is_opened(tmp_path):
    with pytest.raises(InputError, match="there is no") as caught:
        DmReader(tmp_path / "nowhere" / "a.dm4")
    assert "there is no folder" in caught.value.hint


@pytest.mark.parametrize("call", ["open", "pread"])
def test_a_sensor_log_that_cannot_be_read(tmp_path, monkeypatch, call):
    path = tmp_path / "log.csv"
    path.write_text("time_s,temperature_C\n0,20\n1,21\n2,22\n")
    log = SensorLog(path)
    log.look()
    assert len(log) >= 2
    path.write_text(path.read_text() + "3,23\n")
    inner = os.open
    where = {"open": lambda p, *a, **k: fails() if str(p) == str(path) else inner(p, *a, **k), "pread": fails}[call]
    monkeypatch.setattr(os, call, where)
    with pytest.raises(InputError, match=r"log\.csv' cannot be read"):
        log.look()
