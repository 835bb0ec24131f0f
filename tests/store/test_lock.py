"""The lock of a run folder when another engine comes or goes at the wrong moment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from insitu.errors import CommandError
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
