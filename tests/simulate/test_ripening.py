from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from insitu.simulate.ripening import Ripening, critical_radius, ripen, self_similar_radii


def reference(radii, duration, law):
    """The law as it is written, in r, by scipy; a particle at its minimal radius ends and its volume is shared out."""
    n, radii, start = law.exponent, np.array(radii, float), 0.0

    def slope(_, r):
        growth = law.flux_nm_per_s * np.ones_like(r)
        return growth + law.rate * r ** (1.0 - n) * (r / critical_radius(r, n) - 1.0) if law.rate else growth

    def ends(_, r):
        return float(r.min() - law.minimum_nm)

    ends.terminal, ends.direction = True, -1
    alive, out = np.arange(len(radii)), np.zeros(len(radii))
    while True:
        done = solve_ivp(slope, (start, duration), radii, rtol=1e-10, atol=1e-12, events=ends)
        radii, start = done.y[:, -1], done.t[-1]
        if done.status == 0:
            out[alive] = radii
            return out
        gone = int(np.argmin(radii))
        volume = radii[gone] ** 3
        alive, radii = np.delete(alive, gone), np.delete(radii, gone)
        share = radii ** (4.0 - n)
        radii = np.cbrt(radii**3 + (volume if law.rate else 0.0) * share / share.sum())


@pytest.mark.parametrize("n", [2, 3, 4])
def test_radii_obey_the_law_without_dissolution(n):
    radii, law = np.array([2.0, 2.5, 3.0, 3.6]), Ripening(n, 1.0, minimum_nm=0.1)
    exact = reference(radii, 1.5, law)
    assert (exact > 0).all()
    assert np.abs(exact - radii).max() > 0.02
    np.testing.assert_allclose(ripen(radii, 1.5, law), exact, rtol=1e-6)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_radii_obey_the_law_through_dissolutions(n):
    radii, law = np.array([1.0, 1.4, 2.0, 2.2, 3.0, 3.6]), Ripening(n, 1.0, minimum_nm=0.25)
    exact = reference(radii, 2.0 * 1.6 ** (n - 2), law)
    assert 0 < (exact == 0).sum() < 5
    np.testing.assert_allclose(ripen(radii, 2.0 * 1.6 ** (n - 2), law), exact, rtol=2e-5)


@pytest.mark.parametrize("flux", [-0.8, 0.8])
def test_evaporation_and_deposition_beside_ripening(flux):
    radii, law = np.array([1.0, 2.0, 3.0]), Ripening(3, 0.5, flux, 0.25)
    np.testing.assert_allclose(ripen(radii, 0.9, law), reference(radii, 0.9, law), rtol=2e-5)


def test_pure_evaporation_is_linear_in_time():
    left = ripen(np.array([0.5, 1.0, 2.0]), 0.6, Ripening(3, 0.0, -1.0, 0.25))
    np.testing.assert_allclose(left, [0.0, 0.4, 1.4], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.3, 8.0), min_size=1, max_size=25), st.sampled_from([2, 3, 4]), st.floats(0.01, 30.0))
def test_volume_is_conserved_whatever_dissolves(radii, n, duration):
    radii = np.array(radii)
    after = ripen(radii, duration, Ripening(n, 1.0, minimum_nm=0.25))
    assert np.sum(after**3) == pytest.approx(np.sum(radii**3), rel=1e-9)
    # the order of sizes never changes
    assert (np.diff(after[np.argsort(radii, kind="stable")]) >= -1e-9).all()


def test_one_step_or_many_give_the_same():
    rng = np.random.default_rng(0)
    radii, law = rng.uniform(0.5, 4.0, 40), Ripening(3, 1.0)
    whole = ripen(radii, 4.0, law)
    parts = radii
    for _ in range(100):
        alive = parts > 0
        stepped = np.zeros(40)
        stepped[alive] = ripen(parts[alive], 0.04, law)
        parts = stepped
    assert (whole == 0).sum() > 3
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


GOLDEN = {2: (0.5, 8 / 9, 0.3536), 3: (4 / 9, 1.0, 0.2151), 4: (27 / 64, 1.0338, 0.1520)}
"""d(r*^n)/dt / k, ⟨r⟩/r* and std/mean of the self-similar state (Lifshitz–Slyozov–Wagner theory for each n)."""


@pytest.mark.parametrize(("n", "count"), [(2, 3000), (3, 2500), (4, 900)])
def test_a_large_population_coarsens_at_the_theoretical_rate(n, count):
    radii = self_similar_radii(np.random.default_rng(n), count, n)
    law = Ripening(n, 1.0, minimum_nm=0.15)
    times, critical = [0.0], [critical_radius(radii, n)]
    while len(radii) > count / 4:
        duration = 0.2 * critical[-1] ** n
        radii = ripen(radii, duration, law)
        radii = radii[radii > 0]
        times.append(times[-1] + duration)
        critical.append(critical_radius(radii, n))
    rate, mean, spread = GOLDEN[n]
    measured = np.polyfit(times, np.array(critical) ** n, 1)[0]
    assert measured == pytest.approx(rate, rel=0.05)
    assert radii.mean() / critical[-1] == pytest.approx(mean, rel=0.03)
    assert radii.std() / radii.mean() == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_self_similar_distribution_has_its_moments(n):
    u = self_similar_radii(np.random.default_rng(5), 200_000, n)
    assert u.mean() == pytest.approx(GOLDEN[n][1], rel=5e-3)
    assert u.std() / u.mean() == pytest.approx(GOLDEN[n][2], rel=0.01)
    assert u.max() < n / (n - 1)
    assert critical_radius(u, n) == pytest.approx(1.0, rel=5e-3)
