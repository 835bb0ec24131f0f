"""A disk or a network that is ten times slower: the reader waits, nothing is dropped, nothing piles up."""

from __future__ import annotations

import threading
import time

import pytest

from benchmarks.soak.world import Stub, digest, discs
from insitu.pipeline import process
from insitu.settings import Settings
from insitu.store.commit import RunFolder

FRAMES, PREFETCH = 80, 8
SETTINGS = Settings().replace(
    {"segment.model": "classical", "store.fsync": False, "store.unit_frames": 10, "read.prefetch_frames": PREFETCH,
     "segment.batch": 2}, "test",
)  # fmt: skip


class Slow(Stub):
    def probabilities(self, images):
        time.sleep(0.01)
        return super().probabilities(images)


@pytest.mark.parametrize("what", ["disk", "network"])
def test_the_reader_waits_for_what_is_slow(what, tmp_path, monkeypatch, stub):
    process(iter(discs(FRAMES)), tmp_path / "whole", SETTINGS)
    given, ahead = [0], []

    def source():
        for image in discs(FRAMES):
            given[0] += 1
            yield image

    if what == "network":
        monkeypatch.setattr("insitu.models.load", lambda *_, **__: Slow())
    else:
        commit = RunFolder.commit

        def slowly(self, state):
            time.sleep(0.1)
            return commit(self, state)

        monkeypatch.setattr(RunFolder, "commit", slowly)
    threads = threading.active_count()
    summary = process(source(), tmp_path / "out", SETTINGS, progress=lambda p: ahead.append(given[0] - p.done))
    assert summary.used == FRAMES
    # slots read ahead, the batch in work, and the frames that wait for an open contact to be decided
    assert max(ahead) <= PREFETCH + 2 * 2 + SETTINGS.events.contact_frames + 2
    assert threading.active_count() == threads
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_a_slow_generator_and_a_stop_do_not_wait_for_each_other(tmp_path, stub):
    # a source that gives nothing more must not hold up a run that was asked to end
    stop = threading.Event()

    def source():
        yield from discs(20)
        stop.wait(30)
        time.sleep(0.05)

    def watch(progress):
        if progress.done == 12:
            stop.set()

    began = time.monotonic()
    summary = process(source(), tmp_path / "out", SETTINGS, progress=watch, stop=stop)
    assert summary.interrupted
    assert summary.total == 12
    assert time.monotonic() - began < 20
