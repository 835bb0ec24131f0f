"""`insitu doctor --selftest` on this machine, and on machines that do not keep what they promise."""

from __future__ import annotations

import json
import os

import pytest

from insitu import selftest
from insitu.cli import main
from insitu.selftest import Check


def test_the_command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--selftest", "--json"]) == 0
    checks = json.loads(capfd.readouterr().out)["selftest"]
    assert [c["name"] for c in checks] == ["room", "rename", "lock", "fsync", "kill and resume", "GPU like CPU"]
    assert {c["verdict"] for c in checks} <= {"ok", "note"}
    assert "2 kills" in checks[4]["text"]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_does_not_keep_its_word(tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "file_system", lambda _: "ext4")
    monkeypatch.setattr(os, "fsync", lambda _: None)
    assert selftest.waiting(tmp_path).verdict == "note"
    assert "too fast to be true" in selftest.waiting(tmp_path).text
    monkeypatch.setattr(selftest, "file_system", lambda _: "tmpfs")
    assert "in memory" in selftest.waiting(tmp_path).text


def test_a_share(tmp_path, monkeypatch):
    monkeypatch.setattr(selftest, "file_system", lambda _: "cifs")
    monkeypatch.setattr(selftest, "_NO_WAIT_MS", 0.0)
    assert "serves it" in selftest.waiting(tmp_path).text


def test_a_lock_that_does_not_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(selftest.fcntl, "flock", lambda *_: None)
    assert selftest.lock(tmp_path).verdict == "failed"


@pytest.mark.parametrize(("free", "verdict"), [(50 << 20, "failed"), (1 << 30, "note"), (1 << 40, "ok")])
def test_room(tmp_path, monkeypatch, free, verdict):
    monkeypatch.setattr(selftest.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    assert selftest.room(tmp_path).verdict == verdict


def test_a_failed_check_ends_with_6_and_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(selftest, "selftest", lambda _: iter([Check("lock", "failed", "does not hold")]))
    assert main(["doctor", "--selftest"]) == 6
    assert "failed     lock: does not hold" in capfd.readouterr().out


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch, capfd):
    def fails(_):
        raise PermissionError(13, "Permission denied")
        yield

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(selftest, "selftest", fails)
    assert main(["doctor", "--selftest"]) == 6
    assert "error: the self-test cannot write" in capfd.readouterr().err


@pytest.mark.parametrize(("codes", "says"), [([3], "exit 3"), ([0, 137, -9, 0], "differs")])
def test_a_run_that_fails_or_differs(tmp_path, monkeypatch, codes, says):
    class Engine:
        def wait(self):
            return codes.pop(0)

        def poll(self):
            return 0

        def send_signal(self, _):
            pass

    monkeypatch.setattr(selftest, "_engine", lambda *_, **__: Engine())
    monkeypatch.setattr(selftest, "hashes", lambda out: {out.name: ""})
    check = selftest.kill_and_resume(tmp_path)
    assert check.verdict == "failed"
    assert says in check.text
