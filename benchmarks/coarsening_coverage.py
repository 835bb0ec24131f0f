"""How often the 95 % intervals of the coarsening statistics hold the truth.

Each repeat draws particles anew from the self-similar distribution of an infinite population that ripens: theory
knows ⟨r⟩(t), r*(t), N(t) and K of that population, and a repeat differs from them by chance alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.ripening_tables import MEAN, RATE, asymptotic
from insitu.coarsening.families import FamilyBootstrap
from insitu.coarsening.fits import fits
from insitu.coarsening.gather import gather
from insitu.coarsening.kinetics import kinetics
from insitu.coarsening.source import MemoryTables, StudyInfo
from insitu.options import CoarseningOptions
from insitu.types import Calibration

if TYPE_CHECKING:
    from pathlib import Path

FRAMES, GROWTH, R0 = 40, 2.1, 40.0
REGION = (100_000, 100_000)
CASES = (("particles only", 600, 0.0), ("and every frame off by 0.5 %", 600, 0.005), ("few particles", 120, 0.0))


def paths(n: int, start: np.ndarray) -> np.ndarray:
    """Return the radii (F, N) of particles in the bath of an infinite population, 0 once gone."""
    steps = 60
    k = R0**n * (GROWTH**n - 1) / RATE[n] / (FRAMES - 1)
    power, out = start**n, np.empty((FRAMES, len(start)))
    for frame in range(FRAMES):
        out[frame] = np.maximum(power, 0) ** (1 / n)
        for i in range(steps):
            t = frame + (i + 0.5) / steps
            critical = (R0**n + RATE[n] * k * t) ** (1 / n)
            r = np.maximum(power, 0) ** (1 / n)
            slope = n * k * (r / critical - 1)
            middle = np.maximum(power + slope / steps / 2, 0) ** (1 / n)
            power = np.where(power > 0, power + n * k * (middle / critical - 1) / steps, 0)
    return out


def tables(radius: np.ndarray) -> MemoryTables:
    """Return the rows of particles that are not gone."""
    frame, particle = np.nonzero(radius > 1.0)
    n = len(frame)
    none, box = np.zeros(n, bool), np.zeros(n, np.int32)
    rows = {
        "frame": frame, "particle": particle, "area_px": np.pi * radius[frame, particle] ** 2,
        "touches_edge": none, "composite": none, **dict.fromkeys(("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"), box),
    }  # fmt: skip
    frames = pd.DataFrame({"frame": np.arange(FRAMES), "status": "ok"})
    events = pd.DataFrame({"parents": [], "children": []})
    return MemoryTables(StudyInfo(REGION, Calibration()), rows, pd.DataFrame(), events, frames)


def coverage(_place: Path, repeats: int = 200) -> list[str]:
    """Count how often K, ⟨r⟩, N and the free exponent lie in their intervals."""
    lines = [
        f"{repeats} repeats a row, 40 frames and windows, growth {GROWTH}, 500 draws. Bar: 90-99 %.",
        "⟨r⟩ and N: mean over windows 0, 13, 26 and 39.",
        "",
        "| n | case | particles | K | K of r* | free n | ⟨r⟩ | N | decided for n, for another |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rng = np.random.default_rng(1)
    for n in (2, 3, 4):
        many = R0 * asymptotic(n, 200_000, rng)
        seen = paths(n, many)
        k = R0**n * (GROWTH**n - 1) / (FRAMES - 1)
        star = (R0**n + k * np.arange(FRAMES)) ** (1 / n)
        truth = (seen, MEAN[n] * star, (R0 / star) ** 3, {"K": k * MEAN[n] ** n, "star": k})
        for case in CASES:
            lines.append(_row(n, case, repeats, truth, rng))
            print(lines[-1], flush=True)
    return lines


def _row(n: int, case: tuple, repeats: int, truth: tuple, rng: np.random.Generator) -> str:
    name, number, noise = case
    seen, true_mean, alive, true = truth
    hits: dict[str, list[float]] = {key: [] for key in ("K", "star", "free", "mean", "density", "right", "wrong")}
    options = CoarseningOptions(window_frames=1)
    for repeat in range(repeats):
        drawn = rng.integers(0, seen.shape[1], rng.poisson(number))
        radius = seen[:, drawn] * (1 + noise * rng.normal(size=(FRAMES, 1)))
        held = gather(tables(radius), options)
        draws = FamilyBootstrap(held.records, held.family, len(held.windows), options.bootstrap, repeat)
        table = kinetics(held, draws)
        fitted, verdict, _ = fits(held, table, draws)
        at = {q: int(np.flatnonzero((fitted["quantity"] == q) & (fitted["model"] == f"n{n}"))[0])
              for q in ("mean_radius", "critical_radius")}  # fmt: skip
        for which, quantity in (("K", "mean_radius"), ("star", "critical_radius")):
            hits[which].append(fitted["K_low"][at[quantity]] <= true[which] <= fitted["K_high"][at[quantity]])
        free = int(np.flatnonzero(fitted["model"] == "free")[0])
        hits["free"].append(fitted["n_low"][free] <= n <= fitted["n_high"][free])
        for which, column, value in (
            ("mean", "mean_radius_{length}", true_mean),
            ("density", "number_density_per_{area}", alive * number / 10_000),
        ):
            inside = (table[f"{column}_low"] <= value) & (value <= table[f"{column}_high"])
            hits[which].append(float(inside[[0, 13, 26, 39]].mean()))
        hits["right"].append(verdict.n == n)
        hits["wrong"].append(verdict.n not in {None, n})
    share = {key: f"{100 * np.mean(values):.1f} %" for key, values in hits.items()}
    cells = " | ".join(share[key] for key in ("K", "star", "free", "mean", "density"))
    return f"| {n} | {name} | {number} | {cells} | {share['right']}, {share['wrong']} |"
