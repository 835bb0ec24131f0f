"""A line of the commit log whose numbers are none, or are not there, cannot be read."""

from __future__ import annotations

import json

import pytest

from insitu.store import layout
from insitu.store.log import COUNTED, read_log

COUNTS = dict.fromkeys(COUNTED, 4)
UNIT = {"schema": "1", "files": {}, "first": 0, "planes": 4, "counts": COUNTS, "rows": {}, "problems": 0}


def planes(out, **other):
    (out / layout.COMMITS).write_text(json.dumps(UNIT | other) + "\n", encoding="utf-8")
    return read_log(out).planes


@pytest.mark.parametrize("wrong", ["7", 1.5, None, True, [3]])
def test_counts_that_are_no_numbers_are_a_line_that_cannot_be_read(tmp_path, wrong):
    assert planes(tmp_path) == 4
    assert planes(tmp_path, counts=COUNTS | {"ok": wrong}) == 0
    assert planes(tmp_path, planes=wrong) == 0


@pytest.mark.parametrize("name", COUNTED)
def test_counts_that_are_not_there_are_a_line_that_cannot_be_read(tmp_path, name):
    assert planes(tmp_path, counts={other: 4 for other in COUNTED if other != name}) == 0
