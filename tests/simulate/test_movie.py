from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.integrate import solve_ivp

from insitu import schema
from insitu.errors import CommandError
from insitu.simulate import Simulation, SimulationSettings
from insitu.simulate.population import discs, round_particles, volume
from insitu.simulate.world import World, advance, initial_world

BUSY = SimulationSettings(
    shape=(160, 192),
    frames=150,
    particles=30,
    mean_diameter_nm=4.0,
    gap_nm=0.5,
    ripening_rate=60.0,
    diffusion_nm2_per_s=25.0,
    relax_frames=4,
    seed=5,
)
QUIET = replace(
    BUSY, ripening_rate=0.0, diffusion_nm2_per_s=0.0, gradient=0.0, flicker=0.0, support_phase_rad=0.0, support_rms=0.0
)


@pytest.fixture(scope="module")
def busy():
    return Simulation(BUSY)


def test_the_same_seed_gives_the_same_movie_in_any_order(busy):
    other = Simulation(BUSY)
    order = [140, 3, 77, 3, 0]
    frames = {index: other.frame(index) for index in order}
    for index in sorted(set(order)):
        assert np.array_equal(busy.frame(index), frames[index])
        assert np.array_equal(busy.mask(index), other.mask(index))
    assert not np.array_equal(busy.frame(3), Simulation(replace(BUSY, seed=6)).frame(3))
    assert not np.array_equal(busy.frame(3), busy.frame(4))


def test_info_and_length_agree_with_the_frames(busy):
    frame = busy.frame(0)
    assert (frame.shape, frame.dtype, len(busy)) == (busy.info.shape, busy.info.dtype, busy.info.n_frames)
    assert busy.info.calibration.nm_per_px == 0.2
    assert busy.info.calibration.s_per_frame == pytest.approx(1 / 400)
    assert sum(1 for _ in Simulation(replace(BUSY, frames=3))) == 3


