from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import cases_events as cases
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from insitu.events import EventDetector
from insitu.events.evidence import Outlines, closing_speed, follow, gather, outline_gap
from insitu.events.histories import RING, Histories, declines, fades, median
from insitu.events.mergers import agreement
from insitu.link.linker import OptimalLinker
from insitu.options import EventOptions, LinkOptions

if TYPE_CHECKING:
    from insitu.types import Event


def only(events: list[Event]) -> Event:
    assert len(events) == 1, events
    return events[0]


def ids_at(movie: cases.Movie, frame: int) -> list[int]:
    return movie.track()[0][frame].tolist()


# --- one story each ----------------------------------------------------------------


def test_two_that_merge_within_a_frame():
    e = only(cases.merge_fast().happened())
    assert (e.kind, e.frame, e.contact_frame) == ("coalescence", 8, 8)
    assert e.decided_frame == 8 + 3
    assert e.parents == (1, 2)
    assert e.children == (1,)
    assert e.parent_areas_px == (613, 253)
    area = e.child_areas_px[0]
    assert e.volume_balance == pytest.approx((area**1.5 - 613**1.5 - 253**1.5) / (613**1.5 + 253**1.5))
    assert abs(e.volume_balance) < 0.05
    assert e.gap_px == pytest.approx(3.0, abs=1.1)
    assert e.approach_px_per_frame == pytest.approx(0.5, abs=0.1)
    assert e.confidence > 0.8
    assert not e.touches_edge


@pytest.mark.parametrize("gap", [1.0, 4.0])
def test_a_merger_is_seen_across_any_gap_up_to_contact(gap):
    assert only(cases.merge_fast(gap).happened()).kind == "coalescence"


def test_a_fast_one_merges_across_a_wide_gap_where_cover_and_area_agree():
    def movie(radius: float) -> cases.Movie:
        before = [cases.still(1, (60.0, 50.0, 12.0), (60.0, 83.0 + 7 * (5 - k), 12.0))[0] for k in range(6)]
        return cases.Movie(before + cases.still(8, (60.0, 62.0, radius)), link=LinkOptions(search_range_px=13))

    e = only(movie(cases.merged_radius(12, 12)).happened())
    assert (e.kind, e.frame, e.parents) == ("coalescence", 6, (1, 2))
    assert e.gap_px > EventOptions().contact_gap_px
    assert e.approach_px_per_frame == pytest.approx(7.0, abs=0.2)
    # The same place with the area of one: nothing was taken up.
    assert only(movie(12.0).happened()).kind == "lost"


def test_two_that_touch_and_relax_slowly_merge_at_first_contact():
    e = only(cases.merge_slowly().happened())
    assert (e.kind, e.frame) == ("coalescence", 8)
    assert set(e.parents) >= {1, 2}
    # Two discs that only touch have more volume, by area, than they will have as one.
    assert 0.2 < e.volume_balance < 0.6
    assert e.approach_px_per_frame == pytest.approx(1.0, abs=0.1)


def test_three_that_merge_at_once_are_one_event_with_all_parents():
    e = only(cases.three_merge().happened())
    assert (e.kind, e.frame) == ("coalescence", 6)
    assert e.parents == (1, 2, 3)
    assert e.children == (1,)
    assert len(e.parent_areas_px) == 3
    assert abs(e.volume_balance) < 0.05


def test_a_merger_into_a_new_id_has_both_as_parents_and_no_other_event():
    movie = cases.merge_into_new()
    e = only(movie.happened())
    assert (e.kind, e.frame) == ("coalescence", 6)
    assert e.parents == (1, 2)
    assert e.children == (4,)
    assert 4 in ids_at(movie, 6)
    assert e.gap_px == pytest.approx(1.0, abs=1.0)


def test_one_that_shrinks_away_dissolves():
    e = only(cases.shrinks_away().happened())
    assert (e.kind, e.frame, e.decided_frame) == ("dissolution", 12, 15)
    assert e.parents == (1,)
    assert e.children == ()
    assert (e.y, e.x) == pytest.approx((60.0, 80.0), abs=0.5)
    assert e.confidence == pytest.approx(1 - e.parent_areas_px[0] / 441, abs=0.05)


