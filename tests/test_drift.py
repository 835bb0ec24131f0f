"""The stage moves: voting before linking, the cumulative shift, gaps, and what is said of the particles meanwhile."""

from __future__ import annotations

import cases_events as cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu.link import compiled_shifts, plain_shifts
from insitu.link import drift as drift_module
from insitu.link import linker as linker_module
from insitu.link.drift import Compass, vote
from insitu.link.linker import OptimalLinker
from insitu.options import EventOptions, LinkOptions
from insitu.tracker import Tracker
from insitu.types import Frame, Header


def scattered(n: int, seed: int = 0, size: float = 600.0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 2)) * size


@pytest.mark.parametrize("n", [5, 12, 100, 2000])
@pytest.mark.parametrize("step", [(25.0, 0.0), (-18.0, 40.0), (6.0, -5.0)])
def test_the_vote_finds_the_step_of_the_stage(n, step):
    rng = np.random.default_rng(1)
    before = scattered(n, size=600.0 if n <= 100 else 1800.0)
    found = vote(before, rng.permutation(before + step + rng.normal(0, 0.3, before.shape)), 60.0, 15.0)
    np.testing.assert_allclose(found, step, atol=1.0 if n < 50 else 0.3)


def test_the_vote_stands_what_was_missed_and_what_is_new():
    rng = np.random.default_rng(2)
    before, after = scattered(100), scattered(100) + np.array([25.0, 10.0])
    after = np.concatenate([after[rng.random(100) < 0.8], rng.random((20, 2)) * 600])
    np.testing.assert_allclose(vote(before, after, 60.0, 15.0), (25.0, 10.0), atol=0.5)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_few_particles_say_nothing_of_the_stage(n):
    assert vote(scattered(n), scattered(n) + 20.0, 60.0, 15.0) is None


@pytest.mark.parametrize("seed", range(20))
def test_another_field_of_view_is_no_step(seed):
    for n in (8, 30, 300):
        assert vote(scattered(n, seed), scattered(n, seed + 100), 100.0, 15.0) is None


def test_on_a_lattice_no_step_is_preferred_to_one_of_a_period():
    lattice = np.stack(np.meshgrid(np.arange(12) * 20.0, np.arange(12) * 20.0), -1).reshape(-1, 2)
    assert vote(lattice, lattice, 60.0, 15.0).tolist() == [0.0, 0.0]
    np.testing.assert_allclose(vote(lattice, lattice + 6.0, 60.0, 15.0), (6.0, 6.0))


def test_a_stage_at_rest_has_no_drift_and_a_moving_one_the_right_one():
    rng = np.random.default_rng(3)
    at = scattered(60)
    for speed in (0.0, 0.05, 2.0):
        linker = OptimalLinker(LinkOptions())
        for index in range(200):
            linker.step(index, at + speed * index + rng.normal(0, 0.1, at.shape))
        expected = (0.0, 0.0) if speed == 0 else (speed * 199, speed * 199)
        np.testing.assert_allclose(linker.drift, expected, atol=0.0 if speed == 0 else 0.3)


