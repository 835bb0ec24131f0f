"""Make the tables of ``docs/performance.md`` from the recorded json: ``python -m benchmarks.performance [--check]``.

What stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is replaced.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
# the goals of the stages in ms of CPU a frame, 1792×1920 with 300 particles
GOALS = (("read", 0.5), ("prepare", 4.0), ("measure", 2.0), ("link", 0.6), ("store", 2.1))


def recorded(name: str) -> dict[str, Any]:
    """Return a recorded result."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def whole(rows: list[dict[str, Any]]) -> str:
    head = ("model", "particles", "frames/s", "ms CPU a frame", "script: ms wall", "ms CPU", "ratio wall", "ratio CPU")
    return table(head, [
        (r["model"], r["particles"], f"{r['engine']['frames_per_s']:.1f}", f"{r['engine']['cpu_ms']:.0f}",
         f"{r['naive']['wall_ms']:.0f}", f"{r['naive']['cpu_ms']:.0f}", f"{r['ratio']['wall']:.1f}",
         f"{r['ratio']['cpu']:.1f}")
        for r in rows
    ])  # fmt: skip


def networks(rows: list[dict[str, Any]]) -> str:
    head = ("model", "arithmetic", "engine: segment, ms CPU", "script: network, ms CPU", "ms wall", "masks differ",
            "particles, largest difference", "links equal")  # fmt: skip
    body = []
    for r in rows:
        both = r["compared"]
        odd = max(abs(a - b) for a, b in zip(both["particles"], both["particles_naive"], strict=False))
        segment = r["engine"]["stages"]["segment"]["cpu_ms"]
        body.append((
            f"{r['model']}, {r['particles']}", r["engine"]["precision"], f"{segment:.0f}",
            f"{r['naive']['stages']['network']['cpu_ms']:.0f}", f"{r['naive']['stages']['network']['wall_ms']:.0f}",
            f"{both['mask_disagreement']:.1e}", odd, f"{both['links_equal']} of {both['links_comparable']}",
        ))  # fmt: skip
    return table(head, body)


def forward(rows: list[dict[str, Any]]) -> str:
    sides = ("plain", "engine", "openvino latency", "openvino throughput")
    head = ("model", *(f"{side}: ms wall (CPU)" for side in sides), "plain to engine: wall (CPU)",
            "engine to the faster OpenVINO: wall (CPU)",
            "masks differ from plain: engine, OpenVINO")  # fmt: skip
    body = []
    for r in rows:
        cells = [f"{r[s]['wall_ms']:.0f} ({r[s]['cpu_ms']:.0f})" if s in r else "—" for s in sides]
        best = min((r[s] for s in sides[2:] if s in r), key=lambda side: side["wall_ms"], default=None)
        ratios = [
            "{:.1f} ({:.1f})".format(*(r["plain"][k] / r["engine"][k] for k in ("wall_ms", "cpu_ms"))),
            "—"
            if best is None
            else f"{r['engine']['wall_ms'] / best['wall_ms']:.2f} ({r['engine']['cpu_ms'] / best['cpu_ms']:.2f})",
        ]
        differ = [f"{r[s]['mask_disagreement']:.1e}" for s in ("engine", "openvino latency") if s in r]
        body.append((r["model"], *cells, *ratios, ", ".join(differ)))
    return table(head, body)


def stages(rows: list[dict[str, Any]]) -> str:
    few = [r for r in rows if r["particles"] == 300]
    head = ("ms of CPU a frame", "goal", *(r["model"] for r in few))
    return table(head, [
        (name, f"≤ {goal}", *(f"{r['engine']['stages'].get(name, {}).get('cpu_ms', float('nan')):.2f}" for r in few))
        for name, goal in GOALS
    ])  # fmt: skip