def test_one_that_vanishes_without_shrinking_is_lost():
    e = only(cases.vanishes().happened())
    assert (e.kind, e.frame) == ("lost", 6)
    assert e.confidence == 0.5


def test_one_that_walks_out_leaves_and_one_that_walks_in_enters():
    e = only(cases.leaves().happened())
    assert (e.kind, e.touches_edge, e.confidence) == ("leaving", True, 1.0)
    e = only(cases.enters().happened())
    assert (e.kind, e.frame, e.touches_edge) == ("entering", 3, True)
    assert e.decided_frame == 7
    assert e.children == (2,)


def test_a_fast_one_leaves_without_ever_touching_the_border():
    frames = [cases.still(1, (60.0, 40.0 + 12 * k, 6.0))[0] for k in range(10)] + cases.still(6)
    movie = cases.Movie(frames, link=LinkOptions(search_range_px=14))
    e = only(movie.happened())
    assert (e.kind, e.touches_edge) == ("leaving", False)
    assert 0.5 < e.confidence < 1


def test_new_ones_appear_or_nucleate():
    e = only(cases.appears().happened())
    assert (e.kind, e.frame, e.children, e.confidence) == ("appearance", 5, (2,), 1.0)
    assert e.child_areas_px == (253,)
    e = only(cases.nucleates().happened())
    assert (e.kind, e.frame) == ("nucleation", 5)
    # The verdict may not depend on frames after it was given.
    assert e.decided_frame == 9


def test_one_that_breaks_in_two_splits():
    e = only(cases.splits().happened())
    assert (e.kind, e.frame) == ("splitting", 6)
    assert e.parents == (1,)
    assert e.children == (1, 3)
    assert abs(e.volume_balance) < 0.05


@pytest.mark.parametrize(("touching", "kinds"), [(2, []), (3, []), (5, ["coalescence", "splitting"])])
def test_a_contact_within_the_memory_is_no_event_beyond_it_is_a_merger_and_a_splitting(touching, kinds):
    a, apart, near = (60.0, 60.0, 12.0), (60.0, 85.0, 10.0), (60.0, 81.0, 10.0)
    frames = cases.still(8, a, apart) + cases.still(touching, a, near) + cases.still(12, a, apart)
    movie = cases.Movie(frames, link=LinkOptions(search_range_px=15))
    assert [e.kind for e in movie.happened()] == kinds


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_flicker_is_no_event(gone):
    assert cases.flickers(gone).happened() == []


def test_beyond_the_memory_a_flicker_is_an_end_and_a_beginning():
    kinds = Counter(e.kind for e in cases.flickers(4).happened())
    assert kinds == {"lost": 1, "appearance": 1}


def test_frames_that_cannot_be_used_end_nothing():
    assert cases.unusable_frames().happened() == []


def test_an_end_across_unusable_frames_is_dated_by_the_used_ones():
    there = (60.0, 80.0, 8.0)
    movie = cases.Movie([*cases.still(5, there), None, None, *cases.still(2), None, None, None, *cases.still(4)])
    e = only(movie.happened())
    # Used frames without it: 7, 8, 12, 13.
    assert (e.kind, e.frame, e.decided_frame) == ("lost", 7, 13)


@pytest.mark.parametrize("frames", [1, 6, 20])
def test_a_blanked_beam_is_no_event(frames):
    movie = cases.blanked(frames)
    ids, events = movie.track()
    assert events == []
    assert ids[-1].tolist() == ids[0].tolist()


def test_blanked_for_too_long_all_are_lost_and_none_dissolves():
    movie = cases.blanked(30)
    movie.frames[:5] = [[(y, x, 5.0 - 0.5 * k) for y, x, _ in movie.frames[0]] for k in range(5)]
    events = movie.happened()
    assert Counter(e.kind for e in events if e.parents) == {"lost": 24}
    assert {e.note for e in events if e.parents} == {"together with most others"}
    assert Counter(e.kind for e in events if not e.parents).total() == 24


