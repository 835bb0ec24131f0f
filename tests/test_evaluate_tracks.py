from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from insitu.errors import CommandError
from insitu.evaluate import links, objects, tracks


def table(paths: dict[int, list[tuple[int, float, float]]]) -> pd.DataFrame:
    rows = [(t, p, y, x) for p, path in paths.items() for t, y, x in path]
    made = pd.DataFrame(rows, columns=["frame", "particle", "y", "x"]).sort_values("frame", kind="stable")
    return made.assign(equivalent_diameter_px=4.0, touches_edge=False).reset_index(drop=True)


def crossing(frames: int = 10) -> pd.DataFrame:
    return table({7: [(t, 10.0, 10.0) for t in range(frames)], 9: [(t, 40.0, 10.0) for t in range(frames)]})


def scored(truth, found):
    pytest.importorskip("traccuracy")
    pytest.importorskip("trackeval")
    return tracks.score(truth, found, objects.match(truth, found))


def test_the_truth_itself_is_perfect():
    values = scored(crossing(), crossing()).as_dict()
    settings = values.pop("settings")
    assert values == dict.fromkeys(values, 1.0)
    assert set(tracks.PROGRAMS) <= set(settings)


def test_exchanged_identities_cost_half_of_idf1_and_nothing_of_detection():
    truth, found = crossing(), crossing()
    late = found["frame"] >= 5
    found.loc[late, "particle"] = found.loc[late, "particle"].map({7: 9, 9: 7})
    s = scored(truth, found)
    assert (s.det, s.det_a) == (1, 1)
    # 2 of 18 links are wrong and 2 are missing; CTC weighs 1.5 for a missing link, 1 for a wrong one.
    assert (s.edge_precision, s.edge_recall) == pytest.approx((16 / 18, 16 / 18))
    assert s.lnk == pytest.approx(1 - (2 * 1 + 2 * 1.5) / (18 * 1.5))
    assert s.idf1 == 0.5
    # Each position shares its identity with 5 of the 15 positions of either of its two tracks.
    assert s.ass_a == pytest.approx(5 / 15)
    assert s.hota == pytest.approx(math.sqrt(5 / 15))
    assert s.complete_tracks == 0
    own = links.score(truth, found, objects.match(truth, found))
    assert (own.precision, own.recall) == pytest.approx((s.edge_precision, s.edge_recall))


def test_what_is_set_aside_counts_in_neither():
    truth = crossing()
    truth.loc[truth["particle"] == 9, "touches_edge"] = True
    found = crossing()[lambda t: t["particle"] == 7]
    values = scored(truth, found).as_dict()
    del values["settings"]
    assert values == dict.fromkeys(values, 1.0)


def test_a_missed_position_is_bridged_but_costs_detection():
    truth = crossing()
    found = truth.drop(index=truth.index[(truth["particle"] == 7) & (truth["frame"] == 4)])
    s = scored(truth, found)
    assert s.det < 1
    assert s.id_precision == 1
    assert s.id_recall == pytest.approx(19 / 20)


def test_agrees_with_the_own_scores_of_links_on_random_walks():
    rng = np.random.default_rng(4)
    walks = {p: rng.uniform(20, 180, 2) + np.cumsum(rng.normal(0, 1.5, (30, 2)), 0) for p in range(40)}
    truth = table({p: [(t, *w[t]) for t in range(30)] for p, w in walks.items()})
    found = truth.copy()
    found[["y", "x"]] += rng.normal(0, 0.2, (len(found), 2))
    from insitu.link import link

    found = link(found.drop(columns="particle"), 6).reset_index(drop=True)
    matching = objects.match(truth, found)
    s, own = scored(truth, found), links.score(truth, found, matching)
    assert own.recall < 1
    assert (s.edge_precision, s.edge_recall) == pytest.approx((own.precision, own.recall), abs=1e-12)
    assert s.complete_tracks == pytest.approx(own.whole_tracks)


def test_nothing_to_score_is_said():
    truth, found = crossing(), crossing()
    truth["touches_edge"] = True
    with pytest.raises(CommandError, match="the truth has no particle that counts"):
        scored(truth, found)
