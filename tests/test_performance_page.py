"""The tables of the page on speed are those of the recorded results."""

from __future__ import annotations

from benchmarks import performance


def test_the_page_shows_what_was_recorded():
    assert performance.made() == performance.PAGE.read_text(encoding="utf-8")