def test_the_flag_says_that_most_vanished():
    detector, linker = EventDetector(EventOptions(), cases.SHAPE, 3), OptimalLinker(LinkOptions())
    for index, discs in enumerate(cases.blanked(2).frames):
        measured = cases.measured_of(discs)
        p = measured.particles
        detector.step(index, measured, linker.step(index, np.column_stack([p.y, p.x])))
        assert detector.flags == (("most particles vanished",) if index in {5, 6} else ())


def test_a_burst_of_specks_is_not_a_blanked_beam():
    movie = cases.blanked(0)
    specks = [(5.0 + 10 * i, 5.0 + 8 * j, 1.5) for i in range(11) for j in range(19)]
    movie.frames[4] = [s for s in specks if all((s[0] - y) ** 2 + (s[1] - x) ** 2 > 81 for y, x, _ in movie.frames[0])]
    movie.frames[4] += movie.frames[0]
    linker, detector = OptimalLinker(movie.link), EventDetector(movie.events, movie.shape, 3)
    events = []
    for index, discs in enumerate(movie.frames):
        measured = cases.measured_of(discs)
        p = measured.particles
        events += detector.step(index, measured, linker.step(index, np.column_stack([p.y, p.x])))
        assert detector.flags == ()
    assert {e.frame for e in events} == {4, 5}
    assert {p for e in events for p in e.parents}.isdisjoint(range(24))


def test_a_small_movie_without_particles():
    assert cases.Movie([[], [], []]).happened() == []
    e = only(cases.Movie([[], [], [(60.0, 80.0, 5.0)], [(60.0, 80.0, 5.0)]]).happened())
    assert (e.kind, e.frame, e.decided_frame) == ("appearance", 2, 3)


def test_what_is_there_at_the_start_and_at_the_end_makes_no_event():
    there = (60.0, 80.0, 8.0)
    assert cases.Movie(cases.still(5, there)).happened() == []
    # Unseen for two frames only when the movie ends: it may have been a flicker.
    assert cases.Movie(cases.still(5, there) + cases.still(2)).happened() == []


def test_without_memory_an_end_is_decided_at_once():
    movie = cases.shrinks_away()
    movie.link = LinkOptions(search_range_px=8, memory_frames=0)
    e = only(movie.happened())
    assert (e.kind, e.frame, e.decided_frame) == ("dissolution", 12, 12)


def test_one_that_dissolves_beside_another_has_not_merged():
    frames = [
        cases.still(1, (60.0, 60.0, 16.0), (60.0, 83.0, 4.5 * (1 - k / 16) ** (1 / 3)))[0] for k in range(16)
    ] + cases.still(6, (60.0, 60.0, 16.0))
    e = only(cases.Movie(frames).happened())
    assert (e.kind, e.parents) == ("dissolution", (2,))


def test_one_that_vanishes_beside_another_that_did_not_grow_has_not_merged():
    big = (60.0, 60.0, 14.0)
    e = only(cases.Movie(cases.still(8, big, (60.0, 87.0, 10.0)) + cases.still(6, big)).happened())
    assert (e.kind, e.parents) == ("lost", (2,))


def test_a_merger_beside_a_vanishing_one_takes_only_the_one_that_fits():
    # 2 goes into 1; 3, just as near, is gone in the same frame, but the area is that of 1 and 2.
    a, b, c = (60.0, 60.0, 12.0), (60.0, 80.0, 6.0), (87.0, 60.0, 11.0)
    movie = cases.Movie(cases.still(8, a, b, c) + cases.still(6, (60.0, 61.5, cases.merged_radius(12, 6))))
    kinds = {e.kind: e for e in movie.happened()}
    assert set(kinds) == {"coalescence", "lost"}
    assert kinds["coalescence"].parents == (1, 2)


