"""The lock of a run folder when another engine comes or goes at the wrong moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from store_cases import analyse, info

from insitu.errors import CommandError
from insitu.results import open_run
from insitu.store import layout, lock
from insitu.store.lock import Lock


@pytest.mark.parametrize("left", ["nothing", "a new file"])
def test_a_holder_that_ends_while_we_wait_for_its_lock(tmp_path, monkeypatch, left):
    """It removes the file that we have opened: a lock on that one would keep nobody out."""
    path, inner, asked = tmp_path / layout.LOCK, lock.fcntl.flock, []

    def flock(descriptor, how):
        inner(descriptor, how)
        if not asked:
            path.unlink()
            if left == "a new file":
                path.write_bytes(b"")
        asked.append(descriptor)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    mine = Lock(tmp_path)
    assert len(asked) == 2
    assert json.loads(path.read_text())["pid"] == os.getpid()
    monkeypatch.undo()
    with pytest.raises(CommandError, match=f"another engine is working .*process {os.getpid()}"):
        Lock(tmp_path)
    mine.release()
    mine.release()
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_a_lock_that_does_not_say_whose_it_is(tmp_path, content):
    (tmp_path / layout.LOCK).write_bytes(content)
    mine = Lock(tmp_path)
    assert mine.stale == ""
    os.ftruncate(mine._descriptor, 0)
    os.pwrite(mine._descriptor, content, 0)
    with pytest.raises(CommandError, match="starting"):
        Lock(tmp_path)
    mine.release()


def test_a_system_without_boot_ids(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "read_text", lambda *_: (_ for _ in ()).throw(FileNotFoundError()))
    assert lock.boot_id() == ""
    monkeypatch.undo()
    (tmp_path / layout.LOCK).write_text(json.dumps({"pid": 1, "boot": lock.boot_id()}))
    mine = Lock(tmp_path)
    assert mine.stale == "process 1"
    mine.release()


ENGINE = """
import os, sys
from pathlib import Path
from store_cases import World, analyse, info

class Hangs(World):
    def result(self, k):
        if k == 25:
            print("there", flush=True)
            sys.stdin.read()
            os._exit(137)
        return super().result(k)

analyse(info(Path(sys.argv[1]), frames=40), frames=40, unit=10, fsync=False, world=Hangs())
"""


def test_a_run_says_whether_its_engine_is_alive(tmp_path):
    """``run.json`` of a killed engine says that it is running; the lock tells that it is not."""
    out = tmp_path / "run"
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    assert engine.stdout.readline() == "there\n"
    run = open_run(out)
    assert run.state == "being written"
    engine.communicate()
    assert run.info["status"] == "running"
    assert run.state == "stopped without an end"
    assert "stopped without an end" in repr(run)
    analyse(info(out, frames=40), frames=40, unit=10, fsync=False, resume=True)
    assert run.state == "finished"


def test_whoever_looks_keeps_no_engine_out(tmp_path):
    """A look holds the lock for microseconds; this one for longer, but not for ever."""
    assert not lock.held(tmp_path)
    (tmp_path / layout.LOCK).write_bytes(b"")
    file = (tmp_path / layout.LOCK).open("rb")
    lock.fcntl.flock(file, lock.fcntl.LOCK_SH)
    timer = threading.Timer(0.03, file.close)
    timer.start()
    mine = Lock(tmp_path)
    timer.join()
    assert lock.held(tmp_path)
    mine.release()


def test_a_share_without_locks_does_not_tell(tmp_path, monkeypatch):
    (tmp_path / layout.LOCK).write_bytes(b"")
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks")))
    assert lock.held(tmp_path)
