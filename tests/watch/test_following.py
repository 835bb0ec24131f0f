"""Commits by time: how long frames wait, and what a slow commit changes."""

from types import SimpleNamespace

import pytest

from insitu import following as module
from insitu.following import Following


class Folder:
    """A run folder of which each commit takes as long as is said, by a clock of its own."""

    uncommitted = 1

    def __init__(self, *takes_s):
        self.takes_s, self.now = list(takes_s), 0.0

    def commit(self, state):
        self.now += self.takes_s.pop(0)


def waits_s(monkeypatch, *takes_s, unit_s=0.01):
    """Return how long frames wait for their commit after commits that took so long."""
    folder = Folder(*takes_s)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: folder.now))
    following = Following(None, folder, None, lambda done: done, unit_s)
    for _ in takes_s:
        following.commit(dict)
    began = folder.now
    while not following.due():
        folder.now += 0.001
    return folder.now - began


@pytest.mark.parametrize("takes_s", [(0.5, 0.0), (0.0, 0.5), (0.5, 0.002)])
def test_one_slow_commit_holds_nothing_up(monkeypatch, takes_s):
    # the first imports libraries, one in hundreds merges parts: neither says that the disk is slow
    assert waits_s(monkeypatch, *takes_s) == pytest.approx(0.01, abs=0.002)


def test_on_a_slow_disk_units_grow(monkeypatch):
    # committing takes a quarter of the time at most
    assert waits_s(monkeypatch, 0.06, 0.05) == pytest.approx(0.2, abs=0.002)


def test_nothing_is_due_where_nothing_waits():
    folder = Folder()
    folder.uncommitted = 0
    following = Following(None, folder, None, lambda done: done, 0.0)
    assert not following.due()
    folder.uncommitted = 1
    assert following.due()