def test_mergers_one_after_the_other_are_two_events():
    a, b, c = (60.0, 50.0, 12.0), (60.0, 72.0, 8.0), (60.0, 28.5, 7.0)
    ab, abc = cases.merged_radius(12, 8), cases.merged_radius(12, 8, 7)
    movie = cases.Movie(
        cases.still(6, a, b, c) + cases.still(2, (60.0, 51.5, ab), c) + cases.still(8, (60.0, 49.5, abc))
    )
    events = movie.happened()
    assert [(e.kind, e.frame) for e in events] == [("coalescence", 6), ("coalescence", 8)]
    assert events[0].children == events[1].children


def test_sizes_scale_with_binning_and_origin():
    """The same story seen binned and cropped gives the same verdict in camera pixels."""
    from dataclasses import replace

    from insitu.measure import measure
    from insitu.options import MeasureOptions
    from insitu.runs import components, find_runs

    movie, found = cases.merge_fast(), []
    linker, detector = (
        OptimalLinker(LinkOptions(search_range_px=16)),
        EventDetector(EventOptions(contact_gap_px=12, birth_frames=4, contact_frames=3), (240, 320), 3),
    )
    for index, discs in enumerate(movie.frames):
        runs = replace(find_runs(cases.mask_of(discs)), origin=(100, 50), bin=2)
        measured = measure(components(runs), MeasureOptions(min_area_px=1, perimeter=False))
        p = measured.particles
        found += detector.step(index, measured, linker.step(index, np.column_stack([p.y, p.x])))
    e, plain = only(found), only(movie.happened())
    assert e.parent_areas_px == tuple(4 * a for a in plain.parent_areas_px)
    assert e.gap_px == pytest.approx(2 * plain.gap_px)
    assert e.volume_balance == pytest.approx(plain.volume_balance)
    assert (e.y, e.x) == pytest.approx((2 * plain.y + 100.5, 2 * plain.x + 50.5))
    assert not e.touches_edge


# --- what holds always ----------------------------------------------------------------


def busy(seed: int, frames: int = 24, *, calm: bool = False) -> cases.Movie:
    """Discs that move, come, go, grow, shrink, touch and flicker at random; some frames cannot be used, some (not when
    `calm`) lose most particles."""
    rng = np.random.default_rng(seed)
    n = 14
    at, r = rng.random((n, 2)) * cases.SHAPE, rng.uniform(2, 11, n)
    grow, out = rng.normal(0, 0.25, n), []
    for _ in range(frames):
        shown = rng.random(n) < (0.95 if calm or rng.random() < 0.9 else 0.2)
        out.append(None if rng.random() < 0.1 else [(*p, q) for p, q, s in zip(at, r, shown, strict=True) if s])
        at, r = at + rng.normal(0, 2, at.shape), r + grow
        back = r < 1
        at[back], r[back], grow[back] = rng.random((int(back.sum()), 2)) * cases.SHAPE, 2, 0.3
    options = EventOptions(birth_frames=4, contact_frames=2)
    return cases.Movie(out, link=LinkOptions(search_range_px=8, memory_frames=2, blank_frames=2), events=options)


def tracked(
    movie: cases.Movie, cut: int | None = None, composites: set[int] | None = None
) -> tuple[list[list[int]], list[Event]]:
    """Return ids and events; `composites` takes the tracks that only ever stood for several particles in contact."""
    linker = OptimalLinker(movie.link)
    options = (movie.events, movie.shape, movie.link.memory_frames, movie.link.blank_frames)
    detector = EventDetector(*options)
    ids, events = [], []
    for index, discs in enumerate(movie.frames):
        if index == cut:
            states = [{k: v.copy() for k, v in part.state().items()} for part in (linker, detector)]
            assert all(isinstance(v, np.ndarray) and v.dtype.fields is None for s in states for v in s.values())
            linker, detector = OptimalLinker(movie.link), EventDetector(*options)
            linker.restore(states[0])
            detector.restore(states[1])
        if discs is None:
            continue
        measured = cases.measured_of(discs)
        p = measured.particles
        found = linker.step(index, np.column_stack([p.y, p.x]))
        ids.append(found.tolist())
        events += detector.step(index, measured, found)
        for track in [c.track for c in detector.partings if c.only]:
            linker.drop(track)
            if composites is not None:
                composites.add(track)
    if composites is not None:
        composites |= {c.track for c in detector.open_contacts() if c.only}
    return ids, [*events, *detector.finish()]


