"""`insitu coarsening` against numbers that are known, and its cost: ``python -m benchmarks.coarsening [golden|…]``.

Without arguments all parts are run, else those that are named: golden, border, exponent, coverage, scale. Each replaces
its section in ``benchmarks/results/coarsening.md``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from benchmarks.coarsening_coverage import coverage
from benchmarks.ripening_tables import BORDER, RATE, SPREAD, LongMovie, Ripening, over_the_border
from benchmarks.run_folders import write_run
from insitu.coarsening.families import FamilyBootstrap
from insitu.coarsening.fits import fits
from insitu.coarsening.gather import gather
from insitu.coarsening.kinetics import kinetics
from insitu.coarsening.source import MemoryTables, StudyInfo
from insitu.options import CoarseningOptions
from insitu.types import Calibration

KNOWN = Calibration(0.2, "benchmark", 0.5, "benchmark")
NUMBER = 200_000


def command(run: Path) -> tuple[dict[str, pd.DataFrame], dict, float, float, float]:
    """Run the verb on a folder; return its tables, its summary, wall and CPU seconds, and peak memory in MB."""
    begin = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "insitu", "coarsening", str(run)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.monotonic() - begin
    if status:
        raise SystemExit(f"insitu coarsening ended with {status}")
    folder = run / "coarsening"
    tables = {p.stem: pd.read_parquet(p) for p in folder.glob("*.parquet")}
    summary = json.loads((folder / "summary.json").read_text())
    return tables, summary, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def golden(place: Path) -> list[str]:
    """Mean-field ripening: rate of r*ⁿ over k, and the relative width, against theory."""
    lines = [
        f"Mean-field ripening, {NUMBER:,} particles at the start, 40 frames, r* × 2.1; through the verb.",
        "Bars: d(r*ⁿ)/dt within 2 % of theory, std/mean within 5 %.",
        "",
        "| n | rows | K of r* over k | theory | off | std/mean at the end | theory | off | verdict | CPU s | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for n in (2, 3, 4):
        world = Ripening(n, NUMBER, 40)
        rows = list(world.rows())
        run = write_run(place / f"golden{n}", rows, world.tables(), world.region, KNOWN)
        tables, summary, _, cpu, memory = command(run)
        fit = tables["fits"].query(f"quantity == 'critical_radius' and model == 'n{n}'").iloc[0]
        k = world.k * KNOWN.nm_per_px**n / KNOWN.s_per_frame
        rate, spread = fit["K"] / k, tables["kinetics"]["relative_std"].iloc[-1]
        verdict = summary["verdict"]["n"]
        lines.append(
            f"| {n} | {sum(len(r['frame']) for r in rows):,} | {rate:.4f} | {RATE[n]:.4f} | {off(rate, RATE[n], 2)} | "
            f"{spread:.4f} | {SPREAD[n]} | {off(spread, SPREAD[n], 5)} | n = {verdict} | {cpu:.0f} | {memory:.0f} |"
        )
        print(lines[-1], flush=True)
        shutil.rmtree(run)
    return lines


def off(found: float, true: float, bar: float) -> str:
    """Return how far a number is off in per cent, marked where that is beyond the bar."""
    percent = 100 * (found / true - 1)
    return f"{percent:+.2f} %{'' if abs(percent) <= bar else ' **beyond the bar**'}"


def border(place: Path) -> list[str]:
    """Discs over a border: the border-weighted mean against all that were thrown."""
    parts, thrown = zip(*over_the_border(700), strict=True)
    frames = {"frame": np.arange(700), "status": ["ok"] * 700}
    run = write_run(place / "border", parts, {"frames": frames}, BORDER, Calibration())
    tables, *_ = command(run)
    table = tables["kinetics"]
    weight = table["n_rows"]
    mean, plain = (np.average(table[c], weights=weight) for c in ("mean_radius_px", "unweighted_mean_radius_px"))
    radii = np.concatenate(thrown)
    true = radii.mean()
    density = 1e6 * len(radii) / 700 / ((BORDER[0] + 520) * (BORDER[1] + 520))
    found = np.average(table["number_density_per_mpx"], weights=table["n_frames"])
    rows = sum(len(p["frame"]) for p in parts)
    bias = 100 * (plain / true - 1)
    return [
        f"Log-normal discs (median 40 px, σ .6) thrown over {BORDER[0]} × {BORDER[1]} px and beyond, {rows:,} rows.",
        "Bar: border-weighted mean within 0.5 % of the truth where the unweighted one is 4 % off.",
        "",
        "| | truth | border-weighted | off | wholly inside, unweighted | off |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| ⟨r⟩, px | {true:.3f} | {mean:.3f} | {off(mean, true, 0.5)} | {plain:.3f} | {bias:+.2f} % |",
        f"| number per 10⁶ px² | {density:.2f} | {found:.2f} | {off(found, density, 0.5)} | | |",
    ]


def growing(n: int, growth: float, noise: float, rng: np.random.Generator) -> MemoryTables:
    """40 frames of 300 particles that all grow by one law; each frame is off by its own share."""
    share = np.arange(40) / 39
    mean = 30 * (1 + (growth**n - 1) * share) ** (1 / n) * (1 + noise * rng.normal(size=40))
    r = mean[:, None] * rng.lognormal(0, 0.15, 300)[None]
    frame, particle = np.indices(r.shape)
    box = np.zeros(r.size, np.int32)
    none = np.zeros(r.size, bool)
    particles = {
        "frame": frame.ravel(), "particle": particle.ravel(), "area_px": np.pi * r.ravel() ** 2,
        "touches_edge": none, "composite": none, **dict.fromkeys(("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"), box),
    }  # fmt: skip
    frames = pd.DataFrame({"frame": np.arange(40), "status": "ok", "time_s": np.arange(40) * 0.5})
    events = pd.DataFrame({"parents": [], "children": []})
    return MemoryTables(StudyInfo((10_000, 10_000), KNOWN), particles, pd.DataFrame(), events, frames)


def exponent(_place: Path, repeats: int = 200) -> list[str]:
    """How often the fit decides for the true exponent."""
    lines = [
        f"{repeats} repeats of 40 windows, each ⟨r⟩ off by 1 % at random. Bar: the true n in ≥ 95 %, growth ≥ 2.",
        "",
        "| n | growth | least AIC at the true n | decided for the true n | decided for another | not decided |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rng = np.random.default_rng(0)
    for growth in (1.6, 2.0, 3.0):
        for n in (2, 3, 4):
            least = right = wrong = 0
            for _ in range(repeats):
                options = CoarseningOptions(bootstrap=100, window_frames=1)
                held = gather(growing(n, growth, 0.01, rng), options)
                draws = FamilyBootstrap(held.records, held.family, len(held.windows), options.bootstrap)
                table, verdict, _ = fits(held, kinetics(held, draws), draws)
                chosen = table["quantity"] == "mean_radius"
                least += table["model"][chosen][table["aic"][chosen][:3].argmin()] == f"n{n}"
                right += verdict.n == n
                wrong += verdict.n not in {None, n}
            shares = [f"{100 * c / repeats:.1f} %" for c in (least, right, wrong, repeats - right - wrong)]
            lines.append(f"| {n} | {growth} | {' | '.join(shares)} |")
            print(lines[-1], flush=True)
    return lines


def scale(place: Path) -> list[str]:
    """Time and memory of the whole verb on long movies."""
    lines = [
        "300 particles in every frame, the whole verb with default options; a run folder of parquet tables on disk.",
        "Bars: 10⁶ rows in 30 s, 10⁷ rows in 3 min, 2 GB.",
        "",
        "| rows | tracks | events | wall s | CPU s | peak MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for frames, life in ((3_333, 2_000), (33_333, 2_000), (33_333, 50)):
        world = LongMovie(frames, life)
        run = write_run(place / f"scale{frames}-{life}", world.rows(), world.tables(), BORDER, KNOWN)
        _, summary, wall, cpu, memory = command(run)
        counts = summary["counts"]
        lines.append(
            f"| {counts['rows']:,} | {counts['particles']:,} | {2 * len(world.at):,} | {wall:.0f} | {cpu:.0f} | "
            f"{memory:.0f} |"
        )
        print(lines[-1], flush=True)
        shutil.rmtree(run)
    return lines


PARTS = {"golden": golden, "border": border, "exponent": exponent, "coverage": coverage, "scale": scale}
HEAD = """# Coarsening statistics

Made by `python -m benchmarks.coarsening`, each part by itself. The generators (`benchmarks/ripening_tables.py`) share
no code with what is checked. Wall times are those of a machine of two cores that had other work; CPU times are those of
all threads together.
"""
TITLES = {
    "golden": "Rates and shapes of theory",
    "border": "Border weights",
    "exponent": "Which exponent",
    "coverage": "Coverage of the intervals",
    "scale": "Cost",
}


def main(chosen: list[str]) -> None:
    page = Path(__file__).parent / "results" / "coarsening.md"
    sections = dict.fromkeys(TITLES.values(), "")
    if page.exists():
        for part in page.read_text().split("\n## ")[1:]:
            title, _, text = part.partition("\n")
            sections[title] = text.strip()
    with tempfile.TemporaryDirectory() as place:
        for name in chosen or PARTS:
            lines = PARTS[name](Path(place))
            print("\n".join(["", *lines, ""]), flush=True)
            sections[TITLES[name]] = "\n".join(lines)
            parts = [f"## {title}\n\n{text}\n" for title, text in sections.items() if text]
            page.write_text("\n".join([HEAD, *parts]))


if __name__ == "__main__":
    main(sys.argv[1:])
