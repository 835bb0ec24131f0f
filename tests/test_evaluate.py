from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

from insitu import evaluate
from insitu.evaluate import events, links, objects

COLUMNS = ["frame", "particle", "y", "x", "equivalent_diameter_px", "touches_edge"]


def particles(*rows):
    """Rows (frame, particle, y, x[, diameter[, edge]])."""
    full = [(*row, *(10.0, False)[len(row) - 4 :]) for row in rows]
    return pd.DataFrame(full, columns=COLUMNS).astype({"frame": "int32", "particle": "int64", "touches_edge": bool})


def happened(*rows):
    return pd.DataFrame(list(rows), columns=["kind", "frame", "y", "x"])


def scored(truth, found, **options):
    matching = objects.match(truth, found, **options)
    return objects.score(truth, found, matching)


def test_a_perfect_result_scores_one_everywhere():
    table = particles((0, 1, 10, 10), (0, 2, 50, 50), (1, 1, 11, 10), (1, 2, 50, 51))
    result = scored(table, table)
    assert (result.precision, result.recall, result.f1) == (1, 1, 1)
    assert (result.radius_bias_px, result.radius_rms_px, result.centroid_rms_px) == (0, 0, 0)


def test_a_missed_and_a_false_particle_are_counted_apart():
    truth = particles((0, 1, 10, 10), (0, 2, 50, 50), (0, 3, 80, 80))
    found = particles((0, 7, 10, 10), (0, 8, 50, 50), (0, 9, 20, 90), (0, 4, 90, 20))
    result = scored(truth, found)
    assert (result.matched, result.missed, result.false) == (2, 1, 2)
    assert result.precision == pytest.approx(2 / 4)
    assert result.recall == pytest.approx(2 / 3)
    assert result.f1 == pytest.approx(4 / 7)


def test_a_duplicate_is_one_match_and_one_false():
    truth = particles((0, 1, 10, 10))
    found = particles((0, 7, 10, 12), (0, 8, 10, 11))
    matching = objects.match(truth, found)
    assert matching.found.tolist() == [1]  # the nearer one
    assert matching.false.tolist() == [0]


