"""docs/reliability.md says what the ledger says, and every test it names exists."""

from __future__ import annotations

import re

from benchmarks.soak import ledger, report
from benchmarks.soak.__main__ import FORBIDDEN
from benchmarks.soak.report import PAGE, page

ROOT = PAGE.parents[1]


def test_the_page_is_made_from_the_ledger():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m benchmarks.soak report"
    assert (ledger.RESULTS / "soak.md").read_text(encoding="utf-8") == report.results()


def test_every_test_that_is_named_exists():
    named = set(re.findall(r"`(tests/[\w./]+)`", page()))
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_requirement_has_a_row():
    assert re.findall(r"^\| (R\d+) \|", page(), re.MULTILINE) == [f"R{n}" for n in range(1, 27)]


def test_nothing_that_may_not_happen_was_recorded():
    for part, sittings in ledger.read().items():
        counts = ledger.total(sittings)
        assert {name: counts[name] for name in FORBIDDEN if counts.get(name)} == {}, part
