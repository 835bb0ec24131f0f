from __future__ import annotations

import numpy as np
import pytest

from insitu.coarsening.rates import KINDS, Happenings, coalescence_share, event_rates, number_balance
from insitu.schema import EVENTS

TIME, DURATION = np.array([0.5, 1.5, 2.5]), np.ones(3)


def made(*events):
    """Events given as (kind, window, parents, children)."""
    columns = list(zip(*events, strict=True)) or [[], [], [], []]
    return Happenings.of(*columns)


SOME = made(
    ("coalescence", 0, (1, 2), (7,)),
    ("coalescence", 1, (7, 3, 4), (8,)),
    ("dissolution", 1, (5,), ()),
    ("entering", 1, (), (9,)),
    ("leaving", 2, (9,), ()),
    ("leaving", 2, (8,), ()),
    ("nucleation", 2, (), (10,)),
    ("splitting", 2, (6,), (11, 12)),
    ("lost", 2, (10,), ()),
    ("mark", 2, (), ()),
)


def rows(table, **where):
    keep = np.all([table[k] == v for k, v in where.items()], axis=0)
    return {name: values[keep] for name, values in table.items()}


def test_every_kind_of_the_schema_is_counted_but_marks():
    told = next(c.meaning for c in EVENTS if c.name == "kind")
    assert set(KINDS) | {"mark"} == set(told.replace(" or ", ", ").split(", "))


def test_rates_are_counts_over_area_and_time():
    table = event_rates(SOME, TIME, np.array([1.0, 2.0, 1.0]), 0.5)
    merged = rows(table, kind="coalescence")
    assert merged["count"].tolist() == [1, 1, 0]
    assert merged["cumulative"].tolist() == [1, 2, 2]
    assert merged["rate_per_{area}_{time}"].tolist() == [2, 1, 0]
    assert merged["rate_per_{area}_{time}_high"][2] == pytest.approx(3.689 / 0.5, rel=1e-3)
    assert merged["rate_per_{area}_{time}_low"][2] == 0
    assert rows(table, kind="leaving")["count"].tolist() == [0, 0, 2]
    assert "mark" not in table["kind"]
    assert "appearance" not in table["kind"]
    assert table["window"].tolist() == sorted(table["window"])


def test_the_balance_adds_up_and_says_what_no_event_explains():
    change = np.array([-1, -2, -1])
    table = number_balance(SOME, TIME, DURATION, change, area=2.0)
    terms = {t: rows(table, term=t)["change"].tolist() for t in set(table["term"])}
    assert terms["coalescence"] == [-1, -2, 0]
    assert terms["dissolution"] == [0, -1, 0]
    assert terms["border"] == [0, 1, -2]
    assert terms["appearance"] == [0, 0, 1]
    assert terms["splitting"] == [0, 0, 1]
    assert terms["lost"] == [0, 0, -1]
    assert terms["unexplained"] == [0, 0, 0]
    assert terms["total"] == change.tolist()
    assert rows(table, term="coalescence")["rate_per_{area}_{time}"].tolist() == [-0.5, -1, 0]
    off = number_balance(SOME, TIME, DURATION, change + 1, area=2.0)
    assert rows(off, term="unexplained")["change"].tolist() == [1, 1, 1]


def test_intervals_of_the_balance_hold_the_value_and_know_groups():
    table = number_balance(SOME, TIME, DURATION, np.zeros(3, int), area=1.0)
    name = "rate_per_{area}_{time}"
    known = np.isfinite(table[f"{name}_low"])
    assert (table[f"{name}_low"][known] <= table[name][known]).all()
    assert (table[name][known] <= table[f"{name}_high"][known]).all()
    merged = rows(table, term="coalescence")
    assert merged[f"{name}_high"].tolist()[2] == 0  # mergers never add particles
    # one event that takes two particles is less certain than two events that take one each
    pair = made(("coalescence", 0, (1, 2), (7,)), ("coalescence", 0, (3, 4), (8,)))
    triple = made(("coalescence", 0, (1, 2, 3), (7,)))
    low = [
        rows(number_balance(e, TIME, DURATION, np.zeros(3, int), area=1.0), term="coalescence")[f"{name}_low"][0]
        for e in (pair, triple)
    ]
    assert low[1] < low[0]


