"""Held frames, names and contacts: what is given out is final, complete, and the same wherever a run is cut."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cases_events as cases
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_events import busy

from insitu.events.identities import FOR_EVER, Identities
from insitu.options import EventOptions, LinkOptions
from insitu.tracker import Tracker
from insitu.tracks import TrackSummary
from insitu.types import Frame, Header

if TYPE_CHECKING:
    from insitu.types import Event, FrameResult

EVENTS = EventOptions(birth_frames=4, contact_frames=9)
LINK = LinkOptions(search_range_px=15)


def frame(index: int, *, used: bool = True) -> Frame:
    image = np.full((2, 2), index) if used else None
    return Frame(index, image, "ok" if used else "missing", (), Header("movie", index))


def fed(tracker: Tracker, movie: cases.Movie, first: int = 0):
    """Yield what the tracker gives for the frames of a movie, and what it holds at the end."""
    for index in range(first, len(movie.frames)):
        discs = movie.frames[index]
        if discs is None:
            yield from tracker.skip(frame(index, used=False))
        else:
            yield from tracker.step(frame(index), cases.measured_of(discs, movie.shape), None, ())
    yield from tracker.flush()


def tracker_of(movie: cases.Movie, events: EventOptions = EVENTS) -> Tracker:
    return Tracker(movie.link, events, movie.shape)


def run(movie: cases.Movie, events: EventOptions = EVENTS) -> tuple[list[FrameResult], list[Event]]:
    tracker = tracker_of(movie, events)
    results = list(fed(tracker, movie))
    return results, [e for r in results for e in r.events] + list(tracker.finish())


def told(results: list[FrameResult], last: list[Event]) -> list[object]:
    """Return all that a result says, in a form that can be compared."""
    rows = [
        (r.frame.index, r.ids.tolist(), r.particles.composite.tolist(), repr(r.events), r.flags, r.drift_px)
        for r in results
    ]
    return [*rows, repr(last)]


def touching(frames: int, a: float = 12.0, b: float = 10.0, lasting: int = 12) -> cases.Movie:
    """Two rest apart, touch from frame 8 on for `frames` frames, and are apart again."""
    apart, near = a + b + 4, a + b - 1
    first = cases.still(8, (60.0, 50.0, a), (60.0, 50.0 + apart, b))
    met = cases.still(frames, (60.0, 50.0, a), (60.0, 50.0 + near, b))
    return cases.Movie(first + met + cases.still(lasting, *first[0][2:]), link=LINK)


# --- contact ----------------------------------------------------------------


@pytest.mark.parametrize("radii", [(12.0, 10.0), (10.0, 12.0), (11.0, 11.0), (14.0, 5.0), (25.0, 24.0), (22.0, 25.0)])
@pytest.mark.parametrize("frames", range(1, 9))
def test_contact_that_ends_is_no_event_and_one_composite_row(frames, radii):
    results, events = run(touching(frames, *radii))
    assert events == []
    ids = [sorted(r.ids.tolist()) for r in results]
    first, met = ids[0], slice(8, 8 + frames)
    assert ids[:8] == [first] * 8
    assert ids[8 + frames :] == [first] * (len(results) - 8 - frames)
    pair = [i for i, y in zip(results[0].ids, results[0].particles.y, strict=True) if abs(y - 60) < 1]
    area = dict(zip(results[0].ids.tolist(), results[0].particles.area_px.tolist(), strict=True))
    larger = max(pair, key=lambda i: (area[i], -i))
    for k, r in enumerate(results):
        assert r.ids[r.particles.composite].tolist() == ([larger] if 8 <= k < 8 + frames else [])
    assert all(len(i) == len(first) - 1 for i in ids[met])


def test_contact_that_lasts_is_a_coalescence_into_a_new_particle():
    results, events = run(touching(14, lasting=0))
    assert [(e.kind, e.frame, e.contact_frame, e.decided_frame) for e in events] == [("coalescence", 8, 8, 17)]
    assert events[0].parents == (1, 2)
    child = events[0].children[0]
    assert child not in {1, 2}
    for k, r in enumerate(results):
        assert ({1, 2} <= set(r.ids)) == (k < 8)
        assert (child in r.ids) == (k >= 8)
        assert not r.particles.composite.any()
    rows = summary(results, events)
    assert rows["particle"].tolist() == [0, 1, 2, 3, child]
    assert rows["origin"] == ["start", "start", "start", "start", "coalescence"]
    assert rows["fate"] == ["end", "coalescence", "coalescence", "end", "end"]
    assert rows["parents"][-1] == [1, 2]
    assert rows["children"][1] == rows["children"][2] == [child]


@pytest.mark.parametrize("radii", [(12.0, 10.0), (10.0, 12.0), (25.0, 24.0)])
def test_the_larger_parent_may_live_on(radii):
    movie = touching(14, *radii, lasting=0)
    areas = cases.measured_of(movie.frames[0]).particles.area_px
    larger, smaller = (1, 2) if areas[1] > areas[2] else (2, 1)
    results, events = run(movie, EventOptions(birth_frames=4, contact_frames=9, survivor="larger"))
    assert [(e.kind, e.frame, e.parents, e.children) for e in events] == [
        ("coalescence", 8, (larger, smaller), (larger,))
    ]
    assert all(larger in r.ids for r in results)
    rows = summary(results, events)
    assert rows["fate"][smaller] == "coalescence"
    assert (rows["origin"][larger], rows["fate"][larger]) == ("start", "end")


def test_contact_that_is_open_when_the_movie_ends_is_composite():
    results, events = run(touching(5, lasting=0))
    assert events == []
    assert [r.ids[r.particles.composite].tolist() for r in results] == [[]] * 8 + [[1]] * 5


@pytest.mark.parametrize("radii", [(12.0, 10.0), (10.0, 12.0), (11.0, 11.0), (14.0, 6.0), (25.0, 24.0)])
@pytest.mark.parametrize("frames", [1, 4, 8])
def test_particles_in_contact_may_be_kept_apart(frames, radii):
    movie = touching(frames, *radii)
    results, events = run(movie, replace(EVENTS, in_contact="split"))
    assert events == []
    ids = sorted(results[0].ids.tolist())
    y, x, area = ({i: [] for i in ids} for _ in range(3))
    for r in results:
        assert sorted(r.ids.tolist()) == ids
        assert r.particles.label.tolist() == list(range(1, len(ids) + 1))
        assert r.runs.n_labels == len(ids)
        assert not r.particles.composite.any()
        for k, i in enumerate(r.ids.tolist()):
            for column, values in ((y, r.particles.y), (x, r.particles.x), (area, r.particles.area_px)):
                column[i].append(float(values[k]))
    for i in ids:
        # Each stays where it was (the second moves by 5 px) and keeps its area while both touch.
        assert np.ptp(y[i]) < 0.5
        assert np.ptp(x[i]) < 6.5
        assert np.ptp(area[i]) < 0.1 * max(area[i])


def test_contact_that_is_open_when_the_movie_ends_may_be_kept_apart():
    results, _ = run(touching(5, lasting=0), replace(EVENTS, in_contact="split"))
    assert all(sorted(r.ids.tolist()) == [0, 1, 2, 3] for r in results)


@pytest.mark.parametrize("speed", [1.0, 2.5])
def test_what_has_merged_keeps_its_frame_when_it_passes_the_place_of_a_parent(speed):
    a, b, r = (60.0, 50.0, 9.0), (60.0, 69.0, 8.0), cases.merged_radius(9, 8)
    after = [cases.still(1, (60.0, min(58.0 + speed * k, 80.0), r))[0] for k in range(16)]
    results, events = run(cases.Movie(cases.still(6, a, b) + after, link=LINK))
    assert [(e.kind, e.frame, e.parents) for e in events] == [("coalescence", 6, (1, 2))]
    assert [events[0].children[0] in r.ids for r in results] == [k >= 6 for k in range(len(results))]


def test_mergers_one_after_the_other_hand_the_name_on():
    a, b, c = (60.0, 50.0, 12.0), (60.0, 72.0, 8.0), (60.0, 28.5, 7.0)
    ab, abc = cases.merged_radius(12, 8), cases.merged_radius(12, 8, 7)
    movie = cases.Movie(
        cases.still(6, a, b, c) + cases.still(2, (60.0, 51.5, ab), c) + cases.still(14, (60.0, 49.5, abc)), link=LINK
    )
    results, (first, second) = run(movie)
    assert (first.frame, second.frame) == (6, 8)
    assert first.children[0] in second.parents
    assert [set(first.children) <= set(r.ids) for r in results] == [6 <= k < 8 for k in range(len(results))]
    assert [set(second.children) <= set(r.ids) for r in results] == [k >= 8 for k in range(len(results))]


def test_a_contact_leaves_no_trace_in_what_is_said_later():
    """After a contact the larger one goes on with its own size: it is lost without having shrunk, not dissolved."""
    movie = touching(4, 12.0, 11.5, lasting=4)
    movie.frames += [movie.frames[0][:2] + movie.frames[0][3:]] * 14
    events = run(movie)[1]
    assert [(e.kind, e.frame) for e in events] == [("lost", 16)]


def summary(results: list[FrameResult], events: list[Event]) -> dict[str, object]:
    tracks = TrackSummary()
    for r in results:
        p = r.particles
        tracks.add(
            {
                "frame": np.full(len(p), r.frame.index),
                "particle": r.ids,
                "y": p.y,
                "x": p.x,
                "equivalent_diameter_px": p.equivalent_diameter_px,
                "composite": p.composite,
            }
        )
    return tracks.rows(events)


def test_composite_rows_are_no_growth():
    results, events = run(touching(6))
    rows = summary(results, events)
    np.testing.assert_allclose(rows["growth_px_per_frame"], 0, atol=1e-12)
    assert rows["length"].tolist() == [26, 26, 20, 26]
    first, last, mean = (rows[f"equivalent_diameter_px_{name}"] for name in ("first", "last", "mean"))
    np.testing.assert_allclose(first, last)
    np.testing.assert_allclose(first, mean)


# --- held frames ----------------------------------------------------------------


def test_frames_without_a_question_are_given_at_once_and_others_after_the_answer():
    tracker, given_at = Tracker(LINK, EVENTS, cases.SHAPE), {}
    for index, discs in enumerate(touching(5).frames):
        for r in tracker.step(frame(index), cases.measured_of(discs), None, ()):
            given_at[r.frame.index] = index
            assert (r.frame.image == r.frame.index).all()
    assert given_at == {k: max(k, 13) if 8 <= k < 13 else k for k in range(25)}


def test_unusable_frames_wait_in_line():
    movie = touching(5)
    movie.frames[10] = None
    results, events = run(movie)
    assert [r.frame.index for r in results] == list(range(len(movie.frames)))
    assert results[10].frame.status == "missing"
    assert events == []


def test_no_frame_waits_for_ever():
    movie = touching(14, lasting=0)
    movie.frames[10:10] = [None] * 40
    tracker, late = tracker_of(movie), []
    for index, discs in enumerate(movie.frames):
        given = (
            tracker.skip(frame(index, used=False))
            if discs is None
            else tracker.step(frame(index), cases.measured_of(discs), None, ())
        )
        late += [index - r.frame.index for r in given]
    assert max(late) == 2 * EVENTS.contact_frames + LINK.blank_frames
    assert_the_same_wherever_cut(movie, cuts=[7, 8, 9, 12, 20, 45, 46, 49, 55])


def test_names_of_a_track_stay_few():
    names = Identities()
    for k in range(1000):
        names.name(3, 10 * k, FOR_EVER, 100 + k)
        names.forget(np.array([3]), 10 * k, 10 * k)
    assert len(names) < 10
    assert names.of(3, 9999) == 1099
    assert names.of(3, 9989) == 1098


def assert_the_same_wherever_cut(movie: cases.Movie, events: EventOptions = EVENTS, cuts: list[int] | None = None):
    whole = tracker_of(movie, events)
    results = list(fed(whole, movie))
    expected = told(results, list(whole.finish()))
    assert [r.frame.index for r in results] == list(range(len(movie.frames)))
    for cut in cuts if cuts is not None else range(1, len(movie.frames)):
        tracker = tracker_of(movie, events)
        part = []
        stream = fed(tracker, movie)
        for r in stream:
            part.append(r)
            if len(part) == cut:
                break
        state = {name: np.array(values) for name, values in tracker.state().items()}
        assert all(v.dtype.fields is None and v.dtype != object for v in state.values())
        stream.close()
        again = tracker_of(movie, events)
        again.restore(state)
        part += fed(again, movie, cut)
        assert told(part, list(again.finish())) == expected


@pytest.mark.parametrize("world", cases.WORLDS, ids=lambda w: w.__name__)
def test_wherever_a_story_is_cut_the_same_is_given(world):
    assert_the_same_wherever_cut(world())


@pytest.mark.parametrize(
    "movie", [touching(3), touching(8, 25.0, 24.0), touching(14, lasting=0), touching(5, lasting=0)], ids=str
)
@pytest.mark.parametrize("survivor", ["new", "larger"])
def test_wherever_a_contact_is_cut_the_same_is_given(movie, survivor):
    assert_the_same_wherever_cut(movie, EventOptions(birth_frames=4, contact_frames=9, survivor=survivor))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example(seed=52914, cut=17, survivor="new", in_contact="composite")
@given(
    seed=st.integers(0, 10**6),
    cut=st.integers(1, 23),
    survivor=st.sampled_from(["new", "larger"]),
    in_contact=st.sampled_from(["composite", "split"]),
)
def test_wherever_a_busy_movie_is_cut_the_same_is_given(seed, cut, survivor, in_contact):
    options = EventOptions(birth_frames=4, contact_frames=6, survivor=survivor, in_contact=in_contact)
    assert_the_same_wherever_cut(busy(seed), options, [cut])


def test_kept_apart_every_frame_has_each_particle_once_and_all_its_pixels():
    cut = 0
    for seed in range(30):
        movie = busy(seed, 40)
        together, _ = run(movie, EventOptions(birth_frames=4, contact_frames=6))
        split, _ = run(movie, EventOptions(birth_frames=4, contact_frames=6, in_contact="split"))
        for a, b in zip(together, split, strict=True):
            assert len(set(b.ids.tolist())) == len(b.ids) == b.runs.n_labels == len(b.particles)
            assert b.particles.area_px.sum() == a.particles.area_px.sum()
            assert a.events == b.events
            cut += len(b.ids) - len(a.ids)
    assert cut > 100


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(seed=st.integers(0, 10**6), survivor=st.sampled_from(["new", "larger"]))
def test_names_are_unique_within_a_frame(seed, survivor):
    results, _ = run(busy(seed, 40), EventOptions(birth_frames=4, contact_frames=6, survivor=survivor))
    for r in results:
        assert len(set(r.ids.tolist())) == len(r.ids)


def test_events_speak_of_particles_that_are_there():
    """Where discs overlap at random and blink, contacts within contacts leave a few events beside the tables."""
    wrong, events = 0, []
    for seed in range(30):
        results, happened = run(busy(seed, 40), EventOptions(birth_frames=4, contact_frames=6))
        seen: dict[int, list[int]] = {}
        for r in results:
            for i in r.ids.tolist():
                seen.setdefault(i, []).append(r.frame.index)
        for e in happened:
            ended, begun = set(e.parents) - set(e.children), set(e.children) - set(e.parents)
            wrong += not all(p in seen and max(seen[p]) < e.frame for p in ended)
            wrong += not all(c in seen and min(seen[c]) == e.frame for c in begun)
        events += happened
    assert len(events) > 800
    assert wrong <= 0.01 * len(events)


# --- names ----------------------------------------------------------------


def test_a_later_name_outranks_an_earlier_one_within_its_frames():
    names = Identities()
    names.name(3, 5, FOR_EVER, 70)
    names.contact(3, 8, 10, 71, only=False)
    names.name(1, 6, FOR_EVER, 72)
    tracks = np.array([3, 0, 1])
    expected = {4: [3, 0, 1], 5: [70, 0, 1], 6: [70, 0, 72], 8: [71, 0, 72], 9: [71, 0, 72], 10: [70, 0, 72]}
    for at, ids in expected.items():
        found, composite = names.at(at, tracks)
        assert found.tolist() == ids
        assert composite.tolist() == [8 <= at < 10, False, False]


def test_names_are_forgotten_once_no_held_frame_needs_them():
    names = Identities()
    names.name(3, 5, FOR_EVER, 70)
    names.name(4, 5, FOR_EVER, 71)
    names.forget(np.array([4]), 9, 7)
    assert names.of(3, 9) == 70
    names.forget(np.array([4]), 12, 10)
    assert (names.of(3, 9), names.of(4, 9), len(names)) == (3, 71, 1)