@pytest.mark.parametrize("world", cases.WORLDS, ids=lambda w: w.__name__)
def test_wherever_a_story_is_cut_it_is_the_same(world):
    movie = world()
    whole = tracked(movie)
    for cut in range(len(movie.frames)):
        assert tracked(movie, cut) == whole


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 23))
def test_wherever_a_busy_movie_is_cut_it_is_the_same(seed, cut):
    movie = busy(seed)
    assert repr(tracked(movie)) == repr(tracked(movie, cut))


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(seed=st.integers(0, 10**6), calm=st.booleans())
def test_every_track_begins_once_and_ends_at_most_once(seed, calm):
    movie = busy(seed, calm=calm)
    composites: set[int] = set()
    ids, events = tracked(movie, composites=composites)
    used = [k for k, discs in enumerate(movie.frames) if discs is not None]
    begun, ended = Counter(), Counter()
    first = {i: frame for frame, there in reversed(list(zip(used, ids, strict=True))) for i in there}
    for e in events:
        assert 0 <= e.confidence <= 1
        assert e.frame <= e.decided_frame
        assert e.frame in used
        assert len(e.parent_areas_px) == len(e.parents)
        # A track may have begun as a speck and go on as the child of a merger, which gets a name of its own.
        begun.update(c for c in set(e.children) - set(e.parents) if e.kind != "coalescence" or first[c] == e.frame)
        ended.update(set(e.parents) - set(e.children))
    assert max([*begun.values(), *ended.values()], default=0) <= 1
    at_start = set(ids[0]) if ids else set()
    everyone = {i for frame in ids for i in frame}
    assert everyone - at_start - composites <= set(begun) <= everyone - at_start
    # Whatever was unseen for longer than the memory has an end; whatever was seen within it has none.
    gone = {i for i in everyone if not any(i in frame for frame in ids[-3:])}
    assert set(ended) <= gone
    if calm:
        assert gone - composites <= set(ended)


def test_events_come_in_order_and_never_before_their_frame():
    for seed in range(5):
        decided = [e.decided_frame for e in tracked(busy(seed))[1]]
        assert decided == sorted(decided)


def test_memory_stays_bounded_over_a_long_movie():
    detector, linker = EventDetector(EventOptions(), cases.SHAPE, 3), OptimalLinker(LinkOptions())
    rng = np.random.default_rng(0)
    sizes = []
    for index in range(400):
        spots = [(y, x, 4.0) for y in (20, 60, 100) for x in (20, 60, 100, 140) if rng.random() < 0.6]
        measured = cases.measured_of(spots)
        p = measured.particles
        detector.step(index, measured, linker.step(index, np.column_stack([p.y, p.x])))
        sizes.append(sum(v.nbytes for v in detector.state().values()))
    assert max(sizes[200:]) <= 1.2 * max(sizes[20:200])


# --- the parts ----------------------------------------------------------------


def outlines(discs: list[cases.Disc], ids: list[int]) -> Outlines:
    m = cases.measured_of(discs)
    p = m.particles
    box = np.stack([p.bbox_y0, p.bbox_x0, p.bbox_y1, p.bbox_x1], axis=1).astype(np.int64)
    return Outlines(m.runs, np.array(ids, np.int64), p.area_px.astype(float), box)


@given(y=st.floats(40, 80), x=st.floats(40, 120), a=st.floats(1, 12), b=st.floats(1, 12), cy=st.floats(40, 80))
def test_the_gap_is_the_distance_of_the_nearest_pixels(y, x, a, b, cy):
    one, two = cases.mask_of([(y, x, a)]), cases.mask_of([(cy, 80.0, b)])
    if not one.any() or not two.any():
        return
    found = outline_gap(outlines([(y, x, a)], [0]), 1, outlines([(cy, 80.0, b)], [0]), 1)
    p, q = np.argwhere(one), np.argwhere(two)
    between = np.maximum(np.abs(p[:, None] - q[None]) - 1, 0)
    assert found == pytest.approx(np.sqrt((between**2).sum(axis=2)).min())