def test_jumps_keep_identities_and_are_not_found_when_turned_off():
    at = scattered(80)
    for reach, kept in ((100.0, True), (0.0, False)):
        linker = OptimalLinker(LinkOptions(drift_range_px=reach))
        first = linker.step(0, at)
        for index in range(1, 30):
            ids = linker.step(index, at + 25.0 * (index // 10))
        assert (ids.tolist() == first.tolist()) == kept
        np.testing.assert_allclose(linker.drift, 50.0 * kept, atol=0.1)


def test_wherever_a_drifting_movie_is_cut_it_is_the_same():
    rng = np.random.default_rng(4)
    at, seen = scattered(40), []
    for index in range(30):
        at = at + rng.normal(0, 1, at.shape)
        seen.append((at + 0.7 * index + 30.0 * (index // 8))[rng.random(40) < 0.95])

    def run(cut: int) -> list[tuple[list[int], tuple[float, float]]]:
        linker, out = OptimalLinker(LinkOptions()), []
        for index, positions in enumerate(seen):
            if index == cut:
                state = {name: values.copy() for name, values in linker.state().items()}
                linker = OptimalLinker(LinkOptions())
                linker.restore(state)
            out.append((linker.step(index, positions).tolist(), linker.drift))
        return out

    whole = run(-1)
    assert max(d[0] for _, d in whole) > 80
    for cut in range(1, 30):
        assert run(cut) == whole


def test_the_compass_forgets_no_drift_when_its_particles_are_replaced():
    compass, rng = Compass(100.0, 15.0), np.random.default_rng(5)
    ids, at = np.arange(40), scattered(40)
    before = at
    for index in range(400):
        gone = rng.random(40) < 0.02
        ids = np.where(gone, ids.max() + 1 + np.arange(40), ids)
        at[gone] = rng.random((int(gone.sum()), 2)) * 600
        raw = at + 0.2 * index + rng.normal(0, 0.2, at.shape)
        compass.settle(ids, raw, (raw - before)[~gone])
        before = raw
    np.testing.assert_allclose(compass.shift, 0.2 * 399, atol=1.0)


def walkers(n: int, frames: int, seed: int) -> list[np.ndarray]:
    """Particles that wander by 1 px a frame, each by itself, 1 % replaced in each frame."""
    rng = np.random.default_rng(seed)
    at, seen = rng.random((n, 2)) * 1800, []
    for _ in range(frames):
        seen.append(at + rng.normal(0, 0.2, at.shape))
        at = at + rng.normal(0, 1, at.shape)
        new = rng.random(n) < 0.01
        at[new] = rng.random((int(new.sum()), 2)) * 1800
    return seen


def drift_of(seen: list[np.ndarray], **options: float) -> np.ndarray:
    linker, drift = OptimalLinker(LinkOptions(**options)), []
    for index, positions in enumerate(seen):
        linker.step(index, positions)
        drift.append(linker.drift)
    return np.array(drift)


@pytest.mark.parametrize("n", [8, 20, 100])
@pytest.mark.parametrize("seed", range(4))
def test_what_particles_wander_by_themselves_is_no_drift(n, seed):
    assert not drift_of(walkers(n, 400, seed), search_range_px=10).any()


@pytest.mark.parametrize("n", [20, 100])
def test_among_wandering_particles_a_drift_is_found_as_well_as_it_can_be(n):
    moved = 0.3 * np.arange(300)[:, None]
    movies = [[p + m for p, m in zip(walkers(n, 300, seed), moved, strict=True)] for seed in range(3)]
    worst = [np.abs(drift_of(seen) - moved).max() for seen in movies]
    # Medians of n steps of 1 px add up to 1.25 √(300 / n): a little more, as particles are lost on the way.
    assert max(worst) < 3 * 1.25 * np.sqrt(300 / n)


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_that_wander_a_little_together_are_no_stage(seed):
    together = np.random.default_rng(seed + 50).normal(0, 0.08, (300, 2)).cumsum(axis=0)
    seen = [p + m for p, m in zip(walkers(300, 300, seed), together, strict=True)]
    assert not drift_of(seen, search_range_px=10).any()


@pytest.mark.parametrize("noise", [0, 8])
def test_a_jump_while_the_beam_is_blanked_is_found_by_those_seen_before(noise):
    rng = np.random.default_rng(7)
    at = scattered(40)
    seen = [at + rng.normal(0, 0.1, at.shape) for _ in range(5)]
    seen += [rng.random((noise, 2)) * 600 for _ in range(3)]
    seen += [at + np.array([20.0, -30.0]) + rng.normal(0, 0.1, at.shape) for _ in range(5)]
    linker = OptimalLinker(LinkOptions(search_range_px=8))
    ids = [linker.step(index, positions) for index, positions in enumerate(seen)]
    assert ids[-1].tolist() == ids[0].tolist()
    np.testing.assert_allclose(linker.drift, (20.0, -30.0), atol=0.1)


def test_a_new_field_of_view_that_drifts_is_followed_at_once():
    # While the particles of before are still waited for, those of the last frame tell of the stage.
    first, then = scattered(30), scattered(30, seed=1) + 2000.0
    seen = [first] * 5 + [then + 21.0 * k for k in range(10)]
    drift = drift_of(seen, search_range_px=8)
    np.testing.assert_allclose(np.diff(drift, axis=0)[5:], 21.0, atol=1e-9)


def flat(value: object) -> np.ndarray:
    """All numbers of nested tuples and arrays, in order."""
    return np.concatenate([flat(v) for v in value]) if isinstance(value, tuple) else np.ravel(value)


@given(seed=st.integers(0, 10**6), n=st.integers(0, 60), m=st.integers(1, 60), whole=st.booleans())
def test_compiled_medians_are_those_of_numpy(seed, n, m, whole):
    rng = np.random.default_rng(seed)
    a, b = rng.random((n, 2)) * 40, rng.random((m, 2)) * 40
    if whole:
        a, b = np.round(a), np.round(b)
    ids, key_ids = rng.permutation(80)[:n], np.sort(rng.permutation(80)[:m])
    far = key_ids * 10**9 if seed % 3 == 0 else key_ids
    for name, arguments in {
        "middle": (a,),
        "common": (a, a.mean(axis=0) if n else np.zeros(2), 12.0),
        "since": (ids * 10**9 if seed % 3 == 0 else ids, a, far, b),
        **({"steps_within": (a, b, 9.0), "near": (a, b, 9.0), "voters": (n, b, 30.0)} if n else {}),
    }.items():
        mine, theirs = (flat(getattr(home, name)(*arguments)) for home in (compiled_shifts, plain_shifts))
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


def test_without_numba_ids_and_drift_are_the_same(monkeypatch):
    rng = np.random.default_rng(8)
    at, seen = scattered(60), []
    for index in range(40):
        at = at + rng.normal(0, 1, at.shape)
        seen.append((at + 0.7 * index + 30.0 * (index // 8))[rng.random(60) < 0.9])

    def run() -> list[tuple[list[int], tuple[float, float]]]:
        moving = OptimalLinker(LinkOptions(search_range_px=10))
        return [(moving.step(index, positions).tolist(), moving.drift) for index, positions in enumerate(seen)]

    compiled = run()
    monkeypatch.setattr(drift_module, "_shifts", lambda: plain_shifts)
    monkeypatch.setattr(linker_module, "find_spec", lambda name: None)
    assert run() == compiled
    assert compiled[-1][1][0] > 100


# --- gaps ----------------------------------------------------------------


def test_the_search_range_widens_with_the_frames_that_could_not_be_used():
    apart = scattered(4)
    for gap, linked in ((0, False), (3, True)):
        linker = OptimalLinker(LinkOptions(search_range_px=10))
        first = linker.step(0, apart)
        ids = linker.step(1 + gap, apart + np.array([0.0, 18.0]))
        assert (ids.tolist() == first.tolist()) == linked
    linker = OptimalLinker(LinkOptions(search_range_px=10), frame_step=4)
    first = linker.step(0, apart)
    assert not set(linker.step(4, apart + np.array([0.0, 18.0]))) & set(first)


def frame(index: int, time_s: float | None = None) -> Frame:
    return Frame(index, None, "ok", (), Header("movie", index), time_s)


@pytest.mark.parametrize(
    ("link", "rate", "ends"),
    [
        (LinkOptions(max_gap_frames=5), None, False),
        (LinkOptions(max_gap_frames=4), None, True),
        (LinkOptions(max_gap_s=0.05), None, False),
        (LinkOptions(max_gap_s=0.05), 0.01, True),
        (LinkOptions(max_gap_s=0.061, max_gap_frames=0), 0.01, False),
    ],
)
def test_a_gap_that_is_too_long_ends_all_tracks_as_lost(link, rate, ends):
    tracker = Tracker(link, EventOptions(), cases.SHAPE)
    # It shrinks: without a gap its end would be a dissolution.
    frames = [[(30.0, 30.0, 8.0), (60.0, 100.0, 9.0 - index)] for index in range(4)]
    results = []
    for index, discs in [*enumerate(frames), *((k, frames[0][:1]) for k in range(9, 20))]:
        seen = frame(index, None if rate is None else rate * index)
        results += tracker.step(seen, cases.measured_of(discs), None, ())
    results += tracker.flush()
    events = [e for r in results for e in r.events] + list(tracker.finish())
    if ends:
        assert [(e.kind, e.frame, e.parents) for e in events] == [("lost", 9, (0,)), ("lost", 9, (1,))]
        assert events[0].note == "nothing was seen between frames 3 and 9"
        assert results[-1].ids.tolist() == [2]
    else:
        assert [(e.kind, e.frame, e.parents) for e in events] == [("dissolution", 9, (1,))]
        assert results[-1].ids.tolist() == [0]


# --- events on a moving stage ----------------------------------------------------------------


def crowd_with_story() -> list[list[cases.Disc]]:
    """Thirteen that rest, one that merges within a frame, one that shrinks away, while the stage jumps."""
    rest = [(40.0 + 60 * i, 60.0 + 60 * j, 8.0) for i in range(3) for j in range(4)]
    frames = []
    for k in range(24):
        discs = list(rest)
        if k < 12:
            discs.append((60.0 + 12 * (1 - k / 12), 285.0, 10 * (1 - k / 12) ** (1 / 3) + 0.01))
        discs += [(190.0, 290.0, 12.0), (190.0, 312.0, 8.0)] if k < 10 else [(190.0, 293.0, cases.merged_radius(12, 8))]
        shift = 30.0 * (k >= 10)
        frames.append([(y + shift, x + shift, r) for y, x, r in discs])
    return frames


def test_a_jump_makes_no_event_and_hides_none():
    shape = (260, 380)
    linker, detector = OptimalLinker(LinkOptions()), cases.EventDetector(EventOptions(), shape, 3)
    events = []
    for index, discs in enumerate(crowd_with_story()):
        measured = cases.measured_of(discs, shape)
        p = measured.particles
        ids = linker.step(index, np.column_stack([p.y, p.x]))
        events += detector.step(index, measured, ids, linker.drift)
    events.sort(key=lambda e: e.frame)
    assert [(e.kind, e.frame) for e in events] == [("coalescence", 10), ("dissolution", 12)]
    assert events[0].y == pytest.approx(220.0, abs=2)
    np.testing.assert_allclose(linker.drift, (30.0, 30.0), atol=0.2)
