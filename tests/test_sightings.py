"""The table of live tracks: rows by id, and sightings written by compiled loops as by numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insitu.events import compiled_sightings, plain_sightings
from insitu.events.histories import Histories

TABLE = ("ring", "seen", "largest_area", "border", "absent", "host")


def filled(seed: int, n: int = 20, frames: int = 12) -> Histories:
    """Tracks that were seen up to a dozen times; the ring of eight has come round for some."""
    rng = np.random.default_rng(seed)
    histories = Histories()
    histories.add(np.arange(n) * 3 + 5, 0, rng.uniform(0, 100, (n, 4)), unnamed=True)
    for frame in range(1, frames):
        rows = rng.permutation(n)[: rng.integers(0, n)]
        histories.see(rows, frame, rng.uniform(0, 100, (len(rows), 4)), (0.5 * frame, -1.0))
    return histories


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_compiled_sightings_are_those_of_numpy(seed):
    rng = np.random.default_rng(seed)
    histories = filled(seed)
    histories.tracks["absent"][:] = rng.integers(0, 3, len(histories))
    rows = rng.permutation(len(histories))[: rng.integers(1, len(histories))]
    given = (rows, 40, rng.uniform(0, 100, (len(rows), 4)), (2.5, -0.75))
    tables = []
    for module in (plain_sightings, compiled_sightings):
        table = tuple(histories.tracks[name].copy() for name in TABLE)
        module.see(given, table)
        tables.append(table)
    for name, plain, fast in zip(TABLE, *tables, strict=True):
        np.testing.assert_array_equal(plain, fast, err_msg=name)
    assert (tables[0][0][rows] == 40).any(axis=(1, 2)).all()


@pytest.mark.parametrize("ids", [[4], [7, 8, 11, 900], [0, 10**12], [2**62, 2**62 + 5]])
def test_rows_are_found_however_far_apart_the_ids_are(ids):
    ids = np.array(ids, np.int64)
    histories = Histories()
    assert histories.rows_of(ids).tolist() == [-1] * len(ids)
    histories.add(ids, 0, np.zeros((len(ids), 4)), unnamed=False)
    order = np.random.default_rng(0).permutation(len(ids))
    assert histories.rows_of(ids[order]).tolist() == order.tolist()
    near = np.concatenate([ids - 1, ids + 1, [0, 2**62 + 9]])
    expected = [int(np.flatnonzero(ids == k)[0]) if k in ids else -1 for k in near]
    assert histories.rows_of(near).tolist() == expected
    assert histories.rows_of(near[:0]).tolist() == []


def test_rows_follow_the_table_when_tracks_come_and_go():
    histories = filled(1)
    assert histories.rows_of(np.array([5, 8, 6])).tolist() == [0, 1, -1]
    histories.forget(np.array([0]))
    assert histories.rows_of(np.array([5, 8, 6])).tolist() == [-1, 0, -1]
    histories.add(np.array([6]), 20, np.ones((1, 4)), unnamed=True)
    assert histories.rows_of(np.array([5, 8, 6])).tolist() == [-1, 1, 0]
    other = Histories()
    other.rows_of(np.array([5]))
    other.restore(histories.state())
    assert other.rows_of(np.array([5, 8, 6])).tolist() == [-1, 1, 0]
