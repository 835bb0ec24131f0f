"""The pages that say what was proved: made from the ledger alone, so that no number in them was typed."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak.covered import ROOMS
from benchmarks.soak.ledger import PARTS, RESULTS, locked, read, total

TEMPLATE = Path(__file__).with_name("reliability.md")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_NONE = ("acknowledged frames lost", "runs that differ", "tracebacks", "files outside OUT", "findings")


def table(part: str, sittings: list[dict]) -> list[str]:
    """Return the counts of one part as a table, with when and where they were made."""
    rows = [f"| {name} | {value:,} |".replace(",", " ") for name, value in total(sittings).items()]
    last = sittings[-1]
    dates = sorted({s["date"][:10] for s in sittings})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = ", ".join(f"{name} {number}" for name, number in last["versions"].items())
    seconds = sum(s["seconds"] for s in sittings)
    made = f"{when}, {len(sittings)} sitting{'s' * (len(sittings) > 1)}, {seconds} s"
    return [
        f"## {part}: {PARTS[part]}", "", "| | |", "| --- | ---: |", *rows, "",
        f"{made}; {last['system']}, Python {last['python']}, {versions}; commit {last['commit']}.", "",
    ]  # fmt: skip


def results() -> str:
    """Return the text of ``benchmarks/results/soak.md``."""
    lines = ["# Soak", "", "`python -m benchmarks.soak`, part of `make soak`; raw counts in `soak.json` beside it.", ""]
    for part, sittings in sorted(read().items()):
        lines += table(part, sittings)
    return "\n".join(lines)


def page() -> str:
    """Return the text of ``docs/reliability.md``."""
    ledger = read()
    sums = {part: total(sittings) for part, sittings in ledger.items()}

    def said(part: str, name: str) -> str:
        value = sums.get(part, {}).get(name)
        return "not run" if value is None else f"{value:,}".replace(",", " ")

    lost = sum(int(s.get("acknowledged frames lost", 0)) for s in sums.values())
    faults = [("power", "power cuts"), ("full", "stopped by a full disk")]
    rows = [
        ("engines killed with `kill -9` at random moments", said("kills", "kills")),
        ("of these between the first and the last commit", said("kills", "between first and last commit")),
        ("deaths at named commit points", said("failpoints", "deaths")),
        ("power cuts (after an operation of the store; what is not fsynced is lost)", said(*faults[0])),
        ("runs stopped by a full disk, and gone on", said(*faults[1])),
        ("damaged movies given to `insitu run`", said("corrupt", "corrupt inputs")),
        ("frames in one process", said("frames", "frames stored")),
        ("growth of memory, MB per 100 000 frames", said("frames", "RSS slope, MB per 1e5 frames")),
        ("fuzz executions", said("fuzz", "executions")),
        *((f"statements and branches of `{room}` tested, %", said("coverage", f"{room}, %")) for room in ROOMS),
        ("**frames lost that had been acknowledged**", f"**{lost}**"),
        *((f"{name}, in all of these", f"{_sum(sums, name)}") for name in _NONE[1:]),
    ]
    shown = [f"| {what} | {number} |" for what, number in rows]
    details = [line for part in PARTS if part in ledger for line in table(part, ledger[part])]
    numbers = "\n".join(["| proved | number |", "| --- | ---: |", *shown])
    text = TEMPLATE.read_text(encoding="utf-8")
    return text.replace("{numbers}", numbers).replace("{details}", "\n".join(details))


def _sum(sums: dict[str, dict[str, float]], name: str) -> int:
    return sum(int(s.get(name, 0)) for s in sums.values())


def write_pages() -> None:
    """Write both pages."""
    with locked():  # parts that end together
        (RESULTS / "soak.md").write_text(results(), encoding="utf-8")
        PAGE.write_text(page(), encoding="utf-8")
