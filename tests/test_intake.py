"""The account of every frame: each exactly once, in order, ok or with its reason; nothing is dropped, nothing hangs."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from insitu.errors import BadFrame, CommandError, EndOfSource, InputError
from insitu.intake import Intake, Selection
from insitu.types import Calibration, Header, SourceInfo


class Played:
    """A reader that plays a script: an int is the grey value of a good frame, a string the reason of a bad one."""

    def __init__(self, script, *, known=True, times=None, delay=0.0):
        self.script, self.times, self.delay = script, times, delay
        self.info = SourceInfo("script", "played", 4, 6, np.dtype(np.uint8), len(script) if known else None)
        self.read = []

    def header(self, index):
        if index < len(self.script) and self.script[index] == "missing":
            return Header("script", index, "missing")
        return Header("script", index, time_s=None if self.times is None else self.times[index])

    def read_into(self, index, out):
        time.sleep(self.delay)
        if index >= len(self.script):
            raise EndOfSource
        self.read.append(index)
        item = self.script[index]
        if isinstance(item, str):
            out[:] = 77
            raise BadFrame(item, "as scripted")
        out[:] = item
        out[0, 0] = item - 1
        return ()

    def close(self):
        pass


def taken(intake, first=0, total=None):
    rows = []
    for batch, _ in intake.batches(first, total):
        pixels = iter(batch.images[: batch.used])
        for frame in batch.frames:
            value = int(next(pixels)[1, 1]) if frame.status == "ok" else None
            if frame.status == "ok":
                assert frame.image is not None
                assert frame.image[1, 1] == value
            rows.append((frame.index, frame.status, frame.flags, value))
    return rows


SCRIPT = [10, 20, "truncated", 40, "missing", 60, 70]
ACCOUNT = [
    (0, "ok", (), 10),
    (1, "ok", (), 20),
    (2, "bad", ("truncated",), None),
    (3, "ok", (), 40),
    (4, "missing", ("missing",), None),
    (5, "ok", (), 60),
    (6, "ok", (), 70),
]


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize("prefetch", [1, 5])
def test_every_frame_is_accounted_for_in_order_whatever_the_batch(batch, prefetch):
    intake = Intake(Played(SCRIPT), Calibration(), Selection(), batch=batch, prefetch=prefetch)
    assert taken(intake, 0, 7) == ACCOUNT


def test_a_source_of_unknown_length_ends_when_it_says_so():
    assert taken(Intake(Played(SCRIPT, known=False), Calibration(), Selection(), batch=3)) == ACCOUNT


def test_reading_can_begin_in_the_middle():
    assert taken(Intake(Played(SCRIPT), Calibration(), Selection(), batch=2), 3, 7) == ACCOUNT[3:]


def test_a_selection_keeps_source_numbers():
    selection = Selection(1, 6, 2)
    assert selection.planes(7) == 3
    assert [r[0] for r in taken(Intake(Played(SCRIPT), Calibration(), selection), 0, 3)] == [1, 3, 5]


@pytest.mark.parametrize(
    ("selection", "frames", "planes"),
    [
        (Selection(), 10, 10),
        (Selection(0, 4), 10, 4),
        (Selection(0, 40), 10, 10),
        (Selection(9, None, 5), 10, 1),
        (Selection(10), 10, 0),
        (Selection(0, None, 3), 10, 4),
        (Selection(), None, None),
        (Selection(2, 8, 3), None, 2),
    ],
)
def test_number_of_planes(selection, frames, planes):
    assert selection.planes(frames) == planes
    if planes and frames:
        assert selection.frame(planes - 1) < frames
        assert selection.frame(planes) >= min(frames, selection.stop or frames)


def test_reference_frames_are_the_first_usable_ones_and_are_not_read_twice():
    reader = Played(SCRIPT)
    intake = Intake(reader, Calibration(), Selection())
    frames = intake.reference(3, 7)
    assert [(i, int(image[1, 1])) for i, image in frames] == [(0, 10), (1, 20), (3, 40)]
    assert taken(intake, 0, 7) == ACCOUNT
    assert reader.read == [0, 1, 2, 3, 5, 6]


def test_a_movie_of_bad_frames_has_no_reference_and_is_still_accounted_for():
    intake = Intake(Played(["truncated"] * 20), Calibration(), Selection())
    assert intake.reference(4, 20) == []
    assert [r[1] for r in taken(intake, 0, 20)] == ["bad"] * 20


@pytest.mark.parametrize("known", [True, False])
def test_a_movie_that_begins_blank_for_long_has_a_reference(known):
    script = ["all zero"] * 50 + [9] + ["all zero"] * 50 + [8]
    reader = Played(script, known=known)
    intake = Intake(reader, Calibration(), Selection())
    assert [i for i, _ in intake.reference(2, len(script) if known else None)] == [50]
    assert [r[1] for r in taken(intake, 0, len(script) if known else None)] == [
        "bad" if item == "all zero" else "ok" for item in script
    ]
    assert reader.read == list(range(len(script)))


def test_all_zero_and_constant_frames_are_bad():
    class Blank(Played):
        def read_into(self, index, out):
            out[:] = 0 if index == 0 else 9
            return ()

    assert [(r[1], r[2]) for r in taken(Intake(Blank([1, 2]), Calibration(), Selection()), 0, 2)] == [
        ("bad", ("all zero",)),
        ("bad", ("constant",)),
    ]


def test_on_bad_stop_names_the_frame():
    intake = Intake(Played(SCRIPT), Calibration(), Selection(), on_bad="stop")
    with pytest.raises(InputError) as caught:
        taken(intake, 0, 7)
    assert "frame 2 of 'script'" in caught.value.message
    assert "truncated" in caught.value.message
    assert "--on-bad skip" in caught.value.hint


def test_a_fault_of_the_reader_reaches_the_consumer():
    class Broken(Played):
        def read_into(self, index, out):
            if index == 3:
                raise ZeroDivisionError("inside the reader")
            return super().read_into(index, out)

    with pytest.raises(ZeroDivisionError):
        taken(Intake(Broken([1] * 6), Calibration(), Selection()), 0, 6)


def test_leaving_early_stops_the_reader_thread():
    intake = Intake(Played([5] * 1000, delay=0.001), Calibration(), Selection(), prefetch=4)
    for batch, _ in intake.batches(0, 1000):
        if batch.frames[0].index == 3:
            break
    assert not any(t.name == "insitu-reader" for t in threading.enumerate())


def test_a_slow_consumer_blocks_the_reader():
    reader = Played([5] * 100)
    batches = Intake(reader, Calibration(), Selection(), batch=2, prefetch=4).batches(0, 100)
    next(batches)
    time.sleep(0.2)
    assert len(reader.read) <= 2 * 4
    assert sum(len(b.frames) for b, _ in batches) == 98


def test_time_is_unknown_unless_someone_knows_it():
    known = Calibration(s_per_frame=0.5, s_source="header")
    given = Calibration(s_per_frame=0.5, s_source="given: --fps")
    times = [0.0, 0.5, 1.0, 2.0]

    def seconds(calibration, own):
        reader = Played([3, 4, 5, 6], times=own)
        intake = Intake(reader, calibration, Selection())
        slot = np.empty((4, 6), np.uint8)
        return [(f.time_s, f.flags) for f in (intake.frame(k, slot) for k in range(4))]

    assert [t for t, _ in seconds(Calibration(), None)] == [None] * 4
    assert [t for t, _ in seconds(known, None)] == [0.0, 0.5, 1.0, 1.5]
    assert [t for t, _ in seconds(known, times)] == times
    assert [t for t, _ in seconds(given, times)] == [0.0, 0.5, 1.0, 1.5]
    assert [f for _, f in seconds(known, times)] == [(), (), (), ("irregular time",)]


def test_a_given_rate_does_not_make_the_sources_own_times_irregular():
    reader = Played([3, 4, 5, 6], times=[0.0, 0.5, 1.0, 2.0])
    reader.info = replace(reader.info, calibration=Calibration(s_per_frame=0.5, s_source="header"))
    intake = Intake(reader, Calibration(s_per_frame=0.0025, s_source="given: --fps"), Selection())
    slot = np.empty((4, 6), np.uint8)
    assert [intake.frame(k, slot).flags for k in range(4)] == [(), (), (), ("irregular time",)]


@pytest.mark.parametrize("step_ms", [1.0, 2.2, 2.5, 7.4])
def test_stamps_of_whole_milliseconds_are_no_irregular_time_and_a_lost_frame_is(step_ms):
    times = [round(k * step_ms) / 1000 for k in range(40)] + [round(42 * step_ms) / 1000]
    reader = Played([9] * 41, times=times)
    intake = Intake(reader, Calibration(s_per_frame=step_ms / 1000, s_source="stamps"), Selection())
    slot = np.empty((4, 6), np.uint8)
    flags = [intake.frame(k, slot).flags for k in range(41)]
    assert flags == [()] * 40 + [("irregular time",)]


@pytest.mark.parametrize("wrong", [(-3, None, 1), (0, -1, 1), (0, None, 0), (0, 10, -1)])
def test_a_selection_that_selects_nothing_is_refused_with_a_hint(wrong):
    with pytest.raises(CommandError, match="cannot be selected"):
        Selection(*wrong)