def constant(recorded: dict[str, Any]) -> str:
    marks, beside = recorded["marks"], recorded.get("old by young", {})
    groups = [marks[k : k + max(1, len(marks) // 6)] for k in range(0, len(marks), max(1, len(marks) // 6))]
    head = ("frames", "ms CPU a frame, median", "resident memory, MB")
    middle = [sorted(m["cpu_ms"] for m in g)[len(g) // 2] for g in groups]
    whole = table(head, [
        (f"{g[0]['frames'] - 1000}–{g[-1]['frames']}", f"{ms:.2f}", f"{g[-1]['rss_MB']:.0f}")
        for g, ms in zip(groups, middle, strict=True)
    ])  # fmt: skip
    turns = [(age, f"{median(ratios):.3f}", f"{min(ratios):.3f}–{max(ratios):.3f}") for age, ratios in beside.items()]
    by_turns = table(("age, frames", "CPU a frame, old by young, median of eight turns", "lowest and highest"), turns)
    return f"{whole}\n\n{by_turns}" if turns else whole


def growing_measuring(rows: list[dict[str, Any]]) -> str:
    head = ("frame, px", "particles", "engine: runs, label, ten columns", "OpenCV: label, area, box, centroid",
            "scikit-image: label, ten columns", "scikit-image / engine", "OpenCV / engine")  # fmt: skip
    return table(head, [
        (f"{r['shape'][0]}×{r['shape'][1]}", r["particles"], f"{r['engine']:.2f}", _ms(r["opencv"]),
         _ms(r["scikit-image"]), f"{r['scikit-image'] / r['engine']:.0f}", _ratio(r["opencv"], r["engine"]))
        for r in sorted(rows, key=lambda r: (r["shape"], r["particles"]))
    ])  # fmt: skip


def growing_linking(rows: list[dict[str, Any]]) -> str:
    head = ("frames", "particles", "engine", "trackpy", "laptrack", "trackpy / engine", "laptrack / engine",
            "links that differ from trackpy's")  # fmt: skip
    return table(head, [
        (r["frames"], r["particles"], f"{r['engine']:.3f}", _ms(r["trackpy"]), _ms(r["laptrack"]),
         f"{r['trackpy'] / r['engine']:.0f}", _ratio(r["laptrack"], r["engine"]), r["differ from trackpy"])
        for r in sorted(rows, key=lambda r: (r["frames"], r["particles"]))
    ])  # fmt: skip


def _ms(value: float | str | None) -> str:
    return "not installed" if value is None else value if isinstance(value, str) else f"{value:.2f}"


def _ratio(value: float | str | None, engine: float) -> str:
    return f"{value / engine:.0f}" if isinstance(value, int | float) else "—"


def made() -> str:
    """Return the page with fresh tables."""
    pipeline = recorded("pipeline")
    host = pipeline["host"]
    growing = recorded("growing")
    versions = ", ".join(f"{k} {v}" for k, v in host["versions"].items())
    parts = {
        "whole": whole(pipeline["rows"]),
        "networks": networks(pipeline["rows"]),
        "stages": stages(pipeline["rows"]),
        "forward": forward(recorded("networks")["rows"])
        if (RESULTS / "networks.json").is_file()
        else "Not recorded yet.",
        "host": f"{host['processor']}, {host['cores']} cores, Python {host['python']}, {versions}.",
        "growing measuring": growing_measuring(growing["measuring"]),
        "growing linking": growing_linking(growing["linking"]),
        "growing host": ", ".join(f"{k} {v}" for k, v in growing["host"]["versions"].items()) + ".",
        "constant": constant(recorded("constant")),
    }
    page = PAGE.read_text(encoding="utf-8")
    for name, text in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        page, found = re.subn(pattern, lambda m, text=text: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.DOTALL)
        if found != 1:
            raise SystemExit(f"{PAGE} has no place for {name}")
    return page


def main() -> None:
    page = made()
    if "--check" in sys.argv:
        if page != PAGE.read_text(encoding="utf-8"):
            raise SystemExit("docs/performance.md is older than the recorded results: python -m benchmarks.performance")
        return
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
