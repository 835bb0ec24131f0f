from __future__ import annotations

import pytest

from insitu.read.watch.patience import LOCAL, SHARED, file_system, is_share, patience_for

MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:40 / /mnt/k3\\040data rw shared:9 - cifs //camera/data rw
31 22 0:41 / /mnt/nfs rw - nfs4 server:/x rw
32 22 0:42 / /mnt/nfs/local rw master:3 - tmpfs tmpfs rw
33 22 0:43 / /home/a rw - fuse.sshfs camera: rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "share"),
    [
        ("/data/movie", "ext4", False),
        ("/mnt/k3 data/movie", "cifs", True),
        ("/mnt/nfs/a/b", "nfs4", True),
        ("/mnt/nfs/local/b", "tmpfs", False),
        ("/mnt/nfsother", "ext4", False),
        ("/home/a/x", "fuse.sshfs", True),
    ],
)
def test_the_file_system_of_a_folder(path, kind, share, tmp_path):
    from pathlib import Path

    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert file_system(Path(path), mounts) == kind
    assert is_share(kind) == share


def test_where_nothing_is_told_a_disk_is_local(tmp_path):
    assert file_system(tmp_path, tmp_path / "absent") == ""
    assert patience_for(tmp_path).settle_s <= 2.0


def test_a_look_that_waited_for_its_turn_does_not_blind_the_watcher():
    # 0.2 ms of work in 10 ms of wall time: other threads ran
    assert LOCAL.pause(0.0002, 0.010) == pytest.approx(0.02)


def test_looks_that_are_work_take_their_share_at_most():
    assert LOCAL.pause(0.004, 0.004) == pytest.approx(0.2)


def test_a_share_that_answers_slowly_is_not_asked_all_the_time():
    assert SHARED.pause(0.0002, 1.5) == pytest.approx(3.0)
