"""Every file operation fails once: nothing acknowledged is lost, the error is typed, and a resume mends it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_cases import ABOUT, SETTINGS, World, analyse, digest, info, tracks

from insitu.errors import ResourceError
from insitu.options import StoreOptions
from insitu.store import layout
from insitu.store.commit import RunFolder
from insitu.store.disk import Disk
from insitu.store.log import read_log

FRAMES = 7
HOW = {"frames": FRAMES, "unit": 4, "shard": 3}


class FailingDisk(Disk):
    """Fails the n-th operation, after having done half of a write."""

    def __init__(self, n, code):
        super().__init__(fsync=False)
        self.left, self.code, self.fired = n, code, False

    def _step(self):
        self.left -= 1
        if self.left == 0:
            self.fired = True
            raise OSError(self.code, os.strerror(self.code))

    def open(self, path, flags):
        self._step()
        return super().open(path, flags)

    def put(self, descriptor, data):
        try:
            self._step()
        except OSError:
            super().put(descriptor, data[: len(data) // 2])
            raise
        super().put(descriptor, data)

    def sync(self, descriptor, path):
        self._step()
        super().sync(descriptor, path)

    def rename(self, old, new):
        self._step()
        super().rename(old, new)

    def make_folder(self, path):
        self._step()
        super().make_folder(path)

    def remove(self, path):
        self._step()
        super().remove(path)

    def truncate(self, path, size):
        self._step()
        super().truncate(path, size)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "run"
    analyse(info(out, frames=FRAMES), fsync=False, **HOW)
    return digest(out)


def fail_one_operation_after_another(tmp_path, expected, code, *, first, stride, start=None):
    """Fail operation `first`, then `first` + `stride`, … of a run, or of the resume of one made by `start`."""
    fired = 0
    while True:
        n = first + fired * stride
        out, disk = tmp_path / str(n), FailingDisk(n, code)
        safe = start(out) if start else 0
        error = None
        try:
            analyse(info(out, frames=FRAMES), resume=start is not None, disk=disk, **HOW)
        except ResourceError as raised:
            error = raised
        log = read_log(out)
        if error is None:
            # only the removal of what is no longer needed may fail in silence
            assert log.finished is not None
        else:
            assert disk.fired
            assert log.planes >= safe
            assert os.strerror(code) in error.message
            assert f"; {log.planes} frames are safe" in error.message
        analyse(info(out, frames=FRAMES), resume=True, fsync=False, **HOW)
        assert digest(out) == expected, n
        if not disk.fired:
            return fired
        fired += 1


def stopped(frames):
    def start(out):
        return analyse(info(out, frames=FRAMES), stop=frames, fsync=False, **HOW).committed

    return start


def test_failing_operations_of_a_run(tmp_path, expected):
    # about 170 operations: every fifth here, each of them in the slow test
    assert fail_one_operation_after_another(tmp_path, expected, errno.ENOSPC, first=1, stride=5) > 25


def test_failing_operations_of_a_resume(tmp_path, expected):
    assert fail_one_operation_after_another(tmp_path, expected, errno.EIO, first=2, stride=5, start=stopped(6)) > 15


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("start", [None, stopped(0), stopped(4), stopped(6)], ids=["new", "empty", "unit", "part"])
def test_each_operation_fails(tmp_path, expected, code, start):
    assert fail_one_operation_after_another(tmp_path, expected, code, first=1, stride=1, start=start) > 60


def test_after_a_failure_nothing_more_is_written(tmp_path):
    out, disk = tmp_path / "run", FailingDisk(60, errno.ENOSPC)
    folder = RunFolder.create(
        info(out), settings_text=SETTINGS, about=ABOUT, options=StoreOptions(unit_frames=2, shard_frames=2), disk=disk
    )
    world = World()

    def go_on():
        for k in range(100):
            folder.add(world.result(k))
            if folder.due:
                folder.commit(world.state())

    with pytest.raises(ResourceError) as first:
        go_on()
    safe = folder.committed
    with pytest.raises(ResourceError, match=f"{safe} frames are safe"):
        folder.commit(world.state())
    with pytest.raises(ResourceError):
        folder.finish(tracks())
    folder.close()
    assert read_log(out).planes == safe
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert "--resume" in first.value.hint


FULL = """
import sys
from insitu.store.log import read_log
from store_cases import InsituError, analyse, digest, info
out = sys.argv[1] + "/full/run"
try:
    analyse(info(out, frames=600), frames=600, unit=16)