def test_the_most_pairs_win_over_the_nearest_pair():
    # greedy would pair truth 1 with found 8 (distance 1) and leave truth 2 alone
    truth = particles((0, 1, 10, 10), (0, 2, 10, 14))
    found = particles((0, 7, 10, 6), (0, 8, 10, 11))
    matching = objects.match(truth, found, gate_px=4.0)
    assert sorted(zip(matching.truth.tolist(), matching.found.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_the_gate_is_the_larger_of_three_pixels_and_the_true_radius():
    small = particles((0, 1, 10, 10, 2.0))
    large = particles((0, 1, 10, 10, 20.0))
    off = particles((0, 1, 10, 13.5))
    assert scored(small, off).matched == 0
    assert scored(large, off).matched == 1
    assert scored(large, particles((0, 1, 10, 20.5))).matched == 0


def test_frames_do_not_mix():
    assert scored(particles((0, 1, 10, 10)), particles((1, 1, 10, 10))).f1 == 0


def test_size_and_place_errors_have_their_units_and_sign():
    truth = particles((0, 1, 10, 10, 20.0), (0, 2, 50, 50, 40.0))
    found = particles((0, 1, 13, 14, 24.0), (0, 2, 50, 50, 40.0))
    result = scored(truth, found, gate_px=6.0)
    assert result.radius_bias_px == pytest.approx((2 + 0) / 2)
    assert result.radius_rms_px == pytest.approx(math.sqrt((2**2 + 0) / 2))
    assert result.radius_bias_percent == pytest.approx((20 + 0) / 2)
    assert result.radius_rms_percent == pytest.approx(math.sqrt(20**2 / 2))
    assert result.centroid_rms_px == pytest.approx(math.sqrt(25 / 2))


def test_small_and_edge_particles_are_neither_right_nor_wrong():
    truth = particles((0, 1, 10, 10, 4.0), (0, 2, 0, 50, 12.0, True), (0, 3, 50, 50), (0, 4, 99, 99, 12.0, True))
    found = particles((0, 1, 10, 10, 4.0), (0, 2, 1, 50, 8.0, True), (0, 3, 50, 50), (0, 9, 0, 90, 8.0, True))
    result = scored(truth, found, min_diameter_px=5.0)
    assert (result.matched, result.missed, result.false) == (1, 0, 0)
    assert (result.truth_aside, result.found_aside) == (3, 3)
    assert result.settings["min_diameter_px"] == 5.0


def test_a_found_particle_cut_by_the_border_is_a_match_but_not_a_size():
    truth = particles((0, 1, 8, 50, 10.0))
    found = particles((0, 1, 8, 50, 14.0, True))
    result = scored(truth, found)
    assert result.matched == 1
    assert math.isnan(result.radius_bias_px)


@pytest.mark.parametrize("which", ["truth", "found", "both"])
def test_empty_tables(which):
    one = particles((0, 1, 10, 10))
    truth = one.iloc[:0] if which != "found" else one
    found = one.iloc[:0] if which != "truth" else one
    result = scored(truth, found)
    assert result.matched == 0
    assert math.isnan(result.f1) is (which == "both")
    assert math.isnan(result.recall) is (which != "found")
    assert links.score(truth, found, objects.match(truth, found)).truth == 0


def test_the_assignment_equals_the_best_of_all_permutations():
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.uniform(0, 30, (4, 2)), rng.uniform(0, 30, (4, 2))
        truth = particles(*((0, i, *p) for i, p in enumerate(a)))
        found = particles(*((0, i, *p) for i, p in enumerate(b)))
        matching = objects.match(truth, found, gate_px=8.0)
        best = max(
            ((sum(d <= 8.0 for d in dist), -sum(d for d in dist if d <= 8.0)))
            for p in itertools.permutations(range(4))
            for dist in [[float(np.hypot(*(a[i] - b[j]))) for i, j in enumerate(p)]]
        )
        assert (len(matching.truth), -matching.distance_px.sum()) == pytest.approx(best)


def walk(*frames):
    """Frames of {id: (y, x)}."""
    return particles(*((t, i, *place) for t, frame in enumerate(frames) for i, place in frame.items()))


def linked(truth, found):
    return links.score(truth, found, objects.match(truth, found))


TWO = walk({1: (10, 10), 2: (30, 30)}, {1: (10, 11), 2: (30, 31)}, {1: (10, 12), 2: (30, 32)})


def test_ids_may_have_other_numbers():
    found = TWO.assign(particle=TWO["particle"] + 40)
    result = linked(TWO, found)
    assert (result.precision, result.recall, result.switches, result.whole_tracks) == (1, 1, 0, 1)


def test_swapped_ids_break_one_link_of_each_track():
    found = TWO.copy()
    last = found["frame"] == 2
    found.loc[last, "particle"] = found.loc[last, "particle"].map({1: 2, 2: 1})
    result = linked(TWO, found)
    assert (result.truth, result.found, result.right, result.switches) == (4, 4, 2, 2)
    assert (result.precision, result.recall, result.whole_tracks) == (0.5, 0.5, 0)


def test_a_track_that_breaks_costs_recall_but_not_precision():
    found = TWO.copy()
    found.loc[(found["frame"] == 2) & (found["particle"] == 1), "particle"] = 99
    result = linked(TWO, found)
    assert result.precision == 1
    assert result.recall == pytest.approx(3 / 4)
    assert result.whole_tracks == 0.5


def test_one_id_for_two_particles_costs_precision():
    truth = walk({1: (10, 10)}, {2: (30, 30)})
    found = walk({5: (10, 10)}, {5: (30, 30)})
    result = linked(truth, found)
    assert (result.truth, result.found, result.right) == (0, 1, 0)


def test_a_frame_in_which_a_particle_was_not_found_is_no_linking_error():
    found = TWO[~((TWO["frame"] == 1) & (TWO["particle"] == 1))].reset_index(drop=True)
    result = linked(TWO, found)
    assert (result.truth, result.right, result.recall) == (3, 3, 1)


def test_row_order_does_not_matter():
    shuffled = TWO.sample(frac=1, random_state=1)
    assert linked(shuffled, TWO.sample(frac=1, random_state=2)) == linked(TWO, TWO)


def test_events_match_within_frames_and_distance_only():
    truth = happened(("coalescence", 50, 10, 10), ("coalescence", 80, 10, 10))
    found = happened(("coalescence", 53, 12, 10), ("coalescence", 90, 10, 10), ("dissolution", 50, 10, 10))
    result = events.score(truth, found, frames=5, distance_px=5)["coalescence"]
    assert (result.truth, result.found, result.matched, result.delay_frames) == (2, 2, 1, 3)
    assert (result.precision, result.recall) == (0.5, 0.5)
    assert events.score(truth, found, frames=2, distance_px=5)["coalescence"].matched == 0
    assert events.score(truth, found, frames=5, distance_px=1)["coalescence"].matched == 0


def test_events_are_matched_one_to_one_the_nearest_first():
    truth = happened(("lost", 10, 0, 0))
    found = happened(("lost", 12, 0, 0), ("lost", 11, 0, 0))
    result = events.score(truth, found)["lost"]
    assert (result.matched, result.delay_frames, result.precision) == (1, 1, 0.5)


def test_kinds_asked_for_are_scored_even_when_absent_from_the_truth():
    found = happened(("splitting", 3, 1, 1))
    result = events.score(happened(), found, kinds=["splitting"])["splitting"]
    assert (result.truth, result.found, result.precision) == (0, 1, 0)
    assert math.isnan(result.recall)
    assert events.score(happened(), found) == {}


def test_kinds_can_count_as_the_same():
    truth, found = happened(("nucleation", 3, 1, 1)), happened(("appearance", 3, 1, 1))
    assert events.score(truth, found)["nucleation"].matched == 0
    same = {"nucleation": "appearance"}
    assert events.score(truth, found, same=same)["appearance"].matched == 1


def test_scores_say_how_they_were_made_and_are_plain_json():
    scores = evaluate.score(TWO, TWO, happened(("lost", 1, 10, 10)), happened(), gate_px=4.0, event_frames=2)
    read = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert read["objects"]["settings"]["gate_px"] == 4.0
    assert read["events"]["lost"]["settings"]["frames"] == 2
    assert read["events"]["lost"]["precision"] is None  # nothing was claimed
    assert (scores.events_truth, scores.events_matched, scores.events_false) == (1, 0, 0)


def test_events_at_the_border_are_set_aside_but_not_entering_and_leaving():
    at_edge = [True, False, True, True]
    truth = happened(*(("coalescence", f, 5, 5) for f in (10, 50)), ("leaving", 10, 5, 5), ("coalescence", 90, 5, 5))
    found = happened(*(("coalescence", f, 5, 5) for f in (10, 50)), ("leaving", 10, 5, 5), ("coalescence", 130, 5, 5))
    scores = events.score(truth.assign(touches_edge=at_edge), found.assign(touches_edge=at_edge))
    merged = scores["coalescence"]
    assert (merged.truth, merged.found, merged.matched, merged.aside) == (1, 1, 1, 4)
    assert scores["leaving"].matched == 1