def test_balance_intervals_cover_the_mean():
    rng = np.random.default_rng(0)
    name, inside = "rate_per_{area}_{time}", []
    for _ in range(200):
        n = rng.poisson(8, 3)
        found = Happenings(
            np.full(n.sum(), "dissolution", object),
            np.repeat(np.arange(3), n),
            np.ones(n.sum(), int),
            np.zeros(n.sum(), int),
            np.arange(n.sum()),
        )
        got = rows(number_balance(found, TIME, DURATION, -n, area=1.0), term="dissolution")
        inside.append((got[f"{name}_low"] <= -8) & (got[f"{name}_high"] >= -8))
    assert 0.93 <= np.mean(inside) <= 1.0


def test_share_of_coalescence_counts_particles_not_events():
    share = coalescence_share(SOME)
    assert (share.coalesced, share.dissolved, share.lost) == (3, 1, 1)
    assert share.value == 0.75
    assert share.low < 0.75 < share.high
    assert (share.least, share.most) == (3 / 5, 4 / 5)


def test_nothing_lost_has_no_share_and_one_sort_has_an_interval():
    assert coalescence_share(made()) is None
    assert coalescence_share(made(("nucleation", 0, (), (1,)))) is None
    only = coalescence_share(made(*[("dissolution", 0, (k,), ()) for k in range(10)]))
    assert only.value == 0
    assert only.low == 0
    assert only.high == pytest.approx(1 - 0.025**0.1)


def test_families_are_chains_of_mergers():
    assert len(set(SOME.family[:2])) == 1  # 7 came from the first and went into the second
    assert SOME.family[5] == SOME.family[0]  # and 8 left
    assert len(set(SOME.family[[0, 2, 3, 6, 7]])) == 5


def chains(rng, number=60):
    """Families in which either all merge with each other or each dissolves: far from independent."""
    events, name = [], 0
    for _ in range(number):
        ids = list(range(name, name + 6))
        name += 20
        if rng.random() < 0.4:
            now = ids[0]
            for k, other in enumerate(ids[1:]):
                events.append(("coalescence", 0, (now, other), (ids[-1] + 1 + k,)))
                now = ids[-1] + 1 + k
        else:
            events += [("dissolution", 0, (p,), ()) for p in ids[:5]]
    return made(*events)


def test_intervals_of_the_share_cover_it():
    rng = np.random.default_rng(0)
    single = []
    for _ in range(300):
        k = rng.binomial(80, 0.3)
        events = [("coalescence", 0, (3 * i, 3 * i + 1), (3 * i + 2,)) for i in range(k)]
        events += [("dissolution", 0, (3 * i,), ()) for i in range(k, 80)]
        share = coalescence_share(made(*events))
        single.append(share.low <= 0.3 <= share.high)
    assert 0.94 <= np.mean(single) <= 0.995
    dependent = [(s.low <= 0.4 <= s.high) for s in (coalescence_share(chains(rng)) for _ in range(200))]
    assert np.mean(dependent) >= 0.9  # five losses hang together: an interval of independent ones covers far less


def test_no_events_and_no_windows():
    table = event_rates(made(), TIME, DURATION, 1.0)
    assert all(len(v) == 0 for v in table.values())
    balance = number_balance(made(), TIME, DURATION, np.zeros(3, int), area=1.0)
    assert (balance["change"] == 0).all()
    assert len(number_balance(made(), np.zeros(0), np.zeros(0), np.zeros(0, int), area=1.0)["change"]) == 0