except InsituError as error:
    print(error.exit_code, read_log(info(out).out).planes, error.message)
import subprocess
subprocess.run(["mount", "-o", "remount,size=64m", sys.argv[1] + "/full"], check=True)
analyse(info(out, frames=600), frames=600, unit=16, resume=True)
analyse(info(sys.argv[1] + "/full/other", frames=600), frames=600, unit=600)
print(digest(out) == digest(sys.argv[1] + "/full/other"))
"""


def test_full_disk_of_its_own(tmp_path):
    # a small file system in a user namespace: no root needed where the kernel allows it
    (tmp_path / "full").mkdir()
    script = f'mount -t tmpfs -o size=1m tmpfs {tmp_path}/full && exec "$0" -c "$1" {tmp_path}'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, FULL],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"NO USER NAMESPACE: a full disk cannot be made here ({done.stderr.strip()})")
    assert done.returncode == 0, done.stderr
    failed, same = done.stdout.splitlines()
    code, safe, message = failed.split(" ", 2)
    assert code == "6"
    assert 0 < int(safe) < 600
    assert f"No space left on device; {safe} frames are safe" in message
    assert same == "True"


class RecordingDisk(Disk):
    """Remembers what happened, in order, without waiting."""

    def __init__(self):
        super().__init__(fsync=False)
        self.done = []

    def put(self, descriptor, data):
        self.done.append(("write", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        super().put(descriptor, data)

    def sync(self, descriptor, path):
        self.done.append(("sync", str(path)))

    def rename(self, old, new):
        self.done.append(("rename", str(new)))
        super().rename(old, new)


def test_data_is_on_the_medium_before_the_line_that_names_it(tmp_path):
    out, disk = tmp_path / "run", RecordingDisk()
    analyse(info(out, frames=FRAMES), disk=disk, **HOW)
    log = str(out / layout.COMMITS)
    lines = [i for i, step in enumerate(disk.done) if step == ("write", log)]
    units = read_log(out).units
    assert len(lines) == len(units) + 1
    for line, unit in zip(lines, units, strict=False):
        assert disk.done[line + 1] == ("sync", log)
        for name in unit.files:
            path = str(out / name)
            synced = disk.done.index(("sync", f"{path}.tmp"))
            renamed = disk.done.index(("rename", path))
            folder = disk.done.index(("sync", str((out / name).parent)), renamed)
            assert disk.done.index(("write", f"{path}.tmp")) < synced < renamed < folder < line
    final = lines[-1]
    for table in layout.TABLES:
        path = str(out / layout.table(table))
        synced, renamed = disk.done.index(("sync", f"{path}.tmp")), disk.done.index(("rename", path))
        assert synced < renamed < disk.done.index(("sync", str(out)), renamed) < final


def test_new_folders_are_made_durable_in_their_parent(tmp_path):
    out, disk = tmp_path / "deep" / "run", RecordingDisk()
    analyse(info(out, frames=FRAMES), disk=disk, **HOW)
    synced = {path for what, path in disk.done if what == "sync"}
    for folder in (out, out / "parts", out / "labels.ome.zarr" / "0" / "c" / "0" / "0"):
        assert str(folder.parent) in synced


def test_real_disk_waits_for_each_file_and_folder(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(os, "fsync", waited.append)
    disk = Disk()
    disk.write(tmp_path / "a", b"1")
    disk.sync_folder(tmp_path)
    disk.append(tmp_path / "a", b"2")
    assert len(waited) == 3
    assert (tmp_path / "a").read_bytes() == b"12"
    Disk(fsync=False).append(tmp_path / "a", b"3")
    assert len(waited) == 3
