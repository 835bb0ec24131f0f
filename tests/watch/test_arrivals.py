"""Whatever the order of arrival, files settle into the order of the finished folder; what cannot is told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu.read.timeline import timeline
from insitu.read.watch.arrivals import Arrivals
from insitu.read.watch.order import predicted
from insitu.read.watch.patience import Patience

PATIENCE = Patience(reorder_s=1.0, reorder_frames=512)


def flat(k):
    return f"run12_frame_{k:04}.tif"


def heated(k):
    return f"T{300 + k // 7}_frame_{k:04}.tif"


def cooled(k):
    return f"T{300 - k // 7}_frame_{k:04}.tif"


def tens(k):
    return f"frame_{10 * k}.tif"


def gatan(k, per_second=5):
    hour, minute, second = k // per_second // 3600, k // per_second // 60 % 60, k // per_second % 60
    folders = f"Hour_{hour:02}/Minute_{minute:02}/Second_{second:02}"
    return f"{folders}/X_{folders.replace('/', '_')}_Frame_{k % per_second:04}.dm4"


def counted_through(k):
    return f"second_{k // 5:02}/frame_{k:05}.tif"


def fed(looks, patience=PATIENCE, wait=2.0):
    """Feed names a look at a time, `wait` s apart, taking what is ready after each; return the arrivals."""
    arrivals, now = Arrivals(patience), 0.0
    for names in looks:
        for name in names:
            arrivals.arrive(name, now)
        take(arrivals, now)
        now += wait
        take(arrivals, now)
    take(arrivals, now, force=True)
    assert not arrivals.waiting
    return arrivals


def take(arrivals, now, *, force=False):
    while arrivals.next(now, force=force) is not None:
        arrivals.settle()


def same_as_finished(arrivals, names):
    line = timeline(names)
    assert arrivals.names == list(line.names)
    assert arrivals.numbers == list(line.numbers)


@pytest.mark.parametrize("name", [flat, heated, cooled, tens, gatan, counted_through])
@pytest.mark.parametrize("start", [0, 3])
def test_one_look_a_file(name, start):
    names = [name(k) for k in range(start, 60)]
    arrivals = fed([[n] for n in names], wait=0.3)
    same_as_finished(arrivals, names)
    assert not arrivals.late
    assert not arrivals.remarks


@given(
    st.sampled_from([flat, heated, tens, counted_through]),
    st.integers(0, 50),
    st.sets(st.integers(1, 60), max_size=12),
    st.integers(1, 12),
    st.integers(0, 2**32),
)
def test_shuffled_within_the_window_with_gaps(name, start, gone, width, seed):
    numbers = [k for k in range(start, start + 70) if k - start not in gone]
    names = [name(k) for k in numbers]
    rng = random.Random(seed)
    looks = [names[k : k + width] for k in range(0, len(names), width)]
    for look in looks:
        rng.shuffle(look)
    arrivals = fed(looks)
    same_as_finished(arrivals, names)
    assert not arrivals.late


@given(st.integers(0, 4), st.sets(st.integers(6, 90), max_size=10), st.integers(0, 2**32))
def test_seconds_shuffled_with_gaps(start, gone, seed):
    """The first second may begin in its middle; frames may be missing inside seconds and at their ends."""
    names = [gatan(k) for k in range(start, 100) if k not in gone]
    rng = random.Random(seed)
    looks = [names[k : k + 4] for k in range(0, len(names), 4)]
    for look in looks:
        rng.shuffle(look)
    same_as_finished(fed(looks), names)


def test_the_first_two_files_lie_in_two_folders():
    """Then the numbers of the folders count as well as those of the files; only later files tell."""
    names = [counted_through(k) for k in range(14, 40)]
    arrivals = fed([names[:2], *([name] for name in names[2:])])
    same_as_finished(arrivals, names)
    assert not arrivals.late


def test_the_end_of_a_second_comes_after_files_of_the_next_one():
    """What waits of second 1 has the number of what is still to come of second 0."""
    names = [gatan(k) for k in range(20) if k not in {6, 7}]
    looks = [names[:4], [gatan(9), gatan(4), gatan(8), gatan(5)], names[8:]]
    arrivals = fed(looks)
    same_as_finished(arrivals, names)
    assert not arrivals.remarks


def test_a_first_second_with_numbers_that_the_next_one_does_not_have():
    names = [f"Second_00/f_{k:04}.dm4" for k in range(213, 220)] + [f"Second_01/f_{k:04}.dm4" for k in range(20)]
    same_as_finished(fed([names[:9], names[9:]]), names)
    same_as_finished(fed([names[:4], names[4:12], names[12:]]), names)


def test_a_gap_is_waited_for_and_then_missing():
    arrivals = Arrivals(PATIENCE)
    for k in (0, 1, 3):
        arrivals.arrive(flat(k), 0.0)
    take(arrivals, 1.0)
    assert arrivals.names == [flat(0), flat(1)]
    take(arrivals, 1.9)
    assert len(arrivals.names) == 2
    arrivals.arrive(flat(2), 1.95)
    take(arrivals, 1.95)
    assert arrivals.names == [flat(k) for k in range(4)]
    arrivals.arrive(flat(6), 3.0)
    take(arrivals, 3.0)
    take(arrivals, 4.1)
    assert arrivals.names[4:] == [None, None, flat(6)]
    assert arrivals.numbers == list(range(7))
    arrivals.arrive(flat(5), 4.2)
    take(arrivals, 9.0, force=True)
    assert arrivals.late == [flat(5)]
    assert len(arrivals.names) == 7


def test_many_later_frames_end_the_wait():
    arrivals = Arrivals(Patience(reorder_s=1e9, reorder_frames=20))
    for k in range(40):
        arrivals.arrive(flat(k), 0.0)
    take(arrivals, 0.0)
    for k in range(41, 60):
        arrivals.arrive(flat(k), 0.1)
        take(arrivals, 0.1)
    assert len(arrivals.names) == 40
    arrivals.arrive(flat(60), 0.2)
    take(arrivals, 0.2)
    assert arrivals.names[40] is None
    assert len(arrivals.names) == 61


def test_the_end_of_a_second_is_waited_for_unless_it_has_as_many_frames_as_the_one_before():
    arrivals = Arrivals(PATIENCE)
    for k in range(10):
        arrivals.arrive(gatan(k), 0.0)
    take(arrivals, 1.0)
    take(arrivals, 2.0)
    for k in (10, 11, 12, 13, 15):  # the last one of the third second is late
        arrivals.arrive(gatan(k), 3.0)
    take(arrivals, 3.0)
    assert arrivals.names[-1] == gatan(13)
    arrivals.arrive(gatan(14), 3.5)
    take(arrivals, 3.5)
    assert arrivals.names[10:] == [gatan(k) for k in range(10, 16)]


def test_strange_and_equal_numbers_are_told_and_not_used():
    arrivals = Arrivals(PATIENCE)
    for name in ["frame_1.tif", "frame_2.tif", "frame_3.tif"]:
        arrivals.arrive(name, 0.0)
    take(arrivals, 1.0)
    arrivals.arrive("thumbnail.tif", 1.0)
    arrivals.arrive("frame_4.tif", 1.0)
    arrivals.arrive("frame_04.tif", 1.0)
    arrivals.arrive("frame_5.png", 1.0)
    take(arrivals, 2.0, force=True)
    assert arrivals.names == [f"frame_{k}.tif" for k in range(1, 5)]
    assert [where for where, _ in arrivals.remarks] == ["thumbnail.tif", "frame_04.tif", "frame_5.png"]


def test_a_jump_is_no_gap():
    arrivals = Arrivals(PATIENCE)
    for k in (0, 1, 2, 1_000_000, 1_000_001):
        arrivals.arrive(flat(k), 0.0)
    for now in (1.0, 1.1, 5.0, 6.0):
        take(arrivals, now)
    assert arrivals.numbers == [0, 1, 2, 1_000_000, 1_000_001]
    assert "numbers jump" in arrivals.remarks[0][1]


@pytest.mark.parametrize(
    ("name", "column", "step", "follows"),
    [
        ("frame_0009.tif", 0, 1, "frame_0010.tif"),
        ("frame_999.tif", 0, 1, "frame_1000.tif"),
        ("run2_frame_10_x.dm4", 1, 10, "run2_frame_20_x.dm4"),
    ],
)
def test_the_name_of_the_next_file(name, column, step, follows):
    assert predicted(name, column, step) == follows