def test_volume_is_conserved_through_ripening_dissolution_and_coalescence(busy):
    start, end = busy.world(0), busy.world(149)
    kinds = [e.kind for e in busy.events]
    assert kinds.count("coalescence") >= 3
    assert kinds.count("dissolution") >= 3
    assert len(end.population) < len(start.population)
    assert volume(end.population) == pytest.approx(volume(start.population), rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_radii_of_a_movie_obey_the_law(n):
    movie = Simulation(
        replace(QUIET, ripening_exponent=n, ripening_rate=5.0 * 2.0 ** (n - 2), frames=41, particles=8, gap_nm=4.0)
    )
    start, end = movie.world(0).population, movie.world(40).population
    assert len(start) == len(end)

    def law(_, r):
        critical = (r ** (4 - n)).sum() / (r ** (3 - n)).sum()
        return movie.settings.ripening_rate * r ** (1 - n) * (r / critical - 1)

    exact = solve_ivp(law, (0, 40 / 400), start.radius, rtol=1e-11, atol=1e-13).y[:, -1]
    assert np.abs(exact - start.radius).max() > 0.05
    np.testing.assert_allclose(end.radius, exact, rtol=1e-6)


def test_evaporation_takes_volume_and_deposition_gives_it():
    for field, grows in (("evaporation_nm_per_s", False), ("deposition_nm_per_s", True)):
        movie = Simulation(replace(QUIET, frames=20, **{field: 5.0}))
        before, after = movie.world(0).population, movie.world(19).population
        change = (after.radius[after.particle == 4] - before.radius[before.particle == 4]).item()
        assert change == pytest.approx((1 if grows else -1) * 5.0 * 19 / 400, rel=1e-6)


def test_a_disc_lies_where_the_truth_says():
    movie = Simulation(replace(QUIET, particles=12, contact_angle_deg=180.0, optics="amplitude", contrast_spread=0.0))
    absorbed = -np.log(movie.expected(0).astype(np.float64) / movie.settings.dose_e_per_px)
    truth, mask = movie.truth(0), movie.mask(0)
    inner = np.flatnonzero(~truth["touches_edge"])
    assert len(inner) > 5
    for row in inner:
        y, x, radius = truth["y"][row], truth["x"][row], truth["radius_px"][row]
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        near = np.hypot(rows - y, columns - x) < radius + 1.0
        weight = np.where(near, absorbed, 0.0)
        centre = ndimage.center_of_mass(weight)
        assert np.hypot(centre[0] - y, centre[1] - x) < 0.02
        # what is absorbed is the volume of the sphere over the mean free path
        expected = 4 / 3 * np.pi * radius**3 * movie.settings.nm_per_px / movie.settings.mean_free_path_nm
        assert weight.sum() == pytest.approx(expected, rel=5e-3)


def test_masks_are_the_outlines(busy):
    for index in (0, 60, 120):
        truth, mask = busy.truth(index), busy.mask(index)
        assert truth["label"].tolist() == list(range(1, len(truth["label"]) + 1))
        assert set(np.unique(mask)) - {0} == set(truth["label"])
        rows, columns = np.indices(mask.shape)
        first = [np.flatnonzero(mask == label)[0] for label in truth["label"]]
        assert first == sorted(first)
        for row in np.flatnonzero(~truth["touches_edge"]):
            inside = mask == truth["label"][row]
            # digitising a disc of radius r misses its area by about the root of its rim
            radius = truth["radius_px"][row]
            assert abs(inside.sum() - truth["area_px"][row]) < 3.0 * np.sqrt(2 * np.pi * radius)
            assert abs(rows[inside].mean() - truth["y"][row]) < 0.5 / np.sqrt(radius)
            assert abs(columns[inside].mean() - truth["x"][row]) < 0.5 / np.sqrt(radius)
        border = np.zeros(mask.shape, bool)
        border[[0, -1]] = border[:, [0, -1]] = True
        assert set(np.unique(mask[border])) - {0} == set(truth["label"][truth["touches_edge"]])


def test_particle_masks_and_label_masks_show_the_same(busy):
    truth, names = busy.truth(50), busy.mask(50, "particle")
    labels = busy.mask(50)
    for label, particle in zip(truth["label"], truth["particle"], strict=True):
        assert np.array_equal(labels == label, names == particle)


def test_truth_columns_have_the_names_of_the_schema(busy):
    known = {c.name for c in schema.PARTICLES} | {"radius_px"}
    assert set(busy.truth(0)) <= known
    assert set(busy.tracks()) <= {c.name for c in schema.TRACKS}
    assert {"frame", "time_s", "particle", "y", "x"} <= set(busy.truth(0))
    table = busy.particles()
    assert len(set(zip(table["frame"].tolist(), table["particle"].tolist(), strict=True))) == len(table["frame"])


def outlines(movie, index):
    """Discs of each visible particle at a frame, straight from the world, in px."""
    world, s = movie.world(index), movie.settings
    parts = discs(world.population, index, s.relax_frames)
    found = {}
    for owner, *disc in zip(parts.owner, parts.y, parts.x, parts.radius, strict=True):
        found.setdefault(int(world.population.particle[owner]), []).append(np.array(disc) / s.nm_per_px)
    return found


def test_no_two_outlines_overlap_in_any_frame(busy):
    for index in range(0, 150, 10):
        for (_, a), (_, b) in itertools.combinations(outlines(busy, index).items(), 2):
            assert all(np.hypot(*(p[:2] - q[:2])) >= p[2] + q[2] - 1e-9 for p in a for q in b)


def test_events_match_the_geometry(busy):
    seen = [set(busy.view(index).particle.tolist()) for index in range(150)]
    masks = {}
    assert {e.kind for e in busy.events} >= {"coalescence", "dissolution"}
    for event in busy.events:
        before, now = seen[event.frame - 1], seen[event.frame]
        assert set(event.parents) <= before
        assert not set(event.parents) & now
        assert set(event.children) <= now - before
        if event.kind == "coalescence" and len(event.parents) == 2 and not event.touches_edge:
            after = masks.setdefault(event.frame, busy.mask(event.frame, "particle")) == event.children[0]
            assert ndimage.label(after, np.ones((3, 3)))[1] == 1
            assert event.contact_frame == event.frame
            # two discs in contact have up to 2^1.5 / 2 of the A^1.5 that they had apart
            assert -0.1 < event.volume_balance < np.sqrt(2) - 1 + 0.1
            assert event.gap_px < 15
    # whoever vanishes has an event, and nobody has two
    ended = [p for event in busy.events for p in event.parents if event.kind != "leaving"]
    assert len(ended) == len(set(ended))
    gone = set().union(*(a - b for a, b in itertools.pairwise(seen)))
    assert gone == {p for event in busy.events for p in event.parents}


def test_a_merger_at_once_conserves_the_volume_seen():
    movie = Simulation(replace(BUSY, relax_frames=0, ripening_rate=0.0, seed=8, frames=80))
    merged = [e for e in movie.events if e.kind == "coalescence" and len(e.parents) == 2]
    assert len(merged) > 2
    assert all(abs(e.volume_balance) < 1e-9 for e in merged)


def test_tracks_agree_with_the_rows(busy):
    table, tracks = busy.particles(), busy.tracks()
    for row, particle in enumerate(tracks["particle"]):
        frames = table["frame"][table["particle"] == particle]
        assert (frames.min(), frames.max(), len(frames)) == tuple(
            int(tracks[name][row]) for name in ("first_frame", "last_frame", "length")
        )
    assert set(tracks["particle"].tolist()) == set(table["particle"].tolist())
    assert set(tracks["fate"]) >= {"end", "coalescence", "dissolution"}


def pair(settings, gap_nm, speed=0.0):
    """Two particles on a straight line, `gap_nm` between their outlines."""
    population = round_particles(
        np.array([1, 2]), np.array([16.0, 16.0]), np.array([12.0, 12.0 + 5.0 + gap_nm]), np.array([3.0, 2.0])
    )
    return World(0, population, 3)


def test_a_pair_becomes_round_with_its_volume_and_its_centre():
    settings = replace(QUIET, relax_frames=8, frames=12)
    state = advance(pair(settings, -0.01), settings)
    assert state.merged == ((1, 2, 3),)
    assert state.population.particle.tolist() == [3]
    widths = []
    for _ in range(10):
        parts = discs(state.population, state.frame, settings.relax_frames)
        volumes = 4 / 3 * np.pi * parts.radius**3
        if len(parts.y) == 2:
            # union of two overlapping spheres, by counting
            z, y, x = np.mgrid[-6:6:60j, 8:24:80j, 5:25:100j]
            cell = 12 / 59 * 16 / 79 * 20 / 99
            inside = np.zeros(z.shape, bool)
            for cy, cx, r in zip(parts.y, parts.x, parts.radius, strict=True):
                inside |= (z**2 + (y - cy) ** 2 + (x - cx) ** 2) < r * r
            volumes = np.array([inside.sum() * cell])
        assert volumes.sum() == pytest.approx(4 / 3 * np.pi * (27 + 8), rel=0.02)
        widths.append(np.ptp(np.concatenate([parts.x - parts.radius, parts.x + parts.radius])))
        state = advance(state, settings)
    assert widths[0] == pytest.approx(10.0, abs=0.1)
    assert widths[-1] == pytest.approx(2 * 35 ** (1 / 3), rel=1e-6)
    assert (np.diff(widths) <= 1e-6).all()
    centre = (27 * 12.0 + 8 * 16.99) / 35
    assert state.population.x[0] == pytest.approx(centre, rel=1e-9)


def test_particles_that_do_not_touch_stay_apart():
    settings = replace(QUIET, frames=3)
    assert advance(pair(settings, 0.01), settings).merged == ()


def test_particles_migrate_as_stated():
    settings = replace(
        QUIET, shape=(512, 512), particles=60, diffusion_nm2_per_s=30.0, diffusion_exponent=0.0, seed=1, frames=60
    )
    movie = Simulation(settings)
    squares = []
    for index in range(40):
        a, b = movie.world(index).population, movie.world(index + 1).population
        both, i, j = np.intersect1d(a.particle, b.particle, return_indices=True)
        squares.append((b.y[j] - a.y[i]) ** 2 + (b.x[j] - a.x[i]) ** 2)
        assert len(both) > 40
    assert np.concatenate(squares).mean() == pytest.approx(4 * 30.0 / 400, rel=0.06)


def test_nuclei_are_born_at_the_stated_rate_and_grow():
    settings = replace(
        QUIET, particles=0, nucleation_per_um2_s=4e5, deposition_nm_per_s=8.0, nucleus_diameter_nm=0.8, frames=60
    )
    movie = Simulation(settings)
    y0, x0, y1, x1 = (v / 1e3 for v in _box(settings))
    expected = 4e5 * 59 / 400 * (y1 - y0) * (x1 - x0)
    born = movie.world(59).next_particle - 1 + sum(len(movie.world(i).merged) for i in range(60)) * -1
    assert born == pytest.approx(expected, rel=0.25)
    nucleated = [e for e in movie.events if e.kind == "nucleation"]
    assert len(nucleated) > 10
    # they are born below the visible size and their event is the frame in which they reach it
    assert all(16 <= e.child_areas_px[0] <= 30 for e in nucleated if not e.touches_edge)


def _box(settings):
    from insitu.simulate.world import box_nm

    return box_nm(settings)


def test_drift_moves_the_picture_and_brings_particles_in_and_out():
    settings = replace(QUIET, drift_nm_per_s=(0.0, 80.0), frames=100, margin_nm=None)
    movie = Simulation(settings)
    assert movie.drift_px[99, 1] == pytest.approx(99 / 400 * 80 / 0.2)
    start, end = movie.truth(0), movie.truth(10)
    _, i, j = np.intersect1d(start["particle"], end["particle"], return_indices=True)
    np.testing.assert_allclose(end["x"][j] - start["x"][i], 10.0, atol=1e-9)
    assert {e.kind for e in movie.events} == {"entering", "leaving"}
    # the grain of the support moves along
    textured = Simulation(replace(settings, particles=0, support_rms=0.05, support_phase_rad=0.1))
    np.testing.assert_allclose(textured.expected(10)[:, 30:], textured.expected(0)[:, 20:-10], rtol=2e-3)


def test_stage_jumps_come_when_stated():
    movie = Simulation(replace(QUIET, drift_jump_nm=3.0, drift_jump_every=25, frames=80))
    moved = np.flatnonzero(np.hypot(*np.diff(movie.drift_px, axis=0).T) > 0) + 1
    assert moved.tolist() == [25, 50, 75]


def test_dose_flicker_and_mode():
    quiet = Simulation(replace(QUIET, particles=0, dose_e_per_px=30.0, mtf_nyquist=1.0, readout_counts=0.0))
    counts = quiet.frame(0).astype(float) - quiet.settings.offset
    assert counts.mean() / (counts.var() / counts.mean()) == pytest.approx(30.0, rel=0.03)
    levels = [
        Simulation(replace(QUIET, particles=0, flicker=0.1, frames=60)).frame(i).mean() - QUIET.offset
        for i in range(60)
    ]
    assert np.std(levels) / np.mean(levels) == pytest.approx(0.1, rel=0.3)
    for mode, sign in (("bright-field", -1), ("dark-field", 1)):
        movie = Simulation(replace(QUIET, mode=mode))
        image, mask = movie.expected(0), movie.mask(0) > 0
        assert sign * (image[mask].mean() - image[~mask].mean()) > 0.1 * image.mean()


def test_small_pixels_are_clipped_in_eight_bits():
    movie = Simulation(replace(QUIET, dtype="uint8", gain=20.0, offset=0.0))
    frame = movie.frame(0)
    assert frame.dtype == np.uint8
    assert frame.max() == 255
    assert (frame == 0).mean() < 0.01


def test_impossible_settings_are_refused():
    for fields, word in (
        ({"frames": 0}, "frames"),
        ({"dose_e_per_px": float("nan")}, "dose_e_per_px"),
        ({"mean_diameter_nm": 0.5}, "dissolution"),
        ({"shape": (4, 4)}, "too small"),
        ({"ripening_exponent": 5}, "ripening_exponent"),
    ):
        with pytest.raises(CommandError, match=word):
            Simulation(**fields)
    with pytest.raises(CommandError, match="no room"):
        initial_world(replace(BUSY, particles=400))
    with pytest.raises(IndexError):
        Simulation(BUSY).frame(150)