def test_pairs_hold_cover_gap_approach_and_area_of_the_neighbour():
    histories = Histories()
    big, small = [(60.0, 60.0, 12.0)], (60.0, 79.0, 5.0)
    for frame in range(6):
        area = 441.0 + 10 * (-1) ** frame
        columns = np.array([[60.0, 60.0, area, 30.0], [60.0, 85.0 - frame, 81.0, 30.0]])
        if frame == 0:
            histories.add(np.array([7, 9]), frame, columns, unnamed=False)
        else:
            histories.see(histories.rows_of(np.array([7, 9])), frame, columns)
    before, now = outlines([*big, small], [7, 9]), outlines([(60.0, 62.0, 13.0)], [7])
    # Row order in a frame is raster order: the large one comes first.
    pairs = gather(6, lone=before, labels=np.array([2]), other=now, histories=histories, reach=6.0)
    assert len(pairs) == 1
    pair = pairs[0]
    assert (pair["lone"], pair["other"], pair["frame"], bool(pair["fresh"])) == (9, 7, 6, False)
    shared = cases.mask_of([small]) & cases.mask_of([(60.0, 62.0, 13.0)])
    assert pair["cover"] == pytest.approx(shared.sum() / cases.mask_of([small]).sum())
    assert pair["gap"] == pytest.approx(0.0, abs=1.01)
    assert pair["approach"] == pytest.approx(1.0)
    assert (pair["last"], pair["before"]) == (431.0, 431.0)
    assert pair["noise"] == pytest.approx(1.4826 * 20 / np.sqrt(2))
    assert np.isnan(pair["after"]).all()
    for area in (500.0, 510.0, 520.0, 530.0):
        follow(pairs, np.array([3, 7]), np.array([1.0, area]))
    assert pairs["after"][0].tolist() == [500.0, 510.0, 520.0]


def test_what_is_far_is_no_pair():
    before, now = outlines([(60.0, 60.0, 8.0), (60.0, 90.0, 6.0)], [0, 1]), outlines([(60.0, 60.0, 8.0)], [0])
    histories = Histories()
    histories.add(np.array([0, 1]), 0, np.array([[60.0, 60, 200, 20], [60.0, 90, 110, 20]]), unnamed=False)
    assert len(gather(1, lone=before, labels=np.array([2]), other=now, histories=histories, reach=6.0)) == 0
    assert len(gather(1, lone=before, labels=np.array([2]), other=now, histories=histories, reach=16.0)) == 1


def test_closing_speed_uses_common_frames_only():
    a = np.array([[0, 0.0, 0.0, 1], [1, 0.0, 0.0, 1], [3, 0.0, 0.0, 1]])
    b = np.array([[1, 0.0, 10.0, 1], [2, 9.0, 99.0, 1], [3, 0.0, 6.0, 1]])
    assert closing_speed(a, b) == pytest.approx(2.0)
    assert np.isnan(closing_speed(a[:1], b))


def test_agreement_is_full_between_relaxed_and_just_touching():
    options = EventOptions()
    before, absorbed = 400.0, np.array([200.0])
    least = (400**1.5 + 200**1.5) ** (2 / 3)
    for after in (least, 600.0, 700.0):
        assert agreement(before, after, absorbed, 1.0, options)[0] == 1.0
    assert agreement(before, before, absorbed, 1.0, options)[0] == 0.0
    assert agreement(before, 1200.0, absorbed, 1.0, options)[0] == 0.0
    assert agreement(before, least, absorbed, 1.0, options)[1] > 0.95
    assert agreement(before, least, absorbed, 1000.0, options)[1] < 0.1
    assert agreement(0.0, 717.0, np.array([441.0, 441.0]), 4.0, options)[0] == 1.0
    assert agreement(0.0, 441.0, np.array([441.0, 441.0]), 4.0, options)[0] == 0.0


