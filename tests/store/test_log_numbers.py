"""A line of the commit log whose numbers are none cannot be read."""

from __future__ import annotations

import json

import pytest

from insitu.store import layout
from insitu.store.log import read_log


@pytest.mark.parametrize("wrong", ["7", 1.5, None, True, [3]])
def test_counts_that_are_no_numbers_are_a_line_that_cannot_be_read(tmp_path, wrong):
    def line(count):
        unit = {"schema": "1", "files": {}, "first": 0, "planes": 4, "counts": {"ok": count}, "rows": {}, "problems": 0}
        return json.dumps(unit) + "\n"

    (tmp_path / layout.COMMITS).write_text(line(4), encoding="utf-8")
    assert read_log(tmp_path).planes == 4
    (tmp_path / layout.COMMITS).write_text(line(wrong), encoding="utf-8")
    assert read_log(tmp_path).planes == 0