def test_histories_keep_the_last_sightings_in_order_and_ignore_single_outliers():
    histories = Histories()
    histories.add(np.array([5, 2]), 0, np.array([[0.0, 0, 100, 9], [1.0, 1, 50, 9]]), unnamed=True)
    assert histories.tracks["particle"].tolist() == [2, 5]
    assert histories.rows_of(np.array([5, 3, 2])).tolist() == [1, -1, 0]
    for frame in range(1, 12):
        area = 900.0 if frame == 6 else 100.0 + frame
        histories.see(histories.rows_of(np.array([5])), frame, np.array([[0.0, frame, area, 9]]))
    assert histories.sightings(1)[:, 0].tolist() == list(range(12 - RING, 12))
    assert histories.sightings(1, 3)[:, 2].tolist() == [9, 10, 11]
    assert histories.tracks["largest_area"][1] == 110.0
    assert histories.tracks["seen"].tolist() == [1, 12]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=9))
def test_the_median_is_that_of_numpy(values):
    assert median(values) == pytest.approx(np.median(values))


def test_fading_means_small_or_about_to_be():
    def path(areas: list[float]) -> np.ndarray:
        return np.array([[k, 0.0, 0.0, a] for k, a in enumerate(areas)])

    assert fades(path([25.0]), 1, smallest=20)
    assert not fades(path([60.0, 60, 60, 60]), 4, smallest=20)
    steady = [(8000 - 1000 * k) ** (2 / 3) for k in range(7)]
    assert fades(path(steady), 7, smallest=20)
    assert not fades(path(steady[:4]), 4, smallest=20)


def test_a_decline_must_be_surer_than_the_outline():
    def path(areas: list[float]) -> np.ndarray:
        return np.array([[k, 0.0, 0.0, a] for k, a in enumerate(areas)])

    assert declines(path([36, 33, 30]))
    assert declines(path([28, 25.5, 22.5, 20]))
    assert not declines(path([36, 33]))
    assert not declines(path([30, 30, 30]))
    assert not declines(path([30, 33, 36]))
    assert not declines(path([31, 29, 30, 30.5, 29, 30]))
    assert not declines(path([400, 399, 398]))


def test_what_was_seen_to_shrink_from_the_first_frame_on_dissolves_however_short_the_movie():
    shrinking = [cases.still(1, (60.3, 60.3, r))[0] for r in (3.0, 2.9, 2.8)]
    movie = cases.Movie(shrinking + cases.still(8))
    assert [(e.kind, e.frame) for e in movie.happened()] == [("dissolution", 3)]
    steady = cases.Movie(cases.still(3, (60.3, 60.3, 2.8)) + cases.still(8))
    assert [(e.kind, e.frame) for e in steady.happened()] == [("lost", 3)]


def test_frames_of_specks_are_flagged_and_ask_nobody_for_mergers(monkeypatch):
    monkeypatch.setattr("insitu.events.detector.MOST_CHANGES", 20)
    asked = []

    def watched(*args, labels: np.ndarray, **more) -> np.ndarray:
        asked.append(len(labels))
        return gather(*args, labels=labels, **more)

    monkeypatch.setattr("insitu.events.detector.gather", watched)
    y, x = np.mgrid[4:116:6, 4:156:6]
    specks = [(float(a), float(b), 1.0) for a, b in zip(y.ravel(), x.ravel(), strict=True)]
    detector, ids = EventDetector(EventOptions(), cases.SHAPE, 3), iter(range(10**6))
    flags = []
    for discs in ([], specks, specks, specks):  # every frame others
        measured = cases.measured_of([*cases.BYSTANDERS, *discs])
        detector.step(len(flags), measured, np.array([next(ids) for _ in range(len(measured.particles))], np.int64))
        flags.append(detector.flags)
    assert flags[0] == ()
    assert all("too many changes" in f for f in flags[1:])
    assert max(asked) <= 2 < len(specks)


def test_the_worlds_are_what_they_say():
    for world in cases.WORLDS:
        movie = world()
        first = cases.mask_of(movie.frames[0])
        assert ndimage.label(first, np.ones((3, 3)))[1] == len(movie.frames[0])
